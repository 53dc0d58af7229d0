//! A connection has deadlines and bounds, and a request is clear or refused.

use std::time::Instant;

use crate::harness::Builder;
use crate::harness::http::{Connection, get, head, request};
use crate::harness::wait::wait_until;

#[test]
fn every_answer_carries_the_id_that_its_log_line_has() {
    let daemon = Builder::new().env("SEANCE_LOG__FORMAT", "json").start();
    let answer = request(
        daemon.http,
        "GET",
        "/health/live?token=secret",
        &[("X-Request-Id", "forged")],
        b"",
    );
    let id = answer
        .header("x-request-id")
        .expect("a request id")
        .to_owned();
    assert_ne!(id, "forged");
    let (_, log) = daemon.stop();
    let line = log.lines().find(|line| line.contains(&id));
    let line: serde_json::Value =
        serde_json::from_str(line.expect("an access line")).expect("JSON");
    assert_eq!(line["path"], "/health/live");
    assert_eq!(line["status"], 200);
    assert_eq!(line["complete"], true);
    assert!(!log.contains("secret"), "a query never reaches the log");
}

/// They are written past the formatter of events, and look alike.
#[test]
fn an_access_line_has_the_form_of_the_other_lines() {
    let form = |line: &str| {
        let (time, rest) = line.split_once(' ').expect("a time");
        let digits = time.replace(|c: char| c.is_ascii_digit(), "0");
        let level = rest.split("seance::").next().expect("a level");
        (digits, level.to_owned())
    };
    let daemon = Builder::new().start();
    assert_eq!(get(daemon.http, "/health/live?a=%22b").status, 200);
    let (_, log) = daemon.stop();
    let line = |what: &str| log.lines().find(|line| line.contains(what)).expect(what);
    let access =
        line("seance::access: answered method=GET path=\"/health/live\" status=200 bytes=");
    assert_eq!(form(access), form(line("seance::daemon::ready: ")));
    assert!(
        access.contains(" duration_ms=") && access.ends_with(" complete=true"),
        "{access}"
    );
}

#[test]
fn access_lines_can_be_switched_off() {
    let daemon = Builder::new().env("SEANCE_LOG__ACCESS", "false").start();
    assert_eq!(get(daemon.http, "/health/live").status, 200);
    assert!(!daemon.stop().1.contains("/health/live"));
}

#[test]
fn a_request_without_a_host_or_with_two_is_refused() {
    let daemon = Builder::new().start();
    for wrong in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ] {
        let mut connection = Connection::open(daemon.http);
        connection.send(wrong.as_bytes());
        let answer = connection.answer(true);
        assert_eq!(answer.status, 400, "{wrong:?}");
        assert!(answer.json()["id"].is_string());
    }
}

#[test]
fn a_client_that_is_too_slow_with_its_head_is_cut() {
    let daemon = Builder::new()
        .env("SEANCE_HTTP__HEADER_TIMEOUT_SECONDS", "1")
        .start();
    for begun in ["", "GET / HT", "PRI * HTTP/2.0\r\n"] {
        let started = Instant::now();
        let mut connection = Connection::open(daemon.http);
        connection.send(begun.as_bytes());
        let answer = connection.try_answer(true);
        assert!(
            answer.is_none_or(|answer| answer.status == 408),
            "{begun:?}"
        );
        assert!(
            started.elapsed().as_secs() < 15,
            "{begun:?} held for {:?}",
            started.elapsed()
        );
    }
}

#[test]
fn a_head_above_the_limit_is_answered_431_and_one_of_18_kb_is_not() {
    let daemon = Builder::new().start();
    let ranges = "x".repeat(18 * 1024);
    assert_eq!(
        request(
            daemon.http,
            "GET",
            "/health/live",
            &[("X-Long", &ranges)],
            b""
        )
        .status,
        200
    );
    let daemon = Builder::new()
        .env("SEANCE_HTTP__MAX_HEADER_BYTES", "8192")
        .start();
    assert_eq!(
        request(
            daemon.http,
            "GET",
            "/health/live",
            &[("X-Long", &ranges)],
            b""
        )
        .status,
        431
    );
    let daemon = Builder::new().env("SEANCE_HTTP__MAX_HEADERS", "16").start();
    let many: Vec<String> = (0..20).map(|n| format!("X-{n}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "1")).collect();
    assert_eq!(
        request(daemon.http, "GET", "/health/live", &many, b"").status,
        431
    );
}

#[test]
fn a_connection_over_the_total_waits_until_another_one_ends() {
    let daemon = Builder::new()
        .env("SEANCE_HTTP__MAX_CONNECTIONS", "1")
        .start();
    let mut first = Connection::open(daemon.http);
    first.send(&head("GET", "/health/live", &[], None));
    assert_eq!(first.answer(true).status, 200);
    let mut second = Connection::open(daemon.http);
    second.send(&head("GET", "/health/live", &[], None));
    second
        .stream()
        .set_read_timeout(Some(std::time::Duration::from_millis(100)))
        .expect("a read timeout");
    let mut byte = [0];
    assert!(
        std::io::Read::read(&mut second.stream(), &mut byte).is_err(),
        "answered over the limit"
    );
    second
        .stream()
        .set_read_timeout(Some(crate::harness::wait::CEILING))
        .expect("a read timeout");
    drop(first);
    assert_eq!(second.answer(true).status, 200);
}

#[test]
fn the_number_of_workers_is_an_option() {
    let daemon = Builder::new().env("SEANCE_HTTP__WORKERS", "3").start();
    assert_eq!(get(daemon.http, "/health/live").status, 200);
    let workers = || {
        let tasks =
            std::fs::read_dir(format!("/proc/{}/task", daemon.child.id())).expect("threads");
        let names =
            tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|name| name.starts_with("edge-")).count()
    };
    wait_until("three workers run", workers, |count| *count == 3);
}

#[test]
fn metrics_are_served_on_their_own_listener_only() {
    let daemon = Builder::new().start();
    get(daemon.http, "/health/live");
    let metrics = get(daemon.metrics.expect("a metrics address"), "/metrics");
    assert!(
        metrics
            .text()
            .contains("seance_http_requests_total{listener=\"http\",status=\"200\"} 1"),
        "{}",
        metrics.text()
    );
    assert_eq!(get(daemon.http, "/metrics").status, 404);
    let off = Builder::new().env("SEANCE_METRICS__LISTEN", "").start();
    assert!(off.metrics.is_none());
}

/// Frames of HTTP/2 up to one of the type `wanted` (RFC 9113 §6); its payload.
fn frame_of_type(stream: &mut std::net::TcpStream, wanted: u8) -> Vec<u8> {
    use std::io::Read as _;
    let mut seen = Vec::new();
    loop {
        let mut head = [0; 9];
        if let Err(error) = stream.read_exact(&mut head) {
            panic!("{error} before a frame of type {wanted}; types seen: {seen:?}");
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).expect("a length")];
        stream.read_exact(&mut payload).expect("a whole frame");
        if head[3] == wanted {
            return payload;
        }
        seen.push(head[3]);
    }
}

#[test]
fn an_http2_connection_is_told_to_go_away_when_the_drain_begins() {
    const HEADERS: u8 = 1;
    const GOAWAY: u8 = 7;
    let daemon = Builder::new().start();
    let mut connection = Connection::open(daemon.http);
    connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    connection.send(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    // GET, http, then :path and :authority as literals without indexing (RFC 7541 §6.2.2).
    let mut block = vec![0x82, 0x86, 0x04, 12];
    block.extend_from_slice(b"/health/live");
    block.extend_from_slice(&[0x01, 9]);
    block.extend_from_slice(b"localhost");
    let length = u8::try_from(block.len()).expect("a short block");
    connection.send(&[0, 0, length, HEADERS, 5, 0, 0, 0, 1]);
    connection.send(&block);
    let mut stream = connection.stream().try_clone().expect("the same socket");
    assert_eq!(
        frame_of_type(&mut stream, HEADERS).first(),
        Some(&0x88),
        "status 200"
    );
    // A deploy in flight holds the window open, so that what follows is the drain and not the end.
    let mut deploy = Connection::open(daemon.http);
    let key = daemon.builder_key();
    let headers = [
        ("X-Builder-Key", key.as_str()),
        ("Content-Type", "application/json"),
        ("Expect", "100-continue"),
    ];
    deploy.send(&head("POST", "/deploy", &headers, Some(1000)));
    assert_eq!(deploy.answer(false).status, 100);
    daemon.signal(libc::SIGTERM);
    let payload = frame_of_type(&mut stream, GOAWAY);
    assert_eq!(payload.get(4..8), Some(&[0, 0, 0, 0][..]), "NO_ERROR");
    assert!(
        deploy.try_send(b"{").is_ok(),
        "the deploy is still in flight"
    );
}

#[test]
fn a_sender_that_reads_only_after_sending_sees_why_it_was_refused() {
    let daemon = Builder::new().start();
    let mut connection = Connection::open(daemon.http);
    let headers = [("Content-Type", "application/json")];
    connection.send(&head("POST", "/deploy", &headers, Some(400_000_000)));
    let piece = vec![b' '; 1024 * 1024];
    for sent in 0..24 {
        let taken = connection.try_send(&piece);
        assert!(taken.is_ok(), "hung up on after {sent} MiB: {taken:?}");
    }
    let answer = connection.answer(true);
    assert_eq!(answer.status, 401, "{}", answer.text());
}

#[test]
fn one_busy_listener_leaves_room_for_another() {
    let daemon = Builder::new()
        .env("SEANCE_HTTP__LISTEN", "127.0.0.1:0,127.0.0.2:0")
        .env("SEANCE_HTTP__WORKERS", "1")
        .env("SEANCE_HTTP__MAX_CONNECTIONS", "1")
        .start();
    for address in daemon.http_addresses.iter().rev() {
        assert_eq!(get(*address, "/health/live").status, 200);
    }
}
