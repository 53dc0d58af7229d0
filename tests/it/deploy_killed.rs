//! `kill -9` at any point of a deploy leaves the old release or the new one, never a mixture.
//!
//! The invariant, checked after each kill and again after the restart: the log has whole records without gaps; every
//! file that a record names has its content, complete; what seance serves is the fold of that log, whole; a deploy
//! that was answered with success is in it. After the restart the public copies come to equal what is served, and the
//! deploy can be repeated.

use std::path::Path;
use std::process::Command;

use crate::harness::release::{
    Files, StoreDirectory, assert_same, deploy, onto, product, served, try_deploy,
};
use crate::harness::wait::wait_until;
use crate::harness::{Builder, kill};

/// Where a deploy was when it was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Staging,
    Recorded,
    Projected,
}

/// A home in which `old` is published, at rest.
pub fn home_with(old: &Files) -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a temporary directory");
    let daemon = Builder::at(home.path()).start();
    let answer = deploy(daemon.http, &daemon.builder_key(), old);
    assert_eq!(answer.status, 200, "{answer:?}");
    at_rest(home.path(), 1);
    daemon.stop();
    home
}

/// Waits until all work that follows the first `n` deploys is done.
fn at_rest(home: &Path, n: usize) {
    StoreDirectory::of(home).projected(n);
    wait_until(
        "the snapshot has the deploy",
        || snapshot_head(home),
        |head| *head == n as u64,
    );
}

fn snapshot_head(home: &Path) -> u64 {
    let text = std::fs::read(home.join("state/releases.json")).unwrap_or_default();
    let snapshot: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    snapshot["state"]["head"].as_u64().unwrap_or(0)
}

pub fn copy_of(home: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary directory");
    let status = Command::new("cp")
        .args(["-a", "--"])
        .arg(home.join("state"))
        .arg(copy.path())
        .status()
        .expect("cp runs");
    assert!(status.success());
    copy
}

/// Deploys `new` and kills the daemon at its `at`th durable call; gives the calls counted, and whether it was answered
/// with success.
fn killed_at(home: &Path, at: usize, new: &Files) -> (usize, bool) {
    let mut daemon = Builder::at(home).start();
    let (address, key) = (daemon.http, daemon.builder_key());
    let pid = kill::pid(&daemon);
    kill::at_call(&mut daemon, at, kill::Call::is_durable, || {
        let answered = try_deploy(address, &key, new).is_some_and(|answer| answer.status == 200);
        if answered {
            let done = || {
                StoreDirectory::of(home).has(".seance/projected/000000000002")
                    && snapshot_head(home) == 2
            };
            wait_until(
                "it is killed, or at rest",
                || done() || kill::is_dead(pid),
                |end| *end,
            );
        }
        answered
    })
}

#[track_caller]
fn check(home: &Path, old: &Files, new: &Files, answered: bool) -> Phase {
    let store = StoreDirectory::of(home);
    let both = onto(old, new);
    let found = store.truth();
    let is_new = found == both;
    assert!(is_new || found == *old, "a mixture: {:?}", found.keys());
    assert!(
        is_new || !answered,
        "a deploy that was answered with success is gone"
    );
    let phase = match (is_new, store.has(".seance/projected/000000000002")) {
        (false, _) => Phase::Staging,
        (true, false) => Phase::Recorded,
        (true, true) => Phase::Projected,
    };
    let daemon = Builder::at(home).start();
    for path in old.keys().chain(new.keys()) {
        assert!(
            served(daemon.http, path).as_ref() == found.get(path),
            "{path}"
        );
    }
    store.projected(if is_new { 2 } else { 1 });
    assert_same("the public copies", &store.public(), &found);
    let again = deploy(daemon.http, &daemon.builder_key(), new);
    assert_eq!(again.status, 200, "it cannot be repeated: {again:?}");
    assert_same("the files of the log", &store.truth(), &both);
    phase
}

#[test]
fn a_deploy_killed_at_any_point_leaves_the_old_release_or_the_new_one() {
    let old = product("1.0.0", 1000, 9);
    // Above the size from which a file is streamed.
    let new = product("1.1.0", 600_000, 9);
    let template = home_with(&old);
    let counted = copy_of(template.path());
    let (calls, answered) = killed_at(counted.path(), usize::MAX, &new);
    assert!(answered);
    assert_eq!(check(counted.path(), &old, &new, true), Phase::Projected);
    assert!(calls >= 200, "only {calls} points to be killed at");
    let points: Vec<usize> = (1..=calls).collect();
    let phases = kill::sweep(&points, |at| {
        let home = copy_of(template.path());
        let (_, answered) = killed_at(home.path(), at, &new);
        check(home.path(), &old, &new, answered)
    });
    let count = |wanted: Phase| phases.iter().filter(|phase| **phase == wanted).count();
    let counts = [Phase::Staging, Phase::Recorded, Phase::Projected].map(count);
    eprintln!("{calls} points: {counts:?} while staging, after the record, after the projection");
    assert!(counts[0] >= 50 && counts[1] >= 50, "{counts:?}");
}
