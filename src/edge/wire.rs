//! The bytes of one connection, inside of TLS: counted, and looked at, on their way to and from HTTP.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::{END, Framing};
use super::pace::Pace;

pub struct Wire<I> {
    io: I,
    pace: Arc<Pace>,
    framing: Framing,
}

impl<I> Wire<I> {
    pub fn new(io: I, pace: Arc<Pace>) -> Wire<I> {
        let framing = match pace.is_http2() {
            true => Framing::none(),
            false => Framing::default(),
        };
        Wire { io, pace, framing }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Wire<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        let fresh = buffer.filled_mut().split_at_mut(before).1;
        if self.pace.is_upgraded() || fresh.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let length = fresh.len();
        self.framing.follow(fresh);
        if self.framing.is_refused() && buffer.remaining() >= END.len() {
            buffer.put_slice(END);
        }
        if self.framing.is_http2() {
            self.pace.speaks_http2();
        }
        Poll::Ready(self.pace.received(length, self.framing.in_head()))
    }
}

impl<I: AsyncWrite + Unpin> Wire<I> {
    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.pace.sent(*bytes);
        }
        self.pace.waits(written.is_pending());
        written
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Wire<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
