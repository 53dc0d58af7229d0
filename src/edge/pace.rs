//! How one connection moves: what it does now and since when, so that a peer that holds it for nothing is cut.
//!
//! Everything here happens on the thread of the connection; the atomics only let it be shared with its requests.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;

use super::frames::Seen;
use super::patience::Patience;
use super::streams::{Answer, Piece};
use crate::config;
use crate::signaling::Cut;

/// HTTP/2 frames that carry neither request nor body (PING, SETTINGS, PRIORITY, WINDOW_UPDATE …) cost a turn each and are
/// worth nothing: what a connection receives may be eight times its requests and bodies and this much, bytes. nginx's rule.
const CONTROL_MOST: u64 = 1024 * 1024;
const CONTROL_FACTOR: u64 = 8;
/// What is sent is answered with WINDOW_UPDATEs: for each frame of DATA two of them may come, or one for so many bytes.
const SENT_FRAME: u64 = 4;
const SENT_PER_CONTROL: u64 = 64;
/// RFC 9113 §6.9.2: the first window of a connection, bytes.
const WINDOW: i64 = 65_535;
/// With less than that left, it is the window of the connection that streams wait for, bytes.
const WINDOW_LEAST: i64 = 1024;

/// A connection that has been idle so long gives back the memory that only requests need. To get it again costs some
/// microseconds, a small part of what a connection costs that is used so seldom.
pub const REST_AFTER: Duration = Duration::from_millis(250);

pub struct Pace {
    begun: Instant,
    limits: Limits,
    received: AtomicU64,
    /// What entitles a peer of HTTP/2 to send, bytes: its requests and bodies, and what it was sent.
    worth: AtomicU64,
    /// Of HTTP/2 what DATA carries; the rest may be answers to PINGs.
    sent: AtomicU64,
    /// What the peer of HTTP/2 will still take on all streams, bytes.
    window: AtomicI64,
    in_flight: AtomicU32,
    /// Answers of HTTP/2 of which the last byte is not on its way. Their streams may have ended before.
    answers: AtomicU32,
    /// What came last, until its stream takes it.
    opened: Mutex<Option<Opened>>,
    /// The peer has not yet taken what was written.
    waiting: AtomicBool,
    /// A request has come.
    met: AtomicBool,
    /// When the last answer ended, or the first byte of a head came after it; microseconds since `begun`.
    since: AtomicU64,
    /// A head has begun to come and is not complete; from the beginning on, until the first one is.
    in_head: AtomicBool,
    /// Of HTTP/1.1: everything that came has been requests, and answers may follow.
    between: AtomicBool,
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
    bytes_per_second: u64,
    resets: u32,
}

/// What was seen at the last look.
pub struct Watch {
    sent: u64,
    moved: Option<Instant>,
    /// With the ends of answers whose streams have ended.
    patience: Patience,
    waiting: bool,
}

/// What is to become of the connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    Again(Duration),
    /// It has had no request for too long.
    Close,
    Cut(&'static str),
}

/// What a stream of HTTP/2 is for.
#[derive(Clone)]
pub enum Opened {
    Answer(Arc<Answer>),
    /// What another protocol sends. Whoever speaks that may give the order to drop it.
    Tunnel(Cut),
}

/// The connection is in use.
pub struct Busy {
    pace: Arc<Pace>,
}

/// One request from its head to the last byte of its answer.
pub struct Turn {
    pace: Arc<Pace>,
    _busy: Busy,
    /// Of HTTP/2.
    answer: Option<Arc<Answer>>,
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
                bytes_per_second: http.min_bytes_per_second,
                resets: http.max_resets_per_second,
            },
            received: AtomicU64::new(0),
            worth: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            window: AtomicI64::new(WINDOW),
            in_flight: AtomicU32::new(0),
            answers: AtomicU32::new(0),
            opened: Mutex::default(),
            waiting: AtomicBool::new(false),
            met: AtomicBool::new(false),
            since: AtomicU64::new(0),
            in_head: AtomicBool::new(true),
            between: AtomicBool::new(false),
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
    pub fn received(&self, in_head: bool) {
        if !in_head && !self.met.load(Relaxed) {
            // Empty lines before the first request are none.
        } else if self.in_head.swap(in_head, Relaxed) != in_head && in_head {
            self.since.store(self.micros(Instant::now()), Relaxed);
        }
    }

    /// The same over HTTP/2.
    ///
    /// # Errors
    /// The peer floods the connection.
    pub fn received_frames(&self, bytes: usize, seen: Seen) -> io::Result<()> {
        let received = self.received.fetch_add(bytes as u64, Relaxed) + bytes as u64;
        let payload = seen.data + seen.fields;
        let worth = self.worth.fetch_add(payload, Relaxed) + payload;
        let window = i64::try_from(seen.window).unwrap_or(i64::MAX); // h2 ends a connection with more than 31 bits
        self.window.fetch_add(window, Relaxed);
        let flood = received > CONTROL_FACTOR * (CONTROL_MOST + worth);
        match flood || self.hostile.load(Relaxed) {
            true => Err(io::Error::new(io::ErrorKind::QuotaExceeded, "a flood")),
            false => Ok(()),
        }
    }

    pub fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }

    /// The same over HTTP/2.
    pub fn sent_frames(&self, seen: Seen) {
        let worth = SENT_FRAME * seen.data_frames + seen.data / SENT_PER_CONTROL;
        self.worth.fetch_add(worth, Relaxed);
        self.sent.fetch_add(seen.data, Relaxed);
        let data = i64::try_from(seen.data).unwrap_or(i64::MAX); // of one write
        self.window.fetch_sub(data, Relaxed);
    }

    /// What the peer has taken of all answers, bytes.
    pub fn taken(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    pub fn patience(&self) -> Patience {
        Patience::new(self.limits.write, self.limits.bytes_per_second)
    }

    /// Whether streams of HTTP/2 have to wait for each other. The socket has a deadline of its own; the window of the
    /// connection has to move, since the last look of a stream by `moved` bytes.
    pub fn is_narrow(&self, moved: u64) -> bool {
        let enough = Patience::between_looks(self.limits.write, self.limits.bytes_per_second);
        let full = self.window.load(Relaxed) < WINDOW_LEAST;
        self.waiting.load(Relaxed) || (full && moved >= enough)
    }

    /// Whether the last write found the peer's buffers full.
    pub fn waits(&self, waiting: bool) {
        self.waiting.store(waiting, Relaxed);
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

    pub fn is_between(&self, between: bool) {
        self.between.store(between, Relaxed);
    }

    /// Whether a connection of HTTP/1.1 has had nothing to do for [`REST_AFTER`]: all requests are answered, all answers
    /// are out, and no byte of a next request has come.
    pub fn rests(&self, now: Instant) -> bool {
        let idle = self.met.load(Relaxed)
            && self.between.load(Relaxed)
            && self.in_flight.load(Relaxed) == 0
            && !self.waiting.load(Relaxed)
            && !self.is_upgraded();
        let since = self.begun + Duration::from_micros(self.since.load(Relaxed));
        idle && now.saturating_duration_since(since) >= REST_AFTER
    }

    pub fn busy(self: &Arc<Pace>) -> Busy {
        self.in_flight.fetch_add(1, Relaxed);
        Busy { pace: self.clone() }
    }

    pub fn answer_begins(&self) {
        self.answers.fetch_add(1, Relaxed);
    }

    pub fn answer_ends(&self) {
        self.answers.fetch_sub(1, Relaxed);
    }

    pub fn begin(self: &Arc<Pace>) -> Turn {
        if !self.met.swap(true, Relaxed) {
            self.in_head.store(false, Relaxed);
        }
        let answer = self.is_http2().then(|| Answer::new(self.clone()));
        if let Some(answer) = &answer {
            *self.opened() = Some(Opened::Answer(answer.clone()));
        }
        Turn {
            pace: self.clone(),
            _busy: self.busy(),
            answer,
            complete: false,
        }
    }

    fn opened(&self) -> MutexGuard<'_, Option<Opened>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came last, once.
    pub fn take_opened(&self) -> Option<Opened> {
        self.opened().take()
    }

    pub fn watch(&self) -> Watch {
        Watch {
            sent: 0,
            moved: None,
            patience: self.patience(),
            waiting: false,
        }
    }

    /// To be called again as `Look` says; limits are then kept to the moment, though nothing is timed in between.
    pub fn look(&self, now: Instant, watch: &mut Watch) -> Look {
        let limits = &self.limits;
        let soon = limits.head.min(limits.idle);
        let sent = self.sent.load(Relaxed);
        let busy = self.in_flight.load(Relaxed) > 0;
        let untaken = !busy && self.answers.load(Relaxed) > 0 && !self.waiting.load(Relaxed);
        let patience = match std::mem::replace(&mut watch.waiting, untaken) && untaken {
            true => watch.patience.look(now, sent),
            false => Some(watch.patience.begin(now, sent)),
        };
        if busy {
            // What stalls is found where it is written to, or by its stream.
            return Look::Again(soon);
        }
        let since = self.begun + Duration::from_micros(self.since.load(Relaxed));
        if self.in_head.load(Relaxed) {
            let left = (since + limits.head).saturating_duration_since(now);
            if left.is_zero() {
                return Look::Cut("no request came in time");
            }
            return Look::Again(left);
        }
        if sent != watch.sent {
            // The rest of an answer was still on its way.
            (watch.sent, watch.moved) = (sent, Some(now));
        }
        if self.waiting.load(Relaxed) {
            // The socket has a deadline for that.
            return Look::Again(soon);
        }
        if untaken {
            // The end of an answer is held back, and there is no stream to be ended any more.
            return patience.map_or(Look::Cut("the peer does not take its answers"), Look::Again);
        }
        let since = watch.moved.map_or(since, |moved| moved.max(since));
        let left = (since + limits.idle).saturating_duration_since(now);
        if left.is_zero() {
            return Look::Close;
        }
        // A head that begins now has to be complete by then.
        Look::Again(left.min(limits.head))
    }
}

impl Turn {
    pub fn busy(&self) -> Busy {
        self.pace.busy()
    }

    /// From now on the connection speaks another protocol, which has deadlines of its own.
    pub fn upgrade(&self) {
        self.pace.upgraded.store(true, Relaxed);
    }

    /// The same for its stream of HTTP/2, which hyper opens right behind the answer.
    pub fn carries(&self, cut: Cut) {
        *self.pace.opened() = Some(Opened::Tunnel(cut));
    }

    pub fn is_http2(&self) -> bool {
        self.answer.is_some()
    }

    /// The connection can take a piece of the answer.
    pub fn asked(&self) {
        if let Some(answer) = &self.answer {
            answer.hold(false);
        }
    }

    /// The piece that it gets.
    pub fn piece(&self, bytes: Bytes) -> Piece {
        if let Some(answer) = &self.answer {
            answer.hold(true);
        }
        Piece::new(bytes, self.answer.clone())
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

impl Drop for Turn {
    fn drop(&mut self) {
        let pace = &self.pace;
        let Some(answer) = &self.answer else { return };
        if self.complete || answer.is_given_up() {
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
