//! The names this machine answers for: their certificates, and the site that each configuration makes of them.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::rooms::Rooms;
use super::sockets::Addresses;
use crate::api;
use crate::clock;
use crate::config::Config;
use crate::edge::gate::Gate;
use crate::edge::measure::Families;
use crate::edge::signaling::Port;
use crate::edge::tls::certificates::{Certificates, Standing};
use crate::edge::tls::handshake::Tls;
use crate::edge::tls::keeper::Keeper;
use crate::edge::{DeniedAddresses, Means, Site};
use crate::metrics::Metrics;
use crate::signaling::{Signaling, SignalingError, Stream};
use crate::tasks::Tasks;

pub struct Names {
    pub certificates: Certificates,
    keeper: Keeper,
    https_port: u16,
    denied: DeniedAddresses,
}

impl Names {
    pub fn open(
        config: &Config,
        state: &Path,
        addresses: &Addresses,
        tasks: &Tasks,
        (metrics, families): (&Metrics, &Families),
    ) -> Names {
        let certificates = Certificates::default();
        let wanted = &config.certificates;
        Names {
            keeper: Keeper::start(&certificates, wanted, state, tasks, metrics),
            https_port: addresses.https.first().map_or(443, SocketAddr::port),
            certificates,
            denied: DeniedAddresses::new(families.denials_of("signaling")),
        }
    }

    pub fn tls(&self, config: &Config, metrics: &Metrics) -> Result<Tls, rustls::Error> {
        let timeout = Duration::from_secs(config.https.handshake_timeout_seconds);
        Tls::new(self.certificates.clone(), timeout, metrics)
    }

    /// Opens the signaling port: where no host has a certificate, to plain connections only.
    pub fn greet_signaling(
        &self,
        config: &Config,
        signaling: &Signaling,
        listeners: Vec<TcpListener>,
        tls: &Arc<Tls>,
        tasks: &Tasks,
    ) -> Result<(), SignalingError> {
        self.denied.follow(&config.deny);
        let (room, denied) = (signaling.clone(), self.denied.clone());
        if config.https_listen.is_empty() {
            return signaling.listen(listeners, move |stream, peer: SocketAddr| {
                if !denied.turn_away(peer.ip()) {
                    room.enter(Stream::Tcp(stream), peer.ip());
                }
            });
        }
        let plain = config.signaling.plain;
        let port = Arc::new(Port::new(room, tls.clone(), tasks.clone(), plain));
        signaling.listen(listeners, move |stream, peer| {
            if !denied.turn_away(peer.ip()) {
                port.greet(stream, peer);
            }
        })
    }

    /// What answers under `config`.
    pub fn site(&self, config: &Config, rooms: &Rooms) -> Site {
        let gate = Gate::new(
            &config.certificates,
            &self.certificates,
            self.https_port,
            &config.deny,
        );
        let api = rooms.api(config, self.health());
        Site::new(
            gate,
            config.table.clone(),
            api,
            &Means {
                apps: &config.apps,
                user_files: &config.user_files,
                cabinet: &rooms.cabinet,
                passwords: &rooms.passwords,
                upstreams: &rooms.upstreams,
            },
        )
    }

    fn health(&self) -> api::Certificates {
        let certificates = self.certificates.clone();
        Arc::new(move || {
            let now = clock::now();
            let of_host = |standing: Standing| api::CertificateHealth {
                status: match standing.expires {
                    None => "missing",
                    Some(at) if at <= now => "expired",
                    Some(_) => "valid",
                },
                host: standing.name,
                expires: standing.expires.map(clock::rfc3339),
            };
            certificates.standing().into_iter().map(of_host).collect()
        })
    }

    pub fn reload(&self, config: &Config) {
        self.keeper.reload(&config.certificates);
        self.denied.follow(&config.deny);
    }
}
