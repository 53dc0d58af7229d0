//! What the operator wants: read once from defaults, file and environment, and typed, so that nobody validates again.

mod apps;
pub mod file;
pub mod keys;
mod layers;
mod ranges;
pub mod reference;
mod secret;
mod signaling;
mod store;
mod types;

use std::path::Path;

pub use apps::App;
pub use file::{Artifacts, Audit, Deploy, Http, Lint, Log, LogFormat, Metrics, Updates};
pub use layers::{Environment, LayerError, environment, user_state_directory};
pub use secret::{Secret, SecretError, SecretSource};
pub use signaling::Signaling;
pub use store::{S3, Store};
pub use types::{AppName, BuilderKeyHash, StorePrefix, subscriber};

pub struct Config {
    pub http: Http,
    pub metrics: Metrics,
    pub log: Log,
    pub store: Store,
    pub deploy: Deploy,
    pub updates: Updates,
    pub audit: Audit,
    pub signaling: Signaling,
    /// The default app first.
    pub apps: Vec<App>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error("{variable} is required (or `{key}`, or `{key}_file`): the store is S3")]
    Required {
        variable: &'static str,
        key: &'static str,
    },
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
    #[error("`{key}` is `{value}`; it has to begin with https:// or http://")]
    Address { key: String, value: String },
    #[error("`http.listen` is empty; the daemon would not be reachable")]
    NoListener,
    #[error("an app's name is its store prefix unless it has another one")]
    PrefixOfName(#[source] types::ValueError),
    #[error("`log.filter` is not a filter")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
}

/// Loads and checks a configuration. Secrets need not exist and are not read.
pub fn load(
    path: Option<&Path>,
    environment: &Environment,
    credentials: Option<&Path>,
) -> Result<Config, ConfigError> {
    let file = layers::load(path, environment)?;
    if file.http.listen.is_empty() {
        return Err(ConfigError::NoListener);
    }
    for origin in file
        .http
        .cors_origins
        .iter()
        .filter(|origin| *origin != "*")
    {
        address("http.cors_origins", origin)?;
    }
    for origin in &file.signaling.allowed_origins {
        address("signaling.allowed_origins", origin)?;
    }
    tracing_subscriber::EnvFilter::try_new(&file.log.filter).map_err(ConfigError::Filter)?;
    ranges::check(&file)?;
    Ok(Config {
        store: store::resolve(file.store, credentials)?,
        apps: apps::resolve(file.apps)?,
        http: file.http,
        metrics: file.metrics,
        log: file.log,
        deploy: file.deploy,
        updates: file.updates,
        audit: file.audit,
        signaling: file.signaling,
    })
}

impl Config {
    /// The sections that differ in `new` and are read only at start.
    pub fn needs_restart(&self, new: &Config) -> Vec<&'static str> {
        let http = |http: &Http| Http {
            cors_origins: Vec::new(),
            ..http.clone()
        };
        let deploy = |deploy: &Deploy| Deploy {
            max_body_bytes: 0,
            max_files: 0,
            stall_timeout_seconds: 0,
            failed_keys_per_minute: 0,
            ..deploy.clone()
        };
        let changed = [
            ("deploy", deploy(&self.deploy) != deploy(&new.deploy)),
            ("http", http(&self.http) != http(&new.http)),
            ("metrics", self.metrics != new.metrics),
            ("store", !self.store.differs_only_in_credentials(&new.store)),
            ("audit", self.audit != new.audit),
            (
                "signaling.listen",
                self.signaling.listen != new.signaling.listen,
            ),
        ];
        changed
            .into_iter()
            .filter(|(_, changed)| *changed)
            .map(|(section, _)| section)
            .collect()
    }
}

fn address(key: &str, value: &str) -> Result<(), ConfigError> {
    if (value.starts_with("https://") || value.starts_with("http://"))
        && value.bytes().all(|b| b.is_ascii_graphic())
    {
        return Ok(());
    }
    Err(ConfigError::Address {
        key: key.to_owned(),
        value: value.to_owned(),
    })
}
