//! slowhttptest gets nowhere: its connections are cut, and everybody else is served meanwhile.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::http::get;
use crate::harness::site::write;
use crate::harness::upstream::{Upstream, ok};
use crate::harness::{Builder, Daemon};

/// The seconds from the first of its connections to the end of the last.
fn attack(options: &[&str]) -> u64 {
    let upstream = Upstream::answering(|_| ok(b"fine"));
    let home = tempfile::tempdir().expect("a temporary directory");
    write(home.path(), &[("large.bin", &vec![7; 16 * 1024 * 1024])]);
    let route = "[[hosts.localhost.routes]]\n";
    let config = format!(
        "[hosts.localhost]\ntls = \"off\"\n{route}to = \"backend\"\n\
         {route}path = \"/files\"\nto = {{ files = {{ directory = \"{}\" }} }}\n\
         {route}path = \"/proxied\"\nto = {{ proxy = {{ upstreams = [\"{}\"] }} }}\n",
        home.path().display(),
        upstream.url()
    );
    let daemon = Builder::new().config(&config).start();
    let path = options.last().expect("a path");
    let url = format!("http://localhost:{}{path}", daemon.http.port());
    let mut slow = Command::new("slowhttptest");
    slow.args(["-c", "300", "-r", "300", "-l", "60", "-v", "1"]);
    slow.args(&options[..options.len() - 1])
        .stdout(Stdio::null());
    let mut slow = slow.args(["-u", &url]).spawn().expect("slowhttptest runs");
    let (mut most, mut begun, mut held) = (0, None, Duration::ZERO);
    while slow.try_wait().expect("its state").is_none() {
        assert_eq!(get(daemon.http, "/health/live").status, 200);
        let open = open(&daemon);
        most = most.max(open);
        // Its own probe, and ours.
        if open > 5 {
            held = begun.get_or_insert_with(Instant::now).elapsed();
        }
        if open <= 5 && most > 100 {
            // A slow reader may not see its end for hours: what its kernel holds comes first.
            slow.kill().expect("it is there");
            slow.wait().expect("its end");
            break;
        }
    }
    assert!(most > 100, "no more than {most} connections");
    held.as_secs()
}

/// Connections of the HTTP listener.
fn open(daemon: &Daemon) -> u64 {
    daemon.metric("seance_http_connections{listener=\"http\"}")
}

#[test]
#[ignore = "needs slowhttptest: tests/run"]
fn slow_heads_are_cut() {
    let seconds = attack(&["-H", "-i", "5", "/"]);
    assert!((5..=15).contains(&seconds), "after {seconds} s");
}

#[test]
#[ignore = "needs slowhttptest: tests/run"]
fn slow_bodies_are_cut() {
    let seconds = attack(&["-B", "-i", "5", "-s", "8192", "/proxied"]);
    assert!((5..=15).contains(&seconds), "after {seconds} s");
}

#[test]
#[ignore = "needs slowhttptest: tests/run"]
fn slow_readers_are_cut() {
    let seconds = attack(&[
        "-X",
        "-n",
        "5",
        "-w",
        "10",
        "-y",
        "20",
        "-z",
        "5",
        "/files/large.bin",
    ]);
    assert!((5..=15).contains(&seconds), "after {seconds} s");
}
