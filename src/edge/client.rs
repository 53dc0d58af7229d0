//! Who sent a request, and how.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::Network;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What handlers may know about the sender of a request.
pub struct Client {
    /// Where the request comes from; through a trusted proxy that is where the proxy had it from, with port 0.
    pub address: SocketAddr,
    /// The other end of the connection: the client, or a proxy.
    pub peer: SocketAddr,
    /// Whether the client's own connection is encrypted, here or at a trusted proxy.
    pub tls: bool,
    /// The host that was asked, as it was written.
    pub host: String,
    pub request_id: HeaderValue,
}

/// Where a request comes from: the rightmost address of X-Forwarded-For that is no trusted proxy. What stands left of it
/// was written by somebody who is not trusted.
pub fn address(peer: SocketAddr, headers: &HeaderMap, trusted: &[Network]) -> SocketAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if trusted.is_empty() || !is_trusted(peer.ip()) {
        return peer;
    }
    let mut client = peer;
    let fields = headers.get_all(FORWARDED_FOR).iter();
    for field in fields.rev() {
        let Ok(field) = field.to_str() else {
            return client;
        };
        for entry in field.rsplit(',') {
            // Not an address: whoever wrote it, the one who passed it on is the last that is known.
            let Some(address) = parse(entry.trim()) else {
                return client;
            };
            client = SocketAddr::new(address.to_canonical(), 0);
            if !is_trusted(address) {
                return client;
            }
        }
    }
    client
}

/// Some proxies write a port too.
fn parse(entry: &str) -> Option<IpAddr> {
    let bare = entry
        .strip_prefix('[')
        .and_then(|entry| entry.strip_suffix(']'));
    let address = bare.unwrap_or(entry).parse();
    address
        .ok()
        .or_else(|| Some(entry.parse::<SocketAddr>().ok()?.ip()))
}

/// Whether a trusted proxy had the request over TLS. Of several fields the last is the one that the proxy added.
pub fn is_https(peer: SocketAddr, headers: &HeaderMap, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(peer.ip()))
        && headers
            .get_all(FORWARDED_PROTO)
            .iter()
            .next_back()
            .is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: &str, fields: &[&str]) -> String {
        let trusted =
            ["10.0.0.0/8", "::1"].map(|n| Network::try_from(n.to_owned()).expect("a network"));
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(
                FORWARDED_FOR,
                HeaderValue::from_str(field).expect("a value"),
            );
        }
        let peer = SocketAddr::new(peer.parse().expect("an address"), 9);
        address(peer, &headers, &trusted).ip().to_string()
    }

    #[test]
    fn only_what_trusted_proxies_wrote_is_believed() {
        assert_eq!(
            from("192.0.2.1", &["198.51.100.1"]),
            "192.0.2.1",
            "no proxy of ours"
        );
        assert_eq!(from("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(from("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(
            from("10.0.0.1", &["127.0.0.1, 198.51.100.1"]),
            "198.51.100.1",
            "the rightmost"
        );
        assert_eq!(
            from("10.0.0.1", &["6.6.6.6, 198.51.100.1, 10.0.0.2"]),
            "198.51.100.1"
        );
        assert_eq!(
            from("10.0.0.1", &["6.6.6.6", "198.51.100.1,10.0.0.2"]),
            "198.51.100.1"
        );
        assert_eq!(from("10.0.0.1", &["198.51.100.1, junk"]), "10.0.0.1");
        assert_eq!(from("10.0.0.1", &["198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(from("::1", &["[2001:db8::1]:80"]), "2001:db8::1");
        assert_eq!(from("10.0.0.1", &["::ffff:198.51.100.1"]), "198.51.100.1");
    }
}
