//! Who is in which room, and what goes to whom: no sockets, no tasks, no locks.
//!
//! Within a turn of the event loop every publish appends its once-encoded frame to its topic's turn
//! buffer; [`Hub::flush`] then offers each member that buffer in one write. Frames of one topic reach a
//! member in the order of their publishing. Writing goes through a closure `write(peer, bytes)`
//! that says how many bytes the peer's socket took; the rest waits in the peer's outbox.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use slab::Slab;

use super::frame::{self, Opcode};
use super::message::Publish;
use super::outbox::Outbox;
use super::stats::Stats;

pub type PeerId = usize;
type TopicId = usize;

/// A topic's turn buffer is flushed early at this size, so that a batch stays in the processor's cache.
const BATCH: usize = 64 * 1024;
/// Emptied turn buffers kept for the next turn.
const SPARE_BATCHES: usize = 32;
/// Changed topics that are remembered one by one.
const CHANGES: usize = 10_000;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub topics_per_connection: usize,
    pub subscribers_per_topic: usize,
    pub topic_bytes: usize,
    pub outbox_bytes: usize,
}

/// Why a subscription was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    TopicName,
    TooManyTopics,
    TopicFull,
}

pub struct Hub {
    limits: Limits,
    peers: Slab<Peer>,
    topics: Slab<Topic>,
    by_name: HashMap<Arc<str>, TopicId>,
    /// Topics with something in their turn buffer; may name one twice or one that is gone.
    dirty: Vec<TopicId>,
    spare: Vec<Vec<u8>>,
    /// Peers whose outbox went over the limit since they were last asked for.
    overflowed: Vec<PeerId>,
    /// What [`Self::watch`] asked for.
    changes: Option<Changes>,
    pub stats: Stats,
}

/// Topics that got or lost a subscriber since they were last asked for.
#[derive(Default)]
pub struct Changes {
    pub names: HashSet<Arc<str>>,
    /// So many that they are not named.
    pub too_many: bool,
}

#[derive(Default)]
struct Peer {
    topics: Vec<TopicId>,
    outbox: Option<Box<Outbox>>,
}

struct Topic {
    name: Arc<str>,
    members: Vec<PeerId>,
    turn: Vec<u8>,
    frames: u64,
    /// When the first frame of the turn was published.
    since: Instant,
}

impl Hub {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            peers: Slab::new(),
            topics: Slab::new(),
            by_name: HashMap::new(),
            dirty: Vec::new(),
            spare: Vec::new(),
            overflowed: Vec::new(),
            changes: None,
            stats: Stats::default(),
        }
    }

    /// Limits for what comes from now on; what is there stays.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    pub fn join(&mut self) -> PeerId {
        self.peers.insert(Peer::default())
    }

    /// Peers that joined and have not left.
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// Adds the peer to a topic; once more changes nothing.
    pub fn subscribe(
        &mut self,
        peer: PeerId,
        name: &str,
        write: impl FnMut(PeerId, &[u8]) -> usize,
    ) -> Result<(), Refusal> {
        if name.len() > self.limits.topic_bytes {
            return Err(Refusal::TopicName);
        }
        let Some(state) = self.peers.get(peer) else {
            return Ok(());
        };
        let known = self.by_name.get(name).copied();
        if known.is_some_and(|topic| state.topics.contains(&topic)) {
            return Ok(());
        }
        if state.topics.len() >= self.limits.topics_per_connection {
            return Err(Refusal::TooManyTopics);
        }
        let topic = match known {
            Some(topic)
                if self.topics[topic].members.len() >= self.limits.subscribers_per_topic =>
            {
                return Err(Refusal::TopicFull);
            }
            Some(topic) => {
                // What was published before this subscription is not for this peer.
                self.flush_topic(topic, write);
                topic
            }
            None => self.open_topic(name),
        };
        self.topics[topic].members.push(peer);
        self.note_change(topic);
        self.peers[peer].topics.push(topic);
        Ok(())
    }

    pub fn unsubscribe(
        &mut self,
        peer: PeerId,
        name: &str,
        write: impl FnMut(PeerId, &[u8]) -> usize,
    ) {
        let Some(&topic) = self.by_name.get(name) else {
            return;
        };
        let Some(state) = self.peers.get_mut(peer) else {
            return;
        };
        let Some(place) = state.topics.iter().position(|&t| t == topic) else {
            return;
        };
        state.topics.swap_remove(place);
        // What was published while it was subscribed still is.
        self.flush_topic(topic, write);
        self.remove_member(topic, peer);
    }

    /// Takes the peer out of every topic; what waits in its outbox stays.
    pub fn leave_topics(&mut self, peer: PeerId) {
        let Some(state) = self.peers.get_mut(peer) else {
            return;
        };
        for topic in std::mem::take(&mut state.topics) {
            self.remove_member(topic, peer);
        }
    }

    /// Forgets the peer.
    pub fn leave(&mut self, peer: PeerId) {
        self.leave_topics(peer);
        self.peers.try_remove(peer);
    }

    /// Delivers to every subscriber of the topic, the sender included if it is one. `elsewhere` is the number of its
    /// subscribers on other nodes. Returns the number of clients that was told.
    pub fn publish(
        &mut self,
        message: &Publish<'_>,
        elsewhere: u32,
        write: impl FnMut(PeerId, &[u8]) -> usize,
    ) -> u32 {
        let Some(&id) = self.by_name.get(&*message.topic) else {
            return 0;
        };
        let topic = &mut self.topics[id];
        let here = u32::try_from(topic.members.len()).unwrap_or(u32::MAX);
        let clients = here.saturating_add(elsewhere);
        if topic.turn.is_empty() {
            topic.turn = self.spare.pop().unwrap_or_default();
            topic.since = Instant::now();
            self.dirty.push(id);
        }
        frame::write_header(Opcode::Text, message.len(clients), &mut topic.turn);
        message.write(clients, &mut topic.turn);
        topic.frames += 1;
        if topic.turn.len() >= BATCH {
            self.flush_topic(id, write);
        }
        clients
    }

    /// Whether a turn buffer waits for [`Self::flush`].
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Ends the turn: offers every turn buffer to the members of its topic.
    pub fn flush(&mut self, mut write: impl FnMut(PeerId, &[u8]) -> usize) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for topic in dirty.drain(..) {
            self.flush_topic(topic, &mut write);
        }
        self.dirty = dirty;
    }

    fn flush_topic(&mut self, id: TopicId, mut write: impl FnMut(PeerId, &[u8]) -> usize) {
        let Some(topic) = self
            .topics
            .get_mut(id)
            .filter(|topic| !topic.turn.is_empty())
        else {
            return;
        };
        let mut batch = std::mem::take(&mut topic.turn);
        let frames = std::mem::take(&mut topic.frames);
        let mut shared: Option<Bytes> = None;
        for &member in &topic.members {
            let Some(peer) = self.peers.get_mut(member) else {
                continue;
            };
            let waiting = peer
                .outbox
                .as_ref()
                .is_some_and(|outbox| !outbox.is_empty());
            let written = if waiting { 0 } else { write(member, &batch) };
            if written < batch.len() {
                let rest = shared
                    .get_or_insert_with(|| Bytes::copy_from_slice(&batch))
                    .clone();
                peer.queue(rest, written);
                if peer.queued() > self.limits.outbox_bytes {
                    self.overflowed.push(member);
                }
                self.stats.outbox_most = self.stats.outbox_most.max(peer.queued());
            }
        }
        self.stats.delivered(
            frames,
            topic.members.len(),
            batch.len(),
            topic.since.elapsed(),
        );
        batch.clear();
        if self.spare.len() < SPARE_BATCHES && batch.capacity() <= 4 * BATCH {
            self.spare.push(batch);
        }
    }

    /// Sends one peer a frame that is not a delivery (pong, ping, close).
    pub fn send(
        &mut self,
        peer: PeerId,
        frame: Vec<u8>,
        mut write: impl FnMut(PeerId, &[u8]) -> usize,
    ) {
        let Some(state) = self.peers.get_mut(peer) else {
            return;
        };
        let waiting = state.queued() > 0;
        let written = if waiting { 0 } else { write(peer, &frame) };
        if written < frame.len() {
            state.queue(frame.into(), written);
            if state.queued() > self.limits.outbox_bytes {
                self.overflowed.push(peer);
            }
        }
    }

    /// Bytes that wait for the peer's socket.
    pub fn queued(&self, peer: PeerId) -> usize {
        self.peers.get(peer).map_or(0, Peer::queued)
    }

    /// Writes what waits for one peer until its socket takes no more; true when nothing is left.
    pub fn drain(&mut self, peer: PeerId, mut write: impl FnMut(&[u8]) -> usize) -> bool {
        let Some(state) = self.peers.get_mut(peer) else {
            return true;
        };
        let Some(outbox) = &mut state.outbox else {
            return true;
        };
        while let Some(front) = outbox.front() {
            let written = write(front);
            if written == 0 {
                return false;
            }
            outbox.advance(written);
        }
        state.outbox = None;
        true
    }

    /// Drops what waits for a peer that is to be closed, up to the end of a half-written frame.
    pub fn drop_backlog(&mut self, peer: PeerId) {
        if let Some(outbox) = self
            .peers
            .get_mut(peer)
            .and_then(|state| state.outbox.as_mut())
        {
            outbox.keep_only_started_frame();
        }
    }

    /// The peers that fell too far behind since the last call.
    pub fn take_overflowed(&mut self) -> Vec<PeerId> {
        std::mem::take(&mut self.overflowed)
    }

    /// Number of topics that have a subscriber.
    pub fn topic_count(&self) -> usize {
        self.by_name.len()
    }

    /// Topics and the number of their subscribers, in no order.
    pub fn rooms(&self) -> Vec<(Arc<str>, usize)> {
        let room = |(_, topic): (TopicId, &Topic)| (topic.name.clone(), topic.members.len());
        self.topics.iter().map(room).collect()
    }

    /// Subscribers of one topic.
    pub fn members(&self, name: &str) -> usize {
        let topic = self.by_name.get(name).and_then(|id| self.topics.get(*id));
        topic.map_or(0, |topic| topic.members.len())
    }

    /// Whether changes are to be remembered.
    pub fn watch(&mut self, on: bool) {
        self.changes = on.then(Changes::default);
    }

    pub fn has_changes(&self) -> bool {
        let changed = |changes: &Changes| changes.too_many || !changes.names.is_empty();
        self.changes.as_ref().is_some_and(changed)
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self) -> Changes {
        self.changes
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    fn note_change(&mut self, id: TopicId) {
        let Some(changes) = &mut self.changes else {
            return;
        };
        if changes.names.len() >= CHANGES {
            changes.names = HashSet::new();
            changes.too_many = true;
        }
        if let Some(topic) = self.topics.get(id).filter(|_| !changes.too_many) {
            changes.names.insert(topic.name.clone());
        }
    }

    fn open_topic(&mut self, name: &str) -> TopicId {
        let name: Arc<str> = name.into();
        let id = self.topics.insert(Topic {
            name: name.clone(),
            members: Vec::new(),
            turn: Vec::new(),
            frames: 0,
            since: Instant::now(),
        });
        self.by_name.insert(name, id);
        id
    }

    fn remove_member(&mut self, id: TopicId, peer: PeerId) {
        let Some(topic) = self.topics.get_mut(id) else {
            return;
        };
        if let Some(place) = topic.members.iter().position(|&member| member == peer) {
            topic.members.swap_remove(place);
            self.note_change(id);
        }
        let Some(topic) = self.topics.get_mut(id) else {
            return;
        };
        if topic.members.is_empty() {
            self.by_name.remove(&topic.name);
            self.topics.remove(id);
        }
    }
}

impl Peer {
    fn queued(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.queued())
    }

    fn queue(&mut self, frames: Bytes, written: usize) {
        self.outbox.get_or_insert_default().push(frames, written);
    }
}

#[cfg(test)]
mod tests;
