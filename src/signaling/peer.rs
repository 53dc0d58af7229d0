//! One connection as the room keeps it: its bytes, its phase, its clocks.

use std::net::IpAddr;
use std::task::Waker;

use super::frame::Opcode;
use super::message::Message;
use super::rate::Used;
use super::stream::Stream;
use super::token::Claims;

/// Nanoseconds since the room was opened.
pub type Nanos = u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The request head has not come in whole; `deadline` ends it.
    Handshake,
    /// Frames; `deadline` is the time of the next ping.
    Open,
    /// The last bytes are on their way; whatever comes in is dropped until the peer is gone or `deadline`.
    Closing,
}

pub struct Peer {
    pub stream: Stream,
    pub address: IpAddr,
    pub phase: Phase,
    /// The socket refused a write: the connection's task ends when it is next polled.
    pub failed: bool,
    /// Wakes the connection's task.
    pub waker: Option<Waker>,
    /// The beginning of something whose rest has not come in: a request head or a frame.
    pub partial: Vec<u8>,
    /// The fragments of an unfinished message (RFC 6455 §5.4).
    pub fragments: Option<Box<Fragments>>,
    /// What the token of this peer allows; everything without one.
    pub grant: Option<Box<Claims>>,
    pub messages: Used,
    pub bytes: Used,
    pub deadline: Nanos,
    /// When the last message came in.
    pub heard: Nanos,
    /// When the socket last took something while bytes were waiting for it; 0 while none are.
    pub blocked: Nanos,
    pub ping_unanswered: bool,
    /// Our half has been closed behind the last byte.
    pub shut: bool,
}

pub struct Fragments {
    pub opcode: Opcode,
    pub data: Vec<u8>,
    /// When the first one came.
    pub since: Nanos,
}

impl Peer {
    pub fn new(stream: Stream, address: IpAddr, now: Nanos, deadline: Nanos) -> Self {
        Self {
            stream,
            address,
            phase: Phase::Handshake,
            failed: false,
            waker: None,
            partial: Vec::new(),
            fragments: None,
            grant: None,
            messages: Used::default(),
            bytes: Used::default(),
            deadline,
            heard: now,
            blocked: 0,
            ping_unanswered: false,
            shut: false,
        }
    }

    /// Whether the peer's token allows the message; leaving a topic and pinging always are.
    pub fn may(&self, message: &Message<'_>) -> bool {
        let Some(claims) = &self.grant else {
            return true;
        };
        match message {
            Message::Publish(publish) => claims.may_publish(&publish.topic),
            Message::Subscribe(topics) => topics.iter().all(|topic| claims.may_subscribe(topic)),
            Message::Unsubscribe(_) | Message::Ping | Message::Other => true,
        }
    }

    pub fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Offers bytes to the socket at the end of a turn. A socket that takes less than all has its task woken, which
    /// waits until there is room again; one that fails takes everything, and the task ends.
    pub fn offer(&mut self, bytes: &[u8], now: Nanos) -> usize {
        if self.failed {
            return bytes.len();
        }
        match self.stream.try_write(bytes) {
            Ok(written) => {
                if written < bytes.len() || self.stream.holds_back() {
                    self.blocked = now;
                    self.wake();
                }
                written
            }
            Err(_) => {
                // The peer went away; nothing that is still written reaches it.
                self.failed = true;
                self.wake();
                bytes.len()
            }
        }
    }
}
