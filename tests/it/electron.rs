//! Desktop apps with electron-updater update from us, differentially too. The client is the real
//! electron-updater; `tests/clients/electron/update.js` asserts that it did not fall back to a full download.

use std::path::Path;
use std::process::Command;

use crate::harness::bucket::Bucket;
use crate::harness::{Builder, Daemon, key_hash};

/// Deploys two versions and runs the app of `platform` through both updates.
#[track_caller]
fn updates(platform: &str, daemon: &Daemon, key: &str, environment: &[(&str, &str)]) -> String {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/electron");
    let output = Command::new("node")
        .arg(project.join("update.js"))
        .args([platform, &daemon.url("")])
        .env("BUILDER_KEY", key)
        .envs(environment.iter().copied())
        .output()
        .expect("node runs");
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{report}\n{errors}");
    report
}

#[test]
#[ignore = "needs node and the electron-updater package: tests/run"]
fn a_mac_app_updates_in_full_and_differentially() {
    let daemon = Builder::new().start();
    updates("darwin", &daemon, &daemon.builder_key(), &[]);
}

#[test]
#[ignore = "needs node and the electron-updater package: tests/run"]
fn a_windows_app_updates_in_full_and_differentially() {
    let daemon = Builder::new().start();
    updates("win32", &daemon, &daemon.builder_key(), &[]);
}

#[test]
#[ignore = "needs node and the electron-updater package: tests/run"]
fn a_linux_app_updates_in_full_and_differentially() {
    let daemon = Builder::new().start();
    updates("linux", &daemon, &daemon.builder_key(), &[]);
}

#[test]
#[ignore = "needs node, the electron-updater package and Ceph RGW: tests/run"]
fn with_a_cdn_whole_downloads_come_from_the_bucket_and_differential_ones_from_us() {
    let bucket = Bucket::fresh();
    let key = "a key of this test only";
    let config = format!(
        "{}[apps.default]\nbuilder_key_hashes = [\"{}\"]\ncdn_endpoint = \"{}\"\n",
        bucket.toml(),
        key_hash(key),
        bucket.public(),
    );
    let daemon = Builder::new().config(&config).start();
    let report = updates("darwin", &daemon, key, &[("EXPECT_REDIRECT", "1")]);
    let from = |base: &str, status: &str| {
        let line = |line: &&str| line.starts_with(status) && line.contains(base);
        report.lines().filter(line).count()
    };
    let ours = daemon.url("/updates/darwin-arm64/Seance-");
    let bucket = format!("{}/prod/releases/darwin-arm64/Seance-", bucket.public());
    assert!(from(&bucket, "200") > 0, "{report}");
    assert_eq!(from(&bucket, "206"), 0, "{report}");
    assert!(from(&ours, "206") > 0, "{report}");
}
