//! Where the files of a build go, before anything is sent.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::harness::command::path;
use crate::harness::publish::{CLIENTS, Client, done, mac_build, write};

/// The plan of a dry run, `path -> size`.
fn plan(client: Client, home: &Path, arguments: &[&str]) -> BTreeMap<String, u64> {
    let mut all = arguments.to_vec();
    all.push("--dry-run");
    let outcome = client.run(home, &all);
    assert!(
        outcome.json["plan"].is_array(),
        "{} {}",
        outcome.json,
        outcome.stderr
    );
    let files = outcome.json["plan"].as_array().into_iter().flatten();
    files
        .map(|file| {
            let path = file["path"].as_str().expect("a path").to_owned();
            (path, file["size"].as_u64().expect("a size"))
        })
        .collect()
}

const ELECTRON: &[(&str, &str)] = &[
    ("N 1.0.0-arm64-mac.zip", ""),
    ("N 1.0.0-mac.zip", ""),
    ("N 1.0.0-mac.zip.blockmap", ""),
    ("N-1.0.0.dmg", ""),
    ("N Setup 1.0.0.exe", ""),
    ("N-1.0.0.__uninstaller.exe", ""),
    ("N-1.0.0-arm64.AppImage", ""),
    ("n_1.0.0_amd64.deb", ""),
    ("n-1.0.0.aarch64.rpm", ""),
    ("n-1.0.0-linux-x64.tar.gz", ""),
    ("n-1.0.0.zip", ""),
    ("G\u{e4}nse-1.0.0.dmg", ""),
    ("Ga\u{308}nse-1.0.0.pkg", ""),
    ("README.md", ""),
    ("version.json", ""),
    ("settings.yml", ""),
    ("builder-effective-config.yaml", ""),
    ("latest-linux-arm64.yml", ""),
    (
        "latest-mac.yml",
        "version: 1.0.0\nfiles:\n  - url: 'N 1.0.0-arm64-mac.zip'\n  - url: \"N%201.0.0-mac.zip\"\n",
    ),
    (
        "canary.yml",
        "version: 1.0.0-canary.1\npath: N Setup 1.0.0.exe\n",
    ),
    ("squirrel-windows-ia32/RELEASES", ""),
    ("squirrel-windows-ia32/n-1.0.0-full.nupkg", ""),
    ("linux-unpacked/n.deb", ""),
    ("mac/n.dmg", ""),
];
const TAURI: &[(&str, &str)] = &[
    ("macos/N.app.tar.gz", ""),
    ("macos/N.app.tar.gz.sig", ""),
    ("dmg/N_1.2.0_aarch64.dmg", ""),
    ("dmg/bundle_dmg.sh", ""),
    ("nsis/N_1.2.0_x64-setup.exe", ""),
    ("nsis/N_1.2.0_x64-setup.exe.sig", ""),
    ("msi/N_1.2.0_x64_en-US.msi", ""),
    ("appimage/n_1.2.0_amd64.AppImage", ""),
    ("deb/n_1.2.0_arm64.deb", ""),
    ("rpm/n-1.2.0-1.x86_64.rpm", ""),
    ("latest.json", "{}"),
];
const CROSS: &[(&str, &str)] = &[("nsis/N-setup.exe", "")];
const SITE: &[(&str, &str)] = &[
    ("index.html", ""),
    (".env", ""),
    ("a/b.js", ""),
    ("a/.x", ""),
];

#[test]
#[ignore = "needs node: tests/run"]
fn the_action_and_the_binary_place_every_file_alike() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let in_home = |below: &str, files: &[(&str, &str)]| {
        let directory = home.path().join(below);
        let files = files
            .iter()
            .map(|(name, text)| (*name, text.as_bytes().to_vec()));
        write(&directory, &files.collect::<Vec<_>>());
        path(&directory).to_owned()
    };
    let alike = |arguments: &[&str]| {
        let [binary, node] = CLIENTS.map(|client| plan(client, home.path(), arguments));
        assert_eq!(binary, node, "{arguments:?}");
        assert!(!binary.is_empty(), "{arguments:?}");
        binary
    };
    let cross = "target/aarch64-pc-windows-msvc/release/bundle";
    for (below, files) in [("electron", ELECTRON), ("tauri", TAURI), (cross, CROSS)] {
        let directory = in_home(below, files);
        let by_name = alike(&[&directory]);
        assert_eq!(
            below == cross,
            by_name.contains_key("releases/win32-arm64/N-setup.exe")
        );
        alike(&[&directory, "--platform", "other"]);
    }
    let site = in_home("site", SITE);
    let site: Vec<String> = alike(&["--web", &site]).into_keys().collect();
    assert_eq!(site, ["web/a/b.js", "web/index.html"]);
}

#[test]
fn a_dry_run_needs_no_daemon_and_tells_all_that_is_wrong() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let dist = home.path().join("dist");
    mac_build(&dist, "1.0.0", 1000);
    let right = Client::Binary.run(home.path(), &[path(&dist), "--dry-run"]);
    assert_eq!(done(&right)["plan"].as_array().map(Vec::len), Some(3));
    fs::write(dist.join("Notes-1.0.0-arm64-mac.zip"), "cut").expect("a file");
    fs::remove_file(dist.join("Notes-1.0.0-arm64-mac.zip.blockmap")).expect("a file");
    let wrong = Client::Binary.run(home.path(), &[path(&dist), "--dry-run"]);
    assert_eq!(wrong.code, 3, "{} {}", wrong.json, wrong.stderr);
    let findings = wrong.json["findings"].to_string();
    for told in ["has 1000 bytes; it has 3", "wrong sha512", "blockmap"] {
        assert!(findings.contains(told), "{findings}");
    }
}
