//! What is declared in a draft, and what of it is still to be sent.

use std::collections::HashMap;

use super::objects::{self, Head, Parts, Sender};
use super::read::Opened;
use super::{Batch, DraftError, Drafts, Upload};
use crate::config;
use crate::release::path::ReleasePath;
use crate::release::record::ReleaseId;
use crate::store::Created;

/// Declarations of other jobs that one may lose against.
const RACES: u32 = 100;

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

impl Drafts {
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
}

/// The parts of an upload that did not arrive whole.
pub(super) fn missing(upload: &Upload, arrived: &Parts, part_bytes: u64) -> Vec<u64> {
    let numbers = 1..=upload.parts(part_bytes);
    let is_missing = |n: &u64| arrived.get(n).copied() != upload.part_size(*n, part_bytes);
    numbers.filter(is_missing).collect()
}
