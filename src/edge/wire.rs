//! The bytes of one connection, inside of TLS: counted, and looked at, on their way to and from HTTP.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::frames::{Frames, Seen};
use super::framing::{END, Framing};
use super::io::Io;
use super::pace::Pace;

/// The preface of HTTP/2 (RFC 9113 §3.4), and what stands in it behind the line that `Framing` knows it by; bytes.
const PREFACE: usize = 24;
const PREFACE_REST: usize = 8;

pub struct Wire<I> {
    io: I,
    pace: Arc<Pace>,
    framing: Framing,
    incoming: Frames,
    outgoing: Frames,
}

impl<I> Wire<I> {
    pub fn new(io: I, pace: Arc<Pace>) -> Wire<I> {
        let (framing, preface) = match pace.is_http2() {
            true => (Framing::none(), PREFACE),
            false => (Framing::default(), PREFACE_REST),
        };
        Wire {
            io,
            pace,
            framing,
            incoming: Frames::behind(preface),
            outgoing: Frames::behind(0),
        }
    }
}

impl Wire<Box<TlsStream<Io>>> {
    /// Waits for the peer, and goes on sending what it has not taken yet.
    pub fn poll_moves(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Poll::Ready(Err(_)) = Pin::new(&mut self.io).poll_flush(cx) {
            return Poll::Ready(()); // whoever reads next meets the error too
        }
        self.io.get_ref().0.poll_readable(cx)
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Wire<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buffer))?;
        let fresh = buffer.filled_mut().split_at_mut(before).1;
        if this.pace.is_upgraded() || fresh.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let length = fresh.len();
        let frames = this.framing.follow(fresh);
        if this.framing.is_http2() {
            this.pace.speaks_http2();
            let mut seen = Seen::default();
            this.incoming.follow(frames, &mut seen);
            return Poll::Ready(this.pace.received_frames(length, seen));
        }
        if this.framing.is_refused() && buffer.remaining() >= END.len() {
            buffer.put_slice(END);
        }
        this.pace.received(this.framing.in_head());
        this.pace.is_between(this.framing.is_between());
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> Wire<I> {
    fn count(
        &mut self,
        slices: &[IoSlice<'_>],
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.pace.waits(written.is_pending());
        let Poll::Ready(Ok(mut left)) = written else {
            return written;
        };
        if !self.pace.is_http2() {
            self.pace.sent(left);
            return written;
        }
        let mut seen = Seen::default();
        for slice in slices {
            let (here, _) = slice.split_at(left.min(slice.len()));
            self.outgoing.follow(here, &mut seen);
            left -= here.len();
        }
        self.pace.sent_frames(seen);
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
        self.count(&[IoSlice::new(bytes)], written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.count(slices, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// A session of TLS takes more than its socket does: what was written may still be here.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.pace.waits(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pace.is_between(false);
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;
    use std::time::{Duration, Instant};

    use tokio::io::{BufWriter, duplex};

    use super::*;
    use crate::config;

    #[test]
    fn an_answer_that_only_the_session_has_taken_keeps_the_connection_from_resting() {
        let (io, _other) = duplex(10);
        let pace = Arc::new(Pace::new(&config::Http::default(), Instant::now(), false));
        // As a session of TLS, the writer takes more than the connection below it.
        let mut wire = Wire::new(BufWriter::with_capacity(1000, io), pace.clone());
        let mut cx = Context::from_waker(Waker::noop());
        drop(pace.begin());
        pace.is_between(true);
        let later = Instant::now() + Duration::from_secs(10);
        assert!(pace.rests(later));
        assert!(
            Pin::new(&mut wire)
                .poll_write(&mut cx, &[0; 100])
                .is_ready()
        );
        assert!(Pin::new(&mut wire).poll_flush(&mut cx).is_pending());
        assert!(!pace.rests(later));
    }
}
