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

/// The condition that no object is there (RFC 9110 §13.1.2).
const ABSENT: &str = "*";

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
            return self.write(key, content, attributes, Some(ABSENT)).await;
        }
        // One writer is all that such a provider allows; within this process
        // creations queue up so that at least they are ordered.
        let _turn = self.shared.creating.lock().await;
        if self.head(key).await?.is_some() {
            return Ok(Created::AlreadyExists);
        }
        self.write(key, content, attributes, None).await
    }

    /// Retries by itself: after a try whose answer was lost, "exists already"
    /// may speak of our own object, and only its content tells; and no refusal
    /// of a later try says that the object is not there.
    async fn write(
        &self,
        key: &Key,
        content: Bytes,
        attributes: &Attributes,
        if_none_match: Option<&str>,
    ) -> Result<Created, StoreError> {
        let deed = Deed {
            action: "create",
            subject: key.as_str(),
        };
        let size = content.len();
        let mut uncertain = false;
        let mut tried = 0;
        loop {
            tried += 1;
            let request = self
                .put_request(key, content.clone(), attributes)
                .await?
                .set_if_none_match(if_none_match.map(str::to_owned));
            let sent = request
                .customize()
                .disable_payload_signing()
                .config_override(client::once(self.shared.timeout, size))
                .send()
                .await;
            let Err(error) = sent else {
                return Ok(Created::Yes);
            };
            if is_precondition_failed(&error) {
                let ours = uncertain
                    && self
                        .holds(key, &content)
                        .await
                        .map_err(|failure| deed.unanswered(failure))?;
                return Ok(if ours {
                    Created::Yes
                } else {
                    Created::AlreadyExists
                });
            }
            if tried >= self.shared.attempts || !is_worth_a_retry(&error) {
                let failure = deed.failed(error);
                return Err(match uncertain && !failure.is_unavailable() {
                    true => deed.unanswered(failure),
                    false => failure,
                });
            }
            uncertain |= leaves_open(&error);
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
        let create = |content| self.write(&key, content, &attributes, Some(ABSENT));
        let mut outcome = create(Bytes::from_static(b"1")).await;
        if matches!(outcome, Ok(Created::Yes)) {
            outcome = create(Bytes::from_static(b"2")).await;
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

/// Whether the provider may have done what it did not confirm, or do it yet.
fn leaves_open<E>(error: &SdkError<E, HttpResponse>) -> bool {
    let status = error
        .raw_response()
        .map(|response| response.status().as_u16());
    !matches!(status, Some(400..500 | 507))
}

/// Doubles from 200 ms, of which a random half to all is waited for.
fn back_off(tried: u32) -> Duration {
    let longest = 200u64.saturating_mul(1 << tried.saturating_sub(1).min(5));
    // The low bits of a UUIDv7 are random.
    let random = uuid::Uuid::now_v7().as_u64_pair().1;
    Duration::from_millis(longest / 2 + random % (longest / 2))
}
