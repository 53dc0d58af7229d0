//! The builder keys of an app: which there are, and commands that add and revoke them.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::caller::Caller;
use super::error::{ApiError, ErrorBody};
use super::releases::{Commanded, execute};
use crate::clock;
use crate::config::{BuilderKey, BuilderKeyHash, Scope};
use crate::release::{self, Command};

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(revoke))
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"keys": [{"fingerprint": "0123abcd", "name": "ci", "scopes": ["publish"],
    "paths": ["releases/win32-x64/"], "expires": "2027-01-01T00:00:00.000Z", "source": "log", "state": "active"}]}))]
struct KeyList {
    keys: Vec<ListedKey>,
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"fingerprint": "0123abcd", "name": "ci", "scopes": ["publish"], "paths": ["releases/win32-x64/"],
    "expires": "2027-01-01T00:00:00.000Z", "source": "log", "state": "active"}))]
struct ListedKey {
    /// First eight hexadecimal digits of its hash: its name in logs, the history and the audit.
    fingerprint: String,
    name: String,
    /// All, when empty.
    scopes: Vec<&'static str>,
    /// Everywhere, when empty.
    paths: Vec<String>,
    /// RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    /// `configuration` or `log`.
    source: &'static str,
    /// `active`, `expired` or `revoked`.
    state: &'static str,
}

/// A key to be known from now on; without scopes and paths it may do everything.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"hash": "7e25f52b00e4e3cc74958b67a4685c37791d4fe49526548361294707366984ab", "name": "ci",
    "scopes": ["publish"], "paths": ["releases/win32-x64/"], "expires": "2027-01-01T00:00:00Z"}))]
struct KeyRequest {
    /// SHA-256 of the key, hexadecimal; the key itself stays with its holder.
    #[schema(value_type = String)]
    hash: BuilderKeyHash,
    #[serde(default)]
    name: String,
    /// `publish`, `read`, `control`.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    scopes: Vec<Scope>,
    /// Files, and directories with a `/` at the end.
    #[serde(default)]
    paths: Vec<String>,
    /// RFC 3339.
    #[schema(value_type = Option<String>)]
    expires: Option<Timestamp>,
}

/// The builder keys of an app
///
/// Never the keys themselves: nobody but their holders has them.
#[utoipa::path(get, path = "/api/keys", tag = "keys", operation_id = "keys",
    security(("builderKey" = []), ("bearer" = [])), responses(
    (status = 200, body = KeyList), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 429, body = ErrorBody)))]
async fn list(State(api): State<Arc<Api>>, caller: Caller) -> Result<Json<KeyList>, ApiError> {
    caller.may(Scope::Read)?;
    let tree = api.releases.state().tree(&caller.app.prefix);
    let configured = caller.app.builder_keys.iter().map(|key| {
        let revoked = tree.keys().is_revoked(&key.hash);
        listed(key, "configuration", revoked)
    });
    let added = tree.keys().added().iter();
    let keys = configured.chain(added.map(|key| listed(key, "log", false)));
    Ok(Json(KeyList {
        keys: keys.collect(),
    }))
}

fn listed(key: &BuilderKey, source: &'static str, revoked: bool) -> ListedKey {
    let expired = key.has_expired(clock::now());
    ListedKey {
        fingerprint: key.hash.fingerprint(),
        name: key.name.clone(),
        scopes: key.scopes.iter().map(|scope| scope.as_str()).collect(),
        paths: key.paths.clone(),
        expires: key.expires.map(clock::rfc3339),
        source,
        state: match (revoked, expired) {
            (true, _) => "revoked",
            (false, true) => "expired",
            (false, false) => "active",
        },
    }
}

/// Let a key in
///
/// Its holder makes it (`seance key add`) and sends only its hash. It is in force on this node at once, on others when
/// they next look at the release log.
#[utoipa::path(post, path = "/api/keys", tag = "keys", operation_id = "addKey",
    security(("builderKey" = []), ("bearer" = [])), request_body = KeyRequest, responses(
    (status = 200, body = Commanded), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody, description = "The caller's own key is restricted"),
    (status = 409, body = ErrorBody, description = "It is known, has expired, or was revoked"),
    (status = 415, body = ErrorBody), (status = 429, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn add(
    State(api): State<Arc<Api>>,
    caller: Caller,
    body: Result<Json<KeyRequest>, JsonRejection>,
) -> Result<Json<Commanded>, ApiError> {
    unrestricted(&caller)?;
    let Json(request) = body?;
    let key = BuilderKey {
        hash: request.hash,
        name: request.name,
        scopes: request.scopes,
        paths: request.paths,
        expires: request.expires,
    };
    key.check()?;
    let fingerprint = key.hash.fingerprint();
    let mut configured = caller.app.builder_keys.iter();
    if configured.any(|known| known.hash.fingerprint() == fingerprint) {
        return Err(release::ControlError::KnownKey.into());
    }
    let resource = format!("{}/keys/{fingerprint}", caller.app.prefix);
    execute(&api, &caller, "add key", resource, Command::AddKey(key)).await
}

/// Let a key in no more
///
/// For ever, and also when a configuration has it. No key revokes itself, so that nobody is locked out by a slip.
#[utoipa::path(delete, path = "/api/keys/{fingerprint}", tag = "keys", operation_id = "revokeKey",
    params(("fingerprint" = String, Path, description = "Eight hexadecimal digits")),
    security(("builderKey" = []), ("bearer" = [])), responses(
    (status = 200, body = Commanded), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "It is the caller's own, or revoked"),
    (status = 429, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn revoke(
    State(api): State<Arc<Api>>,
    caller: Caller,
    path: Result<Path<KeyPath>, PathRejection>,
) -> Result<Json<Commanded>, ApiError> {
    unrestricted(&caller)?;
    let Path(KeyPath { fingerprint }) = path.map_err(|_| ApiError::NotFound)?;
    let tree = api.releases.state().tree(&caller.app.prefix);
    let known = caller.app.builder_keys.iter().chain(tree.keys().added());
    let hash = known
        .map(|key| &key.hash)
        .find(|hash| hash.fingerprint() == fingerprint)
        .ok_or(ApiError::NotFound)?;
    if *hash == caller.key.hash {
        return Err(ApiError::OwnKey);
    }
    let order = Command::RevokeKey(hash.clone());
    let resource = format!("{}/keys/{fingerprint}", caller.app.prefix);
    execute(&api, &caller, "revoke key", resource, order).await
}

#[derive(Deserialize)]
struct KeyPath {
    fingerprint: String,
}

/// A key that could make a stronger one would be as strong.
fn unrestricted(caller: &Caller) -> Result<(), ApiError> {
    if caller.key.is_unrestricted() {
        Ok(())
    } else {
        Err(ApiError::RestrictedKey)
    }
}
