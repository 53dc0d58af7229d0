//! What the operator wants: read once from defaults, file and environment, and typed, so that nobody validates again.

mod acme;
mod aliases;
mod apps;
mod at_start;
mod basic_auth;
mod builder_key;
mod certificates;
mod checks;
mod deny;
mod domains;
mod drafts;
mod fields;
pub mod file;
mod files;
mod hosts;
pub mod keys;
mod layers;
mod log_filter;
mod nats;
mod network;
mod places;
mod policy;
pub mod proxy;
mod ranges;
pub mod reference;
mod request_path;
mod retention;
mod routes;
mod secret;
mod signaling;
mod store;
mod table;
mod types;
mod user_files;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

pub use acme::{Acme, AcmeStorage, Binding};
pub use apps::App;
pub use basic_auth::{BasicAuth, PasswordHash, UserName};
pub use builder_key::{BuilderKey, Scope, is_within};
pub use certificates::{HostCertificate, HostError};
pub use deny::{Deny, DenyMode};
pub use drafts::Drafts;
pub use fields::{FieldEdits, FieldPattern};
pub use file::{Artifacts, Audit, Deploy, Http, Lint, Log, LogFormat, Metrics, Updates};
pub use files::Files;
pub use hosts::Https;
pub use layers::{Environment, LayerError, environment, user_state_directory};
pub use log_filter::{LogFilterError, log_filter};
pub use nats::{Bus, Nats, NatsLogin};
pub use network::Network;
pub use policy::{CacheTier, Cors, RateLimit, SecurityHeaders, path_fits};
pub use proxy::Proxy;
pub use request_path::RequestPath;
pub use retention::Retention;
pub use routes::{Redirect, Respond, Route, Target};
pub use secret::{Secret, SecretError, SecretSource};
pub use signaling::{Signaling, SignalingSecrets};
pub use store::{S3, Store};
use table::{Doors, Places};
pub use table::{HostName, HostRoutes, Place, Table, TableError, TableRoute};
pub use types::{
    AppName, BuilderKeyHash, Encrypted, REQUEST_ID, StorePrefix, ValueError, subscriber,
};
pub use user_files::{UserFileError, UserFiles, Users};

pub struct Config {
    pub http: Http,
    /// Addresses for plain HTTP.
    pub http_listen: Vec<SocketAddr>,
    pub https: Https,
    pub deny: Deny,
    pub acme: Acme,
    /// What answers for which host and path.
    pub table: Arc<Table>,
    /// None are read when a configuration is only checked.
    pub user_files: UserFiles,
    /// By host, in lower case.
    pub certificates: BTreeMap<String, HostCertificate>,
    /// Addresses for TLS; none without a host that has a certificate.
    pub https_listen: Vec<SocketAddr>,
    pub metrics: Metrics,
    pub log: Log,
    pub store: Store,
    pub deploy: Deploy,
    pub drafts: Drafts,
    pub updates: Updates,
    pub audit: Audit,
    pub signaling: Signaling,
    pub signaling_secrets: SignalingSecrets,
    /// The default app first.
    pub apps: Vec<App>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Table(#[from] Box<TableError>),
    #[error(transparent)]
    UserFile(#[from] UserFileError),
    #[error(
        "SPACES_BUCKET is required (or `store.s3.bucket`): the store is S3, by `store.kind` or by another `SPACES_…` variable"
    )]
    NoBucket,
    #[error("{variable} is required (or `{key}`, or `{key}_file`): the store is S3")]
    NoCredential {
        variable: &'static str,
        key: &'static str,
    },
    #[error(
        "`{key}` is set, but `store.kind` is `filesystem`, so releases would go to the disk; `store.kind` has to be `s3`, \
         or `{key}` has to go"
    )]
    UnusedBucket { key: &'static str },
    #[error(
        "`drafts.presigned_parts` is set, but only a bucket takes parts by signed URLs (`store.kind = \"s3\"`)"
    )]
    PresignedDirectory,
    #[error("`{key}` and `{key}_file` are both set; one of them has to go")]
    Both { key: &'static str },
    #[error(
        "the store prefix `{prefix}` of the app `{second}` is, lies below, or holds that of `{first}`"
    )]
    SharedPrefix {
        prefix: StorePrefix,
        first: AppName,
        second: AppName,
    },
    #[error("the host `{host}` belongs to two apps, `{first}` and `{second}`")]
    SharedHost {
        host: String,
        first: AppName,
        second: AppName,
    },
    #[error("`{key}` is {value}; it has to be between {least} and {most}")]
    Range {
        key: &'static str,
        value: u64,
        least: u64,
        most: u64,
    },
    #[error(
        "`{key}` is `{value}`; it has to be an address such as https://host.example, without query and fragment"
    )]
    Address { key: String, value: String },
    #[error(
        "`{key}` is `{value}`; an origin is `https://` and a host in lower case, perhaps a port that is not 443, and \
         nothing more"
    )]
    Origin { key: &'static str, value: String },
    #[error(
        "`{key}` names `{value}`; a page that comes from no web server has an origin such as `tauri://localhost`, \
         `file://` or `null`"
    )]
    PageOrigin { key: &'static str, value: String },
    #[error("`apps.{app}.hosts`: `{host}` is not a host name")]
    Host { app: AppName, host: String },
    #[error("`apps.{app}.display_name` has to be 1 to 80 characters on one line")]
    DisplayName { app: AppName },
    #[error(
        "`apps.{app}.tauri_public_key` is not a public key; it has to be what stands as `pubkey` in tauri.conf.json"
    )]
    TauriKey { app: AppName },
    #[error("`acme.contact` is `{value}`; it has to be one mail address")]
    Contact { value: String },
    #[error(
        "`acme.eab_key_id` and `acme.eab_hmac_key_file` belong together; one of them is not set"
    )]
    HalfBinding,
    #[error(transparent)]
    Hosts(#[from] HostError),
    #[error("`{key}` names {address} twice")]
    Twice {
        key: &'static str,
        address: SocketAddr,
    },
    #[error("`deny.paths` names `{path}`; a path begins with `/`, or with `*`")]
    DenyPath { path: String },
    #[error("`{key}` is empty")]
    Empty { key: &'static str },
    #[error("`signaling.require_token` is set, but `signaling.token_key_files` is empty")]
    NoTokenKey,
    #[error("`signaling.turn.urls` is set, but neither `signaling.turn.secret` nor `secret_file`")]
    NoTurnSecret,
    #[error("`signaling.plain` is false, but no host has a certificate: nobody could connect")]
    OnlyPlain,
    #[error(
        "`signaling.nats.urls`: the one at place {} has to be an address such as nats://host.example:4222, without \
         user and password", index + 1
    )]
    NatsUrl { index: usize },
    #[error(
        "`signaling.nats.subject_prefix` is `{value}`; it has to be up to 64 letters, digits, `-` and `_`, in parts \
         separated by dots"
    )]
    NatsPrefix { value: String },
    #[error("`signaling.nats` needs either a token, or a user and a password, or nothing of these")]
    NatsLogin,
    #[error(
        "`http.behind_proxy` is set, but `http.trusted_proxies` is empty: every client would have the proxy's address, and \
         could claim to have come over TLS"
    )]
    NoTrustedProxy,
    #[error("`http.listen` is empty; the daemon would not be reachable")]
    NoListener,
    #[error("an app's name is its store prefix unless it has another one")]
    PrefixOfName(#[source] ValueError),
    #[error("two keys of the app `{app}` begin with {fingerprint}; each needs a name of its own")]
    SameKey { app: AppName, fingerprint: String },
    #[error("apps.{app}.keys")]
    Key {
        app: AppName,
        #[source]
        source: ValueError,
    },
    // The cause of this one repeats what it prints itself.
    #[error("`log.filter` is not a filter")]
    Filter(#[source] LogFilterError),
}

/// Loads and checks a configuration. Secrets need not exist and are not read.
pub fn load(
    path: Option<&Path>,
    environment: &Environment,
    credentials: Option<&Path>,
) -> Result<Config, ConfigError> {
    let (file, places) = layers::load(path, environment)?;
    let http_listen = file.http.listeners(!file.hosts.is_empty());
    if http_listen.is_empty() {
        return Err(ConfigError::NoListener);
    }
    if file.http.behind_proxy && file.http.trusted_proxies.is_empty() {
        return Err(ConfigError::NoTrustedProxy);
    }
    checks::listen("http.listen", &http_listen)?;
    checks::listen("https.listen", &file.https.listen)?;
    let certificates = certificates::resolve(&file.hosts, file.http.behind_proxy, credentials)?;
    let tls = certificates
        .values()
        .any(|certificate| *certificate != HostCertificate::None);
    if tls && file.https.listen.is_empty() {
        return Err(ConfigError::Empty {
            key: "https.listen",
        });
    }
    checks::listen("metrics.listen", &file.metrics.listen)?;
    checks::listen("signaling.listen", &file.signaling.listen)?;
    origins(&file)?;
    log_filter(&file.log.filter).map_err(ConfigError::Filter)?;
    ranges::check(&file)?;
    if file.drafts.presigned_parts && file.store.kind == file::StoreKind::Filesystem {
        return Err(ConfigError::PresignedDirectory);
    }
    file.deny.check()?;
    let https_listen = match tls {
        true => file.https.listen.clone(),
        false => Vec::new(),
    };
    let doors = Doors {
        certificates: &certificates,
        behind_proxy: file.http.behind_proxy,
        plain: &http_listen,
        secure: &https_listen,
    };
    let table = Arc::new(table(&file, &places, &doors)?);
    let apps = apps::resolve(file.apps)?;
    table.check_apps(&apps).map_err(Box::new)?;
    if !tls && !file.signaling.plain {
        return Err(ConfigError::OnlyPlain);
    }
    Ok(Config {
        store: store::resolve(file.store, credentials)?,
        apps,
        table,
        user_files: UserFiles::default(),
        http: file.http,
        http_listen,
        https_listen,
        certificates,
        https: file.https,
        deny: file.deny,
        acme: acme::resolve(file.acme, credentials)?,
        metrics: file.metrics,
        log: file.log,
        deploy: file.deploy,
        drafts: file.drafts,
        updates: file.updates,
        audit: file.audit,
        signaling_secrets: file.signaling.secrets(credentials)?,
        signaling: file.signaling,
    })
}

fn origins(file: &file::File) -> Result<(), ConfigError> {
    let mut cors = file.http.cors_origins.iter();
    cors.try_for_each(|origin| match origin.as_str() {
        "*" => Ok(()),
        origin => checks::page_origin("http.cors_origins", origin),
    })?;
    let mut signaling = file.signaling.allowed_origins.iter();
    signaling.try_for_each(|origin| checks::page_origin("signaling.allowed_origins", origin))
}

/// What answers for which host and path, as far as it does not depend on the apps.
fn table(
    file: &file::File,
    places: &HashMap<String, Places>,
    doors: &Doors<'_>,
) -> Result<Table, ConfigError> {
    let table = Table::compile(&file.hosts, places).map_err(Box::new)?;
    table.check_circles(doors).map_err(Box::new)?;
    table.check_denied(&file.deny).map_err(Box::new)?;
    certificates::check_names(&table, doors.certificates, &file.acme.directory)?;
    Ok(table)
}

/// The sections in which the daemon compares what it started with, option by option.
#[derive(Serialize)]
struct Compared<'a> {
    audit: &'a Audit,
    deploy: &'a Deploy,
    drafts: &'a Drafts,
    http: &'a Http,
    https: &'a Https,
    log: &'a Log,
    metrics: &'a Metrics,
    signaling: &'a Signaling,
}

impl Config {
    /// The options that differ in `new` and are read only at start.
    pub fn needs_restart(&self, new: &Config) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let values = |config: &Config| serde_json::to_value(config.compared());
        // Always: they hold texts, numbers and lists of them.
        if let (Ok(old), Ok(new)) = (values(self), values(new)) {
            at_start::differing("", &old, &new, &mut found);
        }
        // Hosts decide about the addresses, too.
        found.remove("https.listen");
        if self.https_listen != new.https_listen {
            found.insert("https.listen".to_owned());
        }
        if self.http_listen != new.http_listen {
            found.insert("http.listen".to_owned());
        }
        if self.acme != new.acme {
            found.insert("acme".to_owned());
        }
        if !self.store.differs_only_in_credentials(&new.store) {
            found.insert("store".to_owned());
        }
        found
    }

    fn compared(&self) -> Compared<'_> {
        Compared {
            audit: &self.audit,
            deploy: &self.deploy,
            drafts: &self.drafts,
            http: &self.http,
            https: &self.https,
            log: &self.log,
            metrics: &self.metrics,
            signaling: &self.signaling,
        }
    }
}
