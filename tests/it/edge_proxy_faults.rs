//! An upstream that fails, in any way, costs its clients as little as can be: an answer in time, or another upstream.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::edge_proxy::{before, config, get};
use crate::harness::command::check_config;
use crate::harness::http::{Connection, head, request};
use crate::harness::upstream::{Peer, Upstream, ok};
use crate::harness::wait::wait_until;
use crate::harness::{Builder, Daemon};

/// Nothing listens there.
const NOBODY: &str = "http://127.0.0.1:9";

/// Sends `answer` to whoever asks, and hangs up.
fn once(answer: impl Into<Vec<u8>>) -> Upstream {
    let answer = answer.into();
    Upstream::start(move |mut peer, _| {
        if peer.request().is_some() {
            peer.send(&answer);
        }
    })
}

/// Keeps the connection open until the proxy closes it.
fn silent(mut peer: Peer) {
    while peer.take(1).is_some() {}
}

#[test]
fn an_answer_that_is_none_becomes_502_and_its_id_finds_the_cause() {
    let huge = format!("HTTP/1.1 200 OK\r\nX-Huge: {}\r\n\r\n", "a".repeat(100_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-A: b\r\n".repeat(1000));
    let two = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab";
    let both = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let coded = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let wrong: [&str; 11] = [
        "",
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nBroken",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        two,
        both,
        coded,
        &huge,
        &many,
    ];
    for answer in wrong {
        let upstream = once(answer);
        let daemon = before(&[&upstream], "retries = 0");
        let shown: String = answer.chars().take(60).collect();
        let told = get(&daemon, "/");
        assert_eq!(told.status, 502, "{shown:?}: {}", told.text());
        let id = told.json()["id"].as_str().expect("an id").to_owned();
        assert_eq!(told.header("x-request-id"), Some(id.as_str()));
        assert!(
            daemon
                .log()
                .lines()
                .any(|line| line.contains(&id) && line.contains("upstream"))
        );
    }
}

#[test]
fn trace_is_not_passed_on() {
    let upstream = Upstream::answering(|_| ok(b""));
    let daemon = before(&[&upstream], "");
    let refused = request(daemon.http, "TRACE", "/", &[("Cookie", "secret")], b"");
    assert_eq!(refused.status, 405);
    let allowed = refused.header("allow").expect("what is allowed");
    assert!(!allowed.contains("TRACE"), "{allowed}");
    assert!(!refused.text().contains("secret"), "{}", refused.text());
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn an_upstream_whose_answers_are_none_gets_nothing_after_a_while() {
    let both = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let (wrong, right) = (once(both), once(ok(b"fine")));
    let daemon = before(&[&wrong, &right], "retries = 0\nmax_failures = 2");
    let statuses: Vec<u16> = (0..20).map(|_| get(&daemon, "/").status).collect();
    let failed = statuses.iter().filter(|status| **status == 502).count();
    assert_eq!((failed, wrong.connections()), (2, 2), "{statuses:?}");
}

#[test]
fn an_answer_that_breaks_off_is_seen_to_be_broken() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
    ] {
        let upstream = once(answer);
        let daemon = before(&[&upstream], "");
        let mut client = Connection::open(daemon.http);
        client.send(&head("GET", "/", &[], None));
        assert!(client.try_answer(true).is_none(), "{answer:?} looked whole");
    }
}

#[test]
fn silence_is_answered_504_in_time() {
    let slow = Upstream::start(|peer, _| silent(peer));
    let trickle = Upstream::start(|mut peer, _| {
        peer.request().expect("a request");
        // Interim answers for as long as they are taken are no answer (RFC 9110 §15.2).
        while peer.try_send(b"HTTP/1.1 103 Early Hints\r\n\r\n") {}
    });
    for upstream in [&slow, &trickle] {
        let daemon = before(&[upstream], "first_byte_timeout_seconds = 1");
        let started = Instant::now();
        assert_eq!(get(&daemon, "/").status, 504);
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(900), "{took:?}");
        assert!(took < Duration::from_secs(30), "{took:?}");
    }
}

#[test]
fn an_answer_that_stops_is_cut_and_one_that_goes_on_is_not() {
    let upstream = Upstream::start(|mut peer, _| {
        peer.request().expect("a request");
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        silent(peer);
    });
    for option in ["idle_timeout_seconds = 1", "total_timeout_seconds = 1"] {
        let daemon = before(&[&upstream], option);
        let mut client = Connection::open(daemon.http);
        client.send(&head("GET", "/", &[], None));
        assert!(client.try_answer(true).is_none(), "{option}");
    }
}

#[test]
fn a_client_that_stops_sending_is_told_so_and_the_upstream_not_blamed() {
    let upstream = Upstream::start(|peer, _| silent(peer));
    let daemon = before(&[&upstream], "idle_timeout_seconds = 1\nmax_failures = 1");
    let mut client = Connection::open(daemon.http);
    client.send(&head("POST", "/", &[], Some(100)));
    client.send(b"half");
    assert_eq!(client.answer(true).status, 408);
    assert!(!daemon.log().contains("an upstream did not answer"));
}

#[test]
fn a_safe_request_is_repeated_when_no_byte_came_and_any_other_is_not() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let upstream = Upstream::start(move |mut peer, _| {
        while peer.request().is_some() {
            if count.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
                return; // every other request finds the connection closed
            }
            peer.send(&ok(b"fine"));
        }
    });
    let daemon = before(&[&upstream], "max_failures = 0");
    assert_eq!(get(&daemon, "/").status, 200);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(request(daemon.http, "POST", "/", &[], b"once").status, 502);
    assert_eq!(asked.load(Ordering::SeqCst), 3, "a POST is sent once");
    asked.store(0, Ordering::SeqCst);
    assert_eq!(
        request(daemon.http, "PUT", "/", &[], b"body").status,
        502,
        "bodies are not kept"
    );
}

#[test]
fn an_upstream_that_is_gone_takes_no_requests_while_another_is_there() {
    let alive = Upstream::answering(|_| ok(b"alive"));
    let urls = [NOBODY.to_owned(), alive.url()];
    for balance in ["round-robin", "least-connections"] {
        let options = format!("balance = \"{balance}\"\neject_seconds = 3600");
        let daemon = Builder::new().config(&config(&urls, &options)).start();
        for n in 0..20 {
            // Not one byte was sent to the other: any request may go on to the next.
            let answer = match n % 2 {
                0 => get(&daemon, "/"),
                _ => request(daemon.http, "POST", "/", &[], b"body"),
            };
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let failed = daemon
            .log()
            .matches("cannot connect to 127.0.0.1:9")
            .count();
        assert_eq!(failed, 3, "then it was ejected");
    }
}

#[test]
fn killing_one_of_two_upstreams_under_load_costs_no_client_its_answer() {
    let (alive, dying) = (
        Upstream::answering(|_| ok(b"a")),
        Upstream::answering(|_| ok(b"b")),
    );
    let gate = crate::harness::gate::Gate::to(dying.address);
    let urls = [alive.url(), format!("http://{}", gate.address)];
    let daemon = Builder::new().config(&config(&urls, "")).start();
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Connection::open(daemon.http);
                for _ in 0..500 {
                    client.send(&head("GET", "/", &[], None));
                    assert_eq!(client.answer(true).status, 200);
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let begun = || answered.load(Ordering::SeqCst);
        wait_until("the load runs", begun, |answered| *answered > 200);
        gate.shut();
    });
}

fn healthy(daemon: &Daemon, url: &str) -> bool {
    daemon.metric(&format!(
        "seance_proxy_upstream_healthy{{upstream=\"{url}\"}}"
    )) == 1
}

#[test]
fn an_upstream_that_fails_its_checks_gets_nothing_until_it_passes_them() {
    let status = Arc::new(Mutex::new("200 OK"));
    let said = status.clone();
    let upstream = Upstream::answering(move |request| match request.line() {
        "GET /health?deep HTTP/1.1" => {
            let status = *said.lock().expect("the status");
            format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes()
        }
        _ => ok(b"fine"),
    });
    let check =
        "health = { path = \"/health?deep\", interval_seconds = 1, status = 200, threshold = 1 }";
    let daemon = before(&[&upstream], check);
    assert_eq!(get(&daemon, "/").status, 200);
    *status.lock().expect("the status") = "500 No";
    let refused = wait_until(
        "it is down",
        || get(&daemon, "/"),
        |answer| answer.status == 503,
    );
    assert!(refused.header("retry-after").is_some());
    wait_until(
        "the gauge says so",
        || healthy(&daemon, &upstream.url()),
        |healthy| !healthy,
    );
    // What is known of an upstream outlives a reload that leaves it as it is.
    daemon.reload(&config(&[upstream.url()], &format!("{check}\nvia = true")));
    assert_eq!(get(&daemon, "/").status, 503);
    *status.lock().expect("the status") = "200 OK";
    wait_until(
        "it is up",
        || get(&daemon, "/").status,
        |status| *status == 200,
    );
    wait_until(
        "the gauge says so",
        || healthy(&daemon, &upstream.url()),
        |healthy| *healthy,
    );
}

#[test]
fn a_reload_that_leaves_an_upstream_as_it_is_keeps_its_connections() {
    let upstream = Upstream::answering(|_| ok(b"fine"));
    let one = |options: &str| config(&[upstream.url()], options);
    let daemon = Builder::new()
        .config(&one(""))
        .env("SEANCE_HTTP__WORKERS", "1")
        .start();
    assert_eq!(get(&daemon, "/").status, 200);
    daemon.reload(&one("via = true"));
    assert_eq!(get(&daemon, "/").status, 200);
    assert_eq!(upstream.connections(), 1);
    daemon.reload(&one("max_idle = 0"));
    assert_eq!(get(&daemon, "/").status, 200);
    assert_eq!(get(&daemon, "/").status, 200);
    assert_eq!(upstream.connections(), 3, "none is kept");
}

#[test]
fn connections_are_closed_when_they_were_idle_for_too_long() {
    let (gone, told) = std::sync::mpsc::channel();
    let gone = Mutex::new(gone);
    let upstream = Upstream::start(move |mut peer, _| {
        while peer.request().is_some() {
            peer.send(&ok(b"fine"));
        }
        gone.lock()
            .expect("the sender")
            .send(())
            .unwrap_or_default();
    });
    let daemon = before(&[&upstream], "keep_idle_seconds = 1");
    assert_eq!(get(&daemon, "/").status, 200);
    told.recv_timeout(crate::harness::wait::CEILING)
        .expect("it is closed");
}

#[test]
fn smuggled_requests_do_not_reach_the_upstream() {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = requests.clone();
    let upstream = Upstream::answering(move |request| {
        count.fetch_add(1, Ordering::SeqCst);
        assert!(!request.head.contains("/evil"), "{}", request.head);
        ok(b"fine")
    });
    let daemon = before(&[&upstream], "");
    let evil = "GET /evil HTTP/1.1\r\nHost: x\r\n\r\n";
    let length = evil.len();
    for fields in [
        format!("Content-Length: {length}\r\nConnection: content-length\r\n"),
        format!(
            "Content-Length: {length}\r\nUpgrade: h2c\r\nConnection: upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA\r\n"
        ),
    ] {
        let mut client = Connection::open(daemon.http);
        client.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{evil}").as_bytes());
        assert_eq!(client.answer(true).status, 200, "{fields}");
    }
    assert_eq!(
        requests.load(Ordering::SeqCst),
        2,
        "the rest was their bodies"
    );
}

/// Upstreams, options, and what the operator is told.
const UNWORKABLE: &[(&[&str], &str, &str)] = &[
    (&[], "", "`proxy.upstreams` is empty"),
    (&["ftp://a"], "", "begins with none of"),
    (&["http://a:b@c"], "", "holds a user or password"),
    (&["http://a?b"], "", "holds a query"),
    (&["http://a:0"], "", "is not the address of an upstream"),
    (&["http://a", "http://a:80/"], "", "names http://a twice"),
    (
        &["http://a"],
        "ca_file = \"/x\"",
        "none of the upstreams is https",
    ),
    (
        &["http://a"],
        "health = { path = \"x\" }",
        "`proxy.health.path` is `x`",
    ),
    (
        &["http://a"],
        "connect_timeout_seconds = 0",
        "between 1 and 3600",
    ),
    (
        &["http://a"],
        "first_byte_timeout_seconds = 0",
        "between 1 and 86400",
    ),
    (
        &["http://a"],
        "idle_timeout_seconds = 0",
        "between 1 and 86400",
    ),
    (
        &["http://a"],
        "tunnel_idle_seconds = 0",
        "between 1 and 604800",
    ),
    (&["http://a"], "max_requests = 0", "between 1 and 1000000"),
    (
        &["http://a"],
        "max_header_bytes = 1",
        "between 8192 and 1048576",
    ),
    (&["http://a"], "retries = 11", "between 0 and 10"),
    (
        &["http://a"],
        "health = { threshold = 0 }",
        "between 1 and 100",
    ),
    (
        &["http://a"],
        "request_headers.set.Host = \"x\"",
        "chosen by the option `host`",
    ),
    (
        &["http://a"],
        "response_headers.remove = [\"*\"]",
        "frames messages",
    ),
    (
        &["http://a"],
        "response_headers.set.Content-Length = \"1\"",
        "frames messages",
    ),
    (&["http://a"], "hots = \"client\"", "hots"),
];

#[test]
fn a_proxy_that_could_not_work_is_refused_with_its_reason() {
    for (upstreams, options, wanted) in UNWORKABLE {
        let upstreams: Vec<String> = upstreams.iter().map(ToString::to_string).collect();
        let output = check_config(&config(&upstreams, options), &[]);
        assert_ne!(output.code, 0, "{upstreams:?} {options}");
        assert!(
            output.stderr.contains(wanted),
            "{upstreams:?} {options}: {}",
            output.stderr
        );
    }
}
