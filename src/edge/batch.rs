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
