//! The `[signaling.nats]` section: the bus between the nodes of one signaling room.

use std::path::{Path, PathBuf};

use http::uri::Authority;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::secret::{Secret, SecretSource};

/// How the rooms of several nodes become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Bus {
    None,
    Nats,
}

/// The NATS servers over which nodes pass messages on to one another; used when `signaling.bus` is "nats". Whoever may
/// publish there is trusted like a node. All of it takes effect at start only, but for the contents of secret files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Nats {
    /// Servers of one NATS cluster, `nats://host:4222`, or `tls://host:4222` to insist on TLS.
    pub urls: Vec<String>,
    /// Token that the servers ask for.
    pub token: Option<Secret>,
    /// File with the token; a relative name is looked up in systemd's credentials directory.
    pub token_file: Option<PathBuf>,
    /// User name, where the servers want one and a password.
    pub user: Option<String>,
    /// Password of the user.
    pub password: Option<Secret>,
    /// File with the password; a relative name is looked up in systemd's credentials directory.
    pub password_file: Option<PathBuf>,
    /// Certificates (PEM) of the authorities that vouch for the servers, instead of the system's.
    pub tls_ca_file: Option<PathBuf>,
    /// First part of the subjects that are used: letters, digits, `-` and `_` in parts separated by dots. Rooms with
    /// different ones do not meet on the same servers.
    pub subject_prefix: String,
    /// A node says this often that it is alive, and one that was silent three times as long is no longer counted,
    /// seconds. A server that does not answer for as long is left.
    pub heartbeat_seconds: u64,
    /// Time for a connection to a server, seconds.
    pub connect_timeout_seconds: u64,
    /// Longest pause between two attempts to reach a server, milliseconds; the first ones come sooner.
    pub reconnect_milliseconds: u64,
    /// Bytes of messages that may wait to be sent; further ones do not reach the other nodes.
    pub max_outgoing_bytes: usize,
    /// Messages from other nodes that may wait to be delivered; further ones are dropped.
    pub max_incoming_messages: usize,
    /// Nodes that are listened to; further ones are ignored.
    pub max_nodes: usize,
    /// Topics whose subscribers on other nodes are counted, once for each node; further ones are not counted.
    pub max_topics: usize,
}

/// How to log in to the servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NatsLogin {
    Anonymous,
    Token(SecretSource),
    User(String, SecretSource),
}

impl Default for Nats {
    fn default() -> Nats {
        Nats {
            urls: vec!["nats://127.0.0.1:4222".to_owned()],
            token: None,
            token_file: None,
            user: None,
            password: None,
            password_file: None,
            tls_ca_file: None,
            subject_prefix: "seance.signaling".to_owned(),
            heartbeat_seconds: 2,
            connect_timeout_seconds: 5,
            reconnect_milliseconds: 2000,
            max_outgoing_bytes: 4 * 1024 * 1024,
            max_incoming_messages: 8192,
            max_nodes: 64,
            max_topics: 100_000,
        }
    }
}

impl Nats {
    /// Checks what a range cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.urls.is_empty() {
            return Err(ConfigError::Empty {
                key: "signaling.nats.urls",
            });
        }
        if let Some(index) = self.urls.iter().position(|url| !is_server(url)) {
            return Err(ConfigError::NatsUrl { index });
        }
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let mut parts = self.subject_prefix.split('.');
        let plain = parts.all(|part| !part.is_empty() && part.bytes().all(fits));
        if !plain || self.subject_prefix.len() > 64 {
            let value = self.subject_prefix.clone();
            return Err(ConfigError::NatsPrefix { value });
        }
        Ok(())
    }

    /// Finds the secret without reading it.
    pub fn login(&self, credentials: Option<&Path>) -> Result<NatsLogin, ConfigError> {
        let source = |key, value: &Option<Secret>, file: &Option<PathBuf>| match (value, file) {
            (Some(_), Some(_)) => Err(ConfigError::Both { key }),
            (Some(value), None) => Ok(Some(SecretSource::Value(value.clone()))),
            (None, Some(file)) => {
                let file = credentials.map_or_else(|| file.clone(), |below| below.join(file));
                Ok(Some(SecretSource::File(file)))
            }
            (None, None) => Ok(None),
        };
        let token = source("signaling.nats.token", &self.token, &self.token_file)?;
        let password = source(
            "signaling.nats.password",
            &self.password,
            &self.password_file,
        )?;
        match (token, &self.user, password) {
            (None, None, None) => Ok(NatsLogin::Anonymous),
            (Some(token), None, None) => Ok(NatsLogin::Token(token)),
            (None, Some(user), Some(password)) => Ok(NatsLogin::User(user.clone(), password)),
            _ => Err(ConfigError::NatsLogin),
        }
    }

    /// Every number with the least and the most that it may be.
    #[rustfmt::skip] // a table is read by its columns
    pub fn ranges(&self) -> [(&'static str, u64, u64, u64); 7] {
        [
            ("signaling.nats.heartbeat_seconds", self.heartbeat_seconds, 1, 60),
            ("signaling.nats.connect_timeout_seconds", self.connect_timeout_seconds, 1, 60),
            ("signaling.nats.reconnect_milliseconds", self.reconnect_milliseconds, 50, 60_000),
            ("signaling.nats.max_outgoing_bytes", self.max_outgoing_bytes as u64, 4096, 1 << 30),
            ("signaling.nats.max_incoming_messages", self.max_incoming_messages as u64, 16, 1_000_000),
            ("signaling.nats.max_nodes", self.max_nodes as u64, 1, 1000),
            ("signaling.nats.max_topics", self.max_topics as u64, 1, 10_000_000),
        ]
    }
}

/// Scheme, host, perhaps a port. A user or token in it would be a secret in the configuration file.
fn is_server(url: &str) -> bool {
    let authority = url
        .strip_prefix("nats://")
        .or_else(|| url.strip_prefix("tls://"));
    authority.is_some_and(|text| {
        !text.contains('@')
            && text
                .parse::<Authority>()
                .is_ok_and(|authority| !authority.host().is_empty())
    })
}
