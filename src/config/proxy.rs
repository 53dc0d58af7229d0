//! `proxy = { … }` of a route: the servers that answer, and how a request is changed on its way to them and back.

mod upstream;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fields::FieldEdits;
pub use upstream::{Scheme, UpstreamUrl};

const HOUR: u64 = 3600;
/// One bit each remembers which were tried.
const MOST_UPSTREAMS: usize = 64;
const DAY: u64 = 24 * HOUR;

/// Other servers answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Proxy {
    /// `http://127.0.0.1:8080`, `h2c://…` (HTTP/2 without TLS) or `https://…`. A path in the address stands before the
    /// path of every request.
    #[schemars(example = ["http://127.0.0.1:8080"])]
    pub upstreams: Vec<UpstreamUrl>,
    /// Which upstream gets a request when there are several.
    pub balance: Balance,
    /// The Host that an upstream sees: `upstream` is the one of its address, `client` the one that the client sent.
    pub host: HostField,
    /// The Origin that an upstream sees: `client` leaves it as it is, `upstream` replaces it by the upstream's own.
    pub origin: OriginField,
    /// Whether upstreams are told the client's address, scheme and host, as `X-Forwarded-For`, `-Proto` and `-Host`. What
    /// a client itself sent under these names is kept only when it came through `http.trusted_proxies`.
    pub forwarded: bool,
    /// Whether requests and answers say that they came through here, with a `Via` field.
    pub via: bool,
    /// Fields of requests, set or removed last.
    pub request_headers: FieldEdits,
    /// Fields of answers, set or removed last.
    pub response_headers: FieldEdits,
    /// PEM file with the roots that `https` upstreams are verified by, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Time for a connection to an upstream, its place among `max_requests` and its TLS handshake included, seconds.
    pub connect_timeout_seconds: u64,
    /// Time from the end of a request to the head of its answer, seconds; 504 beyond it.
    pub first_byte_timeout_seconds: u64,
    /// Longest silence within an answer or a request's body, seconds. Server-sent events need one event or comment in it.
    pub idle_timeout_seconds: u64,
    /// Longest time for a whole answer, seconds; 0 for any. Neither event streams nor WebSockets fit in one.
    pub total_timeout_seconds: u64,
    /// A WebSocket, or what else was upgraded, is closed after this long without a byte in either direction, seconds.
    pub tunnel_idle_seconds: u64,
    /// Requests and WebSockets at the same time at one upstream. With HTTP/1.1 each needs a connection.
    pub max_requests: usize,
    /// Requests that wait for one of these places; a further one is answered 503.
    pub max_waiting: usize,
    /// Connections to one upstream that are kept for later requests.
    pub max_idle: usize,
    /// How long they are kept, seconds.
    pub keep_idle_seconds: u64,
    /// Status line and header fields of an upstream's answer, bytes; 502 beyond it.
    pub max_header_bytes: usize,
    /// Further tries, at other upstreams first, for a request that can safely be repeated (RFC 9110 §9.2.2), has no body,
    /// and was not answered with a single byte.
    pub retries: u32,
    /// Failures in a row after which an upstream gets no requests while another one can take them; 0 for never.
    pub max_failures: u32,
    /// For how long, seconds.
    pub eject_seconds: u64,
    /// Whether and how upstreams are asked for their health.
    pub health: Option<HealthCheck>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    RoundRobin,
    LeastConnections,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HostField {
    Upstream,
    Client,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OriginField {
    Client,
    Upstream,
}

/// A request that each upstream gets again and again. One that does not answer as wanted gets no other requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HealthCheck {
    /// Path and query of the request; a path in the upstream's address does not stand before it.
    pub path: String,
    /// Time between two requests, seconds.
    pub interval_seconds: u64,
    /// Time for the answer, seconds.
    pub timeout_seconds: u64,
    /// The wanted status; without one any below 400.
    pub status: Option<u16>,
    /// Answers in a row, good or bad, that change the verdict.
    pub threshold: u32,
}

impl Default for HealthCheck {
    fn default() -> HealthCheck {
        HealthCheck {
            path: "/".to_owned(),
            interval_seconds: 5,
            timeout_seconds: 2,
            status: None,
            threshold: 2,
        }
    }
}

impl Default for Proxy {
    fn default() -> Proxy {
        Proxy {
            upstreams: Vec::new(),
            balance: Balance::RoundRobin,
            host: HostField::Upstream,
            origin: OriginField::Client,
            forwarded: true,
            via: false,
            request_headers: FieldEdits::default(),
            response_headers: FieldEdits::default(),
            ca_file: None,
            connect_timeout_seconds: 5,
            first_byte_timeout_seconds: 60,
            idle_timeout_seconds: 300,
            total_timeout_seconds: 0,
            tunnel_idle_seconds: HOUR,
            max_requests: 1000,
            max_waiting: 1000,
            max_idle: 100,
            keep_idle_seconds: 60,
            max_header_bytes: 64 * 1024,
            retries: 2,
            max_failures: 3,
            eject_seconds: 10,
            health: None,
        }
    }
}

/// What is wrong with a `proxy` that could be read.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("`proxy.upstreams` is empty; nothing could answer")]
    NoUpstream,
    #[error("`proxy.upstreams` names {0}, more than {MOST_UPSTREAMS}")]
    Many(usize),
    #[error("`proxy.upstreams` names {0} twice")]
    Twice(UpstreamUrl),
    #[error("`proxy.upstreams` names {0}, which is a listener of seance itself")]
    Ourselves(UpstreamUrl),
    #[error("`proxy.{key}` is {value}; it has to be between {least} and {most}")]
    Range {
        key: &'static str,
        value: u64,
        least: u64,
        most: u64,
    },
    #[error("`proxy.health.path` is `{0}`; it has to begin with `/` and be a valid path and query")]
    HealthPath(String),
    #[error("`proxy.ca_file` is set, but none of the upstreams is https")]
    NoTls,
}

impl Proxy {
    /// Proves what the types of the fields cannot.
    pub fn check(&self) -> Result<(), ProxyError> {
        if self.upstreams.is_empty() {
            return Err(ProxyError::NoUpstream);
        }
        if self.upstreams.len() > MOST_UPSTREAMS {
            return Err(ProxyError::Many(self.upstreams.len()));
        }
        for (index, upstream) in self.upstreams.iter().enumerate() {
            if self.upstreams[..index].contains(upstream) {
                return Err(ProxyError::Twice(upstream.clone()));
            }
        }
        let tls = |upstream: &UpstreamUrl| upstream.scheme() == Scheme::Https;
        if self.ca_file.is_some() && !self.upstreams.iter().any(tls) {
            return Err(ProxyError::NoTls);
        }
        if let Some(health) = &self.health {
            let parsed = health.path.parse::<http::uri::PathAndQuery>();
            if parsed.is_err() || !health.path.starts_with('/') {
                return Err(ProxyError::HealthPath(health.path.clone()));
            }
        }
        let fits =
            |(_, value, least, most): &(&str, u64, u64, u64)| (*least..=*most).contains(value);
        match self.ranges().into_iter().find(|range| !fits(range)) {
            None => Ok(()),
            Some((key, value, least, most)) => Err(ProxyError::Range {
                key,
                value,
                least,
                most,
            }),
        }
    }

    #[rustfmt::skip] // a table is read by its columns
    fn ranges(&self) -> Vec<(&'static str, u64, u64, u64)> {
        let mut ranges = vec![
            ("connect_timeout_seconds", self.connect_timeout_seconds, 1, HOUR),
            ("first_byte_timeout_seconds", self.first_byte_timeout_seconds, 1, DAY),
            ("idle_timeout_seconds", self.idle_timeout_seconds, 1, DAY),
            ("total_timeout_seconds", self.total_timeout_seconds, 0, DAY),
            ("tunnel_idle_seconds", self.tunnel_idle_seconds, 1, 7 * DAY),
            ("max_requests", self.max_requests as u64, 1, 1_000_000),
            ("max_waiting", self.max_waiting as u64, 0, 1_000_000),
            ("max_idle", self.max_idle as u64, 0, 1_000_000),
            ("keep_idle_seconds", self.keep_idle_seconds, 1, HOUR),
            ("max_header_bytes", self.max_header_bytes as u64, 8 * 1024, 1024 * 1024),
            ("retries", u64::from(self.retries), 0, 10),
            ("max_failures", u64::from(self.max_failures), 0, 1000),
            ("eject_seconds", self.eject_seconds, 1, HOUR),
        ];
        if let Some(health) = &self.health {
            ranges.extend([
                ("health.interval_seconds", health.interval_seconds, 1, HOUR),
                ("health.timeout_seconds", health.timeout_seconds, 1, HOUR),
                ("health.status", health.status.map_or(200, u64::from), 200, 599),
                ("health.threshold", u64::from(health.threshold), 1, 100),
            ]);
        }
        ranges
    }
}
