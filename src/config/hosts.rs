//! The `[https]`, `[acme]` and `[hosts]` sections: the names this machine answers for, with what certificate, and what
//! answers under each path.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::routes::Route;
use super::secret::Secret;

/// The TLS listener; used as soon as there are hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Https {
    /// Addresses to bind. Sockets inherited from systemd under the name `https` have to be bound to the same ones.
    pub listen: Vec<SocketAddr>,
    /// Time for the TLS handshake, from the connection's first byte, seconds.
    pub handshake_timeout_seconds: u64,
}

impl Default for Https {
    fn default() -> Https {
        Https {
            listen: vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, 443))],
            handshake_timeout_seconds: 10,
        }
    }
}

/// Where certificates come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Acme {
    /// The CA's directory (RFC 8555 §7.1.1).
    pub directory: String,
    /// Mail address that the CA writes to.
    pub contact: Option<String>,
    /// PEM file with the root of the CA's own certificate, when it is not a public one.
    pub ca_file: Option<PathBuf>,
    /// Key identifier of the account at a CA that asks for external account binding (RFC 8555 §7.3.4).
    pub eab_key_id: Option<String>,
    /// The key to it, base64url.
    pub eab_hmac_key: Option<Secret>,
    /// File with that key; a relative name is looked up in systemd's credentials directory.
    pub eab_hmac_key_file: Option<PathBuf>,
    /// `disk` keeps certificates in the state directory; `store` in the store under a private prefix, for several nodes.
    pub storage: AcmeStorage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AcmeStorage {
    Disk,
    Store,
}

impl Default for Acme {
    fn default() -> Acme {
        Acme {
            directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
            contact: None,
            ca_file: None,
            eab_key_id: None,
            eab_hmac_key: None,
            eab_hmac_key_file: None,
            storage: AcmeStorage::Disk,
        }
    }
}

/// One name. Without routes all its paths go to the backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Host {
    /// `acme` by default; `local` for `localhost` and names below it; `off` serves the name in plain text.
    pub tls: Option<HostTls>,
    /// PEM file with a certificate chain, instead of one that is obtained.
    pub certificate_file: Option<PathBuf>,
    /// PEM file with its key; a relative name is looked up in systemd's credentials directory.
    pub key_file: Option<PathBuf>,
    /// What answers under its paths. Without any, the backend answers everything.
    pub routes: Vec<Route>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HostTls {
    Acme,
    Local,
    Off,
}

/// Other servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Proxy {
    /// `http://127.0.0.1:8080`, `h2c://…` or `https://…`.
    pub upstreams: Vec<String>,
}

pub type Hosts = BTreeMap<String, Host>;
