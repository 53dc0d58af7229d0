//! The CA says when a certificate is to be renewed (RFC 9773), and when to ask again, and is listened to.

use std::time::{Duration, Instant};

use crate::harness::acme::{kept, obtained, with_hosts};
use crate::harness::pebble::{Behaviour, Pebble};
use crate::harness::wait::wait_until;

const NAME: &str = "one.example";

/// By remaining life it would be renewed after half of it.
const LIFE: u64 = 600;

#[test]
#[ignore = "needs a pebble with ARI: tests/run"]
fn a_certificate_that_the_ca_wants_renewed_is_renewed_at_once_and_named_as_replaced() {
    let pebble = Pebble::start(Behaviour {
        certificate_life: Some(LIFE),
        renewal_info: true,
        ..Behaviour::default()
    });
    let home = tempfile::tempdir().expect("a temporary directory");
    let start = || {
        with_hosts(&pebble, "", &[NAME])
            .living_in(home.path())
            .start()
    };
    let daemon = start();
    let first = obtained(&daemon, NAME);
    let asked = || pebble.log().matches("/renewalInfo/").count();
    wait_until("the CA is asked", asked, |asked| *asked > 0);
    assert_eq!(pebble.orders(), 1, "its own window is far");
    pebble.renew_between(&first, "2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z");
    // It asks every few hours, and at the start.
    drop(daemon);
    let daemon = start();
    let another = |pem: &Option<String>| pem.as_ref().is_some_and(|pem| *pem != first);
    wait_until("it is renewed", || kept(&daemon, NAME), another);
    let log = pebble.log();
    assert!(log.contains("has been marked as replaced"), "{log}");
    // Its successor has a window of its own.
    let asked = asked();
    wait_until(
        "the CA is asked",
        || pebble.log(),
        |log| log.matches("/renewalInfo/").count() > asked,
    );
    assert_eq!(pebble.orders(), 2);
}

#[test]
#[ignore = "needs a pebble with ARI: tests/run"]
fn an_order_that_the_ca_works_on_is_asked_for_again_when_it_says() {
    let seconds = 8;
    let pebble = Pebble::start(Behaviour {
        renewal_info: true,
        retry_after: Some(seconds),
        ..Behaviour::default()
    });
    let begun = Instant::now();
    let daemon = with_hosts(&pebble, "", &[NAME]).start();
    obtained(&daemon, NAME);
    // It may say it by a date, which has whole seconds.
    let least = Duration::from_secs(u64::from(seconds) - 1);
    assert!(begun.elapsed() >= least, "after {:?}", begun.elapsed());
}
