//! What HTTP/2 writes in one turn of a connection leaves together.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are held back at most: one record of TLS (RFC 8446 §5.1).
const MOST: usize = 16 * 1024;

/// The streams of a connection answer one after the other, and HTTP/2 flushes after each: a record of TLS and a call of
/// the kernel for every small answer. Here they wait until the connection has been polled and [`Batch::end`] is called.
pub struct Batch<I> {
    held: Arc<Mutex<Held<I>>>,
}

struct Held<I> {
    io: I,
    buffer: Vec<u8>,
    /// Bytes of the buffer that have left.
    written: usize,
}

impl<I> Batch<I> {
    pub fn new(io: I) -> Batch<I> {
        let held = Held {
            io,
            buffer: Vec::new(),
            written: 0,
        };
        Batch {
            held: Arc::new(Mutex::new(held)),
        }
    }

    /// The same connection, for whoever ends its turns.
    pub fn handle(&self) -> Batch<I> {
        Batch {
            held: self.held.clone(),
        }
    }

    /// Never contended: both handles belong to one task.
    fn held(&self) -> MutexGuard<'_, Held<I>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I: AsyncWrite + Unpin> Batch<I> {
    /// Sends what was held back. Pending, with the waker registered, while the peer's buffers are full.
    pub fn end(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = self.held();
        ready!(held.drain(cx))?;
        Pin::new(&mut held.io).poll_flush(cx)
    }
}

impl<I: AsyncWrite + Unpin> Held<I> {
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.buffer.len() {
            let left = &self.buffer[self.written..];
            match ready!(Pin::new(&mut self.io).poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
        // Not kept: most connections are idle most of the time.
        (self.buffer, self.written) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    fn write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum::<usize>();
        if self.buffer.len() + length > MOST {
            ready!(self.drain(cx))?;
        }
        if length >= MOST {
            return Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        }
        if self.buffer.capacity() == 0 {
            self.buffer.reserve_exact(MOST);
        }
        for slice in slices {
            self.buffer.extend_from_slice(slice);
        }
        Poll::Ready(Ok(length))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Batch<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.held().io).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Batch<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.held().write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.held().write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// At the end of the turn.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = self.held();
        ready!(held.drain(cx))?;
        Pin::new(&mut held.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use tokio::io::{AsyncReadExt as _, AsyncWrite as _, DuplexStream, duplex};

    use super::*;

    fn write(batch: &mut Batch<DuplexStream>, bytes: &[u8]) -> Poll<usize> {
        let mut cx = Context::from_waker(Waker::noop());
        let written = Pin::new(batch).poll_write_vectored(&mut cx, &[IoSlice::new(bytes)]);
        written.map(|written| written.expect("a write"))
    }

    fn end(batch: &Batch<DuplexStream>) -> Poll<()> {
        let mut cx = Context::from_waker(Waker::noop());
        batch.end(&mut cx).map(|ended| ended.expect("an end"))
    }

    /// What has arrived at the other side.
    fn arrived(other: &mut DuplexStream) -> Vec<u8> {
        let mut bytes = vec![0; 4 * MOST];
        let mut cx = Context::from_waker(Waker::noop());
        let mut reading = std::pin::pin!(other.read(&mut bytes));
        let length = match Future::poll(reading.as_mut(), &mut cx) {
            Poll::Ready(length) => length.expect("bytes"),
            Poll::Pending => 0,
        };
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn nothing_leaves_before_the_end_of_the_turn_and_then_everything_in_order() {
        let (io, mut other) = duplex(4 * MOST);
        let mut batch = Batch::new(io);
        assert_eq!(write(&mut batch, b"one "), Poll::Ready(4));
        assert_eq!(write(&mut batch, b"two"), Poll::Ready(3));
        assert!(arrived(&mut other).is_empty());
        assert!(end(&batch).is_ready());
        assert_eq!(arrived(&mut other), b"one two");
    }

    #[test]
    fn what_is_large_leaves_at_once_but_not_before_what_was_held() {
        let (io, mut other) = duplex(4 * MOST);
        let mut batch = Batch::new(io);
        let large = vec![7; MOST];
        assert_eq!(write(&mut batch, b"first"), Poll::Ready(5));
        assert_eq!(write(&mut batch, &large), Poll::Ready(MOST));
        assert_eq!(arrived(&mut other), [b"first".as_slice(), &large].concat());
    }

    #[test]
    fn a_full_peer_holds_the_writer_back_and_loses_nothing() {
        let (io, mut other) = duplex(1000);
        let mut batch = Batch::new(io);
        let (half, more) = (vec![1; MOST / 2], vec![2; MOST / 2 + 1]);
        assert_eq!(write(&mut batch, &half), Poll::Ready(half.len()));
        assert_eq!(write(&mut batch, &more), Poll::Pending);
        assert_eq!(end(&batch), Poll::Pending);
        let mut seen = Vec::new();
        while end(&batch).is_pending() {
            seen.extend(arrived(&mut other));
        }
        seen.extend(arrived(&mut other));
        assert_eq!(seen, half);
        assert_eq!(write(&mut batch, &more), Poll::Ready(more.len()));
    }
}
