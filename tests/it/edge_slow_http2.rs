//! Slow clients over HTTP/2: a stream that stalls ends alone, and a connection on which nothing goes on is cut.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::edge_slow::{SLOW, events};
use crate::harness::Builder;
use crate::harness::frames::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, WINDOW_UPDATE, frame, get,
    greet, read_frame, request, status,
};
use crate::harness::probe::{LARGE, Target};
use crate::harness::wait::wait_until;

#[test]
fn over_http2_only_the_stream_of_a_stalled_body_ends() {
    let target = Target::start("body_timeout_seconds = 1");
    for entrance in &target.entrances("h2") {
        let mut stream = entrance.connect();
        greet(&mut stream, &[]);
        let block = get(entrance.host, "/proxied/", &[("content-length", "5")]);
        stream
            .write_all(
                &[
                    frame(HEADERS, END_HEADERS, 1, &block),
                    frame(DATA, 0, 1, b"x"),
                ]
                .concat(),
            )
            .expect("a request");
        let answered = |stream: &mut TcpStream, id: u32| {
            loop {
                let frame = read_frame(stream).expect("an answer");
                if (frame.kind, frame.stream) == (HEADERS, id) {
                    return status(&frame.payload);
                }
            }
        };
        assert_eq!(answered(&mut stream, 1), Some(408));
        let block = get(entrance.host, "/health/live", &[]);
        stream.write_all(&request(3, &block)).expect("a request");
        assert_eq!(answered(&mut stream, 3), Some(200));
    }
}

#[test]
fn an_http2_connection_without_requests_is_told_to_go_away() {
    let target = Target::start("idle_timeout_seconds = 1");
    for entrance in &target.entrances("h2") {
        let mut stream = entrance.connect();
        greet(&mut stream, &[]);
        let block = get(entrance.host, "/health/live", &[]);
        stream.write_all(&request(1, &block)).expect("a request");
        let mut seen = Vec::new();
        while let Some(frame) = read_frame(&mut stream) {
            seen.push(frame.kind);
        }
        assert!(
            seen.contains(&HEADERS) && seen.contains(&GOAWAY),
            "{seen:?}"
        );
    }
    let target = Target::start("header_timeout_seconds = 1");
    for entrance in &target.entrances("h2") {
        let begun = Instant::now();
        let mut stream = entrance.connect();
        greet(&mut stream, &[]);
        while read_frame(&mut stream).is_some() {}
        assert!(begun.elapsed() < SLOW, "held for {:?}", begun.elapsed());
    }
}

#[test]
fn an_http2_client_that_takes_nothing_is_cut() {
    let target = Target::start("write_timeout_seconds = 1\nidle_timeout_seconds = 1");
    for entrance in &target.entrances("h2") {
        let begun = Instant::now();
        let mut stream = entrance.connect();
        // A window of nothing.
        greet(&mut stream, &[(4, 0)]);
        let block = get(entrance.host, "/files/large.bin", &[]);
        stream.write_all(&request(1, &block)).expect("a request");
        let mut seen = Vec::new();
        while let Some(frame) = read_frame(&mut stream) {
            assert!(frame.kind != DATA || frame.flags & END_STREAM == 0);
            seen.push(frame.kind);
        }
        assert!(seen.contains(&RST_STREAM), "{seen:?}");
        assert!(begun.elapsed() < SLOW, "held for {:?}", begun.elapsed());
    }
}

#[test]
fn over_http2_only_the_stream_of_a_stalled_answer_ends() {
    let (upstream, go) = events();
    let files = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(files.path().join("large.bin"), vec![7; LARGE]).expect("a file");
    let route = "[[hosts.localhost.routes]]\n";
    let config = format!(
        "[http]\nwrite_timeout_seconds = 1\nidle_timeout_seconds = 1\n[hosts.localhost]\ntls = \"off\"\n\
         {route}path = \"/files\"\nto = {{ files = {{ directory = \"{}\" }} }}\n\
         {route}to = {{ proxy = {{ upstreams = [\"{}\"] }} }}\n",
        files.path().display(),
        upstream.url()
    );
    let daemon = Builder::new().config(&config).start();
    let mut stream = TcpStream::connect(daemon.http).expect("a connection");
    stream.set_read_timeout(Some(SLOW)).expect("a timeout");
    // Room for 1000 bytes in each stream.
    greet(&mut stream, &[(4, 1000)]);
    let events = request(1, &get("localhost", "/events", &[]));
    let stalled = request(3, &get("localhost", "/files/large.bin", &[]));
    let requests = [events, stalled].concat();
    stream.write_all(&requests).expect("requests");
    let (seen, noise) = channel::<()>();
    let mut pings = stream.try_clone().expect("the same socket");
    std::thread::scope(|scope| {
        // What answers them is no progress.
        scope.spawn(move || {
            let pause = Duration::from_millis(5);
            while noise.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let sent = pings.write_all(&frame(PING, 0, 0, &[0; 8]));
                sent.expect("the connection lives");
            }
        });
        let (mut events, mut taken) = (String::new(), 0);
        loop {
            let frame = read_frame(&mut stream).expect("the connection lives");
            match (frame.kind, frame.stream) {
                (DATA, 1) => events += &String::from_utf8_lossy(&frame.payload),
                (DATA, 3) => taken += frame.payload.len(),
                (RST_STREAM, 3) => break,
                (RST_STREAM | GOAWAY, _) => panic!("{frame:?}"),
                _ => {}
            }
        }
        assert_eq!((events.as_str(), taken), ("data: 1\n\n", 1000));
        drop(seen);
        go.send(()).expect("the upstream waits");
        while !events.contains("data: 2") {
            let frame = read_frame(&mut stream).expect("the connection lives");
            if (frame.kind, frame.stream) == (DATA, 1) {
                events += &String::from_utf8_lossy(&frame.payload);
            }
        }
    });
    let line = "path=\"/files/large.bin\" status=200";
    let told = || daemon.log();
    wait_until("it is logged", told, |log| log.contains(line));
}

#[test]
fn over_http2_streams_that_share_a_narrow_connection_wait_for_each_other() {
    let target = Target::start("write_timeout_seconds = 1\nidle_timeout_seconds = 1");
    let [plain, _] = target.entrances("h2");
    let mut stream = plain.connect();
    // Streams have room for everything, the connection has not.
    greet(&mut stream, &[(4, 0x7fff_ffff)]);
    let block = get(plain.host, "/files/large.bin", &[]);
    let ids = (0..20).map(|n| 2 * n + 1);
    let requests: Vec<u8> = ids.flat_map(|id| request(id, &block)).collect();
    stream.write_all(&requests).expect("requests");
    let mut taken = 0;
    let begun = Instant::now();
    // A little at a time: much of one answer is sent before anything of the others.
    while begun.elapsed() < Duration::from_secs(4) {
        let frame = read_frame(&mut stream).expect("the connection lives");
        assert!(
            frame.kind != RST_STREAM && frame.kind != GOAWAY,
            "{frame:?}"
        );
        if frame.kind == DATA {
            taken += frame.payload.len();
        }
        if taken >= 65_535 {
            taken -= 2_000;
            let pause = Duration::from_millis(50);
            channel::<()>().1.recv_timeout(pause).unwrap_err();
            let more = frame_of_window(2_000);
            stream.write_all(&more).expect("the connection lives");
        }
    }
    let mut ended = 0;
    while ended < 20 {
        let frame = read_frame(&mut stream).expect("the connection lives");
        ended += usize::from(frame.kind == RST_STREAM);
    }
}

fn frame_of_window(bytes: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, 0, &bytes.to_be_bytes())
}
