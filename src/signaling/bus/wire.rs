//! What nodes say to one another: one envelope per NATS message.
//!
//! Version, kind, node (16 bytes), number (8 bytes), then the kind's own. Numbers are big-endian. Topic names stand in
//! the payload only, so that no name can become part of a subject.

use std::ops::Range;

/// A run of a daemon.
pub type NodeId = [u8; 16];

const VERSION: u8 = 1;
const HEAD: usize = 26;
const NUMBER: Range<usize> = 18..HEAD;
/// An announcement is cut at about this size, far below the 1 MiB that NATS takes.
const COUNTS_BYTES: usize = 32 * 1024;

const PUBLISH: u8 = 0;
const COUNTS: u8 = 1;
const STATE: u8 = 2;
const ALIVE: u8 = 3;
const ASK: u8 = 4;
const BYE: u8 = 5;

const FIRST: u8 = 1;
const LAST: u8 = 2;

#[derive(Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    pub node: NodeId,
    /// Each envelope of a node has the number after the one before; a gap means that something was lost.
    pub number: u64,
    pub body: Body<'a>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// A client's publish. `sent` is the sender's clock, microseconds since 1970.
    Publish {
        sent: i64,
        text: &'a str,
    },
    /// Topics and the number of their subscribers on that node now; 0 for one that ended.
    Counts(Vec<(&'a str, u32)>),
    /// A part of all that the node has; with the last part, what was not named is no longer there.
    State {
        first: bool,
        last: bool,
        counts: Vec<(&'a str, u32)>,
    },
    Alive,
    /// Everybody is to send their state.
    Ask,
    /// The node goes.
    Bye,
}

/// Reads an envelope; none when it is anything else.
pub fn read(bytes: &[u8]) -> Option<Envelope<'_>> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
    let [VERSION, kind, ..] = *head else {
        return None;
    };
    let node = head.get(2..18)?.try_into().ok()?;
    let number = u64::from_be_bytes(head.get(NUMBER)?.try_into().ok()?);
    let body = match kind {
        PUBLISH => {
            let (sent, text) = rest.split_first_chunk()?;
            Body::Publish {
                sent: i64::from_be_bytes(*sent),
                text: std::str::from_utf8(text).ok()?,
            }
        }
        COUNTS => Body::Counts(counts(rest)?),
        STATE => {
            let (flags, rest) = rest.split_first()?;
            Body::State {
                first: flags & FIRST != 0,
                last: flags & LAST != 0,
                counts: counts(rest)?,
            }
        }
        ALIVE => Body::Alive,
        ASK => Body::Ask,
        BYE => Body::Bye,
        _ => return None,
    };
    Some(Envelope { node, number, body })
}

fn counts(mut bytes: &[u8]) -> Option<Vec<(&str, u32)>> {
    let mut counts = Vec::new();
    while !bytes.is_empty() {
        let (count, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (name, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        counts.push((std::str::from_utf8(name).ok()?, u32::from_be_bytes(*count)));
        bytes = rest;
    }
    Some(counts)
}

/// An envelope that still needs its number: [`number`].
pub fn publish(
    node: NodeId,
    sent: i64,
    length: usize,
    write: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    let mut bytes = head(PUBLISH, node, 8 + length);
    bytes.extend_from_slice(&sent.to_be_bytes());
    write(&mut bytes);
    bytes
}

pub fn alive(node: NodeId) -> Vec<u8> {
    head(ALIVE, node, 0)
}

pub fn ask(node: NodeId) -> Vec<u8> {
    head(ASK, node, 0)
}

pub fn bye(node: NodeId) -> Vec<u8> {
    head(BYE, node, 0)
}

/// Announces topics that changed, in as many envelopes as it takes.
pub fn changes<'a>(node: NodeId, counts: impl Iterator<Item = (&'a str, u32)>) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    for (name, count) in counts {
        append(&mut parts, name, count, || head(COUNTS, node, 64));
    }
    parts
}

/// Announces all topics, in as many envelopes as it takes.
pub fn state<'a>(node: NodeId, counts: impl Iterator<Item = (&'a str, u32)>) -> Vec<Vec<u8>> {
    let part = || {
        let mut bytes = head(STATE, node, 64);
        bytes.push(0);
        bytes
    };
    let mut parts = vec![part()];
    for (name, count) in counts {
        append(&mut parts, name, count, part);
    }
    if let Some(flags) = parts.first_mut().and_then(|part| part.get_mut(HEAD)) {
        *flags |= FIRST;
    }
    if let Some(flags) = parts.last_mut().and_then(|part| part.get_mut(HEAD)) {
        *flags |= LAST;
    }
    parts
}

fn append(parts: &mut Vec<Vec<u8>>, name: &str, count: u32, part: impl Fn() -> Vec<u8>) {
    // Names are bounded far below by configuration.
    let Ok(length) = u16::try_from(name.len()) else {
        return;
    };
    if parts.last().is_none_or(|part| part.len() >= COUNTS_BYTES) {
        parts.push(part());
    }
    let Some(bytes) = parts.last_mut() else {
        return;
    };
    bytes.extend_from_slice(&count.to_be_bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(name.as_bytes());
}

/// Gives an envelope its number.
pub fn number(bytes: &mut [u8], number: u64) {
    if let Some(place) = bytes.get_mut(NUMBER) {
        place.copy_from_slice(&number.to_be_bytes());
    }
}

fn head(kind: u8, node: NodeId, room: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + room);
    bytes.extend_from_slice(&[VERSION, kind]);
    bytes.extend_from_slice(&node);
    bytes.extend_from_slice(&[0; 8]);
    bytes
}

#[cfg(test)]
mod tests;
