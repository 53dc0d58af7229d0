//! A part that its client sends to the bucket itself.
//!
//! What arrives is a part like any other: the listing tells whether it has its size, and the whole is hashed when it is
//! put together. A URL that is used later than that leaves a part that nobody reads, and that goes with the draft.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::objects::{Sender, part_key};
use super::{DraftError, Drafts, Upload};
use crate::clock;
use crate::config;
use crate::release::record::ReleaseId;
use crate::store::{Expected, Presigned};

/// The right to send one part.
pub struct Pass {
    pub request: Presigned,
    pub expires: Timestamp,
}

impl Drafts {
    /// Whether [`Drafts::pass`] gives any.
    pub fn presigns(&self) -> bool {
        self.shared.limits.presigned_parts
    }

    /// A signed URL for part `n` of an upload. With an `md5` it is good for these bytes only, else for any of the part's
    /// size.
    pub async fn pass(
        &self,
        app: &config::App,
        id: ReleaseId,
        upload: &Upload,
        sender: &Sender,
        n: u64,
        md5: Option<[u8; 16]>,
    ) -> Result<Pass, DraftError> {
        if !self.presigns() {
            return Err(DraftError::NotPresigned);
        }
        let length = self.awaited(app, id, upload, n).await?;
        let seconds = self.shared.limits.presigned_seconds;
        // A signature has its time in whole seconds.
        let now = Timestamp::from_second(clock::now().as_second()).unwrap_or(Timestamp::MIN);
        let expected = Expected {
            content_type: "application/octet-stream",
            length,
            md5,
        };
        let (key, valid) = (
            part_key(id, upload, sender, n),
            Duration::from_secs(seconds),
        );
        let request = self.store().presign_put(&key, valid, expected).await?;
        let lives = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
        Ok(Pass {
            request,
            expires: now.checked_add(lives).unwrap_or(Timestamp::MAX),
        })
    }
}
