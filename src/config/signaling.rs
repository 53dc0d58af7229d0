//! The `[signaling]` section: the y-webrtc room, who may come in, and how much anybody may do.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The signaling room for y-webrtc clients, on a port of its own and under `/signaling` of the HTTP listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Signaling {
    /// Addresses to bind; an empty list leaves only `/signaling` of the HTTP listener. Sockets inherited from systemd
    /// under the name `signaling` have to be bound to the same ones.
    pub listen: Vec<SocketAddr>,
    /// Origins whose pages may connect, `https://app.example.com`. Empty: any page, and clients that are no browser.
    pub allowed_origins: Vec<String>,
    /// Open connections in total; a further one is closed with 1013.
    pub max_connections: usize,
    /// Open connections from one address (IPv6: one /64); a further one is closed with 1013. Behind a proxy every
    /// client has the proxy's address.
    pub max_connections_per_address: usize,
    /// Topics that one connection may subscribe to; more closes it with 1008.
    pub max_topics_per_connection: usize,
    /// Subscribers of one topic; a further one is closed with 1013.
    pub max_subscribers_per_topic: usize,
    /// Length of a topic name, bytes; a longer one closes the connection with 1008.
    pub max_topic_bytes: usize,
    /// Size of one message, all its fragments together, bytes; a larger one closes the connection with 1009.
    pub max_message_bytes: usize,
    /// Frames per second from one connection in the long run; ten seconds' worth may come at once, more closes it with
    /// 1008. A client that joins a large room sends hundreds of messages in a second.
    pub messages_per_second: u64,
    /// Bytes per second from one connection in the long run; ten seconds' worth may come at once, more closes it with
    /// 1008.
    pub bytes_per_second: u64,
    /// Bytes that may wait for a peer that reads slowly, beyond what the kernel holds; more closes it with 1013.
    pub max_outbox_bytes: usize,
    /// A peer that takes none of the bytes that wait for it for this long is closed with 1013, seconds.
    pub stall_timeout_seconds: u64,
    /// Time for the opening handshake, seconds.
    pub handshake_timeout_seconds: u64,
    /// A peer is pinged this often, and closed with 1008 when it has not answered by the next ping, seconds.
    pub ping_interval_seconds: u64,
    /// A peer that sends no message for this long is closed with 1008, seconds. y-webrtc sends one every 15 s.
    pub idle_timeout_seconds: u64,
    /// On shutdown the peers are told to reconnect (1012) spread over this time, milliseconds.
    pub drain_milliseconds: u64,
}

impl Default for Signaling {
    fn default() -> Signaling {
        Signaling {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 4444))],
            allowed_origins: Vec::new(),
            max_connections: 20_000,
            max_connections_per_address: 2_000,
            max_topics_per_connection: 256,
            max_subscribers_per_topic: 2_000,
            max_topic_bytes: 256,
            max_message_bytes: 64 * 1024,
            messages_per_second: 200,
            bytes_per_second: 512 * 1024,
            max_outbox_bytes: 256 * 1024,
            stall_timeout_seconds: 10,
            handshake_timeout_seconds: 10,
            ping_interval_seconds: 30,
            idle_timeout_seconds: 600,
            drain_milliseconds: 500,
        }
    }
}

impl Signaling {
    /// Every number with the least and the most that it may be.
    #[rustfmt::skip] // a table is read by its columns
    pub fn ranges(&self) -> [(&'static str, u64, u64, u64); 14] {
        let hour = 3600;
        [
            ("signaling.max_connections", self.max_connections as u64, 1, 1_000_000),
            ("signaling.max_connections_per_address", self.max_connections_per_address as u64, 1, 1_000_000),
            ("signaling.max_topics_per_connection", self.max_topics_per_connection as u64, 1, 10_000),
            ("signaling.max_subscribers_per_topic", self.max_subscribers_per_topic as u64, 1, 1_000_000),
            ("signaling.max_topic_bytes", self.max_topic_bytes as u64, 1, 4096),
            ("signaling.max_message_bytes", self.max_message_bytes as u64, 125, 1024 * 1024),
            ("signaling.messages_per_second", self.messages_per_second, 1, 1_000_000),
            ("signaling.bytes_per_second", self.bytes_per_second, 1024, 1 << 30),
            ("signaling.max_outbox_bytes", self.max_outbox_bytes as u64, 4096, 16 * 1024 * 1024),
            ("signaling.stall_timeout_seconds", self.stall_timeout_seconds, 1, hour),
            ("signaling.handshake_timeout_seconds", self.handshake_timeout_seconds, 1, hour),
            ("signaling.ping_interval_seconds", self.ping_interval_seconds, 1, hour),
            ("signaling.idle_timeout_seconds", self.idle_timeout_seconds, 1, 24 * hour),
            ("signaling.drain_milliseconds", self.drain_milliseconds, 0, 60_000),
        ]
    }
}
