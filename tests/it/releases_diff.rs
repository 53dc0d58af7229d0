//! What changed between two releases, and how much of that an answer says.

use serde_json::{Value, json};

use crate::harness::Daemon;
use crate::harness::draft::sha256;
use crate::harness::http::{Answer, request};
use crate::harness::release::{Files, deploy, product};
use crate::releases_control::{done, order, publish};
use crate::updates_http::daemon;

/// Asks for the differences of `from=1&to=2`.
fn read(daemon: &Daemon, query: &str) -> Answer {
    let path = format!("/api/releases/diff?{query}");
    request(
        daemon.http,
        "GET",
        &path,
        &[("X-Builder-Key", "secret")],
        b"",
    )
}

/// How many files were added, removed and changed.
fn counts(diff: &Value) -> [u64; 3] {
    ["added", "removed", "changed"].map(|kind| diff[kind].as_u64().expect("a number"))
}

#[test]
fn two_releases_are_compared_whichever_is_the_newer() {
    let daemon = daemon("");
    publish(&daemon, "1.0.0", "");
    publish(&daemon, "1.1.0", "");
    let diff = done(&read(&daemon, "from=1&to=2"));
    // Two scripts, an archive and its block map come; the scripts of 1.0.0 go.
    assert_eq!(counts(&diff), [4, 2, 4], "{diff}");
    let release = product("1.1.0", 100, 2);
    let new: usize = release.values().map(Vec::len).sum();
    assert_eq!(
        (&diff["bytesToDownload"], &diff["more"]),
        (&json!(new), &json!(0))
    );
    let manifest = &diff["files"][0];
    assert_eq!(manifest["path"], "releases/darwin-arm64/latest-mac.yml");
    let versions = ["before", "after"].map(|side| &manifest[side]["versions"]);
    assert_eq!(versions, [&json!(["1.0.0"]), &json!(["1.1.0"])]);
    let archive = "releases/darwin-arm64/Seance-1.1.0-arm64-mac.zip";
    let files = diff["files"].as_array().expect("files");
    let added = files.iter().find(|file| file["path"] == archive);
    let added = added.expect("the archive");
    assert_eq!(
        *added,
        json!({ "path": archive, "change": "added", "after": { "size": 100, "sha256": sha256(&release[archive]) } })
    );
    let back = done(&read(&daemon, "from=2&to=1"));
    assert_eq!(counts(&back), [2, 4, 4], "{back}");
    for (query, status) in [
        ("to=2", 400),
        ("from=x", 400),
        ("from=0", 404),
        ("from=1&to=9", 404),
    ] {
        assert_eq!(read(&daemon, query).status, status, "{query}");
    }
}

#[test]
fn the_newest_release_is_the_other_one_and_lacks_what_was_pruned() {
    let daemon = daemon("");
    publish(&daemon, "1.0.0", "");
    publish(&daemon, "1.1.0", "");
    done(&order(daemon.http, "prune", &json!({ "keepVersions": 1 })));
    publish(&daemon, "1.2.0", "");
    let diff = done(&read(&daemon, "from=2"));
    assert_eq!(diff["to"], 4);
    let files = diff["files"].as_array().expect("files");
    let removed = files.iter().filter(|file| file["change"] == "removed");
    let removed: Vec<&Value> = removed.map(|file| &file["path"]).collect();
    assert!(
        removed.contains(&&json!("releases/darwin-arm64/Seance-1.0.0-arm64-mac.zip")),
        "{removed:?}"
    );
    assert_eq!(done(&read(&daemon, "from=4"))["files"], json!([]));
}

#[test]
fn an_answer_about_many_files_says_how_many_more_there_are() {
    let daemon = daemon("");
    publish(&daemon, "1.0.0", "");
    let files: Files = (0..1200)
        .map(|n| (format!("web/assets/{n}.js"), vec![b'x']))
        .collect();
    assert_eq!(deploy(daemon.http, "secret", &files).status, 200);
    let diff = done(&read(&daemon, "from=1"));
    assert_eq!(
        (&diff["added"], &diff["more"]),
        (&json!(1200), &json!(200)),
        "{diff}"
    );
    assert_eq!(diff["files"].as_array().map(Vec::len), Some(1000));
}
