//! What was sent is not sent again: after a cut, after a kill, or because it was published before.

use std::path::Path;
use std::sync::mpsc::channel;

use crate::harness::Daemon;
use crate::harness::command::path;
use crate::harness::link::Link;
use crate::harness::publish::{
    CLIENTS, Client, PARALLEL, PART, assert_served, done, drafts, drafts_with, kill, mac_build,
    outcome,
};
use crate::harness::wait::CEILING;

/// Times that each client is killed.
const KILLS: u64 = 110;
/// Of the archive that is being sent then: more parts than are sent at a time.
const ARCHIVE: usize = 400_000;
/// Request heads and declarations of one run, more than enough.
const TALK: u64 = 20_000;

#[track_caller]
fn sends_little_of_what_is_there(client: Client) {
    let daemon = drafts();
    let home = tempfile::tempdir().expect("a temporary directory");
    let dist = home.path().join("dist");
    let size = 3_000_000;
    let files = mac_build(&dist, "1.0.0", size);
    let link = Link::to(daemon.http);
    let publish = || client.run(home.path(), &[path(&dist), "--to", &link.url()]);
    done(&publish());
    let first = link.passed();
    assert!(first >= size as u64);
    let again = publish();
    assert_eq!(done(&again)["sent"]["bytes"], 0);
    let second = link.passed() - first;
    assert!(
        second < size as u64 / 100,
        "{second} bytes for {size} that were there"
    );
    assert_served(&daemon, &files);
}

#[test]
fn an_unchanged_build_is_published_again_with_under_a_hundredth_of_its_bytes() {
    sends_little_of_what_is_there(Client::Binary);
}

#[test]
#[ignore = "needs node: tests/run"]
fn the_action_publishes_an_unchanged_build_with_under_a_hundredth_of_its_bytes() {
    sends_little_of_what_is_there(Client::Node);
}

/// Publishes `size` bytes over a link that cuts a connection every `every` bytes.
#[track_caller]
fn gets_through(client: Client, daemon: &Daemon, size: u64, every: u64, part: u64, dist: &Path) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let link = Link::with(daemon.http, every, || {});
    let arguments = [path(dist), "--to", &link.url(), "--parallel", "2"];
    let sent = client.run(home.path(), &arguments);
    assert_eq!(done(&sent)["sent"]["bytes"], sent.json["bytes"]);
    let passed = link.passed();
    let cuts = passed / every;
    assert!(cuts >= 3, "{client:?}: only {cuts} cuts");
    // A cut breaks one connection, so one worker sends one part again.
    let most = size + cuts * part + (size / part + cuts) * 1000 + TALK;
    assert!(
        passed <= most,
        "{client:?}: {passed} bytes with {cuts} cuts, more than {most}"
    );
    eprintln!("{client:?}: {passed} bytes for {size}, {cuts} cuts");
}

#[track_caller]
fn gets_through_a_bad_link(client: Client) {
    let daemon = drafts();
    let home = tempfile::tempdir().expect("a temporary directory");
    let size = 4_000_000;
    let files = mac_build(home.path(), "1.0.0", size);
    gets_through(client, &daemon, size as u64, 500_000, PART, home.path());
    assert_served(&daemon, &files);
}

#[test]
fn an_upload_over_a_link_that_is_cut_again_and_again_sends_one_part_again_each_time() {
    gets_through_a_bad_link(Client::Binary);
}

#[test]
#[ignore = "needs node: tests/run"]
fn the_action_sends_one_part_again_each_time_a_link_is_cut() {
    gets_through_a_bad_link(Client::Node);
}

#[test]
#[ignore = "needs node and 10 GB of disk for some minutes: tests/run"]
fn two_gigabytes_go_over_a_link_that_is_cut_every_hundred_megabytes() {
    let size = 2 * 1024 * 1024 * 1024;
    for client in CLIENTS {
        let daemon = drafts_with("");
        let home = tempfile::tempdir().expect("a temporary directory");
        let file = std::fs::File::create(home.path().join("Notes-1.0.0.dmg")).expect("a file");
        file.set_len(size).expect("a sparse file");
        gets_through(
            client,
            &daemon,
            size,
            100_000_000,
            8 * 1024 * 1024,
            home.path(),
        );
    }
}

/// Kills the client at points spread over all that it sends, and has another run do the rest each time.
#[track_caller]
fn killed_anywhere_it_is_gone_on_with(client: Client) {
    let daemon = drafts();
    let (fire, fired) = channel();
    let link = Link::with(daemon.http, u64::MAX, move || {
        fire.send(()).expect("the test waits")
    });
    let home = tempfile::tempdir().expect("a temporary directory");
    let start = |dist: &Path| {
        let parallel = PARALLEL.to_string();
        client.start(
            home.path(),
            &[path(dist), "--to", &link.url(), "--parallel", &parallel],
        )
    };
    let first = home.path().join("first");
    mac_build(&first, "1.0.0", ARCHIVE);
    done(&outcome(start(&first)));
    let whole = link.passed();
    let mut resumed = 0;
    for n in 1..=KILLS {
        let dist = home.path().join(n.to_string());
        let files = mac_build(&dist, &format!("1.0.{n}"), ARCHIVE);
        // Between the first byte and one that a run sends for certain, whatever its heads weigh.
        let at = 1 + n * (whole - 500) / (KILLS + 1);
        let begun = link.passed();
        link.after(at);
        let killed = start(&dist);
        fired
            .recv_timeout(CEILING)
            .expect("the client sends that much");
        kill(killed);
        let rest = outcome(start(&dist));
        assert_eq!(done(&rest)["published"], true, "killed at {at}");
        let passed = link.passed() - begun;
        let most = ARCHIVE as u64 + PARALLEL * PART + 2 * TALK;
        assert!(
            passed <= most,
            "killed at {at}: {passed} bytes, more than {most}"
        );
        resumed += u64::from(rest.json["sent"]["bytes"].as_u64() < Some(ARCHIVE as u64));
        assert_served(&daemon, &files);
        std::fs::remove_dir_all(&dist).expect("a directory");
    }
    eprintln!(
        "{client:?}: {KILLS} kills within {whole} bytes, {resumed} times not all was sent again"
    );
    assert!(resumed > KILLS / 2);
}

#[test]
fn a_client_killed_at_any_point_is_gone_on_with() {
    killed_anywhere_it_is_gone_on_with(Client::Binary);
}

#[test]
#[ignore = "needs node: tests/run"]
fn the_action_killed_at_any_point_is_gone_on_with() {
    killed_anywhere_it_is_gone_on_with(Client::Node);
}
