//! Certificates are renewed in time, without a connection noticing, and whatever happens to the CA.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::acme::{in_force, kept, obtained, with_hosts};
use crate::harness::pebble::{Behaviour, Pebble};
use crate::harness::tls::Client;
use crate::harness::wait::wait_until;

const NAME: &str = "one.example";

fn short_lived(seconds: u64) -> Behaviour {
    Behaviour {
        certificate_life: Some(seconds),
        ..Behaviour::default()
    }
}

#[test]
#[ignore = "needs pebble: tests/run"]
fn no_handshake_fails_across_renewals_under_load() {
    let pebble = Pebble::start(short_lived(8));
    let daemon = with_hosts(&pebble, "", &[NAME]).start();
    let mut last = obtained(&daemon, NAME);
    // It checks names and dates.
    let client = Client::trusting(&pebble.issuer());
    in_force(&client, &pebble, NAME);
    let stop = AtomicBool::new(false);
    let (handshakes, failures) = std::thread::scope(|scope| {
        let load = || {
            let (mut handshakes, mut failures) = (0, Vec::new());
            while !stop.load(Ordering::Relaxed) {
                match client.connect(pebble.https, NAME) {
                    Ok(_) => handshakes += 1,
                    Err(error) => failures.push(error.to_string()),
                }
            }
            (handshakes, failures)
        };
        let load = scope.spawn(load);
        for _ in 0..3 {
            let another = |pem: &Option<String>| pem.as_ref().is_some_and(|pem| *pem != last);
            let next = wait_until("it is renewed", || kept(&daemon, NAME), another);
            last = next.expect("a certificate");
        }
        stop.store(true, Ordering::Relaxed);
        load.join().expect("the load")
    });
    eprintln!("{handshakes} handshakes across 3 renewals");
    assert_eq!(failures, Vec::<String>::new());
    assert!(handshakes > 50, "{handshakes}");
}

#[test]
#[ignore = "needs pebble: tests/run"]
fn with_the_ca_away_the_daemon_starts_and_a_first_certificate_follows_soon_after_its_return() {
    let mut pebble = Pebble::prepared(Behaviour::default());
    let daemon = with_hosts(&pebble, "", &[NAME, "two.example"]).start();
    let told = "the CA cannot be reached";
    wait_until("it says so", || daemon.log(), |log| log.contains(told));
    Client::trusting_all().refusal(pebble.https, NAME);
    // Long enough for the pauses to have grown as far as they do.
    let away = Instant::now();
    wait_until(
        "the CA was away for a while",
        || away.elapsed(),
        |away| *away > Duration::from_secs(20),
    );
    pebble.up();
    let back = Instant::now();
    obtained(&daemon, NAME);
    obtained(&daemon, "two.example");
    let took = back.elapsed();
    eprintln!(
        "certificates {} ms after the return of the CA",
        took.as_millis()
    );
    assert!(took < Duration::from_secs(15), "{took:?}");
    let lines = daemon.log().matches("cannot obtain a certificate").count();
    assert!(lines <= 4, "the journal is told {lines} times");
}

#[test]
#[ignore = "needs pebble: tests/run"]
fn an_expired_certificate_is_served_until_the_ca_is_back_with_a_new_account() {
    let mut pebble = Pebble::start(short_lived(6));
    let daemon = with_hosts(&pebble, "", &[NAME]).start();
    obtained(&daemon, NAME);
    pebble.down();
    let first = kept(&daemon, NAME);
    wait_until(
        "it expires",
        || daemon.log(),
        |log| log.contains("has expired"),
    );
    Client::trusting_all()
        .connect(pebble.https, NAME)
        .expect("it is served all the same");
    pebble.up();
    let back = Instant::now();
    wait_until(
        "a new one is obtained",
        || kept(&daemon, NAME),
        |pem| *pem != first,
    );
    let took = back.elapsed();
    eprintln!(
        "a new certificate {} ms after the return of the CA",
        took.as_millis()
    );
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert!(
        daemon.log().contains("the CA lost our account"),
        "{}",
        daemon.log()
    );
    let client = Client::trusting(&pebble.issuer());
    in_force(&client, &pebble, NAME);
}

#[test]
#[ignore = "needs pebble: tests/run"]
fn a_restart_with_the_ca_away_serves_what_is_kept_from_the_first_connection() {
    let mut pebble = Pebble::start(Behaviour::default());
    let home = tempfile::tempdir().expect("a temporary directory");
    let daemon = with_hosts(&pebble, "", &[NAME])
        .living_in(home.path())
        .start();
    obtained(&daemon, NAME);
    let issuer = pebble.issuer();
    drop(daemon);
    pebble.down();
    let _daemon = with_hosts(&pebble, "", &[NAME])
        .living_in(home.path())
        .start();
    let client = Client::trusting(&issuer);
    client
        .connect(pebble.https, NAME)
        .expect("a handshake right after READY");
}
