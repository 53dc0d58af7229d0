//! A published file as an answer: from memory, from the store, or from the CDN.

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::error::ApiError;
use super::{Api, seconds_since};
use crate::config::{self, Artifacts};
use crate::content::conditional::{self, Verdict};
use crate::content::ranges::Selection;
use crate::content::{self, Content, Source, not_modified, set, whole};
use crate::release::path::normalised;
use crate::release::{File, StagingId, Synced};

/// Seconds since the store was last seen, on answers that may be out of date.
pub const STALE: HeaderName = HeaderName::from_static("x-seance-stale");

/// Everything but the unreserved characters of RFC 3986 §2.3 and the `/` between segments.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// Where a file is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The update feed: downloads may be sent on to the CDN.
    Feed,
    /// The public name, which the CDN itself may ask for: never sent on, that could go round in circles.
    Public,
}

/// Answers GET and HEAD for a file of an app; `absent` says that there is none.
pub async fn file(
    api: &Api,
    app: &config::App,
    path: &str,
    request: &Parts,
    door: Door,
    absent: ApiError,
) -> Result<Response, ApiError> {
    let synced = api.releases.synced();
    let tree = api.releases.tree(&app.prefix);
    let path = normalised(path);
    let found = match door {
        Door::Feed => tree.file_for(&path, staging_id(&request.headers)),
        Door::Public => tree.public_file(&path),
    };
    let Some(file) = found else {
        // A store that is away may have a release that was never seen here.
        return Err(if synced == Synced::Known {
            absent
        } else {
            ApiError::Unknown
        });
    };
    let etag = file.etag();
    let mut head = describe(file, &etag, synced);
    if tree.spread_of(&path).is_some() {
        head.insert(header::VARY, HeaderValue::from_static("x-user-staging-id"));
    }
    match conditional::verdict(&request.headers, &etag, file.modified) {
        Verdict::Failed => return Err(ApiError::PreconditionFailed),
        Verdict::NotModified => return Ok(not_modified(head)),
        Verdict::Proceed => {}
    }
    if let Some(bytes) = &file.inline {
        return Ok(whole(head, file.size, Body::from(bytes.clone())));
    }
    let selection = content::select(request, &etag, file.size, api.updates.max_ranges);
    if door == Door::Feed
        && let Some(location) = redirect(api, app, file, request, &selection)
    {
        return Ok((StatusCode::FOUND, [(header::LOCATION, location)]).into_response());
    }
    let content = Content {
        content_type: &file.content_type,
        size: file.size,
        boundary: file.boundary(),
        source: Source::Stored(&api.store, file),
    };
    Ok(content.answer(head, selection, request).await?)
}

/// Answers with a body that was made for this request, under a strong tag of its own.
pub fn made(
    asked: &HeaderMap,
    mut head: HeaderMap,
    content_type: &str,
    body: String,
) -> Result<Response, ApiError> {
    let hash = digest(&SHA256, body.as_bytes());
    let half = hash.as_ref().get(..16).unwrap_or_default();
    let etag = format!("\"{}\"", hex::encode(half));
    set(&mut head, header::ETAG, etag.as_str());
    set(&mut head, header::CONTENT_TYPE, content_type);
    // It has no date of its own: a condition on one never holds.
    match conditional::verdict(asked, &etag, Timestamp::MAX) {
        Verdict::Failed => Err(ApiError::PreconditionFailed),
        Verdict::NotModified => Ok(not_modified(head)),
        Verdict::Proceed => Ok(whole(head, body.len() as u64, Body::from(body))),
    }
}

/// Header fields whose values are known when this is compiled.
pub fn fields<const N: usize>(fields: [(HeaderName, &'static str); N]) -> HeaderMap {
    let fields = fields.into_iter();
    fields
        .map(|(name, value)| (name, HeaderValue::from_static(value)))
        .collect()
}

/// The client's place among all, which electron-updater sends with every poll.
pub fn staging_id(headers: &HeaderMap) -> Option<StagingId> {
    let id = headers.get("x-user-staging-id")?.to_str().ok()?; // what is no text is no place
    StagingId::parse(id)
}

/// The public address of a file: the CDN's, else ours without a host, for we may have many.
pub fn public_url(app: &config::App, path: &str) -> String {
    let base = app.cdn_endpoint.as_deref().unwrap_or_default();
    let prefix = utf8_percent_encode(app.prefix.as_str(), ESCAPED);
    format!("{base}/{prefix}/{}", utf8_percent_encode(path, ESCAPED))
}

/// Where a file is downloaded: the CDN once it has all files, else here.
pub fn address(api: &Api, app: &config::App, path: &str) -> String {
    if app.cdn_endpoint.is_some() && api.releases.health().unprojected == 0 {
        return public_url(app, path);
    }
    let prefix = utf8_percent_encode(app.prefix.as_str(), ESCAPED);
    format!("/{prefix}/{}", utf8_percent_encode(path, ESCAPED))
}

/// Where to send a download instead. CDNs answer several ranges wrongly, so those stay here; so does everything while
/// the CDN may not have all files yet.
fn redirect(
    api: &Api,
    app: &config::App,
    file: &File,
    request: &Parts,
    selection: &Selection,
) -> Option<String> {
    app.cdn_endpoint.as_ref()?;
    let wanted = match api.updates.artifacts {
        Artifacts::Serve => false,
        Artifacts::Auto => !request.headers.contains_key(header::RANGE),
        Artifacts::Redirect => matches!(selection, Selection::Whole | Selection::One(_)),
    };
    (wanted && api.releases.health().unprojected == 0).then(|| public_url(app, file.path.as_str()))
}

/// The header fields that do not depend on what of the file is asked for.
fn describe(file: &File, etag: &str, synced: Synced) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    set(&mut headers, header::ETAG, etag);
    set(
        &mut headers,
        header::CONTENT_TYPE,
        file.content_type.as_str(),
    );
    set(
        &mut headers,
        header::CACHE_CONTROL,
        file.cache_control.as_str(),
    );
    set(
        &mut headers,
        header::LAST_MODIFIED,
        httpdate::fmt_http_date(file.modified.into()),
    );
    if file.inline.is_none() {
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    if let Synced::Stale { since } = synced {
        headers.insert(STALE, HeaderValue::from(seconds_since(since)));
    }
    headers
}
