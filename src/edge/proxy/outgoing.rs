//! What an upstream gets of a request: everything, but for what belongs to the connection it came on.

use std::net::IpAddr;

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, ORIGIN, TE, TRANSFER_ENCODING, UPGRADE, VIA};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use http_body::Body as _;

use super::fields::{self, Edits};
use super::upload::Upload;
use super::upstream::Upstream;
use crate::config::proxy::{HostField, OriginField};

const FORWARDED: HeaderName = http::header::FORWARDED;
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// How requests of one route are changed.
pub struct Rules {
    pub host: HostField,
    pub origin: OriginField,
    pub forwarded: bool,
    pub via: bool,
    pub edits: Edits,
}

/// From whom a request came.
pub struct Sender<'a> {
    /// The client, perhaps behind trusted proxies.
    pub address: IpAddr,
    /// The other end of the connection, when it is a trusted proxy.
    pub through: Option<IpAddr>,
    pub tls: bool,
    pub host: &'a str,
}

/// A request that was taken apart, to be sent once or several times.
pub struct Draft {
    pub method: Method,
    /// Path and query as they came, the prefix of the route taken off.
    pub target: PathAndQuery,
    pub headers: HeaderMap,
    /// Until it is on its way.
    pub upload: Option<Upload>,
    /// The body is not empty and its length is not known.
    chunked: bool,
    /// The one that the client asked to switch to.
    pub upgrade: Option<HeaderValue>,
    trailers: bool,
    /// It has no body, and doing it twice does no harm (RFC 9110 §9.2.2).
    pub repeatable: bool,
}

impl Draft {
    /// Everything that does not depend on the upstream.
    pub fn new(
        request: Request<Body>,
        target: PathAndQuery,
        sender: &Sender<'_>,
        rules: &Rules,
    ) -> Draft {
        let (parts, body) = request.into_parts();
        let mut headers = parts.headers;
        let upgrade = wanted_upgrade(parts.version, &headers);
        let trailers = fields::has_token(&headers, &TE, "trailers");
        fields::remove_hop_by_hop(&mut headers);
        forwarded(&mut headers, sender, rules.forwarded);
        if rules.via {
            via(&mut headers, parts.version);
        }
        let empty = body.is_end_stream();
        let chunked = !empty && body.size_hint().exact().is_none();
        Draft {
            repeatable: empty && parts.method.is_idempotent(),
            method: parts.method,
            target,
            headers,
            upload: None,
            chunked,
            upgrade,
            trailers,
        }
        .with_body(body)
    }

    fn with_body(mut self, body: Body) -> Draft {
        if !self.repeatable {
            self.upload = Some(Upload::new(body));
        }
        self
    }

    /// The request for this upstream. With `keep` another one can be made later.
    pub fn request(
        &mut self,
        upstream: &Upstream,
        http2: bool,
        sender: &Sender<'_>,
        rules: &Rules,
        keep: bool,
    ) -> Result<Request<Upload>, http::Error> {
        let mut headers = if keep {
            self.headers.clone()
        } else {
            std::mem::take(&mut self.headers)
        };
        if rules.origin == OriginField::Upstream {
            headers.insert(ORIGIN, upstream.origin.clone());
        }
        if self.trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        fields::edit(&mut headers, &rules.edits);
        let target = below(upstream.identity.url.base(), &self.target)?;
        let uri = if http2 {
            let authority = match rules.host {
                HostField::Upstream => upstream.authority.clone(),
                HostField::Client => sender.host.parse()?,
            };
            headers.remove(HOST);
            let scheme = upstream.identity.url.scheme().name();
            Uri::builder()
                .scheme(if scheme == "https" {
                    Scheme::HTTPS
                } else {
                    Scheme::HTTP
                })
                .authority(authority)
                .path_and_query(target)
                .build()?
        } else {
            let host = match rules.host {
                HostField::Upstream => upstream.host.clone(),
                HostField::Client => HeaderValue::from_str(sender.host)?,
            };
            headers.insert(HOST, host);
            self.frame_for_http1(&mut headers);
            Uri::from(target)
        };
        let upload = self.upload.take().unwrap_or_else(Upload::empty);
        let mut request = Request::new(upload);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }

    fn frame_for_http1(&self, headers: &mut HeaderMap) {
        fields::join_cookies(headers);
        if self.chunked {
            // Said aloud: hyper takes it that a GET has no body unless its head says so.
            headers.remove(CONTENT_LENGTH);
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        if let Some(protocol) = &self.upgrade {
            headers.insert(UPGRADE, protocol.clone());
            let upgrade = HeaderValue::from_static("upgrade");
            headers.insert(http::header::CONNECTION, upgrade);
        }
    }

    /// Takes back a request of which not a byte was sent.
    pub fn restore(&mut self, request: Request<Upload>) {
        let (parts, body) = request.into_parts();
        self.headers = parts.headers;
        self.headers.remove(TRANSFER_ENCODING);
        self.headers.remove(UPGRADE);
        self.headers.remove(http::header::CONNECTION);
        if !self.repeatable {
            self.upload = Some(body);
        }
    }
}

/// RFC 9110 §7.8. Never `h2c`: its frames would go past every rule of this route.
fn wanted_upgrade(version: Version, headers: &HeaderMap) -> Option<HeaderValue> {
    if version != Version::HTTP_11
        || !fields::has_token(headers, &http::header::CONNECTION, "upgrade")
    {
        return None;
    }
    let protocol = headers.get(UPGRADE)?;
    let text = protocol.to_str().ok()?.to_ascii_lowercase();
    let is_http = text.split(',').any(|one| {
        let one = one.trim();
        one.starts_with("h2") || one.starts_with("http/") || one.starts_with("tls/")
    });
    (!is_http && !text.is_empty()).then(|| protocol.clone())
}

/// Path and query behind the base path of an upstream.
fn below(base: &str, target: &PathAndQuery) -> Result<PathAndQuery, http::Error> {
    if base.is_empty() || target.as_str() == "*" {
        return Ok(target.clone());
    }
    Ok(PathAndQuery::from_maybe_shared(Bytes::from(format!(
        "{base}{target}"
    )))?)
}

/// The path below the route and the query of the request, both as they came.
pub fn target(uri: &Uri, path_below_route: &str) -> Result<PathAndQuery, http::Error> {
    if let Some(whole) = uri.path_and_query()
        && whole.path() == path_below_route
    {
        return Ok(whole.clone());
    }
    let slash = if path_below_route.starts_with('/') {
        ""
    } else {
        "/"
    };
    let text = match uri.query() {
        Some(query) => format!("{slash}{path_below_route}?{query}"),
        None => format!("{slash}{path_below_route}"),
    };
    Ok(PathAndQuery::from_maybe_shared(Bytes::from(text))?)
}

/// Tells the upstream who asks, or at least that nobody else does.
fn forwarded(headers: &mut HeaderMap, sender: &Sender<'_>, tell: bool) {
    match sender.through {
        // Of a proxy that adds to X-Forwarded-For, the client's own word for itself would come through.
        Some(_) => {
            fields::remove_where(headers, |name| *name == REAL_IP || claims_in_disguise(name))
        }
        None => fields::remove_where(headers, claims_a_sender),
    }
    if !tell {
        return;
    }
    // Ours would have to be added to it, and upstreams read one or the other.
    headers.remove(FORWARDED);
    if let Ok(list) = HeaderValue::from_str(&chain(headers, sender)) {
        headers.insert(FORWARDED_FOR, list);
    }
    let scheme = if sender.tls { "https" } else { "http" };
    let scheme = HeaderValue::from_static(scheme);
    keep_last(headers, &FORWARDED_PROTO, Some(scheme));
    let host = HeaderValue::from_str(sender.host).ok(); // what is no value was no Host either
    keep_last(headers, &FORWARDED_HOST, host);
}

/// The way of the request up to us. A proxy may have added a field of its own to that of its client: the list goes on in
/// the next field (RFC 9110 §5.3).
fn chain(headers: &HeaderMap, sender: &Sender<'_>) -> String {
    let Some(nearest) = sender.through else {
        return sender.address.to_string();
    };
    let fields = headers.get_all(FORWARDED_FOR).iter();
    let told: Vec<&str> = fields.filter_map(|field| field.to_str().ok()).collect(); // names no address
    match told.is_empty() {
        false => format!("{}, {nearest}", told.join(", ")),
        // The client had it taken off as a field of one connection (`Connection: x-forwarded-for`).
        true => format!("{}, {nearest}", sender.address),
    }
}

/// Of several fields the last is the one that the proxy added; `ours` when there is none.
fn keep_last(headers: &mut HeaderMap, name: &HeaderName, ours: Option<HeaderValue>) {
    let last = headers.get_all(name).iter().next_back().cloned();
    if let Some(one) = last.or(ours) {
        headers.insert(name, one);
    }
}

/// Fields by which upstreams believe to know who asks.
fn claims_a_sender(name: &HeaderName) -> bool {
    claims(name.as_str()) || claims_in_disguise(name)
}

/// A `_` is read as a `-` by those who turn fields into variables, and no proxy writes one.
fn claims_in_disguise(name: &HeaderName) -> bool {
    let text = name.as_str();
    text.contains('_') && claims(&text.replace('_', "-"))
}

fn claims(name: &str) -> bool {
    name.starts_with("x-forwarded-") || name == REAL_IP.as_str() || name == FORWARDED.as_str()
}

/// RFC 9110 §7.6.3.
pub fn via(headers: &mut HeaderMap, version: Version) {
    let received = match version {
        Version::HTTP_10 => HeaderValue::from_static("1.0 seance"),
        Version::HTTP_2 => HeaderValue::from_static("2.0 seance"),
        _ => HeaderValue::from_static("1.1 seance"),
    };
    headers.append(VIA, received);
}

#[cfg(test)]
mod tests;
