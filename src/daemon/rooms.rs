//! The rooms that answer requests: made once, with a router around them for each configuration.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{DaemonError, retention};
use crate::api;
use crate::audit::Audit;
use crate::cause::chain;
use crate::config::{App, BuilderKey, Config};
use crate::edge::passwords::Passwords;
use crate::edge::{Cabinet, Site, Upstreams};
use crate::metrics::{self, Metrics};
use crate::release::{self, Releases};
use crate::signaling::Signaling;
use crate::store::Store;
use crate::tasks::Tasks;

/// READY waits this long for the store.
const STORE_ANSWER: Duration = Duration::from_secs(2);

pub struct Rooms {
    pub signaling: Signaling,
    pub store: Store,
    pub upstreams: Upstreams,
    guard: Arc<api::Guard>,
    releases: Releases,
    pub cabinet: Cabinet,
    pub passwords: Passwords,
    audit: Audit,
    /// For the retention task, which outlives a configuration.
    apps: watch::Sender<Vec<App>>,
    tasks: Tasks,
    background: Handle,
    draining: CancellationToken,
}

impl Rooms {
    pub async fn open(
        config: &Config,
        state: &Path,
        tasks: &Tasks,
        metrics: &Metrics,
    ) -> Result<Rooms, DaemonError> {
        let audit = Audit::open(state, config.audit.clone())?;
        let signaling =
            Signaling::start(&config.signaling, &config.signaling_secrets, tasks, metrics)?;
        let store = Store::open(&config.store.within(state), tasks).await?;
        let limits = release::Limits {
            deploy: &config.deploy,
            drafts: &config.drafts,
        };
        let releases = Releases::open(store.clone(), limits, state, tasks, metrics).await?;
        let apps = watch::Sender::new(config.apps.clone());
        let interval = Duration::from_secs(config.deploy.prune_every_seconds);
        let keep = retention::keep(releases.clone(), audit.clone(), apps.subscribe(), interval);
        let cancelled = tasks.cancelled();
        tasks.spawn("release-retention", async move {
            tokio::select! {
                () = cancelled => {}
                () = keep => {}
            }
        });
        Ok(Rooms {
            signaling,
            guard: Arc::default(),
            cabinet: Cabinet::new(releases.clone(), store.clone(), tasks.clone()),
            passwords: Passwords::new(config.http.failed_passwords_per_minute)
                .map_err(DaemonError::Random)?,
            store,
            upstreams: Upstreams::start(tasks, metrics),
            releases,
            audit,
            apps,
            tasks: tasks.clone(),
            background: Handle::current(),
            draining: CancellationToken::new(),
        })
    }

    /// Cancelled when the daemon begins to drain.
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// A store that does not answer holds nothing up for longer: the last known releases are served.
    pub async fn wait_for_store(&self) {
        let known = tokio::time::timeout(STORE_ANSWER, self.releases.known());
        if known.await.is_err() {
            tracing::warn!("the store has not answered yet; the last known releases are served");
        }
    }

    pub fn api(&self, config: &Config, certificates: api::Certificates) -> api::Answering {
        self.apps.send_replace(config.apps.clone());
        api::answering(api::State {
            releases: self.releases.clone(),
            store: self.store.clone(),
            audit: self.audit.clone(),
            tasks: self.tasks.clone(),
            background: self.background.clone(),
            draining: self.draining.clone(),
            signaling: self.signaling.clone(),
            guard: self.guard.clone(),
            signaling_keys: config
                .signaling
                .api_key_hashes
                .iter()
                .cloned()
                .map(BuilderKey::unrestricted)
                .collect(),
            apps: config.apps.clone(),
            deploy: config.deploy.clone(),
            updates: config.updates.clone(),
            cors_origins: config.http.cors_origins.clone(),
            certificates,
        })
    }
}

pub fn metrics_site(metrics: &Metrics) -> Site {
    let metrics = metrics.clone();
    let render = move || async move {
        let text = metrics.render().map_err(|error| {
            tracing::error!(error = %chain(&error), "cannot render the metrics");
            StatusCode::INTERNAL_SERVER_ERROR
        })?;
        Ok::<_, StatusCode>(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text))
    };
    let router = Router::new().route("/metrics", axum::routing::get(render));
    Site::only(api::with_failures(router))
}
