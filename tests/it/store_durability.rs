//! The filesystem store is on the disk when it says so, stays within its directory, and leaves nothing half-visible on
//! a full disk. `check-storage` writes in every way the store knows.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::harness::command::{Output, path, seance};

fn check_storage(state: &Path) -> Output {
    seance(&["check-storage"], &[("STATE_DIRECTORY", path(state))])
}

#[test]
fn symbolic_links_out_of_the_store_are_not_followed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let state = directory.path().join("state");
    let outside = directory.path().join("outside");
    fs::create_dir_all(state.join("store/.seance")).expect("a store");
    fs::create_dir(&outside).expect("a directory");
    symlink(&outside, state.join("store/.seance/probe")).expect("a link");
    let checked = check_storage(&state);
    assert_eq!(checked.code, 1, "{}{}", checked.stdout, checked.stderr);
    assert!(
        checked.stdout.contains("a file stands where"),
        "{}",
        checked.stdout
    );
    assert_eq!(fs::read_dir(&outside).expect("a directory").count(), 0);

    symlink(&outside, state.join("other")).expect("a link");
    fs::remove_dir_all(state.join("store")).expect("the store can be removed");
    fs::create_dir(state.join("store")).expect("a directory");
    symlink(&outside, state.join("store/.seance")).expect("a link");
    assert_eq!(check_storage(&state).code, 1);
    assert_eq!(fs::read_dir(&outside).expect("a directory").count(), 0);
}

#[test]
#[ignore = "needs root and mount namespaces: tests/run"]
fn a_full_disk_is_named_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let state = path(directory.path());
    let script = format!(
        "mount -t tmpfs -o size=8m none {state} && STATE_DIRECTORY={state} {} check-storage; \
         find {state} -type f",
        env!("CARGO_BIN_EXE_seance")
    );
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .output()
        .expect("unshare runs");
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    let full = report
        .lines()
        .find(|line| line.contains("stream a large object"))
        .expect("the finding");
    assert!(
        full.starts_with("FAILED") && full.contains("has no room left to write"),
        "{report}"
    );
    let left: Vec<_> = report
        .lines()
        .filter(|line| line.starts_with('/'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    let others = report
        .lines()
        .filter(|line| line.starts_with("yes"))
        .count();
    assert_eq!(others, 7, "everything else still works:\n{report}");
}

/// kill -9 never shows a missing fsync: the page cache survives it. So the order of the system calls is looked at.
#[test]
#[ignore = "needs strace: tests/run"]
fn a_file_is_flushed_before_it_has_its_name_and_the_directory_after() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let trace = directory.path().join("trace");
    let calls = "trace=openat,write,fsync,mkdirat,linkat,renameat,unlinkat";
    let output = Command::new("strace")
        .args(["-f", "-y", "-s", "0", "-e", calls, "-o", path(&trace)])
        .args([env!("CARGO_BIN_EXE_seance"), "check-storage"])
        .env_clear()
        .env("STATE_DIRECTORY", directory.path().join("state"))
        .output()
        .expect("strace runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut order = Order {
        within: path(directory.path()).to_owned(),
        ..Order::default()
    };
    for line in fs::read_to_string(&trace).expect("a trace").lines() {
        order.follow(line);
    }
    assert!(
        order.directories.is_empty(),
        "changed and never flushed: {:?}",
        order.directories
    );
    // The checks of a directory write 10 files, create one of two, copy one.
    assert_eq!(order.named, 12, "names given");
}

/// What has to reach the disk, followed over the calls of a trace.
#[derive(Default)]
struct Order {
    /// Calls that do not name this directory have nothing to do with it.
    within: String,
    /// Files written since their last fsync.
    dirty: HashSet<String>,
    /// Directories with an entry that is not flushed yet.
    directories: HashSet<String>,
    /// Names that files were given outside the directory of temporary files.
    named: usize,
}

impl Order {
    fn follow(&mut self, line: &str) {
        if line.contains("<unfinished") || line.contains("resumed>") || !line.contains(&self.within)
        {
            // The store works one call after the other: only hints about threads are cut.
            assert!(
                !line.contains("renameat(") && !line.contains("linkat("),
                "a cut call: {line}"
            );
            return;
        }
        let Some((call, result)) = line.rsplit_once(" = ") else {
            return;
        };
        if result.starts_with('-') {
            return;
        }
        let paths: Vec<&str> = between(call, '<', '>');
        let names: Vec<&str> = between(call, '"', '"');
        let name = call
            .split_whitespace()
            .nth(1)
            .unwrap_or("")
            .split('(')
            .next()
            .unwrap_or("");
        match (name, paths.as_slice(), names.as_slice()) {
            ("write", [file], _) => {
                self.dirty.insert((*file).to_owned());
            }
            ("fsync", [target], _) => {
                self.dirty.remove(*target);
                self.directories.remove(*target);
            }
            // The way down to the root is made by its absolute names.
            ("mkdirat", _, [made]) if made.starts_with('/') => {
                let parent = Path::new(made).parent().expect("a parent");
                self.directories.insert(path(parent).to_owned());
            }
            ("mkdirat", [parent], _) => {
                self.directories.insert((*parent).to_owned());
            }
            ("renameat" | "linkat", [from, to], [file, ..]) if !to.ends_with("/tmp") => {
                let file = format!("{from}/{file}");
                assert!(
                    !self.dirty.contains(&file),
                    "named before it was flushed: {line}"
                );
                assert!(
                    self.directories.is_empty(),
                    "under a directory that may be lost: {:?}: {line}",
                    self.directories
                );
                self.directories.insert((*to).to_owned());
                self.named += 1;
            }
            _ => {}
        }
    }
}

/// The pieces of a text between two marks.
fn between(text: &str, open: char, close: char) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(open) {
        let Some((piece, left)) = after.split_once(close) else {
            break;
        };
        found.push(piece);
        rest = left;
    }
    found
}
