//! Requests reach other servers, and their answers the client, as streams and with nothing changed but what has to be.

use std::io::{Read as _, Write as _};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::harness::http::{Answer, Connection, head, request};
use crate::harness::upstream::{Peer, Received, Upstream, ok};
use crate::harness::wait::{CEILING, wait_until};
use crate::harness::websocket::{Received as Frame, TEXT, WebSocket, frame};
use crate::harness::{Builder, Daemon};

/// `localhost` in plain text, everything to `upstreams` with further `options` of the proxy, as TOML lines.
pub fn config(upstreams: &[String], options: &str) -> String {
    let upstreams: Vec<String> = upstreams.iter().map(|url| format!("\"{url}\"")).collect();
    format!(
        "[hosts.localhost]\ntls = \"off\"\n[[hosts.localhost.routes]]\n[hosts.localhost.routes.to.proxy]\n\
         upstreams = [{}]\n{options}\n",
        upstreams.join(", ")
    )
}

pub fn before(upstreams: &[&Upstream], options: &str) -> Daemon {
    let upstreams: Vec<String> = upstreams.iter().map(|upstream| upstream.url()).collect();
    Builder::new().config(&config(&upstreams, options)).start()
}

pub fn get(daemon: &Daemon, path: &str) -> Answer {
    request(daemon.http, "GET", path, &[], b"")
}

/// The most memory that the daemon has had, KiB.
fn peak_memory(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.child.id()));
    let status = status.expect("the daemon's memory");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    peak.expect("a number")
}

/// Answers 200 and tells what it was asked.
fn recorder() -> (Upstream, Receiver<Received>) {
    let (sender, requests) = channel();
    let sender = Mutex::new(sender);
    let upstream = Upstream::start(move |mut peer, _| {
        while let Some(request) = peer.request() {
            // The test may have seen enough.
            sender
                .lock()
                .expect("the sender")
                .send(request)
                .unwrap_or_default();
            peer.send(&ok(b"fine"));
        }
    });
    (upstream, requests)
}

#[test]
fn a_request_arrives_with_all_but_what_belongs_to_the_first_connection() {
    let (upstream, requests) = recorder();
    let daemon = before(&[&upstream], "");
    let body: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let fields = [
        ("Connection", "X-Secret"),
        ("X-Secret", "1"),
        ("X-Forwarded-For", "203.0.113.9"),
        ("Proxy", "http://evil"),
        ("TE", "gzip"),
        ("Origin", "https://page.example"),
        ("Stripe-Signature", "t=1,v1=ab"),
        ("Cookie", "a=b; c=\"d\""),
    ];
    let path = "/hook/a%20b%C3%A9/~a?b=%20c&d%2e";
    let answer = request(daemon.http, "POST", path, &fields, &body);
    assert_eq!((answer.status, answer.text().as_str()), (200, "fine"));
    assert!(answer.header("x-request-id").is_some());
    let asked = requests.recv().expect("a request");
    assert_eq!(asked.line(), format!("POST {path} HTTP/1.1"));
    assert_eq!(asked.body, body, "untouched bytes");
    let host = upstream.address.to_string();
    for (name, wanted) in [
        ("Host", Some(host.as_str())),
        ("X-Forwarded-For", Some("127.0.0.1")),
        ("X-Forwarded-Proto", Some("http")),
        ("X-Forwarded-Host", Some("localhost")),
        ("Origin", Some("https://page.example")),
        ("Stripe-Signature", Some("t=1,v1=ab")),
        ("Cookie", Some("a=b; c=\"d\"")),
        ("X-Request-Id", answer.header("x-request-id")),
        ("Content-Length", Some("100000")),
        ("X-Secret", None),
        ("Connection", None),
        ("Proxy", None),
        ("TE", None),
        ("Via", None),
    ] {
        assert_eq!(asked.field(name), wanted, "{name} in {}", asked.head);
    }
}

#[test]
fn the_analytics_upstream_sees_itself_as_host_and_origin_below_its_base_path() {
    let (upstream, requests) = recorder();
    let config = format!(
        "[hosts.localhost]\ntls = \"off\"\n[[hosts.localhost.routes]]\npath = \"/beholder/static\"\nstrip_prefix = true\n\
         [hosts.localhost.routes.to.proxy]\nupstreams = [\"{}/static\"]\norigin = \"upstream\"\nvia = true\n\
         request_headers = {{ set = {{ X-Key = \"k\" }}, remove = [\"Cookie\"] }}\n\
         response_headers = {{ remove = [\"Access-Control-*\"] }}\n",
        upstream.url()
    );
    let daemon = Builder::new().config(&config).start();
    let fields = [("Cookie", "a=b"), ("Origin", "https://page.example")];
    request(
        daemon.http,
        "GET",
        "/beholder/static/array.js?v=1",
        &fields,
        b"",
    );
    let asked = requests.recv().expect("a request");
    assert_eq!(asked.line(), "GET /static/array.js?v=1 HTTP/1.1");
    assert_eq!(asked.field("origin"), Some(upstream.url().as_str()));
    assert_eq!(asked.field("x-key"), Some("k"));
    assert_eq!(asked.field("via"), Some("1.1 seance"));
    assert_eq!(asked.field("cookie"), None);
}

#[test]
fn an_answer_comes_back_as_it_is_but_for_connection_fields_and_what_is_to_be_removed() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 302 Elsewhere\r\nLocation: http://inner.example/x\r\nSet-Cookie: a=1; Path=/inner\r\n\
          Set-Cookie: b=2\r\nAccess-Control-Allow-Origin: *\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\
          Keep-Alive: timeout=5\r\nContent-Length: 3\r\n\r\nabc"
            .to_vec()
    });
    let daemon = before(
        &[&upstream],
        "response_headers = { remove = [\"Access-Control-*\"] }",
    );
    let answer = get(&daemon, "/");
    assert_eq!((answer.status, answer.text().as_str()), (302, "abc"));
    assert_eq!(answer.header("location"), Some("http://inner.example/x"));
    let cookies = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie");
    let cookies: Vec<&str> = cookies.map(|(_, value)| value.as_str()).collect();
    assert_eq!(cookies, ["a=1; Path=/inner", "b=2"]);
    for gone in ["access-control-allow-origin", "x-hop", "keep-alive"] {
        assert_eq!(answer.header(gone), None, "{gone}");
    }
}

#[test]
fn answers_without_a_body_have_none_and_the_connection_is_used_again() {
    let upstream = Upstream::answering(|request| match request.line() {
        line if line.starts_with("HEAD") => {
            b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n".to_vec()
        }
        line if line.contains("/204") => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        line if line.contains("/304") => {
            b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n".to_vec()
        }
        _ => ok(b"body"),
    });
    let daemon = Builder::new()
        .config(&config(&[upstream.url()], ""))
        .env("SEANCE_HTTP__WORKERS", "1")
        .start();
    let mut client = Connection::open(daemon.http);
    for (method, path, status) in [
        ("HEAD", "/", 200),
        ("GET", "/204", 204),
        ("GET", "/304", 304),
    ] {
        client.send(&head(method, path, &[], None));
        let answer = client.answer(false);
        assert_eq!(answer.status, status);
        let length = (method == "HEAD").then_some("7");
        assert_eq!(answer.header("content-length"), length, "{method} {path}");
    }
    client.send(&head("GET", "/", &[], None));
    assert_eq!(client.answer(true).text(), "body");
    assert_eq!(upstream.connections(), 1, "one connection for all of them");
}

#[test]
fn each_event_goes_out_before_the_next_one_is_sent() {
    let (next, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::start(move |mut peer, _| {
        peer.request().expect("a request");
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
            peer.send(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes());
            if wait.lock().expect("the wait").recv().is_err() {
                return;
            }
        }
    });
    let daemon = before(&[&upstream], "");
    let mut client = Connection::open(daemon.http);
    client.send(&head("GET", "/events", &[], None));
    let mut seen = String::new();
    for event in ["data: 1", "data: 2", "data: 3"] {
        let mut buffer = [0; 4096];
        while !seen.contains(event) {
            let read = client.stream().read(&mut buffer).expect("an event in time");
            assert_ne!(read, 0, "{seen}");
            seen += &String::from_utf8_lossy(&buffer[..read]);
        }
        next.send(()).unwrap_or_default();
    }
}

#[test]
fn a_large_upload_streams_through_with_flat_memory() {
    let received = Arc::new(Mutex::new(0));
    let count = received.clone();
    let upstream = Upstream::start(move |mut peer, _| {
        let head = peer.until(b"\r\n\r\n").expect("a head");
        assert!(String::from_utf8_lossy(&head).contains("content-length: 314572800"));
        while *count.lock().expect("the count") < 300 * 1024 * 1024 {
            let Some(part) = peer.take(1024 * 1024) else {
                return;
            };
            *count.lock().expect("the count") += part.len();
        }
        peer.send(&ok(b"all"));
    });
    let daemon = before(&[&upstream], "");
    let before = peak_memory(&daemon);
    let mut client = Connection::open(daemon.http);
    client.send(&head("POST", "/", &[], Some(300 * 1024 * 1024)));
    let part = vec![7; 1024 * 1024];
    for _ in 0..300 {
        client.send(&part);
    }
    assert_eq!(client.answer(true).text(), "all");
    // The kernel counts by thread and adds up now and then: the peak may seem to fall.
    let grown = peak_memory(&daemon).saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more");
}

fn echo(mut peer: Peer) {
    let request = peer.request().expect("a handshake");
    assert_eq!(request.field("upgrade"), Some("websocket"));
    assert_eq!(request.field("connection"), Some("upgrade"));
    peer.send(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x05early",
    );
    // A masked frame of a text below 126 bytes comes back without its mask.
    while let Some(start) = peer.take(2) {
        let length = usize::from(start[1] & 0x7F);
        let Some(rest) = peer.take(4 + length) else {
            return;
        };
        let payload = rest[4..]
            .iter()
            .zip(rest[..4].iter().cycle())
            .map(|(a, b)| a ^ b);
        let mut answer = vec![start[0], start[1] & 0x7F];
        answer.extend(payload);
        peer.send(&answer);
    }
}

#[test]
fn a_websocket_goes_through_and_outlives_a_reload() {
    let upstream = Upstream::start(|peer, _| echo(peer));
    let url = upstream.url();
    // The WebSocket client asks for the host `seance`.
    let config =
        |url: &str, options| config(&[url.to_owned()], options).replace("localhost", "seance");
    let daemon = Builder::new().config(&config(&url, "")).start();
    let mut socket = WebSocket::open(daemon.http, "/hmr", "").expect("a handshake");
    assert_eq!(socket.receive(), Frame::Text("early".to_owned()));
    socket.text("one");
    assert_eq!(socket.receive(), Frame::Text("one".to_owned()));
    daemon.reload(&config("http://127.0.0.1:9", ""));
    socket.raw(&frame(0x80 | TEXT, b"two"));
    assert_eq!(socket.receive(), Frame::Text("two".to_owned()));
    daemon.reload(&config(&url, "tunnel_idle_seconds = 1"));
    let mut quiet = WebSocket::open(daemon.http, "/hmr", "").expect("a handshake");
    assert_eq!(quiet.receive(), Frame::Text("early".to_owned()));
    assert_eq!(quiet.receive(), Frame::End, "nothing moved for a second");
}

#[test]
fn an_upload_is_asked_for_only_when_the_upstream_is_there() {
    let (upstream, requests) = recorder();
    let daemon = before(&[&upstream], "");
    let mut client = Connection::open(daemon.http);
    let fields = [("Expect", "100-continue")];
    client.send(&head("POST", "/", &fields, Some(4)));
    assert_eq!(client.answer(false).status, 100);
    client.send(b"body");
    assert_eq!(client.answer(true).status, 200);
    let asked = requests.recv().expect("a request");
    assert_eq!(
        (asked.field("expect"), asked.body.as_slice()),
        (None, &b"body"[..])
    );
    let nobody = Builder::new()
        .config(&config(&["http://127.0.0.1:9".to_owned()], ""))
        .start();
    let mut client = Connection::open(nobody.http);
    client.send(&head("POST", "/", &fields, Some(4)));
    assert_eq!(client.answer(true).status, 502);
}

#[test]
fn a_body_of_unknown_length_goes_on_in_chunks_also_with_get() {
    let (upstream, requests) = recorder();
    let daemon = before(&[&upstream], "");
    for method in ["POST", "GET"] {
        let mut client = Connection::open(daemon.http);
        client.send(&head(
            method,
            "/",
            &[("Transfer-Encoding", "chunked")],
            None,
        ));
        client
            .stream()
            .write_all(b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n")
            .expect("a body");
        assert_eq!(client.answer(true).status, 200);
        let asked = requests.recv().expect("a request");
        assert_eq!(
            asked.field("transfer-encoding"),
            Some("chunked"),
            "{method}"
        );
        assert_eq!(asked.body, b"abcdefg");
    }
}

#[test]
fn trailers_reach_a_client_that_takes_them() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 7\r\n\r\n".to_vec()
    });
    let daemon = before(&[&upstream], "");
    let mut client = Connection::open(daemon.http);
    client.send(&head(
        "GET",
        "/",
        &[("TE", "trailers"), ("Connection", "TE, close")],
        None,
    ));
    let mut all = String::new();
    let started = Instant::now();
    client.stream().read_to_string(&mut all).expect("an answer");
    assert!(started.elapsed() < CEILING);
    assert!(
        all.to_ascii_lowercase().contains("0\r\nx-sum: 7\r\n"),
        "{all}"
    );
}

#[test]
fn requests_over_the_limit_wait_and_those_over_the_queue_are_told_to_come_back() {
    let (go, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let upstream = Upstream::start(move |mut peer, _| {
        while peer.request().is_some() {
            gate.lock().expect("the gate").recv().unwrap_or_default();
            peer.send(&ok(b"done"));
        }
    });
    let daemon = before(
        &[&upstream],
        "max_requests = 1\nmax_waiting = 1\nconnect_timeout_seconds = 60",
    );
    let open = || {
        let mut client = Connection::open(daemon.http);
        client.send(&head("GET", "/", &[], None));
        client
    };
    let mut first = open();
    wait_until(
        "the first is there",
        || upstream.connections(),
        |count| *count == 1,
    );
    // Of these two one waits; which one is the daemon's business.
    let (mut second, mut third) = (open(), open());
    let refused = std::thread::scope(|scope| {
        let second = scope.spawn(|| second.answer(true));
        let third = scope.spawn(|| third.answer(true));
        let done = || second.is_finished() || third.is_finished();
        wait_until("one is refused", done, |done| *done);
        go.send(()).expect("a gate");
        go.send(()).expect("a gate");
        [
            second.join().expect("an answer"),
            third.join().expect("an answer"),
        ]
    });
    assert_eq!(first.answer(true).status, 200);
    let mut statuses = refused.each_ref().map(|answer| answer.status);
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503]);
    let refused = refused
        .iter()
        .find(|answer| answer.status == 503)
        .expect("one");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(
        refused.json()["id"].as_str(),
        refused.header("x-request-id")
    );
}

#[test]
fn the_way_through_a_trusted_proxy_is_told_on() {
    let (upstream, requests) = recorder();
    let config = format!(
        "http.trusted_proxies = [\"127.0.0.0/8\"]\n{}",
        config(&[upstream.url()], "host = \"client\"")
    );
    let daemon = Builder::new().config(&config).start();
    let one = [
        ("X-Forwarded-For", "6.6.6.6, 203.0.113.9"),
        ("X-Forwarded-Proto", "https"),
    ];
    // The proxy adds fields of its own to those of its client.
    let several = [
        ("X-Forwarded-For", "6.6.6.6"),
        ("X_Forwarded_For", "6.6.6.6"),
        ("X-Real-IP", "6.6.6.6"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Forwarded-Proto", "https"),
    ];
    for fields in [&one[..], &several] {
        request(daemon.http, "GET", "/", fields, b"");
        let asked = requests.recv().expect("a request");
        let chain = "6.6.6.6, 203.0.113.9, 127.0.0.1";
        assert_eq!(asked.field("x-forwarded-for"), Some(chain));
        assert_eq!(asked.field("x-forwarded-proto"), Some("https"));
        let names = [asked.field("host"), asked.field("x-real-ip")];
        assert_eq!(names, [Some("localhost"), None]);
        let head = asked.head.to_ascii_lowercase();
        assert_eq!(head.matches("forwarded").count(), 3, "{head}");
    }
}
