//! Header fields that must not go through a proxy, in either direction.

use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::{FieldEdits, FieldPattern};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// RFC 9110 §7.6.1, and all that is meant for proxies. `Proxy` itself becomes HTTP_PROXY in a CGI program.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    *name == CONNECTION
        || *name == TRANSFER_ENCODING
        || *name == UPGRADE
        || *name == TE
        || *name == EXPECT
        || *name == KEEP_ALIVE
        || *name == HTTP2_SETTINGS
        || name.as_str() == "proxy"
        || name.as_str().starts_with("proxy-")
}

/// Whether the length of a message could be read in two ways (RFC 9112 §6.3), or its body has a coding beside `chunked`,
/// which nobody takes off here. Passed on, it would be cut or garbled behind a head that says all is well.
pub fn is_framed_oddly(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    match codings.next() {
        Some(first) => {
            !chunked(first) || codings.next().is_some() || headers.contains_key(CONTENT_LENGTH)
        }
        None => false,
    }
}

/// Removes what belongs to one connection only.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    for value in headers
        .get_all(CONNECTION)
        .iter()
        .cloned()
        .collect::<Vec<_>>()
    {
        for name in value.as_bytes().split(|byte| *byte == b',') {
            if let Ok(name) = HeaderName::from_bytes(name.trim_ascii()) {
                remove(headers, &name);
            }
        }
    }
    remove_where(headers, is_hop_by_hop);
}

pub fn remove(headers: &mut HeaderMap, name: &HeaderName) {
    // Of several fields of that name all go.
    drop(headers.remove(name));
}

/// Removes the fields that `unwanted` picks. Nearly always there are none, so names are looked through first.
pub fn remove_where(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    while let Some(name) = headers.keys().find(|name| unwanted(name)).cloned() {
        remove(headers, &name);
    }
}

/// Whether one of the comma-separated members of `name` is `token` (RFC 9110 §5.6.1), whatever its case.
pub fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let is = |member: &[u8]| member.trim_ascii().eq_ignore_ascii_case(token.as_bytes());
    headers
        .get_all(name)
        .iter()
        .any(|value| value.as_bytes().split(|byte| *byte == b',').any(is))
}

/// RFC 9113 §8.2.3: HTTP/2 splits cookies into several fields, HTTP/1.1 has one.
pub fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    if cookies.next().is_none() || cookies.next().is_none() {
        return;
    }
    let values: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    // Made of valid values, so it is one.
    if let Ok(joined) = HeaderValue::from_bytes(&values.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// What the operator wants changed.
pub fn edit(headers: &mut HeaderMap, edits: &Edits) {
    for name in &edits.remove {
        remove(headers, name);
    }
    if !edits.patterns.remove.is_empty() {
        let unwanted = |name: &HeaderName| {
            let patterns = &edits.patterns.remove;
            patterns.iter().any(|pattern| pattern.matches(name))
        };
        remove_where(headers, unwanted);
    }
    for (name, value) in &edits.set {
        headers.insert(name, value.clone());
    }
}

/// [`FieldEdits`], ready for use.
#[derive(Default)]
pub struct Edits {
    set: Vec<(HeaderName, HeaderValue)>,
    remove: Vec<HeaderName>,
    /// Only those that stand for several names.
    patterns: FieldEdits,
}

impl Edits {
    pub fn new(edits: &FieldEdits) -> Edits {
        let set = edits.set.iter();
        let mut patterns = edits.clone();
        patterns.set.clear();
        patterns.remove.retain(|pattern| pattern.exact().is_none());
        Edits {
            set: set
                .map(|(name, value)| (name.name(), value.value().clone()))
                .collect(),
            remove: edits
                .remove
                .iter()
                .filter_map(FieldPattern::exact)
                .collect(),
            patterns,
        }
    }
}

#[cfg(test)]
mod tests;
