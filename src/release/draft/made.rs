//! Content that publishing makes: manifests that were merged.

use std::collections::{BTreeMap, HashMap};

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use bytes::Bytes;

use super::error::Lost;
use super::merge::{ByJob, MergeError, merge};
use super::objects::content;
use super::read::Opened;
use super::stock::Stock;
use super::{DraftError, Drafts, Refusal, Upload};
use crate::release::intake::INLINE_BYTES;
use crate::release::log::private;
use crate::release::path::ReleasePath;
use crate::release::record::{ContentKey, ReleaseId, Warning};
use crate::release::staging::StagedFile;
use crate::store::{Created, StoreError};
use crate::tasks;

/// The first number of such content; those of uploads are far below.
const FIRST: u32 = 1 << 31;
/// Numbers tried for one content.
const TRIES: u32 = 16;

impl Drafts {
    /// The one manifest that stands for those of several jobs; a fault when they cannot be merged.
    pub(super) async fn merged(
        &self,
        opened: &Opened,
        stock: &Stock,
        path: &ReleasePath,
        jobs: &BTreeMap<String, Upload>,
    ) -> Result<Result<StagedFile, Warning>, DraftError> {
        let fault = |message: String| Warning {
            path: path.clone(),
            message,
        };
        let mut texts: HashMap<&Upload, Bytes> = HashMap::new();
        for upload in jobs.values() {
            if upload.size > INLINE_BYTES as u64 {
                let message = format!("has more than {INLINE_BYTES} bytes, so it cannot be merged");
                return Ok(Err(fault(message)));
            }
            let file = stock.file(opened, path, upload)?;
            let bytes = self.store().read(&file.content.key(), INLINE_BYTES).await?;
            texts.insert(upload, bytes);
        }
        let texts = jobs
            .iter()
            .filter_map(|(job, upload)| Some((job.clone(), texts.get(upload)?.clone())));
        let texts: Vec<(String, Bytes)> = texts.collect();
        let named = path.clone();
        let work = tasks::blocking("draft-merge", move || {
            let manifests: ByJob<'_> = texts.iter().map(|(job, text)| (&**job, &**text)).collect();
            merge(&named, &manifests)
        });
        match work.await.map_err(Lost::Task)? {
            Ok(bytes) => Ok(Ok(self.make(opened.head.id, path, bytes.into()).await?)),
            Err(MergeError::Foreign { first, second }) => Err(Refusal::Differs {
                path: path.clone(),
                first,
                second,
            }
            .into()),
            Err(error) => Ok(Err(fault(error.to_string()))),
        }
    }

    /// Puts made content under a number of its own. The number comes from the content, and another content is never
    /// written over it: whoever publishes the draft at the same time may have made a different one.
    async fn make(
        &self,
        id: ReleaseId,
        path: &ReleasePath,
        bytes: Bytes,
    ) -> Result<StagedFile, DraftError> {
        let mut staged = StagedFile {
            path: path.clone(),
            content: ContentKey { id, index: 0 },
            size: bytes.len() as u64,
            sha256: [0; 32],
            sha512: [0; 64],
            inline: Some(bytes.clone()).filter(|_| path.is_inlined()),
        };
        let sha256 = digest(&SHA256, &bytes);
        staged.sha256.copy_from_slice(sha256.as_ref());
        let sha512 = digest(&SHA512, &bytes);
        staged.sha512.copy_from_slice(sha512.as_ref());
        let start = staged.sha256.first_chunk::<4>();
        let start = start.map_or(0, |start| u32::from_be_bytes(*start));
        let attributes = private("application/octet-stream");
        for step in 0..TRIES {
            staged.content = content(id, FIRST | start.wrapping_add(step));
            let key = staged.content.key();
            match self
                .store()
                .create(&key, bytes.clone(), &attributes)
                .await?
            {
                Created::Yes => return Ok(staged),
                Created::AlreadyExists => {}
            }
            match self.store().read(&key, bytes.len()).await {
                Ok(there) if there == bytes => return Ok(staged),
                Ok(_) | Err(StoreError::TooLarge { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(DraftError::Contended)
    }
}
