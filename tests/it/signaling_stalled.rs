//! A reader that stalls on the HTTP or HTTPS listener leaves nothing behind, not in the kernel either.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::tls::Client;
use crate::harness::wait::wait_until;
use crate::harness::websocket::{TEXT, WebSocket, frame, handshake};
use crate::harness::{Builder, Daemon};

const STALLED: &str = "seance_signaling_ends_total{reason=\"stalled\"}";
pub const GENEROUS: &str =
    "[signaling]\nmessages_per_second = 1000000\nbytes_per_second = 1000000000\n";

/// Publishes more than anybody holds for a reader in this topic that reads nothing, until it is cut.
pub fn stall(daemon: &Daemon, topic: &str) {
    let before = daemon.metric(STALLED);
    let mut sender = WebSocket::connect(daemon.signaling.expect("a signaling address"));
    let data = "x".repeat(50_000);
    let publish = || {
        for _ in 0..20 {
            sender.publish(topic, &data);
        }
        sender.settle();
        daemon.metric(STALLED)
    };
    wait_until("the reader is cut", publish, |cut| *cut == before + 1);
}

/// Enters the topic `room`, up to the pong that says so.
fn enter(stream: &mut (impl Read + Write), host: &str) {
    let head = handshake("/signaling", "").replace("Host: seance", &format!("Host: {host}"));
    let subscribe = br#"{"type":"subscribe","topics":["room"]}"#;
    let ping = br#"{"type":"ping"}"#;
    for bytes in [
        head.into_bytes(),
        frame(0x80 | TEXT, subscribe),
        frame(0x80 | TEXT, ping),
    ] {
        stream.write_all(&bytes).expect("it is taken");
    }
    let mut seen = Vec::new();
    while !seen.ends_with(br#"{"type":"pong"}"#) {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a pong");
        seen.extend(byte);
    }
    assert!(seen.starts_with(b"HTTP/1.1 101 "));
}

/// Else the kernel goes on offering what the peer does not take.
#[track_caller]
fn until_reset(stream: &TcpStream) {
    let error = || stream.take_error().expect("the socket");
    wait_until("the connection is reset", error, Option::is_some);
}

#[test]
fn over_http_its_connection_is_reset() {
    let daemon = Builder::new().config(GENEROUS).start();
    let mut stream = TcpStream::connect(daemon.http).expect("a connection");
    enter(&mut stream, "localhost");
    stall(&daemon, "room");
    until_reset(&stream);
}

#[test]
fn over_https_its_connection_is_reset() {
    let config = format!("{GENEROUS}[hosts.\"a.localhost\"]\n");
    let daemon = Builder::new().config(&config).start();
    let client = Client::trusting_all();
    let mut session = client
        .connect(daemon.https(), "a.localhost")
        .expect("a session");
    enter(&mut session, "a.localhost");
    stall(&daemon, "room");
    until_reset(&session.sock);
}
