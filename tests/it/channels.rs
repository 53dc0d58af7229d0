//! The channel `any` stands for all of them, in commands and in feeds.

use serde_json::json;

use crate::harness::Daemon;
use crate::harness::http::{Answer, get, request};
use crate::harness::release::{Files, deploy_with, files};
use crate::releases_control::{done, order};
use crate::updates_http::daemon;

/// Within the first per cent, and behind nine tenths, by electron-updater's rule.
const EARLY: &str = "6f2b3a10-1c5d-5e8f-9a0b-112200000001";
const LATE: &str = "6f2b3a10-1c5d-5e8f-9a0b-1122f0000000";

fn deployed(daemon: &Daemon, query: &str, files: &Files) {
    let path = format!("/deploy{query}");
    let answer = deploy_with(daemon.http, "secret", files, &path, &[]);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// A build for Macs with its manifest.
fn build(channel: &str, version: &str) -> Files {
    let archive = format!("N-{version}-arm64-mac.zip");
    let manifest = format!("version: {version}\nfiles:\n- url: {archive}\n");
    files(&[
        (
            &format!("releases/mac/{channel}-mac.yml"),
            manifest.as_bytes(),
        ),
        (&format!("releases/mac/{archive}"), version.as_bytes()),
    ])
}

fn ask(daemon: &Daemon, path: &str, client: &str) -> Answer {
    let fields = [("x-user-staging-id", client)];
    let path = format!("/updates/{path}");
    request(daemon.http, "GET", &path, &fields, b"")
}

#[test]
fn who_follows_any_channel_gets_the_newest_of_all() {
    let daemon = daemon("");
    assert_eq!(ask(&daemon, "mac/any-mac.yml", LATE).status, 404);
    deployed(&daemon, "", &build("latest", "1.0.0"));
    deployed(&daemon, "", &build("beta", "1.1.0-beta.1"));
    deployed(&daemon, "?rollout=10", &build("beta", "1.2.0-beta.1"));
    let seen = |client| {
        let manifest = ask(&daemon, "mac/any-mac.yml", client);
        let manifest = manifest
            .text()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        let mac = ask(&daemon, "squirrel/mac/arm64/0.9.0?channel=any", client);
        (manifest, mac.json()["name"].clone())
    };
    let both = |version: &str| (format!("version: {version}"), json!(version));
    assert_eq!(seen(EARLY), both("1.2.0-beta.1"));
    assert_eq!(seen(LATE), both("1.1.0-beta.1"));
    // Which one is the newest depends on who asks.
    deployed(&daemon, "", &build("latest", "1.1.0"));
    assert_eq!(seen(EARLY), both("1.2.0-beta.1"));
    assert_eq!(seen(LATE), both("1.1.0"));
    deployed(&daemon, "", &build("latest", "1.2.0"));
    assert_eq!(seen(EARLY), both("1.2.0"));
    for absent in [
        "mac/any-linux.yml",
        "mac/any.yml",
        "any-mac.yml",
        "mac/anyone-mac.yml",
    ] {
        assert_eq!(ask(&daemon, absent, LATE).status, 404, "{absent}");
    }
}

#[test]
fn a_tauri_app_that_follows_any_channel_gets_the_newest_of_all() {
    let daemon = daemon("");
    let bundle = |version: &str| {
        let bundle = format!("releases/linux-x64/N_{version}_amd64.AppImage");
        let signature = (format!("{bundle}.sig"), version.as_bytes().to_vec());
        Files::from([signature, (bundle, b"elf".to_vec())])
    };
    deployed(&daemon, "", &bundle("1.0.0"));
    deployed(&daemon, "", &bundle("1.1.0-beta.1"));
    let newest = |path: &str| get(daemon.http, &format!("/updates/tauri/{path}")).json();
    for path in ["any.json", "linux/x86_64/0.9.0?channel=any"] {
        assert_eq!(newest(path)["version"], "1.1.0-beta.1", "{path}");
    }
    assert_eq!(newest("latest.json")["version"], "1.0.0");
    let document = |version: &str| {
        let platform = json!({ "url": "https://cdn.example/N.AppImage", "signature": "s" });
        json!({ "version": version, "platforms": { "linux-x86_64": platform } }).to_string()
    };
    let published = files(&[
        ("releases/latest.json", document("2.0.0").as_bytes()),
        ("releases/beta.json", document("1.9.0").as_bytes()),
    ]);
    deployed(&daemon, "", &published);
    for path in ["any.json", "linux/x86_64/0.9.0?channel=any"] {
        assert_eq!(newest(path)["version"], "2.0.0", "{path}");
    }
}

#[test]
fn a_command_over_any_channel_is_one_over_all() {
    let daemon = daemon("");
    for version in ["1.0.0", "1.1.0"] {
        for channel in ["latest", "beta"] {
            deployed(&daemon, "", &build(channel, version));
        }
    }
    let halted = done(&order(daemon.http, "halt", &json!({ "channel": "any" })));
    assert_eq!(
        halted["changed"],
        json!(["releases/mac/beta-mac.yml", "releases/mac/latest-mac.yml"])
    );
}
