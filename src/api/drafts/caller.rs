//! Who asks for something about drafts, what they say, and the record of what they did.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use super::super::error::ApiError;
use super::super::{Api, auth};
use crate::audit::{self, Deed, Outcome};
use crate::cause::chain;
use crate::config::{self, BuilderKeyHash, REQUEST_ID};
use crate::release::Actor;

/// Who asks, and for which app.
pub struct Caller {
    pub app: Arc<config::App>,
    key: BuilderKeyHash,
    peer: SocketAddr,
    request: Option<String>,
}

impl Caller {
    pub fn actor(&self) -> Actor {
        Actor {
            key: self.key.fingerprint(),
            address: self.peer.ip().to_string(),
        }
    }

    pub fn deed(&self, action: &'static str, resource: String) -> Deed {
        Deed {
            app: self.app.name.to_string(),
            actor: audit::Actor {
                key: Some(self.key.fingerprint()),
                address: Some(self.peer.ip()),
            },
            action,
            resource,
            request: self.request.clone(),
        }
    }
}

pub fn caller(
    api: &Api,
    app: Arc<config::App>,
    peer: SocketAddr,
    headers: &HeaderMap,
) -> Result<Caller, ApiError> {
    let failures = auth::Budget {
        guard: &api.guard,
        address: peer.ip(),
        most: api.deploy.failed_keys_per_minute,
    };
    let key = auth::authenticate(headers, &app.builder_keys, failures)?.clone();
    let request = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    Ok(Caller {
        request: request.map(str::to_owned),
        app,
        key,
        peer,
    })
}

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
