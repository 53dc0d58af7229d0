//! HTTP/2 as an attacker writes it: what is sent, and how it has to end.

use std::io::Write as _;
use std::net::TcpStream;

use super::frames::{Frame, GOAWAY, HEADERS, RST_STREAM, get, greet, read_frame, status};
use super::probe::{Entrance, Target};

pub const PROTOCOL_ERROR: u32 = 1;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const CALM: u32 = 11;

/// How a probe ends.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    /// With this answer on stream 1.
    Status(u16),
    /// The whole connection, with this error.
    Goaway(u32),
    /// Stream 1 or the whole connection, with this error: RFC 9113 allows both.
    Either(u32),
}

/// Frames behind the preface, and how the connection ends: h2 says PROTOCOL_ERROR also where RFC 9113 has an error of its
/// own. The request in them is for `HOST` of the entrance.
pub type Frames = fn(&str) -> Vec<u8>;

pub fn live(host: &str) -> Vec<u8> {
    get(host, "/health/live", &[])
}

pub fn until(stream: &mut TcpStream, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
    loop {
        let frame = read_frame(stream)?;
        if wanted(&frame) {
            return Some(frame);
        }
    }
}

/// The last four bytes but for a debug text: RST_STREAM is nothing else, GOAWAY has the last stream before it.
pub fn code(payload: &[u8]) -> u32 {
    let code = payload.get(..4).and_then(|code| code.try_into().ok());
    u32::from_be_bytes(code.expect("a code"))
}

/// How it ended.
#[derive(Debug)]
pub enum Seen {
    Status(Option<u16>),
    Reset(u32),
    Goaway(u32),
    Closed,
}

pub fn fits(wanted: Wanted, seen: &Seen) -> bool {
    match (wanted, seen) {
        (Wanted::Status(wanted), Seen::Status(seen)) => *seen == Some(wanted),
        (Wanted::Either(wanted), Seen::Reset(seen))
        | (Wanted::Goaway(wanted) | Wanted::Either(wanted), Seen::Goaway(seen)) => *seen == wanted,
        _ => false,
    }
}

/// What becomes of stream 1, or of the connection.
pub fn run(entrance: &Entrance, frames: &[u8]) -> Seen {
    let mut stream = entrance.connect();
    greet(&mut stream, &[]);
    let mut writer = stream.try_clone().expect("the same socket");
    std::thread::scope(|scope| {
        // It may hang up before it has read all.
        scope.spawn(move || writer.write_all(frames).unwrap_or_default());
        let mut status_seen = None;
        while let Some(frame) = read_frame(&mut stream) {
            match frame.kind {
                // The end of a flood may be another one than that of its first stream.
                HEADERS if frame.stream == 1 => {
                    status_seen = Some(Seen::Status(status(&frame.payload)));
                    if frames.len() < 20_000 {
                        break;
                    }
                }
                RST_STREAM if frame.stream == 1 && frames.len() < 20_000 => {
                    return Seen::Reset(code(&frame.payload));
                }
                GOAWAY => return Seen::Goaway(code(frame.payload.get(4..).unwrap_or_default())),
                _ => {}
            }
        }
        stream
            .shutdown(std::net::Shutdown::Both)
            .unwrap_or_default(); // gone already
        status_seen.unwrap_or(Seen::Closed)
    })
}

pub fn probe(options: &str, table: &[(&str, Frames, Wanted)]) {
    let target = Target::start(options);
    let mut wrong = Vec::new();
    for (name, frames, wanted) in table {
        for entrance in &target.entrances("h2") {
            let seen = run(entrance, &frames(entrance.host));
            if !fits(*wanted, &seen) {
                wrong.push(format!(
                    "{name} ({}): wanted {wanted:?}; {seen:?}",
                    entrance.host
                ));
            }
        }
        target.assert_serves(name);
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
