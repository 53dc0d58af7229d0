//! Old versions taken away.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::caller::Caller;
use super::error::{ApiError, ErrorBody, control_status, outcome};
use crate::audit::Outcome;
use crate::cause::chain;
use crate::config::{Retention, Scope};
use crate::release::{Commander, Gone, Pruned};
use crate::systemd::message;

/// Paths in one answer.
const LISTED_MOST: usize = 1000;

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(prune))
}

/// What is left out is as in the configuration of the app.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schema(example = json!({"dryRun": true, "keepVersions": 10, "keepDays": 180}))]
struct PruneRequest {
    /// Only tell what would go.
    dry_run: bool,
    /// The newest versions of each platform and channel that stay; 0: no such rule.
    keep_versions: Option<u32>,
    /// Days for which a version stays; 0: no such rule.
    keep_days: Option<u32>,
    /// Days for which the block map of a version stays that goes.
    keep_blockmaps_days: Option<u32>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"dryRun": false, "record": 44, "files": 3, "bytes": 314572800, "versions": [{"platform": "releases/darwin-arm64",
    "channel": "latest", "version": "1.0.0", "files": 3, "bytes": 314572800}], "removed": ["releases/darwin-arm64/Notes-1.0.0-arm64.dmg"],
    "noWayBackTo": [1, 2], "lookedBackTo": 1, "freedAfterSeconds": 86400}))]
struct PruneAnswer {
    dry_run: bool,
    /// The record that took them away; absent when nothing was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<u64>,
    files: usize,
    /// Of the files together; content that other files share is not freed.
    bytes: u64,
    versions: Vec<PrunedVersion>,
    /// Paths, at most 1000 of them.
    removed: Vec<String>,
    /// Records that cannot be gone back to any more, since their manifests name a file that is gone.
    no_way_back_to: Vec<u64>,
    /// Older records were not looked at.
    looked_back_to: u64,
    /// When the content is deleted from the store.
    freed_after_seconds: u64,
}

#[derive(Serialize, ToSchema)]
struct PrunedVersion {
    /// The directory.
    platform: String,
    channel: String,
    version: String,
    files: usize,
    bytes: u64,
}

impl From<Gone> for PrunedVersion {
    fn from(gone: Gone) -> PrunedVersion {
        PrunedVersion {
            platform: gone.place,
            channel: gone.channel,
            version: gone.version.to_string(),
            files: gone.files,
            bytes: gone.bytes,
        }
    }
}

/// Take old versions away
///
/// By the app's `retention`, or by other rules. One record; a version that any manifest names stays, also behind a rollout, a
/// halt or a pin. The answer names the records that cannot be gone back to afterwards.
#[utoipa::path(post, path = "/api/releases/prune", tag = "releases", operation_id = "prune",
    security(("builderKey" = []), ("bearer" = [])), request_body = PruneRequest, responses(
    (status = 200, body = PruneAnswer),
    (status = 400, body = ErrorBody, description = "Not such a body; neither the configuration nor the request has a rule"),
    (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn prune(
    State(api): State<Arc<Api>>,
    caller: Caller,
    body: Result<Json<PruneRequest>, JsonRejection>,
) -> Result<Json<PruneAnswer>, ApiError> {
    let Json(request) = body?;
    caller.may(if request.dry_run {
        Scope::Read
    } else {
        Scope::Control
    })?;
    let own = &caller.app.retention;
    let rules = Retention {
        keep_versions: request.keep_versions.unwrap_or(own.keep_versions),
        keep_days: request.keep_days.unwrap_or(own.keep_days),
        keep_blockmaps_days: request
            .keep_blockmaps_days
            .unwrap_or(own.keep_blockmaps_days),
    };
    if !rules.is_set() {
        return Err(ApiError::Value {
            member: "keepVersions",
            rule: "given, or `keepDays`, as long as `apps.<name>.retention` has neither",
        });
    }
    let by = Commander {
        key: Some(caller.key.hash.clone()),
        app: caller.app.name.clone(),
        prefix: caller.app.prefix.clone(),
        actor: caller.actor(),
    };
    if request.dry_run {
        let planned = api.releases.prune(&rules, &by, true).await?;
        return Ok(Json(answer(&api, &planned, true)));
    }
    let deed = api
        .audit
        .begin(caller.deed("prune", caller.app.prefix.to_string()))
        .await?;
    let done = api.releases.prune(&rules, &by, false).await;
    let (outcome, details) = match &done {
        Ok(done) => (Outcome::Success, done.to_string()),
        Err(error) => (outcome(control_status(error)), chain(error).to_string()),
    };
    tracing::info!(message_id = message::RELEASE_CHANGED, app = %by.app, action = "prune", details, "a command over releases");
    if let Err(error) = deed.record(outcome, details).await {
        tracing::error!(error = %chain(&error), "a command could not be recorded in the audit, although room was reserved");
    }
    Ok(Json(answer(&api, &done?, false)))
}

fn answer(api: &Api, pruned: &Pruned, dry_run: bool) -> PruneAnswer {
    let paths = pruned.files.iter().take(LISTED_MOST);
    PruneAnswer {
        dry_run,
        record: pruned.record.as_ref().map(|record| record.n),
        files: pruned.files.len(),
        bytes: pruned.files.iter().map(|file| file.size).sum(),
        versions: pruned
            .versions()
            .into_iter()
            .map(PrunedVersion::from)
            .collect(),
        removed: paths.map(|file| file.path.to_string()).collect(),
        no_way_back_to: pruned.lost.records.clone(),
        looked_back_to: pruned.lost.back_to,
        freed_after_seconds: api.deploy.free_after_seconds,
    }
}
