//! The room speaks the y-webrtc protocol: whoever publishes is heard by whoever subscribes.

use std::time::Duration;

use serde_json::json;

use crate::harness::websocket::{BINARY, PING, Received, WebSocket, request};
use crate::harness::{Builder, Daemon};

/// A daemon and two peers in the topic `room`.
fn room() -> (Daemon, WebSocket, WebSocket) {
    let daemon = Builder::new().start();
    let address = daemon.signaling.expect("a signaling address");
    let (mut a, mut b) = (WebSocket::connect(address), WebSocket::connect(address));
    a.subscribe("room");
    b.subscribe("room");
    (daemon, a, b)
}

#[test]
fn a_publish_reaches_every_subscriber_the_sender_included_with_clients_set() {
    let (_daemon, mut a, mut b) = room();
    a.text(r#"{"type":"publish","topic":"room","clients":99,"from":"a","deep":{"x":[1,2.50]}}"#);
    for peer in [&mut a, &mut b] {
        let text =
            r#"{"type":"publish","topic":"room","clients":2,"from":"a","deep":{"x":[1,2.50]}}"#;
        assert_eq!(peer.receive(), Received::Text(text.to_owned()));
    }
}

#[test]
fn one_may_publish_without_subscribing() {
    let (daemon, mut a, _b) = room();
    let mut outsider = WebSocket::connect(daemon.signaling.expect("a signaling address"));
    outsider.publish("room", "hello");
    assert_eq!(
        a.delivery(),
        json!({"type":"publish","topic":"room","data":"hello","clients":2})
    );
    outsider.settle();
}

#[test]
fn subscribing_twice_delivers_once_and_unsubscribing_ends_it() {
    let (_daemon, mut a, mut b) = room();
    b.subscribe("room");
    a.publish("room", "one");
    assert_eq!(b.delivery()["clients"], 2);
    b.text(r#"{"type":"unsubscribe","topics":["room","other"]}"#);
    b.settle();
    a.publish("room", "two");
    assert_eq!(a.delivery()["data"], "one");
    assert_eq!(
        a.delivery(),
        json!({"type":"publish","topic":"room","data":"two","clients":1})
    );
    b.settle();
}

#[test]
fn a_closed_connection_leaves_its_topics() {
    let (_daemon, mut a, mut b) = room();
    b.send(crate::harness::websocket::CLOSE, &1000u16.to_be_bytes());
    assert_eq!(b.receive(), Received::Close(1000, String::new()));
    assert_eq!(b.receive(), Received::End);
    a.publish("room", "x");
    assert_eq!(a.delivery()["clients"], 1);
}

#[test]
fn binary_frames_with_json_are_answered_with_text() {
    let (_daemon, mut a, mut b) = room();
    a.send(BINARY, br#"{"type":"publish","topic":"room","data":1}"#);
    assert_eq!(b.delivery()["data"], 1);
}

#[test]
fn a_ping_is_answered_by_a_pong_on_both_levels() {
    let (_daemon, mut a, _b) = room();
    a.settle();
    a.send(PING, b"abc");
    assert_eq!(a.receive(), Received::Pong(b"abc".to_vec()));
}

#[test]
fn a_plain_get_is_answered_okay_on_any_path() {
    let daemon = Builder::new().start();
    let address = daemon.signaling.expect("a signaling address");
    for path in ["/", "/any/path?x=y"] {
        let (_stream, head, body) =
            request(address, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("content-length: 4\r\n"), "{head}");
        assert_eq!(body, b"okay");
    }
}

#[test]
fn the_http_listener_leads_into_the_same_room() {
    let (daemon, mut a, _b) = room();
    for path in ["/signaling", "/signaling/", "/signaling/any/path?room=1"] {
        let mut c = WebSocket::open(daemon.http, path, "").expect("the handshake is accepted");
        c.subscribe("room");
        c.publish("room", path);
        assert_eq!(
            a.delivery(),
            json!({"type":"publish","topic":"room","data":path,"clients":3})
        );
        assert_eq!(c.delivery()["data"], path);
        drop(c);
        crate::harness::wait::wait_until(
            "the room is left",
            || {
                a.publish("room", "");
                a.delivery()["clients"].as_u64()
            },
            |clients| *clients == Some(2),
        );
    }
    for path in ["/signaling", "/signaling/", "/signaling//"] {
        let asked = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let (_stream, head, _) = request(daemon.http, &asked);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {head}");
    }
}

#[test]
fn what_passes_through_the_room_is_measured() {
    let (daemon, mut a, mut b) = room();
    let metric = |name: &str| daemon.metric(&format!("seance_signaling_{name}"));
    let before = metric("received_bytes_total");
    a.text(r#"{"type":"publish","topic":"room"}"#);
    for peer in [&mut a, &mut b] {
        assert_eq!(peer.delivery()["clients"], 2);
    }
    // A frame to the server has a head of six bytes, one to a client of two.
    assert_eq!(metric("received_bytes_total") - before, 6 + 33);
    assert_eq!(metric("messages_sent_total"), 2);
    assert_eq!(metric("sent_bytes_total"), 2 * (2 + 45));
    assert_eq!(metric("fanout_seconds_count"), 1);
    let text = daemon.metrics_text();
    let sum = text
        .lines()
        .find_map(|line| line.strip_prefix("seance_signaling_fanout_seconds_sum "));
    let sum: f64 = sum.and_then(|sum| sum.parse().ok()).expect("a number");
    assert!(sum > 0.0, "{sum}");
}

#[test]
fn large_messages_and_messages_in_pieces_arrive_whole() {
    let (_daemon, mut a, mut b) = room();
    let data = "å".repeat(30_000);
    let text = format!(r#"{{"type":"publish","topic":"room","data":"{data}"}}"#);
    let frame = crate::harness::websocket::frame(0x81, text.as_bytes());
    for piece in frame.chunks(1000) {
        a.raw(piece);
    }
    assert_eq!(b.delivery()["data"], data);
    // Fragments, cut inside a character, with a ping between them.
    for (at, piece) in text.as_bytes().chunks(20_001).enumerate() {
        let fin = if (at + 1) * 20_001 >= text.len() {
            0x80
        } else {
            0
        };
        a.raw(&crate::harness::websocket::frame(
            fin | u8::from(at == 0),
            piece,
        ));
        a.send(PING, b"");
    }
    assert_eq!(b.delivery()["data"], data);
    assert_eq!(b.receive_within(Duration::from_millis(50)), None);
}

#[test]
fn on_shutdown_every_peer_is_told_to_reconnect() {
    let (daemon, mut a, mut b) = room();
    daemon.signal(libc::SIGTERM);
    for peer in [&mut a, &mut b] {
        assert_eq!(peer.closed(), (1012, "server restarts".to_owned()));
    }
}

#[test]
fn on_shutdown_peers_are_told_one_after_the_other() {
    let daemon = Builder::new()
        .config("[signaling]\ndrain_milliseconds = 1500\n[log]\nfilter = \"seance=debug\"\n")
        .start();
    let address = daemon.signaling.expect("a signaling address");
    let mut peers: Vec<WebSocket> = (0..100).map(|_| WebSocket::connect(address)).collect();
    peers.iter_mut().for_each(WebSocket::settle);
    daemon.signal(libc::SIGTERM);
    for peer in &mut peers {
        assert_eq!(peer.closed().0, 1012);
    }
    // By the clock of the daemon: this process may have had to wait for its turn.
    let log = daemon.log();
    let closed = log.lines().filter(|line| line.contains("end=\"restart\""));
    let times: Vec<jiff::Timestamp> = closed
        .map(|line| {
            let time = line.split_whitespace().next().expect("a time");
            time.parse().expect("a time")
        })
        .collect();
    assert_eq!(times.len(), 100);
    let spread = times[99].duration_since(times[0]);
    assert!(spread.as_millis() >= 1400, "{spread:?}");
    let pauses = times.windows(2).filter(|pair| {
        let [before, after] = pair else { return false };
        after.duration_since(*before).as_millis() >= 70
    });
    // Not one portion after the other at once; the daemon, too, may have had to wait.
    assert!(pauses.count() >= 19, "twenty portions");
}

#[test]
fn a_reload_drops_nobody() {
    let daemon = Builder::new().config("").start();
    let mut a = WebSocket::connect(daemon.signaling.expect("a signaling address"));
    a.subscribe("room");
    daemon.reload("[signaling]\nmax_topic_bytes = 4\n");
    a.publish("room", "still here");
    assert_eq!(a.delivery()["data"], "still here");
    a.text(r#"{"type":"subscribe","topics":["room2"]}"#);
    assert_eq!(a.closed(), (1008, "topic name too long".to_owned()));
}
