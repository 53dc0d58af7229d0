//! Reading a file as a stream of chunks.

use std::{fs::File, io, ops::Range, os::fd::AsRawFd, sync::Arc};

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
        self.buffer.reserve(CHUNK_BYTES);
        // An error here is no more than "not at once": the blocking read that
        // follows meets it again if it is one.
        if read_into(
            &self.file,
            &mut self.buffer,
            self.at,
            wanted,
            libc::RWF_NOWAIT,
        )
        .is_err()
        {
            self.read_blocking(wanted).await?;
        }
        if self.buffer.is_empty() {
            // Objects are never changed in place, so somebody else cut it.
            return Err(StoreError::from_io(
                "read",
                &self.key,
                io::ErrorKind::UnexpectedEof.into(),
            ));
        }
        self.at += self.buffer.len() as u64;
        Ok(self.buffer.split().freeze())
    }

    async fn read_blocking(&mut self, wanted: usize) -> Result<(), StoreError> {
        let (key, file, at) = (self.key.clone(), self.file.clone(), self.at);
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = blocking("read", key.to_string(), move || {
            match read_into(&file, &mut buffer, at, wanted, 0) {
                Ok(()) => Ok(buffer),
                Err(source) => Err(StoreError::from_io("read", &key, source)),
            }
        });
        self.buffer = read.await?;
        Ok(())
    }
}

/// Appends at most `wanted` bytes of the file from `at` on to the spare
/// capacity of `buffer`, which must not need to grow for it. With `RWF_NOWAIT`
/// (preadv2(2)) only what the page cache has; `EAGAIN` when that is nothing.
#[expect(
    unsafe_code,
    reason = "neither std nor nix reads with RWF_NOWAIT, or into memory not yet initialised"
)]
fn read_into(
    file: &File,
    buffer: &mut BytesMut,
    at: u64,
    wanted: usize,
    flags: i32,
) -> io::Result<()> {
    let at = i64::try_from(at).map_err(io::Error::other)?;
    let spare = buffer.spare_capacity_mut();
    let part = libc::iovec {
        iov_len: wanted.min(spare.len()),
        iov_base: spare.as_mut_ptr().cast(),
    };
    // SAFETY: `part` lies within the spare capacity, which is ours alone and
    // outlives the call; the descriptor is open.
    let read = unsafe { libc::preadv2(file.as_raw_fd(), &raw const part, 1, at, flags) };
    let read = usize::try_from(read).map_err(|_negative| io::Error::last_os_error())?;
    // SAFETY: the kernel has written that many bytes behind the length.
    unsafe { buffer.set_len(buffer.len() + read) };
    Ok(())
}
