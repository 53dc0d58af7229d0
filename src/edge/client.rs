//! Who sent a request, and how.

use std::net::SocketAddr;

use http::HeaderValue;

/// What handlers may know about the sender of a request.
#[expect(dead_code, reason = "the proxy reads all of it")]
pub struct Client {
    /// Where the request comes from; through a trusted proxy that is where the proxy had it from.
    pub address: SocketAddr,
    /// Whether the client's own connection is encrypted, here or at a trusted proxy.
    pub tls: bool,
    /// The host that was asked, without port.
    pub host: String,
    pub request_id: HeaderValue,
}
