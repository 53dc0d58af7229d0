//! Before any route is looked at: is the request for a host of ours, and does it come in the way that this host wants?

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::header::HOST;
use http::{HeaderValue, Request, Version};

use super::deny::Denials;
use super::tls::certificates::Certificates;
use crate::config::{Deny, HostCertificate, HostName};

/// Where a CA looks for the answer to its challenge, RFC 8555 §8.3.
const CHALLENGES: &str = "/.well-known/acme-challenge/";
/// What a monitor on the same machine asks, by address.
const PROBES: [&str; 2] = ["/health/live", "/health/ready"];

/// How a request came in.
pub struct Arrival {
    pub peer: SocketAddr,
    pub way: Way,
}

pub enum Way {
    Plain,
    /// Over TLS, for the server name of the handshake, in lower case.
    Secure(Arc<str>),
    /// From the daemon itself.
    Private,
}

/// The hosts of one configuration. Without hosts everything passes.
#[derive(Default)]
pub struct Gate {
    /// Whether each host is served over TLS.
    hosts: BTreeMap<String, bool>,
    certificates: Certificates,
    https_port: u16,
    /// What is turned away although it is for a host of ours.
    pub denials: Denials,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To the routes of this host, in lower case and without port; empty where hosts do not matter and none is named.
    Pass(String),
    /// To the API, whatever the host.
    Api,
    /// The same address over TLS.
    Redirect(HeaderValue),
    /// The answer to a CA's challenge.
    Challenge(String),
    /// We have not put up this challenge for the host; perhaps another node has.
    NoChallenge { host: String, token: String },
    /// RFC 9112 §3.2: the host cannot be told.
    BadHost,
    /// RFC 9110 §15.5.20: the request is for a host that this connection, or this daemon, does not answer for.
    Misdirected,
}

impl Gate {
    /// `https_port` is where redirects lead.
    pub fn new(
        hosts: &BTreeMap<String, HostCertificate>,
        certificates: &Certificates,
        https_port: u16,
        deny: &Deny,
    ) -> Gate {
        let hosts = hosts.iter().map(|(name, certificate)| {
            let tls = *certificate != HostCertificate::None;
            (name.clone(), tls)
        });
        Gate {
            hosts: hosts.collect(),
            certificates: certificates.clone(),
            https_port,
            denials: Denials::new(deny),
        }
    }

    pub fn judge<B>(&self, arrival: &Arrival, request: &Request<B>) -> Verdict {
        let Some(host) = host_of(request) else {
            return Verdict::BadHost;
        };
        let host = host.map(HostName::into_string);
        if matches!(arrival.way, Way::Private) {
            return Verdict::Api;
        }
        if self.hosts.is_empty() {
            return Verdict::Pass(host.unwrap_or_default());
        }
        let Some(host) = host else {
            return Verdict::BadHost;
        };
        match &arrival.way {
            Way::Secure(name) if **name == *host => Verdict::Pass(host),
            Way::Secure(_) => Verdict::Misdirected,
            Way::Plain | Way::Private => self.judge_plain(host, arrival.peer.ip(), request),
        }
    }

    /// The answer to a challenge that another node has put up.
    pub async fn challenge_elsewhere(&self, host: &str, token: &str) -> Option<String> {
        let response = self.certificates.response_elsewhere(host).await?;
        (response.token == token).then_some(response.key_authorization)
    }

    fn judge_plain<B>(&self, host: String, peer: IpAddr, request: &Request<B>) -> Verdict {
        let path = request.uri().path();
        let token = path.strip_prefix(CHALLENGES);
        if let Some(answer) = token.and_then(|token| self.certificates.http_challenge(token)) {
            return Verdict::Challenge(answer);
        }
        match self.find(&host) {
            Some(false) => Verdict::Pass(host),
            Some(true) => match token {
                Some(token) => Verdict::NoChallenge {
                    token: token.to_owned(),
                    host,
                },
                None => self.redirect(&host, request),
            },
            None if is_address(&host)
                && peer.to_canonical().is_loopback()
                && PROBES.contains(&path) =>
            {
                Verdict::Api
            }
            None => Verdict::Misdirected,
        }
    }

    /// Whether a host is served over TLS; none for a host that is not ours.
    fn find(&self, host: &str) -> Option<bool> {
        let wildcard = || {
            let (_, parent) = host.split_once('.')?;
            self.hosts.get(&format!("*.{parent}"))
        };
        self.hosts.get(host).or_else(wildcard).copied()
    }

    fn redirect<B>(&self, host: &str, request: &Request<B>) -> Verdict {
        let target = request
            .uri()
            .path_and_query()
            .map_or("/", |target| target.as_str());
        // `OPTIONS *` and CONNECT name no path.
        let target = if target.starts_with('/') { target } else { "/" };
        let location = match self.https_port {
            443 => format!("https://{host}{target}"),
            port => format!("https://{host}:{port}{target}"),
        };
        HeaderValue::try_from(location).map_or(Verdict::BadHost, Verdict::Redirect)
    }
}

/// The host that a request names, in lower case, without port and final dot: `Some(None)` when it may do without.
/// `None` when it cannot be told: RFC 9112 §3.2 wants exactly one Host field in HTTP/1.1, and two names in one request
/// could be routed by one and read by the other.
fn host_of<B>(request: &Request<B>) -> Option<Option<HostName>> {
    let mut fields = request.headers().get_all(HOST).iter();
    let (field, second) = (fields.next(), fields.next());
    if second.is_some() || (field.is_none() && request.version() == Version::HTTP_11) {
        return None;
    }
    let field = match field {
        Some(field) => Some(HostName::parse(field.to_str().ok()?)?), // bytes above ASCII are in no host name
        None => None,
    };
    let target = match request.uri().authority() {
        Some(authority) => Some(HostName::parse(authority.as_str())?),
        None => None,
    };
    match (field, target) {
        (Some(field), Some(target)) if field != target => None,
        (field, target) => Some(target.or(field)),
    }
}

fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok()
}
