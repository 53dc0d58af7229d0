//! Certificates come from a CA by themselves: the first ones, by whichever way the CA can look at us.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use crate::harness::acme::{config, figure, in_force, kept, obtained, with_hosts};
use crate::harness::pebble::{Behaviour, EAB, Pebble};
use crate::harness::tls::Client;
use crate::harness::wait::wait_until;

fn believing() -> Behaviour {
    Behaviour {
        believes: true,
        ..Behaviour::default()
    }
}

#[test]
#[ignore = "needs pebble: tests/run"]
fn the_first_certificate_is_there_within_a_second_of_the_start() {
    let pebble = Pebble::start(Behaviour::default());
    // Other work on the machine only adds to it: the best of three counts.
    let tries = (0..3).map(|_| {
        let started = Instant::now();
        let daemon = with_hosts(&pebble, "", &["one.example"]).start();
        obtained(&daemon, "one.example");
        let took = started.elapsed();
        let client = Client::trusting(&pebble.issuer());
        in_force(&client, &pebble, "one.example");
        took
    });
    let best = tries.min().expect("three tries");
    eprintln!("first certificate after {} ms", best.as_millis());
    assert!(best < Duration::from_secs(1), "{best:?}");
}

#[test]
#[ignore = "needs pebble: tests/run"]
fn every_name_gets_a_certificate_of_its_own() {
    let pebble = Pebble::start(Behaviour::default());
    let names: Vec<String> = (0..20)
        .map(|number| format!("host{number}.example"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let daemon = with_hosts(&pebble, "contact = \"ops@example.com\"\n", &names).start();
    for name in &names {
        obtained(&daemon, name);
    }
    assert_eq!(pebble.orders(), names.len());
    let client = Client::trusting(&pebble.issuer());
    for name in &names {
        in_force(&client, &pebble, name);
    }
}

#[test]
#[ignore = "needs pebble: tests/run"]
fn where_the_ca_cannot_reach_port_443_it_looks_at_port_80() {
    let blocked = Behaviour {
        tls_blocked: true,
        ..Behaviour::default()
    };
    let pebble = Pebble::start(blocked);
    let daemon = with_hosts(&pebble, "", &["one.example"]).start();
    obtained(&daemon, "one.example");
    assert_eq!(figure(&daemon, "validation_failed", "one.example"), 1);
    assert_eq!(pebble.orders(), 2);
    // The next name is not spared the detour, but the next certificate of this one is: what works is remembered.
    let attempts = daemon.state().join("acme");
    let attempts = std::fs::read_dir(attempts)
        .expect("the place of certificates")
        .flatten();
    let remembered = attempts.filter_map(|place| {
        std::fs::read_to_string(place.path().join("attempts/one.example.json")).ok()
    });
    let remembered: String = remembered.collect();
    assert!(remembered.contains("\"works\":\"http-01\""), "{remembered}");
}

#[test]
#[ignore = "needs pebble: tests/run"]
fn half_of_the_nonces_refused_only_costs_requests() {
    let refusing = Behaviour {
        refused_nonces: Some(50),
        ..believing()
    };
    let pebble = Pebble::start(refusing);
    let names = ["one.example", "two.example", "three.example"];
    let daemon = with_hosts(&pebble, "", &names).start();
    for name in names {
        obtained(&daemon, name);
    }
    assert_eq!(pebble.orders(), names.len(), "no order was given up");
    assert!(!daemon.log().contains("cannot obtain"), "{}", daemon.log());
}

#[test]
#[ignore = "needs pebble: tests/run"]
fn a_ca_that_wants_the_account_bound_gets_it_bound() {
    let binding = Behaviour {
        wants_binding: true,
        ..believing()
    };
    let pebble = Pebble::start(binding);
    let unbound = with_hosts(&pebble, "", &["one.example"]).start();
    let missing = "external account binding";
    wait_until(
        "it says what is missing",
        || unbound.log(),
        |log| log.contains(missing),
    );
    drop(unbound);
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), format!("{}\n", EAB.1)).expect("a file");
    let file = file.path().display();
    let acme = format!(
        "eab_key_id = \"{}\"\neab_hmac_key_file = \"{file}\"\n",
        EAB.0
    );
    let bound = with_hosts(&pebble, &acme, &["one.example"]).start();
    obtained(&bound, "one.example");
}

#[test]
#[ignore = "needs pebble: tests/run"]
fn keys_and_certificates_are_readable_by_the_daemon_alone() {
    let pebble = Pebble::start(believing());
    let daemon = with_hosts(&pebble, "", &["one.example"]).start();
    obtained(&daemon, "one.example");
    let mut files = 0;
    let mut folders = vec![daemon.state().join("acme")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let kind = entry.metadata().expect("its metadata");
            if kind.is_dir() {
                folders.push(entry.path());
            } else {
                assert_eq!(
                    kind.permissions().mode() & 0o777,
                    0o600,
                    "{:?}",
                    entry.path()
                );
                files += 1;
            }
        }
    }
    assert!(
        files >= 3,
        "account, attempts and certificate, not {files} files"
    );
}

#[test]
#[ignore = "needs pebble: tests/run"]
fn a_reload_adds_and_drops_names_and_the_others_notice_nothing() {
    let pebble = Pebble::start(Behaviour::default());
    let daemon = with_hosts(&pebble, "", &["one.example", "two.example"]).start();
    let one = obtained(&daemon, "one.example");
    obtained(&daemon, "two.example");
    daemon.reload(&config(&pebble, "", &["one.example", "three.example"]));
    obtained(&daemon, "three.example");
    assert_eq!(kept(&daemon, "one.example"), Some(one));
    assert_eq!(pebble.orders(), 3);
    let client = Client::trusting_all();
    in_force(&client, &pebble, "one.example");
    in_force(&client, &pebble, "three.example");
    client.refusal(pebble.https, "two.example");
    // Back again: what was kept is still good.
    daemon.reload(&config(&pebble, "", &["one.example", "two.example"]));
    in_force(&client, &pebble, "two.example");
    assert_eq!(pebble.orders(), 3);
}

#[test]
#[ignore = "needs pebble: tests/run"]
fn a_name_that_does_not_validate_is_alone_in_failing_and_left_alone_after_three_failures() {
    let pebble = Pebble::start(Behaviour::default());
    pebble.lead_astray("lost.example");
    let hosts = ["one.example", "lost.example"];
    let home = tempfile::tempdir().expect("a temporary directory");
    let start = || {
        let builder = with_hosts(&pebble, "", &hosts).living_in(home.path());
        builder.env("SEANCE_LOG__FILTER", "debug").start()
    };
    let daemon = start();
    obtained(&daemon, "one.example");
    let failed = |daemon: &_| figure(daemon, "validation_failed", "lost.example");
    wait_until(
        "the name has failed in both ways",
        || failed(&daemon),
        |failed| *failed == 2,
    );
    drop(daemon);
    // The failures of a minute ago allow for one more.
    let minute_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(90);
    move_attempts(&home.path().join("state"), minute_ago);
    std::fs::remove_file(home.path().join("log")).expect("the log");
    let daemon = start();
    wait_until(
        "it fails once more",
        || failed(&daemon),
        |failed| *failed == 1,
    );
    let paused = "enough validations of the name failed";
    wait_until("it waits", || daemon.log(), |log| log.contains(paused));
    drop(daemon);
    let orders = pebble.orders();
    std::fs::remove_file(home.path().join("log")).expect("the log");
    let daemon = start();
    wait_until(
        "it waits after a restart, too",
        || daemon.log(),
        |log| log.contains(paused),
    );
    assert_eq!(pebble.orders(), orders);
    assert_eq!(failed(&daemon), 0);
    Client::trusting_all()
        .connect(pebble.https, "one.example")
        .expect("a handshake");
}

/// Gives the recorded failures another time.
fn move_attempts(state: &std::path::Path, at: jiff::Timestamp) {
    for place in std::fs::read_dir(state.join("acme"))
        .expect("a folder")
        .flatten()
    {
        let file = place.path().join("attempts/lost.example.json");
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        let mut attempts: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let failed = attempts["failed"].as_array_mut().expect("failures");
        assert_eq!(failed.len(), 2, "{text}");
        for failed in failed {
            failed["at"] = serde_json::json!(at.to_string());
        }
        std::fs::write(&file, attempts.to_string()).expect("a file");
    }
}
