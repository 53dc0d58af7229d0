//! A content on its way to whoever asked for it: preconditions, ranges, and bodies in bounded memory.
//!
//! RFC 9110 §13 and §14, once for all rooms that answer with files.

mod body;
pub mod conditional;
pub mod ranges;

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::Body as _;

use self::ranges::{Multipart, Selection};
use crate::release::File;
use crate::store::sendfile::FileQueue;
use crate::store::{Key, Store, StoreError};

/// What is answered with, apart from its header fields.
pub struct Content<'a> {
    pub content_type: &'a str,
    /// Bytes.
    pub size: u64,
    /// Derived from the content, so that it cannot stand in it: see [`Multipart`].
    pub boundary: [u8; 16],
    pub source: Source<'a>,
}

/// Where the bytes are.
pub enum Source<'a> {
    Memory(&'a Bytes),
    /// A file of this machine; the key names it in errors.
    Local(Key, Arc<std::fs::File>),
    Stored(&'a Store, &'a File),
}

/// Marks an answer whose bytes the kernel may send itself: its body gives placeholders, which nobody may read.
#[derive(Clone, Copy, Debug)]
pub struct SentByKernel;

#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    #[error(
        "none of the ranges lies in the content's {size} bytes, some overlap, or there are too many"
    )]
    Range { size: u64 },
    #[error("a file cannot be read")]
    Read(#[source] StoreError),
    #[error("{path} has {found} bytes in the store, {recorded} in its record")]
    Size {
        path: String,
        found: u64,
        recorded: u64,
    },
}

/// What a request asks of a content of `size` bytes; at most `most` ranges. RFC 9110 §14.2: `Range` means something for
/// GET only.
pub fn select(request: &Parts, etag: &str, size: u64, most: usize) -> Selection {
    let field = request
        .headers
        .get(header::RANGE)
        .and_then(|field| field.to_str().ok()); // RFC 9110 §14.2: what is no range is ignored
    match field {
        Some(field)
            if request.method == Method::GET
                && conditional::range_counts(&request.headers, etag) =>
        {
            ranges::select(field, size, most)
        }
        _ => Selection::Whole,
    }
}

impl Content<'_> {
    /// Answers with the selected bytes under the header fields of `head`. For HEAD nothing is opened.
    pub async fn answer(
        &self,
        head: HeaderMap,
        selection: Selection,
        request: &Parts,
    ) -> Result<Response, ContentError> {
        let queue = request.extensions.get::<FileQueue>().cloned();
        let by_kernel = queue.is_some() && !matches!(self.source, Source::Memory(_));
        let mut response = self.selected(head, selection, request, queue).await?;
        if by_kernel {
            response.extensions_mut().insert(SentByKernel);
        }
        Ok(response)
    }

    async fn selected(
        &self,
        head: HeaderMap,
        selection: Selection,
        request: &Parts,
        queue: Option<FileQueue>,
    ) -> Result<Response, ContentError> {
        match selection {
            Selection::Whole if request.method == Method::HEAD => {
                Ok(whole(head, self.size, Body::empty()))
            }
            Selection::Whole => {
                let body = self.range(0..self.size, queue).await?;
                Ok(whole(head, self.size, body))
            }
            Selection::Refused => Err(ContentError::Range { size: self.size }),
            Selection::One(range) => {
                let content_range =
                    format!("bytes {}-{}/{}", range.start, range.end - 1, self.size);
                let length = range.end - range.start;
                let mut response = partial(head, length, self.range(range, queue).await?);
                set(response.headers_mut(), header::CONTENT_RANGE, content_range);
                Ok(response)
            }
            Selection::Many(ranges) => {
                let multipart =
                    Multipart::new(&self.boundary, self.content_type, self.size, ranges);
                let content_type = multipart.content_type();
                let body = self.parts(multipart, queue).await?;
                // Exact: asking the body spares a second formatting of a thousand part heads.
                let mut response = partial(head, body.size_hint().lower(), body);
                set(response.headers_mut(), header::CONTENT_TYPE, content_type);
                Ok(response)
            }
        }
    }

    async fn range(
        &self,
        range: Range<u64>,
        queue: Option<FileQueue>,
    ) -> Result<Body, ContentError> {
        match &self.source {
            Source::Memory(bytes) => Ok(Body::from(body::slice(bytes, &range))),
            Source::Local(key, file) => Ok(body::local(key.clone(), file.clone(), range, queue)),
            Source::Stored(store, file) => body::range(store, file, range, queue).await,
        }
    }

    async fn parts(
        &self,
        multipart: Multipart,
        queue: Option<FileQueue>,
    ) -> Result<Body, ContentError> {
        match &self.source {
            Source::Memory(bytes) => Ok(Body::from(body::joined(bytes, &multipart))),
            Source::Local(key, file) => Ok(body::local_parts(
                key.clone(),
                file.clone(),
                &multipart,
                queue,
            )),
            Source::Stored(store, file) => body::parts(store, file, multipart, queue).await,
        }
    }
}

/// 200 with a content of this length.
pub fn whole(headers: HeaderMap, length: u64, body: Body) -> Response {
    with_length(StatusCode::OK, headers, length, body)
}

fn partial(headers: HeaderMap, length: u64, body: Body) -> Response {
    with_length(StatusCode::PARTIAL_CONTENT, headers, length, body)
}

fn with_length(status: StatusCode, mut headers: HeaderMap, length: u64, body: Body) -> Response {
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// 304: without the fields that describe a content (RFC 9110 §15.4.5).
pub fn not_modified(mut headers: HeaderMap) -> Response {
    for name in [
        header::CONTENT_TYPE,
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
    ] {
        headers.remove(name);
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.headers_mut() = headers;
    response
}

/// Sets a field whose value cannot hold what a header must not: hashes, dates, numbers, our own table of types.
pub fn set<V: TryInto<HeaderValue>>(headers: &mut HeaderMap, name: HeaderName, value: V) {
    if let Ok(value) = value.try_into() {
        headers.insert(name, value);
    }
}
