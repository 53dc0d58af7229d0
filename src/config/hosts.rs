//! The `[https]` and `[hosts]` sections: the names this machine answers for, with what certificate, and what
//! answers under each path.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::routes::Route;

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

pub type Hosts = BTreeMap<String, Host>;
