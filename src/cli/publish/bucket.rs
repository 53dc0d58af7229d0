//! The way of parts past the daemon, to the bucket itself, where the daemon offers it.

use std::sync::atomic::{AtomicU32, Ordering};

use super::draft::{Draft, Lacking};
use super::error::PublishError;
use crate::cause::chain;
use crate::cli::client::{ClientError, Meter};

/// Failures in a row after which the rest of the files goes through the daemon.
const FAILURES_MOST: u32 = 3;

pub struct Bucket {
    failures: AtomicU32,
}

impl Bucket {
    pub fn new(offered: bool) -> Bucket {
        let failures = if offered { 0 } else { FAILURES_MOST };
        Bucket {
            failures: AtomicU32::new(failures),
        }
    }

    /// Sends part `n`, the bytes of `range`, if there is a way; whatever else happens to it, the daemon takes it.
    pub async fn takes(
        &self,
        draft: &Draft<'_>,
        lacking: &Lacking<'_>,
        n: u64,
        range: (u64, u64),
    ) -> Result<bool, PublishError> {
        if self.failures.load(Ordering::Relaxed) >= FAILURES_MOST {
            return Ok(false);
        }
        let meter = Meter::new(draft.progress.counter());
        let content = &lacking.item.content;
        let sent = async {
            let md5 = content.md5(range).await?;
            let signed = draft.pass(&lacking.upload, n, md5).await?;
            let client = draft.client;
            client.put_signed(&signed, content, range, &meter).await
        };
        let error = match sent.await {
            Ok(()) => {
                self.failures.store(0, Ordering::Relaxed);
                return Ok(true);
            }
            Err(error @ ClientError::Read { .. }) => return Err(error.into()),
            Err(error) => error,
        };
        meter.take_back();
        self.failures.fetch_add(1, Ordering::Relaxed);
        let path = &lacking.item.path;
        let error = chain(&error);
        draft.progress.say(&format!(
            "part {n} of {path} goes through the daemon, the bucket did not take it: {error}"
        ));
        Ok(false)
    }
}
