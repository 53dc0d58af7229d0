//! A deadline that is polled, and that moves without touching the timer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Registering a timer costs as much as parsing a request head. This one is registered when it is first needed, and
/// again only when it fires before the time that was set last.
pub struct Deadline {
    timer: Option<Pin<Box<Sleep>>>,
    at: Instant,
}

impl Deadline {
    pub fn after(time: Duration) -> Deadline {
        Deadline {
            timer: None,
            at: Instant::now() + time,
        }
    }

    pub fn set(&mut self, at: Instant) {
        self.at = at;
    }

    /// Ready when the time that was set last has come.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| timer(self.at));
        if timer.deadline() > self.at {
            timer.as_mut().reset(self.at);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= self.at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(self.at);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a deadline that is polled, not a pause"
)]
fn timer(at: Instant) -> Pin<Box<Sleep>> {
    Box::pin(tokio::time::sleep_until(at))
}
