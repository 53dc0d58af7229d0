//! READY=1: every listener is bound. The addresses go with it, so that whoever started us on port 0 need not guess.

use std::net::SocketAddr;

use super::sockets::Addresses;
use crate::systemd::{self, SystemdError};

pub fn announce(addresses: &Addresses) -> Result<(), SystemdError> {
    let list = |addresses: &[SocketAddr]| {
        addresses
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(",")
    };
    let http = list(&addresses.http);
    let fields = [
        ("X_SEANCE_HTTP".to_owned(), http.clone()),
        ("X_SEANCE_HTTPS".to_owned(), list(&addresses.https)),
        ("X_SEANCE_METRICS".to_owned(), list(&addresses.metrics)),
        ("X_SEANCE_SIGNALING".to_owned(), list(&addresses.signaling)),
    ];
    tracing::info!(
        message_id = systemd::message::READY,
        http,
        https = list(&addresses.https),
        metrics = list(&addresses.metrics),
        signaling = list(&addresses.signaling),
        "ready"
    );
    systemd::ready(&format!("serving on {http}"), &fields)
}
