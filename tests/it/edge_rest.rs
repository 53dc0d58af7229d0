//! Between requests a connection of HTTP/1.1 over TLS keeps its session and gives back the rest.

use std::io::{Read as _, Write as _};

use crate::harness::tls::{Client, Session};
use crate::harness::wait::wait_until;
use crate::harness::{Builder, Daemon};

const HOST: &str = "one.localhost";
const RESTING: &str = "seance_http_connections_resting{listener=\"http\"}";

fn daemon(http: &str) -> Daemon {
    let config = format!("[http]\n{http}\n[hosts.\"{HOST}\"]\n");
    Builder::new().config(&config).start()
}

fn session(daemon: &Daemon) -> Session {
    let client = Client::trusting_all().offering(&["http/1.1"]);
    client.connect(daemon.https(), HOST).expect("a session")
}

fn rests(daemon: &Daemon, connections: u64) {
    let resting = || daemon.counted(RESTING);
    wait_until(RESTING, resting, |seen| *seen == connections);
}

fn send(session: &mut Session, bytes: &str) {
    session
        .write_all(bytes.as_bytes())
        .expect("bytes are taken");
}

/// The whole answer to the request that was sent, a JSON object.
fn answer(session: &mut Session) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        let mut piece = [0; 4096];
        let length = session.read(&mut piece).expect("an answer");
        assert!(length > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..length]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn ask(session: &mut Session, text: &str) {
    let target = format!("/api/health/echo?message={text}");
    send(
        session,
        &format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
    );
    let answer = answer(session);
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains(text),
        "{answer}"
    );
}

#[test]
fn a_connection_that_has_rested_goes_on_where_it_was() {
    let daemon = daemon("");
    let mut session = session(&daemon);
    ask(&mut session, "first");
    rests(&daemon, 1);
    ask(&mut session, "second");
    // RFC 9112 §2.2: an empty line before a request means nothing.
    send(&mut session, "\r\n");
    rests(&daemon, 1);
    ask(&mut session, "third");
    rests(&daemon, 1);
}

#[test]
fn the_beginning_of_a_request_is_not_rested_on() {
    let daemon = daemon("");
    let (mut half, mut whole) = (session(&daemon), session(&daemon));
    ask(&mut half, "first");
    send(&mut half, "GET /api/health/echo?message=sec");
    ask(&mut whole, "first");
    rests(&daemon, 1);
    send(&mut half, "ond HTTP/1.1\r\nHost: one.localhost\r\n\r\n");
    let answer = answer(&mut half);
    assert!(answer.contains("second"), "{answer}");
    rests(&daemon, 2);
}

#[test]
fn a_connection_that_rests_for_too_long_is_closed() {
    let daemon = daemon("idle_timeout_seconds = 3");
    let mut session = session(&daemon);
    ask(&mut session, "first");
    rests(&daemon, 1);
    let mut end = Vec::new();
    assert_eq!(session.read_to_end(&mut end).expect("a goodbye of TLS"), 0);
    rests(&daemon, 0);
}

#[test]
fn connections_that_rest_are_closed_when_the_daemon_ends() {
    let mut daemon = daemon("drain_seconds = 30");
    let mut session = session(&daemon);
    ask(&mut session, "first");
    rests(&daemon, 1);
    daemon.signal(libc::SIGTERM);
    let mut end = Vec::new();
    assert_eq!(session.read_to_end(&mut end).expect("a goodbye of TLS"), 0);
    assert!(daemon.ended().success());
}

#[test]
fn a_thousand_idle_connections_take_less_than_seventeen_megabytes() {
    let daemon = daemon("max_connections_per_address = 2000");
    let mut open = Vec::new();
    let mut open_to = |count: u64| {
        for _ in open.len() as u64..count {
            let mut session = session(&daemon);
            ask(&mut session, "once");
            open.push(session);
        }
        rests(&daemon, count);
        daemon.memory_kib()
    };
    // What the first ones gave back is used again.
    let before = open_to(500);
    let taken = open_to(1500).saturating_sub(before);
    assert!(taken < 17_000, "{taken} KiB");
}
