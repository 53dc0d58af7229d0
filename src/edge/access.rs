//! The access log: a line for each request, written when the last byte of its answer is out.

use std::cell::RefCell;
use std::fmt;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use crate::clock;

const TARGET: &str = "seance::access";
/// A worker that does not come to sleep holds no more lines than that, bytes, and none for longer when another comes.
const MOST: usize = 64 * 1024;
const HELD_MOST: Duration = Duration::from_millis(100);

/// Where access lines go, and in which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLog {
    Off,
    /// With everything else that is logged: to the journal each value is a field, to a terminal lines have colours.
    Events,
    /// To standard error, as the events of text and JSON logs look. Small answers cost more to log than to make when
    /// each line goes through the formatter of events and is a call of the kernel.
    Text,
    Json,
}

/// What the access log says of a request.
pub struct Line {
    pub method: http::Method,
    pub path: String,
    pub peer: SocketAddr,
    pub id: Uuid,
    pub status: u16,
    pub bytes: u64,
    pub started: Instant,
    pub complete: bool,
    pub log: AccessLog,
}

thread_local! {
    static HELD: RefCell<Held> = const { RefCell::new(Held { lines: Vec::new(), since: None, gathers: false, second: Second::NONE }) };
}

/// The lines of one worker since it last slept.
struct Held {
    lines: Vec<u8>,
    /// When the first of them came.
    since: Option<Instant>,
    gathers: bool,
    second: Second,
}

/// The beginning of a timestamp, kept for as long as it stays the same: a calendar's arithmetic costs more than the rest
/// of a line.
struct Second {
    number: i64,
    text: String,
}

impl Second {
    const NONE: Second = Second {
        number: i64::MIN,
        text: String::new(),
    };

    /// RFC 3339 in UTC, to the microsecond.
    fn stamp(&mut self, now: Timestamp) -> Stamp<'_> {
        let micros = now.as_microsecond();
        let number = micros.div_euclid(1_000_000);
        if self.number != number {
            self.number = number;
            self.text = format!("{now:.6}");
            self.text.truncate("0000-00-00T00:00:00".len());
        }
        Stamp {
            second: &self.text,
            micros: micros.rem_euclid(1_000_000),
        }
    }
}

struct Stamp<'a> {
    second: &'a str,
    micros: i64,
}

impl fmt::Display for Stamp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}Z", self.second, self.micros)
    }
}

/// From now on the lines of this thread wait for [`write_out`].
pub fn gather() {
    HELD.with_borrow_mut(|held| held.gathers = true);
}

/// Writes the lines of this thread. To be called before it sleeps.
pub fn write_out() {
    HELD.with_borrow_mut(Held::write_out);
}

impl Held {
    fn write_out(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        // What cannot be written to standard error can be reported nowhere.
        let _lost = std::io::stderr().write_all(&self.lines);
        self.lines.clear();
        self.since = None;
    }
}

impl Line {
    pub fn write(&self, took: Duration) {
        let form = match self.log {
            AccessLog::Off => return,
            AccessLog::Events => return self.event(took),
            AccessLog::Text => Line::text,
            AccessLog::Json => Line::json,
        };
        if !tracing::enabled!(target: TARGET, tracing::Level::INFO) {
            return;
        }
        HELD.with_borrow_mut(|held| {
            let Held { lines, second, .. } = held;
            form(self, second.stamp(clock::now()), Micros(took), lines);
            let now = self.started + took;
            let since = *held.since.get_or_insert(now);
            let late = now.saturating_duration_since(since) > HELD_MOST;
            if !held.gathers || late || held.lines.len() > MOST {
                held.write_out();
            }
        });
    }

    fn event(&self, took: Duration) {
        tracing::info!(
            target: TARGET,
            method = %self.method,
            path = self.path,
            status = self.status,
            bytes = self.bytes,
            duration_ms = %Micros(took),
            address = %self.peer.ip(),
            id = %self.id.simple(),
            complete = self.complete,
            "answered"
        );
    }

    fn text(&self, now: Stamp<'_>, took: Micros, lines: &mut Vec<u8>) {
        let (method, path) = (&self.method, &self.path);
        let (status, bytes, complete) = (self.status, self.bytes, self.complete);
        let (address, id) = (self.peer.ip(), self.id.simple());
        let _never = writeln!(
            lines, // memory takes everything
            "{now}  INFO {TARGET}: answered method={method} path={path:?} status={status} bytes={bytes} \
             duration_ms={took} address={address} id={id} complete={complete}"
        );
    }

    fn json(&self, now: Stamp<'_>, took: Micros, lines: &mut Vec<u8>) {
        let method = &self.method;
        let (status, bytes, complete) = (self.status, self.bytes, self.complete);
        let (address, id) = (self.peer.ip(), self.id.simple());
        let path = serde_json::Value::from(self.path.as_str());
        let _never = writeln!(
            lines, // memory takes everything
            r#"{{"timestamp":"{now}","level":"INFO","message":"answered","method":"{method}","path":{path},"status":{status},"bytes":{bytes},"duration_ms":{took},"address":"{address}","id":"{id}","complete":{complete},"target":"{TARGET}"}}"#
        );
    }
}

/// Milliseconds, to the microsecond.
struct Micros(Duration);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}", micros / 1000, micros % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_second_says_what_the_calendar_says() {
        let mut second = Second::NONE;
        for micros in [
            0,
            1,
            999_999,
            1_000_000,
            -1,
            1_700_000_059_999_999,
            1_700_000_060_000_000,
            1_700_000_060_000_001,
        ] {
            let now = Timestamp::from_microsecond(micros).expect("a time");
            assert_eq!(second.stamp(now).to_string(), format!("{now:.6}"));
        }
    }
}
