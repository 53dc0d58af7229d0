//! Earlier builds under a new version: clients that took a broken one get them, and what cannot be meant is refused.

use serde_json::{Value, json};

use crate::harness::command::seance;
use crate::harness::http::get;
use crate::harness::release::{StoreDirectory, deploy, files, product, served};
use crate::harness::{Builder, Daemon, key_hash};
use crate::releases_control::{done, newest, order, publish, version};
use crate::updates_http::daemon;

const MANIFEST: &str = "releases/darwin-arm64/latest-mac.yml";

fn text(daemon: &Daemon, path: &str) -> String {
    String::from_utf8(served(daemon.http, path).expect("a file")).expect("text")
}

/// A republish that changes nothing, and why.
#[track_caller]
fn refused(daemon: &Daemon, body: &Value, status: u16, why: &str) {
    let answer = order(daemon.http, "republish", body);
    let said = answer.text();
    assert_eq!(answer.status, status, "{body}: {said}");
    assert!(said.contains(why), "{body}: {said}");
}

#[test]
fn clients_of_a_broken_version_get_the_build_from_before_it() {
    let daemon = daemon("");
    publish(&daemon, "1.0.0", "");
    publish(&daemon, "1.1.0", "?rollout=10");
    let body = json!({ "record": 1, "version": "1.1.1" });
    let answer = done(&order(daemon.http, "republish", &body));
    assert_eq!(
        (&answer["record"], &answer["left"]),
        (&json!(3), &json!([])),
        "{answer}"
    );
    assert_eq!(
        answer["changed"],
        json!([MANIFEST, "releases/version.json"])
    );
    assert_eq!(answer["inForce"]["here"], "now");
    // The rollout ended with it: everybody gets it, and the build of 1.0.0 with it.
    assert_eq!(version(daemon.http, None), "1.1.1");
    let manifest = text(&daemon, MANIFEST);
    let archive = &product("1.0.0", 100, 2)["releases/darwin-arm64/Seance-1.0.0-arm64-mac.zip"];
    let sha512 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, archive);
    let sha512 = base64_simd::STANDARD.encode_to_string(sha512);
    for part in [
        "url: Seance-1.0.0-arm64-mac.zip",
        "size: 100",
        &sha512,
        "releaseDate: ",
    ] {
        assert!(manifest.contains(part), "{part}: {manifest}");
    }
    assert!(!manifest.contains("1.1.0"), "{manifest}");
    assert!(text(&daemon, "releases/version.json").contains("\"1.1.1\""));
    // The web app is another matter.
    assert_eq!(text(&daemon, "web/index.html"), "<p>1.1.0");
    let newest = newest(daemon.http);
    assert_eq!(
        (&newest["kind"], &newest["to"], &newest["versions"]),
        (&json!("republish"), &json!(1), &json!(["1.1.1"]))
    );
    let id = newest["id"].as_str().expect("an id");
    let store = StoreDirectory::of(daemon.home());
    assert_eq!(store.names(&format!(".seance/content/{id}")).len(), 2);
    let audit =
        std::fs::read_to_string(daemon.state().join("audit/audit.jsonl")).expect("the audit");
    assert!(audit.contains("\"republish\""), "{audit}");
    // The next release is one like any other.
    publish(&daemon, "1.2.0", "");
    assert_eq!(version(daemon.http, None), "1.2.0");
}

#[test]
fn what_would_reach_nobody_or_break_them_is_refused() {
    let daemon = daemon("");
    publish(&daemon, "1.0.0", "");
    publish(&daemon, "1.1.0", "");
    let ask = |record: u64, version: &str| json!({ "record": record, "version": version });
    let taken = "has version 1.1.0; clients that have it would not take";
    refused(&daemon, &ask(1, "1.0.1"), 409, taken);
    refused(&daemon, &ask(1, "1.1.0"), 409, taken);
    refused(&daemon, &ask(1, "1.1.0+again"), 409, taken);
    refused(&daemon, &ask(1, "1.1"), 400, "a semantic version");
    refused(&daemon, &ask(9, "1.1.1"), 404, "no record 9");
    let nightly = json!({ "record": 1, "version": "1.1.1", "channel": "nightly" });
    refused(&daemon, &nightly, 404, "no published manifest");
    done(&order(daemon.http, "pin", &json!({ "to": 1 })));
    refused(&daemon, &ask(1, "1.1.1"), 409, "is pinned");
    done(&order(daemon.http, "unpin", &json!({})));
    publish(&daemon, "1.2.0", "");
    done(&order(daemon.http, "prune", &json!({ "keepVersions": 2 })));
    refused(
        &daemon,
        &ask(1, "1.2.1"),
        409,
        "Seance-1.0.0-arm64-mac.zip` belongs to a version that was pruned",
    );
    assert_eq!(version(daemon.http, None), "1.2.0");
}

#[test]
fn a_build_whose_name_carries_no_version_has_to_be_back_first() {
    let daemon = daemon("");
    let release = |version: &str, bytes: &[u8]| {
        let manifest = format!("version: {version}\nfiles:\n- url: Notes.exe\n");
        let release = files(&[
            ("releases/win/latest.yml", manifest.as_bytes()),
            ("releases/win/Notes.exe", bytes),
        ]);
        assert_eq!(deploy(daemon.http, "secret", &release).status, 200);
    };
    release("1.0.0", b"good");
    release("1.1.0", b"broken");
    let body = json!({ "record": 1, "version": "1.1.1" });
    refused(
        &daemon,
        &body,
        409,
        "named `releases/win/Notes.exe`, which has other bytes by now; roll back",
    );
    done(&order(daemon.http, "rollback", &json!({ "to": 1 })));
    done(&order(daemon.http, "republish", &body));
    let manifest = text(&daemon, "releases/win/latest.yml");
    assert!(manifest.contains("1.1.1"), "{manifest}");
    assert_eq!(text(&daemon, "releases/win/Notes.exe"), "good");
}

#[test]
fn a_feed_whose_packages_hold_the_version_is_left_and_alone_refused() {
    let daemon = daemon("");
    let hash = "94689FEDE03FED7AB59C24337673A27837F0C3EC";
    let release = |version: &str| {
        let lines = format!("{hash} Notes-{version}-full.nupkg 3\n");
        let manifest = format!("version: {version}\nfiles:\n- url: Notes-{version}.exe\n");
        let release = files(&[
            ("releases/win/latest.yml", manifest.as_bytes()),
            (&format!("releases/win/Notes-{version}.exe"), b"exe"),
            ("releases/squirrel/RELEASES", lines.as_bytes()),
            (
                &format!("releases/squirrel/Notes-{version}-full.nupkg"),
                b"abc",
            ),
        ]);
        assert_eq!(deploy(daemon.http, "secret", &release).status, 200);
    };
    release("1.0.0");
    release("1.1.0");
    let alone = json!({ "record": 1, "version": "1.1.1", "platform": "squirrel" });
    refused(&daemon, &alone, 422, "inside the packages");
    let all = json!({ "record": 1, "version": "1.1.1", "channel": "any" });
    let answer = done(&order(daemon.http, "republish", &all));
    assert_eq!(answer["changed"], json!(["releases/win/latest.yml"]));
    assert!(
        answer["left"][0]
            .as_str()
            .is_some_and(|left| left.contains("releases/squirrel/RELEASES")),
        "{answer}"
    );
}

#[test]
fn what_is_pruned_at_the_same_moment_is_not_published_again() {
    let daemon = daemon("");
    for round in 1..=10 {
        publish(&daemon, &format!("{round}.0.0"), "");
        publish(&daemon, &format!("{round}.1.0"), "");
        let record = newest(daemon.http)["record"].as_u64().expect("a number") - 1;
        let ask = |what: &str, body: &Value| {
            let answer = order(daemon.http, what, body);
            assert!([200, 409].contains(&answer.status), "{}", answer.text());
        };
        std::thread::scope(|scope| {
            for n in 1..=8 {
                let body = json!({ "record": record, "version": format!("{round}.1.{n}") });
                scope.spawn(move || ask("republish", &body));
            }
            scope.spawn(|| ask("prune", &json!({ "keepVersions": 1 })));
        });
        let manifest = text(&daemon, MANIFEST);
        let named = manifest.lines().find_map(|line| line.split_once("url: "));
        let (_, archive) = named.expect("an archive");
        let path = format!("releases/darwin-arm64/{}", archive.trim());
        assert!(served(daemon.http, &path).is_some(), "{path} is gone");
    }
}

#[test]
fn a_tauri_app_is_given_the_earlier_bundle_too() {
    let daemon = daemon("");
    let release = |version: &str| {
        let bundle = format!("Notes_{version}_amd64.AppImage");
        let platform = json!({ "url": format!("linux-x64/{bundle}"), "signature": version });
        let document = json!({ "version": version, "notes": "n", "pub_date": "2026-01-01T00:00:00Z",
            "platforms": { "linux-x86_64": platform } });
        let release = files(&[
            ("releases/latest.json", document.to_string().as_bytes()),
            (&format!("releases/linux-x64/{bundle}"), version.as_bytes()),
        ]);
        assert_eq!(deploy(daemon.http, "secret", &release).status, 200);
    };
    release("1.0.0");
    release("1.1.0");
    let ask = |current: &str| {
        get(
            daemon.http,
            &format!("/updates/tauri/linux/x86_64/{current}"),
        )
    };
    assert_eq!(ask("1.1.0").status, 204);
    let body = json!({ "record": 1, "version": "1.1.1" });
    done(&order(daemon.http, "republish", &body));
    let update = ask("1.1.0").json();
    assert_eq!(
        (&update["version"], &update["signature"]),
        (&json!("1.1.1"), &json!("1.0.0")),
        "{update}"
    );
    let date = update["pub_date"].as_str().expect("a date");
    assert!(date > "2026-01-01T00:00:00Z", "{update}");
    assert!(
        update["url"]
            .as_str()
            .is_some_and(|url| url.ends_with("Notes_1.0.0_amd64.AppImage")),
        "{update}"
    );
    // It says of itself that it is 1.0.0, and is offered the same again.
    assert_eq!(ask("1.0.0").json()["version"], "1.1.1");
}

#[test]
fn faults_are_refused_where_deploys_are_held_to_them() {
    let home = tempfile::tempdir().expect("a directory");
    let start = |lint: &str| {
        let config = format!(
            "[deploy]\nlint = \"{lint}\"\n[apps.default]\nbuilder_key_hashes = [\"{}\"]\n",
            key_hash("secret")
        );
        Builder::at(home.path()).config(&config).start()
    };
    let daemon = start("warn");
    for version in ["1.0.0", "1.1.0"] {
        let manifest = format!("version: {version}\nfiles:\n- url: Notes-{version}.exe\n");
        let release = files(&[
            ("releases/win/latest.yml", manifest.as_bytes()),
            (&format!("releases/win/Notes-{version}.exe"), b"exe"),
        ]);
        assert_eq!(deploy(daemon.http, "secret", &release).status, 200);
    }
    daemon.stop();
    let daemon = start("enforce");
    let body = json!({ "record": 1, "version": "1.1.1" });
    refused(&daemon, &body, 422, "has no sha512 for `Notes-1.0.0.exe`");
    assert!(text(&daemon, "releases/win/latest.yml").contains("1.1.0"));
}

#[test]
fn the_command_line_republishes_too() {
    let daemon = daemon("");
    publish(&daemon, "1.0.0", "");
    publish(&daemon, "1.1.0", "");
    let to = format!("http://{}", daemon.http);
    let run = |arguments: &[&str]| {
        let all = [&["releases"], arguments, &["--to", &to]].concat();
        seance(&all, &[("BUILDER_KEY", "secret")])
    };
    let output = run(&["republish", "1", "1.1.1", "--channel", "latest"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(
        output.stdout.starts_with("record 3 is in force here")
            && output.stdout.contains(&format!("~ {MANIFEST}")),
        "{}",
        output.stdout
    );
    assert_eq!(version(daemon.http, None), "1.1.1");
    assert!(text(&daemon, "releases/version.json").contains("1.1.1"));
    let list = run(&["list"]).stdout;
    assert!(list.contains("again 1"), "{list}");
}
