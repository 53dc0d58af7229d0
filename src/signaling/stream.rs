//! The bytes of one connection, accepted here or upgraded from HTTP.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::cut::Cut;

pub enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// Whatever the HTTP listener read the request from, and how to have it cut.
    Http(Box<TokioIo<Upgraded>>, Option<Cut>),
}

impl Stream {
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buffer),
            Self::Http(stream, _) => Pin::new(&mut **stream).poll_read(cx, buffer),
        }
    }

    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => poll_layered(&mut **stream, cx, bytes),
            Self::Http(stream, _) => poll_layered(&mut **stream, cx, bytes),
        }
    }

    /// Writes what can be written now. Whoever gets less than everything has to poll afterwards to hear
    /// when there is room again.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self {
            // Not through tokio, whose notes on the socket's readiness would cost as much as all else around the call.
            Self::Tcp(stream) => {
                socket2::SockRef::from(&*stream).send_with_flags(bytes, libc::MSG_NOSIGNAL)
            }
            Self::Tls(_) | Self::Http(..) => {
                let mut cx = Context::from_waker(Waker::noop());
                match self.poll_write(&mut cx, bytes) {
                    Poll::Ready(written) => written,
                    Poll::Pending => Ok(0),
                }
            }
        };
        match written {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            written => written,
        }
    }

    /// TLS takes bytes that the socket does not: without this they would wait for the next write.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
            Self::Http(stream, _) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    /// Whether bytes that were taken have not left. Whoever is told so has to poll afterwards.
    pub fn holds_back(&mut self) -> bool {
        self.poll_flush(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    }

    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
            Self::Http(stream, _) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }

    /// Makes the coming close drop what the kernel still holds for a peer that does not read it.
    pub fn reset_on_close(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)),
            Self::Tls(stream) => {
                socket2::SockRef::from(stream.get_ref().0).set_linger(Some(Duration::ZERO))
            }
            Self::Http(_, cut) => {
                if let Some(cut) = cut {
                    cut.give();
                }
                Ok(())
            }
        }
    }
}

/// Takes nothing while the layer below still holds the last bytes: what waits is to be counted where it has a bound.
fn poll_layered<S: AsyncWrite + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    ready!(Pin::new(&mut *stream).poll_flush(cx))?;
    Pin::new(stream).poll_write(cx, bytes)
}
