//! Manual certificates follow their files, the local CA is made once, and a host without a certificate harms no other.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::harness::pki;
use crate::harness::tls::{Client, leaf};
use crate::harness::wait::wait_until;
use crate::harness::websocket::WebSocket;
use crate::harness::{Builder, Daemon};

/// What clients of `name` are shown.
fn shown(daemon: &Daemon, name: &str) -> Vec<u8> {
    let session = Client::trusting_all().connect(daemon.https(), name);
    leaf(&session.expect("a session")).to_vec()
}

fn health(daemon: &Daemon) -> serde_json::Value {
    let connection = Client::trusting_all().tunnel(daemon.https(), "one.localhost");
    let answer = crate::harness::http::request(
        connection,
        "GET",
        "/health",
        &[("Host", "one.localhost")],
        b"",
    );
    answer.json()
}

#[test]
fn a_manual_certificate_is_served_and_a_wildcard_covers_one_label() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let exact = pki::certificate(directory.path(), "exact", &["a.example"], 2040);
    let wide = pki::certificate(directory.path(), "wide", &["*.b.example"], 2040);
    let config = exact.host("a.example") + &wide.host("*.b.example");
    let daemon = Builder::new().config(&config).start();
    assert_eq!(shown(&daemon, "a.example"), exact.der());
    assert_eq!(shown(&daemon, "any.b.example"), wide.der());
    for other in ["b.example", "x.any.b.example", "x.a.example"] {
        let refusal = Client::trusting_all().refusal(daemon.https(), other);
        assert!(refusal.contains("UnrecognisedName"), "{other}: {refusal}");
    }
}

#[test]
fn a_certificate_replaced_on_disk_is_served_without_dropping_anybody() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let files = pki::certificate(directory.path(), "first", &["a.example"], 2040);
    let next = pki::certificate(directory.path(), "next", &["a.example"], 2040);
    let daemon = Builder::new().config(&files.host("a.example")).start();
    let tunnel = Client::trusting_all().tunnel(daemon.https(), "a.example");
    let mut peer = WebSocket::named(tunnel, "a.example", "/signaling").expect("a WebSocket");
    peer.subscribe("t");
    files.replace_by(&next);
    wait_until(
        "the new certificate is served",
        || shown(&daemon, "a.example"),
        |shown| *shown == next.der(),
    );
    peer.publish("t", "still here");
    assert_eq!(peer.delivery()["data"], "still here");
    assert!(!daemon.log().contains("cannot be used"), "{}", daemon.log());
}

#[test]
fn a_broken_new_certificate_keeps_the_old_one_and_is_loud() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let files = pki::certificate(directory.path(), "first", &["a.example"], 2040);
    let old = files.der();
    let config = files.host("a.example");
    let daemon = Builder::new().config(&config).start();
    let other_name = pki::certificate(directory.path(), "other", &["c.example"], 2040);
    let other_key = pki::certificate(directory.path(), "key", &["a.example"], 2040);
    let old_age = pki::certificate(directory.path(), "old", &["a.example"], 2021);
    let broken: [(&str, &dyn Fn()); 5] = [
        ("is not for `a.example`", &|| files.replace_by(&other_name)),
        ("expired at", &|| files.replace_by(&old_age)),
        ("does not belong to", &|| {
            std::fs::copy(&other_key.chain, &files.chain).expect("a chain");
        }),
        ("holds no certificate", &|| {
            std::fs::write(&files.chain, "nothing").expect("a file")
        }),
        ("cannot read", &|| {
            std::fs::remove_file(&files.chain).expect("a file")
        }),
    ];
    for (complaint, break_it) in broken {
        break_it();
        daemon.reload(&config);
        let log = daemon.log();
        let line = log.lines().find(|line| line.contains(complaint));
        let line = line.unwrap_or_else(|| panic!("no complaint that it {complaint}"));
        assert!(
            line.contains("ERROR") && line.contains("a.example"),
            "{line}"
        );
        assert_eq!(shown(&daemon, "a.example"), old, "{complaint}");
    }
    files.replace_by(&other_key);
    wait_until(
        "the good certificate is served",
        || shown(&daemon, "a.example"),
        |shown| *shown == other_key.der(),
    );
}

#[test]
fn a_host_without_a_certificate_is_told_of_and_harms_no_other() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let files = pki::certificate(directory.path(), "missing", &["a.example"], 2040);
    std::fs::remove_file(&files.key).expect("a key");
    let config = format!("{}[hosts.\"one.localhost\"]\n", files.host("a.example"));
    let daemon = Builder::new().config(&config).start();
    let refusal = Client::trusting_all().refusal(daemon.https(), "a.example");
    assert!(refusal.contains("UnrecognisedName"), "{refusal}");
    let health = health(&daemon);
    assert_eq!(health["status"], "degraded");
    let of = |host: &str| {
        let all = health["certificates"].as_array().expect("certificates");
        all.iter()
            .find(|entry| entry["host"] == host)
            .expect("the host")
            .clone()
    };
    assert_eq!(of("a.example")["status"], "missing");
    assert_eq!(of("one.localhost")["status"], "valid");
    assert!(of("one.localhost")["expires"].is_string());
    let metrics = daemon.metrics_text();
    let name = "seance_tls_certificate_expiry_timestamp_seconds";
    assert!(
        metrics.contains(&format!("{name}{{host=\"a.example\"}} 0\n")),
        "{metrics}"
    );
    assert!(
        metrics.contains(&format!("{name}{{host=\"one.localhost\"}} 1")),
        "{metrics}"
    );
    assert!(
        daemon.log().contains("a host has no certificate"),
        "{}",
        daemon.log()
    );
}

#[test]
fn the_local_ca_is_made_once_and_its_key_is_private() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let config = "[hosts.\"one.localhost\"]\n[hosts.\"intern.example\"]\ntls = \"local\"\n";
    let daemon = Builder::at(home.path()).config(config).start();
    let client = Client::trusting(&daemon.local_root());
    for host in ["one.localhost", "intern.example"] {
        client
            .connect(daemon.https(), host)
            .expect("the root vouches for it");
    }
    let key = daemon.state().join("local-ca/root.key");
    let mode = std::fs::metadata(key)
        .expect("the key")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    daemon.stop();
    let daemon = Builder::at(home.path()).config(config).start();
    client
        .connect(daemon.https(), "one.localhost")
        .expect("the same root as before");
}

#[test]
fn seance_trust_tells_how_to_install_the_root_that_signs() {
    let daemon = Builder::new().config("[hosts.\"one.localhost\"]\n").start();
    let out = daemon.home().join("root.pem");
    let trust = Command::new(env!("CARGO_BIN_EXE_seance"))
        .arg("trust")
        .arg("--state")
        .arg(daemon.state())
        .arg("--out")
        .arg(&out)
        .output()
        .expect("seance runs");
    assert!(trust.status.success(), "{trust:?}");
    let printed = String::from_utf8_lossy(&trust.stdout);
    assert!(printed.contains("update-ca-certificates"), "{printed}");
    let client = Client::trusting(&out);
    client
        .connect(daemon.https(), "one.localhost")
        .expect("the root vouches for it");
}

#[test]
fn a_host_that_comes_with_a_reload_is_served_and_one_that_goes_is_not() {
    let daemon = Builder::new().config("[hosts.\"one.localhost\"]\n").start();
    let tunnel = Client::trusting_all().tunnel(daemon.https(), "one.localhost");
    let mut peer = WebSocket::named(tunnel, "one.localhost", "/signaling").expect("a WebSocket");
    peer.subscribe("t");
    daemon.reload("[hosts.\"two.localhost\"]\n");
    let client = Client::trusting(&daemon.local_root());
    client
        .connect(daemon.https(), "two.localhost")
        .expect("a session");
    client.refusal(daemon.https(), "one.localhost");
    peer.publish("t", "still here");
    assert_eq!(peer.delivery()["data"], "still here");
}
