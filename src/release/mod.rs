//! What a release is: the files of a product, published together or not at all.
//!
//! **The invariant.** At every instant what seance serves is the fold of records 1 to n of the release log, for some
//! n, and every file of that fold has its content in the store, complete and durable.
//!
//! It holds because content is written under a name of its own and flushed before the record that names it is
//! created (`staging`, `intake`), because a record is created whole, once, under the next number (`log`), because
//! what is served moves from one fold to the next in one step (`index`, `state`), and because content that the
//! fold names is never deleted (`collector`). The public copies for a CDN follow behind (`projection`).

mod artifact;
pub mod body;
mod catalog;
mod channels;
mod checks;
mod collector;
mod control;
mod deploy;
mod diff;
mod document;
pub mod draft;
mod figures;
mod history;
mod id;
mod index;
mod intake;
mod keys;
pub mod lint;
mod log;
pub mod manifest;
mod past;
pub mod path;
mod projection;
mod prune;
mod publish;
mod record;
mod republish;
mod retention;
mod services;
mod snapshot;
mod spread;
pub mod squirrel;
mod staging;
mod state;
pub mod tauri;
mod tree;

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::Semaphore;

pub use artifact::{Arch, Format, Installer, System};
pub use catalog::{Catalog, Notes, Offer, parse_version};
pub use channels::newest as newest_of_channels;
pub use control::{Command, Commander, ControlError, Executed, Selection};
pub use deploy::{BeginError, Deploy};
pub use diff::{Change, Diff};
pub use history::History;
pub use index::Synced;
pub use intake::Intake;
pub use log::LogError;
pub use prune::Pruned;
pub use publish::{Order, PublishError, Published};
pub use record::{Actor, ContentKey, Event, File, Record, ReleaseId, Rollout, Step};
pub use republish::{Obstacle, Republish};
pub use retention::Gone;
pub use snapshot::SnapshotError;
pub use spread::StagingId;
pub use staging::StagingError;
pub use state::{State, Tree};

use self::catalog::Catalogs;
use self::collector::{Collected, Collector};
use self::draft::{Drafts, Sweeper};
use self::figures::Figures;
use self::index::Index;
use self::log::Log;
use self::projection::Projector;
use self::services::{load, save, service, warn_of_other_writers};
use self::snapshot::SnapshotFile;
use self::staging::Room;
use crate::clock;
use crate::config::{self, Lint, Retention, StorePrefix};
use crate::metrics::Metrics;
use crate::store::Store;
use crate::tasks::{self, Tasks};

/// The releases of all apps of this daemon. Cheap to clone.
#[derive(Clone)]
pub struct Releases {
    shared: Arc<Shared>,
}

struct Shared {
    index: Arc<Index>,
    room: Room,
    node: String,
    lint: Lint,
    concurrent: Arc<Semaphore>,
    /// How long a deploy waits for its turn.
    patience: Duration,
    running: Arc<Mutex<HashSet<RunningKey>>>,
    projected: Arc<AtomicU64>,
    catalogs: Catalogs,
    figures: Figures,
    drafts: Drafts,
}

type RunningKey = (StorePrefix, [u8; 32]);

/// What an operator says about deploys and drafts.
pub struct Limits<'a> {
    pub deploy: &'a config::Deploy,
    pub drafts: &'a config::Drafts,
}

/// What the health report says about releases.
#[derive(Clone, Copy, Debug)]
pub struct Health {
    /// Number of the last record that is served.
    pub head: u64,
    pub synced: Synced,
    /// Records whose public copies are not known to be complete.
    pub unprojected: u64,
}

impl Releases {
    /// Starts from the snapshot in the state directory and follows the log from there. Does not wait for the store.
    pub async fn open(
        store: Store,
        limits: Limits<'_>,
        state_directory: &Path,
        tasks: &Tasks,
        metrics: &Metrics,
    ) -> Result<Releases, SnapshotError> {
        let (limits, drafts) = (limits.deploy, limits.drafts);
        let file = SnapshotFile::new(state_directory);
        let (node, saved) = load(file.clone(), state_directory).await?;
        let figures = Figures::register(metrics);
        let projected = Arc::new(AtomicU64::new(
            saved.as_ref().map_or(0, |saved| saved.projected),
        ));
        let collected = Arc::new(Mutex::new(Collected::of(saved.as_ref())));
        let saved = saved.map(|saved| (saved.state, saved.seen));
        let index = Arc::new(Index::new(Log::new(store.clone()), saved, figures.clone()));

        let follow = Duration::from_secs(limits.follow_seconds);
        let grace = Duration::from_secs(limits.projection_grace_seconds);
        let age = SignedDuration::from_secs(
            i64::try_from(limits.collect_after_seconds).unwrap_or(i64::MAX),
        );
        let projector = Projector::new(
            store.clone(),
            index.clone(),
            node.clone(),
            grace,
            projected.clone(),
            figures.clone(),
        );
        let collector = Collector::new(
            store.clone(),
            index.clone(),
            age,
            SignedDuration::from_secs(i64::try_from(limits.free_after_seconds).unwrap_or(i64::MAX)),
            collected.clone(),
            figures.clone(),
        );
        let sweeper = Sweeper::new(store.clone(), index.clone(), figures.clone());
        let saver = save(file, index.clone(), projected.clone(), collected);
        let followed = index.clone();
        let probed = store.clone();
        let own = node.clone();
        service(tasks, "release-follower", async move {
            tokio::join!(
                followed.follow(follow),
                control::keep_schedules(&followed, &own, follow),
                warn_of_other_writers(&probed, &followed)
            );
        });
        service(tasks, "release-projector", projector.run());
        service(tasks, "release-collector", collector.run());
        service(tasks, "release-snapshot", saver);
        service(tasks, "draft-sweeper", sweeper.run());

        let patience = Duration::from_secs(limits.stall_timeout_seconds);
        let room = Room::new(store, tasks.clone(), limits, figures.clone());
        let drafting = draft::Room::new(&room, index.clone(), node.clone(), patience);
        Ok(Releases {
            shared: Arc::new(Shared {
                index,
                room,
                node,
                lint: limits.lint,
                concurrent: Arc::new(Semaphore::new(limits.max_concurrent)),
                patience,
                running: Arc::default(),
                projected,
                catalogs: Catalogs::default(),
                figures,
                drafts: Drafts::new(drafting, drafts),
            }),
        })
    }

    pub fn drafts(&self) -> &Drafts {
        &self.shared.drafts
    }

    /// What is published now. It does not change while it is held.
    pub fn state(&self) -> Arc<State> {
        self.shared.index.state()
    }

    /// What is published under a prefix now.
    pub fn tree(&self, prefix: &StorePrefix) -> Arc<Tree> {
        self.state().tree(prefix)
    }

    /// What people can download under a prefix; `None` when the making of it was cut.
    pub async fn catalog(&self, prefix: &StorePrefix) -> Option<Arc<Catalog>> {
        let tree = self.tree(prefix);
        if let Some(known) = self.shared.catalogs.get(prefix, &tree) {
            return Some(known);
        }
        let of = tree.clone();
        let made = tasks::blocking("release-catalog", move || Arc::new(Catalog::of(&of))).await;
        let catalog = made.ok()?; // it told of its panic itself
        self.shared.catalogs.put(prefix, &tree, &catalog);
        Some(catalog)
    }

    pub fn synced(&self) -> Synced {
        self.shared.index.synced()
    }

    /// Waits until the log was seen by this process.
    pub async fn known(&self) {
        self.shared.index.known().await;
    }

    /// See [`history::read`].
    pub async fn history(
        &self,
        prefix: &StorePrefix,
        before: Option<u64>,
        limit: usize,
    ) -> Result<History, LogError> {
        history::read(&self.shared.index, prefix, before, limit).await
    }

    /// Record `n` of an app.
    pub async fn record(&self, prefix: &StorePrefix, n: u64) -> Result<Record, ControlError> {
        let index = &self.shared.index;
        if !(1..=index.state().head()).contains(&n) {
            return Err(ControlError::NoRecord { n });
        }
        let record = index.log().read(n).await?;
        if record.prefix == *prefix {
            Ok(record)
        } else {
            Err(ControlError::NoRecord { n })
        }
    }

    /// See [`Diff::read`].
    pub async fn diff(
        &self,
        prefix: &StorePrefix,
        from: u64,
        to: Option<u64>,
    ) -> Result<Diff, ControlError> {
        Diff::read(&self.shared.index, &self.state(), prefix, from, to).await
    }

    /// Makes a command true: here at once, on other nodes when they next look at the log.
    pub async fn execute(
        &self,
        command: &Command,
        by: &Commander,
    ) -> Result<Executed, ControlError> {
        let shared = &self.shared;
        command.execute(&shared.index, &shared.node, by).await
    }

    /// Takes old versions of an app away by these rules, in one record; `dry` only tells what would go.
    pub async fn prune(
        &self,
        rules: &Retention,
        by: &Commander,
        dry: bool,
    ) -> Result<Pruned, ControlError> {
        let index = &self.shared.index;
        let rules = rules.clone();
        let (record, files) = if dry {
            let tree = self.tree(&by.prefix);
            let files = retention::plan_aside(tree, rules, clock::now()).await?;
            (None, files)
        } else {
            match self.execute(&Command::Prune { rules }, by).await {
                Ok(Executed { record, .. }) => {
                    let files = record.deployed().replaced.clone();
                    (Some(record), files)
                }
                Err(ControlError::Unchanged) => (None, Vec::new()),
                Err(error) => return Err(error),
            }
        };
        let lost = prune::lost(index, &self.state(), &by.prefix, &files).await?;
        Ok(Pruned {
            record,
            files,
            lost,
        })
    }

    pub fn health(&self) -> Health {
        let head = self.state().head();
        Health {
            head,
            synced: self.synced(),
            unprojected: head.saturating_sub(self.shared.projected.load(Ordering::Acquire)),
        }
    }
}
