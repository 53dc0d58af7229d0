//! How long the head of an answer is waited for.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::upload::{Phase, Progress};
use crate::edge::deadline::Deadline;

pub struct Wait {
    pub begun: Instant,
    /// From the end of the request.
    pub first_byte: Duration,
    /// Longest stall of its body.
    pub idle: Duration,
    /// When the whole exchange has to be over.
    pub latest: Option<Instant>,
    pub progress: Option<Arc<Progress>>,
}

impl Wait {
    fn due(&self) -> Instant {
        let due = match self.progress.as_deref().map(Progress::phase) {
            None => self.begun + self.first_byte,
            Some((Phase::Sent, since)) => since + self.first_byte,
            Some((_, since)) => since + self.idle,
        };
        self.latest.map_or(due, |latest| due.min(latest))
    }

    /// Ready when it is over.
    pub fn poll(&self, deadline: &mut Deadline, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            deadline.set(self.due());
            ready!(deadline.poll(cx));
            // The body may have gone on since.
            if Instant::now() >= self.due() {
                return Poll::Ready(());
            }
        }
    }

    /// Whose silence it was.
    pub fn phase(&self) -> Phase {
        self.progress
            .as_deref()
            .map_or(Phase::Sent, |progress| progress.phase().0)
    }
}
