//! Deletes what deploys left behind that never became true, and what they staged in vain.
//!
//! A deploy is looked at once, when it is old enough that it cannot become true any more. No content that any record
//! names is ever deleted, whether it is served now or not.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::draft::protected;
use super::figures::Figures;
use super::id::{CONTENT, ContentKey, ReleaseId};
use super::index::Index;
use super::log::LogError;
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
    /// Deploys up to this one were looked at.
    done: Arc<Mutex<Option<ReleaseId>>>,
    figures: Figures,
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
        done: Arc<Mutex<Option<ReleaseId>>>,
        figures: Figures,
    ) -> Collector {
        Collector {
            store,
            index,
            age,
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
        let mut after = self.done().map(|id| format!("{CONTENT}{id}/~"));
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
        let mut looked_at = self.done();
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
        *self.done.lock().unwrap_or_else(PoisonError::into_inner) = looked_at;
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

    fn done(&self) -> Option<ReleaseId> {
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
