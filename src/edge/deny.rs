//! Requests that the operator does not want answered, and those that only scanners send.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::Request;
use http::header::USER_AGENT;

use super::measure::DenialCounter;
use crate::config::{Deny, DenyMode, Network, RequestPath, path_fits};

/// Names that paths of scanners have between their slashes, in lower case.
const KNOWN_BAD: [&[u8]; 20] = [
    b".aws",
    b".ds_store",
    b".env",
    b".git",
    b".hg",
    b".htaccess",
    b".htpasswd",
    b".ssh",
    b".svn",
    b"_ignition",
    b"boaform",
    b"cgi-bin",
    b"eval-stdin.php",
    b"phpinfo.php",
    b"phpmyadmin",
    b"phpunit",
    b"wp-admin",
    b"wp-config.php",
    b"wp-login.php",
    b"xmlrpc.php",
];

/// The `[deny]` of one configuration.
#[derive(Default)]
pub struct Denials {
    mode: DenyMode,
    paths: Vec<String>,
    /// In lower case.
    user_agents: Vec<String>,
    addresses: Vec<Network>,
    known_bad: DenyMode,
}

/// The addresses of the list in force, for connections that begin with no request of HTTP.
#[derive(Clone)]
pub struct DeniedAddresses {
    denials: Arc<ArcSwap<Denials>>,
    counted: DenialCounter,
}

impl DeniedAddresses {
    pub fn new(counted: DenialCounter) -> DeniedAddresses {
        DeniedAddresses {
            denials: Arc::default(),
            counted,
        }
    }

    pub fn follow(&self, deny: &Deny) {
        self.denials.store(Arc::new(Denials::new(deny)));
    }

    /// Whether a connection from this address is to be dropped. What the list holds is counted in any case, and logged
    /// where it cannot flood the journal: a connection costs less than a line.
    pub fn turn_away(&self, address: IpAddr) -> bool {
        let denials = self.denials.load();
        let holds = || {
            let mut networks = denials.addresses.iter();
            let held = networks.any(|network| network.contains(address));
            held.then_some("address")
        };
        let Some(Denial { rule, block }) = denial(denials.mode, holds) else {
            return false;
        };
        let action = if block { "block" } else { "log" };
        self.counted.count(rule, action);
        tracing::debug!(rule, action, %address, "the deny list fits a signaling connection");
        block
    }
}

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    pub rule: &'static str,
    /// Otherwise it is only logged and counted.
    pub block: bool,
}

impl Denials {
    pub fn new(deny: &Deny) -> Denials {
        let lower = |text: &String| text.to_ascii_lowercase();
        Denials {
            mode: deny.mode,
            paths: deny.paths.clone(),
            user_agents: deny.user_agents.iter().map(lower).collect(),
            addresses: deny.addresses.clone(),
            known_bad: deny.known_bad,
        }
    }

    /// What blocks a request, else what has it logged.
    pub fn find<B>(&self, request: &Request<B>, client: IpAddr) -> Option<Denial> {
        let path = RequestPath::parse(request.uri().path());
        // One that does not parse is refused by the routes; it is looked at as it is.
        let raw = request.uri().path().as_bytes();
        let path = path.as_ref().map_or(raw, RequestPath::plain);
        let listed = || self.listed(request, path, client);
        let known_bad = || is_known_bad(path).then_some("known_bad");
        let first = denial(self.mode, listed);
        if first.is_some_and(|denial| denial.block) {
            return first;
        }
        let second = denial(self.known_bad, known_bad);
        match second {
            Some(denial) if denial.block => second,
            _ => first.or(second),
        }
    }

    fn listed<B>(&self, request: &Request<B>, path: &[u8], client: IpAddr) -> Option<&'static str> {
        let holds = |network: &Network| network.contains(client);
        if self.addresses.iter().any(holds) {
            return Some("address");
        }
        if !self.paths.is_empty() {
            let path = String::from_utf8_lossy(path);
            if self.paths.iter().any(|pattern| path_fits(pattern, &path)) {
                return Some("path");
            }
        }
        if self.user_agents.is_empty() {
            return None;
        }
        let said = request.headers().get(USER_AGENT)?.as_bytes();
        let said = String::from_utf8_lossy(said).to_ascii_lowercase();
        let within = |text: &String| said.contains(text.as_str());
        self.user_agents.iter().any(within).then_some("user_agent")
    }
}

fn denial(mode: DenyMode, rule: impl FnOnce() -> Option<&'static str>) -> Option<Denial> {
    let block = match mode {
        DenyMode::Off => return None,
        DenyMode::Log => false,
        DenyMode::Block => true,
    };
    rule().map(|rule| Denial { rule, block })
}

fn is_known_bad(path: &[u8]) -> bool {
    let bad = |segment: &[u8]| {
        KNOWN_BAD.iter().any(|bad| segment.eq_ignore_ascii_case(bad))
            // `.env.production`, `.env.bak`
            || segment.get(..5).is_some_and(|five| five.eq_ignore_ascii_case(b".env."))
    };
    path.split(|b| *b == b'/').any(bad)
}

#[cfg(test)]
mod tests {
    use super::is_known_bad;

    #[test]
    fn what_scanners_ask_for_is_told_from_what_pages_have() {
        for path in [
            "/.env",
            "/api/.ENV",
            "/.env.production",
            "/.git/config",
            "/blog/wp-login.php",
            "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php",
        ] {
            assert!(is_known_bad(path.as_bytes()), "{path}");
        }
        for path in [
            "/",
            "/.well-known/acme-challenge/x",
            "/assets/env.js",
            "/environment",
            "/.environment",
            "/git/x",
            "/updates/darwin-arm64/latest-mac.yml",
        ] {
            assert!(!is_known_bad(path.as_bytes()), "{path}");
        }
    }
}
