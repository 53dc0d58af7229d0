//! The other nodes of the room: what is to be told them, and what they have.
//!
//! Synchronous like the hub and under the same lock. [`link`] carries envelopes to and from NATS; it is told by a
//! [`Notify`] that something waits, and nothing here ever waits for it.

pub mod link;
mod nodes;
mod stats;
mod wire;

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Notify;

use super::message::{self, Message, Publish};
use super::room::{Room, offer};
use crate::clock;
use crate::config::Nats;
use nodes::{Limits, Nodes};
pub use stats::Figures;
use stats::{Drop, Stats};
use wire::{Body, NodeId};

/// A node is forgotten after this many heartbeats that did not come.
const MISSED_HEARTBEATS: u64 = 3;
const SECOND: u64 = 1_000_000_000;

pub struct Bus {
    pub nodes: Nodes,
    pub stats: Stats,
    /// Whether NATS is there. While it is not, nothing is queued and nobody elsewhere is counted.
    pub up: bool,
    node: NodeId,
    next: u64,
    /// Publishes that wait to be sent, still without their numbers.
    outgoing: VecDeque<Vec<u8>>,
    outgoing_bytes: usize,
    max_outgoing_bytes: usize,
    /// Publishes that were taken to be sent, until they are.
    sending: u64,
    silence: u64,
    due: Due,
    waiting: Arc<Notify>,
}

/// What else is to be said, once however often it was asked for.
#[derive(Default)]
struct Due {
    alive: bool,
    ask: bool,
    state: bool,
}

impl Bus {
    pub fn new(settings: &Nats, topic_bytes: usize) -> Bus {
        Bus {
            nodes: Nodes::new(Limits {
                nodes: settings.max_nodes,
                topics: settings.max_topics,
                topic_bytes,
            }),
            stats: Stats::default(),
            up: false,
            node: uuid::Uuid::now_v7().into_bytes(),
            next: 0,
            outgoing: VecDeque::new(),
            outgoing_bytes: 0,
            max_outgoing_bytes: settings.max_outgoing_bytes,
            sending: 0,
            silence: MISSED_HEARTBEATS * settings.heartbeat_seconds * SECOND,
            due: Due::default(),
            waiting: Arc::default(),
        }
    }

    /// Has a publish of a client of this node sent to the others. Without room in the queue it is dropped, because a
    /// client must not wait for the network of the nodes.
    pub fn publish(&mut self, message: &Publish<'_>) {
        if !self.up {
            return;
        }
        let length = message.len(0);
        if self.outgoing_bytes + length > self.max_outgoing_bytes {
            self.stats.dropped(Drop::Outgoing, 1);
            return;
        }
        let sent = clock::now().as_microsecond();
        let write = |bytes: &mut Vec<u8>| message.write(0, bytes);
        let envelope = wire::publish(self.node, sent, length, write);
        self.outgoing_bytes += envelope.len();
        self.outgoing.push_back(envelope);
        self.waiting.notify_one();
    }
}

impl Room {
    /// From now on the other nodes can be reached.
    fn bus_connected(&mut self) {
        let Some(bus) = &mut self.bus else { return };
        bus.up = true;
        bus.due = Due {
            alive: false,
            ask: true,
            state: true,
        };
        self.hub.watch(true);
        bus.waiting.notify_one();
    }

    /// Nobody else can be reached or is counted any more.
    fn bus_lost(&mut self) {
        let Some(bus) = &mut self.bus else { return };
        bus.up = false;
        bus.nodes.clear();
        // Of a batch in the middle of which it was lost nobody knows what has arrived.
        let lost = std::mem::take(&mut bus.sending) + bus.outgoing.len() as u64;
        bus.stats.dropped(Drop::Outgoing, lost);
        bus.outgoing.clear();
        bus.outgoing_bytes = 0;
        self.hub.watch(false);
    }

    /// To be called when a topic may have got or lost a subscriber.
    pub(super) fn tell_bus(&mut self) {
        if let Some(bus) = &self.bus
            && self.hub.has_changes()
        {
            bus.waiting.notify_one();
        }
    }

    fn bus_heartbeat(&mut self) {
        let now = self.now();
        let Some(bus) = &mut self.bus else { return };
        bus.nodes.forget_silent(now.saturating_sub(bus.silence));
        bus.due.alive = true;
        bus.due.ask |= bus.nodes.out_of_step();
        bus.waiting.notify_one();
    }

    /// All that is to be sent now, in this order. Who subscribed stands before what was published since.
    fn bus_take(&mut self) -> Vec<Vec<u8>> {
        let Some(bus) = &mut self.bus else {
            return Vec::new();
        };
        let due = std::mem::take(&mut bus.due);
        let changes = self.hub.take_changes();
        let mut batch = Vec::new();
        if due.ask {
            batch.push(wire::ask(bus.node));
        }
        if due.alive {
            batch.push(wire::alive(bus.node));
        }
        if due.state || changes.too_many {
            let rooms = self.hub.rooms();
            batch.extend(wire::state(
                bus.node,
                rooms
                    .iter()
                    .map(|(name, members)| (&**name, count(*members))),
            ));
        } else {
            let members = |name: &Arc<str>| count(self.hub.members(name));
            let changed = changes.names.iter().map(|name| (&**name, members(name)));
            batch.extend(wire::changes(bus.node, changed));
        }
        bus.sending = bus.outgoing.len() as u64;
        batch.extend(bus.outgoing.drain(..));
        bus.outgoing_bytes = 0;
        for envelope in &mut batch {
            wire::number(envelope, bus.next);
            bus.next += 1;
        }
        batch
    }

    /// What was taken is on its way.
    fn bus_sent(&mut self) {
        if let Some(bus) = &mut self.bus {
            bus.stats.sent += std::mem::take(&mut bus.sending);
        }
    }

    /// NATS does not take one of those that were taken.
    fn bus_too_large(&mut self) {
        if let Some(bus) = &mut self.bus {
            bus.sending = bus.sending.saturating_sub(1);
            bus.stats.dropped(Drop::TooLarge, 1);
        }
    }

    fn bus_bye(&mut self) -> Option<Vec<u8>> {
        let bus = self.bus.as_mut()?;
        let mut envelope = wire::bye(bus.node);
        wire::number(&mut envelope, bus.next);
        Some(envelope)
    }

    /// Acts on what came from NATS, whatever it is.
    fn bus_receive(&mut self, payload: &[u8]) {
        let now = self.now();
        let Some(bus) = &mut self.bus else { return };
        let Some(envelope) = wire::read(payload) else {
            bus.stats.dropped(Drop::Malformed, 1);
            return;
        };
        // The server does not echo, unless it is too old to know how not to.
        let node = envelope.node;
        if node == bus.node {
            return;
        }
        let Some(missed) = bus.nodes.heard(node, envelope.number, now) else {
            return;
        };
        bus.stats.dropped(Drop::Incoming, missed);
        match envelope.body {
            Body::Publish { sent, text } => self.bus_deliver(sent, text, now),
            Body::Counts(counts) => bus.nodes.set(node, &counts),
            Body::State {
                first,
                last,
                counts,
            } => bus.nodes.state(node, first, last, &counts),
            Body::Alive => {}
            Body::Ask => {
                bus.due.state = true;
                bus.waiting.notify_one();
            }
            Body::Bye => bus.nodes.forget(node),
        }
    }

    /// Delivers a publish of another node to who is here, through the same turn buffer as one of this node.
    fn bus_deliver(&mut self, sent: i64, text: &str, now: u64) {
        let Some(bus) = &mut self.bus else { return };
        // The number of clients was put in by the sender.
        let fits = text.len() <= self.rules.settings.max_message_bytes + 32;
        let Some(Message::Publish(publish)) = fits.then(|| message::parse(text).ok()).flatten()
        else {
            bus.stats.dropped(Drop::Malformed, 1);
            return;
        };
        let micros = clock::now().as_microsecond().saturating_sub(sent);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a lag of centuries may be imprecise"
        )]
        bus.stats.delivered(micros as f64 / 1e6);
        let elsewhere = bus.nodes.total(&publish.topic);
        let peers = &mut self.peers;
        self.hub.publish(&publish, elsewhere, |to, bytes| {
            offer(peers, to, bytes, now)
        });
        self.acted(now);
    }
}

fn count(members: usize) -> u32 {
    u32::try_from(members).unwrap_or(u32::MAX)
}
