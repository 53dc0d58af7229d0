//! Earlier builds under a new version, for clients that took a broken one.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use semver::Version;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::caller::Caller;
use super::error::{ApiError, ErrorBody};
use super::releases::{Commanded, audited};
use crate::config::Scope;
use crate::release::{Republish, Selection};

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(republish))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"record": 41, "version": "1.4.2", "channel": "latest"}))]
struct RepublishRequest {
    /// The record whose manifests, and the files that they name, clients are to get.
    record: u64,
    /// A semantic version that is higher than the published one.
    version: String,
    /// First part of a manifest's name: `latest`, `beta`; `any`, or left out, for all.
    channel: Option<String>,
    /// A directory of `releases/`, or what stands behind the channel: `darwin-arm64`, `mac`, `linux-arm64`.
    platform: Option<String>,
}

/// Publish earlier builds under a new version
///
/// The manifests that stood after a record, electron-builder's and Tauri's, with this version and the time of now; their
/// files are not touched. Clients that took a broken version get the earlier build. It reports its own version still, so
/// it is offered the update again until a really newer build is published. A pinned manifest, one that was not there at
/// that time, one whose files are gone and those of Squirrel.Windows and Velopack are left as they are, which the answer
/// says.
#[utoipa::path(post, path = "/api/releases/republish", tag = "releases", operation_id = "republish",
    security(("builderKey" = []), ("bearer" = [])), request_body = RepublishRequest, responses(
    (status = 200, body = Commanded), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody, description = "The version is not higher; a file is gone or has other bytes; pinned",
        example = json!({"error": "`releases/latest.yml` has version 1.4.1; clients that have it would not take 1.4.0",
            "id": "0199d3a7c1f07b6e8a52e4f06d1c9b7e"})),
    (status = 422, body = ErrorBody, description = "The version is inside the packages; faulty manifests, where they are refused"),
    (status = 503, body = ErrorBody), (status = 507, body = ErrorBody)))]
async fn republish(
    State(api): State<Arc<Api>>,
    caller: Caller,
    body: Result<Json<RepublishRequest>, JsonRejection>,
) -> Result<Json<Commanded>, ApiError> {
    let Json(request) = body?;
    caller.may(Scope::Control)?;
    let version = Version::parse(&request.version).map_err(|_| ApiError::Value {
        member: "version",
        rule: "a semantic version",
    })?;
    let asked = Republish {
        record: request.record,
        version,
        which: Selection {
            channel: request.channel,
            platform: request.platform,
        },
    };
    let resource = caller.app.prefix.to_string();
    let work = api.releases.republish(&asked, caller.order());
    audited(&api, &caller, "republish", resource, work).await
}
