//! The day of the daemon: open what it needs, take or bind sockets, READY, run, reload, drain, exit.

pub mod builder_key;
mod greeting;
mod logging;
mod ready;
mod reload;
mod state;
mod watchdog;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::audit::{Audit, AuditError};
use crate::config::{self, Config, ConfigError};
use crate::edge::{Edge, EdgeError, listener};
use crate::metrics::{self, Metrics};
use crate::release::{Releases, SnapshotError};
use crate::signaling::{Signaling, SignalingError};
use crate::store::{Store, StoreError};
use crate::systemd::{self, Environment, SystemdError};
use crate::tasks::Tasks;

/// After the drain, services get this long to put their things in order.
const SERVICES_END: Duration = Duration::from_secs(3);
/// How long READY waits for the store.
const STORE_ANSWER: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    State(#[from] state::StateError),
    #[error(transparent)]
    BuilderKey(#[from] builder_key::BuilderKeyError),
    #[error(transparent)]
    Logging(#[from] logging::LoggingError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Releases(#[from] SnapshotError),
    #[error(transparent)]
    Listen(#[from] listener::ListenError),
    #[error(transparent)]
    Edge(#[from] EdgeError),
    #[error(transparent)]
    Signaling(#[from] SignalingError),
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    #[error("cannot listen to signals")]
    Signals(#[source] io::Error),
    #[error("systemd passed sockets named `{name}`, which this daemon does not know")]
    UnknownSockets { name: String },
    #[error("the task `{task}` ended unasked")]
    TaskDied { task: &'static str },
}

/// Runs until SIGTERM or SIGINT.
pub fn run(config: Option<PathBuf>, environment: Environment) -> Result<(), DaemonError> {
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(DaemonError::Runtime)?;
    let ended = runtime.block_on(serve(config, environment));
    // Blocking work that is still running belongs to cut requests; it must not hold up the exit.
    runtime.shutdown_background();
    ended
}

/// The soft limit of 1024 descriptors is for programs that use select(2); every connection here is one.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(error = %error, "cannot raise the limit of open files");
    }
}

/// Where the configuration comes from, to be read again on reload.
struct Source {
    file: Option<PathBuf>,
    credentials: Option<PathBuf>,
    /// Without a configuration file: the key that was made for this state directory.
    builder_key: Option<config::BuilderKeyHash>,
}

impl Source {
    fn load(&self) -> Result<Config, ConfigError> {
        let mut config = config::load(
            self.file.as_deref(),
            &config::environment(),
            self.credentials.as_deref(),
        )?;
        if let (Some(key), Some(app)) = (&self.builder_key, config.apps.first_mut())
            && app.builder_keys.is_empty()
        {
            app.builder_keys.push(key.clone());
        }
        Ok(config)
    }
}

async fn serve(file: Option<PathBuf>, environment: Environment) -> Result<(), DaemonError> {
    let mut source = Source {
        file,
        credentials: environment.credentials_directory.clone(),
        builder_key: None,
    };
    let config = source.load()?;
    let logging = logging::Logging::start(&config.log, environment.journal)?;
    let state = state::State::open(environment.state_directory.clone())?;
    let made = match &source.file {
        None => Some(builder_key::load_or_create(&state.path)?),
        Some(_) => None,
    };
    source.builder_key = made.as_ref().map(|key| key.hash.clone());
    let config = if made.is_some() {
        source.load()?
    } else {
        config
    };

    let tasks = Tasks::default();
    let metrics = Metrics::new();
    let draining = CancellationToken::new();
    let audit = Audit::open(&state.path, config.audit.clone())?;
    let sockets = Sockets::open(&config, environment.sockets)?;
    let signaling = Signaling::start(&config.signaling, sockets.signaling, &tasks, &metrics)?;
    let store = Store::open(&config.store.within(&state.path), &tasks).await?;
    let releases =
        Releases::open(store.clone(), &config.deploy, &state.path, &tasks, &metrics).await?;
    let rooms = Rooms {
        releases,
        store,
        audit,
        tasks: tasks.clone(),
        draining: draining.clone(),
        signaling: signaling.clone(),
    };
    let edge = Edge::new(
        rooms.router(&config),
        &config.http,
        config.log.access,
        &tasks,
        &metrics,
        "http",
        draining.clone(),
    );
    edge.serve_on_workers(&sockets.http)?;
    let probes = Edge::new(
        metrics_router(&metrics),
        &config.http,
        false,
        &tasks,
        &metrics,
        "metrics",
        draining.clone(),
    );
    probes.serve(sockets.metrics);
    let mut signals = Signals::listen().map_err(DaemonError::Signals)?;
    // A store that does not answer holds nothing up for longer: the last known releases are served.
    if tokio::time::timeout(STORE_ANSWER, rooms.releases.known())
        .await
        .is_err()
    {
        tracing::warn!("the store has not answered yet; the last known releases are served");
    }
    ready::announce(&sockets.addresses)?;
    greeting::print(&config, &sockets.addresses, made);
    watchdog::start(&tasks, environment.watchdog, sockets.addresses.http.clone());

    let drain_seconds = config.http.drain_seconds;
    let mut reloader = reload::Reloader::new(source, config, logging);
    let ended = loop {
        tokio::select! {
            _ = signals.terminate.recv() => break Ok(()),
            _ = signals.interrupt.recv() => break Ok(()),
            Some(()) = signals.reload.recv() => {
                reloader.reload(&rooms.store, |config| {
                    signaling.reload(&config.signaling);
                    edge.swap(rooms.router(config));
                }).await?;
            }
            task = tasks.died() => break Err(DaemonError::TaskDied { task }),
        }
    };
    systemd::stopping()?;
    tracing::info!(
        message_id = systemd::message::STOPPING,
        drain_seconds,
        "draining"
    );
    draining.cancel();
    let window = Duration::from_secs(drain_seconds);
    let (requests_cut, ()) = tokio::join!(edge.finish(window), signaling.drain());
    if requests_cut {
        tracing::warn!("requests were cut at the end of the drain window");
    }
    if !tasks.end(SERVICES_END).await {
        tracing::warn!("some tasks did not end in time");
    }
    drop((rooms, state));
    ended
}

/// The rooms that answer requests, made once.
struct Rooms {
    releases: Releases,
    store: Store,
    audit: Audit,
    tasks: Tasks,
    draining: CancellationToken,
    signaling: Signaling,
}

impl Rooms {
    fn router(&self, config: &Config) -> Router {
        api::router(api::State {
            releases: self.releases.clone(),
            store: self.store.clone(),
            audit: self.audit.clone(),
            tasks: self.tasks.clone(),
            draining: self.draining.clone(),
            signaling: self.signaling.clone(),
            apps: config.apps.clone(),
            deploy: config.deploy.clone(),
            updates: config.updates.clone(),
            cors_origins: config.http.cors_origins.clone(),
        })
    }
}

fn metrics_router(metrics: &Metrics) -> Router {
    use axum::http::{StatusCode, header};
    let metrics = metrics.clone();
    let render = move || async move {
        metrics
            .render()
            .map(|text| ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text))
            .map_err(|error| {
                tracing::error!(error = %error, "cannot render the metrics");
                StatusCode::INTERNAL_SERVER_ERROR
            })
    };
    Router::new().route("/metrics", axum::routing::get(render))
}

struct Sockets {
    http: Vec<TcpListener>,
    metrics: Vec<TcpListener>,
    signaling: Vec<TcpListener>,
    addresses: Addresses,
}

/// Where the daemon can be reached.
#[derive(Clone)]
struct Addresses {
    http: Vec<SocketAddr>,
    metrics: Vec<SocketAddr>,
    signaling: Vec<SocketAddr>,
}

impl Sockets {
    fn open(
        config: &Config,
        mut inherited: std::collections::BTreeMap<String, Vec<std::os::fd::OwnedFd>>,
    ) -> Result<Sockets, DaemonError> {
        let mut take = |name| inherited.remove(name).unwrap_or_default();
        let http = listener::listen("http", "http.listen", &config.http.listen, take("http"))?;
        let metrics = listener::listen(
            "metrics",
            "metrics.listen",
            &config.metrics.listen,
            take("metrics"),
        )?;
        let signaling = listener::listen(
            "signaling",
            "signaling.listen",
            &config.signaling.listen,
            take("signaling"),
        )?;
        if let Some(name) = inherited.into_keys().next() {
            return Err(DaemonError::UnknownSockets { name });
        }
        let addresses = |listeners: &[TcpListener]| -> Result<Vec<SocketAddr>, DaemonError> {
            let addresses = listeners
                .iter()
                .map(TcpListener::local_addr)
                .collect::<io::Result<_>>();
            addresses.map_err(|source| {
                listener::ListenError::Inherited {
                    name: "http",
                    source,
                }
                .into()
            })
        };
        let addresses = Addresses {
            http: addresses(&http)?,
            metrics: addresses(&metrics)?,
            signaling: addresses(&signaling)?,
        };
        Ok(Sockets {
            http,
            metrics,
            signaling,
            addresses,
        })
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
        })
    }
}

/// Where a path is named to the operator, the home directory stays readable.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
