//! Looking up a host and a path.

use super::{HostRoutes, Table, TableRoute};

/// The name of a host as requests are looked up by it: lower case, no port, no dot at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

impl HostName {
    /// From a Host field or an authority (RFC 9110 §7.2); `None` when it is none, such as one with user information.
    pub fn parse(authority: &str) -> Option<HostName> {
        let (name, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                address.parse::<std::net::Ipv6Addr>().ok()?; // whatever else stands in brackets is no host
                (&authority[..address.len() + 2], port)
            }
            None => match authority.find(':') {
                Some(colon) => authority.split_at(colon),
                None => (authority, ""),
            },
        };
        let port_fits = match port.strip_prefix(':') {
            Some(digits) => digits.is_empty() || digits.parse::<u16>().is_ok() && is_digits(digits),
            None => port.is_empty(),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let name_fits = name.starts_with('[')
            || ((1..=253).contains(&name.len())
                && name.bytes().all(fits)
                && name.split('.').all(|label| !label.is_empty()));
        (port_fits && name_fits).then(|| HostName(name.to_ascii_lowercase()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

/// `u16::from_str` takes a sign.
fn is_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

impl Table {
    /// The number of the host that answers for a name: the one of that name, else a wildcard one label above.
    pub fn host(&self, name: &HostName) -> Option<usize> {
        let exact = self.exact.get(name.as_str());
        let found = exact.or_else(|| {
            let (_, parent) = name.as_str().split_once('.')?;
            self.wildcards.get(parent)
        });
        found.copied()
    }
}

impl HostRoutes {
    /// The number of the route with the longest prefix of a plain path.
    pub fn route(&self, path: &[u8]) -> Option<usize> {
        self.routes.iter().position(|route| route.holds(path))
    }
}

impl TableRoute {
    fn holds(&self, path: &[u8]) -> bool {
        path.strip_prefix(self.prefix.as_bytes())
            .is_some_and(|below| below.first().is_none_or(|b| *b == b'/'))
    }
}
