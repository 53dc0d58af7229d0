//! Updates for apps that do not use electron-updater: Tauri's updater, Squirrel.Mac and Squirrel.Windows.
//!
//! Sparkle and Velopack would stand beside them: a pure reader of the tree in `release`, a route here.

#![expect(
    unused_qualifications,
    reason = "what utoipa makes of a route's parameters"
)]

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::apps::{self, App};
use super::error::{ApiError, ErrorBody};
use super::serve::{self, Door, staging_id};
use crate::config::{self, Encrypted};
use crate::release::tauri::{Asked, date};
use crate::release::{Arch, Synced, Tree, parse_version, squirrel};

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(tauri))
        .routes(routes!(tauri_static))
        .routes(routes!(squirrel_mac))
        .routes(routes!(squirrel_windows))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct TauriClient {
    /// `{{target}}`: `darwin`, `windows`, `linux`
    target: String,
    /// `{{arch}}`: `x86_64`, `aarch64`, `i686`, `armv7`
    arch: String,
    /// `{{current_version}}`
    version: String,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct TauriQuery {
    /// `latest` by default; `any` for the newest of all channels.
    channel: Option<String>,
    /// `{{bundle_type}}`: `app`, `appimage`, `deb`, `rpm`, `nsis`, `msi`
    bundle_type: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct TauriFile {
    /// `latest.json`, or the JSON of another channel; `any.json` for the newest of all
    file: String,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct MacClient {
    /// `arm64`, `x64`
    arch: String,
    /// The version that runs
    version: String,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct MacQuery {
    /// `latest` by default; `any` for the newest of all channels.
    channel: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct WindowsFile {
    /// `x64`, `arm64`, `x86`
    arch: String,
    /// `RELEASES`, or a package that it names
    file: String,
}

/// Tauri's dynamic answer.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"version": "1.4.0", "url": "https://backend.example.com/prod/releases/linux-x64/Notes_1.4.0_amd64.AppImage",
    "signature": "dW50cnVzdGVkIGNvbW1lbnQ6…", "notes": "Faster", "pub_date": "2026-11-21T01:40:03Z"}))]
struct TauriUpdate {
    version: String,
    url: String,
    signature: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub_date: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"url": "https://backend.example.com/prod/releases/darwin-arm64/Notes-1.4.0-arm64-mac.zip", "name": "1.4.0",
    "notes": "Faster", "pub_date": "2026-11-21T01:40:03Z"}))]
struct MacUpdate {
    url: String,
    /// The version.
    name: String,
    notes: String,
    /// ISO 8601, without fractions of a second.
    pub_date: String,
}

/// An update for Tauri's updater
///
/// The endpoint `…/updates/tauri/{{target}}/{{arch}}/{{current_version}}` of its configuration; `?bundle_type={{bundle_type}}`
/// behind it tells how the app was installed. Out of a published static JSON (with its rollout, for clients that send
/// `x-user-staging-id`), else out of bundles that have their `.sig` beside them.
#[utoipa::path(get, path = "/updates/tauri/{target}/{arch}/{version}", tag = "updates", operation_id = "tauriUpdate",
    params(TauriClient, TauriQuery), responses(
    (status = 200, body = TauriUpdate), (status = 204, description = "There is nothing newer"),
    (status = 400, body = ErrorBody, description = "The version is not a semantic version"),
    (status = 503, body = ErrorBody, description = "The store is away, and no release is known here")))]
async fn tauri(
    State(api): State<Arc<Api>>,
    App(app): App,
    path: Result<Path<TauriClient>, PathRejection>,
    query: Result<Query<TauriQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Path(client) = path.map_err(|_| ApiError::NotFound)?;
    let Query(query) = query?;
    let current = parse_version(&client.version).ok_or(ApiError::Version)?;
    let (request, _) = request.into_parts();
    let tree = known_tree(&api, &app)?;
    let asked = Asked {
        channel: query.channel.as_deref().unwrap_or("latest"),
        client: staging_id(&request.headers),
        address: &|path| absolute(&api, &app, &request, path),
    };
    let target = format!("{}-{}", client.target, client.arch);
    let newer = asked.newer(&tree, &current, &target, query.bundle_type.as_deref());
    let Some((document, bundle)) = newer else {
        return Ok(nothing_newer());
    };
    let update = TauriUpdate {
        version: document.version.trim_start_matches('v').to_owned(),
        url: bundle.url,
        signature: bundle.signature,
        notes: document.notes,
        pub_date: document.pub_date,
    };
    answer(&request, "application/json", json(&update))
}

/// Tauri's static JSON
///
/// As it was published (`releases/tauri/<file>`), else made of all that was published for that channel. Any other file of
/// `releases/tauri/` too.
#[utoipa::path(get, path = "/updates/tauri/{file}", tag = "updates", operation_id = "tauriStatic", params(TauriFile), responses(
    (status = 200, content_type = "application/json", body = Object, example = json!({"version": "1.4.0", "platforms":
        {"linux-x86_64": {"url": "https://backend.example.com/prod/releases/linux-x64/Notes_1.4.0_amd64.AppImage", "signature": "dW50cnVzdGVkIGNvbW1lbnQ6…"}}})),
    (status = 304, description = "Unchanged"),
    (status = 404, body = ErrorBody),
    (status = 503, body = ErrorBody, description = "The store is away, and no release is known here")))]
async fn tauri_static(
    State(api): State<Arc<Api>>,
    App(app): App,
    path: Result<Path<TauriFile>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Path(TauriFile { file }) = path.map_err(|_| ApiError::NotFound)?;
    let (request, _) = request.into_parts();
    let tree = known_tree(&api, &app)?;
    let published = format!("releases/tauri/{file}");
    if let Some(channel) = file
        .strip_suffix(".json")
        .filter(|_| tree.file(&published).is_none())
    {
        let asked = Asked {
            channel,
            client: staging_id(&request.headers),
            address: &|path| absolute(&api, &app, &request, path),
        };
        let document = asked.newest(&tree).ok_or(ApiError::ManifestNotFound)?;
        return answer(&request, "application/json", json(&document));
    }
    serve::file(
        &api,
        &app,
        &published,
        &request,
        Door::Feed,
        ApiError::NotFound,
    )
    .await
}

/// An update for Squirrel.Mac
///
/// For `autoUpdater.setFeedURL` of Electron. Out of the `<channel>-mac.yml` of electron-builder, with its rollout for
/// clients that send `x-user-staging-id`.
#[utoipa::path(get, path = "/updates/squirrel/mac/{arch}/{version}", tag = "updates", operation_id = "squirrelMac",
    params(MacClient, MacQuery), responses(
    (status = 200, body = MacUpdate), (status = 204, description = "There is nothing newer"),
    (status = 400, body = ErrorBody, description = "The version is not a semantic version"),
    (status = 404, body = ErrorBody, description = "No such processor"),
    (status = 503, body = ErrorBody, description = "The store is away, and no release is known here")))]
async fn squirrel_mac(
    State(api): State<Arc<Api>>,
    App(app): App,
    path: Result<Path<MacClient>, PathRejection>,
    query: Result<Query<MacQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Path(MacClient { arch, version }) = path.map_err(|_| ApiError::NotFound)?;
    let Query(MacQuery { channel }) = query?;
    let arch = Arch::of_word(&arch).ok_or(ApiError::NotFound)?;
    let current = parse_version(&version).ok_or(ApiError::Version)?;
    let (request, _) = request.into_parts();
    let tree = known_tree(&api, &app)?;
    let channel = channel.as_deref().unwrap_or("latest");
    let update = squirrel::mac(&tree, channel, arch, staging_id(&request.headers));
    let Some(update) = update.filter(|update| update.version > current) else {
        return Ok(nothing_newer());
    };
    let update = MacUpdate {
        url: absolute(&api, &app, &request, update.archive.path.as_str()),
        name: update.version.to_string(),
        notes: update.notes.unwrap_or_default(),
        pub_date: date(update.date),
    };
    answer(&request, "application/json", json(&update))
}

/// The RELEASES of Squirrel.Windows, and the packages beside it
///
/// The published `RELEASES` of the Windows directory for this processor, without lines whose package is not there in the
/// stated size: its client refuses the whole file for one bad line.
#[utoipa::path(get, path = "/updates/squirrel/win/{arch}/{file}", tag = "updates", operation_id = "squirrelWindows",
    params(WindowsFile), responses(
    (status = 200, content_type = "text/plain", body = String,
        example = json!("94689FEDE03FED7AB59C24337673A27837F0C3EC Notes-1.4.0-full.nupkg 1004502\n")),
    (status = 302, description = "The package is at the CDN"),
    (status = 304, description = "Unchanged"),
    (status = 404, body = ErrorBody),
    (status = 503, body = ErrorBody, description = "The store is away, and no release is known here")))]
async fn squirrel_windows(
    State(api): State<Arc<Api>>,
    App(app): App,
    path: Result<Path<WindowsFile>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Path(WindowsFile { arch, file }) = path.map_err(|_| ApiError::NotFound)?;
    let arch = Arch::of_word(&arch).ok_or(ApiError::NotFound)?;
    let (request, _) = request.into_parts();
    let tree = known_tree(&api, &app)?;
    let releases = squirrel::windows(&tree, arch, staging_id(&request.headers));
    let releases = releases.ok_or(ApiError::ManifestNotFound)?;
    if file == "RELEASES" {
        let lines = squirrel::lines(&tree, releases).ok_or(ApiError::ManifestNotFound)?;
        return answer(&request, "text/plain; charset=utf-8", lines);
    }
    let directory = releases.path.parents().next().unwrap_or_default();
    let path = format!("{directory}/{file}");
    serve::file(&api, &app, &path, &request, Door::Feed, ApiError::NotFound).await
}

/// What is published; an app of which nothing is known may have something in a store that is away.
fn known_tree(api: &Api, app: &config::App) -> Result<Arc<Tree>, ApiError> {
    let synced = api.releases.synced();
    let tree = api.releases.tree(&app.prefix);
    if synced != Synced::Known && tree.files().next().is_none() {
        return Err(ApiError::Unknown);
    }
    Ok(tree)
}

/// The whole address of a file: updaters take no other.
fn absolute(api: &Api, app: &config::App, request: &Parts, path: &str) -> String {
    let address = serve::address(api, app, path);
    if !address.starts_with('/') {
        return address;
    }
    let encrypted = request.extensions.get::<Encrypted>();
    let scheme = if encrypted.is_some_and(|encrypted| encrypted.0) {
        "https"
    } else {
        "http"
    };
    format!("{scheme}://{}{address}", apps::host(request))
}

/// Strings and maps of strings can always be written.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn nothing_newer() -> Response {
    (StatusCode::NO_CONTENT, negotiated()).into_response()
}

fn answer(request: &Parts, content_type: &str, body: String) -> Result<Response, ApiError> {
    serve::made(&request.headers, negotiated(), content_type, body)
}

fn negotiated() -> HeaderMap {
    serve::fields([
        (header::CACHE_CONTROL, "no-cache"),
        (header::VARY, "x-user-staging-id"),
    ])
}
