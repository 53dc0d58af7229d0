//! The public copies that a CDN reads, brought up to the log: `<prefix>/<path>`.
//!
//! A record is projected when every path that it changed has, in the store, the content of a state at least as new.
//! Then it gets a marker, `.seance/projected/<n>`. Copies are always made of the current state, and before a mark the
//! log is read again: if a newer record touches one of the paths, its content may have been overwritten by ours, and
//! the path is done again. So nodes may project at the same time and die at any point; what has no marker is done
//! again, by the node that wrote the record at once, by any other after a while.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::figures::Figures;
use super::id::{ReleaseId, own_key};
use super::index::Index;
use super::log::{LogError, private};
use super::path::ReleasePath;
use super::record::{Event, File, Record};
use super::state::{State, Tree};
use crate::cause::chain;
use crate::config::StorePrefix;
use crate::store::{Attributes, Created, Key, Store, StoreError, Visibility};
use crate::tasks;

const MARKERS: &str = ".seance/projected/";

/// Markers listed at a time.
const PAGE: usize = 1000;

/// Records projected together.
const BATCH: usize = 64;

/// Records held in memory that wait to be projected.
const PENDING: usize = 256;

/// Copies and deletions at the same time.
const PARALLEL: usize = 8;

const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(60);

/// Brings the public copies up to the log.
pub struct Projector {
    store: Store,
    index: Arc<Index>,
    node: String,
    /// How long another node gets to project its own records.
    grace: Duration,
    /// All records up to this one have a marker.
    done: Arc<AtomicU64>,
    /// The record that `done` and `pending` count from: another bucket's log begins with another one.
    origin: Option<ReleaseId>,
    /// Records without a marker, and since when they are known here.
    pending: BTreeMap<u64, (Arc<Record>, Instant)>,
    figures: Figures,
}

#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("cannot list the marks of projected records")]
    Markers(#[source] StoreError),
    #[error("cannot mark record {n} as projected")]
    Mark {
        n: u64,
        #[source]
        source: StoreError,
    },
    #[error("cannot bring the public copy of {path} under {prefix} up to date")]
    Copy {
        prefix: StorePrefix,
        path: ReleasePath,
        #[source]
        source: StoreError,
    },
}

/// Where a path is: one prefix may hold what another does not.
type Place = (StorePrefix, ReleasePath);

impl Projector {
    pub fn new(
        store: Store,
        index: Arc<Index>,
        node: String,
        grace: Duration,
        done: Arc<AtomicU64>,
        figures: Figures,
    ) -> Projector {
        let origin = index.state().ids().first().copied();
        Projector {
            store,
            index,
            node,
            grace,
            done,
            origin,
            pending: BTreeMap::new(),
            figures,
        }
    }

    /// Runs until the daemon ends.
    pub async fn run(mut self) {
        let mut heads = self.index.heads();
        let mut retry = RETRY_FIRST;
        loop {
            heads.borrow_and_update();
            let wait = match self.round().await {
                Ok(wait) => {
                    retry = RETRY_FIRST;
                    wait
                }
                Err(error) => {
                    tracing::warn!(
                        error = %chain(&error),
                        retry_seconds = retry.as_secs(),
                        "cannot project a release to its public names; trying again"
                    );
                    // A new head must not cut this short: the store is what fails.
                    tasks::pause(retry).await;
                    retry = (retry * 2).min(RETRY_MOST);
                    Some(Duration::ZERO)
                }
            };
            let changed = heads.changed();
            match wait {
                Some(Duration::ZERO) => {}
                Some(wait) => {
                    tokio::select! {
                        changed = changed => if changed.is_err() { return },
                        () = tasks::pause(wait) => {}
                    }
                }
                None => {
                    if changed.await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Projects what is due; tells when something will be due next without a new record.
    async fn round(&mut self) -> Result<Option<Duration>, ProjectionError> {
        let state = self.index.state();
        let origin = state.ids().first().copied();
        if origin != self.origin {
            self.origin = origin;
            self.done.store(0, Ordering::Release);
            self.pending.clear();
        }
        self.find_pending(state.head()).await?;
        let due: Vec<Arc<Record>> = self
            .pending
            .values()
            .filter(|(record, since)| record.node == self.node || since.elapsed() >= self.grace)
            .take(BATCH)
            .map(|(record, _)| record.clone())
            .collect();
        if !due.is_empty() {
            let mut places = BTreeSet::new();
            for record in &due {
                places.extend(touched(record));
            }
            self.project(places).await?;
            for record in due {
                self.mark(record.n).await?;
                self.pending.remove(&record.n);
            }
            self.count();
            return Ok(Some(Duration::ZERO));
        }
        let next = self
            .pending
            .values()
            .map(|(_, since)| self.grace.saturating_sub(since.elapsed()))
            .min();
        Ok(next.map(|wait| wait.max(Duration::from_millis(100))))
    }

    /// Learns which records up to `head` have no marker.
    async fn find_pending(&mut self, head: u64) -> Result<(), ProjectionError> {
        if self.done.load(Ordering::Acquire) == head {
            return Ok(());
        }
        let marked = self.marked().await?;
        self.pending.retain(|n, _| !marked.contains(n));
        for n in self.done.load(Ordering::Acquire) + 1..=head {
            if self.pending.len() >= PENDING {
                break;
            }
            if !marked.contains(&n) && !self.pending.contains_key(&n) {
                let record = Arc::new(self.index.log().read(n).await?);
                self.pending.insert(n, (record, Instant::now()));
            }
        }
        let unmarked = (self.done.load(Ordering::Acquire) + 1..=head).find(|n| !marked.contains(n));
        self.done
            .store(unmarked.map_or(head, |n| n - 1), Ordering::Release);
        self.count();
        Ok(())
    }

    fn count(&self) {
        self.figures
            .pending
            .set(i64::try_from(self.pending.len()).unwrap_or(i64::MAX));
    }

    async fn marked(&self) -> Result<HashSet<u64>, ProjectionError> {
        let mut marked = HashSet::new();
        let mut after = marker(self.done.load(Ordering::Acquire));
        loop {
            let page = self
                .store
                .list(MARKERS, Some(after.as_str()), PAGE)
                .await
                .map_err(ProjectionError::Markers)?;
            marked.extend(page.iter().filter_map(|meta| number(&meta.key)));
            match page.last() {
                Some(last) if page.len() == PAGE => after = last.key.clone(),
                _ => return Ok(marked),
            }
        }
    }

    /// Writes these paths, until no newer record touches them.
    async fn project(&self, mut places: BTreeSet<Place>) -> Result<(), ProjectionError> {
        while !places.is_empty() {
            let state = self.index.state();
            self.write(&state, &places).await?;
            self.index.catch_up().await?;
            let mut newer = BTreeSet::new();
            for n in state.head() + 1..=self.index.state().head() {
                newer.extend(touched(&self.index.log().read(n).await?));
            }
            places.retain(|place| newer.contains(place));
        }
        Ok(())
    }

    /// Artefacts first, then what names them, then what nothing names any more.
    async fn write(&self, state: &State, places: &BTreeSet<Place>) -> Result<(), ProjectionError> {
        let mut steps = Steps::default();
        for place in places {
            let tree = state.tree(&place.0);
            match tree.public_file(place.1.as_str()) {
                Some(file) if file.path.is_manifest() || file.path.is_html() => {
                    steps.names.push((place, Some(file.clone())))
                }
                Some(file) => steps.artefacts.push((place, Some(file.clone()))),
                None if in_the_way(&tree, &place.1) => steps.obstacles.push((place, None)),
                None => steps.gone.push((place, None)),
            }
        }
        for step in [steps.obstacles, steps.artefacts, steps.names, steps.gone] {
            let writes: Vec<_> = step
                .into_iter()
                .map(|(place, file)| self.write_one(place, file))
                .collect();
            stream::iter(writes)
                .buffer_unordered(PARALLEL)
                .try_collect::<()>()
                .await?;
        }
        Ok(())
    }

    async fn write_one(
        &self,
        (prefix, path): &Place,
        file: Option<Arc<File>>,
    ) -> Result<(), ProjectionError> {
        let failed = |source| ProjectionError::Copy {
            prefix: prefix.clone(),
            path: path.clone(),
            source,
        };
        let to = match Key::parse(&format!("{prefix}/{path}")) {
            Ok(to) => to,
            Err(error) => {
                tracing::error!(%prefix, %path, error = %chain(&error), "a release path has no public name; it is served, but not by the CDN");
                return Ok(());
            }
        };
        let written = match file {
            None => self.store.delete(&to).await,
            // A manifest with a share of clients in it is nobody's content.
            Some(file) if file.inline.is_some() => {
                let bytes = file.inline.clone().unwrap_or_default();
                self.store.put(&to, bytes, &public(&file)).await
            }
            Some(file) => {
                self.store
                    .copy(&file.content.key(), &to, &public(&file))
                    .await
            }
        };
        match written {
            // Trying again would not help it, and would hold up all other releases.
            Err(error @ (StoreError::NotFound { .. } | StoreError::Obstructed { .. })) => {
                tracing::error!(%prefix, %path, error = %chain(&error), "the public copy of a file cannot be made");
                Ok(())
            }
            written => written.map_err(failed),
        }
    }

    async fn mark(&self, n: u64) -> Result<(), ProjectionError> {
        let mark = |source| ProjectionError::Mark { n, source };
        let key = marker(n);
        let attributes = private("text/plain");
        let created = self.store.create(&key, Bytes::new(), &attributes);
        // That another node was here first is as good.
        match created.await.map_err(mark)? {
            Created::Yes | Created::AlreadyExists => Ok(()),
        }
    }
}

/// Writes of one pass, in the order in which they may become visible.
#[derive(Default)]
struct Steps<'a> {
    obstacles: Vec<(&'a Place, Option<Arc<File>>)>,
    artefacts: Vec<(&'a Place, Option<Arc<File>>)>,
    names: Vec<(&'a Place, Option<Arc<File>>)>,
    gone: Vec<(&'a Place, Option<Arc<File>>)>,
}

/// The paths whose public copies a record changed.
fn touched(record: &Record) -> Vec<Place> {
    let place = |path: &ReleasePath| (record.prefix.clone(), path.clone());
    if let Event::Spread { spreads } = &record.event {
        return spreads.iter().map(|spread| place(&spread.path)).collect();
    }
    let deployed = record.deployed();
    let changed = deployed
        .files
        .iter()
        .filter(|file| !file.unchanged)
        .map(|file| &file.path);
    changed.chain(&deployed.removed).map(place).collect()
}

/// Whether a file system needs the name for something else: as a directory, or below what is a file now.
fn in_the_way(tree: &Tree, gone: &ReleasePath) -> bool {
    gone.parents().any(|parent| tree.file(parent).is_some())
        || tree.below(gone.as_str()).next().is_some()
}

fn public(file: &File) -> Attributes {
    Attributes {
        content_type: file.content_type.clone().into(),
        cache_control: Some(file.cache_control.clone().into()),
        visibility: Visibility::Public,
        sha256: Some(file.sha256),
    }
}

fn marker(n: u64) -> Key {
    own_key(format!("{MARKERS}{n:012}"))
}

fn number(key: &Key) -> Option<u64> {
    key.as_str().strip_prefix(MARKERS)?.parse().ok()
}
