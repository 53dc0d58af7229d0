//! The compiled route table: which route answers for a host and a path. Pure; proved when the configuration is loaded.

mod circles;
mod dead;
mod lookup;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use super::apps::App;
use super::files::FilesError;
use super::hosts::{Host, Hosts};
use super::policy::PolicyError;
use super::proxy::ProxyError;
use super::routes::{Redirect, Respond, Route, Target};
use dead::DeadError;

pub use circles::Doors;
pub use lookup::HostName;

/// Where something was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    File { path: PathBuf, line: usize },
    Variable(&'static str),
}

/// The places of a host and of its routes.
#[derive(Clone, Debug)]
pub struct Places {
    pub host: Place,
    /// In the order of the file.
    pub routes: Vec<Place>,
}

/// Every host with its routes.
#[derive(Debug, Default)]
pub struct Table {
    hosts: Vec<HostRoutes>,
    exact: HashMap<String, usize>,
    /// By what stands behind `*.`.
    wildcards: HashMap<String, usize>,
}

#[derive(Debug)]
pub struct HostRoutes {
    /// In lower case; `*.example.com` for any one label in front.
    pub name: String,
    pub place: Place,
    /// Longest path first.
    pub routes: Vec<TableRoute>,
}

#[derive(Debug)]
pub struct TableRoute {
    /// Without a `/` at its end: empty for the whole host.
    pub prefix: String,
    pub place: Place,
    /// What was written.
    pub route: Route,
}

#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("{place}: the route `{path}` of `{host}` cannot be")]
    Proxy {
        place: Place,
        host: String,
        path: String,
        #[source]
        source: Box<ProxyError>,
    },
    #[error(
        "{place}: `{path}` of `{host}` is not a path: it begins with `/` and has no `?`, `#`, `%`, `\\`, and no empty, `.` \
         or `..` segment"
    )]
    Path {
        place: Place,
        host: String,
        path: String,
    },
    #[error(
        "{place}: `{path}` of `{host}` has a route already, at {first}; this one would never answer"
    )]
    Twice {
        place: Place,
        first: Place,
        host: String,
        path: String,
    },
    #[error(
        "{place}: `{path}` of `{host}` has both `strip_prefix` and `rewrite`; one of them has to go"
    )]
    StripAndRewrite {
        place: Place,
        host: String,
        path: String,
    },
    #[error("{place}: `{path}` of `{host}`")]
    Dead {
        place: Place,
        host: String,
        path: String,
        #[source]
        source: Box<DeadError>,
    },
    #[error(
        "{place}: `{path}` of `{host}` is redirected for ever: its `location` leads back to it, or to others that do"
    )]
    Circle {
        place: Place,
        host: String,
        path: String,
    },
    #[error(
        "{place}: the redirect of `{path}` of `{host}` needs a `location`: a path, or an http or https address"
    )]
    Location {
        place: Place,
        host: String,
        path: String,
    },
    #[error(
        "{place}: the redirect of `{path}` of `{host}` has `keep_path`; behind the query or fragment of its `location` \
         no path can stand"
    )]
    NoPathBehind {
        place: Place,
        host: String,
        path: String,
    },
    #[error("{place}: `{path}` of `{host}` has the status {status}; {wanted}")]
    Status {
        place: Place,
        host: String,
        path: String,
        status: u16,
        wanted: &'static str,
    },
    #[error("{place}: `{content_type}` of `{path}` of `{host}` is not a content type")]
    ContentType {
        place: Place,
        host: String,
        path: String,
        content_type: String,
    },
    #[error("{place}: `{path}` of `{host}`")]
    Policy {
        place: Place,
        host: String,
        path: String,
        #[source]
        source: PolicyError,
    },
    #[error(
        "`apps.{app}.hosts` names `{host}`, which is not among `hosts`; nothing would reach it"
    )]
    Unreachable { app: String, host: String },
    #[error("{place}: `{path}` of `{host}` cannot serve files")]
    Files {
        place: Place,
        host: String,
        path: String,
        #[source]
        source: Box<FilesError>,
    },
}

impl Table {
    /// `places` has an entry for every host.
    ///
    /// # Errors
    /// Routes that contradict each other, could never answer, or could not be carried out.
    pub fn compile(hosts: &Hosts, places: &HashMap<String, Places>) -> Result<Table, TableError> {
        let mut table = Table::default();
        for (name, host) in hosts {
            let unknown = || Place::Variable("SEANCE_HOSTS");
            let places = places.get(name);
            let compiled = HostRoutes {
                name: name.to_ascii_lowercase(),
                place: places.map_or_else(unknown, |places| places.host.clone()),
                routes: routes(name, host, places)?,
            };
            let index = table.hosts.len();
            match compiled.name.strip_prefix("*.") {
                Some(parent) => table.wildcards.insert(parent.to_owned(), index),
                None => table.exact.insert(compiled.name.clone(), index),
            };
            table.hosts.push(compiled);
        }
        Ok(table)
    }

    /// Every host of an app has to be one that requests can come for, and every app that files are of has to be there.
    pub fn check_apps(&self, apps: &[App]) -> Result<(), TableError> {
        let hosts = apps
            .iter()
            .flat_map(|app| app.hosts.iter().map(move |host| (app, host)));
        for (app, host) in hosts.filter(|_| !self.is_empty()) {
            if HostName::parse(host).is_none_or(|name| self.host(&name).is_none()) {
                return Err(TableError::Unreachable {
                    app: app.name.to_string(),
                    host: host.clone(),
                });
            }
        }
        let routes = self.hosts.iter();
        let routes = routes.flat_map(|host| host.routes.iter().map(move |route| (host, route)));
        for (host, route) in routes {
            let Target::Files(files) = &route.route.to else {
                continue;
            };
            files
                .check(apps.iter().map(|app| &app.name))
                .map_err(|source| TableError::Files {
                    place: route.place.clone(),
                    host: host.name.clone(),
                    path: route.route.path.clone(),
                    source: Box::new(source),
                })?;
        }
        Ok(())
    }

    /// Without hosts there is nothing to look up: the backend answers everything.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    pub fn hosts(&self) -> &[HostRoutes] {
        &self.hosts
    }
}

fn routes(name: &str, host: &Host, places: Option<&Places>) -> Result<Vec<TableRoute>, TableError> {
    let host_place = places.map_or(Place::Variable("SEANCE_HOSTS"), |places| {
        places.host.clone()
    });
    if host.routes.is_empty() {
        return Ok(vec![TableRoute {
            prefix: String::new(),
            place: host_place,
            route: Route::default(),
        }]);
    }
    let mut routes: Vec<TableRoute> = Vec::with_capacity(host.routes.len());
    for (index, route) in host.routes.iter().enumerate() {
        let place = places.and_then(|places| places.routes.get(index));
        let place = place.unwrap_or(&host_place).clone();
        let compiled = one(name, route, place)?;
        let same = routes.iter().find(|other| other.prefix == compiled.prefix);
        if let Some(first) = same {
            return Err(TableError::Twice {
                place: compiled.place,
                first: first.place.clone(),
                host: name.to_owned(),
                path: route.path.clone(),
            });
        }
        routes.push(compiled);
    }
    // Stable: routes of one length cannot both hold a path.
    routes.sort_by_key(|route| std::cmp::Reverse(route.prefix.len()));
    Ok(routes)
}

fn one(host: &str, route: &Route, place: Place) -> Result<TableRoute, TableError> {
    let (path, host) = (route.path.clone(), host.to_owned());
    if !is_path(&route.path) {
        return Err(TableError::Path { place, host, path });
    }
    if let Some(rewrite) = &route.rewrite
        && !is_path(rewrite)
    {
        let path = rewrite.clone();
        return Err(TableError::Path { place, host, path });
    }
    if route.strip_prefix && route.rewrite.is_some() {
        return Err(TableError::StripAndRewrite { place, host, path });
    }
    if let Err(source) = route.check_policies() {
        return Err(TableError::Policy {
            place,
            host,
            path,
            source,
        });
    }
    if let Err(source) = dead::check(route) {
        return Err(TableError::Dead {
            place,
            host,
            path,
            source: Box::new(source),
        });
    }
    match &route.to {
        Target::Redirect(redirect) => check_redirect(host, route, redirect, &place)?,
        Target::Respond(respond) => check_respond(host, route, respond, &place)?,
        Target::Proxy(proxy) => proxy.check().map_err(|source| TableError::Proxy {
            place: place.clone(),
            host,
            path,
            source: Box::new(source),
        })?,
        Target::Backend | Target::Signaling | Target::Files(_) => {}
    }
    Ok(TableRoute {
        prefix: route.path.trim_end_matches('/').to_owned(),
        place,
        route: route.clone(),
    })
}

fn is_path(path: &str) -> bool {
    let allowed = |b: u8| !b.is_ascii_control() && !matches!(b, b'?' | b'#' | b'%' | b'\\' | b' ');
    let inner = path.strip_prefix('/').unwrap_or_default();
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let segment = |segment: &str| !matches!(segment, "" | "." | "..");
    path.starts_with('/')
        && path.is_ascii()
        && path.bytes().all(allowed)
        && (path == "/" || inner.split('/').all(segment))
}

fn check_redirect(
    host: String,
    route: &Route,
    redirect: &Redirect,
    place: &Place,
) -> Result<(), TableError> {
    let (path, place) = (route.path.clone(), place.clone());
    if !matches!(redirect.status, 301 | 302 | 303 | 307 | 308) {
        return Err(TableError::Status {
            place,
            host,
            path,
            status: redirect.status,
            wanted: "a redirect has 301, 302, 303, 307 or 308",
        });
    }
    let location = &redirect.location;
    let address = location.parse::<http::Uri>().ok(); // neither kind below, so refused
    let absolute = address.as_ref().is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|h| !h.is_empty())
    });
    // `//host` is another host.
    let local = location.starts_with('/') && !location.starts_with("//") && address.is_some();
    if !absolute && !local {
        return Err(TableError::Location { place, host, path });
    }
    if redirect.keep_path && location.contains(['?', '#']) {
        return Err(TableError::NoPathBehind { place, host, path });
    }
    Ok(())
}

fn check_respond(
    host: String,
    route: &Route,
    respond: &Respond,
    place: &Place,
) -> Result<(), TableError> {
    let (path, place) = (route.path.clone(), place.clone());
    let status = respond.status;
    let wanted = match status {
        204 | 304 if !respond.body.is_empty() => "such an answer has no body (RFC 9110 §6.4.1)",
        200..=599 => "",
        _ => "it has to be between 200 and 599",
    };
    if !wanted.is_empty() {
        return Err(TableError::Status {
            place,
            host,
            path,
            status,
            wanted,
        });
    }
    let content_type = &respond.content_type;
    if http::HeaderValue::from_str(content_type).is_err() || !content_type.contains('/') {
        let content_type = content_type.clone();
        return Err(TableError::ContentType {
            place,
            host,
            path,
            content_type,
        });
    }
    Ok(())
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, line } => write!(f, "{}:{line}", path.display()),
            Place::Variable(name) => f.write_str(name),
        }
    }
}
