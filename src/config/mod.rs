//! What the operator wants: read once from defaults, file and environment, and typed, so that nobody validates again.

pub mod file;
pub mod keys;
mod layers;
pub mod reference;
mod secret;
mod signaling;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub use file::{Artifacts, Audit, Deploy, Http, Lint, Log, LogFormat, Metrics, StoreKind, Updates};
pub use layers::{Environment, LayerError, environment, user_state_directory};
pub use secret::{Secret, SecretError, SecretSource};
pub use signaling::Signaling;
pub use types::{AppName, BuilderKeyHash, StorePrefix, subscriber};

/// The smallest part that S3 accepts for all but the last part of a multipart upload, bytes.
const S3_PART_LEAST: usize = 5 * 1024 * 1024;

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

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// A relative directory lies in the state directory.
    Filesystem {
        directory: PathBuf,
    },
    S3(S3),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3 {
    pub bucket: String,
    pub region: String,
    pub endpoint: Option<String>,
    pub access_key_id: SecretSource,
    pub secret_access_key: SecretSource,
    pub path_style: bool,
    pub acl: bool,
    pub part_size_bytes: usize,
    pub parts_in_flight: usize,
    pub operation_timeout_seconds: u64,
    pub attempts: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    pub name: AppName,
    pub prefix: StorePrefix,
    pub builder_keys: Vec<BuilderKeyHash>,
    /// Without a trailing `/`.
    pub cdn_endpoint: Option<String>,
    pub hosts: Vec<String>,
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
    #[error("the store prefix `{prefix}` belongs to two apps, `{first}` and `{second}`")]
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
    check_ranges(&file)?;
    Ok(Config {
        store: store(file.store, credentials)?,
        apps: apps(file.apps)?,
        http: file.http,
        metrics: file.metrics,
        log: file.log,
        deploy: file.deploy,
        updates: file.updates,
        audit: file.audit,
        signaling: file.signaling,
    })
}

impl Store {
    fn differs_only_in_credentials(&self, new: &Store) -> bool {
        match (self, new) {
            (Store::S3(old), Store::S3(new)) => old.with_credentials_of(new) == *new,
            (old, new) => old == new,
        }
    }

    /// The store of a daemon with this state directory.
    pub fn within(&self, state: &Path) -> Store {
        match self {
            Store::Filesystem { directory } => Store::Filesystem {
                directory: state.join(directory),
            },
            s3 @ Store::S3(_) => s3.clone(),
        }
    }
}

impl S3 {
    /// This bucket with the credentials of `new`: they can change while the daemon runs.
    pub fn with_credentials_of(&self, new: &S3) -> S3 {
        S3 {
            access_key_id: new.access_key_id.clone(),
            secret_access_key: new.secret_access_key.clone(),
            ..self.clone()
        }
    }
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

fn check_ranges(file: &file::File) -> Result<(), ConfigError> {
    let hour = 3600;
    let ranges = [
        ("http.workers", file.http.workers as u64, 0, 256),
        (
            "http.max_connections",
            file.http.max_connections as u64,
            1,
            1_000_000,
        ),
        (
            "http.max_connections_per_address",
            file.http.max_connections_per_address as u64,
            1,
            1_000_000,
        ),
        (
            "http.max_header_bytes",
            file.http.max_header_bytes as u64,
            8 * 1024,
            1024 * 1024,
        ),
        ("http.max_headers", file.http.max_headers as u64, 16, 1000),
        (
            "http.header_timeout_seconds",
            file.http.header_timeout_seconds,
            1,
            hour,
        ),
        (
            "http.write_timeout_seconds",
            file.http.write_timeout_seconds,
            1,
            hour,
        ),
        (
            "http.max_streams",
            u64::from(file.http.max_streams),
            1,
            10_000,
        ),
        ("http.drain_seconds", file.http.drain_seconds, 0, hour),
        (
            "store.s3.part_size_bytes",
            file.store.s3.part_size_bytes as u64,
            S3_PART_LEAST as u64,
            1 << 30,
        ),
        (
            "store.s3.parts_in_flight",
            file.store.s3.parts_in_flight as u64,
            1,
            64,
        ),
        (
            "store.s3.operation_timeout_seconds",
            file.store.s3.operation_timeout_seconds,
            1,
            hour,
        ),
        (
            "store.s3.attempts",
            u64::from(file.store.s3.attempts),
            1,
            20,
        ),
        (
            "deploy.max_body_bytes",
            file.deploy.max_body_bytes,
            1024,
            1 << 40,
        ),
        (
            "deploy.max_files",
            file.deploy.max_files as u64,
            1,
            1_000_000,
        ),
        (
            "deploy.max_concurrent",
            file.deploy.max_concurrent as u64,
            1,
            1000,
        ),
        (
            "deploy.buffer_bytes",
            file.deploy.buffer_bytes as u64,
            1024 * 1024,
            1 << 32,
        ),
        (
            "deploy.stall_timeout_seconds",
            file.deploy.stall_timeout_seconds,
            1,
            hour,
        ),
        (
            "deploy.failed_keys_per_minute",
            u64::from(file.deploy.failed_keys_per_minute),
            1,
            1_000_000,
        ),
        ("deploy.follow_seconds", file.deploy.follow_seconds, 1, hour),
        (
            "deploy.projection_grace_seconds",
            file.deploy.projection_grace_seconds,
            1,
            hour,
        ),
        (
            "deploy.uploads_in_flight",
            file.deploy.uploads_in_flight as u64,
            1,
            64,
        ),
        (
            "deploy.collect_after_seconds",
            file.deploy.collect_after_seconds,
            24 * hour,
            366 * 24 * hour,
        ),
        (
            "updates.max_ranges",
            file.updates.max_ranges as u64,
            1,
            10_000,
        ),
        (
            "audit.max_file_bytes",
            file.audit.max_file_bytes,
            64 * 1024,
            1 << 32,
        ),
        (
            "audit.keep_days",
            u64::from(file.audit.keep_days),
            1,
            36_500,
        ),
    ];
    for (key, value, least, most) in ranges.into_iter().chain(file.signaling.ranges()) {
        if !(least..=most).contains(&value) {
            return Err(ConfigError::Range {
                key,
                value,
                least,
                most,
            });
        }
    }
    Ok(())
}

fn store(file: file::Store, credentials: Option<&Path>) -> Result<Store, ConfigError> {
    if file.kind == StoreKind::Filesystem {
        return Ok(Store::Filesystem {
            directory: file.directory,
        });
    }
    let s3 = file.s3;
    let secret = |variable, key, value: Option<Secret>, path: Option<PathBuf>| match (value, path) {
        (Some(_), Some(_)) => Err(ConfigError::Both { key }),
        (Some(value), None) => Ok(SecretSource::Value(value)),
        (None, Some(path)) => Ok(SecretSource::File(match credentials {
            Some(directory) => directory.join(path),
            None => path,
        })),
        (None, None) => Err(ConfigError::Required { variable, key }),
    };
    if let Some(endpoint) = &s3.endpoint {
        address("store.s3.endpoint", endpoint)?;
    }
    let bucket = ConfigError::Required {
        variable: "SPACES_BUCKET",
        key: "store.s3.bucket",
    };
    Ok(Store::S3(S3 {
        access_key_id: secret(
            "SPACES_ACCESS_KEY_ID",
            "store.s3.access_key_id",
            s3.access_key_id,
            s3.access_key_id_file,
        )?,
        secret_access_key: secret(
            "SPACES_SECRET_ACCESS_KEY",
            "store.s3.secret_access_key",
            s3.secret_access_key,
            s3.secret_access_key_file,
        )?,
        bucket: s3.bucket.ok_or(bucket)?,
        region: s3.region,
        endpoint: s3.endpoint,
        path_style: s3.path_style,
        acl: s3.acl,
        part_size_bytes: s3.part_size_bytes,
        parts_in_flight: s3.parts_in_flight,
        operation_timeout_seconds: s3.operation_timeout_seconds,
        attempts: s3.attempts,
    }))
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

fn apps(mut file: BTreeMap<AppName, file::App>) -> Result<Vec<App>, ConfigError> {
    let default = file.remove(&AppName::default_app()).unwrap_or_default();
    let named = std::iter::once((AppName::default_app(), default)).chain(file);
    let apps = named
        .map(|(name, app)| self::app(name, app))
        .collect::<Result<Vec<App>, ConfigError>>()?;
    let mut prefixes = BTreeMap::new();
    let mut hosts = BTreeMap::new();
    for app in &apps {
        if let Some(first) = prefixes.insert(&app.prefix, &app.name) {
            let (prefix, first, second) = (app.prefix.clone(), first.clone(), app.name.clone());
            return Err(ConfigError::SharedPrefix {
                prefix,
                first,
                second,
            });
        }
        for host in app.hosts.iter().collect::<BTreeSet<_>>() {
            if let Some(first) = hosts.insert(host, &app.name) {
                let (host, first, second) = (host.clone(), AppName::clone(first), app.name.clone());
                return Err(ConfigError::SharedHost {
                    host,
                    first,
                    second,
                });
            }
        }
    }
    Ok(apps)
}

fn app(name: AppName, file: file::App) -> Result<App, ConfigError> {
    let by_name = if name.is_default() {
        "prod"
    } else {
        name.as_str()
    };
    let by_name = StorePrefix::try_from(by_name.to_owned()).ok();
    if let Some(endpoint) = &file.cdn_endpoint {
        address(&format!("apps.{name}.cdn_endpoint"), endpoint)?;
    }
    let missing = ConfigError::Required {
        variable: "SPACES_PATH_PREFIX",
        key: "apps.default.prefix",
    };
    Ok(App {
        prefix: file.prefix.or(by_name).ok_or(missing)?,
        builder_keys: file.builder_key_hashes,
        cdn_endpoint: file
            .cdn_endpoint
            .map(|endpoint| endpoint.trim_end_matches('/').to_owned()),
        hosts: file
            .hosts
            .into_iter()
            .map(|host| host.to_ascii_lowercase())
            .collect(),
        name,
    })
}
