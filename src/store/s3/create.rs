//! Writing an object only where there is none.

use std::time::Duration;

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use bytes::Bytes;

use super::{
    S3, client,
    failure::{Deed, has_code, is_precondition_failed},
};
use crate::{
    store::{Attributes, Created, Key, StoreError, Visibility},
    tasks,
};

/// Where probes of what the provider can do are written.
const PROBES: &str = ".seance/probe";

impl S3 {
    /// Whether the provider honours `If-None-Match: *` on a PUT; tried out once.
    pub(in crate::store) async fn create_only(&self) -> Result<bool, StoreError> {
        self.shared
            .create_only
            .get_or_try_init(|| self.try_create_only())
            .await
            .copied()
    }

    pub(in crate::store) async fn create(
        &self,
        key: &Key,
        content: Bytes,
        attributes: &Attributes,
    ) -> Result<Created, StoreError> {
        if self.create_only().await? {
            return self.create_atomically(key, content, attributes).await;
        }
        // One writer is all that such a provider allows; within this process
        // creations queue up so that at least they are ordered.
        let _turn = self.shared.creating.lock().await;
        if self.head(key).await?.is_some() {
            return Ok(Created::AlreadyExists);
        }
        self.put(key, content, attributes).await?;
        Ok(Created::Yes)
    }

    /// Retries by itself: after a try whose answer was lost, "exists already"
    /// may speak of our own object, and only its content tells.
    async fn create_atomically(
        &self,
        key: &Key,
        content: Bytes,
        attributes: &Attributes,
    ) -> Result<Created, StoreError> {
        let deed = Deed {
            action: "create",
            subject: key.as_str(),
        };
        let mut uncertain = false;
        let mut tried = 0;
        loop {
            tried += 1;
            let request = self
                .put_request(key, content.clone(), attributes)
                .await?
                .if_none_match("*");
            let sent = request
                .customize()
                .disable_payload_signing()
                .config_override(client::once())
                .send()
                .await;
            let Err(error) = sent else {
                return Ok(Created::Yes);
            };
            if is_precondition_failed(&error) {
                let ours = uncertain && self.holds(key, &content).await?;
                return Ok(if ours {
                    Created::Yes
                } else {
                    Created::AlreadyExists
                });
            }
            if tried >= self.shared.attempts || !is_worth_a_retry(&error) {
                return Err(deed.failed(error));
            }
            uncertain = true;
            tasks::pause(back_off(tried)).await;
        }
    }

    /// Whether the object under `key` is `content`.
    async fn holds(&self, key: &Key, content: &Bytes) -> Result<bool, StoreError> {
        match self.get(key, None).await?.read(content.len()).await {
            Ok(found) => Ok(found == content),
            Err(StoreError::TooLarge { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Creates a probe twice. A provider that lacks create-only writes refuses
    /// the header, or ignores it and overwrites.
    async fn try_create_only(&self) -> Result<bool, StoreError> {
        let name = format!("{PROBES}/{}", uuid::Uuid::now_v7());
        let key = Key::parse(&name).map_err(|_| StoreError::Unsupported {
            what: "probe the provider",
        })?;
        let attributes = Attributes {
            content_type: "application/octet-stream".into(),
            cache_control: None,
            visibility: Visibility::Private,
            sha256: None,
        };
        let mut outcome = self
            .create_atomically(&key, Bytes::from_static(b"1"), &attributes)
            .await;
        if matches!(outcome, Ok(Created::Yes)) {
            outcome = self
                .create_atomically(&key, Bytes::from_static(b"2"), &attributes)
                .await;
        }
        self.delete(&key).await?;
        match outcome {
            Ok(created) => Ok(created == Created::AlreadyExists),
            Err(StoreError::Refused {
                status: 400 | 405 | 501,
                ..
            }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Whether a conditional write that failed may fare better again: nothing was
/// heard, the provider stumbled, or it saw two writers at once (409).
fn is_worth_a_retry<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    match error
        .raw_response()
        .map(|response| response.status().as_u16())
    {
        None | Some(429) => true,
        Some(501) => false,
        Some(409) => has_code(error, &["ConditionalRequestConflict", "OperationAborted"]),
        Some(400) => has_code(error, &client::THROTTLED_CODES),
        Some(status) => status >= 500,
    }
}

/// Doubles from 200 ms, of which a random half to all is waited for.
fn back_off(tried: u32) -> Duration {
    let longest = 200u64.saturating_mul(1 << tried.saturating_sub(1).min(5));
    // The low bits of a UUIDv7 are random.
    let random = uuid::Uuid::now_v7().as_u64_pair().1;
    Duration::from_millis(longest / 2 + random % (longest / 2))
}
