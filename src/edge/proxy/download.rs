//! An answer's body on its way to the client. It owns the connection until the last byte is through.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use http::HeaderValue;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::dial::Connection;
use super::upstream::Lease;
use crate::cause::chain;
use crate::edge::deadline::Deadline;

pub struct Download {
    body: Incoming,
    /// Until the body has ended.
    lease: Option<Lease>,
    /// Longest silence of the upstream.
    idle: Duration,
    /// When the whole answer has to be over.
    latest: Option<Instant>,
    /// The upstream is waited for, and the deadline is set.
    waiting: bool,
    /// How long the upstream keeps the connection.
    patience: Option<Duration>,
    id: HeaderValue,
}

#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    #[error("the upstream broke off its answer")]
    Broken(#[source] hyper::Error),
    #[error("the upstream stopped sending its answer")]
    Stalled,
    #[error("the answer took too long")]
    Late,
}

impl Download {
    pub fn new(
        body: Incoming,
        lease: Lease,
        idle: Duration,
        latest: Option<Instant>,
        patience: Option<Duration>,
        id: HeaderValue,
    ) -> Download {
        Download {
            body,
            lease: Some(lease),
            idle,
            latest,
            waiting: false,
            patience,
            id,
        }
    }

    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let Some(Lease {
            connection: Connection::H1(connection),
            ..
        }) = &mut self.lease
        else {
            return polled;
        };
        if polled.is_ready() {
            return polled;
        }
        connection.drive(cx);
        Pin::new(&mut self.body).poll_frame(cx)
    }

    /// Ready when the upstream was silent for too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<DownloadError> {
        let Some(lease) = &mut self.lease else {
            return Poll::Pending;
        };
        let deadline: &mut Deadline = match &mut lease.connection {
            Connection::H1(connection) => &mut connection.deadline,
            Connection::H2(connection) => &mut connection.deadline,
        };
        if !self.waiting {
            self.waiting = true;
            let due = Instant::now() + self.idle;
            deadline.set(self.latest.map_or(due, |latest| latest.min(due)));
        }
        ready!(deadline.poll(cx));
        let late = self.latest.is_some_and(|latest| Instant::now() >= latest);
        Poll::Ready(if late {
            DownloadError::Late
        } else {
            DownloadError::Stalled
        })
    }

    fn fail(&mut self, error: DownloadError) -> DownloadError {
        if let Some(lease) = self.lease.take() {
            let upstream = lease.place.upstream();
            tracing::warn!(
                error = %chain(&error),
                upstream = %upstream.identity.url,
                id = self.id.to_str().unwrap_or("-"),
                "an answer was cut short"
            );
            upstream.measures.failures.inc();
        }
        error
    }
}

impl http_body::Body for Download {
    type Data = Bytes;
    type Error = DownloadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, DownloadError>>> {
        let failed = match self.poll_body(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.waiting = false;
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Err(error))) => DownloadError::Broken(error),
            Poll::Pending => ready!(self.poll_late(cx)),
        };
        Poll::Ready(Some(Err(self.fail(failed))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        // A connection within an answer that nobody reads on is closed.
        if let Some(lease) = self.lease.take()
            && self.body.is_end_stream()
        {
            lease.keep(self.patience);
        }
    }
}
