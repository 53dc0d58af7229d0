//! Several nodes behind one name share one certificate: one of them gets it, any of them answers the CA.

use std::net::SocketAddr;
use std::path::Path;

use crate::harness::acme::{kept, obtained};
use crate::harness::pebble::{Behaviour, Pebble, free_address};
use crate::harness::tls::Client;
use crate::harness::wait::wait_until;
use crate::harness::{Builder, Daemon, key_hash};

const NAME: &str = "one.example";

/// A node with its own state and a store that it shares.
fn node(pebble: &Pebble, store: &Path, addresses: (SocketAddr, SocketAddr), home: &Path) -> Daemon {
    let (http, https) = addresses;
    let config = format!(
        "[http]\nlisten = [\"{http}\"]\n[https]\nlisten = [\"{https}\"]\n[store]\ndirectory = \"{}\"\n\
         {}storage = \"store\"\n[hosts.\"{NAME}\"]\n",
        store.display(),
        pebble.toml()
    );
    let builder = Builder::at(home)
        .env_remove("SEANCE_HTTP__LISTEN")
        .env_remove("SEANCE_HTTPS__LISTEN");
    builder.config(&config).start()
}

fn leaf(address: SocketAddr) -> Vec<u8> {
    let handshake = || {
        let session = Client::trusting_all().connect(address, NAME).ok()?;
        let chain = session.conn.peer_certificates()?;
        Some(chain.first()?.to_vec())
    };
    wait_until("a certificate is served", handshake, Option::is_some).expect("a certificate")
}

#[test]
#[ignore = "needs pebble: tests/run"]
fn two_nodes_on_one_store_share_one_order_and_its_certificate() {
    let short_lived = Behaviour {
        certificate_life: Some(20),
        ..Behaviour::default()
    };
    let pebble = Pebble::start(short_lived);
    let homes = [(); 3].map(|()| tempfile::tempdir().expect("a temporary directory"));
    let [store, one, two] = homes.each_ref().map(tempfile::TempDir::path);
    let elsewhere = (free_address(), free_address());
    let first = node(&pebble, store, (pebble.http, pebble.https), one);
    let second = node(&pebble, store, elsewhere, two);
    let (kept_first, kept_second) = (obtained(&first, NAME), obtained(&second, NAME));
    assert_eq!(kept_first, kept_second);
    assert_eq!(pebble.orders(), 1);
    assert_eq!(leaf(pebble.https), leaf(elsewhere.1));
    // The renewal is one for both, too.
    let another = |pem: &Option<String>| pem.as_ref().is_some_and(|pem| *pem != kept_first);
    let renewed = wait_until("it is renewed", || kept(&first, NAME), another);
    wait_until(
        "both have it",
        || kept(&second, NAME),
        |pem| *pem == renewed,
    );
    assert_eq!(pebble.orders(), 2);
}

#[test]
#[ignore = "needs pebble: tests/run"]
fn a_node_answers_the_ca_for_another_one() {
    for tls_blocked in [false, true] {
        let pebble = Pebble::start(Behaviour {
            tls_blocked,
            ..Behaviour::default()
        });
        let homes = [(); 3].map(|()| tempfile::tempdir().expect("a temporary directory"));
        let [store, reached, renewer] = homes.each_ref().map(tempfile::TempDir::path);
        // The node that the CA does not reach has the lease.
        let hash = key_hash(&pebble.url("dir"));
        let place = format!(".seance/acme/127.0.0.1-{}/leases/{NAME}", &hash[..8]);
        std::fs::create_dir_all(store.join(&place)).expect("a folder");
        let lease = store.join(place).join("000000000000.json");
        std::fs::write(
            lease,
            "{\"node\":\"renewer\",\"expires\":\"2999-01-01T00:00:00Z\"}",
        )
        .expect("a file");
        std::fs::create_dir_all(renewer.join("state/acme")).expect("a folder");
        std::fs::write(renewer.join("state/acme/node"), "renewer").expect("a file");
        let reached = node(&pebble, store, (pebble.http, pebble.https), reached);
        let renewer = node(&pebble, store, (free_address(), free_address()), renewer);
        obtained(&renewer, NAME);
        obtained(&reached, NAME);
        assert!(
            renewer.log().contains("certificate obtained"),
            "{}",
            renewer.log()
        );
        assert!(
            !reached.log().contains("certificate obtained"),
            "{}",
            reached.log()
        );
    }
}
