//! Compression of answers as they pass: of the API and of upstreams, on routes that ask for it.
//!
//! What was taken in goes out, compressed, as soon as the answer pauses: a client never waits for bytes that are here.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body::{Body as _, Frame};

use super::encoding::{Accepted, Encoding, is_compressible};

use crate::content::SentByKernel;

/// Shorter answers fit in a packet as they are.
const LEAST_BYTES: u64 = 512;

const GZIP_LEVEL: u32 = 4;
const ZSTD_LEVEL: i32 = 3;
/// Of two to the power of this many bytes: bounds what an encoder keeps in memory.
const ZSTD_WINDOW: u32 = 18;

/// Made as they come; brotli pays only for what is kept.
const OFFERED: [Encoding; 2] = [Encoding::Zstd, Encoding::Gzip];

/// Which coding the answer to a request may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    encoding: Option<Encoding>,
    is_head: bool,
}

/// What a request says about the coding of its answer, to be asked before it is handed on.
pub fn wish(method: &Method, headers: &HeaderMap) -> Wish {
    let accepted = Accepted::of(headers);
    let best =
        accepted.and_then(|accepted| accepted.best(OFFERED.map(|offer| (offer, ())).into_iter()));
    Wish {
        encoding: best.map(|(encoding, ())| encoding),
        is_head: *method == Method::HEAD,
    }
}

/// Compresses an answer if that is wished and does no harm.
pub fn answer(wish: Wish, response: Response) -> Response {
    if !is_worth(&response) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let vary = HeaderValue::from_static("accept-encoding");
    parts.headers.append(header::VARY, vary);
    let Some(encoding) = wish.encoding else {
        return Response::from_parts(parts, body);
    };
    let encoder = match Encoder::new(encoding) {
        Ok(encoder) => encoder,
        Err(error) => {
            tracing::warn!(%error, "cannot compress an answer");
            return Response::from_parts(parts, body);
        }
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::ACCEPT_RANGES);
    let name = HeaderValue::from_static(encoding.name());
    parts.headers.insert(header::CONTENT_ENCODING, name);
    weaken(&mut parts.headers);
    let body = if wish.is_head {
        Body::empty()
    } else {
        Body::new(Compressed {
            body,
            encoder: Some(encoder),
            pending: false,
        })
    };
    Response::from_parts(parts, body)
}

/// RFC 9110 §8.8.1: the coded form has other bytes than the one that a strong tag stands for.
fn weaken(headers: &mut HeaderMap) {
    let Some(tag) = headers.get(header::ETAG) else {
        return;
    };
    if tag.as_bytes().starts_with(b"W/") {
        return;
    }
    let weak = [b"W/", tag.as_bytes()].concat();
    match HeaderValue::from_bytes(&weak) {
        Ok(weak) => headers.insert(header::ETAG, weak),
        Err(_) => headers.remove(header::ETAG),
    };
}

fn is_worth(response: &Response) -> bool {
    let headers = response.headers();
    let has = |name| headers.contains_key(name);
    let status = response.status();
    let partial = status == StatusCode::PARTIAL_CONTENT || has(header::CONTENT_RANGE);
    let bodiless = status.is_informational()
        || matches!(
            status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
        );
    if partial || bodiless || has(header::CONTENT_ENCODING) || has(header::UPGRADE) {
        return false;
    }
    // The kernel sends the file itself: there is nothing here to be read.
    if response.extensions().get::<SentByKernel>().is_some() {
        return false;
    }
    let told = headers.get(header::CONTENT_LENGTH);
    let told = told.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let length = told.or(response.body().size_hint().exact());
    if length.is_some_and(|length| length < LEAST_BYTES) {
        return false;
    }
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    is_compressible(kind) && !forbids_change(headers)
}

/// RFC 9111 §5.2.2.6.
fn forbids_change(headers: &HeaderMap) -> bool {
    let rules = headers.get_all(header::CACHE_CONTROL).iter();
    rules
        .filter_map(|rules| rules.to_str().ok())
        .flat_map(|rules| rules.split(','))
        .any(|rule| rule.trim().eq_ignore_ascii_case("no-transform"))
}

/// Writes into memory what is to be sent next.
enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    fn new(encoding: Encoding) -> io::Result<Encoder> {
        if encoding == Encoding::Zstd {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
            encoder.window_log(ZSTD_WINDOW)?;
            return Ok(Encoder::Zstd(encoder));
        }
        let level = Compression::new(GZIP_LEVEL);
        Ok(Encoder::Gzip(GzEncoder::new(Vec::new(), level)))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Encoder::Gzip(encoder) => encoder.write_all(bytes),
            Encoder::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Encoder::Gzip(encoder) => encoder.flush(),
            Encoder::Zstd(encoder) => encoder.flush(),
        }
    }

    fn take(&mut self) -> Bytes {
        let written = match self {
            Encoder::Gzip(encoder) => encoder.get_mut(),
            Encoder::Zstd(encoder) => encoder.get_mut(),
        };
        std::mem::take(written).into()
    }

    fn finish(self) -> io::Result<Bytes> {
        match self {
            Encoder::Gzip(encoder) => encoder.finish().map(Bytes::from),
            Encoder::Zstd(encoder) => encoder.finish().map(Bytes::from),
        }
    }
}

struct Compressed {
    body: Body,
    /// Until the end.
    encoder: Option<Encoder>,
    /// Whether the encoder holds what was taken in and is not yet given out.
    pending: bool,
}

impl http_body::Body for Compressed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        loop {
            let Some(encoder) = &mut this.encoder else {
                return Poll::Ready(None);
            };
            let frame = match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(frame) => frame.transpose()?,
                Poll::Pending if this.pending => {
                    this.pending = false;
                    encoder.flush().map_err(axum::Error::new)?;
                    let ready = encoder.take();
                    if ready.is_empty() {
                        return Poll::Pending;
                    }
                    return Poll::Ready(Some(Ok(Frame::data(ready))));
                }
                Poll::Pending => return Poll::Pending,
            };
            let data = match frame.map(Frame::into_data) {
                Some(Ok(data)) => data,
                // They would overtake the last bytes, which are still here; what is text has none.
                Some(Err(_trailers)) => continue,
                None => {
                    let encoder = this.encoder.take();
                    let last = encoder
                        .map(Encoder::finish)
                        .transpose()
                        .map_err(axum::Error::new)?;
                    return Poll::Ready(last.map(|last| Ok(Frame::data(last))));
                }
            };
            encoder.write(&data).map_err(axum::Error::new)?;
            this.pending = true;
            let ready = encoder.take();
            if !ready.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(ready))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(
        fields: &[(&'static str, &'static str)],
        status: u16,
        body: &'static str,
    ) -> Response {
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in fields {
            response
                .headers_mut()
                .append(*name, HeaderValue::from_static(value));
        }
        response
    }

    fn coding(fields: &[(&'static str, &'static str)], status: u16) -> Option<String> {
        let text: &'static str = Box::leak("text ".repeat(1000).into());
        let mut headers = HeaderMap::new();
        headers.insert(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("gzip, br"),
        );
        let answer = answer(wish(&Method::GET, &headers), response(fields, status, text));
        let coding = answer.headers().get(header::CONTENT_ENCODING)?;
        Some(coding.to_str().unwrap().to_owned())
    }

    #[test]
    fn only_what_shrinks_and_may_be_changed_is_compressed() {
        let json = ("content-type", "application/json");
        assert_eq!(coding(&[json], 200).as_deref(), Some("gzip"));
        assert_eq!(coding(&[json], 500).as_deref(), Some("gzip"));
        for (fields, status) in [
            (vec![], 200),
            (vec![("content-type", "image/png")], 200),
            (vec![("content-type", "text/event-stream")], 200),
            (vec![json, ("cache-control", "private, No-Transform")], 200),
            (vec![json, ("content-range", "bytes 0-1/2")], 200),
            (vec![json], 206),
            (vec![json], 204),
            (vec![json], 304),
            (vec![json], 101),
        ] {
            assert_eq!(coding(&fields, status), None, "{fields:?} {status}");
        }
        assert_eq!(
            coding(&[json, ("content-encoding", "br")], 200).as_deref(),
            Some("br")
        );
    }

    #[test]
    fn a_compressed_answer_has_the_fields_of_its_own_form() {
        let text: &'static str = Box::leak("text ".repeat(1000).into());
        let fields = [
            ("content-type", "text/plain"),
            ("content-length", "5000"),
            ("accept-ranges", "bytes"),
            ("etag", "\"1\""),
            ("vary", "origin"),
        ];
        let mut headers = HeaderMap::new();
        let plain = answer(wish(&Method::GET, &headers), response(&fields, 200, text));
        assert_eq!(plain.headers().get_all("vary").iter().count(), 2);
        assert_eq!(plain.headers()["content-length"], "5000");
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("zstd"));
        for method in [Method::GET, Method::HEAD] {
            let coded = answer(wish(&method, &headers), response(&fields, 200, text));
            let head = coded.headers();
            assert_eq!(head["content-encoding"], "zstd");
            assert_eq!(head["etag"], "W/\"1\"");
            assert!(!head.contains_key("content-length") && !head.contains_key("accept-ranges"));
        }
    }
}
