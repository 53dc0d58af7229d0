//! `kill -9` at any point of a draft's life leaves something that can be resumed, and never a half-visible release.
//!
//! The daemon is killed at each of its durable calls in turn while a client opens a draft, declares, sends parts,
//! completes and publishes. Whatever was done by then, the log holds the old release or the new one; after the restart
//! the client goes on where it was, and sends no part again but the one that was on its way.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::deploy_killed::{WORKERS, copy_of, home_with};
use crate::drafts::PART;
use crate::harness::draft::Client;
use crate::harness::release::{Files, StoreDirectory, assert_same, onto, product, served};
use crate::harness::{Builder, Daemon, kill};

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
    let client = Client {
        address: daemon.http,
        key: &key,
    };
    go_on(&client, new, &mut progress).expect("answers");
    let parts: usize = new.values().map(|file| file.len().div_ceil(PART)).sum();
    assert!(progress.sent <= parts + 1, "{progress:?} of {parts} parts");
    assert_same("the files of the log", &store.truth(), &both);
    assert_eq!(
        store.names(".seance/log").len(),
        2,
        "one record for one draft"
    );
    is_new
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
    let next = AtomicUsize::new(1);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at > calls {
                        return;
                    }
                    let home = copy_of(template.path());
                    let (_, progress) = killed_at(home.path(), at, &new);
                    let filled = progress.filled;
                    let is_new = check(home.path(), &old, &new, progress);
                    outcomes.lock().expect("outcomes").push((filled, is_new));
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().expect("outcomes");
    let count = |wanted: (bool, bool)| outcomes.iter().filter(|seen| **seen == wanted).count();
    let counts = [(false, false), (true, false), (true, true)].map(count);
    eprintln!("{calls} points: {counts:?} while uploading, before the record, after it");
    // How many calls come between the last part and the record depends on what runs beside them.
    assert!(
        counts[0] >= 150 && counts[1] >= 2 && counts[2] >= 1,
        "{counts:?}"
    );
}
