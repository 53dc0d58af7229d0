//! Nobody can hurt the room: every limit answers with its close code and reason, is counted, and leaves the others be.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::wait::{CEILING, wait_until};
use crate::harness::websocket::{
    BINARY, PONG, Received, TEXT, WebSocket, frame, handshake, request,
};
use crate::harness::{Builder, Daemon};

const GENEROUS: &str = "messages_per_second = 1000000\nbytes_per_second = 1000000000\n";

fn start(settings: &str) -> Daemon {
    Builder::new()
        .config(&format!("[signaling]\n{settings}\n"))
        .start()
}

fn connect(daemon: &Daemon) -> WebSocket {
    WebSocket::connect(daemon.signaling.expect("a signaling address"))
}

/// Asserts the close code and reason, and that the end was counted under `name`.
fn assert_closed(daemon: &Daemon, peer: &mut WebSocket, code: u16, reason: &str, name: &str) {
    assert_eq!(peer.closed(), (code, reason.to_owned()));
    assert_eq!(
        daemon.metric(&format!("seance_signaling_ends_total{{reason=\"{name}\"}}")),
        1
    );
}

#[test]
fn connections_over_the_limit_are_told_to_come_later() {
    let daemon = start("max_connections = 2");
    let (mut a, b) = (connect(&daemon), connect(&daemon));
    let mut c = connect(&daemon);
    assert_closed(
        &daemon,
        &mut c,
        1013,
        "too many connections",
        "too_many_connections",
    );
    drop(b);
    wait_until(
        "the place is free",
        || daemon.metric("seance_signaling_connections"),
        |open| *open == 1,
    );
    connect(&daemon).settle();
    a.settle();
}

#[test]
fn one_address_has_its_share_only() {
    let daemon = start("max_connections_per_address = 1");
    let mut a = connect(&daemon);
    let mut b = WebSocket::open(daemon.http, "/signaling", "").expect("the handshake is accepted");
    assert_closed(
        &daemon,
        &mut b,
        1013,
        "too many connections from this address",
        "too_many_from_address",
    );
    a.settle();
}

#[test]
fn topics_have_limits() {
    let daemon =
        start("max_topics_per_connection = 2\nmax_subscribers_per_topic = 1\nmax_topic_bytes = 8");
    let (mut a, mut b, mut c) = (connect(&daemon), connect(&daemon), connect(&daemon));
    a.subscribe("one");
    a.subscribe("two");
    a.subscribe("two");
    b.text(r#"{"type":"subscribe","topics":["two"]}"#);
    assert_closed(
        &daemon,
        &mut b,
        1013,
        "topic has too many subscribers",
        "topic_full",
    );
    c.text(r#"{"type":"subscribe","topics":["123456789"]}"#);
    assert_closed(&daemon, &mut c, 1008, "topic name too long", "topic_name");
    assert_eq!(daemon.metric("seance_signaling_topics"), 2);
    a.text(r#"{"type":"subscribe","topics":["three"]}"#);
    assert_closed(
        &daemon,
        &mut a,
        1008,
        "too many topics on one connection",
        "too_many_topics",
    );
    assert_eq!(daemon.metric("seance_signaling_topics"), 0);
}

#[test]
fn a_message_has_a_largest_size_whole_or_in_fragments() {
    let daemon = start("max_message_bytes = 1000");
    let mut a = connect(&daemon);
    a.send(TEXT, &[b' '; 1000]);
    a.settle();
    a.raw(&frame(0x81, &[b' '; 1001])[..20]);
    assert_eq!(
        a.closed(),
        (1009, "message too big".to_owned()),
        "before the rest has come"
    );
    let mut b = connect(&daemon);
    b.raw(&frame(TEXT, &[b' '; 600]));
    b.raw(&frame(0, &[b' '; 401]));
    assert_eq!(b.closed().0, 1009);
    let mut c = connect(&daemon);
    c.raw(b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0");
    assert_eq!(c.closed().0, 1009);
    assert_eq!(
        daemon.metric("seance_signaling_ends_total{reason=\"message_too_big\"}"),
        3
    );
}

#[test]
fn too_many_messages_in_a_second_end_the_connection_after_a_burst() {
    let daemon = start("messages_per_second = 5");
    let mut a = connect(&daemon);
    a.raw(&frame(0x80 | PONG, b"").repeat(40)); // ten seconds' worth is 50
    a.settle();
    a.raw(&frame(0x80 | BINARY, b"").repeat(100));
    assert_closed(
        &daemon,
        &mut a,
        1008,
        "too many messages per second",
        "message_rate",
    );
}

#[test]
fn a_flood_of_tiny_fragments_ends_the_connection() {
    let daemon = start("messages_per_second = 5");
    let mut a = connect(&daemon);
    a.raw(&[frame(TEXT, b""), frame(0, b"").repeat(100)].concat());
    assert_closed(
        &daemon,
        &mut a,
        1008,
        "too many messages per second",
        "message_rate",
    );
}

#[test]
fn too_many_bytes_in_a_second_end_the_connection_after_a_burst() {
    let daemon = start("bytes_per_second = 2000");
    let mut a = connect(&daemon);
    a.send(TEXT, &vec![b' '; 15_000]);
    a.settle();
    a.send(TEXT, &vec![b' '; 15_000]);
    assert_closed(
        &daemon,
        &mut a,
        1008,
        "too many bytes per second",
        "byte_rate",
    );
}

#[test]
fn a_handshake_that_does_not_come_is_cut() {
    let daemon = start("handshake_timeout_seconds = 1");
    for begun in ["", "GET / HTTP/1.1\r\nHost: a\r\n"] {
        let mut stream = TcpStream::connect(daemon.signaling.expect("a signaling address"))
            .expect("a connection");
        stream.write_all(begun.as_bytes()).expect("taken");
        stream
            .set_read_timeout(Some(CEILING))
            .expect("a read timeout");
        let end = stream.read(&mut [0; 16]);
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
    assert_eq!(
        daemon.metric("seance_signaling_ends_total{reason=\"handshake_timeout\"}"),
        2
    );
}

#[test]
fn a_peer_that_says_nothing_is_sent_away() {
    let daemon = start("idle_timeout_seconds = 1");
    let mut a = connect(&daemon);
    assert_closed(&daemon, &mut a, 1008, "idle for too long", "idle");
}

#[test]
fn peers_are_pinged_and_must_answer() {
    let daemon = start("ping_interval_seconds = 1");
    let (mut polite, mut silent) = (connect(&daemon), connect(&daemon));
    for _ in 0..3 {
        let Received::Ping(payload) = polite.receive() else {
            panic!("a ping")
        };
        polite.send(PONG, &payload);
    }
    assert_closed(&daemon, &mut silent, 1008, "ping not answered", "no_pong");
    polite.settle();
}

#[test]
fn a_message_that_is_never_finished_ends_the_connection() {
    let daemon = start("ping_interval_seconds = 1");
    let mut a = connect(&daemon);
    a.raw(&frame(TEXT, b"{"));
    loop {
        match a.receive() {
            Received::Ping(payload) => a.send(PONG, &payload),
            ended => {
                let reason = "message not finished in time".to_owned();
                break assert_eq!(ended, Received::Close(1008, reason));
            }
        }
    }
    let counted = "seance_signaling_ends_total{reason=\"unfinished\"}";
    assert_eq!(daemon.metric(counted), 1);
}

#[test]
fn bytes_count_when_they_come_though_their_frame_is_not_whole() {
    let daemon = start("bytes_per_second = 2000");
    let mut a = connect(&daemon);
    a.raw(&frame(0x80 | TEXT, &[b' '; 60_000])[..30_000]);
    assert_closed(
        &daemon,
        &mut a,
        1008,
        "too many bytes per second",
        "byte_rate",
    );
}

#[test]
fn only_pages_of_known_origins_come_in() {
    let daemon = start("allowed_origins = [\"https://app.example.com\", \"tauri://localhost\"]");
    let address = daemon.signaling.expect("a signaling address");
    for (origin, status) in [
        ("Origin: https://app.example.com\r\n", "101"),
        ("Origin: tauri://localhost\r\n", "101"),
        ("Origin: https://evil.example.com\r\n", "403"),
        ("Origin: https://app.example.com.evil.com\r\n", "403"),
        ("", "403"),
    ] {
        for (address, path) in [(address, "/"), (daemon.http, "/signaling")] {
            let (_stream, head, _) = request(address, &handshake(path, origin));
            assert!(
                head.starts_with(&format!("HTTP/1.1 {status} ")),
                "{origin}: {head}"
            );
        }
    }
    assert_eq!(
        daemon.metric("seance_signaling_ends_total{reason=\"handshake_refused\"}"),
        6
    );
}

#[test]
fn a_reader_that_stalls_is_cut_and_nobody_else_notices() {
    let daemon = start(GENEROUS);
    let (mut a, mut stalled, mut sender) = (connect(&daemon), connect(&daemon), connect(&daemon));
    a.subscribe("room");
    stalled.subscribe("room");
    let before = daemon.memory_kib();
    let data = "x".repeat(50_000);
    let stalls = "seance_signaling_ends_total{reason=\"stalled\"}";
    let started = Instant::now();
    let mut sent = 0;
    while daemon.metric(stalls) == 0 {
        assert!(
            started.elapsed() < CEILING,
            "the reader is not cut after {sent} messages"
        );
        for _ in 0..20 {
            sender.publish("room", &data);
            assert_eq!(a.delivery()["data"], data.as_str());
            sent += 1;
        }
    }
    for _ in 0..500 {
        sender.publish("room", &data);
        assert_eq!(
            a.delivery()["clients"],
            1,
            "the stalled reader left the room at once"
        );
    }
    let grown = daemon.memory_kib().saturating_sub(before);
    assert!(grown < 2048, "{grown} KiB for a reader that stalls");
    assert!(daemon.metric("seance_signaling_outbox_most_bytes") <= 400_000);
}

#[test]
fn a_reader_that_was_too_slow_learns_why_when_it_reads_on() {
    let daemon = start(&format!("{GENEROUS}max_outbox_bytes = 4096"));
    let (mut slow, mut sender) = (connect(&daemon), connect(&daemon));
    slow.subscribe("room");
    let stalls = "seance_signaling_ends_total{reason=\"stalled\"}";
    let data = "x".repeat(50_000);
    while daemon.metric(stalls) == 0 {
        sender.publish("room", &data);
    }
    assert_eq!(slow.closed(), (1013, "too slow to read".to_owned()));
    sender.settle();
}

#[test]
fn a_reader_that_takes_nothing_is_cut_though_little_waits_for_it() {
    let daemon = start(&format!(
        "{GENEROUS}stall_timeout_seconds = 1\nmax_outbox_bytes = 16777216"
    ));
    let (stalled, mut sender) = (connect(&daemon), connect(&daemon));
    let mut stalled = stalled;
    stalled.subscribe("room");
    let data = "x".repeat(50_000);
    // More than the kernel holds on loopback, less than the outbox.
    for _ in 0..200 {
        sender.publish("room", &data);
    }
    let stalls = "seance_signaling_ends_total{reason=\"stalled\"}";
    wait_until(
        "the reader is cut",
        || daemon.metric(stalls),
        |stalled| *stalled == 1,
    );
}

#[test]
fn malformed_messages_are_dropped_and_counted() {
    let daemon = start("");
    let (mut a, mut b) = (connect(&daemon), connect(&daemon));
    b.subscribe("room");
    let deep = "[".repeat(60_000);
    let malformed: [&[u8]; 9] = [
        b"",
        b"{",
        b"nonsense",
        b"{\"type\":\"publish\",\"topic\":\"room\"",
        b"{\"type\":\"publish\",\"topic\":\"room\",}",
        b"{'type':'ping'}",
        deep.as_bytes(),
        b"{\"a\":\"\x01\"}",
        b"{\"type\":\"publish\",\"topic\":\"room\"}{}",
    ];
    for text in malformed {
        a.send(TEXT, text);
    }
    a.send(BINARY, b"\x00\xff\xfe");
    for harmless in [
        "null",
        "7",
        "[]",
        "\"ping\"",
        "{}",
        r#"{"type":null}"#,
        r#"{"type":{"type":"ping"}}"#,
        r#"{"type":"__proto__"}"#,
        r#"{"type":"subscribe"}"#,
        r#"{"type":"subscribe","topics":null}"#,
        r#"{"type":"subscribe","topics":[null,1,{},[]]}"#,
        r#"{"type":"unsubscribe","topics":["never"]}"#,
        r#"{"type":"publish"}"#,
        r#"{"type":"publish","topic":["room"]}"#,
        r#"{"type":"publish","topic":"empty room"}"#,
    ] {
        a.text(harmless);
    }
    a.settle();
    a.publish("room", "still works");
    assert_eq!(b.delivery()["data"], "still works");
    assert_eq!(b.receive_within(Duration::from_millis(50)), None);
    assert_eq!(
        daemon.metric("seance_signaling_messages_malformed_total"),
        10
    );
}

#[test]
fn connections_that_break_off_anywhere_leave_the_room_working() {
    let daemon = start(GENEROUS);
    let mut witness = connect(&daemon);
    witness.subscribe("room");
    let address = daemon.signaling.expect("a signaling address");
    let whole = [
        handshake("/", "").into_bytes(),
        frame(0x81, br#"{"type":"subscribe","topics":["room"]}"#),
        frame(0x81, br#"{"type":"publish","topic":"other"}"#),
    ]
    .concat();
    for cut in 0..=whole.len() {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.write_all(&whole[..cut]).expect("taken");
        if cut % 2 == 0 {
            socket2::SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .expect("a reset at the end");
        }
    }
    wait_until(
        "they are gone",
        || daemon.metric("seance_signaling_connections"),
        |open| *open == 1,
    );
    // The daemon may not have met the last of them yet when it has let go of all that it had met.
    let left = || {
        witness.publish("room", "x");
        witness.delivery()["clients"].clone()
    };
    wait_until("only the witness is in the room", left, |left| *left == 1);
}
