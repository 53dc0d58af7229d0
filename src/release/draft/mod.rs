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
mod receive;
mod signature;
mod sweep;
mod upload;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
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
pub use sweep::{Sweeper, protected};
pub use upload::Upload;

use self::declared::Declared;
use self::error::Lost;
use self::objects::{Done, Parts};
use super::figures::Figures;
use super::index::Index;
use super::path::ReleasePath;
use super::record::{Actor, File, ReleaseId};
use super::staging;
use crate::clock;
use crate::config;
use crate::store::{Created, Store};
use crate::tasks::Tasks;

/// Drafts whose declarations are kept in memory.
const CACHED: usize = 64;
/// Declarations of other jobs that one may lose against.
const RACES: u32 = 100;
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

/// A draft as it was when it was last read; its declarations can only have become more.
struct Opened {
    head: Head,
    declared: Declared,
}

/// A draft as its clients see it.
pub struct Shown {
    pub head: Head,
    /// The record that it was published as.
    pub record: Option<u64>,
    pub files: Vec<Standing>,
}

/// How a declared file stands.
pub struct Standing {
    pub path: ReleasePath,
    pub job: String,
    pub content: Upload,
    /// Parts that are to be sent; `None` when its content is there.
    pub missing: Option<Vec<u64>>,
}

/// What of the contents of a draft is there.
struct Stock {
    published: HashMap<Upload, Arc<File>>,
    done: HashMap<Upload, Done>,
}

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

    /// The paths that are declared in a draft, or for one upload of it.
    pub async fn paths(
        &self,
        app: &config::App,
        id: ReleaseId,
        upload: Option<&Upload>,
    ) -> Result<Vec<ReleasePath>, DraftError> {
        let opened = self.read(app, id).await?;
        let files = opened.declared.files();
        let named = files.filter(|(_, jobs)| {
            upload.is_none_or(|upload| jobs.values().any(|content| content == upload))
        });
        Ok(named.map(|(path, _)| path.clone()).collect())
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

    /// The draft as it stands, for a sender of parts.
    pub async fn show(
        &self,
        app: &config::App,
        id: ReleaseId,
        sender: &Sender,
    ) -> Result<Shown, DraftError> {
        let opened = self.read(app, id).await?;
        let record = self.record_of(id);
        let files = opened.declared.files().flat_map(|(path, jobs)| {
            jobs.iter()
                .map(move |(job, content)| (path.clone(), job.clone(), *content))
        });
        let files = files.collect();
        Ok(Shown {
            files: self
                .standing(&opened, files, sender, record.is_some())
                .await?,
            record,
            head: opened.head.clone(),
        })
    }

    /// Adds declarations; returns how each of their files stands, in their order.
    pub async fn declare(
        &self,
        app: &config::App,
        id: ReleaseId,
        batch: &Batch,
        sender: &Sender,
    ) -> Result<Vec<Standing>, DraftError> {
        for _ in 0..RACES {
            let opened = self.read(app, id).await?;
            if let Some(n) = self.record_of(id) {
                return Err(DraftError::Published { n });
            }
            let limits = &self.shared.limits;
            let part_bytes = opened.head.part_bytes;
            let next = opened.declared.with(batch, limits.max_files, part_bytes)?;
            let created = match &next {
                Some(next) => objects::append(self.store(), id, next.batches(), batch).await?,
                None => Created::Yes,
            };
            if created == Created::Yes {
                let files = batch.files.iter();
                let files = files.map(|file| (file.path.clone(), batch.job.clone(), file.content));
                let files = files.collect();
                return self.standing(&opened, files, sender, false).await;
            }
        }
        Err(DraftError::Contended)
    }

    async fn standing(
        &self,
        opened: &Opened,
        files: Vec<(ReleasePath, String, Upload)>,
        sender: &Sender,
        published: bool,
    ) -> Result<Vec<Standing>, DraftError> {
        let id = opened.head.id;
        let wanted = files.iter().map(|(_, _, content)| *content).collect();
        let stock = self.stock(opened, wanted).await?;
        let all = files.iter().all(|(_, _, content)| stock.has(content));
        let parts = match published || all {
            true => HashMap::new(),
            false => objects::all_parts(self.store(), id, sender).await?,
        };
        let none = Parts::new();
        let standing = |(path, job, content): (ReleasePath, String, Upload)| Standing {
            missing: (!published && !stock.has(&content)).then(|| {
                let arrived = parts.get(&content).unwrap_or(&none);
                missing(&content, arrived, opened.head.part_bytes)
            }),
            path,
            job,
            content,
        };
        Ok(files.into_iter().map(standing).collect())
    }

    /// Which of these contents are there: published under the draft's prefix, or sent to it.
    async fn stock(&self, opened: &Opened, wanted: Vec<Upload>) -> Result<Stock, DraftError> {
        let mut published: HashMap<Upload, Option<Arc<File>>> =
            wanted.into_iter().map(|content| (content, None)).collect();
        let tree = self.shared.room.index.state().tree(&opened.head.prefix);
        for file in tree.files() {
            let content = Upload {
                sha256: file.sha256,
                size: file.size,
            };
            if let Some(found) = published.get_mut(&content) {
                *found = Some(file.clone());
            }
        }
        let published = published.into_iter();
        Ok(Stock {
            published: published
                .filter_map(|(content, file)| Some((content, file?)))
                .collect(),
            done: objects::all_done(self.store(), opened.head.id).await?,
        })
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

    /// A draft as it is now.
    async fn read(&self, app: &config::App, id: ReleaseId) -> Result<Arc<Opened>, DraftError> {
        let head = objects::read_head(self.store(), &app.name, id).await?;
        let fits = |head: &Head| head.prefix == app.prefix && !head.has_expired();
        let head = head.filter(fits).ok_or(DraftError::Unknown)?;
        let cached = self.cache().get(&id).cloned();
        let known = cached
            .map(|opened| opened.declared.clone())
            .unwrap_or_default();
        let declared = objects::read_declared(self.store(), id, known).await?;
        let opened = Arc::new(Opened { head, declared });
        let mut cache = self.cache();
        if cache.len() >= CACHED
            && !cache.contains_key(&id)
            && let Some(oldest) = cache.keys().min().copied()
        {
            cache.remove(&oldest);
        }
        cache.insert(id, opened.clone());
        Ok(opened)
    }

    /// A draft in which `upload` is declared, read again only when that is not known.
    async fn with_upload(
        &self,
        app: &config::App,
        id: ReleaseId,
        upload: &Upload,
    ) -> Result<Arc<Opened>, DraftError> {
        let declares = |opened: &Arc<Opened>| opened.declared.number(upload).is_some();
        let fits = |opened: &Arc<Opened>| {
            opened.head.app == app.name
                && opened.head.prefix == app.prefix
                && !opened.head.has_expired()
        };
        let cached = self.cache().get(&id).cloned();
        if let Some(opened) = cached.filter(fits).filter(declares) {
            return Ok(opened);
        }
        let opened = self.read(app, id).await?;
        Some(opened)
            .filter(declares)
            .ok_or(DraftError::UnknownUpload)
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, HashMap<ReleaseId, Arc<Opened>>> {
        let cache = self.shared.cache.lock();
        cache.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stock {
    fn has(&self, content: &Upload) -> bool {
        self.published.contains_key(content) || self.done.contains_key(content)
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

/// The parts of an upload that did not arrive whole.
fn missing(upload: &Upload, arrived: &Parts, part_bytes: u64) -> Vec<u64> {
    let numbers = 1..=upload.parts(part_bytes);
    let is_missing = |n: &u64| arrived.get(n).copied() != upload.part_size(*n, part_bytes);
    numbers.filter(is_missing).collect()
}
