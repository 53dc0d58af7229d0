//! An answer on its way out: counted, timed and, with its last byte, written into the access log.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use http_body::{Body as _, Frame, SizeHint};

use super::access::Line;
use super::pace::Turn;
use super::streams::Piece;
use super::{Shared, measure};

/// The longest last piece of an answer over HTTP/2, bytes. HTTP/2 keeps it when the stream has ended and its window is
/// used up, for as long as the connection lives; everything before can be taken back.
const TAIL_MOST: usize = 16 * 1024;

/// An answer's body on its way out; its end, or the connection's, writes the access line.
pub struct Recorded {
    pub body: Body,
    /// The end of the last piece, when it comes on its own.
    pub tail: Option<Bytes>,
    pub line: Option<Line>,
    pub shared: Arc<Shared>,
    pub turn: Turn,
    pub _in_flight: measure::InFlight,
}

impl Recorded {
    fn piece(&mut self, mut bytes: Bytes) -> Piece {
        if self.turn.is_http2() && bytes.len() > TAIL_MOST && self.body.is_end_stream() {
            self.tail = Some(bytes.split_off(bytes.len() - TAIL_MOST));
        }
        if let Some(line) = &mut self.line {
            line.bytes += bytes.len() as u64;
        }
        self.turn.piece(bytes)
    }
}

impl http_body::Body for Recorded {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        self.turn.asked();
        let polled = match self.tail.take() {
            Some(tail) => Some(Ok(Frame::data(tail))),
            None => ready!(Pin::new(&mut self.body).poll_frame(cx)),
        };
        match (&polled, &mut self.line) {
            (None, Some(line)) => line.complete = true,
            (Some(Err(_)), _) => self.turn.complete(),
            _ => {}
        }
        let polled =
            polled.map(|frame| frame.map(|frame| frame.map_data(|bytes| self.piece(bytes))));
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.tail.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.tail {
            Some(tail) => SizeHint::with_exact(tail.len() as u64),
            None => self.body.size_hint(),
        }
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        let Some(mut line) = self.line.take() else {
            return;
        };
        // HTTP does not ask for an end that it knows of.
        line.complete |= http_body::Body::is_end_stream(self);
        if line.complete {
            self.turn.complete();
        }
        let took = line.started.elapsed();
        self.shared
            .measures
            .answered(line.status, took.as_secs_f64(), line.bytes);
        line.write(took);
    }
}
