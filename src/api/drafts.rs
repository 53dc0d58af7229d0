//! Drafts: a release is uploaded in parts, resumed at will, and published at once.

mod deed;
pub mod failure;
mod shapes;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::HttpBody as _;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, StatusCode, header};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::deed::{audited, body, json, parsed};
use self::shapes::{
    CompleteResponse, DeclareRequest, DeclareResponse, DraftState, FileState, OpenRequest, Opened,
    PartUrl, PartUrlRequest, PublishRequest, PublishResponse,
};
use super::caller::Caller;
use super::deploy::{deploy_response, log_end, replayed, rollout};
use super::error::{ApiError, ErrorBody, outcome};
use super::{Api, receive};
use crate::audit::Outcome;
use crate::cause::chain;
use crate::config::Scope;
use crate::release::draft::{Batch, DraftError, Sender, Upload};
use crate::release::path::{ReleasePath, longest_under};
use crate::release::{Order, ReleaseId};
use crate::tasks;

pub const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-content-sha256");

/// A list of files, bytes: some two hundred for each.
const LIST_BYTES: usize = 32 * 1024 * 1024;
/// Any other body in JSON, bytes.
const BODY_BYTES: usize = 64 * 1024;

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(open))
        .routes(routes!(show, delete))
        .routes(routes!(declare))
        .routes(routes!(part))
        .routes(routes!(part_url))
        .routes(routes!(complete))
        .routes(routes!(publish))
}

#[derive(Deserialize)]
struct DraftPath {
    id: String,
}

#[derive(Deserialize)]
struct UploadPath {
    id: String,
    upload: String,
}

#[derive(Deserialize)]
struct PartPath {
    id: String,
    upload: String,
    n: u64,
}

/// Open a draft
///
/// It is filled by any number of jobs, on any node, and published whole or not at all.
#[utoipa::path(post, path = "/api/releases", tag = "drafts", operation_id = "openDraft",
    security(("builderKey" = []), ("bearer" = [])), request_body = OpenRequest, responses(
    (status = 201, body = Opened, headers(("Location" = String, description = "Path of the draft"))),
    (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 409, body = ErrorBody, description = "Too many drafts are open",
        example = json!({"error": "Too many open drafts", "message": "50 drafts are open; publish or delete one", "limit": 50,
            "id": "0199d3a7c1f07b6e8a52e4f06d1c9b7e"})),
    (status = 503, body = ErrorBody)))]
async fn open(
    State(api): State<Arc<Api>>,
    caller: Caller,
    request: Request,
) -> Result<Response, ApiError> {
    caller.may(Scope::Publish)?;
    let asked: OpenRequest = json(&api, request.into_body(), BODY_BYTES).await?;
    let longest = api.releases.drafts().longest();
    let seconds = asked.expires_in_seconds.unwrap_or(longest);
    if !(1..=longest).contains(&seconds) {
        return Err(ApiError::Value {
            member: "expiresInSeconds",
            rule: "at least 1 and at most `drafts.expire_seconds`",
        });
    }
    let deed = caller.deed("draft-open", caller.app.prefix.to_string());
    let here = api.clone();
    let work = async move {
        let drafts = here.releases.drafts();
        let head = drafts.open(&caller.app, caller.actor(), seconds).await?;
        Ok((format!("draft {}", head.id), head))
    };
    let head = audited(&api, deed, work).await?;
    let location = format!("/api/drafts/{}", head.id);
    let opened = Json(Opened::new(&head, api.releases.drafts().presigns()));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], opened).into_response())
}

/// A draft and how its files stand
#[utoipa::path(get, path = "/api/drafts/{id}", tag = "drafts", operation_id = "draft",
    params(("id" = String, Path, description = "The draft")),
    security(("builderKey" = []), ("bearer" = [])), responses(
    (status = 200, body = DraftState), (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody, description = "Never opened, deleted or expired",
        example = json!({"error": "Draft not found", "id": "0199d3a7c1f07b6e8a52e4f06d1c9b7e"})),
    (status = 503, body = ErrorBody)))]
async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    path: Result<Path<DraftPath>, PathRejection>,
) -> Result<Json<DraftState>, ApiError> {
    let id = named(&caller, path)?;
    let drafts = api.releases.drafts();
    let shown = drafts
        .show(&caller.app, id, &Sender::of(&caller.key))
        .await?;
    Ok(Json(DraftState::new(shown, drafts.presigns())))
}

/// Delete a draft
///
/// What it was published as stays.
#[utoipa::path(delete, path = "/api/drafts/{id}", tag = "drafts", operation_id = "deleteDraft",
    params(("id" = String, Path, description = "The draft")),
    security(("builderKey" = []), ("bearer" = [])), responses(
    (status = 204), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    path: Result<Path<DraftPath>, PathRejection>,
) -> Result<StatusCode, ApiError> {
    let id = named(&caller, path)?;
    let deed = caller.deed("draft-delete", format!("{}/{id}", caller.app.prefix));
    let here = api.clone();
    let work = async move {
        may_touch(&here, &caller, id, None).await?;
        here.releases.drafts().delete(&caller.app, id).await?;
        Ok((String::new(), ()))
    };
    audited(&api, deed, work).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Declare files
///
/// Content that is published, or in the draft already, is present at once and need not be sent. A path that the same job
/// declares again is replaced. Manifests that several jobs declare (`latest*.yml`, `version.json`, Tauri's static JSON)
/// are merged when the draft is published.
#[utoipa::path(put, path = "/api/drafts/{id}/files", tag = "drafts", operation_id = "declareFiles",
    params(("id" = String, Path, description = "The draft")),
    security(("builderKey" = []), ("bearer" = [])), request_body = DeclareRequest, responses(
    (status = 200, body = DeclareResponse),
    (status = 400, body = ErrorBody, example = json!({"error": "Invalid file path", "path": "../x",
        "message": "a path must not contain a `..` segment", "id": "0199d3a7c1f07b6e8a52e4f06d1c9b7e"})),
    (status = 401, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody, description = "Another job declared another content; the draft is published",
        example = json!({"error": "Jobs declare different contents", "path": "releases/notes.txt", "jobs": ["linux", "mac"],
            "message": "`releases/notes.txt` is declared by the jobs `linux` and `mac` with different contents",
            "id": "0199d3a7c1f07b6e8a52e4f06d1c9b7e"})),
    (status = 413, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn declare(
    State(api): State<Arc<Api>>,
    caller: Caller,
    path: Result<Path<DraftPath>, PathRejection>,
    request: Request,
) -> Result<Json<DeclareResponse>, ApiError> {
    let id = named(&caller, path)?;
    let drafts = api.releases.drafts();
    // What is sent in chunks may be as long as any.
    let bytes = request.body().size_hint().upper();
    let bytes = bytes.map_or(LIST_BYTES, |bytes| {
        usize::try_from(bytes).unwrap_or(usize::MAX)
    });
    let _room = drafts.admit(bytes.min(LIST_BYTES)).await?;
    let bytes = body(&api, request.into_body(), LIST_BYTES).await?;
    let longest = longest_under(caller.app.prefix.as_str());
    let batch = tasks::blocking("draft-declare", move || batch(&bytes, longest));
    let batch = batch.await.map_err(|_| ApiError::Cut)??; // the log has the panic
    caller.may_publish(batch.files.iter().map(|file| &file.path))?;
    let files = drafts
        .declare(&caller.app, id, &batch, &Sender::of(&caller.key))
        .await?;
    Ok(Json(files.into()))
}

/// Send a part
///
/// In any order, several at a time, and again if need be. Part numbers count from 1; every part but the last has the draft's
/// `partBytes`.
#[utoipa::path(put, path = "/api/drafts/{id}/uploads/{upload}/parts/{n}", tag = "drafts", operation_id = "sendPart",
    params(("id" = String, Path, description = "The draft"), ("upload" = String, Path, description = "The upload"),
        ("n" = u64, Path, description = "Number of the part"),
        ("x-content-sha256" = Option<String>, Header, description = "SHA-256 of the part, hexadecimal; verified")),
    security(("builderKey" = []), ("bearer" = [])),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses(
    (status = 204, description = "The part is kept, and survives a restart"),
    (status = 400, body = ErrorBody, description = "Wrong length, number or hash; the body ended early",
        example = json!({"error": "Wrong part length", "message": "part 1 has 8388608 bytes", "expectedBytes": 8388608,
            "id": "0199d3a7c1f07b6e8a52e4f06d1c9b7e"})),
    (status = 401, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 408, body = ErrorBody, description = "The body stopped arriving"),
    (status = 409, body = ErrorBody, description = "The draft is published"),
    (status = 503, body = ErrorBody), (status = 507, body = ErrorBody)))]
async fn part(
    State(api): State<Arc<Api>>,
    caller: Caller,
    path: Result<Path<PartPath>, PathRejection>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    // All of this before the body is polled: hyper asks for it (100 Continue) with the first poll.
    let Path(PartPath { id, upload, n }) = path.map_err(|_| ApiError::NotFound)?;
    let sha256 = content_sha256(request.headers())?;
    let (id, upload, sender) = sent(&api, &caller, &id, &upload).await?;
    let drafts = api.releases.drafts();
    let part = drafts
        .part(&caller.app, id, &upload, &sender, n, sha256)
        .await?;
    if receive::declared(request.headers()).is_some_and(|length| length != part.size()) {
        return Err(part.wrong_length().into());
    }
    let stall = Duration::from_secs(api.deploy.stall_timeout_seconds);
    let (pump, reader) = receive::split(request.into_body(), stall, part.size());
    let (received, ()) = tokio::join!(part.receive(reader), pump.run());
    received?;
    Ok(StatusCode::NO_CONTENT)
}

/// Get a signed URL for a part
///
/// Where `presignedParts` is true a part may go to the bucket itself, past the daemon. Who cannot reach the bucket sends it
/// here.
#[utoipa::path(post, path = "/api/drafts/{id}/uploads/{upload}/parts/{n}/url", tag = "drafts",
    operation_id = "presignPart",
    params(("id" = String, Path, description = "The draft"), ("upload" = String, Path, description = "The upload"),
        ("n" = u64, Path, description = "Number of the part")),
    security(("builderKey" = []), ("bearer" = [])), request_body = PartUrlRequest, responses(
    (status = 200, body = PartUrl), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody, description = "There is no such upload, or parts are not sent to the bucket here",
        example = json!({"error": "No signed URLs", "message": "parts are not sent to the bucket here",
            "id": "0199d3a7c1f07b6e8a52e4f06d1c9b7e"})),
    (status = 409, body = ErrorBody, description = "The draft is published"),
    (status = 503, body = ErrorBody)))]
async fn part_url(
    State(api): State<Arc<Api>>,
    caller: Caller,
    path: Result<Path<PartPath>, PathRejection>,
    request: Request,
) -> Result<Json<PartUrl>, ApiError> {
    let Path(PartPath { id, upload, n }) = path.map_err(|_| ApiError::NotFound)?;
    let (id, upload, sender) = sent(&api, &caller, &id, &upload).await?;
    let asked: PartUrlRequest = json(&api, request.into_body(), BODY_BYTES).await?;
    let drafts = api.releases.drafts();
    let pass = drafts
        .pass(&caller.app, id, &upload, &sender, n, asked.md5()?)
        .await?;
    Ok(Json(pass.into()))
}

/// Complete an upload
///
/// Its parts become the file, if they have the declared SHA-256. A large file takes a while; a repeated request waits for
/// the first one's end.
#[utoipa::path(post, path = "/api/drafts/{id}/uploads/{upload}/complete", tag = "drafts", operation_id = "completeUpload",
    params(("id" = String, Path, description = "The draft"), ("upload" = String, Path, description = "The upload")),
    security(("builderKey" = []), ("bearer" = [])), responses(
    (status = 200, body = CompleteResponse), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody, description = "Parts are missing",
        example = json!({"error": "Parts are missing", "missingParts": [2, 7], "id": "0199d3a7c1f07b6e8a52e4f06d1c9b7e"})),
    (status = 422, body = ErrorBody, description = "The parts do not have the declared SHA-256; all are to be sent again"),
    (status = 503, body = ErrorBody), (status = 507, body = ErrorBody)))]
async fn complete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    path: Result<Path<UploadPath>, PathRejection>,
) -> Result<Json<CompleteResponse>, ApiError> {
    let Path(UploadPath { id, upload }) = path.map_err(|_| ApiError::NotFound)?;
    let (id, upload, sender) = sent(&api, &caller, &id, &upload).await?;
    let drafts = api.releases.drafts();
    let path = drafts.complete(&caller.app, id, &upload, &sender).await?;
    Ok(Json(CompleteResponse {
        path: path.to_string(),
        state: FileState::Present,
    }))
}

/// Publish a draft
///
/// Until the answer nothing of it can be seen, after it everything. Publishing again, on any node, gives the first answer
/// (and `Idempotency-Replayed: true`). All that speaks against it is told at once.
#[utoipa::path(post, path = "/api/drafts/{id}/publish", tag = "drafts", operation_id = "publishDraft",
    params(("id" = String, Path, description = "The draft")),
    security(("builderKey" = []), ("bearer" = [])), request_body = PublishRequest, responses(
    (status = 200, body = PublishResponse), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody, description = "Files are missing; a path would be file and directory",
        example = json!({"error": "Files are missing", "missing": ["releases/linux-x64/Seance-1.4.0.AppImage"],
            "id": "0199d3a7c1f07b6e8a52e4f06d1c9b7e"})),
    (status = 422, body = ErrorBody, description = "Reasons against it, which `force` overrules",
        example = json!({"error": "Faulty manifests", "message": "the manifests have faults, and faults are refused here",
            "reasons": [{"path": "releases/latest.yml", "message": "has version 1.3.0, lower than the published 1.4.0"}],
            "id": "0199d3a7c1f07b6e8a52e4f06d1c9b7e"})),
    (status = 503, body = ErrorBody), (status = 507, body = ErrorBody)))]
async fn publish(
    State(api): State<Arc<Api>>,
    caller: Caller,
    path: Result<Path<DraftPath>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let id = named(&caller, path)?;
    let asked: PublishRequest = json(&api, request.into_body(), BODY_BYTES).await?;
    let order = Order {
        force: asked.force,
        rollout: rollout(asked.rollout)?,
        ..caller.order()
    };
    let app = caller.app.clone();
    let deed = caller.deed("draft-publish", format!("{}/{id}", caller.app.prefix));
    let here = api.clone();
    let work = async move {
        let drafts = here.releases.drafts();
        let published = drafts.publish(&caller.app, id, order).await;
        let forced = if asked.force { ", forced" } else { "" };
        let (outcome, details) = match &published {
            Ok(published) if published.replayed => (Outcome::Success, "repeated".to_owned()),
            Ok(published) => {
                let files = published.record.deployed().files.len();
                let n = published.record.n;
                (
                    Outcome::Success,
                    format!("record {n}, {files} files{forced}"),
                )
            }
            Err(error) => (outcome(failure::status(error)), chain(error).to_string()),
        };
        log_end(&caller.app, outcome, &details);
        Ok((details, published?))
    };
    let published = audited(&api, deed, work).await?;
    let answer = PublishResponse {
        deploy: deploy_response(&app, &published),
        record: published.record.n,
    };
    Ok(replayed(Json(answer).into_response(), &published))
}

/// The draft that a caller who may publish names.
fn named(
    caller: &Caller,
    path: Result<Path<DraftPath>, PathRejection>,
) -> Result<ReleaseId, ApiError> {
    caller.may(Scope::Publish)?;
    let Path(DraftPath { id }) = path.map_err(|_| ApiError::NotFound)?;
    draft(&id)
}

/// The upload that a caller who may send its parts names, and whose these are.
async fn sent(
    api: &Api,
    caller: &Caller,
    id: &str,
    upload: &str,
) -> Result<(ReleaseId, Upload, Sender), ApiError> {
    caller.may(Scope::Publish)?;
    let (id, upload) = (draft(id)?, self::upload(upload)?);
    may_touch(api, caller, id, Some(&upload)).await?;
    Ok((id, upload, Sender::of(&caller.key)))
}

/// Refuses a key with paths what is not for these: an upload that is declared for none of them, or all of a draft that
/// holds other files too.
async fn may_touch(
    api: &Api,
    caller: &Caller,
    id: ReleaseId,
    upload: Option<&Upload>,
) -> Result<(), ApiError> {
    if caller.key.paths.is_empty() {
        return Ok(());
    }
    let drafts = api.releases.drafts();
    let paths = drafts.paths(&caller.app, id, upload).await?;
    let is_own = |path: &ReleasePath| caller.may_publish([path]).is_ok();
    if upload.is_some() && paths.iter().any(is_own) {
        return Ok(());
    }
    caller.may_publish(&paths)
}

fn batch(bytes: &[u8], longest: usize) -> Result<Batch, ApiError> {
    let asked: Option<DeclareRequest> = parsed(bytes)?;
    let asked = asked.ok_or(ApiError::Value {
        member: "files",
        rule: "a list of files",
    })?;
    asked.batch(longest)
}

fn draft(id: &str) -> Result<ReleaseId, ApiError> {
    id.parse().map_err(|_| DraftError::Unknown.into())
}

fn upload(upload: &str) -> Result<Upload, ApiError> {
    upload.parse().map_err(|_| DraftError::UnknownUpload.into())
}

fn content_sha256(headers: &HeaderMap) -> Result<Option<[u8; 32]>, ApiError> {
    let Some(text) = headers.get(CONTENT_SHA256) else {
        return Ok(None);
    };
    let mut sha256 = [0; 32];
    hex::decode_to_slice(text.as_bytes(), &mut sha256).map_err(|_| ApiError::ContentSha256)?;
    Ok(Some(sha256))
}
