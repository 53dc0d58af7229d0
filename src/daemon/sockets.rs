//! The listening sockets of the daemon and where they can be reached.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use super::DaemonError;
use crate::config::Config;
use crate::edge::listener::{ListenError, listen};

pub struct Sockets {
    pub http: Vec<TcpListener>,
    pub https: Vec<TcpListener>,
    pub metrics: Vec<TcpListener>,
    pub signaling: Vec<TcpListener>,
    pub addresses: Addresses,
}

#[derive(Clone)]
pub struct Addresses {
    pub http: Vec<SocketAddr>,
    pub https: Vec<SocketAddr>,
    pub metrics: Vec<SocketAddr>,
    pub signaling: Vec<SocketAddr>,
}

impl Sockets {
    pub fn open(
        config: &Config,
        mut inherited: BTreeMap<String, Vec<OwnedFd>>,
    ) -> Result<Sockets, DaemonError> {
        let mut open = |name, key, configured| {
            let listeners = listen(
                name,
                key,
                configured,
                inherited.remove(name).unwrap_or_default(),
            )?;
            let addresses = listeners.iter().map(TcpListener::local_addr).collect();
            match addresses {
                Ok(addresses) => Ok((listeners, addresses)),
                Err(source) => Err(ListenError::Inherited { name, source }),
            }
        };
        let (http, http_addresses) = open("http", "http.listen", &config.http_listen)?;
        let (https, https_addresses) = open("https", "https.listen", &config.https_listen)?;
        let (metrics, metrics_addresses) =
            open("metrics", "metrics.listen", &config.metrics.listen)?;
        let (signaling, signaling_addresses) =
            open("signaling", "signaling.listen", &config.signaling.listen)?;
        if let Some(name) = inherited.into_keys().next() {
            return Err(DaemonError::UnknownSockets { name });
        }
        Ok(Sockets {
            http,
            https,
            metrics,
            signaling,
            addresses: Addresses {
                http: http_addresses,
                https: https_addresses,
                metrics: metrics_addresses,
                signaling: signaling_addresses,
            },
        })
    }
}
