//! `kill -9` at any point of a draft's life leaves something that can be resumed, and never a half-visible release.
//!
//! The daemon is killed at each of its durable calls in turn while a client opens a draft, declares, sends parts,
//! completes and publishes. Whatever was done by then, the log holds the old release or the new one; after the restart
//! the client goes on where it was, and sends no part again but the one that was on its way. On a bucket it goes on at
//! another daemon.

use std::path::Path;

use crate::deploy_bucket::count;
use crate::deploy_killed::{copy_of, home_with};
use crate::drafts::PART;
use crate::drafts_nodes::{client, node};
use crate::harness::bucket::Bucket;
use crate::harness::draft::Client;
use crate::harness::release::{Files, StoreDirectory, assert_same, deploy, onto, product, served};
use crate::harness::{Builder, Daemon, kill};

/// Points at which a daemon on a bucket is killed; each takes a bucket of its own and two daemons.
const KILLS: usize = 60;

/// How far a client came.
#[derive(Debug, Default)]
struct Progress {
    id: Option<String>,
    sent: usize,
    filled: bool,
    published: bool,
}

fn started(home: &Path) -> Daemon {
    Builder::at(home)
        .env("SEANCE_DRAFTS__PART_BYTES", &PART.to_string())
        .start()
}

/// Goes on from where `progress` is, for as long as there are answers.
fn go_on(client: &Client<'_>, new: &Files, progress: &mut Progress) -> Option<()> {
    let id = match &progress.id {
        Some(id) => id.clone(),
        None => {
            let answer = client.try_send("POST", "/api/releases", &[], b"{}")?;
            assert_eq!(answer.status, 201, "{}", answer.text());
            let id = answer.json()["id"].as_str().expect("an id").to_owned();
            progress.id.insert(id).clone()
        }
    };
    if !progress.filled {
        client.fill_counting(&id, "", new, PART, &mut progress.sent)?;
        progress.filled = true;
    }
    let answer = client.publish(&id)?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["record"], 2);
    progress.published = true;
    Some(())
}

/// Publishes a draft of `new` and kills the daemon at its `at`th durable call; gives the calls counted.
fn killed_at(home: &Path, at: usize, new: &Files) -> (usize, Progress) {
    let mut daemon = started(home);
    let (address, key) = (daemon.http, daemon.builder_key());
    kill::at_call(&mut daemon, at, kill::Call::is_durable, || {
        let client = Client { address, key: &key };
        let mut progress = Progress::default();
        go_on(&client, new, &mut progress);
        progress
    })
}

/// Returns whether the new release was true before the restart.
#[track_caller]
fn check(home: &Path, old: &Files, new: &Files, mut progress: Progress) -> bool {
    let store = StoreDirectory::of(home);
    let both = onto(old, new);
    let found = store.truth();
    let is_new = found == both;
    assert!(is_new || found == *old, "a mixture: {:?}", found.keys());
    assert!(is_new || !progress.published, "a published draft is gone");
    let daemon = started(home);
    for path in old.keys().chain(new.keys()) {
        let seen = served(daemon.http, path);
        assert!(seen.as_ref() == found.get(path), "{path}");
    }
    let key = daemon.builder_key();
    let client = Client::of(&daemon, &key);
    go_on(&client, new, &mut progress).expect("answers");
    assert_sent_once(&progress, new);
    assert_same("the files of the log", &store.truth(), &both);
    assert_eq!(
        store.names(".seance/log").len(),
        2,
        "one record for one draft"
    );
    is_new
}

/// But for the part that was on its way.
#[track_caller]
fn assert_sent_once(progress: &Progress, new: &Files) {
    let parts: usize = new.values().map(|file| file.len().div_ceil(PART)).sum();
    assert!(progress.sent <= parts + 1, "{progress:?} of {parts} parts");
}

/// Publishes a draft of `new` on a bucket, kills the daemon at its `at`th message, and goes on at another one. Gives the
/// messages counted, and whether all was sent, and the release true, before.
fn killed_on_a_bucket(at: usize, old: &Files, new: &Files) -> (usize, (bool, bool)) {
    let bucket = Bucket::fresh();
    let mut daemon = node(&bucket.toml());
    let first = client(&daemon);
    assert_eq!(deploy(daemon.http, first.key, old).status, 200);
    let (calls, mut progress) = kill::at_call(&mut daemon, at, kill::Call::is_sent, || {
        let mut progress = Progress::default();
        go_on(&first, new, &mut progress);
        progress
    });
    let other = node(&bucket.toml());
    let records = || count(&bucket, ".seance/log/");
    let is_new = records() == 2;
    assert!(is_new || !progress.published, "a published draft is gone");
    let both = onto(old, new);
    let serves = |wanted: &Files| {
        for path in old.keys().chain(new.keys()) {
            assert!(
                served(other.http, path).as_ref() == wanted.get(path),
                "{path} of {is_new}"
            );
        }
    };
    serves(if is_new { &both } else { old });
    let filled = progress.filled;
    go_on(&client(&other), new, &mut progress).expect("answers");
    assert_sent_once(&progress, new);
    serves(&both);
    assert_eq!(records(), 2, "one record for one draft");
    (calls, (filled, is_new))
}

#[test]
#[ignore = "needs Ceph RGW: tests/run"]
fn a_draft_of_a_daemon_killed_on_a_bucket_is_resumed_at_another() {
    let old = product("1.0.0", 1000, 1);
    let new = product("1.1.0", 2 * PART + 1, 3);
    let (calls, outcome) = killed_on_a_bucket(usize::MAX, &old, &new);
    assert_eq!(outcome, (true, true));
    let points: Vec<usize> = (1..=KILLS).map(|n| n * calls / (KILLS + 1)).collect();
    let outcomes = kill::sweep(&points, |at| killed_on_a_bucket(at, &old, &new).1);
    let count = |wanted: (bool, bool)| outcomes.iter().filter(|seen| **seen == wanted).count();
    let counts = [(false, false), (true, false), (true, true)].map(count);
    eprintln!(
        "{KILLS} of {calls} messages: {counts:?} while uploading, before the record, after it"
    );
    assert!(counts[0] >= KILLS / 2 && counts[0] < KILLS, "{counts:?}");
}

#[test]
fn a_draft_of_a_daemon_killed_at_any_point_is_resumed() {
    let old = product("1.0.0", 1000, 1);
    let new = product("1.1.0", 2 * PART + 1, 3);
    let template = home_with(&old);
    let counted = copy_of(template.path());
    let (calls, progress) = killed_at(counted.path(), usize::MAX, &new);
    assert!(progress.published);
    assert!(check(counted.path(), &old, &new, progress));
    assert!(calls >= 200, "only {calls} points to be killed at");
    let points: Vec<usize> = (1..=calls).collect();
    let outcomes = kill::sweep(&points, |at| {
        let home = copy_of(template.path());
        let (_, progress) = killed_at(home.path(), at, &new);
        let filled = progress.filled;
        (filled, check(home.path(), &old, &new, progress))
    });
    let count = |wanted: (bool, bool)| outcomes.iter().filter(|seen| **seen == wanted).count();
    let counts = [(false, false), (true, false), (true, true)].map(count);
    eprintln!("{calls} points: {counts:?} while uploading, before the record, after it");
    // How many calls come between the last part and the record depends on what runs beside them.
    assert!(
        counts[0] >= 150 && counts[1] >= 2 && counts[2] >= 1,
        "{counts:?}"
    );
}
