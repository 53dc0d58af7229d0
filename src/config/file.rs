//! What an operator may write. The doc comments are the option reference; the `Default` impls are the only place
//! where a default stands.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::acme::AcmeFile;
use super::builder_key::BuilderKey;
use super::deny::Deny;
use super::drafts::Drafts;
use super::hosts::{Hosts, Https};
use super::network::Network;
use super::retention::Retention;
use super::secret::Secret;
use super::signaling::Signaling;
use super::types::{AppName, BuilderKeyHash, StorePrefix};

/// The configuration file of seance.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    pub http: Http,
    pub https: Https,
    pub acme: AcmeFile,
    pub deny: Deny,
    pub metrics: Metrics,
    pub log: Log,
    pub store: Store,
    pub deploy: Deploy,
    pub drafts: Drafts,
    pub updates: Updates,
    pub audit: Audit,
    pub signaling: Signaling,
    /// The products of this daemon. `default` always exists and owns the paths without an app name; the others live
    /// under `/apps/<name>/` and on their own hosts.
    pub apps: BTreeMap<AppName, App>,
    /// The names this machine answers for. Without any, plain HTTP on `http.listen` is all there is. Aliases, for hosts that
    /// are not in this file: `CADDY_DOMAIN` (the backend's), `APP_DOMAIN` and `MARKETING_DOMAIN` (the default app's `web/`
    /// files); where one of them adds a host, `PORT` is not looked at.
    pub hosts: Hosts,
}

/// The HTTP listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Addresses to bind: without hosts `127.0.0.1:3000`, with hosts `[::]:80` by default. Sockets inherited from systemd
    /// under the name `http` have to be bound to the same ones.
    pub listen: Option<Vec<SocketAddr>>,
    /// Threads that serve connections; 0 means one per core.
    pub workers: usize,
    /// Open connections in total; a further one waits in the kernel's queue.
    pub max_connections: usize,
    /// Open connections from one address (IPv6: one /64); a further one is closed at once. Loopback is exempt.
    pub max_connections_per_address: usize,
    /// Request line and header fields together, bytes. electron-updater's differential requests need 18 KB.
    pub max_header_bytes: usize,
    /// Header fields in one request.
    pub max_headers: usize,
    /// Time for a whole request head, the first from the connection's start (with TLS, its handshake within), a later one
    /// from its first byte, seconds.
    pub header_timeout_seconds: u64,
    /// A sender from which nothing of a request's body comes for this long, or less than `min_bytes_per_second`, is
    /// answered 408 and cut off, seconds. What the server takes to go on reading does not count.
    pub body_timeout_seconds: u64,
    /// A peer that takes less than `min_bytes_per_second` of an answer for this long is cut off, seconds; over HTTP/2 only
    /// the stream of the answer ends. What it took before buys time, a second for 12 KiB, up to 5 minutes: a system with a
    /// large receive buffer, or a player that has read ahead, asks for more only once in a while.
    pub write_timeout_seconds: u64,
    /// A connection without requests is closed after this time, seconds. A proxy in front should close its own earlier.
    pub idle_timeout_seconds: u64,
    /// What a peer has to send of a body, or take of an answer, while it is waited for. 0 asks only that something moves.
    pub min_bytes_per_second: u64,
    /// HTTP/2 requests at the same time on one connection.
    pub max_streams: u32,
    /// HTTP/2 requests that a connection may take back within a second; more of them end it.
    pub max_resets_per_second: u32,
    /// Wrong passwords (`basic_auth` of a route) that one address may send within a minute (IPv6: one /64); further ones
    /// are answered 429 without being looked at.
    pub failed_passwords_per_minute: u32,
    /// How long requests in flight may go on after SIGTERM, seconds.
    pub drain_seconds: u64,
    /// Origins whose pages may read answers, `https://app.example.com`; `*` for any. Empty: no CORS header at all.
    pub cors_origins: Vec<String>,
    /// Proxies in front of us, as addresses or networks (`10.0.0.0/8`): the client's address is taken from
    /// `X-Forwarded-For` when the connection comes from one of them.
    pub trusted_proxies: Vec<Network>,
    /// Hosts are served in plain text on `http.listen`, without certificates and redirects, because one of
    /// `trusted_proxies`, which must not be empty, terminates TLS.
    pub behind_proxy: bool,
}

impl Http {
    /// Where plain HTTP is served.
    pub fn listeners(&self, hosts: bool) -> Vec<SocketAddr> {
        match &self.listen {
            Some(listen) => listen.clone(),
            None if hosts => vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, 80))],
            None => vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 3000))],
        }
    }
}

impl Default for Http {
    fn default() -> Http {
        Http {
            listen: None,
            workers: 0,
            max_connections: 10_000,
            max_connections_per_address: 1_000,
            max_header_bytes: 64 * 1024,
            max_headers: 100,
            header_timeout_seconds: 10,
            body_timeout_seconds: 10,
            write_timeout_seconds: 10,
            idle_timeout_seconds: 75,
            min_bytes_per_second: 240,
            max_streams: 100,
            max_resets_per_second: 100,
            failed_passwords_per_minute: 10,
            drain_seconds: 10,
            cors_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            behind_proxy: false,
        }
    }
}

/// The listener for `/metrics`, apart from the public one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Addresses to bind; an empty list switches the listener off.
    pub listen: Vec<SocketAddr>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 9464))],
        }
    }
}

/// What the daemon writes to the journal or to standard error.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or levels by part such as `info,seance::store=debug`.
    pub filter: String,
    /// `auto` writes to the journal when systemd started the daemon, else text; `text` and `json` write to standard error.
    pub format: LogFormat,
    /// One line per request.
    pub access: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Auto,
    Text,
    Json,
}

impl Default for Log {
    fn default() -> Log {
        Log {
            filter: "info".to_owned(),
            format: LogFormat::Auto,
            access: true,
        }
    }
}

/// Where objects live.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// `filesystem` keeps objects in the state directory, `s3` in a bucket. With `filesystem` a configured bucket is an
    /// error, so that nobody's releases go to the disk by mistake.
    pub kind: StoreKind,
    /// Directory of the filesystem store; a relative one lies in the state directory.
    pub directory: PathBuf,
    pub s3: S3,
}

impl Default for Store {
    fn default() -> Store {
        Store {
            kind: StoreKind::Filesystem,
            directory: PathBuf::from("store"),
            s3: S3::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    Filesystem,
    S3,
}

/// The S3-compatible service of `store.kind = "s3"`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct S3 {
    /// Alias: `SPACES_BUCKET`.
    pub bucket: Option<String>,
    /// Alias: `SPACES_REGION`.
    pub region: String,
    /// `https://sfo3.digitaloceanspaces.com`. Alias: `SPACES_ENDPOINT`.
    pub endpoint: Option<String>,
    /// Alias: `SPACES_ACCESS_KEY_ID`.
    pub access_key_id: Option<Secret>,
    /// File with the access key id; a relative name is looked up in systemd's credentials directory.
    pub access_key_id_file: Option<PathBuf>,
    /// Alias: `SPACES_SECRET_ACCESS_KEY`.
    pub secret_access_key: Option<Secret>,
    /// File with the secret access key; a relative name is looked up in systemd's credentials directory.
    pub secret_access_key_file: Option<PathBuf>,
    /// `https://endpoint/bucket/key` instead of `https://bucket.endpoint/key`.
    pub path_style: bool,
    /// Send an ACL with every object (`public-read` under the prefixes, else `private`). Switch off for providers that
    /// refuse ACLs and give read access to the prefixes by policy.
    pub acl: bool,
    /// Size of one part of a multipart upload, bytes; at least 5 MiB, grown for objects above 10 000 parts.
    pub part_size_bytes: usize,
    /// Parts in memory at the same time, of all uploads together: uploads take this times `part_size_bytes` of memory.
    pub parts_in_flight: usize,
    /// Time for one request that carries no large body, seconds.
    pub operation_timeout_seconds: u64,
    /// Tries for one request, with back-off between them.
    pub attempts: u32,
}

impl Default for S3 {
    fn default() -> S3 {
        S3 {
            bucket: None,
            region: "us-east-1".to_owned(),
            endpoint: None,
            access_key_id: None,
            access_key_id_file: None,
            secret_access_key: None,
            secret_access_key_file: None,
            path_style: false,
            acl: true,
            part_size_bytes: 8 * 1024 * 1024,
            parts_in_flight: 4,
            operation_timeout_seconds: 30,
            attempts: 4,
        }
    }
}

/// Limits and rules of `POST /deploy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Deploy {
    /// One request body after decompression, bytes.
    pub max_body_bytes: u64,
    /// Files in one deploy.
    pub max_files: usize,
    /// Deploys that are received at the same time. A further one waits for its turn, unread, for up to
    /// `stall_timeout_seconds`; then it is answered 503 with Retry-After.
    pub max_concurrent: usize,
    /// Memory for file contents on their way to the store, of all deploys together, bytes.
    pub buffer_bytes: usize,
    /// Files of one deploy that are sent to the store at the same time.
    pub uploads_in_flight: usize,
    /// How long a deploy may wait for its turn, seconds; and a sender that sends nothing for this long is cut off, where
    /// `http.body_timeout_seconds` is longer.
    pub stall_timeout_seconds: u64,
    /// `warn` reports what is wrong with a manifest in the answer; `enforce` refuses the deploy with 422.
    pub lint: Lint,
    /// Failed keys per minute from one address (IPv6: one /64) before 429 is answered. A valid key is never refused.
    pub failed_keys_per_minute: u32,
    /// How often other nodes' deploys are looked for, seconds.
    pub follow_seconds: u64,
    /// How long another node gets to copy its own deploy to the public names before this one does it, seconds.
    pub projection_grace_seconds: u64,
    /// Age at which staged content that no release names is deleted, seconds; at least a day, since a deploy may take
    /// half of one and clocks differ.
    pub collect_after_seconds: u64,
    /// How often old versions are taken away in apps that have `retention`, seconds.
    pub prune_every_seconds: u64,
    /// How long the content of versions that were taken away is kept, for downloads that have begun, seconds.
    pub free_after_seconds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Lint {
    Warn,
    Enforce,
}

impl Default for Deploy {
    fn default() -> Deploy {
        Deploy {
            max_body_bytes: 2 * 1024 * 1024 * 1024,
            max_files: 10_000,
            max_concurrent: 32,
            buffer_bytes: 32 * 1024 * 1024,
            uploads_in_flight: 8,
            stall_timeout_seconds: 60,
            lint: Lint::Warn,
            failed_keys_per_minute: 10,
            follow_seconds: 3,
            projection_grace_seconds: 60,
            collect_after_seconds: 24 * 3600,
            prune_every_seconds: 24 * 3600,
            free_after_seconds: 24 * 3600,
        }
    }
}

/// What desktop apps read.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Updates {
    /// `auto` redirects whole downloads to the CDN of an app that has one and serves ranges itself; `serve` and
    /// `redirect` do one of them always (several ranges at once are always served here: CDNs get them wrong).
    pub artifacts: Artifacts,
    /// Ranges in one request. electron-updater asks for up to 1000.
    pub max_ranges: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Artifacts {
    Auto,
    Serve,
    Redirect,
}

impl Default for Updates {
    fn default() -> Updates {
        Updates {
            artifacts: Artifacts::Auto,
            max_ranges: 1000,
        }
    }
}

/// The record of who did what, in `audit/` of the state directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// A file is closed and a new one begun at this size, bytes.
    pub max_file_bytes: u64,
    /// Age at which closed files are deleted, days.
    pub keep_days: u32,
}

impl Default for Audit {
    fn default() -> Audit {
        Audit {
            max_file_bytes: 16 * 1024 * 1024,
            keep_days: 365,
        }
    }
}

/// One product.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct App {
    /// First part of the app's public keys in the store, `prod`, `team/branch`; by default `prod` for the default app, else
    /// the app's name. Alias for the default app: `SPACES_PATH_PREFIX`.
    pub prefix: Option<StorePrefix>,
    /// SHA-256 of the keys that may deploy; several, so that a key can be changed without a gap. `seance key new`
    /// makes a key and prints its hash. Without any, `/deploy` is switched off.
    pub builder_key_hashes: Vec<BuilderKeyHash>,
    /// Keys that may do less: `[[apps.default.keys]]` with `hash`, and what narrows it. `seance key new --scope publish`
    /// prints one.
    pub keys: Vec<BuilderKey>,
    /// Base of the public addresses of the app's files, `https://bucket.sfo3.cdn.digitaloceanspaces.com`.
    /// Alias for the default app: `SPACES_CDN_ENDPOINT`, which means that the store is a bucket.
    pub cdn_endpoint: Option<String>,
    /// Host names on which the app's routes need no `/apps/<name>`.
    pub hosts: Vec<String>,
    /// What people call the product, on its download page; at most 80 characters. By default the app's name, and nothing
    /// for the default app.
    #[schemars(example = &"Notes")]
    pub display_name: Option<String>,
    /// The public key of a Tauri app, as it stands in its `tauri.conf.json` (`plugins.updater.pubkey`): drafts with
    /// signatures that it does not verify are refused.
    pub tauri_public_key: Option<String>,
    pub retention: Retention,
}
