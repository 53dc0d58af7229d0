//! A request's body on its way to an upstream, and how far it got.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

/// What a stalled upload waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The upstream takes nothing.
    Upstream,
    /// The client sends nothing.
    Client,
    /// Nothing: all of it is out.
    Sent,
    /// Nothing: the client's connection broke.
    Broken,
}

/// The phase of an upload and since when it lasts.
pub struct Progress(Mutex<(Phase, Instant)>);

pub struct Upload {
    body: Body,
    /// Requests without a body have none.
    progress: Option<Arc<Progress>>,
}

impl Progress {
    pub fn phase(&self) -> (Phase, Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, phase: Phase) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (phase, Instant::now());
    }
}

impl Upload {
    pub fn new(body: Body) -> Upload {
        let progress = (!http_body::Body::is_end_stream(&body))
            .then(|| Arc::new(Progress(Mutex::new((Phase::Upstream, Instant::now())))));
        Upload { body, progress }
    }

    pub fn progress(&self) -> Option<Arc<Progress>> {
        self.progress.clone()
    }

    pub fn empty() -> Upload {
        Upload {
            body: Body::empty(),
            progress: None,
        }
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let Some(progress) = &self.progress else {
            return polled;
        };
        match &polled {
            Poll::Pending => {
                // A wait that began earlier goes on.
                if progress.phase().0 != Phase::Client {
                    progress.set(Phase::Client);
                }
            }
            Poll::Ready(Some(Ok(_))) if self.body.is_end_stream() => progress.set(Phase::Sent),
            Poll::Ready(Some(Ok(_))) => progress.set(Phase::Upstream),
            Poll::Ready(None) => progress.set(Phase::Sent),
            Poll::Ready(Some(Err(_))) => progress.set(Phase::Broken),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
