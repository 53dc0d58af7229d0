//! What a route adds to, or asks of, the requests that it answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fields::FieldValue;

/// Header fields that tell browsers to be careful (OWASP Secure Headers Project). Each is added to an answer that does not
/// have it yet; an empty text leaves one out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SecurityHeaders {
    /// Whether any of them is added.
    pub enabled: bool,
    /// Sent over TLS only (RFC 6797 §7.2).
    pub strict_transport_security: FieldValue,
    pub content_type_options: FieldValue,
    pub frame_options: FieldValue,
    pub referrer_policy: FieldValue,
    pub permissions_policy: FieldValue,
    pub cross_origin_opener_policy: FieldValue,
    /// By default for `backend`, `signaling`, `redirect` and `respond` one that allows nothing, for `files` one that allows
    /// what a page of its own host needs, for `proxy` one that only forbids plugins and frames.
    pub content_security_policy: Option<FieldValue>,
}

impl Default for SecurityHeaders {
    fn default() -> SecurityHeaders {
        SecurityHeaders {
            enabled: true,
            strict_transport_security: FieldValue::from_static("max-age=31536000"),
            content_type_options: FieldValue::from_static("nosniff"),
            frame_options: FieldValue::from_static("DENY"),
            referrer_policy: FieldValue::from_static("strict-origin-when-cross-origin"),
            // A product for meetings needs these for itself.
            permissions_policy: FieldValue::from_static(
                "camera=(self), microphone=(self), display-capture=(self), geolocation=(), payment=(), usb=()",
            ),
            cross_origin_opener_policy: FieldValue::from_static("same-origin"),
            content_security_policy: None,
        }
    }
}

/// Which pages of other origins may read answers (Fetch Standard, "CORS protocol"). What the upstream says about it is
/// removed, and preflights are answered here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// `https://app.example.com`; `*` for any.
    #[schemars(example = ["https://app.example.com"])]
    pub origins: Vec<String>,
    pub methods: Vec<String>,
    /// Fields that requests may carry.
    pub headers: Vec<String>,
    /// Fields of answers that pages may read.
    pub expose: Vec<String>,
    /// Whether cookies may come along; not with `*` among the origins.
    pub credentials: bool,
    /// How long browsers may remember a preflight, seconds.
    pub max_age_seconds: u32,
}

impl Default for Cors {
    fn default() -> Cors {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Cors {
            origins: Vec::new(),
            methods: owned(&["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]),
            headers: owned(&["authorization", "content-type"]),
            expose: Vec::new(),
            credentials: false,
            max_age_seconds: 600,
        }
    }
}

/// Replaces Cache-Control of successful answers; the first that fits holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheTier {
    /// The whole path of the request; a `*` stands for anything.
    #[schemars(example = "*.js")]
    pub path: String,
    #[schemars(example = "public, max-age=31536000, immutable")]
    pub control: FieldValue,
}

/// So many requests in so many seconds, then 429. All of them may come at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    #[schemars(example = 600)]
    pub requests: u32,
    #[schemars(example = 60)]
    pub seconds: u32,
    /// The header field whose value counts as one client, `X-Api-Key`. Without one, and for requests that lack it, an
    /// address counts (IPv6: one /64).
    pub key: Option<String>,
}

/// Whether a whole path is what a pattern says, in which a `*` stands for anything.
pub fn path_fits(pattern: &str, path: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = path.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// What is wrong with the policies of a route.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("`cors.origins` is empty; nobody could use the route from another origin")]
    NoOrigin,
    #[error(
        "`cors.origins` names `{0}`; an origin is `https://` and a host in lower case, perhaps a port that is not 443, and \
         nothing more"
    )]
    Origin(String),
    #[error("`cors.credentials` is set, but any origin may come (`*`)")]
    AnyWithCredentials,
    #[error("`{0}` is not the name of a method or a header field")]
    Token(String),
    #[error(
        "`rate_limits` has {requests} requests in {seconds} s; each has to be between 1 and 1000000"
    )]
    Rate { requests: u32, seconds: u32 },
    #[error("`max_body_bytes` is 0; nothing could be sent")]
    NoBody,
    #[error("`allow` is empty; nobody could come in")]
    Nobody,
    #[error("`basic_auth` has neither `users` nor a `users_file`; nobody could come in")]
    NoUser,
    #[error("`basic_auth` has both `users` and `users_file`; one of them has to go")]
    UsersAndFile,
}

impl super::routes::Route {
    /// Proves what the types of the policies cannot.
    pub fn check_policies(&self) -> Result<(), PolicyError> {
        let token = |text: &String| match http::HeaderName::try_from(text.as_str()) {
            Ok(_) => Ok(()),
            Err(_) => Err(PolicyError::Token(text.clone())),
        };
        if let Some(cors) = &self.cors {
            if cors.origins.is_empty() {
                return Err(PolicyError::NoOrigin);
            }
            let any = cors.origins.iter().any(|origin| origin == "*");
            if any && cors.credentials {
                return Err(PolicyError::AnyWithCredentials);
            }
            let mut named = cors.origins.iter().filter(|origin| *origin != "*");
            if let Some(wrong) =
                named.find(|origin| super::checks::page_origin("cors", origin).is_err())
            {
                return Err(PolicyError::Origin(wrong.clone()));
            }
            let tokens = cors.methods.iter().chain(&cors.headers).chain(&cors.expose);
            tokens.into_iter().try_for_each(token)?;
        }
        for limit in &self.rate_limits {
            let (requests, seconds) = (limit.requests, limit.seconds);
            if [requests, seconds]
                .iter()
                .any(|n| !(1..=1_000_000).contains(n))
            {
                return Err(PolicyError::Rate { requests, seconds });
            }
            limit.key.iter().try_for_each(token)?;
        }
        if self.max_body_bytes == Some(0) {
            return Err(PolicyError::NoBody);
        }
        if self.allow.as_ref().is_some_and(Vec::is_empty) {
            return Err(PolicyError::Nobody);
        }
        if let Some(auth) = &self.basic_auth {
            match (&auth.users_file, auth.users.is_empty()) {
                (None, true) => return Err(PolicyError::NoUser),
                (Some(_), false) => return Err(PolicyError::UsersAndFile),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, path) in [
            ("*", "/a"),
            ("/a", "/a"),
            ("*.js", "/x/a.js"),
            ("/a/*", "/a/b/c"),
            ("/a*b*c", "/a-b-c"),
            ("/**", "/"),
        ] {
            assert!(path_fits(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("/a", "/ab"),
            ("*.js", "/a.json"),
            ("/a/*", "/a"),
            ("/ab*b", "/ab"),
            ("/a*b*c", "/a-c-b"),
            ("", "/"),
        ] {
            assert!(!path_fits(pattern, path), "{pattern} {path}");
        }
    }
}
