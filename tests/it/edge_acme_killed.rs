//! `kill -9` at any point of an order costs neither the order nor a certificate.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::harness::Daemon;
use crate::harness::acme::{in_force, kept, obtained, with_hosts};
use crate::harness::pebble::{Behaviour, Pebble};
use crate::harness::tls::Client;
use crate::harness::wait::wait_until;

const NAME: &str = "one.example";

fn start(pebble: &Pebble, home: &Path) -> Daemon {
    with_hosts(pebble, "", &[NAME]).living_in(home).start()
}

/// A file of the daemon's place for this CA, if it is there.
fn file(home: &Path, name: &str) -> Option<PathBuf> {
    let places = std::fs::read_dir(home.join("state/acme")).ok()?;
    places
        .flatten()
        .map(|place| place.path().join(name))
        .find(|file| file.exists())
}

#[test]
#[ignore = "needs pebble: tests/run"]
fn an_order_that_was_cut_is_gone_on_with() {
    for point in ["orders/one.example.json", "attempts/one.example.json"] {
        // The CA takes its time, so that there is a middle to be cut in, and does not look while nobody is there.
        let slow = Behaviour {
            slow: Some(2),
            believes: true,
            ..Behaviour::default()
        };
        let pebble = Pebble::start(slow);
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut daemon = start(&pebble, home.path());
        wait_until(
            "the point is reached",
            || file(home.path(), point),
            Option::is_some,
        );
        daemon.kill();
        assert_eq!(
            kept(&daemon, NAME),
            None,
            "the order was not cut in the middle"
        );
        drop(daemon);
        let daemon = start(&pebble, home.path());
        obtained(&daemon, NAME);
        assert_eq!(pebble.orders(), 1, "after a cut at {point}");
        let client = Client::trusting(&pebble.issuer());
        in_force(&client, &pebble, NAME);
    }
}

#[test]
#[ignore = "needs pebble: tests/run"]
fn wherever_it_is_killed_a_daemon_comes_to_its_certificate() {
    let pebble = Pebble::start(Behaviour::default());
    let mut finished = 0;
    for round in 0_u32..16 {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut daemon = start(&pebble, home.path());
        let ready = Instant::now();
        let pause = Duration::from_millis(20) * round;
        wait_until(
            "its time has come",
            || ready.elapsed(),
            |passed| *passed >= pause,
        );
        daemon.kill();
        finished += u32::from(kept(&daemon, NAME).is_some());
        drop(daemon);
        let daemon = start(&pebble, home.path());
        obtained(&daemon, NAME);
        assert!(!daemon.log().contains("not usable"), "{}", daemon.log());
        let client = Client::trusting(&pebble.issuer());
        in_force(&client, &pebble, NAME);
    }
    eprintln!("{finished} of 16 were killed after their certificate");
    assert!(finished < 16, "none was killed in the middle");
}
