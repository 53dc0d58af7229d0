//! The address of an upstream.

use std::fmt;

use http::Uri;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Scheme, host, port and perhaps a path: `https://app.example.com/base`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct UpstreamUrl {
    #[schemars(skip)]
    scheme: Scheme,
    #[schemars(skip)]
    host: String,
    #[schemars(skip)]
    port: u16,
    /// Without the `/` at its end: empty, or begins with one.
    #[schemars(skip)]
    base: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    /// HTTP/2 with prior knowledge (RFC 9113 §3.3).
    H2c,
    Https,
}

#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    #[error("`{0}` is not the address of an upstream, such as http://127.0.0.1:8080")]
    Address(String),
    #[error("`{0}` begins with none of `http://`, `h2c://` and `https://`")]
    Scheme(String),
    #[error("`{0}` holds a user or password; set `request_headers.set.Authorization` instead")]
    User(String),
    #[error("`{0}` holds a query; an upstream gets the one of the request")]
    Query(String),
}

impl TryFrom<String> for UpstreamUrl {
    type Error = UpstreamError;

    fn try_from(text: String) -> Result<UpstreamUrl, UpstreamError> {
        let uri: Uri = text
            .parse()
            .map_err(|_| UpstreamError::Address(text.clone()))?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("h2c") => Scheme::H2c,
            Some("https") => Scheme::Https,
            _ => return Err(UpstreamError::Scheme(text)),
        };
        let Some(authority) = uri
            .authority()
            .filter(|authority| !authority.host().is_empty())
        else {
            return Err(UpstreamError::Address(text));
        };
        if authority.as_str().contains('@') {
            return Err(UpstreamError::User(text));
        }
        if uri.query().is_some() {
            return Err(UpstreamError::Query(text));
        }
        let host = authority.host().to_ascii_lowercase();
        let port = match authority.port_u16() {
            // A port that is no number, or none behind the colon.
            None if authority.as_str().len() > authority.host().len() => {
                return Err(UpstreamError::Address(text));
            }
            Some(0) => return Err(UpstreamError::Address(text)),
            Some(port) => port,
            None => scheme.default_port(),
        };
        let base = uri.path().trim_end_matches('/').to_owned();
        Ok(UpstreamUrl {
            scheme,
            host,
            port,
            base,
        })
    }
}

impl Scheme {
    fn default_port(self) -> u16 {
        match self {
            Scheme::Http | Scheme::H2c => 80,
            Scheme::Https => 443,
        }
    }

    /// As it stands in `:scheme` and in an origin.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Http | Scheme::H2c => "http",
            Scheme::Https => "https",
        }
    }
}

impl UpstreamUrl {
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// A name or an address, an IPv6 one without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What stands before the path of every request: empty, or `/…` without a `/` at the end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Host and port as a client writes them: the usual port is left out.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::H2c => "h2c",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}{}", self.authority(), self.base)
    }
}

impl From<UpstreamUrl> for String {
    fn from(upstream: UpstreamUrl) -> String {
        upstream.to_string()
    }
}
