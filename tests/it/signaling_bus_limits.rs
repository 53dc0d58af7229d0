//! Neither what stands on the bus nor how much of it hurts a node, and the servers may ask who it is.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::bucket::secret_file;
use crate::harness::nats::Nats;
use crate::harness::wait::wait_until;
use crate::harness::{Builder, Daemon, command};
use crate::signaling_bus::{GONE, config, connect, node, occupancy, until_total};

const DROPPED: &str = "seance_signaling_bus_dropped_total";

/// An envelope as another node would send it.
fn envelope(kind: u8, node: u8, number: u64, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![1, kind];
    bytes.extend_from_slice(&[node; 16]);
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes.extend_from_slice(rest);
    bytes
}

fn publish(number: u64, text: &str) -> Vec<u8> {
    envelope(0, 9, number, &[&[0; 8], text.as_bytes()].concat())
}

fn counts(entries: &[(&str, u32)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, count) in entries {
        bytes.extend_from_slice(&count.to_be_bytes());
        let length = u16::try_from(name.len()).expect("a short name");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes
}

fn until_connected(daemon: &Daemon) {
    let up = || daemon.metric("seance_signaling_bus_connected");
    wait_until("the bus is there", up, |up| *up == 1);
}

fn dropped(daemon: &Daemon, reason: &str) -> u64 {
    daemon.metric(&format!("{DROPPED}{{reason=\"{reason}\"}}"))
}

#[test]
#[ignore = "needs nats-server: tests/run"]
fn junk_on_the_bus_hurts_nothing() {
    let nats = Nats::start();
    let (one, two) = (node(&nats, ""), node(&nats, ""));
    let (mut a, mut b) = (connect(&one), connect(&two));
    a.subscribe("room");
    b.subscribe("room");
    until_total(&one, "room", 2);
    let long = "x".repeat(5000);
    let junk = [
        vec![],
        b"junk".to_vec(),
        vec![0xff; 100_000],
        vec![1; 25],
        envelope(77, 9, 0, b""),
        envelope(1, 9, 0, &[0, 0, 0, 1, 0xff, 0xff]),
        envelope(0, 9, 1, b"short"),
        publish(2, "not JSON"),
        publish(3, &"[".repeat(100_000)),
        publish(4, r#"{"type":"subscribe","topics":["room"]}"#),
        publish(
            5,
            &format!(
                r#"{{"type":"publish","topic":"room","x":"{}"}}"#,
                "y".repeat(500_000)
            ),
        ),
        envelope(0, 9, 6, &[&[0; 8][..], &[0xff, 0xfe]].concat()),
    ];
    nats.publish("seance.signaling.anybody", &junk);
    let unread = || dropped(&one, "malformed");
    wait_until("all of it was met", unread, |count| {
        *count == junk.len() as u64
    });
    // Well formed, but of no node's making: believed until the node is silent.
    let lies = [
        envelope(
            1,
            9,
            u64::MAX,
            &counts(&[("room", u32::MAX), ("", 1), (&long, 1)]),
        ),
        envelope(1, 8, u64::MAX, &counts(&[("room", u32::MAX)])),
        envelope(4, 9, 3, b"unasked"),
        envelope(2, 9, 0, &[&[2], &*counts(&[("room", 1)])].concat()),
    ];
    nats.publish("seance.signaling.anybody", &lies);
    until_total(&one, "room", 2 + 2 * u64::from(u32::MAX));
    a.publish("room", "crowded");
    assert_eq!(a.delivery()["clients"], u32::MAX);
    assert_eq!(b.delivery()["data"], "crowded");
    until_total(&one, "room", 2);
    b.publish("room", "fine");
    for peer in [&mut a, &mut b] {
        assert_eq!(peer.delivery()["data"], "fine");
        peer.settle();
    }
    assert!(!one.log().contains("panicked"), "{}", one.log());
}

#[test]
#[ignore = "needs nats-server: tests/run"]
fn more_nodes_and_topics_than_allowed_are_ignored() {
    let nats = Nats::start();
    let one = node(&nats, "max_nodes = 1\nmax_topics = 2");
    until_connected(&one);
    let subject = "seance.signaling.9";
    let first = [
        envelope(1, 9, 0, &counts(&[("a", 1), ("b", 2), ("c", 3)])),
        envelope(1, 8, 0, &counts(&[("a", 1)])),
    ];
    nats.publish(subject, &first);
    let refused = || one.metric("seance_signaling_bus_refused_total");
    wait_until("they are met", refused, |count| *count == 2);
    assert_eq!(one.metric("seance_signaling_bus_nodes"), 1);
    assert_eq!(occupancy(&one, "a")["total"], 1);
    assert_eq!(occupancy(&one, "c"), serde_json::Value::Null);
}

#[test]
#[ignore = "needs nats-server: tests/run"]
fn a_queue_that_is_full_drops_and_counts() {
    let nats = Nats::start();
    let one = node(
        &nats,
        "max_outgoing_bytes = 4096\nmax_incoming_messages = 16",
    );
    until_connected(&one);
    let mut a = connect(&one);
    a.subscribe("room");
    a.publish("room", &"x".repeat(5000));
    assert_eq!(a.delivery()["clients"], 1, "it still reaches who is here");
    assert_eq!(dropped(&one, "outgoing"), 1);
    let text = r#"{"type":"publish","topic":"elsewhere"}"#;
    let flood: Vec<_> = (0..5000).map(|number| publish(number, text)).collect();
    nats.publish("seance.signaling.9", &flood);
    let received = || one.metric("seance_signaling_bus_messages_received_total");
    // A node knows what it missed by what comes next.
    let alive = [envelope(3, 9, 5000, b"")];
    let all = || {
        nats.publish("seance.signaling.9", &alive);
        received() + dropped(&one, "incoming")
    };
    wait_until("all were met", all, |count| *count == 5000);
    assert!(dropped(&one, "incoming") > 0);
    a.settle();
}

#[test]
#[ignore = "needs nats-server: tests/run"]
fn a_message_larger_than_the_server_takes_is_dropped_and_the_rest_goes_on() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let file = home.path().join("nats.conf");
    std::fs::write(&file, "max_payload: 1000\n").expect("a file");
    let nats = Nats::with(&["--config", command::path(&file)]);
    let (one, two) = (node(&nats, ""), node(&nats, ""));
    let (mut a, mut b) = (connect(&one), connect(&two));
    b.subscribe("room");
    until_total(&one, "room", 1);
    a.publish("room", &"x".repeat(2000));
    a.publish("room", "small");
    assert_eq!(b.delivery()["data"], "small");
    assert_eq!(dropped(&one, "too_large"), 1);
}

#[test]
#[ignore = "needs nats-server: tests/run"]
fn rooms_with_different_subjects_do_not_meet() {
    let nats = Nats::start();
    let (one, two) = (node(&nats, ""), node(&nats, "subject_prefix = \"other\""));
    let three = node(&nats, "subject_prefix = \"other\"");
    let mut a = connect(&one);
    a.subscribe("room");
    let mut b = connect(&two);
    b.subscribe("room");
    until_total(&three, "room", 1);
    until_total(&one, "room", 1);
}

#[test]
#[ignore = "needs nats-server: tests/run"]
fn the_servers_may_ask_for_a_token_or_a_password() {
    let token = format!("token_file = \"{}\"", secret_file("bus-token"));
    let user = format!(
        "user = \"ada\"\npassword_file = \"{}\"",
        secret_file("bus-password")
    );
    let wrong = format!("token_file = \"{}\"", secret_file("bus-wrong"));
    for (arguments, login) in [
        (&["--auth", "bus-token"][..], &token),
        (&["--user", "ada", "--pass", "bus-password"], &user),
    ] {
        let nats = Nats::with(arguments);
        until_connected(&node(&nats, login));
        for refused in ["", &*wrong] {
            let daemon = node(&nats, refused);
            let log = wait_until("it is refused", || daemon.log(), |log| log.contains(GONE));
            assert!(log.to_lowercase().contains("authorization"), "{log}");
            assert!(
                !log.contains("bus-wrong"),
                "a secret is never logged: {log}"
            );
            assert_eq!(daemon.metric("seance_signaling_bus_connected"), 0);
        }
    }
}

fn openssl(directory: &Path, arguments: &[&str]) {
    let output = Command::new("openssl")
        .current_dir(directory)
        .args(arguments)
        .output()
        .expect("openssl runs");
    assert!(output.status.success(), "{output:?}");
}

/// A server's certificate for 127.0.0.1 and the authority that vouches for it.
fn certificates(directory: &Path) {
    let new = [
        "req",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ];
    let ca = [
        "-x509",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-subj",
        "/CN=test authority",
    ];
    openssl(directory, &[&new[..], &ca].concat());
    let server = ["-keyout", "key.pem", "-out", "csr.pem", "-subj", "/CN=nats"];
    openssl(directory, &[&new[..], &server].concat());
    std::fs::write(directory.join("ext"), "subjectAltName=IP:127.0.0.1\n").expect("a file");
    let sign = [
        "x509",
        "-req",
        "-in",
        "csr.pem",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
    ];
    openssl(
        directory,
        &[&sign[..], &["-extfile", "ext", "-out", "cert.pem"]].concat(),
    );
}

#[test]
#[ignore = "needs nats-server and openssl: tests/run"]
fn the_bus_is_joined_over_tls_with_an_authority_of_our_own() {
    let home = tempfile::tempdir().expect("a temporary directory");
    certificates(home.path());
    let [cert, key, ca] = ["cert.pem", "key.pem", "ca.pem"].map(|file| home.path().join(file));
    let nats = Nats::with(&[
        "--tls",
        "--tlscert",
        command::path(&cert),
        "--tlskey",
        command::path(&key),
    ]);
    let url = nats.url().replace("nats://", "tls://");
    let trusting = config(&url, &format!("tls_ca_file = \"{}\"", ca.display()));
    until_connected(&Builder::new().config(&trusting).start());
    let suspicious = Builder::new().config(&config(&url, "")).start();
    let log = || suspicious.log();
    let log = wait_until("it is refused", log, |log| log.contains(GONE));
    assert!(log.contains("certificate"), "{log}");
}

#[test]
fn a_server_that_says_nothing_is_left_after_its_time_and_tried_again_soon() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let url = format!("nats://{}", silent.local_addr().expect("an address"));
    let daemon = Builder::new()
        .config(&config(&url, "connect_timeout_seconds = 1"))
        .start();
    let (first, _) = silent.accept().expect("an attempt");
    let began = Instant::now();
    let log = || daemon.log();
    wait_until("it is given up", log, |log| log.contains(GONE));
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    drop(first);
    silent.set_nonblocking(true).expect("a listener");
    // Each pause would be twice as long as the one before, were they not limited to 50 ms: 25 s for ten of them.
    let mut attempts = 0;
    let accept = || {
        match silent.accept() {
            Ok(_closed_at_once) => attempts += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        attempts
    };
    let began = Instant::now();
    wait_until("it was tried again", accept, |attempts| *attempts >= 10);
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
}
