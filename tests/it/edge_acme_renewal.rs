//! Certificates are renewed in time, without a connection noticing, and whatever happens to the CA.

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::acme::{config, in_force, kept, obtained, with_hosts};
use crate::harness::http::{Connection, head};
use crate::harness::pebble::{Behaviour, Pebble};
use crate::harness::release::{deploy_with, files};
use crate::harness::tls::{Client, leaf};
use crate::harness::wait::wait_until;
use crate::harness::websocket::WebSocket;

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

#[test]
#[ignore = "needs pebble: tests/run"]
fn websockets_and_downloads_go_on_across_renewals_and_reloads() {
    let pebble = Pebble::start(short_lived(8));
    let hash = crate::harness::key_hash("secret");
    let app = format!("[apps.default]\nbuilder_key_hashes = [\"{hash}\"]\n");
    let daemon = with_hosts(&pebble, &app, &[NAME]).start();
    let mut last = obtained(&daemon, NAME);
    let client = Client::trusting(&pebble.issuer());
    in_force(&client, &pebble, NAME);
    let entrance = client.tunnel(pebble.https, NAME);
    let large: Vec<u8> = (0..32 * 1024 * 1024_u32)
        .map(|n| n.to_le_bytes()[1] ^ n.to_le_bytes()[2])
        .collect();
    let upload = files(&[("releases/large.bin", &large)]);
    let host = [("Host", NAME)];
    let deployed = deploy_with(entrance, "secret", &upload, "/deploy", &host);
    assert_eq!(deployed.status, 200, "{}", deployed.text());

    let mut download = Connection::open(entrance);
    download.send(&head("GET", "/updates/large.bin", &host, None));
    let socket = || WebSocket::named(entrance, NAME, "/signaling").expect("a handshake");
    let (mut here, mut there) = (socket(), socket());
    here.subscribe("doc");
    let first = leaf(&client.connect(pebble.https, NAME).expect("a handshake"));
    let mut received = Vec::new();
    // So slowly that the download lasts, and so fast that it is not cut off.
    let mut sip = || {
        let mut bytes = [0; 512];
        let read = download.stream().read(&mut bytes).expect("it goes on");
        received.extend_from_slice(&bytes[..read]);
    };
    for round in 0..3 {
        let renewed = || {
            sip();
            kept(&daemon, NAME)
        };
        let another = |pem: &Option<String>| pem.as_ref().is_some_and(|pem| *pem != last);
        let next = wait_until("it is renewed", renewed, another);
        last = next.expect("a certificate");
        there.publish("doc", &format!("renewed {round}"));
        assert_eq!(here.delivery()["data"], format!("renewed {round}"));
        daemon.reload(&config(&pebble, &app, &[NAME, "two.example"]));
        there.publish("doc", &format!("reloaded {round}"));
        assert_eq!(here.delivery()["data"], format!("reloaded {round}"));
    }
    let now = || {
        client
            .connect(pebble.https, NAME)
            .map(|session| leaf(&session))
    };
    wait_until("others get the new one", now, |seen| {
        seen.as_ref().is_ok_and(|seen| *seen != first)
    })
    .expect("a certificate");
    let sipped = received.len();
    assert!(
        sipped < large.len() / 2,
        "the download was over before: {sipped}"
    );
    while !received.ends_with(&large[large.len() - 64..]) || received.len() < large.len() {
        let mut bytes = vec![0; 64 * 1024];
        let read = download.stream().read(&mut bytes).expect("it goes on");
        assert!(read > 0, "cut after {} bytes", received.len());
        received.extend_from_slice(&bytes[..read]);
    }
    assert!(
        received.ends_with(&large),
        "the bytes are those of the file"
    );
}
