//! A request's body as it comes from the peer: one that makes no progress ends with an error.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::deadline::Deadline;
use super::pace::Busy;

/// Only the time that is waited for the peer counts, not what the server takes to go on reading.
pub struct Intake {
    body: Incoming,
    late: Arc<AtomicBool>,
    timeout: Duration,
    /// Least progress within `timeout`, bytes.
    progress: u64,
    /// Received and waited since the last time that the progress was enough.
    received: u64,
    waited: Duration,
    silent_since: Option<Instant>,
    deadline: Deadline,
    /// A body that is still read keeps its connection, also when it is answered.
    _busy: Busy,
}

#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    #[error("the body stopped arriving")]
    Late,
    #[error("the body broke off")]
    Broken(#[source] hyper::Error),
}

impl Intake {
    /// `late` is set when the peer is given up.
    pub fn new(
        body: Incoming,
        late: Arc<AtomicBool>,
        timeout: Duration,
        bytes_per_second: u64,
        busy: Busy,
    ) -> Intake {
        Intake {
            body,
            late,
            timeout,
            progress: bytes_per_second * timeout.as_secs(),
            received: 0,
            waited: Duration::ZERO,
            silent_since: None,
            deadline: Deadline::after(timeout),
            _busy: busy,
        }
    }

    fn arrived(&mut self, bytes: usize) {
        self.received += bytes as u64;
        if let Some(since) = self.silent_since.take() {
            self.waited += since.elapsed();
        }
    }

    /// Ready when the peer has had its time.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = Instant::now();
            let since = *self.silent_since.get_or_insert(now);
            let silence = now - since;
            if self.waited + silence >= self.timeout {
                if self.received < self.progress.max(1) || silence >= self.timeout {
                    return Poll::Ready(());
                }
                (self.received, self.waited) = (0, Duration::ZERO);
            }
            self.deadline.set(since + (self.timeout - self.waited));
            ready!(self.deadline.poll(cx));
        }
    }
}

impl http_body::Body for Intake {
    type Data = Bytes;
    type Error = IntakeError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, IntakeError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.arrived(frame.data_ref().map_or(0, Bytes::len));
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(IntakeError::Broken(error)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => self.poll_late(cx).map(|()| {
                self.late.store(true, Ordering::Relaxed);
                Some(Err(IntakeError::Late))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
