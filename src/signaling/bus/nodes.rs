//! How many subscribers the other nodes have, merged from what they announce. No sockets, no clock.

use std::collections::HashMap;
use std::sync::Arc;

use super::wire::NodeId;
use crate::signaling::peer::Nanos;

#[derive(Clone, Copy)]
pub struct Limits {
    pub nodes: usize,
    /// Topics, once for each node that has them.
    pub topics: usize,
    pub topic_bytes: usize,
}

/// The other nodes and what they have. Counts are absolute, so that hearing one twice changes nothing.
pub struct Nodes {
    limits: Limits,
    nodes: HashMap<NodeId, Node>,
    /// Wide enough for any number that all nodes may announce: a sum that were cut off could not be taken back.
    totals: HashMap<Arc<str>, u64>,
    /// Entries in the tables of all nodes.
    entries: usize,
    /// Nodes and topics that were ignored because there were too many.
    pub refused: u64,
}

struct Node {
    counts: HashMap<Arc<str>, Count>,
    /// The number of its states that began; what the last one did not name goes when it ends.
    round: u32,
    /// Whether a state is being received.
    coming: bool,
    /// The number of its next envelope.
    next: u64,
    /// Whether nothing was lost since its last whole state.
    in_step: bool,
    heard: Nanos,
}

struct Count {
    subscribers: u32,
    /// The node's round in which it was named last.
    round: u32,
}

impl Nodes {
    pub fn new(limits: Limits) -> Nodes {
        Nodes {
            limits,
            nodes: HashMap::new(),
            totals: HashMap::new(),
            entries: 0,
            refused: 0,
        }
    }

    /// A limit for names that come from now on; what is there stays.
    pub fn set_topic_bytes(&mut self, most: usize) {
        self.limits.topic_bytes = most;
    }

    /// Notes an envelope of a node, and says how many were lost before it; none when there is no place for another
    /// node.
    pub fn heard(&mut self, id: NodeId, number: u64, now: Nanos) -> Option<u64> {
        if !self.nodes.contains_key(&id) && self.nodes.len() >= self.limits.nodes {
            self.refused += 1;
            return None;
        }
        let node = self.nodes.entry(id).or_insert_with(|| Node {
            counts: HashMap::new(),
            round: 0,
            coming: false,
            next: number,
            in_step: false,
            heard: now,
        });
        node.heard = now;
        if node.next != number {
            node.in_step = false;
            node.coming = false;
        }
        let missed = number.saturating_sub(node.next);
        node.next = number.wrapping_add(1);
        Some(missed)
    }

    /// Sets the number of subscribers that a node has.
    pub fn set(&mut self, id: NodeId, counts: &[(&str, u32)]) {
        for &(name, count) in counts {
            self.set_one(id, name, count);
        }
    }

    /// Takes a part of a node's state; with the last part what was not named is gone.
    pub fn state(&mut self, id: NodeId, first: bool, last: bool, counts: &[(&str, u32)]) {
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        if first {
            node.coming = true;
            node.round = node.round.wrapping_add(1);
        }
        // Its first part was lost.
        if !node.coming {
            return;
        }
        self.set(id, counts);
        if last {
            self.end_state(id);
        }
    }

    /// Takes away what the state did not name.
    fn end_state(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        (node.coming, node.in_step) = (false, true);
        let round = node.round;
        for (name, gone) in node.counts.extract_if(|_, count| count.round != round) {
            change(&mut self.totals, &name, gone.subscribers, 0);
            self.entries -= 1;
        }
    }

    fn set_one(&mut self, id: NodeId, name: &str, subscribers: u32) {
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        if subscribers == 0 {
            if let Some((name, gone)) = node.counts.remove_entry(name) {
                change(&mut self.totals, &name, gone.subscribers, 0);
                self.entries -= 1;
            }
            return;
        }
        let round = node.round;
        if let Some(known) = node.counts.get_mut(name) {
            let before = std::mem::replace(&mut known.subscribers, subscribers);
            known.round = round;
            change(&mut self.totals, name, before, subscribers);
            return;
        }
        if self.entries >= self.limits.topics || name.len() > self.limits.topic_bytes {
            self.refused += 1;
            return;
        }
        // One allocation for both tables.
        let known = self.totals.get_key_value(name);
        let name: Arc<str> = known.map_or_else(|| name.into(), |(known, _)| known.clone());
        node.counts
            .insert(name.clone(), Count { subscribers, round });
        self.entries += 1;
        *self.totals.entry(name).or_default() += u64::from(subscribers);
    }

    pub fn forget(&mut self, id: NodeId) {
        let Some(node) = self.nodes.remove(&id) else {
            return;
        };
        self.entries -= node.counts.len();
        for (name, count) in node.counts {
            change(&mut self.totals, &name, count.subscribers, 0);
        }
    }

    /// Forgets the nodes that were last heard before `since`.
    pub fn forget_silent(&mut self, since: Nanos) {
        let silent = |(id, node): (&NodeId, &Node)| (node.heard < since).then_some(*id);
        let silent: Vec<NodeId> = self.nodes.iter().filter_map(silent).collect();
        silent.into_iter().for_each(|id| self.forget(id));
    }

    pub fn clear(&mut self) {
        self.nodes.clear();
        self.totals.clear();
        self.entries = 0;
    }

    /// Whether the counts of a node may be wrong until it sends its state.
    pub fn out_of_step(&self) -> bool {
        self.nodes.values().any(|node| !node.in_step)
    }

    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Subscribers of a topic on all other nodes.
    pub fn total(&self, name: &str) -> u32 {
        let total = self.totals.get(name).copied().unwrap_or(0);
        u32::try_from(total).unwrap_or(u32::MAX)
    }

    /// Every topic that has a subscriber on another node, in no order.
    pub fn totals(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        self.totals.iter().map(|(name, count)| (name, *count))
    }
}

/// Sets what one node adds to a total that already contains it.
fn change(totals: &mut HashMap<Arc<str>, u64>, name: &str, before: u32, after: u32) {
    let Some(total) = totals.get_mut(name) else {
        return;
    };
    *total = total.saturating_sub(before.into()) + u64::from(after);
    if *total == 0 {
        totals.remove(name);
    }
}

#[cfg(test)]
mod tests;
