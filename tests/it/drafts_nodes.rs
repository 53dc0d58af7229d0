//! Drafts on several daemons that share one store: any of them takes any part, and a draft is published once.

use serde_json::{Value, json};

use crate::drafts::PART;
use crate::harness::bucket::Bucket;
use crate::harness::draft::Client;
use crate::harness::release::{Files, files, product, served};
use crate::harness::wait::wait_until;
use crate::harness::{Builder, Daemon, key_hash};

const KEY: &str = "a key of this test only";

pub fn node(store: &str) -> Daemon {
    let config = format!(
        "{store}[deploy]\nfollow_seconds = 1\n[drafts]\npart_bytes = {PART}\n[apps.default]\nbuilder_key_hashes = [\"{}\"]\n",
        key_hash(KEY)
    );
    Builder::new().config(&config).start()
}

pub fn client(node: &Daemon) -> Client<'static> {
    Client {
        address: node.http,
        key: KEY,
    }
}

/// A directory that is the store of all daemons with this configuration.
fn directory() -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = format!("[store]\ndirectory = \"{}\"\n", directory.path().display());
    (directory, store)
}

/// Three jobs at two nodes, both of which publish at the same time; once for each of `rounds`.
fn race(nodes: &[Daemon; 2], rounds: usize) {
    for round in 0..rounds {
        let id = client(&nodes[round % 2]).open();
        let release = product(&format!("1.{round}.0"), 2 * PART + round, 1);
        let (web, releases): (Files, Files) = release
            .into_iter()
            .partition(|(path, _)| path.starts_with("web/"));
        let other = files(&[("releases/notes.txt", format!("round {round}").as_bytes())]);
        let jobs = [("web", web), ("mac", releases), ("notes", other)];
        std::thread::scope(|scope| {
            for (place, (job, files)) in jobs.iter().enumerate() {
                let (id, node) = (&id, &nodes[(round + place) % 2]);
                scope.spawn(move || client(node).fill(id, job, files, PART).expect("answers"));
            }
        });
        let answers: Vec<Value> = std::thread::scope(|scope| {
            let id = &id;
            let publish = |node| {
                scope.spawn(move || {
                    let answer = client(node).publish(id).expect("an answer");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    answer.json()
                })
            };
            let publishing = [&nodes[0], &nodes[1], &nodes[0]].map(publish);
            publishing
                .map(|answer| answer.join().expect("an answer"))
                .into()
        });
        assert!(
            answers.iter().all(|answer| *answer == answers[0]),
            "{answers:?}"
        );
        assert_eq!(answers[0]["record"], json!(round + 1));
        for (path, content) in jobs.iter().flat_map(|(_, files)| files) {
            for node in nodes {
                wait_until(
                    "both nodes have it",
                    || served(node.http, path),
                    |seen| seen.as_ref() == Some(content),
                );
            }
        }
    }
}

/// A draft that one node begins and the other, after a part, goes on with and publishes.
fn hand_over(nodes: &[Daemon; 2]) {
    let (first, second) = (client(&nodes[0]), client(&nodes[1]));
    let release = files(&[("releases/big.bin", &[5; 2 * PART + 9][..])]);
    let id = first.open();
    let upload = first.upload(&id, "", &release);
    assert_eq!(
        first
            .part(&id, &upload, 2, &[5; PART])
            .expect("an answer")
            .status,
        204
    );
    let mut sent = 0;
    second
        .fill_counting(&id, "", &release, PART, &mut sent)
        .expect("answers");
    assert_eq!(sent, 2, "the part that the other node took is there");
    assert_eq!(first.complete(&id, &upload).expect("an answer").status, 200);
    let record = second.publish(&id).expect("an answer").json()["record"].clone();
    assert_eq!(
        first.publish(&id).expect("an answer").json()["record"],
        record
    );
    assert_eq!(
        served(nodes[1].http, "releases/big.bin"),
        Some(vec![5; 2 * PART + 9])
    );
}

#[test]
fn two_daemons_on_one_directory_share_drafts() {
    let (_directory, store) = directory();
    let nodes = [node(&store), node(&store)];
    race(&nodes, 8);
    hand_over(&nodes);
}

#[test]
#[ignore = "needs Ceph RGW: tests/run"]
fn two_daemons_on_one_bucket_share_drafts() {
    let bucket = Bucket::fresh();
    let nodes = [node(&bucket.toml()), node(&bucket.toml())];
    race(&nodes, 5);
    hand_over(&nodes);
}
