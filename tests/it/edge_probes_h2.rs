//! HTTP/2 as an attacker writes it, frame by frame: refused as RFC 9113 has it, and no flood keeps a connection.

use std::io::Write as _;
use std::net::TcpStream;

use crate::harness::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PADDED, PING,
    PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, fields, frame, get, greet,
    read_frame, request, status,
};
use crate::harness::probe::{Entrance, ROUTES, Target};

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const CALM: u32 = 11;

/// How a probe ends.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// With this answer on stream 1.
    Status(u16),
    /// The whole connection, with this error.
    Goaway(u32),
    /// Stream 1 or the whole connection, with this error: RFC 9113 allows both.
    Either(u32),
}
use Wanted::{Either, Goaway, Status};

/// Fields of stream 1 behind `:method` and `:scheme`; `PATH` and `HOST` are those of the route.
type Fields<'a> = &'a [(&'a str, &'a str)];

const REQUESTS: &[(&str, Fields, Wanted)] = &[
    (
        "a request",
        &[(":authority", "HOST"), (":path", "PATH")],
        Status(200),
    ),
    (
        "a field for the host",
        &[(":path", "PATH"), ("host", "HOST")],
        Status(200),
    ),
    (
        "both, the same",
        &[(":authority", "HOST"), (":path", "PATH"), ("host", "HOST")],
        Status(200),
    ),
    ("no host", &[(":path", "PATH")], Status(400)),
    (
        "another host in the field",
        &[(":authority", "HOST"), (":path", "PATH"), ("host", "other")],
        Status(400),
    ),
    (
        "two hosts",
        &[(":path", "PATH"), ("host", "HOST"), ("host", "HOST")],
        Status(400),
    ),
    (
        "user information",
        &[(":authority", "other@HOST"), (":path", "PATH")],
        Status(400),
    ),
    (
        "another host",
        &[(":authority", "other"), (":path", "PATH")],
        Status(421),
    ),
    (
        "an empty host",
        &[(":authority", ""), (":path", "PATH")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "a space in the host",
        &[(":authority", "HOST x"), (":path", "PATH")],
        Either(PROTOCOL_ERROR),
    ),
    ("no path", &[(":authority", "HOST")], Either(PROTOCOL_ERROR)),
    (
        "an empty path",
        &[(":authority", "HOST"), (":path", "")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "a path without a slash",
        &[(":authority", "HOST"), (":path", "x")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "a space in the path",
        &[(":authority", "HOST"), (":path", "PATH x")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "CR LF in the path",
        &[(":authority", "HOST"), (":path", "PATH HTTP/1.1\r\nX: 1")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "two paths",
        &[(":authority", "HOST"), (":path", "PATH"), (":path", "PATH")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "two methods",
        &[
            (":method", "GET"),
            (":authority", "HOST"),
            (":path", "PATH"),
        ],
        Either(PROTOCOL_ERROR),
    ),
    (
        "an unknown pseudo-field",
        &[(":authority", "HOST"), (":path", "PATH"), (":x", "1")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "a pseudo-field of answers",
        &[
            (":authority", "HOST"),
            (":path", "PATH"),
            (":status", "200"),
        ],
        Either(PROTOCOL_ERROR),
    ),
    (
        "a pseudo-field behind a field",
        &[(":authority", "HOST"), ("x", "1"), (":path", "PATH")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "upper case in a name",
        &[(":authority", "HOST"), (":path", "PATH"), ("X", "1")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "a space in a name",
        &[(":authority", "HOST"), (":path", "PATH"), ("x y", "1")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "a colon in a name",
        &[(":authority", "HOST"), (":path", "PATH"), ("x:y", "1")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "an empty name",
        &[(":authority", "HOST"), (":path", "PATH"), ("", "1")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "CR LF in a value",
        &[
            (":authority", "HOST"),
            (":path", "PATH"),
            ("x", "1\r\ny: 2"),
        ],
        Either(PROTOCOL_ERROR),
    ),
    (
        "LF in a value",
        &[(":authority", "HOST"), (":path", "PATH"), ("x", "1\ny: 2")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "NUL in a value",
        &[(":authority", "HOST"), (":path", "PATH"), ("x", "1\0")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "transfer-encoding",
        &[
            (":authority", "HOST"),
            (":path", "PATH"),
            ("transfer-encoding", "chunked"),
        ],
        Either(PROTOCOL_ERROR),
    ),
    (
        "connection",
        &[
            (":authority", "HOST"),
            (":path", "PATH"),
            ("connection", "close"),
        ],
        Either(PROTOCOL_ERROR),
    ),
    (
        "keep-alive",
        &[
            (":authority", "HOST"),
            (":path", "PATH"),
            ("keep-alive", "timeout=1"),
        ],
        Either(PROTOCOL_ERROR),
    ),
    (
        "proxy-connection",
        &[
            (":authority", "HOST"),
            (":path", "PATH"),
            ("proxy-connection", "close"),
        ],
        Either(PROTOCOL_ERROR),
    ),
    (
        "upgrade",
        &[
            (":authority", "HOST"),
            (":path", "PATH"),
            ("upgrade", "h2c"),
        ],
        Either(PROTOCOL_ERROR),
    ),
    (
        "te that is not trailers",
        &[(":authority", "HOST"), (":path", "PATH"), ("te", "gzip")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "a length of a body that does not come",
        &[
            (":authority", "HOST"),
            (":path", "PATH"),
            ("content-length", "5"),
        ],
        Either(PROTOCOL_ERROR),
    ),
];

#[test]
fn a_request_outside_the_grammar_is_refused() {
    let target = Target::start("");
    let mut wrong = Vec::new();
    for (name, extra, wanted) in REQUESTS {
        for entrance in &target.entrances("h2") {
            for path in ROUTES {
                let front = [(":method", "GET"), (":scheme", "https")];
                let given = front.iter().chain(*extra);
                let given: Vec<(&str, String)> = given
                    .map(|(name, value)| {
                        let value = value.replace("PATH", path).replace("HOST", entrance.host);
                        (*name, value)
                    })
                    .collect();
                let given: Vec<(&str, &str)> = given
                    .iter()
                    .map(|(name, value)| (*name, value.as_str()))
                    .collect();
                target.passed_on();
                let seen = run(entrance, &request(1, &fields(&given)));
                let passed_on = target.passed_on().len();
                if !fits(*wanted, &seen) || (passed_on > 0 && !matches!(wanted, Status(200))) {
                    let place = format!("{}{path}", entrance.host);
                    wrong.push(format!(
                        "{name} ({place}): wanted {wanted:?}; {seen:?}, passed on {passed_on}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    target.assert_serves("all probes");
}

/// Frames behind the preface, and how the connection ends: h2 says PROTOCOL_ERROR also where RFC 9113 has an error of its
/// own. The request in them is for `HOST` of the entrance.
type Frames = fn(&str) -> Vec<u8>;

fn live(host: &str) -> Vec<u8> {
    get(host, "/health/live", &[])
}

const FRAMES: &[(&str, Frames, Wanted)] = &[
    (
        "an unknown frame is passed over",
        |host| [frame(0xbe, 0, 0, b"x"), request(1, &live(host))].concat(),
        Status(200),
    ),
    (
        "DATA on stream 0",
        |_| frame(DATA, 0, 0, b"x"),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "DATA on a stream that was never opened",
        |_| frame(DATA, 0, 1, b"x"),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "HEADERS on stream 0",
        |host| request(0, &live(host)),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "HEADERS on an even stream",
        |host| request(2, &live(host)),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "a stream below the last one",
        |host| [request(3, &live(host)), request(1, &live(host))].concat(),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "padding longer than its frame",
        |host| {
            frame(
                HEADERS,
                END_STREAM | END_HEADERS | PADDED,
                1,
                &[&[255], &live(host)[..]].concat(),
            )
        },
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "a header block that is none",
        |_| request(1, &[0xff; 20]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "an index that is in no table",
        |_| request(1, &[0xfe]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "a table larger than allowed",
        |_| request(1, &[0x3f, 0xff, 0xff, 0x7f]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "CONTINUATION without HEADERS",
        |host| frame(CONTINUATION, END_HEADERS, 1, &live(host)),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "PING within a header block",
        |host| {
            [
                frame(HEADERS, END_STREAM, 1, &live(host)),
                frame(PING, 0, 0, &[0; 8]),
            ]
            .concat()
        },
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "CONTINUATION on another stream",
        |host| {
            [
                frame(HEADERS, END_STREAM, 1, &live(host)),
                frame(CONTINUATION, END_HEADERS, 3, b""),
            ]
            .concat()
        },
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "a frame that is too large",
        |_| frame(DATA, 0, 1, &[0; 16_385]),
        Goaway(FRAME_SIZE_ERROR),
    ),
    (
        "SETTINGS on a stream",
        |_| frame(SETTINGS, 0, 1, b""),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "SETTINGS of a length that cannot be",
        |_| frame(SETTINGS, 0, 0, &[0; 5]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "an acknowledgement with settings",
        |_| frame(SETTINGS, ACK, 0, &[0; 6]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "a window larger than there is",
        |_| frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "a frame size that is too small",
        |_| frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "push that is neither on nor off",
        |_| frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "PING on a stream",
        |_| frame(PING, 0, 1, &[0; 8]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "PING of a length that cannot be",
        |_| frame(PING, 0, 0, &[0; 7]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "RST_STREAM on stream 0",
        |_| frame(RST_STREAM, 0, 0, &[0; 4]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "RST_STREAM on a stream that was never opened",
        |_| frame(RST_STREAM, 0, 1, &[0; 4]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "RST_STREAM of a length that cannot be",
        |host| {
            [
                frame(HEADERS, END_HEADERS, 1, &live(host)),
                frame(RST_STREAM, 0, 1, &[0; 3]),
            ]
            .concat()
        },
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "WINDOW_UPDATE by nothing",
        |_| frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "WINDOW_UPDATE beyond all windows",
        |_| frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
        Goaway(FLOW_CONTROL_ERROR),
    ),
    (
        "WINDOW_UPDATE of a length that cannot be",
        |_| frame(WINDOW_UPDATE, 0, 0, &[0; 3]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "a promise from a client",
        |host| {
            [
                request(1, &live(host)),
                frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]),
            ]
            .concat()
        },
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "a stream that depends on itself",
        |_| frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0]),
        Either(PROTOCOL_ERROR),
    ),
    (
        "more DATA than was announced",
        |host| {
            [
                frame(
                    HEADERS,
                    END_HEADERS,
                    1,
                    &get(host, "/deploy", &[("content-length", "1")]),
                ),
                frame(DATA, END_STREAM, 1, b"xx"),
            ]
            .concat()
        },
        Either(PROTOCOL_ERROR),
    ),
    (
        "DATA behind the end of its stream",
        |host| [request(1, &live(host)), frame(DATA, 0, 1, b"x")].concat(),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "150 cookies",
        |host| request(1, &get(host, "/health/live", &[("cookie", "a=b"); 150])),
        Status(200),
    ),
    (
        "150 fields",
        |host| request(1, &get(host, "/health/live", &[("x", "1"); 150])),
        Status(431),
    ),
];

#[test]
fn frames_outside_the_grammar_end_the_connection() {
    probe("", FRAMES);
}

/// A CONTINUATION for every byte of a block that never ends (CVE-2024-27316), or that is empty.
fn continuations(host: &str, piece: &[u8]) -> Vec<u8> {
    let mut frames = frame(HEADERS, END_STREAM, 1, &live(host));
    (0..10_000).for_each(|_| frames.extend(frame(CONTINUATION, 0, 1, piece)));
    frames
}

/// Requests that are taken back at once (CVE-2023-44487).
fn resets(host: &str) -> Vec<u8> {
    let block = live(host);
    let streams = (0..10_000).map(|n| 2 * n + 1);
    let one = |id| [request(id, &block), frame(RST_STREAM, 0, id, &[0, 0, 0, 8])].concat();
    streams.flat_map(one).collect()
}

/// Requests that make the server reset them (CVE-2025-8671).
fn faults(host: &str) -> Vec<u8> {
    let block = get(host, "/deploy", &[("content-length", "1")]);
    let streams = (0..10_000).map(|n| 2 * n + 1);
    let head = |id| frame(HEADERS, END_HEADERS, id, &block);
    let one = |id| [head(id), frame(DATA, END_STREAM, id, b"xx")].concat();
    streams.flat_map(one).collect()
}

fn many(one: &[u8]) -> Vec<u8> {
    one.repeat(16 * 1024 * 1024 / one.len())
}

const FLOODS: &[(&str, Frames, Wanted)] = &[
    (
        "CONTINUATION",
        |host| continuations(host, &fields(&[("x", "1")])),
        Goaway(CALM),
    ),
    (
        "empty CONTINUATION",
        |host| continuations(host, b""),
        Goaway(CALM),
    ),
    (
        "a header list that is too long",
        |host| request(1, &get(host, "/health/live", &[("x", "12345678"); 210])),
        Status(431),
    ),
    (
        "a header list without end",
        |host| request(1, &get(host, "/health/live", &[("x", "12345678"); 900])),
        Goaway(CALM),
    ),
    ("rapid reset", resets, Goaway(CALM)),
    ("resets by the server", faults, Goaway(CALM)),
    (
        "empty DATA",
        |host| {
            [
                frame(HEADERS, END_HEADERS, 1, &get(host, "/proxied/", &[])),
                many(&frame(DATA, 0, 1, b"")),
            ]
            .concat()
        },
        Goaway(CALM),
    ),
    (
        "DATA of a byte each",
        |host| {
            [
                frame(HEADERS, END_HEADERS, 1, &get(host, "/proxied/", &[])),
                many(&frame(DATA, 0, 1, b"x")),
            ]
            .concat()
        },
        Goaway(CALM),
    ),
];

#[test]
fn floods_that_h2_knows_are_told_to_calm_down() {
    probe("max_header_bytes = 8192", FLOODS);
}

/// Frames that are right by themselves, and worth nothing.
const NOISE: &[(&str, &[u8])] = &[
    (
        "PING",
        &[0, 0, 8, PING, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
    ),
    (
        "acknowledged PING",
        &[0, 0, 8, PING, ACK, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
    ),
    ("SETTINGS", &[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]),
    (
        "PRIORITY",
        &[0, 0, 5, PRIORITY, 0, 0, 0, 0, 1, 0, 0, 0, 3, 0],
    ),
    ("unknown frames", &[0, 0, 0, 0xbe, 0, 0, 0, 0, 0]),
];

#[test]
fn a_connection_with_nothing_but_noise_is_cut() {
    let target = Target::start("");
    for (name, noise) in NOISE {
        for entrance in &target.entrances("h2") {
            let mut stream = connect(entrance);
            stream
                .write_all(&request(1, &live(entrance.host)))
                .expect("a request");
            let reader = drain(&stream);
            let most = 64 * 1024 * 1024;
            let piece = noise.repeat(4096);
            let mut sent = 0;
            while sent < most && stream.write_all(&piece).is_ok() {
                sent += piece.len();
            }
            assert!(
                sent < most,
                "{name} ({}): {sent} bytes were taken",
                entrance.host
            );
            drop(stream);
            reader.join().expect("the reader ends");
        }
        target.assert_serves(name);
    }
}

#[test]
fn a_connection_that_takes_back_one_request_after_the_other_is_cut() {
    let target = Target::start("max_resets_per_second = 50");
    for entrance in &target.entrances("h2") {
        let mut stream = connect(entrance);
        let (mut id, most) = (1, 4000);
        // Each is begun before it is taken back: its answer's head is seen, and its body is held back. In batches, so
        // that a slow machine is over the limit too.
        while id < most {
            let batch: Vec<u32> = (0..60).map(|n| id + 2 * n).collect();
            let block = get(entrance.host, "/files/large.bin", &[]);
            let requests: Vec<u8> = batch.iter().flat_map(|id| request(*id, &block)).collect();
            let resets = batch
                .iter()
                .flat_map(|id| frame(RST_STREAM, 0, *id, &[0, 0, 0, 8]));
            let taken = stream.write_all(&requests).is_ok()
                && batch
                    .iter()
                    .all(|_| until(&mut stream, |frame| frame.kind == HEADERS).is_some())
                && stream.write_all(&resets.collect::<Vec<u8>>()).is_ok();
            if !taken {
                break;
            }
            id += 120;
        }
        assert!(id < most, "{}: {id} went through", entrance.host);
    }
    target.assert_serves("a slow reset flood");
}

#[test]
fn a_stream_over_the_limit_is_refused() {
    let target = Target::start("max_streams = 5");
    for entrance in &target.entrances("h2") {
        let mut stream = connect(entrance);
        // They wait for their bodies.
        let block = get(entrance.host, "/proxied/", &[("content-length", "5")]);
        for id in [1, 3, 5, 7, 9, 11] {
            stream
                .write_all(&frame(HEADERS, END_HEADERS, id, &block))
                .expect("a request");
        }
        let refused = until(&mut stream, |frame| frame.kind == RST_STREAM);
        let refused = refused.expect("a reset");
        assert_eq!(
            (refused.stream, code(&refused.payload)),
            (11, REFUSED_STREAM)
        );
    }
}

fn connect(entrance: &Entrance) -> TcpStream {
    let mut stream = entrance.connect();
    // A window of one byte: answers do not get far.
    greet(&mut stream, &[(4, 1)]);
    stream
}

/// Reads what comes, so that the daemon can go on answering.
#[expect(clippy::disallowed_methods, reason = "reads beside the test")]
fn drain(stream: &TcpStream) -> std::thread::JoinHandle<()> {
    let mut stream = stream.try_clone().expect("the same socket");
    std::thread::spawn(move || while read_frame(&mut stream).is_some() {})
}

fn until(stream: &mut TcpStream, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
    loop {
        let frame = read_frame(stream)?;
        if wanted(&frame) {
            return Some(frame);
        }
    }
}

/// The last four bytes but for a debug text: RST_STREAM is nothing else, GOAWAY has the last stream before it.
fn code(payload: &[u8]) -> u32 {
    let code = payload.get(..4).and_then(|code| code.try_into().ok());
    u32::from_be_bytes(code.expect("a code"))
}

#[derive(Debug)]
enum Seen {
    Status(Option<u16>),
    Reset(u32),
    Goaway(u32),
    Closed,
}

fn fits(wanted: Wanted, seen: &Seen) -> bool {
    match (wanted, seen) {
        (Status(wanted), Seen::Status(seen)) => *seen == Some(wanted),
        (Either(wanted), Seen::Reset(seen))
        | (Goaway(wanted) | Either(wanted), Seen::Goaway(seen)) => *seen == wanted,
        _ => false,
    }
}

/// What becomes of stream 1, or of the connection.
fn run(entrance: &Entrance, frames: &[u8]) -> Seen {
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

fn probe(options: &str, table: &[(&str, Frames, Wanted)]) {
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
