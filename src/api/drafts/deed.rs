//! What is asked about drafts, and the record of what was done.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;

use super::super::Api;
use super::super::error::{ApiError, outcome};
use crate::audit::{Deed, Outcome};
use crate::cause::chain;

/// Does a deed and records it, also when the caller goes away meanwhile. `work` gives details for the record, and its
/// result.
pub async fn audited<T: Send + 'static>(
    api: &Arc<Api>,
    deed: Deed,
    work: impl Future<Output = Result<(String, T), ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    let deed = api.audit.begin(deed).await?;
    let done = async move {
        let done = work.await;
        let (outcome, details) = match &done {
            Ok((details, _)) => (Outcome::Success, details.clone()),
            Err(error) => (outcome(error.status()), chain(error).to_string()),
        };
        if let Err(error) = deed.record(outcome, details).await {
            tracing::error!(
                error = %chain(&error),
                "a deed could not be recorded in the audit, although room was reserved"
            );
        }
        done.map(|(_, result)| result)
    };
    let done = {
        let _entered = api.background.enter();
        api.tasks.short("draft-deed", done)
    };
    done.await.ok().flatten().ok_or(ApiError::Cut)? // the log has the panic
}

/// A body of at most `limit` bytes in JSON; none at all says nothing.
pub async fn json<T: DeserializeOwned + Default>(
    api: &Api,
    body: Body,
    limit: usize,
) -> Result<T, ApiError> {
    parsed(&self::body(api, body, limit).await?)
}

/// A body of at most `limit` bytes, however long it takes, unless it stalls.
pub async fn body(api: &Api, mut body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let stall = Duration::from_secs(api.deploy.stall_timeout_seconds);
    let mut bytes = BytesMut::new();
    loop {
        let frame = tokio::time::timeout(stall, body.frame()).await;
        let Some(frame) = frame.map_err(|_| ApiError::Stalled)? else {
            return Ok(bytes.freeze());
        };
        let Ok(data) = frame.map_err(|_| ApiError::Incomplete)?.into_data() else {
            continue; // trailers
        };
        if bytes.len() + data.len() > limit {
            return Err(ApiError::TooLarge {
                limit_bytes: limit as u64,
            });
        }
        bytes.extend_from_slice(&data);
    }
}

/// What a body says in JSON; none at all says nothing.
pub fn parsed<T: DeserializeOwned + Default>(bytes: &[u8]) -> Result<T, ApiError> {
    if bytes.is_empty() {
        return Ok(T::default());
    }
    Ok(Json::from_bytes(bytes)?.0)
}
