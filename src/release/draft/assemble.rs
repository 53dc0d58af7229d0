//! The parts of an upload become its content.
//!
//! Content gets its name only when it is whole and has the declared hash. Nothing else is ever written under that
//! name, and it is not taken away while the draft lives, so it is harmless to do this twice, here or on another node.

use std::sync::{Arc, PoisonError};

use futures_util::StreamExt;

use super::error::Lost;
use super::objects::{self, Done, Parts, Sender, content, part_key};
use super::read::Opened;
use super::standing::missing;
use super::{DraftError, Drafts, Turn, Upload};
use crate::config;
use crate::release::body::hash::hasher;
use crate::release::log::private;
use crate::release::path::ReleasePath;
use crate::release::record::{ContentKey, ReleaseId};
use crate::release::staging;
use crate::store::{Key, StoreError};
use crate::tasks;

impl Drafts {
    /// Makes the content of an upload whole; returns a path that it was declared for. It goes on when the caller goes
    /// away: the next call finds it done.
    pub async fn complete(
        &self,
        app: &config::App,
        id: ReleaseId,
        upload: &Upload,
        sender: &Sender,
    ) -> Result<ReleasePath, DraftError> {
        let opened = self.read(app, id).await?;
        if let Some(n) = self.record_of(id) {
            return Err(DraftError::Published { n });
        }
        let number = opened.declared.number(upload);
        let number = number.ok_or(DraftError::UnknownUpload)?;
        let path = opened.declared.path_of(upload);
        let path = path.ok_or(DraftError::UnknownUpload)?.clone();
        let (drafts, upload, sender) = (self.clone(), *upload, sender.clone());
        let work = async move {
            let ended = drafts.assemble(&opened, &upload, &sender, number).await;
            drafts.shared.room.figures.draft_complete(match &ended {
                Ok(true) => "assembled",
                Ok(false) => "present",
                Err(DraftError::MissingParts(_)) => "incomplete",
                Err(DraftError::WrongContent) => "wrong",
                Err(_) => "failed",
            });
            ended.map(|_| path)
        };
        let room = &self.shared.room;
        let work = {
            let _entered = room.background.enter();
            room.tasks.short("draft-complete", work)
        };
        work.await.map_err(Lost::Task)?.ok_or(Lost::Panicked)?
    }

    /// Returns whether there was anything to do.
    async fn assemble(
        &self,
        opened: &Opened,
        upload: &Upload,
        sender: &Sender,
        number: u32,
    ) -> Result<bool, DraftError> {
        let id = opened.head.id;
        let turn = self.turn(id, *upload);
        let _turn = turn.lock().await;
        if self.is_published(opened, upload) || self.is_done(id, upload).await? {
            return Ok(false);
        }
        let permit = self.shared.assembling.acquire().await;
        let _permit = permit.map_err(Lost::Closed)?;
        let part_bytes = opened.head.part_bytes;
        let parts = objects::parts(self.store(), id, upload, sender).await?;
        let missing = missing(upload, &parts, part_bytes);
        if !missing.is_empty() {
            // While this waited for its turn another node may have used them, and cleared them.
            return match self.is_done(id, upload).await? {
                true => Ok(false),
                false => Err(DraftError::MissingParts(missing)),
            };
        }
        let (of, from) = (*upload, sender.clone());
        let part = move |n| part_key(id, &of, &from, n);
        let last = upload.parts(part_bytes);
        match self.join(upload, content(id, number), last, part).await {
            Ok(done) => {
                objects::write_done(self.store(), id, upload, &done).await?;
                self.clear(id, upload, sender, parts).await;
                Ok(true)
            }
            Err(DraftError::WrongContent) => {
                // Those of another node that is about to find them right would be missed, and sent again.
                self.clear(id, upload, sender, parts).await;
                Err(DraftError::WrongContent)
            }
            // Another node was first, and cleared them.
            Err(DraftError::Store(StoreError::NotFound { .. }))
                if self.is_done(id, upload).await? =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether content is published under the draft's prefix.
    fn is_published(&self, opened: &Opened, upload: &Upload) -> bool {
        let tree = self.shared.room.index.state().tree(&opened.head.prefix);
        let mut files = tree.files();
        files.any(|file| file.sha256 == upload.sha256 && file.size == upload.size)
    }

    async fn is_done(&self, id: ReleaseId, upload: &Upload) -> Result<bool, DraftError> {
        Ok(objects::done(self.store(), id, upload).await?.is_some())
    }

    fn turn(&self, id: ReleaseId, upload: Upload) -> Arc<Turn> {
        let turns = self.shared.assemblies.lock();
        let mut turns = turns.unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = turns.get(&(id, upload)).and_then(std::sync::Weak::upgrade);
        turn.unwrap_or_else(|| {
            let turn = Arc::default();
            turns.insert((id, upload), Arc::downgrade(&turn));
            turn
        })
    }

    /// Writes the content from its parts, unless they are wrong.
    async fn join(
        &self,
        upload: &Upload,
        content: ContentKey,
        parts: u64,
        part: impl Fn(u64) -> Key + Send + 'static,
    ) -> Result<Done, DraftError> {
        let (drafts, upload) = (self.clone(), *upload);
        let work = move || drafts.join_here(&upload, content, (1..=parts).map(part));
        let joined = tasks::blocking("draft-join", work).await;
        joined.map_err(Lost::Task)?
    }

    /// Runs on a thread that may block, as the hashing threads do too.
    fn join_here(
        &self,
        upload: &Upload,
        content: ContentKey,
        parts: impl Iterator<Item = Key>,
    ) -> Result<Done, DraftError> {
        let room = &self.shared.room;
        let (hasher, threads) = hasher();
        {
            let _entered = room.background.enter();
            for thread in threads {
                // Nobody waits for it: it ends when the hasher is dropped.
                drop(tasks::blocking("draft-hash", move || thread.run()));
            }
        }
        let attributes = private("application/octet-stream");
        let key = content.key();
        let writer = room.store.writer(&key, &attributes);
        let mut writer = room.background.block_on(writer)?;
        for part in parts {
            let part = room.background.block_on(room.store.get(&part, None))?;
            let mut chunks = part.into_stream();
            while let Some(chunk) = room.background.block_on(chunks.next()) {
                let chunk = chunk?;
                hasher.data(chunk.clone()).map_err(Lost::Hash)?;
                room.background.block_on(writer.write(chunk))?;
            }
        }
        hasher.end_of_file().map_err(Lost::Hash)?;
        let digests = hasher.digests().map_err(Lost::Hash)?;
        let digests = digests.first().ok_or(Lost::NoDigest)?;
        if digests.sha256 != upload.sha256 || digests.size != upload.size {
            return Err(DraftError::WrongContent);
        }
        room.background.block_on(writer.finish())?;
        Ok(Done {
            sha512: digests.sha512,
        })
    }

    /// What cannot be deleted now goes with the draft.
    async fn clear(&self, id: ReleaseId, upload: &Upload, sender: &Sender, parts: Parts) {
        let keys = parts.into_keys().map(|n| part_key(id, upload, sender, n));
        staging::discard(self.store(), keys).await;
    }
}
