//! An answer on its way out: counted, timed and, with its last byte, written into the access log.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};

use super::pace::Turn;
use super::{Shared, measure};

/// What the access log says of a request.
pub struct Line {
    pub method: http::Method,
    pub path: String,
    pub peer: SocketAddr,
    pub id: String,
    pub status: u16,
    pub bytes: u64,
    pub started: Instant,
    pub complete: bool,
    /// Counted, but not written.
    pub silent: bool,
}

/// An answer's body on its way out; its end, or the connection's, writes the access line.
pub struct Recorded {
    pub body: Body,
    pub line: Option<Line>,
    pub shared: Arc<Shared>,
    pub turn: Turn,
    pub _in_flight: measure::InFlight,
}

impl http_body::Body for Recorded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.turn.asked();
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let last = self.body.is_end_stream();
        let Recorded { line, turn, .. } = &mut *self;
        let Some(line) = line else {
            return polled;
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                line.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                if !last {
                    turn.handed();
                }
            }
            Poll::Ready(None) => line.complete = true,
            Poll::Ready(Some(Err(_))) => turn.complete(),
            Poll::Pending => {}
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

impl Drop for Recorded {
    fn drop(&mut self) {
        let Some(line) = self.line.take() else { return };
        let complete = line.complete || http_body::Body::is_end_stream(&self.body);
        if complete {
            self.turn.complete();
        }
        let took = line.started.elapsed();
        self.shared
            .measures
            .answered(line.status, took.as_secs_f64(), line.bytes);
        if line.silent {
            return;
        }
        tracing::info!(
            target: "seance::access",
            method = %line.method,
            path = line.path,
            status = line.status,
            bytes = line.bytes,
            duration_ms = took.as_secs_f64() * 1e3,
            address = %line.peer.ip(),
            id = line.id,
            complete,
            "answered"
        );
    }
}
