//! How one connection moves: what it does now and since when, so that a peer that holds it for nothing is cut.
//!
//! Everything here happens on the thread of the connection; the atomics only let it be shared with its requests.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::Request;

use crate::config;

/// HTTP/2 frames that carry neither request nor body (PING, SETTINGS, PRIORITY, WINDOW_UPDATE …) cost a turn each and are
/// worth nothing: what a connection receives may be eight times its requests and bodies and this much, bytes. nginx's rule.
const CONTROL_MOST: u64 = 1024 * 1024;
const CONTROL_FACTOR: u64 = 8;
/// A download is answered with a WINDOW_UPDATE per so many bytes, at least.
const SENT_PER_CONTROL: u64 = 64;

pub struct Pace {
    begun: Instant,
    limits: Limits,
    received: AtomicU64,
    /// Of them, requests and bodies of HTTP/2.
    payload: AtomicU64,
    sent: AtomicU64,
    in_flight: AtomicU32,
    /// Answers of HTTP/2 with a piece on its way; the next one is not asked for before the peer has taken it.
    blocked: AtomicU32,
    /// Streams of HTTP/2 that have not ended, WebSockets among them.
    streams: AtomicU32,
    /// A WebSocket was opened over HTTP/2: what it carries is counted by nobody here.
    tunnelled: AtomicBool,
    /// The peer has not yet taken what was written.
    waiting: AtomicBool,
    /// A request has come.
    met: AtomicBool,
    /// When the last answer ended, or the first byte of a head came after it; microseconds since `begun`.
    since: AtomicU64,
    /// A head has begun to come and is not complete; from the beginning on, until the first one is.
    in_head: AtomicBool,
    http2: AtomicBool,
    upgraded: AtomicBool,
    /// Requests that the peer took back in this second.
    resets: AtomicU32,
    second: AtomicU64,
    hostile: AtomicBool,
}

struct Limits {
    head: Duration,
    idle: Duration,
    write: Duration,
    /// Least progress within `write`, bytes.
    progress: u64,
    resets: u32,
}

/// What was seen at the last look.
#[derive(Default)]
pub struct Watch {
    sent: u64,
    moved: Option<Instant>,
    /// Since when answers are blocked, and what had been sent then.
    blocked: Option<(Instant, u64)>,
}

/// What is to become of the connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    Again(Duration),
    /// It has had no request for too long.
    Close,
    Cut(&'static str),
}

/// The connection is in use.
pub struct Busy {
    pace: Arc<Pace>,
}

/// A stream of HTTP/2 that has not ended.
pub struct Stream {
    pace: Arc<Pace>,
    _busy: Busy,
}

/// One request from its head to the last byte of its answer.
pub struct Turn {
    pace: Arc<Pace>,
    _busy: Busy,
    blocked: bool,
    complete: bool,
}

impl Pace {
    /// `begun` is when the connection was accepted.
    pub fn new(http: &config::Http, begun: Instant, http2: bool) -> Pace {
        Pace {
            begun,
            limits: Limits {
                head: Duration::from_secs(http.header_timeout_seconds),
                idle: Duration::from_secs(http.idle_timeout_seconds),
                write: Duration::from_secs(http.write_timeout_seconds),
                progress: http.min_bytes_per_second * http.write_timeout_seconds,
                resets: http.max_resets_per_second,
            },
            received: AtomicU64::new(0),
            payload: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            blocked: AtomicU32::new(0),
            streams: AtomicU32::new(0),
            tunnelled: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            met: AtomicBool::new(false),
            since: AtomicU64::new(0),
            in_head: AtomicBool::new(true),
            http2: AtomicBool::new(http2),
            upgraded: AtomicBool::new(false),
            resets: AtomicU32::new(0),
            second: AtomicU64::new(0),
            hostile: AtomicBool::new(false),
        }
    }

    fn micros(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.begun);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    /// Bytes came in; `in_head` when the last of them belongs to a head that is not complete.
    ///
    /// # Errors
    /// The peer floods the connection.
    pub fn received(&self, bytes: usize, in_head: bool) -> io::Result<()> {
        let received = self.received.fetch_add(bytes as u64, Relaxed) + bytes as u64;
        if self.is_http2() {
            let worth = self.payload.load(Relaxed) + self.sent.load(Relaxed) / SENT_PER_CONTROL;
            let flood = received > CONTROL_FACTOR * (CONTROL_MOST + worth);
            if self.hostile.load(Relaxed) || (flood && !self.tunnelled.load(Relaxed)) {
                return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "a flood"));
            }
        } else if !in_head && !self.met.load(Relaxed) {
            // Empty lines before the first request are none.
        } else if self.in_head.swap(in_head, Relaxed) != in_head && in_head {
            self.since.store(self.micros(Instant::now()), Relaxed);
        }
        Ok(())
    }

    pub fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }

    /// Whether the last write found the peer's buffers full.
    pub fn waits(&self, waiting: bool) {
        self.waiting.store(waiting, Relaxed);
    }

    /// A part of a request's body.
    pub fn body(&self, bytes: usize) {
        self.payload.fetch_add(bytes as u64, Relaxed);
    }

    pub fn is_http2(&self) -> bool {
        self.http2.load(Relaxed)
    }

    pub fn speaks_http2(&self) {
        self.http2.store(true, Relaxed);
    }

    pub fn is_upgraded(&self) -> bool {
        self.upgraded.load(Relaxed)
    }

    pub fn busy(self: &Arc<Pace>) -> Busy {
        self.in_flight.fetch_add(1, Relaxed);
        Busy { pace: self.clone() }
    }

    pub fn stream(self: &Arc<Pace>) -> Stream {
        self.streams.fetch_add(1, Relaxed);
        Stream {
            pace: self.clone(),
            _busy: self.busy(),
        }
    }

    pub fn begin<B>(self: &Arc<Pace>, request: &Request<B>) -> Turn {
        if !self.met.swap(true, Relaxed) {
            self.in_head.store(false, Relaxed);
        }
        if self.is_http2() {
            let fields = request.headers().iter();
            let fields = fields.map(|(name, value)| name.as_str().len() + value.len());
            let target = request.uri().path_and_query();
            let target = target.map_or(0, |target| target.as_str().len());
            self.body(target + fields.sum::<usize>());
        }
        Turn {
            pace: self.clone(),
            _busy: self.busy(),
            blocked: false,
            complete: false,
        }
    }

    /// To be called again as `Look` says; limits are then kept to the moment, though nothing is timed in between.
    pub fn look(&self, now: Instant, watch: &mut Watch) -> Look {
        let limits = &self.limits;
        let soon = limits.head.min(limits.idle);
        if self.in_flight.load(Relaxed) > 0 {
            return self.look_at_answers(now, watch, soon);
        }
        watch.blocked = None;
        let since = self.begun + Duration::from_micros(self.since.load(Relaxed));
        if self.in_head.load(Relaxed) {
            let left = (since + limits.head).saturating_duration_since(now);
            if left.is_zero() {
                return Look::Cut("no request came in time");
            }
            return Look::Again(left);
        }
        let sent = self.sent.load(Relaxed);
        if sent != watch.sent {
            // The rest of an answer was still on its way.
            (watch.sent, watch.moved) = (sent, Some(now));
        }
        if self.waiting.load(Relaxed) {
            // The socket has a deadline for that.
            return Look::Again(soon);
        }
        let since = watch.moved.map_or(since, |moved| moved.max(since));
        let left = (since + limits.idle).saturating_duration_since(now);
        if left.is_zero() {
            return Look::Close;
        }
        // A head that begins now has to be complete by then.
        Look::Again(left.min(limits.head))
    }

    /// A stalled socket is found where it is written to; flow control of HTTP/2 stalls without one.
    fn look_at_answers(&self, now: Instant, watch: &mut Watch, soon: Duration) -> Look {
        let sent = self.sent.load(Relaxed);
        // Beside a stream that is silent, or that uploads, the others may be held back for as long as the peer likes.
        let blocked = self.blocked.load(Relaxed);
        if blocked == 0 || blocked < self.streams.load(Relaxed) {
            watch.blocked = None;
            return Look::Again(soon);
        }
        let (since, before) = *watch.blocked.get_or_insert((now, sent));
        let left = (since + self.limits.write).saturating_duration_since(now);
        if !left.is_zero() {
            return Look::Again(left.min(soon));
        }
        if sent - before < self.limits.progress.max(1) {
            return Look::Cut("the peer does not take its answers");
        }
        watch.blocked = Some((now, sent));
        Look::Again(soon)
    }
}

impl Turn {
    pub fn pace(&self) -> Arc<Pace> {
        self.pace.clone()
    }

    /// From now on the connection speaks another protocol, which has deadlines of its own.
    pub fn upgrade(&self) {
        self.pace.upgraded.store(true, Relaxed);
    }

    /// The stream of HTTP/2 is a WebSocket from now on.
    pub fn tunnel(&self) {
        self.pace.tunnelled.store(true, Relaxed);
    }

    /// The connection can take a piece of the answer.
    pub fn asked(&mut self) {
        if std::mem::take(&mut self.blocked) {
            self.pace.blocked.fetch_sub(1, Relaxed);
        }
    }

    /// It got a piece that is not the last one.
    pub fn handed(&mut self) {
        if !self.blocked && self.pace.is_http2() {
            self.blocked = true;
            self.pace.blocked.fetch_add(1, Relaxed);
        }
    }

    /// The answer is out, or it was not the peer who ended it.
    pub fn complete(&mut self) {
        self.complete = true;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let now = self.pace.micros(Instant::now());
        self.pace.in_flight.fetch_sub(1, Relaxed);
        self.pace.since.store(now, Relaxed);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.pace.streams.fetch_sub(1, Relaxed);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.asked();
        let pace = &self.pace;
        if self.complete || !pace.is_http2() {
            return;
        }
        let second = pace.begun.elapsed().as_secs();
        if pace.second.swap(second, Relaxed) != second {
            pace.resets.store(0, Relaxed);
        }
        if pace.resets.fetch_add(1, Relaxed) >= pace.limits.resets {
            pace.hostile.store(true, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
