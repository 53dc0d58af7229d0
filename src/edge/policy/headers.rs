//! Fields that a route gives its answers.

use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::config::{CacheTier, Route, SecurityHeaders, Target, path_fits};

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

const CSP_NOTHING: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const CSP_PAGES: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob: https:; \
    font-src 'self' data:; media-src 'self' blob: https:; connect-src 'self' https: wss:; worker-src 'self' blob:; \
    object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'";
const CSP_FOREIGN: &str = "object-src 'none'; frame-ancestors 'none'";

/// For what else an answer gets on its way out: the map is grown once.
const ROOM: usize = 6;

pub struct Headers {
    /// Added to answers that do not have them.
    security: Vec<(HeaderName, HeaderValue)>,
    /// Over TLS, in place of what an upstream says: it speaks for the whole host.
    transport: Option<HeaderValue>,
    cache: Vec<CacheTier>,
    edits: crate::config::FieldEdits,
    set: Vec<(HeaderName, HeaderValue)>,
}

impl Headers {
    pub fn new(route: &Route) -> Headers {
        let own = &route.security;
        let edits = &route.response_headers;
        let set = edits.set.iter();
        let transport = own.strict_transport_security.value();
        Headers {
            security: security(own, &route.to),
            transport: (own.enabled && !transport.is_empty()).then(|| transport.clone()),
            cache: route.cache.clone(),
            set: set
                .map(|(name, value)| (name.name(), value.value().clone()))
                .collect(),
            edits: edits.clone(),
        }
    }

    pub fn write(&self, headers: &mut HeaderMap, status: StatusCode, path: &str, tls: bool) {
        headers.reserve(self.security.len() + ROOM);
        for (name, value) in &self.security {
            if let Entry::Vacant(absent) = headers.entry(name) {
                absent.insert(value.clone());
            }
        }
        if tls && let Some(transport) = &self.transport {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, transport.clone());
        }
        let kept = status.is_success() || status == StatusCode::NOT_MODIFIED;
        if kept && let Some(tier) = self.cache.iter().find(|tier| path_fits(&tier.path, path)) {
            // Both would contradict it to older caches (RFC 9111 §5.3, §5.4).
            headers.remove(header::EXPIRES);
            headers.remove(header::PRAGMA);
            headers.insert(header::CACHE_CONTROL, tier.control.value().clone());
        }
        for pattern in &self.edits.remove {
            match pattern.exact() {
                Some(name) => drop(headers.remove(name)),
                None => {
                    let names = headers.keys().filter(|name| pattern.matches(name));
                    let names: Vec<HeaderName> = names.cloned().collect();
                    for name in names {
                        headers.remove(name);
                    }
                }
            }
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
    }
}

/// What stands behind a login is for nobody's shared cache: `public` and `s-maxage` would let one answer it to anybody
/// (RFC 9111 §3.5).
pub fn keep_private(headers: &mut HeaderMap) {
    let Some(control) = headers.get(header::CACHE_CONTROL) else {
        return;
    };
    let control = control.to_str().unwrap_or("no-store"); // what is no text is no directive
    let shared = |directive: &&str| {
        let name = directive.split('=').next().unwrap_or_default().trim();
        name.eq_ignore_ascii_case("public") || name.eq_ignore_ascii_case("s-maxage")
    };
    let own = control.split(',').map(str::trim);
    let own: Vec<&str> = own.filter(|directive| !shared(directive)).collect();
    let private = match own.iter().any(|one| one.eq_ignore_ascii_case("private")) {
        true => own.join(", "),
        false => [&["private"], own.as_slice()].concat().join(", "),
    };
    if let Ok(private) = HeaderValue::try_from(private) {
        headers.insert(header::CACHE_CONTROL, private);
    }
}

fn security(own: &SecurityHeaders, to: &Target) -> Vec<(HeaderName, HeaderValue)> {
    if !own.enabled {
        return Vec::new();
    }
    let csp = match (&own.content_security_policy, to) {
        (Some(csp), _) => csp.value().clone(),
        (None, Target::Files(_)) => HeaderValue::from_static(CSP_PAGES),
        (None, Target::Proxy(_)) => HeaderValue::from_static(CSP_FOREIGN),
        (None, Target::Backend | Target::Signaling | Target::Redirect(_) | Target::Respond(_)) => {
            HeaderValue::from_static(CSP_NOTHING)
        }
    };
    let fields = [
        (
            header::X_CONTENT_TYPE_OPTIONS,
            own.content_type_options.value().clone(),
        ),
        (header::X_FRAME_OPTIONS, own.frame_options.value().clone()),
        (header::REFERRER_POLICY, own.referrer_policy.value().clone()),
        (PERMISSIONS_POLICY, own.permissions_policy.value().clone()),
        (
            OPENER_POLICY,
            own.cross_origin_opener_policy.value().clone(),
        ),
        (header::CONTENT_SECURITY_POLICY, csp),
    ];
    fields
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect()
}
