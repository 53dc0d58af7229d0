//! Bytes in both directions after an upgrade: WebSockets and what else the two ends agreed on.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{
    AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf, copy_bidirectional_with_sizes,
};
use tokio::time::Instant;

use super::stream::Stream;
use super::upstream::Place;
use crate::tasks::{self, Tasks};

/// Memory for bytes on their way, per direction.
const BUFFER: usize = 16 * 1024;

pub struct Tunnel {
    pub client: OnUpgrade,
    pub upstream: Stream,
    /// What the upstream sent right behind its answer.
    pub early: Bytes,
    pub place: Place,
    /// Longest time without a byte in either direction.
    pub idle: Duration,
    pub id: HeaderValue,
}

impl Tunnel {
    /// Carries bytes until one end closes, nothing moves for too long, or the daemon ends.
    pub async fn run(mut self, tasks: Tasks) {
        let client = tokio::select! {
            client = self.client => client,
            () = tasks::pause(self.idle) => return,
            () = tasks.cancelled() => return,
        };
        let client = match client {
            Ok(client) => client,
            Err(error) => {
                tracing::debug!(error = %error, "a client went away before its upgrade");
                return;
            }
        };
        let moved = Moved::now();
        let mut client = Watched(TokioIo::new(client), &moved);
        let carry = async {
            client.write_all(&self.early).await?;
            copy_bidirectional_with_sizes(&mut client, &mut self.upstream, BUFFER, BUFFER).await
        };
        tokio::select! {
            carried = carry => if let Err(error) = carried {
                tracing::debug!(error = %error, id = ?self.id, "a tunnel broke");
            },
            () = moved.quiet_for(self.idle) => {
                tracing::debug!(id = ?self.id, "a tunnel was closed because nothing moved in it");
            }
            () = tasks.cancelled() => {}
        }
        drop(self.place);
    }
}

/// When the last byte moved, milliseconds after the tunnel began.
struct Moved {
    begun: Instant,
    last: AtomicU64,
}

impl Moved {
    fn now() -> Moved {
        Moved {
            begun: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    fn mark(&self) {
        let last = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(last, Ordering::Relaxed);
    }

    async fn quiet_for(&self, idle: Duration) {
        loop {
            let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
            let quiet = self.begun.elapsed().saturating_sub(last);
            if quiet >= idle {
                return;
            }
            tasks::pause(idle - quiet).await;
        }
    }
}

/// The client's end: what is read from it goes up, what is written to it came down.
struct Watched<'a, T>(T, &'a Moved);

impl<T: AsyncRead + Unpin> AsyncRead for Watched<'_, T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.0).poll_read(cx, buffer);
        if polled.is_ready() {
            self.1.mark();
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<'_, T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.0).poll_write(cx, bytes);
        if polled.is_ready() {
            self.1.mark();
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
