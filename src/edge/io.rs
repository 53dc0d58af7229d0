//! The bytes of one connection: cuts a peer that takes nothing, and closes so that the last answer is seen.

use std::io;
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::store::sendfile::{self, FileQueue};

/// After the last answer the rest of a refused body is dropped for at most this long and this much: closing
/// with unread bytes resets the connection, and the reset would overtake the answer (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(2);
/// Dropping costs about 0.09 ms per megabyte: this much stays below the 5 ms that a refused request may take.
const LINGER_MOST: usize = 32 * 1024 * 1024;

pub struct Io {
    stream: TcpStream,
    files: FileQueue,
    write_timeout: Duration,
    /// Armed while the peer takes nothing, or while lingering.
    deadline: Pin<Box<Sleep>>,
    armed: bool,
    lingering: Option<usize>,
}

impl Io {
    #[expect(
        clippy::disallowed_methods,
        reason = "a deadline that is polled, not a pause"
    )]
    pub fn new(stream: TcpStream, files: FileQueue, write_timeout: Duration) -> Io {
        let deadline = Box::pin(tokio::time::sleep_until(Instant::now()));
        Io {
            stream,
            files,
            write_timeout,
            deadline,
            armed: false,
            lingering: None,
        }
    }

    fn arm(&mut self, after: Duration) {
        self.deadline.as_mut().reset(Instant::now() + after);
        self.armed = true;
    }

    /// Turns a write that cannot go on into an error once the peer has taken nothing for the write timeout.
    fn stalled<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.armed = false;
            return written;
        }
        if !self.armed {
            self.arm(self.write_timeout);
        }
        ready!(self.deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Writes slices as they are and file pieces by the kernel: one run of either kind per call.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (stream, files) = (&self.stream, &self.files);
        match slices
            .iter()
            .position(|slice| sendfile::stands_for_file(slice))
        {
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, slices),
            Some(0) => when_writable(stream, cx, || files.send(stream, slices[0].len())),
            // The file's bytes follow at once: they share a packet with the end of these.
            Some(file) => when_writable(stream, cx, || {
                SockRef::from(stream).send_vectored_with_flags(&slices[..file], libc::MSG_MORE)
            }),
        }
    }

    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(left) = self.lingering.filter(|left| *left > 0) {
            if self.deadline.as_mut().poll(cx).is_ready() {
                break;
            }
            match ready!(poll_discard(&self.stream, cx, left)) {
                Ok(0) | Err(_) => break, // the peer is gone: nothing left to wait for
                Ok(discarded) => self.lingering = Some(left - discarded),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Drops up to `most` received bytes where they are, in the kernel.
fn poll_discard(stream: &TcpStream, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
    #[expect(
        unsafe_code,
        reason = "a buffer that is never written has no safe form"
    )]
    let discard = || {
        // SAFETY: with MSG_TRUNC the kernel drops TCP data instead of storing it (tcp(7)), so the buffer is not used.
        let dropped = unsafe {
            libc::recv(
                stream.as_raw_fd(),
                std::ptr::null_mut(),
                most,
                libc::MSG_TRUNC | libc::MSG_DONTWAIT,
            )
        };
        usize::try_from(dropped).map_err(|_| io::Error::last_os_error())
    };
    loop {
        ready!(stream.poll_read_ready(cx))?;
        match stream.try_io(Interest::READABLE, discard) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return Poll::Ready(done),
        }
    }
}

fn when_writable(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    mut write: impl FnMut() -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(cx))?;
        match stream.try_io(Interest::WRITABLE, &mut write) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => return Poll::Ready(written),
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.write(cx, &[io::IoSlice::new(bytes)]);
        self.stalled(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.write(cx, slices);
        self.stalled(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.lingering = Some(LINGER_MOST);
            self.arm(LINGER);
        }
        self.linger(cx)
    }
}
