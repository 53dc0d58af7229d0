//! What is asked about drafts, and the record of what was done.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use http::StatusCode;
use serde::de::DeserializeOwned;

use super::super::Api;
use super::super::error::ApiError;
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
    done.await.ok().flatten().ok_or(ApiError::Cut)?
}

pub fn outcome(status: StatusCode) -> Outcome {
    if status.is_server_error() {
        Outcome::Failure
    } else {
        Outcome::Denied
    }
}

/// A body of at most `limit` bytes in JSON; none at all says nothing.
pub async fn json<T: DeserializeOwned + Default>(
    api: &Api,
    body: Body,
    limit: usize,
) -> Result<T, ApiError> {
    let patience = Duration::from_secs(api.deploy.stall_timeout_seconds);
    let bytes = tokio::time::timeout(patience, to_bytes(body, limit)).await;
    // What is too long says so nowhere but in its text; a sender that went away does not read the answer.
    let bytes = bytes.map_err(|_| ApiError::Stalled)?;
    let bytes = bytes.map_err(|_| ApiError::TooLarge {
        limit_bytes: limit as u64,
    })?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    Ok(Json::from_bytes(&bytes)?.0)
}
