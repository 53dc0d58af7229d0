//! Options of a route, and whole routes, that could never have an effect.

use http::StatusCode;

use super::{Table, TableError};
use crate::config::deny::{Deny, DenyMode};
use crate::config::policy::path_fits;
use crate::config::routes::{Route, Target};

/// What of a route has no effect.
#[derive(Debug, thiserror::Error)]
pub enum DeadError {
    #[error("`{key}` does nothing here: {why}")]
    Option {
        key: &'static str,
        why: &'static str,
    },
    #[error(
        "`cache` has the path `{0}`, which no request for this route has: it is compared with the whole path"
    )]
    Outside(String),
    #[error("`cache` has the path `{path}` behind `{first}`, which fits all of it and comes first")]
    Behind { path: String, first: String },
    #[error("`rate_limits` has {requests} requests in {seconds} s twice; once is enough")]
    SameLimit { requests: u32, seconds: u32 },
    #[error("`deny.paths` holds all of it; it would never answer")]
    Denied,
}

/// # Errors
/// The first option that does nothing.
pub fn check(route: &Route) -> Result<(), DeadError> {
    match options(route) {
        Some((key, why)) => Err(DeadError::Option { key, why }),
        None => tiers(route).and_then(|()| limits(route)),
    }
}

/// An option that does nothing, and why.
fn options(route: &Route) -> Option<(&'static str, &'static str)> {
    let prefix = route.path.trim_end_matches('/');
    let strips = route.strip_prefix.then_some("strip_prefix");
    let rewrite = route
        .rewrite
        .as_deref()
        .map(|path| path.trim_end_matches('/'));
    let changes = strips.or(rewrite.map(|_| "rewrite"));
    let compresses = route.compress.then_some("compress");
    let caches = (!route.cache.is_empty()).then_some("cache");
    let with = |key: Option<&'static str>, why| key.map(|key| (key, why));
    match &route.to {
        Target::Redirect(_) => with(changes, "nobody else sees the path of a redirect")
            .or(with(compresses, "a redirect has no body"))
            .or(with(caches, "it is for successful answers")),
        Target::Respond(respond) => {
            let kept = (200..300).contains(&respond.status)
                || respond.status == StatusCode::NOT_MODIFIED.as_u16();
            with(changes, "the answer is always the same").or(with(
                caches.filter(|_| !kept),
                "it is for successful answers",
            ))
        }
        Target::Signaling => with(changes, "the room is found whatever the path is")
            .or(with(compresses, "the room sends no text that is worth it")),
        Target::Files(_) => {
            let same = rewrite
                .filter(|rewrite| rewrite.is_empty())
                .map(|_| "rewrite");
            with(
                strips.or(same),
                "files are looked up without `path` in any case",
            )
        }
        Target::Backend | Target::Proxy(_) => {
            let root = strips.filter(|_| prefix.is_empty());
            let same = rewrite
                .filter(|rewrite| *rewrite == prefix)
                .map(|_| "rewrite");
            with(root, "there is nothing to strip").or(with(same, "it is the same as `path`"))
        }
    }
}

fn tiers(route: &Route) -> Result<(), DeadError> {
    let prefix = route.path.trim_end_matches('/');
    for (index, tier) in route.cache.iter().enumerate() {
        let path = &tier.path;
        if !is_within(path, prefix) {
            return Err(DeadError::Outside(path.clone()));
        }
        // What fits a pattern as a text fits all that the pattern fits: its `*` is a character like any other then.
        let mut earlier = route.cache[..index].iter();
        if let Some(first) = earlier.find(|first| path_fits(&first.path, path)) {
            return Err(DeadError::Behind {
                path: path.clone(),
                first: first.path.clone(),
            });
        }
    }
    Ok(())
}

/// Whether a path that a pattern fits can be a prefix, or lie below it.
fn is_within(pattern: &str, prefix: &str) -> bool {
    let below = |path: &str| {
        let rest = path.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.starts_with('/') || rest.is_empty())
    };
    match pattern.split_once('*') {
        Some((head, _)) => below(head) || prefix.starts_with(head),
        None => pattern.starts_with('/') && below(pattern),
    }
}

fn limits(route: &Route) -> Result<(), DeadError> {
    for (index, limit) in route.rate_limits.iter().enumerate() {
        // Case does not tell header fields apart.
        let parts = |limit: &crate::config::RateLimit| {
            let key = limit.key.as_ref().map(|key| key.to_ascii_lowercase());
            (limit.requests, limit.seconds, key)
        };
        let mut earlier = route.rate_limits[..index].iter();
        if earlier.any(|other| parts(other) == parts(limit)) {
            let (requests, seconds) = (limit.requests, limit.seconds);
            return Err(DeadError::SameLimit { requests, seconds });
        }
    }
    Ok(())
}

impl Table {
    /// # Errors
    /// A route all of whose paths are turned away before any route is looked at.
    pub fn check_denied(&self, deny: &Deny) -> Result<(), TableError> {
        // `*` is meant: closed for a while.
        let closed = deny.paths.iter().any(|pattern| pattern == "*");
        if deny.mode != DenyMode::Block || closed {
            return Ok(());
        }
        let denied = |path: &str| deny.paths.iter().any(|pattern| path_fits(pattern, path));
        for host in &self.hosts {
            let mut routes = host.routes.iter();
            // As above, `*` stands for all that lies below.
            let all = routes.find(|route| {
                let below = format!("{}/*", route.prefix);
                denied(&below) && (route.prefix.is_empty() || denied(&route.prefix))
            });
            if let Some(route) = all {
                return Err(TableError::Dead {
                    place: route.place.clone(),
                    host: host.name.clone(),
                    path: route.route.path.clone(),
                    source: Box::new(DeadError::Denied),
                });
            }
        }
        Ok(())
    }
}
