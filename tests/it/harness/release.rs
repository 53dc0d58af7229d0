//! Deploys as CI sends them, and what must be true of a store whatever happened to it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use base64_simd::STANDARD;
use serde_json::Value;

use super::http::{Answer, Connection, get, head, request};
use super::wait::wait_until;

/// Contents by path.
pub type Files = BTreeMap<String, Vec<u8>>;

pub fn files(list: &[(&str, &[u8])]) -> Files {
    list.iter()
        .map(|(path, content)| ((*path).to_owned(), content.to_vec()))
        .collect()
}

/// The JSON body of a deploy.
pub fn body(files: &Files) -> Vec<u8> {
    let entry = |(path, content): (&String, &Vec<u8>)| serde_json::json!({ "path": path, "content": STANDARD.encode_to_string(content) });
    let files: Vec<Value> = files.iter().map(entry).collect();
    serde_json::to_vec(&serde_json::json!({ "files": files })).expect("JSON")
}

pub fn deploy(address: SocketAddr, key: &str, files: &Files) -> Answer {
    deploy_with(address, key, files, "/deploy", &[])
}

/// A deploy to `path` (`/deploy?force=true`) with more headers.
pub fn deploy_with(
    address: SocketAddr,
    key: &str,
    files: &Files,
    path: &str,
    extra: &[(&str, &str)],
) -> Answer {
    let mut headers = vec![("X-Builder-Key", key), ("Content-Type", "application/json")];
    headers.extend(extra);
    request(address, "POST", path, &headers, &body(files))
}

/// A deploy whose connection may be cut: `None` without an answer.
pub fn try_deploy(address: SocketAddr, key: &str, files: &Files) -> Option<Answer> {
    let body = body(files);
    let mut connection = Connection::try_open(address).ok()?;
    let headers = [("X-Builder-Key", key), ("Content-Type", "application/json")];
    connection
        .try_send(&head("POST", "/deploy", &headers, Some(body.len())))
        .ok()?;
    connection.try_send(&body).ok()?;
    connection.try_answer(true)
}

/// What seance serves under a path of the default app; `None` when there is nothing.
#[track_caller]
pub fn served(address: SocketAddr, path: &str) -> Option<Vec<u8>> {
    let answer = get(address, &format!("/prod/{path}"));
    match answer.status {
        200 => Some(answer.body),
        404 => None,
        _ => panic!("GET {path}: {answer:?}"),
    }
}

/// A product of one version: an update with its manifest, and a web app.
pub fn product(version: &str, artefact_bytes: usize, assets: usize) -> Files {
    let name = format!("Seance-{version}-arm64-mac.zip");
    let artefact: Vec<u8> = version.bytes().cycle().take(artefact_bytes).collect();
    let manifest = format!(
        "version: {version}\nfiles:\n  - url: {name}\n    sha512: {}\n    size: {artefact_bytes}\n",
        STANDARD.encode_to_string(digest(&SHA512, &artefact))
    );
    let directory = "releases/darwin-arm64";
    let mut all = files(&[
        (
            "releases/version.json",
            format!("{{\"version\":\"{version}\"}}").as_bytes(),
        ),
        ("web/index.html", format!("<p>{version}").as_bytes()),
        ("web/app.js", format!("run('{version}')").as_bytes()),
    ]);
    all.insert(format!("{directory}/{name}"), artefact);
    all.insert(
        format!("{directory}/{name}.blockmap"),
        version.as_bytes().to_vec(),
    );
    all.insert(format!("{directory}/latest-mac.yml"), manifest.into_bytes());
    for asset in 0..assets {
        all.insert(
            format!("web/assets/{version}-{asset}.js"),
            format!("{version} {asset}").into_bytes(),
        );
    }
    all
}

/// What is published after `new` was deployed onto `old`: it replaces the web app.
pub fn onto(old: &Files, new: &Files) -> Files {
    let replaces_web = new.contains_key("web/index.html");
    let mut all = old.clone();
    all.retain(|path, _| !(replaces_web && path.starts_with("web/")));
    all.extend(new.clone());
    all
}

/// Fails with the paths that differ.
#[track_caller]
pub fn assert_same(what: &str, found: &Files, wanted: &Files) {
    let paths = found.keys().chain(wanted.keys());
    let differ: BTreeSet<_> = paths
        .filter(|path| found.get(*path) != wanted.get(*path))
        .collect();
    assert!(
        differ.is_empty(),
        "{what} are not as they should be: {differ:?}"
    );
}

/// The directory of a filesystem store.
pub struct StoreDirectory(pub PathBuf);

impl StoreDirectory {
    pub fn of(home: &Path) -> StoreDirectory {
        StoreDirectory(home.join("state/store"))
    }

    pub fn has(&self, key: &str) -> bool {
        self.0.join(key).exists()
    }

    /// Holds the log to its promise: records from 1 without gaps, each whole, each file of each with its content
    /// complete. Gives the fold of the records of the prefix `prod`.
    #[track_caller]
    pub fn truth(&self) -> Files {
        let mut published = Files::new();
        let mut names: Vec<_> = self.names(".seance/log");
        names.sort();
        for (index, name) in names.iter().enumerate() {
            assert_eq!(
                *name,
                format!("{:012}.json", index + 1),
                "a gap in the log: {names:?}"
            );
            let bytes = std::fs::read(self.0.join(".seance/log").join(name)).expect("a record");
            let record: Value = serde_json::from_slice(&bytes).expect("a whole record");
            assert_eq!(record["n"], index + 1);
            for removed in record["event"]["removed"].as_array().into_iter().flatten() {
                published.remove(text(removed));
            }
            for file in record["event"]["files"].as_array().expect("files") {
                let content = self.0.join(".seance/content").join(text(&file["content"]));
                let bytes =
                    std::fs::read(&content).unwrap_or_else(|error| panic!("{file}: {error}"));
                assert_eq!(file["size"], bytes.len(), "{file}");
                assert_eq!(
                    file["sha256"],
                    hex::encode(digest(&SHA256, &bytes)),
                    "{file}"
                );
                if record["prefix"] == "prod" {
                    published.insert(text(&file["path"]).to_owned(), bytes);
                }
            }
        }
        published
    }

    /// Waits until the records up to `n` are projected.
    #[track_caller]
    pub fn projected(&self, n: usize) {
        let mark = |n: &usize| self.has(&format!(".seance/projected/{n:012}"));
        wait_until(
            "the records are projected",
            || (1..=n).filter(mark).count(),
            |marks| *marks == n,
        );
    }

    /// The public copies under the prefix `prod`.
    pub fn public(&self) -> Files {
        let mut found = Files::new();
        let mut directories = vec![self.0.join("prod")];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(&directory).into_iter().flatten() {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    let name = path.strip_prefix(self.0.join("prod")).expect("below it");
                    let name = name.to_str().expect("UTF-8").to_owned();
                    found.insert(name, std::fs::read(&path).expect("a public copy"));
                }
            }
        }
        found
    }

    /// The names in a directory of the store.
    pub fn names(&self, directory: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.join(directory))
            .into_iter()
            .flatten();
        entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("UTF-8")
            })
            .collect()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}
