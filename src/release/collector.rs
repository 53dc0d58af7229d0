//! Deletes what deploys left behind that never became true, and what they staged in vain.
//!
//! A deploy is looked at once, when it is old enough that it cannot become true any more. Content that a record names
//! is deleted only when a later one took it away (`retention`) and nothing that may be served has the same.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::draft::protected;
use super::figures::Figures;
use super::id::{CONTENT, ContentKey, ReleaseId};
use super::index::Index;
use super::log::LogError;
use super::snapshot::Snapshot;
use crate::cause::chain;
use crate::clock;
use crate::store::{Key, Store, StoreError};
use crate::tasks;

const INTERVAL: Duration = Duration::from_secs(3600);

/// Pause after a round that failed; it doubles up to [`INTERVAL`].
const RETRY: Duration = Duration::from_secs(60);

/// Content listed at a time.
const PAGE: usize = 1000;

pub struct Collector {
    store: Store,
    index: Arc<Index>,
    /// Age at which a deploy cannot become true any more; at least twice the age at which publishing refuses it.
    age: SignedDuration,
    /// Age at which the content of what was taken away is freed.
    free_after: SignedDuration,
    done: Arc<Mutex<Collected>>,
    figures: Figures,
}

/// How far this node has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Collected {
    /// Deploys up to this one were looked at.
    pub deploys: Option<ReleaseId>,
    /// Content that records up to this one took away is freed.
    pub prunes: u64,
}

impl Collected {
    pub fn of(saved: Option<&Snapshot>) -> Collected {
        saved.map_or_else(Collected::default, |saved| Collected {
            deploys: saved.collected,
            prunes: saved.freed,
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("cannot list staged content")]
    List(#[source] StoreError),
    #[error("cannot delete leftover content")]
    Delete(#[source] StoreError),
    #[error("cannot remove unfinished uploads")]
    Uploads(#[source] StoreError),
}

impl Collector {
    pub fn new(
        store: Store,
        index: Arc<Index>,
        age: SignedDuration,
        free_after: SignedDuration,
        done: Arc<Mutex<Collected>>,
        figures: Figures,
    ) -> Collector {
        Collector {
            store,
            index,
            age,
            free_after,
            done,
            figures,
        }
    }

    /// Runs until the daemon ends.
    pub async fn run(self) {
        let mut retry = RETRY;
        loop {
            // While the store is away there is nothing to try, and the follower says so.
            self.index.known().await;
            let pause = match self.round(clock::now()).await {
                Ok(deleted) => {
                    if deleted > 0 {
                        tracing::info!(deleted, "deleted leftovers of deploys");
                    }
                    retry = RETRY;
                    INTERVAL
                }
                Err(error) => {
                    tracing::warn!(
                        error = %chain(&error),
                        retry_seconds = retry.as_secs(),
                        "cannot collect leftovers of deploys; trying again"
                    );
                    let pause = retry;
                    retry = (retry * 2).min(INTERVAL);
                    pause
                }
            };
            tasks::pause(pause).await;
        }
    }

    /// Returns how many objects it deleted.
    async fn round(&self, now: Timestamp) -> Result<u64, CollectError> {
        let before = now.checked_sub(self.age).unwrap_or(Timestamp::MIN);
        let mut deleted = self
            .store
            .remove_stale(before)
            .await
            .map_err(CollectError::Uploads)? as u64;
        // Theirs goes with them. One that is opened from now on is too young to be looked at.
        let drafts = protected(&self.store).await.map_err(CollectError::List)?;
        deleted += self.free(now).await?;
        let mut after = self.done().deploys.map(|id| format!("{CONTENT}{id}/~"));
        loop {
            let listed = self
                .store
                .list(CONTENT, after.as_deref(), PAGE)
                .await
                .map_err(CollectError::List)?;
            let full = listed.len() == PAGE;
            after = listed.last().map(|meta| meta.key.to_string());
            let content = by_deploy(listed.iter().map(|meta| &meta.key), before);
            // After the listing, so that a deploy found in it that became true is in the state.
            self.index.catch_up().await?;
            deleted += self.collect(&content, &drafts, full).await?;
            let reached_young = listed.last().is_some_and(|meta| !is_old(&meta.key, before));
            if !full || reached_young {
                self.figures.collected.inc_by(deleted);
                return Ok(deleted);
            }
        }
    }

    /// Deletes what no record names of the content of these deploys. The last of a `partial` list may go on.
    async fn collect(
        &self,
        content: &BTreeMap<ReleaseId, Vec<ContentKey>>,
        drafts: &HashSet<ReleaseId>,
        partial: bool,
    ) -> Result<u64, CollectError> {
        let state = self.index.state();
        let wanted = |(_, id): &(u64, &ReleaseId)| content.contains_key(id);
        let records: HashMap<&ReleaseId, u64> = (1..)
            .zip(state.ids())
            .filter(wanted)
            .map(|(n, id)| (id, n))
            .collect();
        let mut deleted = 0;
        let mut looked_at = self.done().deploys;
        for (position, (id, staged)) in content.iter().enumerate() {
            let named = match records.get(id) {
                Some(n) => self.named_by(*n).await?,
                None => HashSet::new(),
            };
            let leftovers = staged.iter().filter(|content| !named.contains(content));
            for content in leftovers.filter(|content| !drafts.contains(&content.id)) {
                self.store
                    .delete(&content.key())
                    .await
                    .map_err(CollectError::Delete)?;
                deleted += 1;
            }
            if !(partial && position + 1 == content.len()) {
                looked_at = Some(*id);
            }
        }
        self.note(|done| done.deploys = looked_at);
        Ok(deleted)
    }

    async fn named_by(&self, n: u64) -> Result<HashSet<ContentKey>, LogError> {
        let record = self.index.log().read(n).await?;
        Ok(record
            .deployed()
            .files
            .iter()
            .map(|file| file.content)
            .collect())
    }

    /// Deletes the content of what was taken away, unless something else that may be served has the same.
    async fn free(&self, now: Timestamp) -> Result<u64, CollectError> {
        self.index.catch_up().await?;
        let state = self.index.state();
        let mut live: Option<HashSet<ContentKey>> = None;
        let mut deleted = 0;
        for n in state.prunes_after(self.done().prunes) {
            let record = self.index.log().read(n).await?;
            if now.duration_since(record.at) < self.free_after {
                break;
            }
            let live = live.get_or_insert_with(|| state.contents().collect());
            let contents = record.deployed().replaced.iter().map(|file| file.content);
            for content in contents.filter(|content| !live.contains(content)) {
                let gone = self.store.delete(&content.key()).await;
                gone.map_err(CollectError::Delete)?;
                deleted += 1;
            }
            self.note(|done| done.prunes = n);
        }
        Ok(deleted)
    }

    fn note(&self, change: impl FnOnce(&mut Collected)) {
        change(&mut self.done.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn done(&self) -> Collected {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The old content of a listing, by deploy.
fn by_deploy<'a>(
    keys: impl Iterator<Item = &'a Key>,
    before: Timestamp,
) -> BTreeMap<ReleaseId, Vec<ContentKey>> {
    let mut deploys: BTreeMap<ReleaseId, Vec<ContentKey>> = BTreeMap::new();
    for content in keys.filter(|key| is_old(key, before)).filter_map(content) {
        deploys.entry(content.id).or_default().push(content);
    }
    deploys
}

/// Whether the deploy that this content belongs to began before `before`. What is no content is let be.
fn is_old(key: &Key, before: Timestamp) -> bool {
    let began = |content: ContentKey| i64::try_from(content.id.began_ms()).unwrap_or(i64::MAX);
    content(key).is_some_and(|content| began(content) < before.as_millisecond())
}

fn content(key: &Key) -> Option<ContentKey> {
    key.as_str().strip_prefix(CONTENT)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_content_of_old_deploys_is_looked_at() {
        let (old, young) = (ReleaseId::generate(), ReleaseId::generate());
        let keys: Vec<Key> = [
            ContentKey { id: old, index: 0 },
            ContentKey { id: old, index: 1 },
            ContentKey {
                id: young,
                index: 0,
            },
        ]
        .iter()
        .map(ContentKey::key)
        .chain([Key::parse(".seance/content/stray").unwrap()])
        .collect();
        let all = clock::now()
            .checked_add(SignedDuration::from_mins(1))
            .unwrap();
        assert_eq!(
            by_deploy(keys.iter(), all)
                .values()
                .map(Vec::len)
                .collect::<Vec<_>>(),
            [2, 1]
        );
        let none = Timestamp::from_millisecond(i64::try_from(old.began_ms()).unwrap()).unwrap();
        assert!(by_deploy(keys.iter(), none).is_empty());
    }
}
