//! Takes away what is left of drafts that expired.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::DraftError;
use super::objects::{self, DRAFTS, HEADS, Head};
use crate::cause::chain;
use crate::clock;
use crate::release::figures::Figures;
use crate::release::id::CONTENT;
use crate::release::index::Index;
use crate::release::record::{ContentKey, ReleaseId};
use crate::store::{Key, Store, StoreError};
use crate::tasks;

const INTERVAL: Duration = Duration::from_secs(3600);

/// A draft stays so long after it expired: its publication may be under way, on a node with another clock.
const GRACE: SignedDuration = SignedDuration::from_hours(24);

pub struct Sweeper {
    store: Store,
    index: Arc<Index>,
    figures: Figures,
}

/// The drafts whose content is not the collector's to judge.
pub async fn protected(store: &Store) -> Result<HashSet<ReleaseId>, StoreError> {
    let heads = objects::heads(store).await?;
    Ok(heads.into_iter().map(|(id, _)| id).collect())
}

impl Sweeper {
    pub fn new(store: Store, index: Arc<Index>, figures: Figures) -> Sweeper {
        Sweeper {
            store,
            index,
            figures,
        }
    }

    /// Runs until the daemon ends.
    pub async fn run(self) {
        loop {
            // While the store is away there is nothing to try, and the follower says so.
            self.index.known().await;
            match self.round(clock::now()).await {
                Ok(0) => {}
                Ok(deleted) => tracing::info!(deleted, "deleted what was left of drafts"),
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "cannot delete what is left of drafts; trying again in an hour");
                }
            }
            tasks::pause(INTERVAL).await;
        }
    }

    /// Returns how many objects it deleted.
    async fn round(&self, now: Timestamp) -> Result<u64, DraftError> {
        let heads = objects::heads(&self.store).await?;
        let mut deleted = 0;
        let mut open = 0;
        let before = now.checked_sub(GRACE).unwrap_or(Timestamp::MIN);
        for (id, key) in &heads {
            // It may be gone since.
            let Some(head) = self.head(key).await? else {
                continue;
            };
            if head.expires < before {
                deleted += self.remove(*id, key).await?;
            } else if now < head.expires && self.index.state().record_of(*id).is_none() {
                open += 1;
            }
        }
        self.figures.drafts_open.set(open);
        deleted += self.strays(&heads, before).await?;
        self.figures.collected.inc_by(deleted);
        Ok(deleted)
    }

    async fn head(&self, key: &Key) -> Result<Option<Head>, DraftError> {
        match objects::read_head_at(&self.store, key).await {
            // What cannot be read was not written by us; it protects its content until somebody looks.
            Err(DraftError::Damaged { key, source }) => {
                tracing::error!(%key, error = %chain(&source), "this is not the head of a draft");
                Ok(None)
            }
            read => read,
        }
    }

    /// The head goes last: until then another round finds what this one did not get to.
    async fn remove(&self, id: ReleaseId, head: &Key) -> Result<u64, DraftError> {
        // So that it is known whether the draft was published.
        self.index.catch_up().await?;
        let named: HashSet<ContentKey> = match self.index.state().record_of(id) {
            Some(n) => {
                let record = self.index.log().read(n).await?;
                let files = &record.deployed().files;
                files.iter().map(|file| file.content).collect()
            }
            None => HashSet::new(),
        };
        let mut unnamed = Vec::new();
        let directory = format!("{CONTENT}{id}/");
        objects::each(&self.store, &directory, None, |_, meta| {
            let content = meta.key.as_str().strip_prefix(CONTENT);
            let content = content.and_then(|content| content.parse().ok()); // what is no content is let be
            if content.is_some_and(|content: ContentKey| !named.contains(&content)) {
                unnamed.push(meta.key.clone());
            }
        })
        .await?;
        let mut deleted = objects::delete(&self.store, unnamed).await?;
        deleted += objects::remove(&self.store, &format!("{DRAFTS}{id}/")).await?;
        self.store.delete(head).await?;
        Ok(deleted + 1)
    }

    /// Parts that arrived when their draft was already gone.
    async fn strays(
        &self,
        heads: &[(ReleaseId, Key)],
        before: Timestamp,
    ) -> Result<u64, DraftError> {
        let known: HashSet<ReleaseId> = heads.iter().map(|(id, _)| *id).collect();
        let mut deleted = 0;
        let mut after: Option<String> = None;
        loop {
            let listed = self.store.list(DRAFTS, after.as_deref(), 1).await?;
            let first = listed.first().map(|meta| meta.key.as_str());
            // The heads follow all ids.
            let Some(rest) = first.filter(|key| !key.starts_with(HEADS)) else {
                return Ok(deleted);
            };
            let rest = rest.strip_prefix(DRAFTS).unwrap_or_default();
            let name = rest.split('/').next().unwrap_or_default();
            after = Some(format!("{DRAFTS}{name}/~"));
            let Ok(id) = name.parse::<ReleaseId>() else {
                continue;
            };
            let began = i64::try_from(id.began_ms()).unwrap_or(i64::MAX);
            if began < before.as_millisecond() && !known.contains(&id) {
                deleted += objects::remove(&self.store, &format!("{DRAFTS}{id}/")).await?;
            }
        }
    }
}
