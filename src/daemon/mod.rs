//! The day of the daemon: open what it needs, take or bind sockets, READY, run, reload, drain, exit.

pub mod builder_key;
mod greeting;
mod issuing;
mod logging;
mod memory;
mod names;
mod ready;
mod reload;
mod retention;
mod rooms;
mod sockets;
pub mod state;
mod watchdog;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::OnceCell;

use self::issuing::Issuing;
use self::names::Names;
use self::rooms::Rooms;
use self::sockets::Sockets;
use crate::audit::AuditError;
use crate::cause::chain;
use crate::config::{self, Config, ConfigError, UserFiles};
use crate::edge::acme::AcmeOpenError;
use crate::edge::measure::Families;
use crate::edge::{AccessLog, Edge, EdgeError, Listeners, listener};
use crate::metrics::Metrics;
use crate::release::SnapshotError;
use crate::signaling::{Rules, SignalingError};
use crate::store::StoreError;
use crate::systemd::{self, Environment, SystemdError};
use crate::tasks::Tasks;

/// After the drain, services get this long to put their things in order.
const SERVICES_END: Duration = Duration::from_secs(3);

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
    Acme(#[from] AcmeOpenError),
    #[error(transparent)]
    Signaling(#[from] SignalingError),
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    #[error("cannot get random bytes from the system")]
    Random(#[source] aws_lc_rs::error::Unspecified),
    #[error("cannot prepare TLS")]
    Tls(#[source] rustls::Error),
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    #[error("cannot listen on loopback for the daemon itself")]
    Private(#[source] io::Error),
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
        config.user_files = UserFiles::read(&config.table, self.credentials.as_deref())?;
        if let (Some(key), Some(app)) = (&self.builder_key, config.apps.first_mut())
            && app.builder_keys.is_empty()
        {
            app.builder_keys
                .push(config::BuilderKey::unrestricted(key.clone()));
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
    let mut config = source.load()?;
    let logging = logging::Logging::start(&config.log, environment.journal)?;
    let state = state::State::open(environment.state_directory)?;
    let mut made = None;
    if source.file.is_none() {
        let key = builder_key::load_or_create(&state.path)?;
        source.builder_key = Some(key.hash.clone());
        made = Some(key);
        config = source.load()?;
    }

    let tasks = Tasks::default();
    let metrics = Metrics::new();
    let sockets = Sockets::open(&config, environment.sockets)?;
    let rooms = Rooms::open(&config, &state.path, &tasks, &metrics).await?;
    let families = Families::register(&metrics);
    let edge = |name, site, access| {
        let measures = families.of(name);
        let draining = rooms.draining().clone();
        Edge::new(site, &config.http, access, &tasks, measures, draining)
    };
    let measured = (&metrics, &families);
    let names = Names::open(&config, &state.path, &sockets.addresses, &tasks, measured);
    let tls = Arc::new(names.tls(&config, &metrics).map_err(DaemonError::Tls)?);
    names.greet_signaling(&config, &rooms.signaling, sockets.signaling, &tls, &tasks)?;
    let issuing = Issuing {
        certificates: names.certificates.clone(),
        store: rooms.store.clone(),
        state: state.path.clone(),
        tasks: tasks.clone(),
        metrics: metrics.clone(),
        acme: OnceCell::new(),
    };
    // Before the first connection is accepted.
    issuing.follow(&config).await?;
    let (site, access) = (names.site(&config, &rooms), logging.access(&config.log));
    let http = edge("http", site, access);
    let (own, own_address) = listen_privately().map_err(DaemonError::Private)?;
    let signals = Signals::listen().map_err(DaemonError::Signals)?;
    // Before the first request is let in: those that waited in systemd's sockets during a restart would all be told
    // that no release is known yet.
    rooms.wait_for_store().await;
    let listeners = Listeners {
        plain: sockets.http,
        secure: sockets.https,
        private: own,
    };
    http.serve_on_workers(&listeners, &tls)?;
    edge("metrics", rooms::metrics_site(&metrics), AccessLog::Off).serve(sockets.metrics);
    ready::announce(&sockets.addresses)?;
    greeting::name_keyless(&config.apps);
    greeting::print(&sockets.addresses, made);
    watchdog::start(&tasks, environment.watchdog, own_address);
    memory::give_back_heap();
    if let Err(error) = memory::give_back_code() {
        tracing::warn!(error = %chain(&error), "the memory of start-up code is kept");
    }
    let window = Duration::from_secs(config.http.drain_seconds);
    let reloader = reload::Reloader::new(source, config, logging);
    let ended = run_until_told(signals, reloader, &rooms, (&names, &issuing), &http, &tasks).await;
    drain(&rooms, &http, &tasks, window).await;
    drop(state);
    ended
}

fn listen_privately() -> io::Result<(TcpListener, SocketAddr)> {
    let own = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    own.set_nonblocking(true)?;
    let address = own.local_addr()?;
    Ok((own, address))
}

async fn run_until_told(
    mut signals: Signals,
    reloader: reload::Reloader,
    rooms: &Rooms,
    (names, issuing): (&Names, &Issuing),
    http: &Edge,
    tasks: &Tasks,
) -> Result<(), DaemonError> {
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return Ok(()),
            _ = signals.interrupt.recv() => return Ok(()),
            task = tasks.died() => {
                let message_id = systemd::message::TASK_DIED;
                tracing::error!(message_id, task, "draining, because a task ended unasked");
                return Err(DaemonError::TaskDied { task });
            }
            Some(()) = signals.reload.recv() => {}
        }
        let apply = async |config: &Config, rules: Rules| {
            rooms.signaling.reload(rules);
            // Names that are dropped here may get a certificate from elsewhere there.
            if let Err(error) = issuing.follow(config).await {
                tracing::error!(error = %chain(&error), "no certificates are obtained");
            }
            names.reload(config);
            http.swap(names.site(config, rooms));
        };
        reloader.reload(&rooms.store, apply).await;
    }
}

async fn drain(rooms: &Rooms, http: &Edge, tasks: &Tasks, window: Duration) {
    log_unheard(systemd::stopping());
    tracing::info!(
        message_id = systemd::message::STOPPING,
        window_seconds = window.as_secs(),
        "draining"
    );
    tasks.expect_end();
    rooms.draining().cancel();
    let settled = http.settle(window).await;
    // Only now: peers have to be back within seconds, and a download may hold up the end for the whole window.
    tokio::join!(http.close(), rooms.signaling.drain());
    http.stop();
    if !settled {
        tracing::warn!(
            message_id = systemd::message::REQUESTS_CUT,
            "requests were cut at the end of the drain window"
        );
    }
    if !tasks.end(SERVICES_END).await {
        tracing::warn!("some tasks did not end in time");
    }
}

/// A daemon that serves does not end, and does not cut its drain, because systemd cannot be told.
fn log_unheard(told: Result<(), SystemdError>) {
    if let Err(error) = told {
        tracing::error!(error = %chain(&error), "systemd does not know the state of this daemon");
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
