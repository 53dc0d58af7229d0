//! Builds as packagers leave them, and the two clients that publish them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use aws_lc_rs::digest::{SHA512, digest};
use base64_simd::STANDARD;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::Value;

use super::release::{Files, served};
use super::{Builder, Daemon, key_hash};

/// The smallest parts that a daemon takes.
pub const PART: u64 = 64 * 1024;
/// Parts at a time, in tests that count them.
pub const PARALLEL: u64 = 2;
pub const KEY: &str = "a key of these tests";
const DRAFTS: &str = "[drafts]\npart_bytes = 65536\nmax_open = 500\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    Binary,
    Node,
}

pub const CLIENTS: [Client; 2] = [Client::Binary, Client::Node];

pub struct Outcome {
    pub code: i32,
    pub json: Value,
    pub stderr: String,
}

impl Client {
    /// The program, with this home, which keeps what is remembered of drafts, and nothing else of the environment.
    pub fn command(self, home: &Path) -> Command {
        let mut command = match self {
            Client::Binary => Command::new(env!("CARGO_BIN_EXE_seance")),
            Client::Node => Command::new("/usr/bin/env"),
        };
        match self {
            Client::Binary => command.arg("publish"),
            Client::Node => command
                .args(["PATH=/usr/local/bin:/usr/bin:/bin", "node"])
                .arg(action().join("publish.mjs")),
        };
        command.env_clear().env("HOME", home).stdin(Stdio::null());
        command
    }

    pub fn start(self, home: &Path, arguments: &[&str]) -> Child {
        let mut command = self.command(home);
        command
            .args(arguments)
            .arg("--json")
            .env("BUILDER_KEY", KEY)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the client starts")
    }

    pub fn run(self, home: &Path, arguments: &[&str]) -> Outcome {
        outcome(self.start(home, arguments))
    }
}

pub fn outcome(child: Child) -> Outcome {
    let output = child.wait_with_output().expect("the client ends");
    Outcome {
        code: output.status.code().unwrap_or(-1),
        json: serde_json::from_slice(&output.stdout).unwrap_or_default(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Kills a client that is at work.
#[track_caller]
pub fn kill(client: Child) {
    let pid = Pid::from_raw(i32::try_from(client.id()).expect("a process id"));
    signal::kill(pid, Signal::SIGKILL).expect("the client can be killed");
    assert_eq!(outcome(client).code, -1, "it ended before it was killed");
}

/// The directory of the action.
pub fn action() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/actions/publish")
}

/// A daemon that takes small parts, and the key that clients have here.
pub fn drafts() -> Daemon {
    drafts_with(DRAFTS)
}

/// As [`drafts`], with other limits.
pub fn drafts_with(config: &str) -> Daemon {
    let key = key_hash(KEY);
    let config = format!("{config}[apps.default]\nbuilder_key_hashes = [\"{key}\"]\n");
    Builder::new().config(&config).start()
}

#[track_caller]
pub fn done(outcome: &Outcome) -> &Value {
    assert_eq!(outcome.code, 0, "{} {}", outcome.json, outcome.stderr);
    &outcome.json
}

/// What electron-builder leaves for macOS, `bytes` of it an archive that is like no other.
pub fn mac_build(directory: &Path, version: &str, bytes: usize) -> Files {
    let zip = format!("Notes-{version}-arm64-mac.zip");
    let seed = digest(&SHA512, version.as_bytes());
    let mut content = Vec::with_capacity(bytes + 64);
    let mut block = seed.as_ref().to_vec();
    while content.len() < bytes {
        content.extend_from_slice(&block);
        block = digest(&SHA512, &block).as_ref().to_vec();
    }
    content.truncate(bytes);
    let manifest = channel(version, &zip, &content);
    let files = [
        (zip.as_str(), content),
        (&format!("{zip}.blockmap"), version.as_bytes().to_vec()),
        ("latest-mac.yml", manifest.into_bytes()),
    ];
    write(directory, &files);
    fs::write(directory.join("builder-debug.yml"), "x: 1").expect("a file");
    let place = |(name, content): &(&str, Vec<u8>)| {
        (format!("releases/darwin-arm64/{name}"), content.clone())
    };
    files.iter().map(place).collect()
}

pub fn channel(version: &str, name: &str, content: &[u8]) -> String {
    let sha512 = STANDARD.encode_to_string(digest(&SHA512, content));
    let size = content.len();
    format!(
        "version: {version}\nfiles:\n  - url: {name}\n    sha512: {sha512}\n    size: {size}\n\
         path: {name}\nsha512: {sha512}\nreleaseDate: '2026-11-21T12:00:00.000Z'\n"
    )
}

pub fn write(directory: &Path, files: &[(&str, Vec<u8>)]) {
    for (name, content) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, content).expect("a file");
    }
}

/// Every file of a build is served as it is on disk.
#[track_caller]
pub fn assert_served(daemon: &Daemon, files: &Files) {
    for (path, content) in files {
        let found = served(daemon.http, path);
        assert!(
            found.as_ref() == Some(content),
            "{path} is not as it was built"
        );
    }
}
