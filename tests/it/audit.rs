//! The audit: every line of it whole, private, and no deed without room for its record.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::http::get;
use crate::harness::release::{deploy, files};
use crate::harness::strace::Strace;
use crate::harness::wait::wait_until;
use crate::harness::{Builder, Daemon};

const CONFIG: &str = "[apps.default]\nbuilder_key_hashes = [\"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\"]\n";

/// Whose SHA-256 stands in [`CONFIG`].
const KEY: &str = "secret";

/// The results in an audit of which every line parses.
#[track_caller]
fn results(state: &Path) -> Vec<String> {
    let audit = fs::read_to_string(state.join("audit/audit.jsonl")).expect("an audit");
    assert!(audit.is_empty() || audit.ends_with('\n'), "{audit}");
    let result = |line: &str| {
        let record: Value = serde_json::from_str(line).expect("a whole record");
        record["result"].as_str().expect("a result").to_owned()
    };
    audit.lines().map(result).collect()
}

#[test]
fn half_a_record_at_the_end_does_not_swallow_the_next() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let first = Builder::at(home.path()).config(CONFIG).start();
    assert_eq!(deploy(first.http, KEY, &files(&[("a", b"1")])).status, 200);
    let state = first.state();
    first.stop();
    for torn in ["{\"time\":\"2026-", &"x".repeat(10_000)] {
        let audit = File::options()
            .append(true)
            .open(state.join("audit/audit.jsonl"));
        let mut audit = audit.expect("an audit");
        audit.write_all(torn.as_bytes()).expect("half a record");
        let next = Builder::at(home.path()).config(CONFIG).start();
        let answer = deploy(next.http, KEY, &files(&[("b", torn.as_bytes())]));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(results(&state), ["SUCCESS"; 3]);
}

#[test]
fn nobody_else_may_read_it() {
    let daemon = Builder::new().config(CONFIG).start();
    let mode = |path: &str| {
        let metadata = fs::metadata(daemon.state().join(path)).expect("it exists");
        metadata.mode() & 0o777
    };
    assert_eq!(mode("audit"), 0o700);
    assert_eq!(mode("audit/audit.jsonl"), 0o600);
}

/// A daemon whose state is on a disk of 8 MiB, which only it sees, and the way there.
fn on_a_small_disk(home: &Path) -> (Daemon, PathBuf) {
    let state = home.join("state");
    let script = "mount -t tmpfs -o size=8m none \"$0\" && exec \"$@\"";
    let state_text = state.to_str().expect("a path in UTF-8");
    let daemon = Builder::at(home)
        .config(CONFIG)
        .under(&["unshare", "-m", "sh", "-c", script, state_text])
        .start();
    let root = format!("/proc/{}/root", daemon.child.id());
    let state = PathBuf::from(root).join(state.strip_prefix("/").expect("an absolute path"));
    (daemon, state)
}

#[test]
#[ignore = "needs root and mount namespaces: tests/run"]
fn a_deed_that_cannot_be_recorded_is_refused() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (daemon, state) = on_a_small_disk(home.path());
    let mut filler = File::create(state.join("filler")).expect("a file");
    while filler.write_all(&[0; 4096]).is_ok() {}
    let refused = deploy(daemon.http, KEY, &files(&[("releases/a.txt", b"1")]));
    assert_eq!(refused.status, 507, "{}", refused.text());
    assert_eq!(refused.json()["error"], "Storage full");
    assert_eq!(get(daemon.http, "/updates/a.txt").status, 404);
    drop(filler);
    fs::remove_file(state.join("filler")).expect("room again");
    let done = deploy(daemon.http, KEY, &files(&[("releases/a.txt", b"1")]));
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(results(&state), ["SUCCESS"]);
}

#[test]
#[ignore = "needs root and mount namespaces: tests/run"]
fn a_disk_that_becomes_full_under_a_deploy_leaves_nothing_of_it() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (daemon, state) = on_a_small_disk(home.path());
    let too_much = vec![7; 12 << 20];
    let all = files(&[("releases/a.txt", b"1"), ("releases/b.bin", &too_much)]);
    let refused = deploy(daemon.http, KEY, &all);
    assert_eq!(refused.status, 507, "{}", refused.text());
    assert_eq!(refused.json()["message"], "Storage full");
    for path in ["/updates/a.txt", "/updates/b.bin"] {
        assert_eq!(get(daemon.http, path).status, 404, "{path}");
    }
    assert_eq!(results(&state), ["FAILURE"]);
    // What was staged is deleted after the answer.
    let again = || deploy(daemon.http, KEY, &files(&[("releases/a.txt", b"1")]));
    wait_until("room again", again, |answer| answer.status == 200);
    assert_eq!(get(daemon.http, "/updates/a.txt").text(), "1");
}

/// NFS before 4.2, 9p and some of FUSE have no fallocate(2).
#[test]
#[ignore = "needs strace: tests/run"]
fn a_file_system_that_cannot_reserve_room_is_told_of_once_and_takes_deploys() {
    let daemon = Builder::new().config(CONFIG).start();
    let lacking = [
        "-e",
        "trace=fallocate",
        "-e",
        "inject=fallocate:error=EOPNOTSUPP",
    ];
    let _strace = Strace::attach(&daemon, &lacking);
    for content in [b"1", b"2"] {
        let done = deploy(daemon.http, KEY, &files(&[("releases/a.txt", content)]));
        assert_eq!(done.status, 200, "{}", done.text());
    }
    assert_eq!(results(&daemon.state()), ["SUCCESS"; 2]);
    let log = daemon.log();
    assert_eq!(log.matches("cannot reserve room").count(), 1, "{log}");
}
