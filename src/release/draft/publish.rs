//! A draft becomes true: its files are gathered from what was declared, and go the way of every deploy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use minisign_verify::PublicKey;
use tokio_util::sync::CancellationToken;

use super::error::Lost;
use super::objects;
use super::read::Opened;
use super::{DraftError, Drafts, Terms, Upload};
use crate::cause::chain;
use crate::config::{self, Lint};
use crate::release::intake::{ALL_INLINE_BYTES, INLINE_BYTES};
use crate::release::path::ReleasePath;
use crate::release::publish::{Candidate, Order, Origin, PublishError, Published};
use crate::release::record::{ReleaseId, Warning};
use crate::release::staging::StagedFile;

impl Drafts {
    /// Makes the draft true, or gives the record that it is true by. `order` says who wants it, and how.
    pub async fn publish(
        &self,
        app: &config::App,
        id: ReleaseId,
        order: Order,
    ) -> Result<Published, DraftError> {
        self.shared.room.index.catch_up().await?;
        if let Some(published) = self.published(app, id).await? {
            return Ok(published);
        }
        let opened = self.read(app, id).await?;
        let drafts = self.clone();
        let key = app.tauri_public_key.clone();
        // A task of its own: a sender that goes away now must not leave it open whether a record was written.
        let work = async move { drafts.make_true(&opened, order, key.as_ref()).await };
        let room = &self.shared.room;
        let work = {
            let _entered = room.background.enter();
            room.tasks.short("draft-publish", work)
        };
        work.await.map_err(Lost::Task)?.ok_or(Lost::Panicked)?
    }

    async fn published(
        &self,
        app: &config::App,
        id: ReleaseId,
    ) -> Result<Option<Published>, DraftError> {
        let Some(n) = self.record_of(id) else {
            return Ok(None);
        };
        let record = Arc::new(self.shared.room.index.log().read(n).await?);
        if record.prefix != app.prefix {
            return Err(DraftError::Unknown);
        }
        if !record.draft {
            return Ok(None); // a deploy's, or that of a draft from before records had this mark
        }
        Ok(Some(Published {
            record,
            replayed: true,
        }))
    }

    async fn make_true(
        &self,
        opened: &Opened,
        order: Order,
        key: Option<&PublicKey>,
    ) -> Result<Published, DraftError> {
        let (files, faults) = self.gather(opened).await?;
        let tree = self.shared.room.index.state().tree(&opened.head.prefix);
        let doubts = match key {
            Some(key) => self.doubts(&files, &tree, key).await?,
            None => Vec::new(),
        };
        let terms = Terms {
            expires: opened.head.expires,
            faults,
            doubts,
        };
        let room = &self.shared.room;
        let candidate = Candidate {
            id: opened.head.id,
            node: &room.node,
            lint: match order.force {
                true => Lint::Warn,
                false => Lint::Enforce,
            },
            order: &order,
            stored: true,
            files,
            origin: Origin::Draft(terms),
            cut: CancellationToken::new(),
        };
        let published = candidate.publish(&room.index).await;
        room.figures.deploy(
            &order.app,
            match &published {
                Ok(published) if published.replayed => "replayed",
                Ok(_) => "published",
                Err(PublishError::Staging(_) | PublishError::Log(_)) => "failed",
                Err(_) => "refused",
            },
        );
        let published = published.map_err(|error| match error {
            PublishError::Expired => DraftError::Unknown,
            error => error.into(),
        })?;
        if !published.replayed {
            room.figures.drafts_open.dec();
            self.clear_parts(opened.head.id).await;
        }
        Ok(published)
    }

    /// Parts of what was declared and then replaced. Those that cannot be deleted now go with the draft.
    async fn clear_parts(&self, id: ReleaseId) {
        let parts = format!("{}{id}/parts/", objects::DRAFTS);
        if let Err(error) = objects::remove(self.store(), &parts).await {
            tracing::warn!(draft = %id, error = %chain(&error), "cannot delete the parts of a published draft");
        }
    }

    /// The files of the draft, all of whose contents have to be there, and what is wrong with others.
    async fn gather(&self, opened: &Opened) -> Result<(Vec<StagedFile>, Vec<Warning>), DraftError> {
        let declared = opened.declared.files();
        let wanted: Vec<(&ReleasePath, &BTreeMap<String, Upload>)> = declared.collect();
        if wanted.is_empty() {
            return Err(DraftError::Empty);
        }
        let contents = wanted.iter().flat_map(|(_, jobs)| jobs.values().copied());
        let stock = self.stock(opened, contents.collect()).await?;
        let lacks =
            |jobs: &BTreeMap<String, Upload>| jobs.values().any(|content| !stock.has(content));
        let missing = wanted.iter().filter(|(_, jobs)| lacks(jobs));
        let missing: Vec<ReleasePath> = missing.map(|(path, _)| (*path).clone()).collect();
        if !missing.is_empty() {
            return Err(DraftError::MissingFiles(missing));
        }
        let mut files = Vec::with_capacity(wanted.len());
        let mut faults = Vec::new();
        let mut inlined = 0;
        for (path, jobs) in wanted {
            let contents: BTreeSet<&Upload> = jobs.values().collect();
            let mut file = match (contents.first(), contents.len()) {
                (Some(content), 1) => stock.file(opened, path, content)?,
                _ => match self.merged(opened, &stock, path, jobs).await? {
                    Ok(file) => file,
                    Err(fault) => {
                        faults.push(fault);
                        continue;
                    }
                },
            };
            if file.inline.is_none() && path.is_inlined() && file.size <= INLINE_BYTES as u64 {
                let bytes = self.store().read(&file.content.key(), INLINE_BYTES).await?;
                file.inline = Some(bytes).filter(|bytes| std::str::from_utf8(bytes).is_ok());
            }
            inlined += file.inline.as_ref().map_or(0, Bytes::len);
            if inlined > ALL_INLINE_BYTES {
                file.inline = None;
            }
            files.push(file);
        }
        Ok((files, faults))
    }
}
