//! What changed between two releases.

#![expect(
    unused_qualifications,
    reason = "what utoipa makes of a route's parameters"
)]

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::caller::Caller;
use super::error::{ApiError, ErrorBody};
use crate::config::Scope;
use crate::release::{self, Change};

/// Files in one answer.
const LISTED_MOST: usize = 1000;

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(diff))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct DiffQuery {
    /// The record whose release is compared.
    from: u64,
    /// The record of the other release; the newest by default.
    to: Option<u64>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"from": 41, "to": 43, "added": 0, "removed": 0, "changed": 1, "bytesToDownload": 312,
    "files": [{"path": "releases/latest.yml", "change": "changed",
        "before": {"size": 310, "sha256": "…64 hexadecimal digits…", "versions": ["1.3.0"]},
        "after": {"size": 312, "sha256": "…64 hexadecimal digits…", "versions": ["1.4.0"]}}], "more": 0}))]
struct DiffAnswer {
    from: u64,
    to: u64,
    /// Files that were not there.
    added: usize,
    /// Files that are not there any more.
    removed: usize,
    changed: usize,
    /// Of the added files and the changed ones.
    bytes_to_download: u64,
    /// Manifests first; at most 1000.
    files: Vec<Differing>,
    /// Files that are not listed.
    more: usize,
}

#[derive(Serialize, ToSchema)]
struct Differing {
    path: String,
    /// `added`, `removed` or `changed`.
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Side>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Side>,
}

#[derive(Serialize, ToSchema)]
struct Side {
    /// Bytes.
    size: u64,
    /// Hexadecimal.
    sha256: String,
    /// That a manifest names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    versions: Vec<String>,
}

impl From<&Arc<release::File>> for Side {
    fn from(file: &Arc<release::File>) -> Side {
        Side {
            size: file.size,
            sha256: hex::encode(file.sha256),
            versions: file.versions(),
        }
    }
}

/// What changed between two releases
///
/// The files that are not the same after both records, whoever a rollout or a pin gave them to.
#[utoipa::path(get, path = "/api/releases/diff", tag = "releases", operation_id = "diff", params(DiffQuery),
    security(("builderKey" = []), ("bearer" = [])), responses(
    (status = 200, body = DiffAnswer), (status = 400, body = ErrorBody, description = "Not such a query; a record too far back"),
    (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 503, body = ErrorBody)))]
async fn diff(
    State(api): State<Arc<Api>>,
    caller: Caller,
    query: Result<Query<DiffQuery>, QueryRejection>,
) -> Result<Json<DiffAnswer>, ApiError> {
    caller.may(Scope::Read)?;
    let Query(DiffQuery { from, to }) = query?;
    let diff = api.releases.diff(&caller.app.prefix, from, to).await?;
    let count = |wanted| {
        let changes = diff.changes.iter();
        changes.filter(|change| kind(change) == wanted).count()
    };
    let new = diff
        .changes
        .iter()
        .filter_map(|change| change.after.as_ref());
    Ok(Json(DiffAnswer {
        from: diff.from,
        to: diff.to,
        added: count("added"),
        removed: count("removed"),
        changed: count("changed"),
        bytes_to_download: new.map(|file| file.size).sum(),
        files: diff.changes.iter().take(LISTED_MOST).map(shown).collect(),
        more: diff.changes.len().saturating_sub(LISTED_MOST),
    }))
}

fn kind(change: &Change) -> &'static str {
    match (&change.before, &change.after) {
        (None, _) => "added",
        (_, None) => "removed",
        (Some(_), Some(_)) => "changed",
    }
}

fn shown(change: &Change) -> Differing {
    Differing {
        path: change.path.to_string(),
        change: kind(change),
        before: change.before.as_ref().map(Side::from),
        after: change.after.as_ref().map(Side::from),
    }
}
