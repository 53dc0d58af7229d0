//! What was published, and commands over it: rollback, rollout, halt, pin.

#![expect(
    unused_qualifications,
    reason = "what utoipa makes of a route's parameters"
)]

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::caller::Caller;
use super::error::{ApiError, ErrorBody, control_status, outcome};
use super::history::{Listed, Shown, listed, shown};
use crate::audit::Outcome;
use crate::cause::chain;
use crate::clock;
use crate::config::{self, Scope};
use crate::release::{self, Command, Commander, Rollout, Selection, Step};
use crate::systemd::message;

/// Releases in one answer.
const LISTED_MOST: usize = 100;
const LISTED: usize = 20;

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(rollback))
        .routes(routes!(rollout))
        .routes(routes!(halt))
        .routes(routes!(pin))
        .routes(routes!(unpin))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Releases older than this record.
    before: Option<u64>,
    /// 1 to 100; 20 by default.
    limit: Option<usize>,
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"releases": [{"record": 42, "id": "0199d3a7-c1f0-7b6e-8a52-e4f06d1c9b7e", "kind": "deploy",
    "timestamp": "2026-11-21T01:40:03.000Z", "key": "0123abcd", "address": "203.0.113.9", "files": 3, "removed": 0,
    "bytes": 104857600, "versions": ["1.4.0"]}], "before": 42}))]
struct List {
    /// The newest first.
    releases: Vec<Listed>,
    /// The `before` of the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<u64>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"to": 41}))]
struct RollbackRequest {
    /// The record whose release is to be current again.
    to: u64,
}

/// Which manifests are meant; what is left out does not narrow them.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"channel": "latest", "platform": "mac"}))]
struct SelectionRequest {
    /// First part of a manifest's name: `latest`, `beta`; `any`, or left out, for all.
    channel: Option<String>,
    /// A directory of `releases/`, or what stands behind the channel: `darwin-arm64`, `mac`, `linux-arm64`.
    platform: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"percentage": 10, "steps": [{"at": "2026-11-22T08:00:00Z", "percentage": 50}]}))]
struct RolloutRequest {
    channel: Option<String>,
    platform: Option<String>,
    /// Share of the clients that get the new version now, 0 to 100.
    percentage: u8,
    /// Larger shares at later times, in order; at most 100.
    #[serde(default)]
    steps: Vec<StepRequest>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct StepRequest {
    /// RFC 3339.
    #[schema(value_type = String)]
    at: Timestamp,
    percentage: u8,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"to": 41, "channel": "latest"}))]
struct PinRequest {
    /// The record whose manifests clients are to get.
    to: u64,
    channel: Option<String>,
    platform: Option<String>,
}

/// A command that is true, and since when for whom.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"record": 43, "timestamp": "2026-11-21T01:40:03.000Z", "changed": ["releases/latest.yml"],
    "removed": [], "left": [],
    "inForce": {"here": "now", "otherNodesWithinSeconds": 3, "cdn": "when its copies are written"}}))]
pub struct Commanded {
    record: u64,
    /// RFC 3339, UTC.
    timestamp: String,
    changed: Vec<String>,
    removed: Vec<String>,
    /// Why others of the selected manifests are as they were.
    left: Vec<String>,
    in_force: InForce,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct InForce {
    /// What this node serves.
    here: &'static str,
    /// What other nodes on the same store serve.
    other_nodes_within_seconds: u64,
    /// What the CDN serves; `none` without one.
    cdn: &'static str,
}

/// The history of an app
///
/// Deploys and commands, the newest first.
#[utoipa::path(get, path = "/api/releases", tag = "releases", operation_id = "releases", params(ListQuery),
    security(("builderKey" = []), ("bearer" = [])), responses(
    (status = 200, body = List), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 503, body = ErrorBody)))]
async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<List>, ApiError> {
    caller.may(Scope::Read)?;
    let Query(query) = query?;
    let limit = query.limit.unwrap_or(LISTED).clamp(1, LISTED_MOST);
    let history = api
        .releases
        .history(&caller.app.prefix, query.before, limit)
        .await
        .map_err(release::ControlError::Log)?;
    Ok(Json(List {
        releases: history.records.iter().map(listed).collect(),
        before: history.before,
    }))
}

/// One entry of the history, with its files
#[utoipa::path(get, path = "/api/releases/{record}", tag = "releases", operation_id = "release",
    params(("record" = u64, Path, description = "Number of the record")),
    security(("builderKey" = []), ("bearer" = [])), responses(
    (status = 200, body = Shown), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    path: Result<Path<ReleasePathOf>, PathRejection>,
) -> Result<Json<Shown>, ApiError> {
    caller.may(Scope::Read)?;
    let Path(ReleasePathOf { record }) = path.map_err(|_| ApiError::NotFound)?;
    let record = api.releases.record(&caller.app.prefix, record).await?;
    Ok(Json(shown(&record)))
}

#[derive(Deserialize)]
struct ReleasePathOf {
    record: u64,
}

/// Make an earlier release the current one
///
/// Manifests, pages and other names without a version are what they were after that record; artefacts that came later
/// stay, since clients may be fetching them. No artefact is moved. Installed apps do not go back: updaters ignore an
/// older version.
#[utoipa::path(post, path = "/api/releases/rollback", tag = "releases", operation_id = "rollback",
    security(("builderKey" = []), ("bearer" = [])), request_body = RollbackRequest, responses(
    (status = 200, body = Commanded), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "Nothing would change"),
    (status = 503, body = ErrorBody)))]
async fn rollback(
    State(api): State<Arc<Api>>,
    caller: Caller,
    body: Result<Json<RollbackRequest>, JsonRejection>,
) -> Result<Json<Commanded>, ApiError> {
    let order = Command::Rollback { to: body?.0.to };
    command(&api, &caller, "rollback", order).await
}

/// Raise the share of clients that get a new version
#[utoipa::path(post, path = "/api/releases/rollout", tag = "releases", operation_id = "rollout",
    security(("builderKey" = []), ("bearer" = [])), request_body = RolloutRequest, responses(
    (status = 200, body = Commanded), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "It would shrink, or reaches all"),
    (status = 503, body = ErrorBody)))]
async fn rollout(
    State(api): State<Arc<Api>>,
    caller: Caller,
    body: Result<Json<RolloutRequest>, JsonRejection>,
) -> Result<Json<Commanded>, ApiError> {
    command(&api, &caller, "rollout", body?.0.into()).await
}

/// Stop the spread of a version
///
/// Manifests that are pinned, or are the first of their name, are left as they are, which the answer says.
/// From now on clients that poll get the version before it; those that installed it keep it.
#[utoipa::path(post, path = "/api/releases/halt", tag = "releases", operation_id = "halt",
    security(("builderKey" = []), ("bearer" = [])), request_body = SelectionRequest, responses(
    (status = 200, body = Commanded), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "There is no version before it"),
    (status = 503, body = ErrorBody)))]
async fn halt(
    State(api): State<Arc<Api>>,
    caller: Caller,
    body: Result<Json<SelectionRequest>, JsonRejection>,
) -> Result<Json<Commanded>, ApiError> {
    let which = body?.0.into();
    command(&api, &caller, "halt", Command::Halt { which }).await
}

/// Keep clients at a version, whatever is published
#[utoipa::path(post, path = "/api/releases/pin", tag = "releases", operation_id = "pin",
    security(("builderKey" = []), ("bearer" = [])), request_body = PinRequest, responses(
    (status = 200, body = Commanded), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn pin(
    State(api): State<Arc<Api>>,
    caller: Caller,
    body: Result<Json<PinRequest>, JsonRejection>,
) -> Result<Json<Commanded>, ApiError> {
    command(&api, &caller, "pin", body?.0.into()).await
}

/// Let clients have what is published again
///
/// All of them: a rollout that was deployed while the manifest was pinned is not resumed.
#[utoipa::path(post, path = "/api/releases/unpin", tag = "releases", operation_id = "unpin",
    security(("builderKey" = []), ("bearer" = [])), request_body = SelectionRequest, responses(
    (status = 200, body = Commanded), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "Nothing is pinned"),
    (status = 503, body = ErrorBody)))]
async fn unpin(
    State(api): State<Arc<Api>>,
    caller: Caller,
    body: Result<Json<SelectionRequest>, JsonRejection>,
) -> Result<Json<Commanded>, ApiError> {
    let which = body?.0.into();
    command(&api, &caller, "unpin", Command::Unpin { which }).await
}

impl From<SelectionRequest> for Selection {
    fn from(request: SelectionRequest) -> Selection {
        Selection {
            channel: request.channel,
            platform: request.platform,
        }
    }
}

impl From<RolloutRequest> for Command {
    fn from(request: RolloutRequest) -> Command {
        let step = |step: &StepRequest| Step {
            at: step.at,
            percentage: step.percentage,
        };
        Command::Rollout {
            which: Selection {
                channel: request.channel,
                platform: request.platform,
            },
            rollout: Rollout {
                percentage: request.percentage,
                steps: request.steps.iter().map(step).collect(),
            },
        }
    }
}

impl From<PinRequest> for Command {
    fn from(request: PinRequest) -> Command {
        Command::Pin {
            which: Selection {
                channel: request.channel,
                platform: request.platform,
            },
            to: request.to,
        }
    }
}

async fn command(
    api: &Api,
    caller: &Caller,
    action: &'static str,
    order: Command,
) -> Result<Json<Commanded>, ApiError> {
    caller.may(Scope::Control)?;
    let resource = caller.app.prefix.to_string();
    execute(api, caller, action, resource, order).await
}

/// Does what the caller may order; what was tried is in the audit.
pub async fn execute(
    api: &Api,
    caller: &Caller,
    action: &'static str,
    resource: String,
    order: Command,
) -> Result<Json<Commanded>, ApiError> {
    let by = Commander {
        app: caller.app.name.clone(),
        prefix: caller.app.prefix.clone(),
        actor: caller.actor(),
        key: Some(caller.key.hash.clone()),
    };
    let work = api.releases.execute(&order, &by);
    audited(api, caller, action, resource, work).await
}

/// Does the work of a command; what was tried is in the audit.
pub async fn audited(
    api: &Api,
    caller: &Caller,
    action: &'static str,
    resource: String,
    work: impl Future<Output = Result<release::Executed, release::ControlError>>,
) -> Result<Json<Commanded>, ApiError> {
    let deed = api.audit.begin(caller.deed(action, resource)).await?;
    let app = &caller.app;
    let done = work.await;
    let (outcome, details) = match &done {
        Ok(done) => (Outcome::Success, format!("record {}", done.record.n)),
        Err(error) => (outcome(control_status(error)), chain(error).to_string()),
    };
    match outcome {
        Outcome::Success => {
            tracing::info!(message_id = message::RELEASE_CHANGED, app = %app.name, action, details, "a command over releases");
        }
        Outcome::Denied | Outcome::Failure => {
            tracing::warn!(app = %app.name, action, details, "a command over releases changed nothing");
        }
    }
    if let Err(error) = deed.record(outcome, details).await {
        tracing::error!(error = %chain(&error), "a command could not be recorded in the audit, although room was reserved");
    }
    Ok(Json(answer(api, app, &done?)))
}

fn answer(api: &Api, app: &config::App, done: &release::Executed) -> Commanded {
    let record = &done.record;
    let deployed = record.deployed();
    let files = deployed.files.iter().map(|file| &file.path);
    let spreads = record.spreads().iter().map(|spread| &spread.path);
    Commanded {
        record: record.n,
        timestamp: clock::rfc3339(record.at),
        changed: files.chain(spreads).map(ToString::to_string).collect(),
        removed: deployed.removed.iter().map(ToString::to_string).collect(),
        left: done.left.iter().map(ToString::to_string).collect(),
        in_force: InForce {
            here: "now",
            other_nodes_within_seconds: api.deploy.follow_seconds,
            cdn: match app.cdn_endpoint {
                Some(_) => "when its copies are written",
                None => "none",
            },
        },
    }
}
