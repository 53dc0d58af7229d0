//! A request reaches the host it names, in the way that this host wants, or is told why not.

use std::net::SocketAddr;

use crate::harness::http::{Answer, Connection, request};
use crate::harness::tls::Client;
use crate::harness::websocket::{Received, WebSocket};
use crate::harness::{Builder, Daemon};

const HOSTS: &str = "[hosts.\"one.localhost\"]\n[hosts.\"two.localhost\"]\n\
                     [hosts.\"plain.example\"]\ntls = \"off\"\n";

fn daemon() -> Daemon {
    Builder::new().config(HOSTS).start()
}

fn ask(address: SocketAddr, method: &str, path: &str, host: &str) -> Answer {
    request(address, method, path, &[("Host", host)], b"")
}

#[test]
fn plain_requests_are_sent_to_tls_except_where_plain_is_meant() {
    let daemon = daemon();
    let port = daemon.https().port();
    let secure = |rest: &str| Some(format!("https://one.localhost:{port}{rest}"));
    let table = [
        (
            "GET",
            "/a?b=c%20d",
            "one.localhost",
            308,
            secure("/a?b=c%20d"),
        ),
        ("GET", "/", "ONE.localhost.", 308, secure("/")),
        (
            "GET",
            "//evil.example/",
            "one.localhost:8080",
            308,
            secure("//evil.example/"),
        ),
        ("POST", "/deploy", "one.localhost", 308, secure("/deploy")),
        (
            "GET",
            "/health/live",
            "one.localhost",
            308,
            secure("/health/live"),
        ),
        (
            "GET",
            "/.well-known/acme-challenge/none",
            "one.localhost",
            404,
            None,
        ),
        ("GET", "/health/live", "plain.example", 200, None),
        (
            "GET",
            "/.well-known/acme-challenge/none",
            "plain.example",
            404,
            None,
        ),
        ("GET", "/health/live", "127.0.0.1", 200, None),
        ("GET", "/health/ready", "127.0.0.1:80", 200, None),
        ("GET", "/health/live", "[::1]:80", 200, None),
        ("GET", "/health", "127.0.0.1", 421, None),
        ("GET", "/", "127.0.0.1", 421, None),
        ("GET", "/", "evil.example", 421, None),
        ("GET", "/health/live", "localhost", 421, None),
        ("GET", "/", "", 400, None),
        ("GET", "/", "one.localhost:http", 400, None),
        ("GET", "/", "one.localhost:99999", 400, None),
        ("GET", "/", "one.localhost@evil.example", 400, None),
        ("GET", "/", "one.localhost/evil", 400, None),
        ("GET", "/", "one.localhost one.localhost", 400, None),
        ("GET", "/", "one.localhost,two.localhost", 400, None),
        ("GET", "/", "[::1", 400, None),
        ("GET", "/", "ünicode.example", 400, None),
    ];
    for (method, path, host, status, location) in table {
        let answer = ask(daemon.http, method, path, host);
        assert_eq!(
            answer.status,
            status,
            "{method} {path} for {host:?}: {}",
            answer.text()
        );
        let to = answer.header("location").map(str::to_owned);
        assert_eq!(to, location, "{method} {path} for {host:?}");
    }
}

#[test]
fn a_request_with_two_names_is_refused() {
    let daemon = daemon();
    for head in [
        "GET / HTTP/1.1\r\nHost: one.localhost\r\nHost: one.localhost\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET http://one.localhost/ HTTP/1.1\r\nHost: two.localhost\r\n\r\n",
    ] {
        let mut connection = Connection::open(daemon.http);
        connection.send(head.as_bytes());
        assert_eq!(connection.answer(true).status, 400, "{head:?}");
    }
}

#[test]
fn a_request_for_another_host_than_the_handshake_named_is_misdirected() {
    let daemon = daemon();
    let one = Client::trusting(&daemon.local_root()).tunnel(daemon.https(), "one.localhost");
    let port = daemon.https().port();
    for (host, status) in [
        ("one.localhost".to_owned(), 200),
        (format!("One.Localhost:{port}"), 200),
        ("two.localhost".to_owned(), 421),
        ("plain.example".to_owned(), 421),
        ("evil.example".to_owned(), 421),
        ("127.0.0.1".to_owned(), 421),
        ("one.localhost:x".to_owned(), 400),
    ] {
        assert_eq!(
            ask(one, "GET", "/health/live", &host).status,
            status,
            "{host}"
        );
    }
}

#[test]
fn behind_a_proxy_hosts_are_plain_and_nothing_is_redirected() {
    let config = format!("[http]\nbehind_proxy = true\ntrusted_proxies = [\"127.0.0.1\"]\n{HOSTS}");
    let daemon = Builder::new().config(&config).start();
    assert!(daemon.https.is_none());
    for (host, status) in [
        ("one.localhost", 200),
        ("plain.example", 200),
        ("evil.example", 421),
    ] {
        assert_eq!(
            ask(daemon.http, "GET", "/health/live", host).status,
            status,
            "{host}"
        );
    }
}

#[test]
fn signaling_works_over_tls_under_its_path_and_on_its_port() {
    let daemon = daemon();
    let client = Client::trusting(&daemon.local_root());
    let port = daemon.signaling.expect("a signaling address");
    let https = client.tunnel(daemon.https(), "one.localhost");
    let own = client.tunnel(port, "two.localhost");
    let mut peers = [
        WebSocket::named(https, "one.localhost", "/signaling").expect("wss under /signaling"),
        WebSocket::named(own, "two.localhost", "/").expect("wss on the port"),
        WebSocket::connect(port),
    ];
    peers.iter_mut().for_each(|peer| peer.subscribe("t"));
    peers[2].publish("t", "to all");
    for peer in &mut peers {
        assert_eq!(peer.delivery()["data"], "to all");
    }
    let refusal = Client::trusting_all().refusal(port, "three.localhost");
    assert!(refusal.contains("UnrecognisedName"), "{refusal}");
}

#[test]
fn a_large_burst_reaches_a_slow_reader_over_tls_to_its_last_byte() {
    let daemon = daemon();
    let client = Client::trusting(&daemon.local_root());
    let port = daemon.signaling.expect("a signaling address");
    for (entrance, path) in [
        (client.tunnel(port, "one.localhost"), "/"),
        (client.tunnel(daemon.https(), "one.localhost"), "/signaling"),
    ] {
        let mut reader = WebSocket::named(entrance, "one.localhost", path).expect("a WebSocket");
        reader.subscribe("t");
        let mut writer = WebSocket::connect(port);
        let data = "x".repeat(50_000);
        for _ in 0..40 {
            writer.publish("t", &data);
        }
        writer.settle();
        for number in 0..40 {
            let delivery = reader.delivery();
            assert_eq!(
                delivery["data"].as_str().map(str::len),
                Some(50_000),
                "{number}"
            );
        }
    }
}

#[test]
fn plain_connections_to_the_signaling_port_can_be_refused() {
    let config = format!("[signaling]\nplain = false\n{HOSTS}");
    let daemon = Builder::new().config(&config).start();
    let port = daemon.signaling.expect("a signaling address");
    let head = WebSocket::open(port, "/", "").err().expect("no handshake");
    assert_eq!(head, "", "hung up on");
    let tunnel = Client::trusting(&daemon.local_root()).tunnel(port, "one.localhost");
    let mut peer = WebSocket::named(tunnel, "one.localhost", "/").expect("wss on the port");
    peer.subscribe("t");
    assert_eq!(
        peer.receive_within(std::time::Duration::ZERO),
        None::<Received>
    );
}
