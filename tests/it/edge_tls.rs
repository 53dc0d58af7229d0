//! TLS is served by name, and to nobody else.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::harness::http::head;
use crate::harness::tls::{Client, exchange};
use crate::harness::wait::wait_until;
use crate::harness::{Builder, Daemon};

const TWO_HOSTS: &str = "[hosts.\"one.localhost\"]\n[hosts.\"two.localhost\"]\n";

fn daemon() -> Daemon {
    Builder::new().config(TWO_HOSTS).start()
}

fn live(host: &str) -> String {
    format!("GET /health/live HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

#[test]
fn each_host_is_served_under_a_certificate_of_its_own() {
    let daemon = daemon();
    let client = Client::trusting(&daemon.local_root());
    for host in ["one.localhost", "two.localhost", "ONE.localhost"] {
        let mut session = client.connect(daemon.https(), host).expect("a session");
        let answer = exchange(&mut session, &live(host));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
        let strict = "strict-transport-security: max-age=31536000\r\n";
        assert!(answer.contains(strict), "{host}: {answer}");
    }
}

#[test]
fn a_handshake_for_another_name_or_for_none_is_refused_by_name() {
    let daemon = daemon();
    let unknown = Client::trusting_all().refusal(daemon.https(), "three.localhost");
    assert!(unknown.contains("UnrecognisedName"), "{unknown}");
    let nameless = Client::trusting_all().without_name();
    let nameless = nameless.refusal(daemon.https(), "one.localhost");
    assert!(nameless.contains("UnrecognisedName"), "{nameless}");
    // A client has its refusal before the daemon has counted it.
    for outcome in ["unknown_name", "no_name"] {
        let name = format!("seance_tls_handshakes_total{{outcome=\"{outcome}\"}}");
        wait_until(&name, || daemon.counted(&name), |seen| *seen == 1);
    }
}

#[test]
fn only_a_client_that_asks_for_a_challenge_may_get_one() {
    let daemon = daemon();
    let ca = Client::trusting_all().offering(&["acme-tls/1"]);
    let refusal = ca.refusal(daemon.https(), "one.localhost");
    assert!(refusal.contains("NoApplicationProtocol"), "{refusal}");
    let other = Client::trusting_all().offering(&["acme-tls/1", "http/1.1"]);
    let session = other
        .connect(daemon.https(), "one.localhost")
        .expect("a session");
    assert_eq!(session.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[test]
fn http2_is_spoken_with_those_who_offer_it() {
    let daemon = daemon();
    for (offered, spoken) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1", "h2"], Some(b"h2")),
        (&["http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let client = Client::trusting_all().offering(offered);
        let session = client
            .connect(daemon.https(), "one.localhost")
            .expect("a session");
        assert_eq!(session.conn.alpn_protocol(), spoken, "{offered:?}");
    }
    let unknown = Client::trusting_all().offering(&["spdy/3"]);
    let refusal = unknown.refusal(daemon.https(), "one.localhost");
    assert!(refusal.contains("NoApplicationProtocol"), "{refusal}");
}

#[test]
fn a_session_is_resumed_in_either_version_of_tls() {
    use rustls::HandshakeKind::{Full, Resumed};
    let daemon = daemon();
    for version in rustls::ALL_VERSIONS {
        let client = Client::of_version(version);
        for wanted in [Full, Resumed] {
            let mut session = client
                .connect(daemon.https(), "one.localhost")
                .expect("a session");
            // The tickets of TLS 1.3 come behind the handshake.
            exchange(&mut session, &live("one.localhost"));
            assert_eq!(session.conn.handshake_kind(), Some(wanted), "{version:?}");
        }
        let mut session = client
            .connect(daemon.https(), "two.localhost")
            .expect("a session");
        exchange(&mut session, &live("two.localhost"));
        assert_eq!(session.conn.handshake_kind(), Some(Full), "another host");
    }
    assert_eq!(
        daemon.counted("seance_tls_handshakes_total{outcome=\"resumed\"}"),
        2
    );
}

#[test]
fn the_cheaper_of_two_strong_ciphers_is_taken_whatever_the_client_prefers() {
    let daemon = daemon();
    for version in rustls::ALL_VERSIONS {
        let mut session = Client::of_version(version)
            .connect(daemon.https(), "one.localhost")
            .expect("a session");
        exchange(&mut session, &live("one.localhost"));
        let suite = session.conn.negotiated_cipher_suite().expect("a suite");
        let name = suite.suite().as_str().unwrap_or_default();
        // The client's own order begins with 256 bits.
        assert!(name.contains("AES_128_GCM"), "{version:?}: {name}");
    }
}

#[test]
fn a_peer_that_is_slow_with_its_handshake_is_cut() {
    let daemon = Builder::new()
        .config(TWO_HOSTS)
        .env("SEANCE_HTTPS__HANDSHAKE_TIMEOUT_SECONDS", "1")
        .start();
    // Nothing, the head of a record, and a byte now and then.
    for begun in [&b""[..], &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]] {
        let started = Instant::now();
        let mut stream = TcpStream::connect(daemon.https()).expect("a connection");
        stream.write_all(begun).expect("bytes are taken");
        let mut rest = Vec::new();
        let read = stream.read_to_end(&mut rest);
        assert!(read.is_err() || rest.len() < 8, "{read:?} {rest:?}");
        let took = started.elapsed().as_millis();
        assert!((900..5000).contains(&took), "{begun:?} held for {took} ms");
    }
    let counted = || daemon.counted("seance_tls_handshakes_total{outcome=\"timeout\"}");
    wait_until("both are counted", counted, |count| *count == 2);
}

#[test]
fn what_is_no_tls_is_cut_on_the_tls_port() {
    let daemon = daemon();
    let mut stream = TcpStream::connect(daemon.https()).expect("a connection");
    stream
        .write_all(&head("GET", "/", &[], None))
        .expect("bytes are taken");
    let mut rest = Vec::new();
    let read = stream.read_to_end(&mut rest);
    assert!(read.is_err() || !rest.starts_with(b"HTTP"), "{rest:?}");
    let counted = || daemon.counted("seance_tls_handshakes_total{outcome=\"failed\"}");
    wait_until("it is counted", counted, |count| *count == 1);
}

#[test]
#[ignore = "needs curl: tests/run"]
fn a_client_that_trusts_the_local_root_speaks_http2_and_http1() {
    let daemon = daemon();
    let port = daemon.https().port();
    let url = format!("https://one.localhost:{port}/health/live");
    let resolve = format!("one.localhost:{port}:127.0.0.1");
    let curl = |arguments: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--resolve", &resolve]);
        curl.args([
            "--write-out",
            "%{http_version} %{http_code}",
            "--output",
            "/dev/null",
        ]);
        let output = curl.args(arguments).arg(&url).output().expect("curl runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let root = daemon.local_root();
    let root = root.to_str().expect("a path in UTF-8");
    assert_eq!(curl(&["--cacert", root]), "2 200");
    assert_eq!(curl(&["--cacert", root, "--http1.1"]), "1.1 200");
    assert_eq!(curl(&[]), "0 000", "trusted by nobody else");
}

/// What testssl.sh calls a finding, without what cannot be otherwise with a root that only we know.
#[test]
#[ignore = "needs testssl.sh: tests/run"]
fn testssl_finds_nothing() {
    let daemon = daemon();
    let report = daemon.home().join("testssl.json");
    let output = Command::new("testssl")
        .args([
            "--quiet",
            "--color",
            "0",
            "--warnings",
            "off",
            "--ip",
            "127.0.0.1",
        ])
        .args(["--severity", "LOW", "--nodns", "min"])
        .arg("--add-ca")
        .arg(daemon.local_root())
        .arg("--jsonfile")
        .arg(&report)
        .arg(format!("one.localhost:{}", daemon.https().port()))
        .output()
        .expect("testssl runs");
    let text = std::fs::read_to_string(&report).expect("a report");
    let findings: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let findings = findings.as_array().expect("a list of findings");
    let found: Vec<_> = findings
        .iter()
        .filter(|finding| {
            let text = |key: &str| finding[key].as_str().unwrap_or_default();
            // A warning is about testssl itself. Behind a local CA there is no CRL, OCSP or CAA record.
            let known = [
                "cert_chain_of_trust",
                "cert_revocation",
                "cert_crl",
                "DNS_CAArecord",
                "HSTS",
            ];
            let severe = ["LOW", "MEDIUM", "HIGH", "CRITICAL"].contains(&text("severity"));
            severe && !known.iter().any(|known| text("id").starts_with(known))
        })
        .collect();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("TLS 1.3"), "it ran: {printed}");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
#[ignore = "needs sslyze: tests/run"]
fn sslyze_finds_what_mozilla_advises() {
    let daemon = daemon();
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/sslyze/bin/python");
    let output = Command::new(python)
        .args(["-m", "sslyze", "--mozilla_config=intermediate"])
        .arg("--certinfo_ca_file")
        .arg(daemon.local_root())
        .arg(format!(
            "one.localhost:{}{{127.0.0.1}}",
            daemon.https().port()
        ))
        .output()
        .expect("sslyze is installed by tests/run");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}");
    for wanted in [
        "OK - Compliant",
        "OK - Certificate is trusted",
        "OK - Not vulnerable to Heartbleed",
        "Client Renegotiation DoS Attack:   OK",
    ] {
        assert!(report.contains(wanted), "no {wanted:?} in {report}");
    }
}
