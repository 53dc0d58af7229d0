//! Nodes joined by NATS are one room: who is where does not matter, and what is lost heals by itself.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::http::{get, request};
use crate::harness::nats::Nats;
use crate::harness::wait::wait_until;
use crate::harness::websocket::{Received, WebSocket};
use crate::harness::{Builder, Daemon, key_hash};

const API_KEY: &str = "a key of a back end";
/// The warning that there is no bus.
pub const GONE: &str = "the signaling bus is gone";

pub fn node(nats: &Nats, settings: &str) -> Daemon {
    let config = config(&nats.url(), settings);
    Builder::new().config(&config).start()
}

/// A configuration with a bus; quick enough for a test that waits for a node to be forgotten.
pub fn config(url: &str, settings: &str) -> String {
    format!(
        "[signaling]\nbus = \"nats\"\napi_key_hashes = [\"{}\"]\nmessages_per_second = 100000\n\
         bytes_per_second = 1000000000\n[signaling.nats]\nurls = [\"{url}\"]\nheartbeat_seconds = 1\n\
         reconnect_milliseconds = 50\n{settings}\n",
        key_hash(API_KEY)
    )
}

pub fn connect(node: &Daemon) -> WebSocket {
    WebSocket::connect(node.signaling.expect("a signaling address"))
}

/// What a node knows of a topic.
pub fn occupancy(node: &Daemon, topic: &str) -> Value {
    let bearer = format!("Bearer {API_KEY}");
    let fields = [("Authorization", &*bearer)];
    let answer = request(node.http, "GET", "/api/signaling/rooms", &fields, b"").json();
    let rooms = answer["rooms"].as_array().expect("rooms");
    let room = rooms.iter().find(|room| room["topic"] == topic);
    room.cloned().unwrap_or_default()
}

/// Waits until a node counts this many subscribers of a topic, on all nodes.
pub fn until_total(node: &Daemon, topic: &str, total: u64) {
    let total = if total == 0 {
        Value::Null
    } else {
        total.into()
    };
    wait_until(
        "all subscribers are counted",
        || occupancy(node, topic)["total"].clone(),
        |seen| *seen == total,
    );
}

fn bus_of(node: &Daemon) -> (u16, Value) {
    let answer = get(node.http, "/health");
    (answer.status, answer.json()["signaling"]["bus"].clone())
}

/// How often something stands in a node's log.
fn logged(node: &Daemon, text: &str) -> usize {
    node.log().matches(text).count()
}

#[test]
#[ignore = "needs nats-server: tests/run"]
fn peers_on_different_nodes_meet_in_a_room() {
    let nats = Nats::start();
    let (one, two) = (node(&nats, ""), node(&nats, ""));
    let (mut a, mut b, mut c) = (connect(&one), connect(&two), connect(&two));
    for peer in [&mut a, &mut b, &mut c] {
        peer.subscribe("room");
    }
    until_total(&one, "room", 3);
    until_total(&two, "room", 3);
    let expected = json!({"topic": "room", "subscribers": 1, "total": 3});
    assert_eq!(occupancy(&one, "room"), expected);
    a.text(r#"{"type":"publish","topic":"room","clients":77,"more":[{"x":"ü"}]}"#);
    let text = r#"{"type":"publish","topic":"room","clients":3,"more":[{"x":"ü"}]}"#;
    for peer in [&mut a, &mut b, &mut c] {
        assert_eq!(peer.receive(), Received::Text(text.to_owned()));
    }
    assert_eq!(bus_of(&one), (200, json!("healthy")));
    assert_eq!(one.metric("seance_signaling_bus_connected"), 1);
    assert_eq!(one.metric("seance_signaling_bus_messages_sent_total"), 1);
    assert_eq!(
        two.metric("seance_signaling_bus_messages_received_total"),
        1
    );
    assert_eq!(two.metric("seance_signaling_bus_lag_seconds_count"), 1);
    drop(b);
    until_total(&one, "room", 2);
    drop(c);
    until_total(&one, "room", 1);
}

#[test]
#[ignore = "needs nats-server: tests/run"]
fn every_message_arrives_once_and_in_order() {
    let nats = Nats::start();
    let (one, two) = (node(&nats, ""), node(&nats, ""));
    let (mut a, mut b) = (connect(&one), connect(&two));
    a.subscribe("room");
    b.subscribe("room");
    until_total(&one, "room", 2);
    until_total(&two, "room", 2);
    for n in 0..1000 {
        a.publish("room", &n.to_string());
        if n % 100 == 0 {
            b.publish("room", "b");
        }
    }
    for peer in [&mut a, &mut b] {
        let (mut next, mut others) = (0, 0);
        while next < 1000 || others < 10 {
            let message = peer.delivery();
            assert_eq!(message["clients"], 2);
            if message["data"] == "b" {
                others += 1;
            } else {
                assert_eq!(message["data"], next.to_string());
                next += 1;
            }
        }
        assert_eq!((next, others), (1000, 10));
    }
    // Behind everything else, so that an echo would stand before it.
    a.publish("room", "last");
    for peer in [&mut a, &mut b] {
        assert_eq!(peer.delivery()["data"], "last");
        peer.settle();
    }
}

#[test]
#[ignore = "needs nats-server: tests/run"]
fn a_publish_reaches_nodes_where_the_topic_is_although_it_is_not_here() {
    let nats = Nats::start();
    let (one, two) = (node(&nats, ""), node(&nats, ""));
    let topics = ["*", ">", "a.b c", "x\\r\\nPUB y 0\\r\\n\\r\\n", "ünï"];
    let mut b = connect(&two);
    for topic in topics {
        b.subscribe(topic);
    }
    let nodes = || one.metric("seance_signaling_bus_nodes");
    wait_until("the nodes know each other", nodes, |nodes| *nodes == 1);
    let mut a = connect(&one);
    for topic in topics {
        a.publish(topic, topic);
        let message = b.delivery();
        assert_eq!(message["topic"], message["data"]);
        assert_eq!(message["clients"], 1);
    }
    a.settle();
    assert_eq!(one.metric("seance_signaling_topics"), 0);
}

#[test]
#[ignore = "needs nats-server: tests/run"]
fn a_node_that_joins_learns_what_is_there() {
    let nats = Nats::start();
    let one = node(&nats, "");
    let mut a = connect(&one);
    // More than one announcement's worth, subscribed before anybody could hear of it.
    let name = |n: usize| format!("{n}-{}", "x".repeat(240));
    for n in 0..200 {
        a.subscribe(&name(n));
    }
    let two = node(&nats, "");
    until_total(&two, &name(199), 1);
    until_total(&two, &name(0), 1);
    let mut b = connect(&two);
    b.subscribe(&name(7));
    until_total(&one, &name(7), 2);
}

#[test]
#[ignore = "needs nats-server: tests/run"]
fn without_nats_each_node_goes_on_alone_until_it_is_back() {
    let mut nats = Nats::start();
    let (one, two) = (node(&nats, ""), node(&nats, ""));
    let (mut a, mut b, mut c) = (connect(&one), connect(&one), connect(&two));
    for peer in [&mut a, &mut b, &mut c] {
        peer.subscribe("room");
    }
    until_total(&one, "room", 3);
    until_total(&two, "room", 3);
    nats.kill();
    for node in [&one, &two] {
        wait_until(
            "the loss is noticed",
            || bus_of(node),
            |bus| bus.1 == "unreachable",
        );
        assert_eq!(bus_of(node).0, 503);
        assert_eq!(get(node.http, "/health/ready").status, 200);
    }
    assert_eq!(one.metric("seance_signaling_bus_connected"), 0);
    a.publish("room", "alone");
    for peer in [&mut a, &mut b] {
        let message = peer.delivery();
        assert_eq!(
            (&message["data"], &message["clients"]),
            (&json!("alone"), &json!(2))
        );
    }
    nats.start_again();
    for node in [&one, &two] {
        wait_until(
            "the bus is back",
            || bus_of(node),
            |bus| *bus == (200, json!("healthy")),
        );
        until_total(node, "room", 3);
        assert_eq!(logged(node, GONE), 1, "{}", node.log());
        assert_eq!(
            logged(node, "the signaling bus is back"),
            1,
            "{}",
            node.log()
        );
    }
    a.publish("room", "together");
    for peer in [&mut a, &mut b, &mut c] {
        let message = peer.delivery();
        assert_eq!(
            (&message["data"], &message["clients"]),
            (&json!("together"), &json!(3))
        );
    }
}

#[test]
#[ignore = "needs nats-server: tests/run"]
fn a_node_starts_without_nats_and_finds_it_later() {
    let mut nats = Nats::start();
    nats.kill();
    let one = node(&nats, "");
    let mut a = connect(&one);
    a.subscribe("room");
    let warnings = || logged(&one, GONE);
    wait_until("it is told", warnings, |count| *count == 1);
    nats.start_again();
    let two = node(&nats, "");
    until_total(&two, "room", 1);
}

#[test]
#[ignore = "needs nats-server: tests/run"]
fn the_peers_of_a_killed_node_are_no_longer_counted() {
    let nats = Nats::start();
    let (one, mut two) = (node(&nats, ""), node(&nats, ""));
    let (mut a, mut b) = (connect(&one), connect(&two));
    a.subscribe("room");
    b.subscribe("room");
    until_total(&one, "room", 2);
    two.kill();
    let killed = Instant::now();
    until_total(&one, "room", 1);
    let took = killed.elapsed();
    assert!(
        took < Duration::from_secs(20),
        "not by heartbeats of a second: {took:?}"
    );
    a.publish("room", "still here");
    assert_eq!(a.delivery()["clients"], 1);
    assert_eq!(one.metric("seance_signaling_bus_nodes"), 0);
}

#[test]
#[ignore = "needs nats-server: tests/run"]
fn a_node_that_stops_takes_its_leave() {
    let nats = Nats::start();
    let patient = "heartbeat_seconds = 60";
    let start = || {
        let config = config(&nats.url(), "").replace("heartbeat_seconds = 1", patient);
        Builder::new().config(&config).start()
    };
    let (one, two) = (start(), start());
    let mut b = connect(&two);
    b.subscribe("room");
    until_total(&one, "room", 1);
    assert_eq!(one.metric("seance_signaling_bus_nodes"), 1);
    let (status, log) = two.stop();
    assert!(status.success(), "{log}");
    until_total(&one, "room", 0);
    let nodes = || one.metric("seance_signaling_bus_nodes");
    wait_until("it is forgotten", nodes, |nodes| *nodes == 0);
}

#[test]
#[ignore = "needs nats-server: tests/run"]
fn a_changed_bus_waits_for_the_restart_and_says_so() {
    let nats = Nats::start();
    let one = node(&nats, "");
    one.reload(&config(&nats.url(), "max_nodes = 3").replace("bus = \"nats\"", "bus = \"none\""));
    for key in ["signaling.bus", "signaling.nats.max_nodes"] {
        assert!(
            one.log().contains(&format!("key=\"{key}\"")),
            "{}",
            one.log()
        );
    }
    assert_eq!(bus_of(&one), (200, json!("healthy")));
}

#[test]
fn without_a_bus_nothing_is_said_of_it() {
    let alone = Builder::new().start();
    assert_eq!(bus_of(&alone), (200, json!("not_configured")));
    let metrics = alone.metrics_text();
    assert!(!metrics.contains("seance_signaling_bus"), "{metrics}");
}
