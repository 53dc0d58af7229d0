//! The routes of a host, as an operator writes them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::basic_auth::BasicAuth;
use super::fields::FieldEdits;
use super::files::Files;
use super::network::Network;
use super::policy::{CacheTier, Cors, RateLimit, SecurityHeaders};
use super::proxy::Proxy;

/// What answers under a path; the longest path wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    /// A prefix that ends where a segment ends: `/api` is `/api` and `/api/…`, not `/apix`. Paths of requests are compared
    /// with their percent-encoding decoded and repeated slashes merged.
    pub path: String,
    /// `"backend"`, `"signaling"`, or one of the tables below.
    pub to: Target,
    /// Whoever answers sees the path without `path` in front.
    pub strip_prefix: bool,
    /// Whoever answers sees this in front instead of `path`.
    pub rewrite: Option<String>,
    /// Whether text answers of whoever answers are compressed as they pass (zstd, gzip), where the client takes that. Files
    /// in memory have compressed forms without it.
    pub compress: bool,
    /// Addresses that may come in, as networks; others get 403. Without it, all may.
    pub allow: Option<Vec<Network>>,
    /// Names and passwords of those who may come in.
    pub basic_auth: Option<BasicAuth>,
    /// The largest body of a request, bytes; 413 beyond it. Without it the limits of whoever answers hold.
    pub max_body_bytes: Option<u64>,
    /// How often one client may come; each counts by itself.
    pub rate_limits: Vec<RateLimit>,
    pub security: SecurityHeaders,
    pub cors: Option<Cors>,
    /// How long answers may be kept.
    pub cache: Vec<CacheTier>,
    /// Fields of answers, removed and set last.
    pub response_headers: FieldEdits,
}

impl Default for Route {
    fn default() -> Route {
        Route {
            path: "/".to_owned(),
            to: Target::Backend,
            strip_prefix: false,
            rewrite: None,
            compress: false,
            allow: None,
            basic_auth: None,
            max_body_bytes: None,
            rate_limits: Vec::new(),
            security: SecurityHeaders::default(),
            cors: None,
            cache: Vec::new(),
            response_headers: FieldEdits::default(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The API of seance itself.
    Backend,
    /// The signaling room.
    Signaling,
    Files(Files),
    Proxy(Box<Proxy>),
    Redirect(Redirect),
    Respond(Respond),
}

/// Another address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Redirect {
    /// An address, or a path on the same host.
    #[schemars(example = "https://www.example.com/")]
    pub location: String,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// The rest of the path and the query are put behind the location.
    pub keep_path: bool,
}

impl Default for Redirect {
    fn default() -> Redirect {
        Redirect {
            location: String::new(),
            status: 308,
            keep_path: false,
        }
    }
}

impl Redirect {
    /// The location for a request: `below` is what its path has behind the route's. Whatever that is, it stays below
    /// the location's host.
    pub fn leads_to(&self, below: &str, query: Option<&str>) -> String {
        if !self.keep_path {
            return self.location.clone();
        }
        let front = self.location.trim_end_matches('/');
        let slash = if front.is_empty() || !below.is_empty() {
            "/"
        } else {
            ""
        };
        let below = inside(below);
        let mark = if query.is_some() { "?" } else { "" };
        format!("{front}{slash}{below}{mark}{}", query.unwrap_or_default())
    }
}

/// A path without the slashes at its beginning, in any spelling: browsers read `//` and `/\` as the beginning of a host,
/// and what follows a host without a slash as a part of it.
fn inside(path: &str) -> &str {
    let mut rest = path;
    loop {
        let (first, behind) = rest.split_at_checked(3).unwrap_or_default();
        let is_slash = |spelling: &&str| first.eq_ignore_ascii_case(spelling);
        rest = match rest.strip_prefix(['/', '\\']) {
            Some(rest) => rest,
            None if ["%2f", "%5c"].iter().any(is_slash) => behind,
            None => return rest,
        };
    }
}

/// Always the same answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Respond {
    /// 200 to 599.
    pub status: u16,
    pub body: String,
    pub content_type: String,
}

impl Default for Respond {
    fn default() -> Respond {
        Respond {
            status: 200,
            body: String::new(),
            content_type: "text/plain; charset=utf-8".to_owned(),
        }
    }
}
