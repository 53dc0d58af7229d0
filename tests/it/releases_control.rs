//! Commands over what is published: rollback, rollout, halt and pin, and what clients get from then on.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::harness::command::seance;
use crate::harness::http::{Answer, request};
use crate::harness::release::{deploy, deploy_with, product};
use crate::harness::wait::wait_until;
use crate::harness::{Builder, Daemon, key_hash};
use crate::updates_http::daemon;

const MANIFEST: &str = "/updates/darwin-arm64/latest-mac.yml";
/// Within the first per cent, and behind nine tenths, by electron-updater's rule.
const EARLY: &str = "6f2b3a10-1c5d-5e8f-9a0b-112200000001";
const LATE: &str = "6f2b3a10-1c5d-5e8f-9a0b-1122f0000000";

pub fn order(address: SocketAddr, what: &str, body: &Value) -> Answer {
    let headers = [
        ("X-Builder-Key", "secret"),
        ("Content-Type", "application/json"),
    ];
    let path = format!("/api/releases/{what}");
    request(
        address,
        "POST",
        &path,
        &headers,
        body.to_string().as_bytes(),
    )
}

#[track_caller]
pub fn done(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).expect("JSON")
}

/// The newest record, as the list of releases has it.
pub fn newest(address: SocketAddr) -> Value {
    let key = [("X-Builder-Key", "secret")];
    let listed = request(address, "GET", "/api/releases?limit=1", &key, b"");
    done(&listed)["releases"][0].take()
}

/// The version that a client of this place gets.
pub fn version(address: SocketAddr, staging_id: Option<&str>) -> String {
    let headers: Vec<(&str, &str)> = staging_id
        .map(|id| ("x-user-staging-id", id))
        .into_iter()
        .collect();
    let answer = request(address, "GET", MANIFEST, &headers, b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("version: ")
        .trim_matches('"')
        .to_owned()
}

pub fn publish(daemon: &Daemon, version: &str, query: &str) {
    let files = product(version, 100, 2);
    let answer = deploy_with(
        daemon.http,
        "secret",
        &files,
        &format!("/deploy{query}"),
        &[],
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn a_rollback_brings_everything_without_a_version_back_and_keeps_artefacts() {
    let daemon = daemon("");
    publish(&daemon, "1.0.0", "");
    publish(&daemon, "1.1.0", "");
    let answer = done(&order(daemon.http, "rollback", &json!({ "to": 1 })));
    assert_eq!(answer["record"], 3);
    assert_eq!(answer["inForce"]["here"], "now");
    assert_eq!(version(daemon.http, None), "1.0.0");
    let status = |path: &str| request(daemon.http, "GET", path, &[], b"").status;
    assert_eq!(
        status("/updates/darwin-arm64/Seance-1.1.0-arm64-mac.zip"),
        200
    );
    assert_eq!(status("/prod/web/assets/1.0.0-0.js"), 200);
    assert_eq!(status("/prod/web/assets/1.1.0-0.js"), 404);
    let page = request(daemon.http, "GET", "/prod/web/index.html", &[], b"");
    assert_eq!(page.text(), "<p>1.0.0");
    // And forward again: a rollback is a release like any other.
    done(&order(daemon.http, "rollback", &json!({ "to": 2 })));
    assert_eq!(version(daemon.http, None), "1.1.0");
    assert_eq!(status("/prod/web/assets/1.1.0-0.js"), 200);
    let again = order(daemon.http, "rollback", &json!({ "to": 4 }));
    assert_eq!(again.status, 409, "{}", again.text());
}

#[test]
fn a_rollback_survives_a_restart_and_reaches_the_public_names() {
    let home = tempfile::tempdir().expect("a directory");
    let start = || {
        let config = format!(
            "[apps.default]\nbuilder_key_hashes = [\"{}\"]\n",
            key_hash("secret")
        );
        Builder::at(home.path()).config(&config).start()
    };
    let daemon = start();
    publish(&daemon, "1.0.0", "");
    publish(&daemon, "1.1.0", "");
    done(&order(daemon.http, "rollback", &json!({ "to": 1 })));
    let public = daemon
        .state()
        .join("store/prod/releases/darwin-arm64/latest-mac.yml");
    wait_until(
        "the public copy of the manifest",
        || std::fs::read_to_string(&public).unwrap_or_default(),
        |text| text.starts_with("version: 1.0.0"),
    );
    daemon.stop();
    assert_eq!(version(start().http, None), "1.0.0");
}

#[test]
fn a_rollout_reaches_a_share_of_the_clients_and_only_grows() {
    let daemon = daemon("");
    publish(&daemon, "1.0.0", "");
    publish(&daemon, "1.1.0", "?rollout=10");
    let seen = |id| version(daemon.http, Some(id));
    assert_eq!((seen(EARLY), seen(LATE)), ("1.1.0".into(), "1.0.0".into()));
    assert_eq!(version(daemon.http, None), "1.0.0");
    let shown = request(
        daemon.http,
        "GET",
        MANIFEST,
        &[("x-user-staging-id", EARLY)],
        b"",
    );
    assert!(shown.text().contains("stagingPercentage: 10"));
    assert_eq!(shown.header("vary"), Some("x-user-staging-id"));
    let less = order(daemon.http, "rollout", &json!({ "percentage": 5 }));
    assert_eq!(less.status, 409, "{}", less.text());
    done(&order(daemon.http, "rollout", &json!({ "percentage": 95 })));
    assert_eq!((seen(EARLY), seen(LATE)), ("1.1.0".into(), "1.1.0".into()));
    assert_eq!(version(daemon.http, None), "1.0.0");
    done(&order(
        daemon.http,
        "rollout",
        &json!({ "percentage": 100 }),
    ));
    assert_eq!(version(daemon.http, None), "1.1.0");
    let complete = order(daemon.http, "rollout", &json!({ "percentage": 100 }));
    assert_eq!(complete.status, 409, "{}", complete.text());
}

#[test]
fn a_rollout_takes_its_steps_by_itself() {
    let daemon = daemon("[deploy]\nfollow_seconds = 1\n");
    publish(&daemon, "1.0.0", "");
    publish(&daemon, "1.1.0", "?rollout=1");
    let past = json!({ "at": "2026-01-01T00:00:00Z", "percentage": 50 });
    let later = json!({ "at": "2026-01-02T00:00:00Z", "percentage": 100 });
    let steps = json!({ "percentage": 1, "steps": [past, later] });
    done(&order(daemon.http, "rollout", &steps));
    wait_until(
        "the last step",
        || version(daemon.http, None),
        |version| version == "1.1.0",
    );
}

#[test]
fn a_halt_stops_the_spread_until_the_next_version() {
    let daemon = daemon("");
    publish(&daemon, "1.0.0", "");
    let nothing = order(daemon.http, "halt", &json!({}));
    assert_eq!(nothing.status, 409, "{}", nothing.text());
    publish(&daemon, "1.1.0", "");
    done(&order(
        daemon.http,
        "halt",
        &json!({ "channel": "latest", "platform": "mac" }),
    ));
    assert_eq!(version(daemon.http, Some(EARLY)), "1.0.0");
    publish(&daemon, "1.2.0", "");
    assert_eq!(version(daemon.http, Some(LATE)), "1.2.0");
}

/// A second manifest, which stands once and reaches everybody.
fn publish_for_linux(daemon: &Daemon) {
    let manifest = b"version: 1.0.0\nfiles: []\n".to_vec();
    let files = [("releases/linux-x64/latest-linux.yml".to_owned(), manifest)];
    let answer = deploy(daemon.http, "secret", &files.into());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn a_command_over_several_manifests_does_what_it_can_and_names_the_rest() {
    let daemon = daemon("");
    publish(&daemon, "1.0.0", "");
    publish_for_linux(&daemon);
    publish(&daemon, "1.1.0", "?rollout=10");
    let raised = done(&order(daemon.http, "rollout", &json!({ "percentage": 95 })));
    let changed = json!([
        "releases/darwin-arm64/latest-mac.yml",
        "releases/version.json"
    ]);
    assert_eq!(raised["changed"], changed);
    let linux = "`releases/linux-x64/latest-linux.yml`";
    assert_eq!(
        raised["left"],
        json!([format!("{linux} reaches all clients already")])
    );
    assert_eq!(version(daemon.http, Some(LATE)), "1.1.0");
    let halted = done(&order(daemon.http, "halt", &json!({})));
    assert_eq!(halted["changed"], changed);
    let left = halted["left"].to_string();
    assert!(
        left.contains(&format!("{linux} is the first of its name")),
        "{left}"
    );
    assert_eq!(version(daemon.http, Some(EARLY)), "1.0.0");
}

#[test]
fn a_pin_holds_whatever_is_published_until_it_is_taken_away() {
    let daemon = daemon("");
    publish(&daemon, "1.0.0", "");
    publish(&daemon, "1.1.0", "");
    let manifests = json!({ "to": 1, "channel": "latest" });
    done(&order(daemon.http, "pin", &manifests));
    publish(&daemon, "1.2.0", "");
    assert_eq!(version(daemon.http, Some(EARLY)), "1.0.0");
    done(&order(
        daemon.http,
        "unpin",
        &json!({ "channel": "latest" }),
    ));
    assert_eq!(version(daemon.http, None), "1.2.0");
}

#[test]
fn another_node_follows_a_command() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = || {
        let config = format!(
            "[deploy]\nfollow_seconds = 1\n[store]\ndirectory = \"{}\"\n[apps.default]\nbuilder_key_hashes = [\"{}\"]\n",
            directory.path().join("store").display(),
            key_hash("secret")
        );
        Builder::new().config(&config).start()
    };
    let (one, other) = (node(), node());
    publish(&one, "1.0.0", "");
    publish(&one, "1.1.0", "");
    done(&order(one.http, "rollback", &json!({ "to": 1 })));
    wait_until(
        "the rollback on the other node",
        || version_or_nothing(other.http),
        |version| version == "1.0.0",
    );
}

fn version_or_nothing(address: SocketAddr) -> String {
    let answer = request(address, "GET", MANIFEST, &[], b"");
    let text = answer.text();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("version: ")
        .trim_matches('"')
        .to_owned()
}

#[test]
fn the_history_names_who_did_what() {
    let daemon = daemon("");
    publish(&daemon, "1.0.0", "");
    publish(&daemon, "1.1.0", "");
    done(&order(daemon.http, "rollback", &json!({ "to": 1 })));
    let read = |path: &str| {
        done(&request(
            daemon.http,
            "GET",
            path,
            &[("X-Builder-Key", "secret")],
            b"",
        ))
    };
    let list = read("/api/releases?limit=2");
    let kinds: Vec<&Value> = list["releases"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|release| &release["kind"])
        .collect();
    assert_eq!(kinds, ["rollback", "deploy"]);
    assert_eq!(list["releases"][0]["to"], 1);
    assert_eq!(list["releases"][1]["versions"], json!(["1.1.0"]));
    assert_eq!(list["before"], 2);
    let rest = read("/api/releases?before=2");
    assert_eq!(rest["releases"].as_array().expect("a list").len(), 1);
    let shown = read("/api/releases/2");
    assert_eq!(shown["changes"].as_array().expect("a list").len(), 8);
    let nobody = request(daemon.http, "GET", "/api/releases", &[], b"");
    assert_eq!(nobody.status, 401);
}

#[test]
fn an_order_that_makes_no_sense_changes_nothing() {
    let daemon = daemon("");
    let first = deploy(daemon.http, "secret", &product("1.0.0", 10, 0));
    assert_eq!(first.status, 200);
    for (what, body, status) in [
        ("rollback", json!({ "to": 9 }), 404),
        ("rollback", json!({ "to": 0 }), 404),
        ("rollback", json!({ "to": "x" }), 400),
        ("rollback", json!({ "to": 1, "x": 1 }), 400),
        ("halt", json!({ "channel": "nightly" }), 404),
        ("pin", json!({ "to": 2 }), 404),
        ("unpin", json!({}), 409),
        ("rollout", json!({ "percentage": 10 }), 409),
        ("rollout", json!({ "percentage": 101 }), 400),
        (
            "rollout",
            json!({ "percentage": 10, "steps": [{ "at": "2027-01-01T00:00:00Z", "percentage": 5 }] }),
            400,
        ),
    ] {
        let answer = order(daemon.http, what, &body);
        assert_eq!(answer.status, status, "{what} {body}: {}", answer.text());
    }
    let unknown = order(daemon.http, "rollback", &json!({ "to": 1, "x": 1 }));
    assert!(
        unknown.text().contains("unknown field `x`"),
        "{}",
        unknown.text()
    );
    let steps: Vec<Value> = (0..101)
        .map(|_| json!({ "at": "2027-01-01T00:00:00Z", "percentage": 5 }))
        .collect();
    let many = order(
        daemon.http,
        "rollout",
        &json!({ "percentage": 1, "steps": steps }),
    );
    assert_eq!(many.status, 400);
    assert!(many.text().contains("up to 100 steps"), "{}", many.text());
    let head = request(
        daemon.http,
        "GET",
        "/api/releases",
        &[("X-Builder-Key", "secret")],
        b"",
    );
    assert_eq!(done(&head)["releases"][0]["record"], 1);
}

#[test]
fn the_command_line_does_what_the_api_does() {
    let daemon = daemon("");
    publish(&daemon, "1.0.0", "");
    publish(&daemon, "1.1.0", "");
    let to = format!("http://{}", daemon.http);
    let run = |arguments: &[&str], key: &str| {
        let all = [&["releases"], arguments, &["--to", &to]].concat();
        seance(&all, &[("BUILDER_KEY", key)])
    };
    let rolled = run(&["rollback", "1"], "secret");
    assert_eq!(rolled.code, 0, "{}", rolled.stderr);
    assert!(rolled.stdout.starts_with("record 3 is in force here"));
    assert_eq!(version(daemon.http, None), "1.0.0");
    let list = run(&["list"], "secret").stdout;
    let lines: Vec<&str> = list.lines().collect();
    assert!(
        lines[1].contains("back to 1") && lines[2].contains("1.1.0"),
        "{list}"
    );
    let time = lines[0].find("time").expect("its column");
    let is_below = |line: &&str| line[..time].ends_with("  ") && line[time..].starts_with("20");
    assert!(lines[1..].iter().all(is_below), "{list}");
    let diff = run(&["diff", "1", "2"], "secret").stdout;
    assert!(
        diff.starts_with("from record 1 to 2: 4 added, 2 removed, 4 changed")
            && diff.contains("latest-mac.yml  (1.0.0 -> 1.1.0)"),
        "{diff}"
    );
    let rows: Vec<&str> = diff.lines().skip(1).collect();
    let path = rows[0].find("path").expect("its column");
    let is_below = |line: &&str| line[..path].ends_with("  ") && !line[path..].starts_with(' ');
    assert!(rows[1..].iter().all(is_below), "{diff}");
    let json = run(&["diff", "1", "--json"], "secret").stdout;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    // The archive of 1.1.0 and its block map stay.
    assert_eq!((&json["to"], &json["added"]), (&json!(3), &json!(2)));
    let json = run(&["list", "--json"], "secret").stdout;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["releases"][0]["kind"], "rollback");
    let again = run(&["rollback", "3"], "secret");
    assert_eq!(again.code, 1);
    assert!(
        again.stderr.contains("409") && again.stderr.contains("nothing would change"),
        "{}",
        again.stderr
    );
    let wrong = run(&["list"], "wrong");
    assert!(
        wrong.stderr.contains("Invalid builder key"),
        "{}",
        wrong.stderr
    );
    assert!(!wrong.stderr.contains("wrong\n"), "the key is not printed");
    let nobody = seance(&["releases", "list", "--to", &to], &[]);
    assert!(nobody.stderr.contains("BUILDER_KEY"), "{}", nobody.stderr);
}
