use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::signaling::message::{self, Message};

const LIMITS: Limits = Limits {
    topics_per_connection: 3,
    subscribers_per_topic: 4,
    topic_bytes: 8,
    outbox_bytes: usize::MAX,
};

/// What a client may do, and what the sockets may do meanwhile.
#[derive(Debug, Clone)]
enum Step {
    Join,
    Leave(usize),
    Subscribe(usize, u8),
    Unsubscribe(usize, u8),
    Publish(u8, u16),
    Flush,
    /// A socket takes this many bytes from now on, until it is told otherwise.
    Room(usize, usize),
    Drain(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let peer = 0..6usize;
    let topic = 0..5u8;
    prop_oneof![
        2 => Just(Step::Join),
        1 => peer.clone().prop_map(Step::Leave),
        4 => (peer.clone(), topic.clone()).prop_map(|(p, t)| Step::Subscribe(p, t)),
        2 => (peer.clone(), topic.clone()).prop_map(|(p, t)| Step::Unsubscribe(p, t)),
        6 => (topic, 0..2000u16).prop_map(|(t, n)| Step::Publish(t, n)),
        2 => Just(Step::Flush),
        2 => (peer.clone(), prop_oneof![Just(0), 0..500usize, Just(usize::MAX)]).prop_map(|(p, n)| Step::Room(p, n)),
        2 => peer.prop_map(Step::Drain),
    ]
}

/// The sockets: what each has taken, and how much it takes in one write.
#[derive(Default)]
struct Wires {
    taken: BTreeMap<PeerId, Vec<u8>>,
    room: BTreeMap<PeerId, usize>,
}

impl Wires {
    fn write(&mut self, peer: PeerId, bytes: &[u8]) -> usize {
        let count = bytes
            .len()
            .min(*self.room.get(&peer).unwrap_or(&usize::MAX));
        self.taken
            .entry(peer)
            .or_default()
            .extend_from_slice(&bytes[..count]);
        count
    }
}

/// Splits what a client received into messages.
fn texts(mut bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while !bytes.is_empty() {
        let end = frame::end_of_frame(bytes, 1);
        let (message, rest) = bytes.split_at(end);
        let head = frame::server_header_len(match message[1] {
            126 => 126,
            short => usize::from(short),
        });
        texts.push(String::from_utf8(message[head..].to_vec()).expect("text"));
        bytes = rest;
    }
    texts
}

fn publish_text(topic: u8, serial: usize, filler: u16) -> String {
    format!(
        r#"{{"type":"publish","topic":"t{topic}","n":{serial},"x":"{}"}}"#,
        "y".repeat(usize::from(filler))
    )
}

fn with_clients(text: &str, clients: usize) -> String {
    format!("{},\"clients\":{clients}}}", &text[..text.len() - 1])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_member_gets_every_message_of_its_topics_once_in_order(steps in prop::collection::vec(step(), 1..120)) {
        let mut hub = Hub::new(LIMITS);
        let mut wires = Wires::default();
        let mut peers: Vec<PeerId> = Vec::new();
        let mut model: BTreeMap<u8, BTreeSet<PeerId>> = BTreeMap::new();
        let mut due: BTreeMap<PeerId, BTreeMap<u8, Vec<String>>> = BTreeMap::new();
        let mut serial = 0;
        for step in steps {
            match step {
                Step::Join => {
                    let peer = hub.join();
                    if peers.len() == 6 { hub.leave(peer) } else {
                        // A slot may have belonged to a peer that left.
                        due.remove(&peer);
                        wires.taken.remove(&peer);
                        wires.room.remove(&peer);
                        peers.push(peer);
                    }
                }
                Step::Leave(at) if at < peers.len() => {
                    let peer = peers.remove(at);
                    hub.leave(peer);
                    model.values_mut().for_each(|members| { members.remove(&peer); });
                    due.remove(&peer);
                    wires.taken.remove(&peer);
                }
                Step::Subscribe(at, topic) if at < peers.len() => {
                    let peer = peers[at];
                    let own = model.values().filter(|members| members.contains(&peer)).count();
                    let members = model.entry(topic).or_default();
                    let wanted = match () {
                        () if members.contains(&peer) => Ok(()),
                        () if own >= LIMITS.topics_per_connection => Err(Refusal::TooManyTopics),
                        () if members.len() >= LIMITS.subscribers_per_topic => Err(Refusal::TopicFull),
                        () => Ok(()),
                    };
                    if wanted.is_ok() { members.insert(peer); }
                    prop_assert_eq!(hub.subscribe(peer, &format!("t{topic}"), |p, b| wires.write(p, b)), wanted);
                }
                Step::Unsubscribe(at, topic) if at < peers.len() => {
                    if let Some(members) = model.get_mut(&topic) { members.remove(&peers[at]); }
                    hub.unsubscribe(peers[at], &format!("t{topic}"), |p, b| wires.write(p, b));
                }
                Step::Publish(topic, filler) => {
                    serial += 1;
                    let text = publish_text(topic, serial, filler);
                    let Ok(Message::Publish(publish)) = message::parse(&text) else { panic!("a publish") };
                    let members = model.entry(topic).or_default();
                    prop_assert_eq!(hub.publish(&publish, 0, |p, b| wires.write(p, b)) as usize, members.len());
                    for member in members.iter() {
                        due.entry(*member).or_default().entry(topic).or_default().push(with_clients(&text, members.len()));
                    }
                }
                Step::Flush => {
                    hub.flush(|p, b| wires.write(p, b));
                    prop_assert!(!hub.is_dirty());
                }
                Step::Room(at, room) if at < peers.len() => { wires.room.insert(peers[at], room); }
                Step::Drain(at) if at < peers.len() => {
                    let peer = peers[at];
                    hub.drain(peer, |bytes| wires.write(peer, bytes));
                }
                _ => {}
            }
            model.retain(|_, members| !members.is_empty());
            prop_assert_eq!(hub.topic_count(), model.len());
        }
        hub.flush(|p, b| wires.write(p, b));
        wires.room.clear();
        for peer in peers {
            prop_assert!(hub.drain(peer, |bytes| wires.write(peer, bytes)));
            let mut got: BTreeMap<u8, Vec<String>> = BTreeMap::new();
            for text in texts(wires.taken.get(&peer).map_or(&[][..], Vec::as_slice)) {
                let Ok(Message::Publish(publish)) = message::parse(&text) else { panic!("a publish") };
                got.entry(publish.topic.as_bytes()[1] - b'0').or_default().push(text);
            }
            prop_assert_eq!(got, due.remove(&peer).unwrap_or_default());
        }
    }
}

#[test]
fn a_peer_that_takes_nothing_is_reported_once_its_outbox_is_over_the_limit() {
    let mut hub = Hub::new(Limits {
        outbox_bytes: 1000,
        ..LIMITS
    });
    let (slow, quick) = (hub.join(), hub.join());
    let mut wires = Wires::default();
    wires.room.insert(slow, 10);
    for peer in [slow, quick] {
        hub.subscribe(peer, "t0", |_, b| b.len())
            .expect("within the limits");
    }
    let text = publish_text(0, 1, 300);
    let Ok(Message::Publish(publish)) = message::parse(&text) else {
        panic!("a publish")
    };
    let mut reported = Vec::new();
    for _ in 0..4 {
        hub.publish(&publish, 0, |p, b| wires.write(p, b));
        hub.flush(|p, b| wires.write(p, b));
        wires.room.insert(slow, 0);
        reported.push(hub.take_overflowed());
    }
    assert_eq!(reported, [vec![], vec![], vec![slow], vec![slow]]);
    hub.drop_backlog(slow);
    wires.room.clear();
    hub.drain(slow, |bytes| wires.write(slow, bytes));
    assert_eq!(
        texts(&wires.taken[&slow]).len(),
        1,
        "the half-written frame is completed, the rest dropped"
    );
    assert_eq!(texts(&wires.taken[&quick]).len(), 4);
}

#[test]
fn a_name_that_is_too_long_is_refused() {
    let mut hub = Hub::new(LIMITS);
    let peer = hub.join();
    assert_eq!(
        hub.subscribe(peer, "123456789", |_, b| b.len()),
        Err(Refusal::TopicName)
    );
    assert_eq!(hub.topic_count(), 0);
}

#[test]
fn a_long_turn_is_flushed_before_it_grows_without_end() {
    let mut hub = Hub::new(LIMITS);
    let peer = hub.join();
    hub.subscribe(peer, "t0", |_, b| b.len())
        .expect("within the limits");
    let text = publish_text(0, 1, 2000);
    let Ok(Message::Publish(publish)) = message::parse(&text) else {
        panic!("a publish")
    };
    let mut largest = 0;
    for _ in 0..200 {
        hub.publish(&publish, 0, |_, bytes| {
            largest = largest.max(bytes.len());
            bytes.len()
        });
    }
    assert!((BATCH..BATCH + 3000).contains(&largest), "{largest}");
}
