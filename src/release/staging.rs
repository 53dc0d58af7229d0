//! The files of a deploy while nobody can see them: durable when published, gone when not.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::hash::Stopped;
use super::figures::Figures;
use super::intake::Intake;
use super::path::ReleasePath;
use super::record::{ContentKey, ReleaseId};
use crate::cause::chain;
use crate::config;
use crate::store::{Key, Store, StoreError};
use crate::tasks::{self, Tasks};

/// Objects deleted at a time.
const DELETES: usize = 8;

/// What all deploys of the daemon share.
#[derive(Clone)]
pub struct Room {
    pub store: Store,
    pub tasks: Tasks,
    /// The runtime that uploads run on, whichever connection they came from.
    pub background: Handle,
    /// Bytes of files that are uploaded whole.
    pub budget: Arc<Semaphore>,
    pub budget_bytes: usize,
    /// Files of one deploy that are uploaded at the same time.
    pub uploads: usize,
    pub figures: Figures,
}

impl Room {
    pub fn new(store: Store, tasks: Tasks, limits: &config::Deploy, figures: Figures) -> Room {
        Room {
            store,
            tasks,
            background: Handle::current(),
            budget: Arc::new(Semaphore::new(limits.buffer_bytes)),
            budget_bytes: limits.buffer_bytes,
            uploads: limits.uploads_in_flight,
            figures,
        }
    }
}

/// A file whose content is durable in the store.
#[derive(Clone, Debug)]
pub struct StagedFile {
    pub path: ReleasePath,
    pub content: ContentKey,
    /// Bytes.
    pub size: u64,
    pub sha256: [u8; 32],
    pub sha512: [u8; 64],
    /// The bytes themselves, of a manifest up to [`super::intake::INLINE_BYTES`]; all of a deploy up to
    /// [`super::intake::ALL_INLINE_BYTES`].
    pub inline: Option<Bytes>,
}

#[derive(Debug, thiserror::Error)]
pub enum StagingError {
    #[error("cannot store the content of a deployed file")]
    Store(#[from] StoreError),
    #[error("cannot hash a deployed file")]
    Hash(#[from] Stopped),
    #[error("the deploy was given up")]
    GivenUp,
    #[error("an upload ended without a result")]
    Lost,
}

/// Undoes a deploy unless it was published: what it staged is deleted, uploads under way are cut.
pub struct Staging {
    id: ReleaseId,
    room: Room,
    shared: Arc<Shared>,
    keep: bool,
}

pub(super) struct Shared {
    pub cancel: CancellationToken,
    pub uploads: TaskTracker,
    outcome: Mutex<Outcome>,
}

#[derive(Default)]
pub(super) struct Outcome {
    pub stored: Vec<ContentKey>,
    pub failure: Option<StoreError>,
    /// No upload may begin any more.
    pub closed: bool,
}

impl Shared {
    pub fn outcome(&self) -> MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing goes on, once [`Shared::cancel`] is cancelled.
    pub fn failure(&self) -> StagingError {
        match self.outcome().failure.take() {
            Some(error) => StagingError::Store(error),
            None => StagingError::GivenUp,
        }
    }
}

impl Staging {
    /// Begins a deploy; the intake goes to the thread that reads the body. Without `store` content is only hashed, to
    /// compare it with an earlier deploy's.
    pub fn begin(room: Room, id: ReleaseId, store: bool) -> (Staging, Intake) {
        let shared = Arc::new(Shared {
            cancel: CancellationToken::new(),
            uploads: TaskTracker::new(),
            outcome: Mutex::default(),
        });
        let intake = Intake::new(id, room.clone(), shared.clone(), store);
        (
            Staging {
                id,
                room,
                shared,
                keep: false,
            },
            intake,
        )
    }

    pub fn id(&self) -> ReleaseId {
        self.id
    }

    /// Waits until everything that was taken in is durable.
    pub async fn finish(&self, intake: Intake) -> Result<Vec<StagedFile>, StagingError> {
        let (files, hasher, stored) = intake.into_parts();
        let digests = tasks::blocking("deploy-digests", move || hasher.digests());
        self.shared.uploads.close();
        self.shared.uploads.wait().await;
        if self.shared.cancel.is_cancelled() {
            return Err(self.shared.failure());
        }
        let digests = digests.await.map_err(|_| StagingError::Hash(Stopped))??;
        if digests.len() != files.len()
            || (stored && self.shared.outcome().stored.len() != files.len())
        {
            return Err(StagingError::Lost);
        }
        Ok(files
            .into_iter()
            .zip(digests)
            .map(|(file, digests)| file.staged(self.id, digests))
            .collect())
    }

    /// The deploy is true: only content that its record does not name is deleted.
    pub fn publish_only(&mut self, named: &HashSet<ContentKey>) {
        self.keep = true;
        let mut unused = std::mem::take(&mut self.shared.outcome().stored);
        unused.retain(|key| !named.contains(key));
        self.delete(unused);
    }

    /// A record may yet turn up that names the content.
    pub fn keep_all(&mut self) {
        self.keep = true;
    }

    /// The deploy is not true and cannot become it: what it staged is deleted.
    pub fn undo(&mut self) {
        self.keep = false;
    }

    fn delete(&self, unused: Vec<ContentKey>) {
        if unused.is_empty() {
            return;
        }
        let store = self.room.store.clone();
        let unused = unused.into_iter().map(|content| content.key());
        self.detach(async move { discard(&store, unused).await });
    }

    fn detach(&self, work: impl Future<Output = ()> + Send + 'static) {
        let _entered = self.room.background.enter();
        // Nobody waits for it but the end of the daemon.
        drop(self.room.tasks.short("deploy-clean", work));
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        self.shared.outcome().closed = true;
        self.shared.cancel.cancel();
        self.shared.uploads.close();
        if self.shared.uploads.is_empty() && self.shared.outcome().stored.is_empty() {
            return;
        }
        let (store, shared) = (self.room.store.clone(), self.shared.clone());
        self.detach(async move {
            shared.uploads.wait().await;
            let stored = std::mem::take(&mut shared.outcome().stored);
            discard(&store, stored.into_iter().map(|content| content.key())).await;
        });
    }
}

/// Deletes what nothing names. What cannot be deleted now is left to the collector, or goes with its draft.
pub(super) async fn discard(store: &Store, keys: impl IntoIterator<Item = Key>) {
    let deletes = keys.into_iter().map(|key| async move {
        if let Err(error) = store.delete(&key).await {
            tracing::warn!(%key, error = %chain(&error), "cannot delete an object that nothing names; it goes later");
        }
    });
    stream::iter(deletes)
        .buffer_unordered(DELETES)
        .collect::<()>()
        .await;
}
