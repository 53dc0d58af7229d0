//! Builder keys that may do a part, for a time; added and revoked while the daemon runs.

use serde_json::{Value, json};

use crate::drafts::PART;
use crate::harness::command::{check_config, seance};
use crate::harness::draft::Client;
use crate::harness::http::{Answer, request};
use crate::harness::release::{deploy, files};
use crate::harness::wait::wait_until;
use crate::harness::{Builder, Daemon, key_hash};

const MAC: &str = "releases/mac/";

/// A daemon whose keys `mac`, `reader` and `old` are restricted, and whose key `all` is not.
fn daemon() -> Daemon {
    let config = format!(
        "[apps.default]\nbuilder_key_hashes = [\"{}\"]\n\
         [[apps.default.keys]]\nhash = \"{}\"\nname = \"mac builds\"\nscopes = [\"publish\"]\npaths = [\"{MAC}\"]\n\
         [[apps.default.keys]]\nhash = \"{}\"\nscopes = [\"read\"]\n\
         [[apps.default.keys]]\nhash = \"{}\"\nexpires = \"2026-01-01T00:00:00Z\"\n\
         [[apps.default.keys]]\nhash = \"{}\"\nexpires = \"2100-01-01T00:00:00Z\"\n\
         [[apps.default.keys]]\nhash = \"{}\"\npaths = [\"web/index.html\"]\n",
        key_hash("all"),
        key_hash("mac"),
        key_hash("reader"),
        key_hash("old"),
        key_hash("soon"),
        key_hash("page"),
    );
    Builder::new().config(&config).start()
}

fn ask(daemon: &Daemon, key: &str, method: &str, path: &str, body: &Value) -> Answer {
    let headers = [("X-Builder-Key", key), ("Content-Type", "application/json")];
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    request(daemon.http, method, path, &headers, body.as_bytes())
}

#[test]
fn a_key_does_what_its_scopes_and_paths_say_and_nothing_else() {
    let daemon = daemon();
    let own = files(&[("releases/mac/a.zip", b"1")]);
    assert_eq!(deploy(daemon.http, "mac", &own).status, 200);
    let elsewhere = files(&[("releases/mac/b.zip", b"1"), ("releases/win/b.exe", b"1")]);
    let refused = deploy(daemon.http, "mac", &elsewhere);
    assert_eq!(refused.status, 403, "{}", refused.text());
    let text = refused.text();
    assert!(
        text.contains("releases/win/b.exe") && text.contains(MAC),
        "{text}"
    );
    let nothing = request(daemon.http, "GET", "/updates/mac/b.zip", &[], b"");
    assert_eq!(nothing.status, 404);
    for (key, method, path, body, status, reason) in [
        (
            "mac",
            "GET",
            "/api/releases",
            Value::Null,
            403,
            "may not read",
        ),
        (
            "mac",
            "POST",
            "/api/releases/rollback",
            json!({ "to": 1 }),
            403,
            "may not control",
        ),
        ("mac", "GET", "/api/keys", Value::Null, 403, "may not read"),
        ("reader", "GET", "/api/releases", Value::Null, 200, ""),
        (
            "reader",
            "POST",
            "/deploy",
            json!({ "files": [] }),
            403,
            "may not publish",
        ),
        (
            "reader",
            "POST",
            "/api/keys",
            json!({ "hash": key_hash("x") }),
            403,
            "without restrictions",
        ),
        (
            "old",
            "GET",
            "/api/releases",
            Value::Null,
            401,
            "has expired",
        ),
        ("all", "GET", "/api/keys", Value::Null, 200, "mac builds"),
    ] {
        let answer = ask(&daemon, key, method, path, &body);
        assert_eq!(answer.status, status, "{key} {path}: {}", answer.text());
        assert!(
            answer.text().contains(reason),
            "{key} {path}: {}",
            answer.text()
        );
    }
}

#[test]
fn a_key_is_added_and_revoked_without_a_restart_on_every_node() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = || {
        let config = format!(
            "[deploy]\nfollow_seconds = 1\nfailed_keys_per_minute = 100000\n[store]\ndirectory = \"{}\"\n[apps.default]\nbuilder_key_hashes = [\"{}\"]\n",
            directory.path().join("store").display(),
            key_hash("all")
        );
        Builder::new().config(&config).start()
    };
    let (one, other) = (node(), node());
    let new = json!({ "hash": key_hash("new"), "name": "CI", "scopes": ["publish", "read"] });
    assert_eq!(ask(&one, "all", "POST", "/api/keys", &new).status, 200);
    assert_eq!(ask(&one, "all", "POST", "/api/keys", &new).status, 409);
    let allowed = |node: &Daemon| ask(node, "new", "GET", "/api/releases", &Value::Null).status;
    assert_eq!(allowed(&one), 200);
    wait_until(
        "the key on the other node",
        || allowed(&other),
        |status| *status == 200,
    );
    let fingerprint = &key_hash("new")[..8];
    let path = format!("/api/keys/{fingerprint}");
    assert_eq!(
        ask(&other, "all", "DELETE", &path, &Value::Null).status,
        200
    );
    assert_eq!(allowed(&other), 401);
    wait_until(
        "the end of the key",
        || allowed(&one),
        |status| *status == 401,
    );
    let again = ask(&one, "all", "POST", "/api/keys", &new);
    assert_eq!(again.status, 409, "{}", again.text());
    assert!(again.text().contains("was revoked"), "{}", again.text());
}

#[test]
fn a_configured_key_can_be_revoked_but_none_revokes_itself() {
    let daemon = daemon();
    let revoke = |key: &str, of: &str| {
        let path = format!("/api/keys/{}", &key_hash(of)[..8]);
        ask(&daemon, key, "DELETE", &path, &Value::Null).status
    };
    assert_eq!(revoke("all", "all"), 409);
    assert_eq!(revoke("all", "nobody"), 404);
    assert_eq!(revoke("all", "mac"), 200);
    let own = files(&[("releases/mac/a.zip", b"1")]);
    assert_eq!(deploy(daemon.http, "mac", &own).status, 401);
    let keys = ask(&daemon, "reader", "GET", "/api/keys", &Value::Null).json();
    let states: Vec<&Value> = keys["keys"]
        .as_array()
        .expect("keys")
        .iter()
        .map(|key| &key["state"])
        .collect();
    assert_eq!(
        states,
        ["active", "revoked", "active", "expired", "active", "active"]
    );
}

#[test]
fn the_command_line_adds_lists_and_revokes_keys() {
    let daemon = daemon();
    let to = format!("http://{}", daemon.http);
    let run = |arguments: &[&str], key: &str| {
        let all = [&["key"], arguments, &["--to", &to]].concat();
        seance(&all, &[("BUILDER_KEY", key)])
    };
    let added = run(
        &[
            "add",
            "--name",
            "win",
            "--scope",
            "read",
            "--expires",
            "90d",
            "--json",
        ],
        "all",
    );
    assert_eq!(added.code, 0, "{}", added.stderr);
    let added: Value = serde_json::from_str(&added.stdout).expect("JSON");
    let key = added["key"].as_str().expect("a key");
    let list = run(&["list"], key);
    assert_eq!(list.code, 0, "{}", list.stderr);
    let fingerprint = &added["hash"].as_str().expect("a hash")[..8];
    let line = list
        .stdout
        .lines()
        .find(|line| line.starts_with(fingerprint))
        .expect("its line");
    assert!(
        line.contains("active") && line.contains("win") && line.contains("read"),
        "{line}"
    );
    let revoked = run(&["revoke", fingerprint], "all");
    assert_eq!(revoked.code, 0, "{}", revoked.stderr);
    assert!(run(&["list"], key).stderr.contains("Invalid builder key"));
    let restricted = seance(&["key", "new", "--scope", "publish", "--path", MAC], &[]);
    assert!(
        restricted.stdout.contains("[[apps.default.keys]]"),
        "{}",
        restricted.stdout
    );
    assert!(
        restricted.stdout.contains("paths = [\"releases/mac/\"]"),
        "{}",
        restricted.stdout
    );
}

#[test]
fn a_key_with_paths_fills_and_publishes_drafts_of_these_paths_only() {
    let daemon = daemon();
    let open = || {
        let opened = ask(&daemon, "mac", "POST", "/api/releases", &json!({}));
        assert_eq!(opened.status, 201, "{}", opened.text());
        let id = opened.json()["id"].as_str().expect("an id").to_owned();
        format!("/api/drafts/{id}")
    };
    let declare = |key: &str, draft: &str, path: &str| {
        let file = json!({ "path": path, "size": 1, "sha256": key_hash("1") });
        let body = json!({ "files": [file] });
        ask(&daemon, key, "PUT", &format!("{draft}/files"), &body).status
    };
    // Its content is there, so that nothing has to be sent.
    let known = files(&[("releases/known.zip", b"1")]);
    assert_eq!(deploy(daemon.http, "all", &known).status, 200);
    let draft = open();
    assert_eq!(declare("reader", &draft, "releases/mac/a.zip"), 403);
    assert_eq!(declare("mac", &draft, "releases/win/a.exe"), 403);
    assert_eq!(declare("mac", &draft, "releases/mac/a.zip"), 200);
    assert_eq!(declare("all", &draft, "releases/win/a.exe"), 200);
    let published = ask(
        &daemon,
        "mac",
        "POST",
        &format!("{draft}/publish"),
        &json!({}),
    );
    assert_eq!(published.status, 403, "{}", published.text());
    assert!(
        published.text().contains("releases/win/a.exe"),
        "{}",
        published.text()
    );
}

#[test]
fn a_key_with_paths_takes_nothing_away_elsewhere() {
    let daemon = daemon();
    let site = files(&[("web/index.html", b"<p>1"), ("web/app.js", b"1")]);
    assert_eq!(deploy(daemon.http, "all", &site).status, 200);
    // It replaces all of `web/`.
    let page = files(&[("web/index.html", b"<p>2")]);
    let refused = deploy(daemon.http, "page", &page);
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("web/app.js"), "{}", refused.text());
    assert_eq!(
        request(daemon.http, "GET", "/prod/web/app.js", &[], b"").status,
        200
    );
}

#[test]
fn a_configuration_with_one_key_twice_is_refused() {
    let hash = key_hash("x");
    let twice = format!(
        "[apps.default]\nbuilder_key_hashes = [\"{hash}\"]\n[[apps.default.keys]]\nhash = \"{hash}\"\n"
    );
    let refused = check_config(&twice, &[]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains(&hash[..8]), "{}", refused.stderr);
}

#[test]
fn a_key_with_paths_cannot_spoil_the_upload_of_another_by_its_own() {
    let config = format!(
        "[drafts]\npart_bytes = {PART}\n[apps.default]\nbuilder_key_hashes = [\"{}\"]\n\
         [[apps.default.keys]]\nhash = \"{}\"\npaths = [\"{MAC}\"]\n",
        key_hash("all"),
        key_hash("mac"),
    );
    let daemon = Builder::new().config(&config).start();
    let (all, mac) = (Client::of(&daemon, "all"), Client::of(&daemon, "mac"));
    let id = all.open();
    let content = vec![7; PART + 1];
    let theirs = files(&[("releases/win/a.bin", &content[..])]);
    let upload = &all.upload(&id, "win", &theirs);
    let sent = |client: &Client<'_>, n, bytes: &[u8]| {
        let answer = client.part(&id, upload, n, bytes).expect("an answer");
        assert_eq!(answer.status, 204, "{}", answer.text());
    };
    sent(&all, 1, &content[..PART]);
    // The other declares the same under a path of its own, and has to send all of it.
    let same = files(&[("releases/mac/a.bin", &content[..])]);
    let missing = || mac.declare(&id, "mac", &same).json()["files"][0]["missingParts"].clone();
    assert_eq!(missing(), json!([1, 2]));
    sent(&mac, 1, &vec![8; PART]);
    assert_eq!(missing(), json!([2]));
    sent(&mac, 2, &[7]);
    let wrong = mac.complete(&id, upload).expect("an answer");
    assert_eq!(wrong.status, 422, "{}", wrong.text());
    // Nothing of that touched what was there.
    sent(&all, 2, &[7]);
    let complete = all.complete(&id, upload).expect("an answer");
    assert_eq!(complete.status, 200, "{}", complete.text());
    assert_eq!(missing(), Value::Null, "present for both");
    assert_eq!(all.publish(&id).expect("an answer").status, 200);
}
