//! Drafts as they are in the store, read again only as far as they can have changed.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::declared::Declared;
use super::objects::{self, Head};
use super::{DraftError, Drafts, Upload};
use crate::config;
use crate::release::path::ReleasePath;
use crate::release::record::ReleaseId;

/// Drafts whose declarations are kept in memory.
const CACHED: usize = 64;

/// A draft as it was when it was last read; its declarations can only have become more.
pub(super) struct Opened {
    pub head: Head,
    pub declared: Declared,
}

impl Drafts {
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

    /// A draft as it is now.
    pub(super) async fn read(
        &self,
        app: &config::App,
        id: ReleaseId,
    ) -> Result<Arc<Opened>, DraftError> {
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
    pub(super) async fn with_upload(
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

    pub(super) fn cache(&self) -> MutexGuard<'_, HashMap<ReleaseId, Arc<Opened>>> {
        let cache = self.shared.cache.lock();
        cache.unwrap_or_else(PoisonError::into_inner)
    }
}
