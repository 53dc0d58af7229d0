//! The bytes of one connection: cuts a peer that takes nothing, and closes so that the last answer is seen.

use std::io;
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::deadline::Deadline;
use super::patience::Patience;
use crate::signaling::Cut;
use crate::store::sendfile::{self, FileQueue};

/// After the last answer the rest of a refused body is dropped for at most this long and this much: closing
/// with unread bytes resets the connection, and the reset would overtake the answer (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(2);
/// Dropping costs about 0.09 ms per megabyte: this much stays below the 5 ms that a refused request may take.
const LINGER_MOST: usize = 32 * 1024 * 1024;

pub struct Io {
    stream: TcpStream,
    files: FileQueue,
    written: u64,
    patience: Patience,
    /// Armed while the peer takes nothing, or while lingering.
    deadline: Deadline,
    armed: bool,
    lingering: Option<usize>,
    cut: Cut,
}

impl Io {
    /// With `patience` for a peer that does not take what is written.
    pub fn new(stream: TcpStream, files: FileQueue, patience: Patience) -> Io {
        Io {
            stream,
            files,
            written: 0,
            patience,
            deadline: Deadline::after(Duration::ZERO),
            armed: false,
            lingering: None,
            cut: Cut::default(),
        }
    }

    /// For whoever takes the connection over.
    pub fn cut(&self) -> Cut {
        self.cut.clone()
    }

    /// Ready when there is something to read, be it the end.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_read_ready(cx).map(|_| ())
    }

    /// Turns a write that cannot go on into an error once the peer has had its time. The socket is writable again only
    /// when a third of its buffer is free: a slow peer may need minutes for that.
    fn stalled(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = written {
            self.armed = false;
            self.written += written.as_ref().map_or(0, |bytes| *bytes as u64);
            return Poll::Ready(written);
        }
        if !self.armed {
            self.armed = true;
            let now = Instant::now();
            let after = self.patience.begin(now, self.taken()?);
            self.deadline.set((now + after).into());
        }
        loop {
            ready!(self.deadline.poll(cx));
            let now = Instant::now();
            let Some(after) = self.patience.look(now, self.taken()?) else {
                // Else the kernel would go on offering what it holds for minutes.
                SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            };
            self.deadline.set((now + after).into());
        }
    }

    fn taken(&self) -> io::Result<u64> {
        let untaken = untaken(&self.stream)?;
        Ok(self.written.saturating_sub(untaken as u64))
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
            if self.deadline.poll(cx).is_ready() {
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

impl Drop for Io {
    fn drop(&mut self) {
        if self.cut.is_given()
            && let Err(error) = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))
        {
            tracing::debug!(%error, "cannot reset a connection");
        }
    }
}

/// Bytes that were written and that the peer's system has not acknowledged (tcp(7), SIOCOUTQ).
fn untaken(stream: &TcpStream) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    #[expect(unsafe_code, reason = "no crate here has a safe form of this ioctl")]
    // SAFETY: TIOCOUTQ, which is SIOCOUTQ, stores one int (tcp(7)) at the address, that of a local variable.
    let done = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    match usize::try_from(bytes) {
        Ok(bytes) if done == 0 => Ok(bytes),
        _ => Err(io::Error::last_os_error()),
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
            self.deadline.set((Instant::now() + LINGER).into());
        }
        self.linger(cx)
    }
}
