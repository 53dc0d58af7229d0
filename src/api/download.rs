//! The page where people get the app, and addresses that lead to the newest installer.

#![expect(
    unused_qualifications,
    reason = "what utoipa makes of a route's parameters"
)]

mod page;
mod visitor;
mod words;

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, StatusCode, header};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::page::{POLICY, Page};
use self::visitor::Visitor;
use super::Api;
use super::apps::App;
use super::error::{ApiError, ErrorBody};
use super::serve;
use crate::config;
use crate::content::set;
use crate::release::{Arch, Catalog, Format, Installer, Offer, Synced, System};

const ACCEPT_HINTS: HeaderName = HeaderName::from_static("accept-ch");
/// Has the browser ask again at once when it did not say the processor the first time.
const CRITICAL_HINTS: HeaderName = HeaderName::from_static("critical-ch");
const HINTS: &str = "Sec-CH-UA-Platform, Sec-CH-UA-Arch, Sec-CH-UA-Bitness";
const VARY: &str = "User-Agent, Sec-CH-UA-Platform, Sec-CH-UA-Arch, Sec-CH-UA-Bitness";

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(page))
        .routes(routes!(newest))
        .routes(routes!(newest_for))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Platform {
    /// `mac`, `windows`, `linux`, each perhaps with a processor (`mac-arm64`), or a directory of `releases/`
    platform: String,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct PlatformAndArch {
    /// `mac`, `windows`, `linux`
    platform: String,
    /// `arm64`, `x64`, `x86`, `arm`, `universal`
    arch: String,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// `dmg`, `pkg`, `exe`, `msi`, `msix`, `appimage`, `deb`, `rpm`, `flatpak`, `snap`, `zip`, `tar.gz`
    format: Option<String>,
}

/// The download page
///
/// HTML: the build for the visitor's system, all others, sizes, SHA-256, release notes. What a rollout has not given to
/// everybody yet is not offered.
#[utoipa::path(get, path = "/download", tag = "download", operation_id = "downloadPage", responses(
    (status = 200, content_type = "text/html", body = String, headers(("ETag" = String), ("Accept-CH" = String))),
    (status = 304, description = "Unchanged"),
    (status = 503, body = ErrorBody, description = "The store is away, and no release is known here")))]
async fn page(
    State(api): State<Arc<Api>>,
    App(app): App,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let catalog = catalog(&api, &app).await?;
    let page = Page {
        name: app.display_name.as_deref(),
        catalog: &catalog,
        visitor: Visitor::of(&headers),
        address: &|offer| serve::address(&api, &app, offer.file.path.as_str()),
    };
    let mut head = negotiated();
    set(&mut head, header::CONTENT_SECURITY_POLICY, POLICY.as_str());
    serve::made(&headers, head, "text/html; charset=utf-8", page.render())
}

/// The newest installer for a system
///
/// Leads to the installer that is published to everybody. A directory of `releases/` stands for what it holds; `mac`,
/// `windows` and `linux` for what suits the visitor's processor where they say it, else most people.
#[utoipa::path(get, path = "/download/{platform}", tag = "download", operation_id = "downloadNewest",
    params(Platform, Wanted), responses(
    (status = 302, description = "The installer is there", headers(("Location" = String))),
    (status = 400, body = ErrorBody),
    (status = 404, body = ErrorBody, description = "Nothing is published for it"),
    (status = 503, body = ErrorBody, description = "The store is away, and no release is known here")))]
async fn newest(
    State(api): State<Arc<Api>>,
    App(app): App,
    path: Result<Path<Platform>, PathRejection>,
    query: Result<Query<Wanted>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Path(Platform { platform }) = path.map_err(|_| ApiError::NotFound)?;
    let format = format(query)?;
    let catalog = catalog(&api, &app).await?;
    let visitor = Visitor::of(&headers);
    let offer = match System::of_word(&platform) {
        Some(system) => {
            let own = visitor.arch.filter(|_| visitor.system == Some(system));
            catalog.choose(system, own, format)
        }
        None => in_directory(&catalog, &platform, format).or_else(|| {
            let (system, arch) = platform.split_once('-')?;
            catalog.choose(System::of_word(system)?, Some(Arch::of_word(arch)?), format)
        }),
    };
    redirect(&api, &app, offer)
}

/// The newest installer for a system and processor
///
/// As `/download/{platform}-{arch}`.
#[utoipa::path(get, path = "/download/{platform}/{arch}", tag = "download", operation_id = "downloadNewestFor",
    params(PlatformAndArch, Wanted), responses(
    (status = 302, description = "The installer is there", headers(("Location" = String))),
    (status = 400, body = ErrorBody),
    (status = 404, body = ErrorBody, description = "Nothing is published for it"),
    (status = 503, body = ErrorBody, description = "The store is away, and no release is known here")))]
async fn newest_for(
    State(api): State<Arc<Api>>,
    App(app): App,
    path: Result<Path<PlatformAndArch>, PathRejection>,
    query: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Path(PlatformAndArch { platform, arch }) = path.map_err(|_| ApiError::NotFound)?;
    let format = format(query)?;
    let system = System::of_word(&platform).ok_or(ApiError::NotFound)?;
    let arch = Arch::of_word(&arch).ok_or(ApiError::NotFound)?;
    let catalog = catalog(&api, &app).await?;
    redirect(&api, &app, catalog.choose(system, Some(arch), format))
}

async fn catalog(api: &Api, app: &config::App) -> Result<Arc<Catalog>, ApiError> {
    let synced = api.releases.synced();
    let catalog = api
        .releases
        .catalog(&app.prefix)
        .await
        .ok_or(ApiError::Cut)?;
    // A store that is away may have a release that was never seen here.
    if catalog.offers.is_empty() && synced != Synced::Known {
        return Err(ApiError::Unknown);
    }
    Ok(catalog)
}

fn format(query: Result<Query<Wanted>, QueryRejection>) -> Result<Option<Format>, ApiError> {
    let Query(Wanted { format }) = query?;
    match format {
        Some(format) => Format::of_word(&format).map(Some).ok_or(ApiError::Query),
        None => Ok(None),
    }
}

/// The best of what a directory of `releases/` has.
fn in_directory<'a>(
    catalog: &'a Catalog,
    directory: &str,
    format: Option<Format>,
) -> Option<&'a Offer> {
    let below = format!("releases/{directory}/");
    let is_there = |offer: &Offer| offer.file.path.as_str().starts_with(&below);
    let mut there = catalog.offers.iter().filter(|offer| {
        is_there(offer) && format.is_none_or(|format| offer.installer.format == format)
    });
    let first = there.next()?;
    let Installer { system, arch, .. } = first.installer;
    let best = catalog.choose(system, arch, format);
    best.filter(|best| is_there(best)).or(Some(first))
}

fn redirect(api: &Api, app: &config::App, offer: Option<&Offer>) -> Result<Response, ApiError> {
    let offer = offer.ok_or(ApiError::NotFound)?;
    let mut head = negotiated();
    set(
        &mut head,
        header::LOCATION,
        serve::address(api, app, offer.file.path.as_str()),
    );
    Ok((StatusCode::FOUND, head).into_response())
}

/// The fields of every answer that depends on who asks.
fn negotiated() -> HeaderMap {
    serve::fields([
        (header::CACHE_CONTROL, "no-cache"),
        (header::VARY, VARY),
        (ACCEPT_HINTS, HINTS),
        (CRITICAL_HINTS, "Sec-CH-UA-Arch"),
    ])
}
