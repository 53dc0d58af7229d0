//! The access log: a line for each request, written when the last byte of its answer is out.

use std::cell::RefCell;
use std::fmt;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

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
    static HELD: RefCell<Held> = const { RefCell::new(Held { lines: Vec::new(), since: None, gathers: false }) };
}

/// The lines of one worker since it last slept.
struct Held {
    lines: Vec<u8>,
    /// When the first of them came.
    since: Option<Instant>,
    gathers: bool,
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
            form(self, Micros(took), &mut held.lines);
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

    fn text(&self, took: Micros, lines: &mut Vec<u8>) {
        let (now, method, path) = (clock::now(), &self.method, &self.path);
        let (status, bytes, complete) = (self.status, self.bytes, self.complete);
        let (address, id) = (self.peer.ip(), self.id.simple());
        let _never = writeln!(
            lines, // memory takes everything
            "{now:.6}  INFO {TARGET}: answered method={method} path={path:?} status={status} bytes={bytes} \
             duration_ms={took} address={address} id={id} complete={complete}"
        );
    }

    fn json(&self, took: Micros, lines: &mut Vec<u8>) {
        let (now, method) = (clock::now(), &self.method);
        let (status, bytes, complete) = (self.status, self.bytes, self.complete);
        let (address, id) = (self.peer.ip(), self.id.simple());
        let path = serde_json::Value::from(self.path.as_str());
        let _never = writeln!(
            lines, // memory takes everything
            r#"{{"timestamp":"{now:.6}","level":"INFO","message":"answered","method":"{method}","path":{path},"status":{status},"bytes":{bytes},"duration_ms":{took},"address":"{address}","id":"{id}","complete":{complete},"target":"{TARGET}"}}"#
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
