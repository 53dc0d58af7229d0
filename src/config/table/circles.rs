//! Requests that would come back here for ever: by redirects, or through an upstream that is seance itself.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::Uri;
use http::uri::{Authority, Scheme};

use super::{HostName, Table, TableError, TableRoute};
use crate::config::certificates::HostCertificate;
use crate::config::proxy::{ProxyError, UpstreamUrl};
use crate::config::request_path::RequestPath;
use crate::config::routes::Target;

/// Redirects that a client follows for one request (Fetch Standard, "HTTP-redirect fetch").
const FOLLOWED: usize = 20;

/// A path below any route that is held by no longer one: no route has a `%`.
const BELOW: &str = "/%25";

/// Where requests come in.
pub struct Doors<'a> {
    pub certificates: &'a BTreeMap<String, HostCertificate>,
    /// Whether somebody in front takes in both http and https for all hosts.
    pub behind_proxy: bool,
    pub plain: &'a [SocketAddr],
    pub secure: &'a [SocketAddr],
}

impl Table {
    /// # Errors
    /// A redirect that leads from redirect to redirect, and an upstream that is one of our own listeners.
    pub fn check_circles(&self, doors: &Doors<'_>) -> Result<(), TableError> {
        for (index, host) in self.hosts.iter().enumerate() {
            for route in &host.routes {
                let error = match &route.route.to {
                    Target::Redirect(_) if self.is_circle(index, route, doors) => {
                        TableError::Circle {
                            place: route.place.clone(),
                            host: host.name.clone(),
                            path: route.route.path.clone(),
                        }
                    }
                    // With another path it may be another route that answers.
                    Target::Proxy(proxy)
                        if route.route.rewrite.is_none() && !route.route.strip_prefix =>
                    {
                        let mut upstreams = proxy.upstreams.iter();
                        let Some(own) = upstreams.find(|upstream| doors.has(upstream)) else {
                            continue;
                        };
                        TableError::Proxy {
                            place: route.place.clone(),
                            host: host.name.clone(),
                            path: route.route.path.clone(),
                            source: Box::new(ProxyError::Ourselves(own.clone())),
                        }
                    }
                    _ => continue,
                };
                return Err(error);
            }
        }
        Ok(())
    }

    /// With `keep_path`, what lies below a route may go another way than the route's own path.
    fn is_circle(&self, host: usize, route: &TableRoute, doors: &Doors<'_>) -> bool {
        let exact = match route.prefix.as_str() {
            "" => "/",
            prefix => prefix,
        };
        [exact.to_owned(), format!("{}{BELOW}", route.prefix)]
            .into_iter()
            .any(|path| {
                let mut at = Some((host, path));
                for _ in 0..FOLLOWED {
                    at = at.and_then(|(host, path)| self.redirected(host, &path, doors));
                }
                at.is_some()
            })
    }

    /// Where the redirect for a path leads, when that is here.
    fn redirected(&self, host: usize, path: &str, doors: &Doors<'_>) -> Option<(usize, String)> {
        let path = RequestPath::parse(path)?;
        let routes = &self.hosts[host];
        let route = &routes.routes[routes.route(path.plain())?];
        let Target::Redirect(redirect) = &route.route.to else {
            return None;
        };
        let below = path.below(route.prefix.len());
        let location: Uri = redirect.leads_to(below, None).parse().ok()?; // so no client follows it
        let host = match (location.scheme(), location.authority()) {
            (Some(scheme), Some(authority)) => self.host_at(scheme, authority, doors)?,
            _ => host,
        };
        Some((host, location.path().to_owned()))
    }

    /// The host that takes in requests for an address.
    fn host_at(&self, scheme: &Scheme, authority: &Authority, doors: &Doors<'_>) -> Option<usize> {
        let host = self.host(&HostName::parse(authority.as_str())?)?;
        let secure = *scheme == Scheme::HTTPS;
        let certificate = doors.certificates.get(&self.hosts[host].name);
        let plain = certificate.is_none_or(|certificate| *certificate == HostCertificate::None);
        // The other way round there is no difference: plain HTTP leads to https.
        if secure && plain && !doors.behind_proxy {
            return None;
        }
        let (listeners, usual) = match secure {
            true => (doors.secure, 443),
            false => (doors.plain, 80),
        };
        // The usual port may be forwarded to any of ours.
        let port = authority.port_u16().unwrap_or(usual);
        let ours = port == usual || listeners.iter().any(|listener| listener.port() == port);
        ours.then_some(host)
    }
}

impl Doors<'_> {
    /// Whether an upstream is one of our listeners. What a name leads to is not asked: another machine may have it inside
    /// than outside.
    fn has(&self, upstream: &UpstreamUrl) -> bool {
        let address = match upstream.host() {
            "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            host => host.parse().ok(), // a name, then
        };
        let mut listeners = self.plain.iter().chain(self.secure);
        address.is_some_and(|address: IpAddr| {
            listeners.any(|listener| {
                // `::` takes in IPv4, too.
                let any = listener.ip().is_unspecified()
                    && address.is_loopback()
                    && (listener.is_ipv6() || address.is_ipv4());
                listener.port() == upstream.port() && (any || listener.ip() == address)
            })
        })
    }
}
