//! A daemon that gets its certificates from a CA, and what it has got.

use super::pebble::Pebble;
use super::tls::Client;
use super::wait::wait_until;
use super::{Builder, Daemon};

/// A daemon with a host for each of `names`, on the ports where `pebble` looks.
pub fn with_hosts(pebble: &Pebble, acme: &str, names: &[&str]) -> Builder {
    Builder::new()
        .env_remove("SEANCE_HTTP__LISTEN")
        .env_remove("SEANCE_HTTPS__LISTEN")
        .config(&config(pebble, acme, names))
}

/// `acme` are further lines of `[acme]`.
pub fn config(pebble: &Pebble, acme: &str, names: &[&str]) -> String {
    let hosts = names.iter().map(|name| format!("[hosts.\"{name}\"]\n"));
    let hosts: String = hosts.collect();
    format!("{}{}{acme}{hosts}", pebble.listeners(), pebble.toml())
}

/// Waits until there is a certificate for `name` on disk.
pub fn obtained(daemon: &Daemon, name: &str) -> String {
    let kept = wait_until(
        "a certificate is kept",
        || kept(daemon, name),
        Option::is_some,
    );
    kept.expect("a certificate")
}

/// The file with key and certificate of `name`.
pub fn kept(daemon: &Daemon, name: &str) -> Option<String> {
    let places = std::fs::read_dir(daemon.state().join("acme")).ok()?;
    places.flatten().find_map(|place| {
        let file = place
            .path()
            .join("certificates")
            .join(format!("{name}.pem"));
        std::fs::read_to_string(file).ok()
    })
}

/// Waits until handshakes for `name` succeed: a certificate is on disk a moment before it is in force.
pub fn in_force(client: &Client, pebble: &Pebble, name: &str) {
    let handshake = || {
        let session = client.connect(pebble.https, name);
        session.map(drop).map_err(|error| error.to_string())
    };
    let accepted = wait_until("the certificate is in force", handshake, Result::is_ok);
    accepted.expect("a handshake");
}

/// How many tries for `name` had this outcome.
pub fn figure(daemon: &Daemon, outcome: &str, name: &str) -> u64 {
    let labels = format!("{{host=\"{name}\",outcome=\"{outcome}\"}}");
    daemon.counted(&format!("seance_acme_attempts_total{labels}"))
}
