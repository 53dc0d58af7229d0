//! What runs beside the requests for as long as the daemon does.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::collector::Collected;
use super::index::Index;
use super::snapshot::{Snapshot, SnapshotError, SnapshotFile, node_id};
use super::state::State;
use crate::cause::chain;
use crate::store::Store;
use crate::tasks::{self, Tasks};

/// Pause before the provider is asked again what it can do.
const PROBE_PAUSE: Duration = Duration::from_secs(60);

/// Pause between two snapshots, so that a burst of deploys does not rewrite a large one for each.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(1);

pub async fn load(
    file: SnapshotFile,
    state_directory: &Path,
) -> Result<(String, Option<Snapshot>), SnapshotError> {
    let directory = state_directory.to_owned();
    let load = tasks::blocking("load-releases", move || {
        Ok((node_id(&directory)?, file.load()?))
    });
    load.await.map_err(|_| SnapshotError::Lost)?
}

/// Writes the snapshot whenever the log went on.
pub async fn save(
    file: SnapshotFile,
    index: Arc<Index>,
    projected: Arc<AtomicU64>,
    collected: Arc<Mutex<Collected>>,
) {
    let mut heads = index.heads();
    let mut saved_head = index.state().head();
    loop {
        // A log that was seen empty is worth knowing, too: it makes "absent" an answer while the bucket is away.
        index.known().await;
        let head = *heads.borrow_and_update();
        if let Some(seen) = index.seen() {
            let collected = *collected.lock().unwrap_or_else(PoisonError::into_inner);
            let state = State::clone(&index.state());
            let snapshot = Snapshot::new(
                seen,
                state,
                projected.load(Ordering::Acquire).min(head),
                collected,
            );
            let file = file.clone();
            match tasks::blocking("save-releases", move || file.save(&snapshot)).await {
                Ok(Ok(())) => saved_head = head,
                Ok(Err(error)) => {
                    tracing::warn!(
                        error = %chain(&error),
                        saved_head,
                        "cannot save the snapshot of releases"
                    );
                }
                Err(_) => return,
            }
        }
        tasks::pause(SNAPSHOT_PAUSE).await;
        if heads.changed().await.is_err() {
            return;
        }
    }
}

/// Tells, once the store answers, when only one daemon may write to it; nobody else would say so before records of two
/// daemons had replaced each other.
pub async fn warn_of_other_writers(store: &Store, index: &Index) {
    loop {
        index.known().await;
        match store.create_only().await {
            Ok(true) => return,
            Ok(false) => {
                tracing::warn!(
                    "the provider does not support create-only writes: only one daemon may write to this bucket"
                );
                return;
            }
            // A deploy that needs to know asks again, and fails loudly.
            Err(error) => {
                tracing::debug!(
                    error = %chain(&error),
                    "cannot find out whether the provider supports create-only writes"
                );
                tasks::pause(PROBE_PAUSE).await;
            }
        }
    }
}

/// Runs a service that has no end of its own.
pub fn service(tasks: &Tasks, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
    let cancelled = tasks.cancelled();
    tasks.spawn(name, async move {
        tokio::select! {
            () = cancelled => {}
            () = work => {}
        }
    });
}
