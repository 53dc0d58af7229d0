//! Ranges of a file, and texts between them, as one HTTP body.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};

use super::blocking;
use crate::store::sendfile::{FileQueue, PIECE_MOST};
use crate::store::{Key, StoreError};

/// Large enough that system calls cost nothing beside the bytes, small enough that a connection's memory stays small.
const CHUNK_BYTES: usize = 256 * 1024;

/// Shorter ranges are cheaper copied: many of them and the texts between go out in one write.
const SENDFILE_LEAST: u64 = 16 * 1024;

/// What a body is made of, in the order in which it goes out.
#[derive(Debug)]
pub enum Part {
    /// For example the head of a part of `multipart/byteranges`.
    Text(Bytes),
    /// A range that lies within the file.
    Range(Range<u64>),
}

/// The parts of one file's body. What is in the page cache is sent by the kernel (long ranges, where the connection can)
/// or read right here; for anything else a blocking thread waits for the disk.
pub struct FileBody {
    key: Key,
    file: Arc<File>,
    parts: VecDeque<Part>,
    left: u64,
    queue: Option<FileQueue>,
    /// Reused while the chunks given out are dropped before the next is asked for.
    buffer: BytesMut,
    reading: Option<Reading>,
}

/// The buffer with what was read behind its content, and how much that is.
type Reading = Pin<Box<dyn Future<Output = Result<(BytesMut, usize), StoreError>> + Send>>;

/// Why the buffer is not filled further.
enum Filled {
    Enough,
    /// The next bytes are not in the page cache: this many of them, from here.
    Cold(usize, u64),
}

impl Part {
    fn bytes(&self) -> u64 {
        match self {
            Part::Text(text) => text.len() as u64,
            Part::Range(range) => range.end.saturating_sub(range.start),
        }
    }
}

impl FileBody {
    pub fn new(
        key: Key,
        file: Arc<File>,
        parts: impl IntoIterator<Item = Part>,
        queue: Option<FileQueue>,
    ) -> FileBody {
        let parts: VecDeque<Part> = parts.into_iter().filter(|part| part.bytes() > 0).collect();
        let left = parts.iter().map(Part::bytes).sum();
        FileBody {
            key,
            file,
            parts,
            left,
            queue,
            buffer: BytesMut::new(),
            reading: None,
        }
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StoreError>> {
        loop {
            if let Some(reading) = &mut self.reading {
                let read = ready!(reading.as_mut().poll(cx));
                self.reading = None;
                let (buffer, read) = read?;
                self.buffer = buffer;
                self.move_on(read)?;
            }
            if self.buffer.is_empty()
                && let Some(promised) = self.promise()?
            {
                return Poll::Ready(Ok(Some(promised)));
            }
            match self.fill()? {
                Filled::Enough if self.buffer.is_empty() => return Poll::Ready(Ok(None)),
                Filled::Enough => return Poll::Ready(Ok(Some(self.buffer.split().freeze()))),
                Filled::Cold(wanted, at) => self.reading = Some(self.read_blocking(wanted, at)),
            }
        }
    }

    /// Has the kernel send the beginning of the next range, if that is worth it and does not wait for the disk.
    fn promise(&mut self) -> Result<Option<Bytes>, StoreError> {
        let (Some(queue), Some(Part::Range(range))) = (&self.queue, self.parts.front()) else {
            return Ok(None);
        };
        let end = range.end.min(range.start + PIECE_MOST);
        if range.end - range.start < SENDFILE_LEAST || !is_cached(&self.file, range.start..end) {
            return Ok(None);
        }
        let promised = queue
            .promise(&self.file, range)
            .map_err(|source| self.failed(source))?;
        self.move_on(promised.len())?;
        Ok(Some(promised))
    }

    /// Packs texts and short ranges into one chunk.
    fn fill(&mut self) -> Result<Filled, StoreError> {
        let chunk = usize::try_from(self.left)
            .unwrap_or(CHUNK_BYTES)
            .min(CHUNK_BYTES);
        if self.buffer.is_empty() {
            self.buffer.reserve(chunk);
        }
        while self.buffer.len() < chunk {
            let room = chunk - self.buffer.len();
            match self.parts.front_mut() {
                None => break,
                Some(Part::Text(text)) => {
                    self.buffer
                        .extend_from_slice(&text.split_to(room.min(text.len())));
                    if text.is_empty() {
                        self.parts.pop_front();
                    }
                }
                Some(Part::Range(range)) => {
                    let (at, length) = (range.start, range.end - range.start);
                    // The kernel may be able to send it, once this chunk is out of the way.
                    if self.queue.is_some() && length >= SENDFILE_LEAST && !self.buffer.is_empty() {
                        break;
                    }
                    let wanted = usize::try_from(length).unwrap_or(room).min(room);
                    // An error here is no more than "not at once": the blocking read meets it again if it is one.
                    match read_into(&self.file, &mut self.buffer, at, wanted, libc::RWF_NOWAIT) {
                        Ok(read) => self.move_on(read)?,
                        Err(_) => return Ok(Filled::Cold(wanted, at)),
                    }
                }
            }
        }
        Ok(Filled::Enough)
    }

    /// Takes `taken` bytes from the front range.
    fn move_on(&mut self, taken: usize) -> Result<(), StoreError> {
        // Objects are never changed in place, so at the end of a file somebody else cut it.
        if taken == 0 {
            return Err(self.failed(io::ErrorKind::UnexpectedEof.into()));
        }
        if let Some(Part::Range(range)) = self.parts.front_mut() {
            range.start += taken as u64;
            if range.start >= range.end {
                self.parts.pop_front();
            }
        }
        Ok(())
    }

    fn read_blocking(&mut self, wanted: usize, at: u64) -> Reading {
        let (key, file) = (self.key.clone(), self.file.clone());
        let mut buffer = std::mem::take(&mut self.buffer);
        Box::pin(blocking("read", key.to_string(), move || {
            let read = read_into(&file, &mut buffer, at, wanted, 0)
                .map_err(|source| StoreError::from_io("read", &key, source))?;
            Ok((buffer, read))
        }))
    }

    fn failed(&self, source: io::Error) -> StoreError {
        StoreError::from_io("read", &self.key, source)
    }
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        let chunk = ready!(self.poll_chunk(cx)).transpose();
        if let Some(Ok(chunk)) = &chunk {
            self.left = self.left.saturating_sub(chunk.len() as u64);
        }
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Whether a range looks as if it could be had without waiting for the disk. The kernel reads and forgets pages in
/// clusters of about this size, so the ends tell; asking for every page would cost more than it saves.
fn is_cached(file: &File, range: Range<u64>) -> bool {
    const CLUSTER_BYTES: u64 = 128 * 1024;
    let cached = |at| {
        let mut byte = BytesMut::with_capacity(1);
        read_into(file, &mut byte, at, 1, libc::RWF_NOWAIT).is_ok()
    };
    cached(range.end - 1) && (range.end - range.start <= CLUSTER_BYTES || cached(range.start))
}

/// Appends at most `wanted` bytes of the file from `at` on to the spare capacity of `buffer`, which does not grow for it;
/// returns how many. With `RWF_NOWAIT` (preadv2(2)) only what the page cache has; `EAGAIN` when that is nothing.
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
) -> io::Result<usize> {
    let at = i64::try_from(at).map_err(io::Error::other)?;
    let spare = buffer.spare_capacity_mut();
    let part = libc::iovec {
        iov_len: wanted.min(spare.len()),
        iov_base: spare.as_mut_ptr().cast(),
    };
    // SAFETY: `part` lies within the spare capacity, which is ours alone and outlives the call; the descriptor is open.
    let read = unsafe { libc::preadv2(file.as_raw_fd(), &raw const part, 1, at, flags) };
    let read = usize::try_from(read).map_err(|_negative| io::Error::last_os_error())?;
    // SAFETY: the kernel has written that many bytes behind the length.
    unsafe { buffer.set_len(buffer.len() + read) };
    Ok(read)
}
