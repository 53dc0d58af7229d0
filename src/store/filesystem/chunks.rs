//! Reading a file as a stream of chunks.

use std::{fs::File, io, ops::Range, os::fd::AsRawFd, os::unix::fs::FileExt, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};

use super::blocking;
use crate::store::{Key, StoreError};

/// Large enough that system calls cost nothing beside the bytes, small enough
/// that a connection's memory stays small.
const CHUNK_BYTES: usize = 256 * 1024;

/// The bytes of `range`, chunk by chunk. What is in the page cache is read
/// right here, anything else on a blocking thread.
pub fn chunks(
    key: Key,
    file: Arc<File>,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes, StoreError>> + Send {
    let start = Reader {
        key,
        file,
        at: range.start,
        end: range.end,
        buffer: BytesMut::new(),
    };
    stream::try_unfold(start, |mut reader| async move {
        if reader.at >= reader.end {
            return Ok(None);
        }
        let chunk = reader.next().await?;
        Ok(Some((chunk, reader)))
    })
}

struct Reader {
    key: Key,
    file: Arc<File>,
    at: u64,
    end: u64,
    /// Reused while the chunks given out are dropped before the next is asked for.
    buffer: BytesMut,
}

impl Reader {
    async fn next(&mut self) -> Result<Bytes, StoreError> {
        let wanted = usize::try_from(self.end - self.at)
            .unwrap_or(CHUNK_BYTES)
            .min(CHUNK_BYTES);
        self.buffer.resize(wanted, 0);
        let read = match read_cached(&self.file, &mut self.buffer, self.at) {
            Some(read) => read,
            None => self.read_blocking().await?,
        };
        if read == 0 {
            // Objects are never changed in place, so somebody else cut it.
            return Err(StoreError::from_io(
                "read",
                &self.key,
                io::ErrorKind::UnexpectedEof.into(),
            ));
        }
        self.at += read as u64;
        Ok(self.buffer.split_to(read).freeze())
    }

    async fn read_blocking(&mut self) -> Result<usize, StoreError> {
        let (key, file, at) = (self.key.clone(), self.file.clone(), self.at);
        let mut buffer = std::mem::take(&mut self.buffer);
        let (read, buffer) = blocking("read", key.to_string(), move || {
            let read = file
                .read_at(&mut buffer, at)
                .map_err(|source| StoreError::from_io("read", &key, source))?;
            Ok((read, buffer))
        })
        .await?;
        self.buffer = buffer;
        Ok(read)
    }
}

/// Reads what the page cache has; `None` when the disk would have to be waited
/// for, or the file system cannot tell.
#[expect(
    unsafe_code,
    reason = "neither std nor nix wraps preadv2 with RWF_NOWAIT"
)]
fn read_cached(file: &File, buffer: &mut [u8], at: u64) -> Option<usize> {
    let part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: `part` describes exactly `buffer`, which is ours alone and
    // outlives the call; the descriptor is open.
    let read = unsafe {
        libc::preadv2(
            file.as_raw_fd(),
            &part,
            1,
            at.try_into().ok()?,
            libc::RWF_NOWAIT,
        )
    };
    usize::try_from(read).ok()
}
