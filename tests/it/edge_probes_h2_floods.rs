//! No flood of frames keeps an HTTP/2 connection.

use std::io::Write as _;
use std::net::TcpStream;

use crate::harness::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RST_STREAM,
    SETTINGS, fields, frame, get, greet, read_frame, request,
};
use crate::harness::probe::{Entrance, Target};
use crate::harness::probe_http2::Wanted::{self, Goaway, Status};
use crate::harness::probe_http2::{CALM, Frames, REFUSED_STREAM, code, live, probe, until};

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
