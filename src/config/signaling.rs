//! The `[signaling]` section: the y-webrtc room, who may come in, and how much anybody may do.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::nats::{Bus, Nats, NatsLogin};
use super::secret::{Secret, SecretSource};
use super::types::BuilderKeyHash;

/// The signaling room for y-webrtc clients, on a port of its own and under `/signaling` of the HTTP listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Signaling {
    /// Addresses to bind; an empty list leaves only `/signaling` of the HTTP listener. Sockets inherited from systemd
    /// under the name `signaling` have to be bound to the same ones.
    pub listen: Vec<SocketAddr>,
    /// Whether the port takes connections without TLS, too, when a host has a certificate: the first byte tells them
    /// apart.
    pub plain: bool,
    /// Origins whose pages may connect: `https://app.example.com`, of an app's webview `tauri://localhost`, `file://` or
    /// `null`. Empty: any page, and clients that are no browser.
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
    /// A peer is pinged this often, and closed with 1008 when it has not answered by the next ping, or takes longer than
    /// that to send the fragments of one message, seconds.
    pub ping_interval_seconds: u64,
    /// A peer that sends no message for this long is closed with 1008, seconds. y-webrtc sends one every 15 s.
    pub idle_timeout_seconds: u64,
    /// On shutdown the peers are told to reconnect (1012) spread over this time, milliseconds.
    pub drain_milliseconds: u64,
    /// Whether a client needs a token, `ws://…/?token=…`. One that is shown is checked in any case.
    pub require_token: bool,
    /// Files with the secrets of tokens, 32 bytes or more each; a relative name is looked up in systemd's credentials
    /// directory. The first one signs, all verify, and a token names its key by the file's name: put a new file in
    /// front, and take the old one away when its tokens have expired.
    pub token_key_files: Vec<PathBuf>,
    /// Longest life of a token that is made here, seconds.
    pub token_lifetime_seconds: u64,
    /// SHA-256 of the keys with which back ends make tokens and read the list of rooms over HTTP; `seance key new`
    /// makes a key and prints its hash. Without any, both are switched off.
    pub api_key_hashes: Vec<BuilderKeyHash>,
    /// "nats" joins the rooms of several nodes; "none" keeps to this one. Limits hold for each node by itself.
    pub bus: Bus,
    pub turn: Turn,
    pub nats: Nats,
}

/// Credentials for a TURN server that shares a secret with us (coturn's `use-auth-secret`), at `GET /api/turn`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Turn {
    /// `turn:turn.example.com:3478?transport=udp`; without any, `/api/turn` is switched off.
    pub urls: Vec<String>,
    /// coturn's `static-auth-secret`.
    pub secret: Option<Secret>,
    /// File with the secret; a relative name is looked up in systemd's credentials directory.
    pub secret_file: Option<PathBuf>,
    /// Life of the credentials, seconds.
    pub lifetime_seconds: u64,
}

impl Default for Turn {
    fn default() -> Turn {
        Turn {
            urls: Vec::new(),
            secret: None,
            secret_file: None,
            lifetime_seconds: 3600,
        }
    }
}

/// Where the secrets of the section come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalingSecrets {
    /// By the name that tokens give their key.
    pub tokens: Vec<(String, SecretSource)>,
    pub turn: Option<SecretSource>,
    pub nats: NatsLogin,
}

impl Default for Signaling {
    fn default() -> Signaling {
        Signaling {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 4444))],
            plain: true,
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
            require_token: false,
            token_key_files: Vec::new(),
            token_lifetime_seconds: 24 * 3600,
            api_key_hashes: Vec::new(),
            bus: Bus::None,
            turn: Turn::default(),
            nats: Nats::default(),
        }
    }
}

impl Signaling {
    /// Finds the secrets without reading them.
    pub fn secrets(&self, credentials: Option<&Path>) -> Result<SignalingSecrets, ConfigError> {
        let below = |path: &PathBuf| match credentials {
            Some(directory) => SecretSource::File(directory.join(path)),
            None => SecretSource::File(path.clone()),
        };
        let key = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            (name.into_owned(), below(path))
        };
        if self.require_token && self.token_key_files.is_empty() {
            return Err(ConfigError::NoTokenKey);
        }
        let turn = match (&self.turn.secret, &self.turn.secret_file) {
            (Some(_), Some(_)) => {
                return Err(ConfigError::Both {
                    key: "signaling.turn.secret",
                });
            }
            (Some(secret), None) => Some(SecretSource::Value(secret.clone())),
            (None, Some(path)) => Some(below(path)),
            (None, None) if self.turn.urls.is_empty() => None,
            (None, None) => return Err(ConfigError::NoTurnSecret),
        };
        let tokens = self.token_key_files.iter().map(key).collect();
        self.nats.check()?;
        let nats = self.nats.login(credentials)?;
        Ok(SignalingSecrets { tokens, turn, nats })
    }

    /// Every number with the least and the most that it may be.
    #[rustfmt::skip] // a table is read by its columns
    pub fn ranges(&self) -> [(&'static str, u64, u64, u64); 16] {
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
            ("signaling.drain_milliseconds", self.drain_milliseconds, 0, 10_000),
            ("signaling.token_lifetime_seconds", self.token_lifetime_seconds, 1, 366 * 24 * hour),
            ("signaling.turn.lifetime_seconds", self.turn.lifetime_seconds, 60, 24 * hour),
        ]
    }
}
