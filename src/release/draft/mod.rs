//! Drafts: releases that are uploaded in parts by any number of jobs, over any time and any node, and published at once.
//!
//! All of a draft is in the store ([`objects`]); what is kept in memory only saves reading it again. The content of
//! an upload gets its place by the number of the upload, which is the same on every node, and is written there only
//! when it is whole and has the declared hash: whoever does it twice writes the same bytes.

mod assemble;
mod declared;
mod error;
mod judge;
mod made;
mod merge;
mod objects;
mod presign;
mod publish;
mod read;
mod receive;
mod signature;
mod standing;
mod stock;
mod sweep;
mod upload;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use declared::{Batch, Declaration, Refusal};
pub use error::DraftError;
pub use judge::Terms;
pub use objects::{Head, Sender};
pub use presign::Pass;
pub use standing::{Shown, Standing};
pub use sweep::{Sweeper, protected};
pub use upload::Upload;

use self::error::Lost;
use self::read::Opened;
use super::figures::Figures;
use super::index::Index;
use super::record::{Actor, ReleaseId};
use super::staging;
use crate::clock;
use crate::config;
use crate::store::Store;
use crate::tasks::Tasks;

/// Heads read at a time.
const READS: usize = 8;
/// How far the clocks of nodes may be apart.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_hours(1);
/// Declarations are admitted by this many bytes, and as many times that at once: 64 MiB, and some five times that while
/// they are read.
const DECLARING_UNIT: usize = 64 * 1024;
const DECLARING_UNITS: usize = 1024;

/// The drafts of all apps. Cheap to clone.
#[derive(Clone)]
pub struct Drafts {
    shared: Arc<Shared>,
}

/// What drafts share with deploys.
pub struct Room {
    pub store: Store,
    pub tasks: Tasks,
    pub background: Handle,
    pub index: Arc<Index>,
    pub node: String,
    pub figures: Figures,
    /// How long a part waits for its turn.
    pub patience: Duration,
}

struct Shared {
    room: Room,
    limits: config::Drafts,
    receiving: Arc<Semaphore>,
    declaring: Arc<Semaphore>,
    /// Held while a draft is opened: those that are open are counted first.
    opening: tokio::sync::Mutex<()>,
    assembling: Arc<Semaphore>,
    cache: Mutex<HashMap<ReleaseId, Arc<Opened>>>,
    /// Held while the content of an upload is put together, so that a repeated request waits for the first.
    assemblies: Mutex<HashMap<(ReleaseId, Upload), Weak<Turn>>>,
}

type Turn = tokio::sync::Mutex<()>;

impl Room {
    pub(super) fn new(
        deploys: &staging::Room,
        index: Arc<Index>,
        node: String,
        patience: Duration,
    ) -> Room {
        Room {
            store: deploys.store.clone(),
            tasks: deploys.tasks.clone(),
            background: deploys.background.clone(),
            index,
            node,
            figures: deploys.figures.clone(),
            patience,
        }
    }
}

impl Drafts {
    pub(super) fn new(room: Room, limits: &config::Drafts) -> Drafts {
        Drafts {
            shared: Arc::new(Shared {
                receiving: Arc::new(Semaphore::new(receiving(&room.store, limits))),
                room,
                declaring: Arc::new(Semaphore::new(DECLARING_UNITS)),
                opening: tokio::sync::Mutex::default(),
                assembling: Arc::new(Semaphore::new(limits.completes_in_flight)),
                limits: limits.clone(),
                cache: Mutex::default(),
                assemblies: Mutex::default(),
            }),
        }
    }

    fn store(&self) -> &Store {
        &self.shared.room.store
    }

    /// How long a draft can be published at most, and by default.
    pub fn longest(&self) -> u64 {
        self.shared.limits.expire_seconds
    }

    /// Begins a draft that can be published for `seconds`.
    pub async fn open(
        &self,
        app: &config::App,
        actor: Actor,
        seconds: u64,
    ) -> Result<Head, DraftError> {
        let created = clock::now();
        let seconds = i64::try_from(seconds.min(self.longest())).unwrap_or(i64::MAX);
        let expires = created
            .checked_add(SignedDuration::from_secs(seconds))
            .unwrap_or(Timestamp::MAX);
        let _turn = self.shared.opening.lock().await;
        self.check_open(app).await?;
        let head = Head {
            id: ReleaseId::generate(),
            app: app.name.clone(),
            prefix: app.prefix.clone(),
            actor,
            created,
            expires,
            part_bytes: self.shared.limits.part_bytes,
        };
        objects::write_head(self.store(), &head).await?;
        self.shared.room.figures.drafts_open.inc();
        Ok(head)
    }

    async fn check_open(&self, app: &config::App) -> Result<(), DraftError> {
        let limit = self.shared.limits.max_open;
        let longest = i64::try_from(self.longest()).unwrap_or(i64::MAX);
        let longest = SignedDuration::from_secs(longest).saturating_add(CLOCKS_DIFFER);
        let since = clock::now().checked_sub(longest).unwrap_or(Timestamp::MIN);
        let mut ids = objects::heads_since(self.store(), &app.name, since).await?;
        ids.retain(|id| self.record_of(*id).is_none());
        if ids.len() < limit {
            return Ok(());
        }
        let reads = ids
            .into_iter()
            .map(|id| objects::read_head(self.store(), &app.name, id));
        let mut heads = stream::iter(reads).buffer_unordered(READS);
        let mut open = 0;
        while let Some(head) = heads.try_next().await? {
            open += usize::from(head.is_some_and(|head| !head.has_expired()));
            if open >= limit {
                return Err(DraftError::TooMany { limit });
            }
        }
        Ok(())
    }

    /// Room for a declaration of that many bytes, held until it is answered.
    pub async fn admit(&self, bytes: usize) -> Result<OwnedSemaphorePermit, DraftError> {
        let units = bytes.div_ceil(DECLARING_UNIT).clamp(1, DECLARING_UNITS);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let turn = self.shared.declaring.clone().acquire_many_owned(units);
        match tokio::time::timeout(self.shared.room.patience, turn).await {
            Ok(turn) => Ok(turn.map_err(Lost::Closed)?),
            Err(_) => Err(DraftError::Busy),
        }
    }

    /// Ends the draft; when it was published already, that stays. Its content goes a day later: another node may just be
    /// publishing it.
    pub async fn delete(&self, app: &config::App, id: ReleaseId) -> Result<(), DraftError> {
        let opened = self.read(app, id).await?;
        let head = Head {
            expires: clock::now(),
            ..opened.head.clone()
        };
        objects::write_head(self.store(), &head).await?;
        self.cache().remove(&id);
        if self.record_of(id).is_none() {
            self.shared.room.figures.drafts_open.dec();
        }
        let parts = format!("{}{id}/parts/", objects::DRAFTS);
        objects::remove(self.store(), &parts).await?;
        Ok(())
    }

    /// The record that a draft was published as, as far as this node knows.
    fn record_of(&self, id: ReleaseId) -> Option<u64> {
        self.shared.room.index.state().record_of(id)
    }
}

impl Head {
    pub fn has_expired(&self) -> bool {
        clock::now() >= self.expires
    }
}

/// Parts that are received at a time. Each takes room of the bucket's writers while its client sends; the rest of that
/// is for deploys and for what is completed.
fn receiving(store: &Store, limits: &config::Drafts) -> usize {
    let room = store.parts_in_flight();
    let room = room.map_or(usize::MAX, |room| room.saturating_sub(1).max(1));
    limits.parts_in_flight.min(room)
}
