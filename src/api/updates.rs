//! What desktop apps ask for: the manifests of a release, and its files beside them.

#![expect(
    unused_qualifications,
    reason = "what utoipa makes of a route's parameters"
)]

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::request::Parts;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;

use super::Api;
use super::apps::App;
use super::error::{ApiError, ErrorBody};
use super::serve::{self, Door};
use crate::release::newest_of_channels;
use crate::release::path::ReleasePath;

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(version))
        .routes(routes!(flat))
        .routes(routes!(of_platform))
}

/// The files under their public names, at the root: prefixes differ from app to app.
pub fn public_routes() -> OpenApiRouter<Arc<Api>> {
    let public = routes!(public).map(|methods| methods.fallback(only_read));
    OpenApiRouter::new().routes(public)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Flat {
    /// `latest.yml`, `Seance-1.2.0.zip`
    file: String,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct OfPlatform {
    /// A directory of `releases/`, such as `darwin-arm64`
    platform: String,
    /// `latest-mac.yml`, `Seance-1.2.0-arm64.dmg`, `nsis-web/Setup-1.2.0.exe`
    file: String,
}

/// Version of the product
///
/// The published `releases/version.json`.
#[utoipa::path(get, path = "/updates/api/version.json", tag = "updates", operation_id = "version", responses(
    (status = 200, content_type = "application/json", body = Object, headers(("ETag" = String)), example = json!({"version": "1.4.0"})),
    (status = 304, description = "Unchanged"),
    (status = 404, body = ErrorBody, example = json!({"error": "Manifest not found", "id": "0199d3a7c1f07b6e8a52e4f06d1c9b7e"})),
    (status = 503, body = ErrorBody, description = "The store is away, and it is not known here")))]
async fn version(
    State(api): State<Arc<Api>>,
    app: App,
    request: Request,
) -> Result<Response, ApiError> {
    feed(&api, &app, "releases/version.json", &request.into_parts().0).await
}

/// A file of the feed without platform directories
///
/// As `/updates/{platform}/{file}`, for `releases/<file>`.
#[utoipa::path(get, path = "/updates/{file}", tag = "updates", operation_id = "flatFile", params(Flat), responses(
    (status = 200, content_type = "application/octet-stream", body = Vec<u8>, description = "The file"),
    (status = 206, description = "The ranges that were asked for"),
    (status = 302, description = "The file is at the CDN"),
    (status = 304, description = "Unchanged"),
    (status = 404, body = ErrorBody),
    (status = 412, body = ErrorBody),
    (status = 416, body = ErrorBody, description = "No range lies in the file, ranges overlap, or there are too many"),
    (status = 503, body = ErrorBody, description = "The store is away, and the file is not known here")))]
async fn flat(
    State(api): State<Arc<Api>>,
    app: App,
    path: Result<Path<Flat>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Path(Flat { file }) = path.map_err(|_| ApiError::NotFound)?;
    feed(
        &api,
        &app,
        &format!("releases/{file}"),
        &request.into_parts().0,
    )
    .await
}

/// A manifest or another file of a platform
///
/// The published `releases/<platform>/<file>`, which may lie in directories of its own. Manifests come from memory, also while the store is away
/// (`X-Seance-Stale` then tells the seconds since it was last seen); `any-mac.yml` is the one of all channels that has the
/// highest version. Other files take `Range`, with several ranges as
/// `multipart/byteranges` in the order of the request, as electron-updater's differential downloads want them; whole
/// downloads may be sent on to the CDN.
#[utoipa::path(get, path = "/updates/{platform}/{*file}", tag = "updates", operation_id = "platformFile", params(OfPlatform), responses(
    (status = 200, content_type = "application/octet-stream", body = Vec<u8>, description = "The file"),
    (status = 206, description = "The ranges that were asked for"),
    (status = 302, description = "The file is at the CDN"),
    (status = 304, description = "Unchanged"),
    (status = 404, body = ErrorBody),
    (status = 412, body = ErrorBody),
    (status = 416, body = ErrorBody, description = "No range lies in the file, ranges overlap, or there are too many"),
    (status = 503, body = ErrorBody, description = "The store is away, and the file is not known here")))]
async fn of_platform(
    State(api): State<Arc<Api>>,
    app: App,
    path: Result<Path<OfPlatform>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Path(OfPlatform { platform, file }) = path.map_err(|_| ApiError::NotFound)?;
    feed(
        &api,
        &app,
        &format!("releases/{platform}/{file}"),
        &request.into_parts().0,
    )
    .await
}

/// A published file under its public name
///
/// `/<prefix>/<path>`: what the `url` of a deploy names when there is no CDN, and what a CDN may fetch.
#[utoipa::path(get, path = "/{*path}", tag = "files", operation_id = "file",
    params(("path" = String, Path, description = "Prefix of an app and path of a file, `prod/releases/version.json`")),
    responses(
    (status = 200, content_type = "application/octet-stream", body = Vec<u8>, description = "The file"),
    (status = 206, description = "The ranges that were asked for"),
    (status = 304, description = "Unchanged"),
    (status = 404, body = ErrorBody),
    (status = 412, body = ErrorBody),
    (status = 416, body = ErrorBody, description = "No range lies in the file, ranges overlap, or there are too many"),
    (status = 503, body = ErrorBody, description = "The store is away, and the file is not known here")))]
async fn public(
    State(api): State<Arc<Api>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Path(path) = path.map_err(|_| ApiError::NotFound)?;
    let (app, path) = api.apps.by_public_path(&path).ok_or(ApiError::NotFound)?;
    serve::file(
        &api,
        app,
        path,
        &request.into_parts().0,
        Door::Public,
        ApiError::NotFound,
    )
    .await
}

/// Other methods: of a file they are not allowed, of anything else there is nothing to allow.
async fn only_read(
    State(api): State<Arc<Api>>,
    Path(path): Path<String>,
) -> Result<Response, ApiError> {
    Err(match api.apps.by_public_path(&path) {
        Some(_) => ApiError::MethodNotAllowed,
        None => ApiError::NotFound,
    })
}

async fn feed(api: &Api, app: &App, path: &str, request: &Parts) -> Result<Response, ApiError> {
    let manifest = [".yml", ".json"]
        .iter()
        .any(|extension| path.ends_with(extension))
        || path.contains("/RELEASES");
    let absent = if manifest {
        ApiError::ManifestNotFound
    } else {
        ApiError::NotFound
    };
    let client = serve::staging_id(&request.headers);
    let newest = newest_of_channels(&api.releases.tree(&app.0.prefix), path, client);
    let path = newest.as_ref().map_or(path, ReleasePath::as_str);
    serve::file(api, &app.0, path, request, Door::Feed, absent).await
}
