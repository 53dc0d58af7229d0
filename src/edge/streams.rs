//! The streams of one HTTP/2 connection: a peer that does not take an answer loses its stream, and nothing else.

use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use bytes::Buf;
use futures_util::FutureExt as _;

use super::deadline::Deadline;
use super::pace::{Opened, Pace};
use super::patience::Patience;
use crate::tasks::Tasks;

/// An answer of HTTP/2, until the last byte of it is on its way.
pub struct Answer {
    pace: Arc<Pace>,
    /// Bytes that flow control let through.
    taken: AtomicU64,
    /// HTTP/2 has a piece that it did not get rid of; it asks for the next one as soon as it has.
    held: AtomicBool,
    given_up: AtomicBool,
}

impl Answer {
    pub fn new(pace: Arc<Pace>) -> Arc<Answer> {
        pace.answer_begins();
        Arc::new(Answer {
            pace,
            taken: AtomicU64::new(0),
            held: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
        })
    }

    pub fn hold(&self, held: bool) {
        self.held.store(held, Relaxed);
    }

    /// Whether it was us who ended it.
    pub fn is_given_up(&self) -> bool {
        self.given_up.load(Relaxed)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.pace.answer_ends();
    }
}

/// A piece of an answer. Over HTTP/2 it counts what is sent of it.
pub struct Piece {
    bytes: Bytes,
    answer: Option<Arc<Answer>>,
}

impl Piece {
    pub fn new(bytes: Bytes, answer: Option<Arc<Answer>>) -> Piece {
        Piece { bytes, answer }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, bytes: usize) {
        self.bytes.advance(bytes);
        if let Some(answer) = &self.answer {
            answer.taken.fetch_add(bytes as u64, Relaxed);
        }
    }
}

/// Waits while an answer is held back by the peer's flow control.
struct Watch {
    answer: Arc<Answer>,
    /// From the first time on that it is: most answers never are.
    clock: Option<Box<Clock>>,
}

struct Clock {
    patience: Patience,
    deadline: Deadline,
    runs: bool,
    /// What the connection had sent at the last look, bytes.
    sent: u64,
}

impl Watch {
    fn new(answer: Arc<Answer>) -> Watch {
        Watch {
            answer,
            clock: None,
        }
    }

    /// Ready when the peer has had its time.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let answer = &*self.answer;
        if !answer.held.load(Relaxed) {
            if let Some(clock) = &mut self.clock {
                clock.runs = false;
            }
            return Poll::Pending;
        }
        let clock = self.clock.get_or_insert_with(|| {
            Box::new(Clock {
                patience: answer.pace.patience(),
                deadline: Deadline::after(Duration::ZERO),
                runs: false,
                sent: 0,
            })
        });
        if !std::mem::replace(&mut clock.runs, true) {
            clock.sent = answer.pace.taken();
            let now = Instant::now();
            let after = clock.patience.begin(now, answer.taken.load(Relaxed));
            clock.deadline.set((now + after).into());
        }
        loop {
            ready!(clock.deadline.poll(cx));
            let now = Instant::now();
            match clock.look(now, answer) {
                Some(after) => clock.deadline.set((now + after).into()),
                None => return Poll::Ready(()),
            }
        }
    }
}

impl Clock {
    fn look(&mut self, now: Instant, answer: &Answer) -> Option<Duration> {
        let (pace, taken) = (&answer.pace, answer.taken.load(Relaxed));
        let before = std::mem::replace(&mut self.sent, pace.taken());
        // It may be the others' turn: a slow line, or the window of the connection, lets few through at a time.
        if pace.is_narrow(self.sent - before) {
            return Some(self.patience.begin(now, taken));
        }
        self.patience.look(now, taken)
    }
}

/// Runs the streams of one connection, which is not idle while one of them lives: that of a WebSocket outlives its
/// request.
#[derive(Clone)]
pub struct Streams {
    pub executor: Executor,
    pub pace: Arc<Pace>,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        let busy = self.pace.busy();
        // hyper hands a stream over right after its request, and what carries a WebSocket right after its answer.
        let (mut watch, cut) = match self.pace.take_opened() {
            Some(Opened::Answer(answer)) => (Some(Watch::new(answer)), None),
            Some(Opened::Tunnel(cut)) => (None, Some(cut)),
            None => (None, None),
        };
        // The first poll is the connection's own: a panic must not take the other streams along.
        let mut future = Box::pin(AssertUnwindSafe(future).catch_unwind());
        let stream = async move {
            let ended = poll_fn(|cx| match (future.as_mut().poll(cx), &mut watch) {
                (Poll::Ready(Ok(_)), _) => Poll::Ready(true),
                (Poll::Ready(Err(_)), _) => {
                    tracing::error!("an HTTP/2 stream panicked");
                    Poll::Ready(true)
                }
                (Poll::Pending, Some(watch)) => watch.poll(cx).map(|()| false),
                (Poll::Pending, None) => match &cut {
                    // Without its future h2 resets the stream.
                    Some(cut) => cut.poll(cx).map(|()| false),
                    None => Poll::Pending,
                },
            });
            if let (false, Some(watch)) = (ended.await, &watch) {
                // Without its future h2 resets the stream.
                watch.answer.given_up.store(true, Relaxed);
                tracing::debug!("a stream is ended: the peer does not take its answer");
            }
            drop(busy);
        };
        // Most answers are there at once: they need no task, and leave together with those of the same turn.
        let mut stream = Box::pin(stream);
        let mut unheard = Context::from_waker(Waker::noop());
        if stream.as_mut().poll(&mut unheard).is_pending() {
            self.executor.execute(stream); // which polls it again, to be woken
        }
    }
}

/// hyper's HTTP/2 streams become named tasks of the daemon.
#[derive(Clone)]
pub struct Executor(pub Tasks);

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        drop(self.0.short("http2-stream", future)); // it ends with its connection
    }
}
