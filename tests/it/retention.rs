//! Old versions go by the rules of their app, nothing goes that somebody may ask for, and the history says what it lost.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::drafts_expired::{id_of, put};
use crate::harness::command::seance;
use crate::harness::http::get;
use crate::harness::release::{StoreDirectory, deploy_with, product};
use crate::harness::wait::wait_until;
use crate::harness::{Builder, Daemon, key_hash};
use crate::releases_control::{done, newest, order};

fn config(retention: &str, deploy: &str) -> String {
    let hash = key_hash("secret");
    format!(
        "[deploy]\n{deploy}\n[apps.default]\nbuilder_key_hashes = [\"{hash}\"]\n[apps.default.retention]\nkeep_blockmaps_days = 0\n{retention}"
    )
}

fn publish(daemon: &Daemon, version: &str, query: &str) {
    let files = product(version, 1000, 0);
    let answer = deploy_with(
        daemon.http,
        "secret",
        &files,
        &format!("/deploy{query}"),
        &[],
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Which versions' archives can still be had.
fn there(address: SocketAddr, versions: &[&'static str]) -> Vec<&'static str> {
    let path = |version: &str| format!("/updates/darwin-arm64/Seance-{version}-arm64-mac.zip");
    let is_there = |version: &&&str| get(address, &path(version)).status == 200;
    versions.iter().filter(is_there).copied().collect()
}

const ALL: [&str; 4] = ["1.0.0", "1.1.0", "1.2.0", "1.3.0"];

#[test]
fn old_versions_go_in_one_record_and_a_dry_run_says_which() {
    let daemon = Builder::new()
        .config(&config("keep_versions = 2\n", ""))
        .start();
    for version in ALL {
        publish(&daemon, version, "");
    }
    let planned = done(&order(daemon.http, "prune", &json!({ "dryRun": true })));
    assert_eq!(
        (&planned["files"], &planned["record"]),
        (&json!(4), &Value::Null),
        "{planned}"
    );
    assert_eq!(there(daemon.http, &ALL), ALL);
    let pruned = done(&order(daemon.http, "prune", &json!({})));
    assert_eq!(
        (&pruned["record"], &pruned["files"]),
        (&json!(5), &json!(4)),
        "{pruned}"
    );
    assert_eq!(pruned["removed"], planned["removed"]);
    assert_eq!(pruned["versions"][0]["version"], "1.0.0");
    assert_eq!(pruned["versions"][0]["platform"], "releases/darwin-arm64");
    assert_eq!(pruned["noWayBackTo"], json!([2, 1]));
    assert_eq!(there(daemon.http, &ALL), ["1.2.0", "1.3.0"]);
    let store = StoreDirectory::of(daemon.home());
    let copy = "prod/releases/darwin-arm64/Seance-1.0.0-arm64-mac.zip";
    wait_until("the public copy goes", || store.has(copy), |has| !has);
    let again = done(&order(daemon.http, "prune", &json!({})));
    assert_eq!(
        (&again["files"], &again["record"]),
        (&json!(0), &Value::Null)
    );
    let newest = newest(daemon.http);
    assert_eq!(
        (&newest["kind"], &newest["removed"]),
        (&json!("prune"), &json!(4))
    );
    let audit =
        std::fs::read_to_string(daemon.state().join("audit/audit.jsonl")).expect("the audit");
    assert!(
        audit.contains("\"prune\"") && audit.contains("record 5, 4 files"),
        "{audit}"
    );
}

#[test]
fn what_was_taken_away_is_not_published_again() {
    let daemon = Builder::new()
        .config(&config("keep_versions = 2\n", ""))
        .start();
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        publish(&daemon, version, "");
    }
    done(&order(daemon.http, "prune", &json!({})));
    for (what, body) in [
        ("rollback", json!({ "to": 1 })),
        ("pin", json!({ "to": 1, "channel": "latest" })),
    ] {
        let refused = order(daemon.http, what, &body);
        assert_eq!(refused.status, 409, "{what}: {}", refused.text());
        assert!(
            refused.text().contains("1.0.0-arm64-mac.zip") && refused.text().contains("pruned"),
            "{}",
            refused.text()
        );
    }
    done(&order(daemon.http, "rollback", &json!({ "to": 2 })));
    let manifest = get(daemon.http, "/updates/darwin-arm64/latest-mac.yml").text();
    assert!(manifest.starts_with("version: 1.1.0"), "{manifest}");
    // What is deployed anew is there again, whatever was taken away.
    publish(&daemon, "1.0.0", "");
    assert_eq!(there(daemon.http, &["1.0.0"]), ["1.0.0"]);
}

#[test]
fn what_clients_behind_a_rollout_or_pin_get_stays() {
    let daemon = Builder::new()
        .config(&config("keep_versions = 1\n", ""))
        .start();
    publish(&daemon, "1.0.0", "");
    publish(&daemon, "1.1.0", "");
    done(&order(daemon.http, "pin", &json!({ "to": 1 })));
    publish(&daemon, "1.2.0", "");
    publish(&daemon, "1.3.0", "");
    done(&order(daemon.http, "prune", &json!({})));
    assert_eq!(there(daemon.http, &ALL), ["1.0.0", "1.3.0"]);
    done(&order(daemon.http, "unpin", &json!({})));
    done(&order(daemon.http, "prune", &json!({})));
    assert_eq!(there(daemon.http, &ALL), ["1.3.0"]);
}

#[test]
fn the_content_of_what_is_gone_is_freed_and_nothing_else() {
    let home = tempfile::tempdir().expect("a directory");
    let start = |seconds: u32| {
        let deploy = format!("free_after_seconds = {seconds}\n");
        Builder::at(home.path())
            .config(&config("keep_versions = 1\n", &deploy))
            .start()
    };
    let daemon = start(86_400);
    for version in ALL {
        publish(&daemon, version, "");
    }
    let store = StoreDirectory::of(home.path());
    let contents = || {
        store
            .names(".seance/content")
            .iter()
            .map(|id| store.names(&format!(".seance/content/{id}")).len())
            .sum::<usize>()
    };
    done(&order(daemon.http, "prune", &json!({})));
    let before = contents();
    daemon.stop();
    // The collector looks at once when a daemon starts, at leftovers after this.
    let leftover = format!(".seance/content/{}/0", id_of(4));
    put(&store.0, &leftover, b"of a deploy that came to nothing");
    let daemon = start(86_400);
    wait_until("a round is over", || store.has(&leftover), |has| !has);
    assert_eq!(contents(), before, "downloads of it may have begun");
    daemon.stop();
    let daemon = start(0);
    wait_until("the content is freed", contents, |now| *now == before - 6);
    assert_eq!(there(daemon.http, &ALL), ["1.3.0"]);
    let page = get(daemon.http, "/prod/web/index.html");
    assert_eq!(page.text(), "<p>1.3.0");
}

#[test]
fn an_app_that_says_so_is_pruned_by_itself() {
    let daemon = Builder::new()
        .config(&config("", "prune_every_seconds = 1\n"))
        .start();
    for version in ALL {
        publish(&daemon, version, "");
    }
    let none = order(daemon.http, "prune", &json!({}));
    assert_eq!(none.status, 400, "{}", none.text());
    daemon.reload(&config("keep_versions = 3\n", "prune_every_seconds = 1\n"));
    wait_until(
        "the oldest version goes",
        || there(daemon.http, &ALL),
        |there| there.len() == 3,
    );
    let audit =
        || std::fs::read_to_string(daemon.state().join("audit/audit.jsonl")).unwrap_or_default();
    wait_until("the audit says who did it", audit, |audit| {
        audit.contains("\"retention\"")
    });
}

#[test]
fn the_command_line_prunes_too() {
    let daemon = Builder::new().config(&config("", "")).start();
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        publish(&daemon, version, "");
    }
    let to = format!("http://{}", daemon.http);
    let run = |more: &[&str]| {
        let arguments = [
            &["releases", "prune", "--to", &to, "--keep-versions", "2"],
            more,
        ]
        .concat();
        seance(&arguments, &[("BUILDER_KEY", "secret")])
    };
    let planned = run(&["--dry-run"]);
    assert_eq!(planned.code, 0, "{}", planned.stderr);
    assert!(
        planned.stdout.contains("these would go: 2 files")
            && planned.stdout.contains("latest 1.0.0"),
        "{}",
        planned.stdout
    );
    let pruned = run(&[]).stdout;
    assert!(
        pruned.contains("record 4 took away 2 files")
            && pruned.contains("no way back to records 1"),
        "{pruned}"
    );
    assert_eq!(
        there(daemon.http, &["1.0.0", "1.1.0", "1.2.0"]),
        ["1.1.0", "1.2.0"]
    );
    let young = seance(
        &["releases", "prune", "--to", &to, "--keep-days", "1"],
        &[("BUILDER_KEY", "secret")],
    );
    assert!(
        young.stdout.contains("nothing to take away"),
        "{}",
        young.stdout
    );
}
