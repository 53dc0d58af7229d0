//! Drafts: what is uploaded in parts, by several jobs, resumed at will, is published whole and once.

use serde_json::{Value, json};

use crate::harness::draft::{Client, declaration, sha256};
use crate::harness::http::{Answer, get};
use crate::harness::release::{Files, StoreDirectory, assert_same, deploy, files, product, served};
use crate::harness::{Builder, Daemon, key_hash};

/// The least that a part may have.
pub const PART: usize = 65_536;

pub fn daemon() -> Daemon {
    Builder::new()
        .env("SEANCE_DRAFTS__PART_BYTES", &PART.to_string())
        .start()
}

/// What an answer says is wrong.
pub fn error(answer: &Answer) -> String {
    answer.json()["error"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn a_draft_is_uploaded_in_parts_and_published_whole() {
    let daemon = daemon();
    let key = daemon.builder_key();
    let client = Client::of(&daemon, &key);
    let release = product("1.0.0", 3 * PART + 17, 3);
    let id = client.open();
    client.fill(&id, "mac", &release, PART).expect("answers");
    for path in release.keys() {
        assert_eq!(
            served(daemon.http, path),
            None,
            "{path} before it is published"
        );
    }
    let answer = client.publish(&id).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    assert_eq!((&answer["record"], &answer["id"]), (&json!(1), &json!(id)));
    assert_eq!(answer["filesDeployed"], release.len());
    for (path, content) in &release {
        assert!(
            served(daemon.http, path).as_ref() == Some(content),
            "{path}"
        );
    }
    let store = StoreDirectory::of(daemon.home());
    assert_same("the files of the log", &store.truth(), &release);
    let left = store.names(&format!(".seance/drafts/{id}/parts"));
    assert!(left.is_empty(), "{left:?}");
    let shown = client
        .send("GET", &format!("/api/drafts/{id}"), &Value::Null)
        .json();
    assert_eq!(shown["record"], 1);
    assert!(
        shown["files"]
            .as_array()
            .expect("files")
            .iter()
            .all(|file| file["state"] == "present" && file["job"] == "mac")
    );
}

#[test]
fn drafts_are_measured() {
    let daemon = daemon();
    let key = daemon.builder_key();
    let client = Client::of(&daemon, &key);
    let id = client.open();
    client.open();
    assert_eq!(daemon.metric("seance_release_drafts_open"), 2);
    let release = files(&[("releases/a.bin", &[1; PART + 1][..])]);
    client.fill(&id, "", &release, PART).expect("answers");
    let sent = daemon.metric("seance_release_draft_part_bytes_total");
    assert_eq!(sent, PART as u64 + 1);
    let assembled = "seance_release_draft_completes_total{result=\"assembled\"}";
    assert_eq!(daemon.metric(assembled), 1);
    assert_eq!(client.publish(&id).expect("an answer").status, 200);
    assert_eq!(daemon.metric("seance_release_drafts_open"), 1);
}

#[test]
fn publishing_again_gives_the_first_answer() {
    let daemon = daemon();
    let key = daemon.builder_key();
    let client = Client::of(&daemon, &key);
    let id = client.open();
    client
        .fill(&id, "", &product("1.0.0", 100, 1), PART)
        .expect("answers");
    let first = client.publish(&id).expect("an answer");
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(first.header("idempotency-replayed"), None);
    deploy(daemon.http, &key, &product("1.1.0", 100, 1));
    let again = client.publish(&id).expect("an answer");
    assert_eq!((again.status, again.json()), (200, first.json()));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(
        served(daemon.http, "releases/version.json").expect("a file"),
        b"{\"version\":\"1.1.0\"}"
    );
    for answer in [
        client.declare(&id, "", &files(&[("x", b"x")])),
        client
            .complete(&id, &format!("{}-1", sha256(b"x")))
            .expect("an answer"),
    ] {
        assert_eq!(
            (answer.status, error(&answer)),
            (409, "Draft is published".to_owned())
        );
        assert_eq!(answer.json()["record"], 1);
    }
}

#[test]
fn what_was_no_draft_is_not_published_as_one() {
    let daemon = daemon();
    let key = daemon.builder_key();
    let client = Client::of(&daemon, &key);
    let deployed = deploy(daemon.http, &key, &product("1.0.0", 100, 1)).json();
    let id = deployed["id"].as_str().expect("an id");
    let answer = client.publish(id).expect("an answer");
    assert_eq!(
        (answer.status, error(&answer)),
        (404, "Draft not found".to_owned())
    );
}

#[test]
fn content_that_is_there_is_not_sent_again() {
    let daemon = daemon();
    let key = daemon.builder_key();
    let client = Client::of(&daemon, &key);
    let old = product("1.0.0", 2 * PART, 2);
    assert_eq!(deploy(daemon.http, &key, &old).status, 200);
    let id = client.open();
    let states = |answer: &Value| -> Vec<String> {
        let files = answer["files"].as_array().expect("files");
        files
            .iter()
            .map(|file| file["state"].as_str().expect("a state").to_owned())
            .collect()
    };
    let answer = client.declare(&id, "a", &old);
    assert_eq!(states(&answer.json()), vec!["present"; old.len()]);
    // Sent by one job, it is there for the others too, under any name.
    let new = files(&[("releases/x/new.bin", &[7; 3][..])]);
    client.fill(&id, "a", &new, PART).expect("answers");
    let named = files(&[("releases/y/other.bin", &[7; 3][..])]);
    let answer = client.declare(&id, "b", &named);
    assert_eq!(states(&answer.json()), ["present"]);
    assert_eq!(client.publish(&id).expect("an answer").status, 200);
    assert_eq!(
        served(daemon.http, "releases/y/other.bin"),
        Some(vec![7; 3])
    );
    let content = StoreDirectory::of(daemon.home()).names(&format!(".seance/content/{id}"));
    assert_eq!(content.len(), 1, "{content:?}");
}

#[test]
fn an_upload_is_resumed_with_the_parts_that_are_missing() {
    let mut daemon = daemon();
    let key = daemon.builder_key();
    let content: Vec<u8> = (0..3 * PART + 5)
        .map(|n| u8::try_from(n % 251).expect("a byte"))
        .collect();
    let release = files(&[("releases/big.bin", &content)]);
    let client = Client::of(&daemon, &key);
    let id = client.open();
    let declared = client.declare(&id, "", &release).json();
    let upload = declared["files"][0]["upload"]
        .as_str()
        .expect("an upload")
        .to_owned();
    assert_eq!(declared["files"][0]["missingParts"], json!([1, 2, 3, 4]));
    for n in [4, 2] {
        let start = (n - 1) * PART;
        let part = &content[start..content.len().min(start + PART)];
        assert_eq!(
            client
                .part(&id, &upload, n as u64, part)
                .expect("an answer")
                .status,
            204
        );
    }
    daemon.kill();
    let daemon = Builder::at(daemon.home()).start();
    let client = Client::of(&daemon, &key);
    let answer = client.complete(&id, &upload).expect("an answer");
    assert_eq!(
        (answer.status, &answer.json()["missingParts"]),
        (409, &json!([1, 3]))
    );
    let shown = client
        .send("GET", &format!("/api/drafts/{id}"), &Value::Null)
        .json();
    assert_eq!(
        (&shown["files"][0]["missingParts"], &shown["partBytes"]),
        (&json!([1, 3]), &json!(PART))
    );
    client.fill(&id, "", &release, PART).expect("answers");
    assert_eq!(client.publish(&id).expect("an answer").status, 200);
    assert_eq!(served(daemon.http, "releases/big.bin"), Some(content));
}

#[test]
fn three_jobs_race_into_one_draft_and_their_manifests_become_one() {
    let daemon = daemon();
    let key = daemon.builder_key();
    let client = Client::of(&daemon, &key);
    let id = client.open();
    let job = |arch: &str| -> Files {
        let name = format!("S-1.0.0-{arch}-mac.zip");
        let artefact: Vec<u8> = arch.bytes().cycle().take(2 * PART).collect();
        let sha512 = base64_simd::STANDARD.encode_to_string(aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA512,
            &artefact,
        ));
        let manifest = format!(
            "version: 1.0.0\nfiles:\n  - url: {name}\n    sha512: {sha512}\n    size: {}\npath: {name}\nsha512: {sha512}\n",
            artefact.len()
        );
        let version = format!("{{\"version\":\"1.0.0\",\"{arch}\":\"{name}\"}}");
        files(&[
            (&format!("releases/darwin/{name}"), &artefact[..]),
            (&format!("releases/darwin/{name}.blockmap"), b"map"),
            ("releases/darwin/latest-mac.yml", manifest.as_bytes()),
            ("releases/version.json", version.as_bytes()),
        ])
    };
    let jobs = ["arm64", "x64", "universal"];
    std::thread::scope(|scope| {
        for name in jobs {
            let id = &id;
            scope.spawn(move || client.fill(id, name, &job(name), PART).expect("answers"));
        }
    });
    let answer = client.publish(&id).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["warnings"], json!([]));
    let manifest = String::from_utf8(
        served(daemon.http, "releases/darwin/latest-mac.yml").expect("a manifest"),
    )
    .expect("text");
    for name in jobs {
        assert!(
            manifest.contains(&format!("S-1.0.0-{name}-mac.zip")),
            "{manifest}"
        );
    }
    assert!(
        manifest.contains("\npath: S-1.0.0-universal-mac.zip\n"),
        "{manifest}"
    );
    let version: Value =
        serde_json::from_slice(&served(daemon.http, "releases/version.json").expect("a file"))
            .expect("JSON");
    assert_eq!(
        version.as_object().expect("an object").len(),
        4,
        "{version}"
    );
    // What the log names is in the store, the merged manifests too.
    StoreDirectory::of(daemon.home()).truth();
}

#[test]
fn two_clients_that_publish_at_once_get_one_record() {
    let daemon = daemon();
    let key = daemon.builder_key();
    let client = Client::of(&daemon, &key);
    for round in 0..10 {
        let id = client.open();
        client
            .fill(&id, "", &product(&format!("1.{round}.0"), 100, 1), PART)
            .expect("answers");
        let answers: Vec<Value> = std::thread::scope(|scope| {
            let publish = || {
                scope.spawn(|| {
                    let answer = client.publish(&id).expect("an answer");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    answer.json()
                })
            };
            let both = [publish(), publish()];
            both.map(|answer| answer.join().expect("an answer")).into()
        });
        assert_eq!(answers[0], answers[1]);
        assert_eq!(answers[0]["record"], round + 1);
    }
    assert_eq!(
        StoreDirectory::of(daemon.home()).names(".seance/log").len(),
        10
    );
}

#[test]
fn a_rollout_holds_the_manifests_of_a_draft_back() {
    let daemon = daemon();
    let key = daemon.builder_key();
    let client = Client::of(&daemon, &key);
    assert_eq!(
        deploy(daemon.http, &key, &product("1.0.0", 100, 1)).status,
        200
    );
    let id = client.open();
    client
        .fill(&id, "", &product("1.1.0", 100, 1), PART)
        .expect("answers");
    for rollout in [json!(101), json!(-1), json!("x")] {
        let answer = client.send(
            "POST",
            &format!("/api/drafts/{id}/publish"),
            &json!({"rollout": rollout}),
        );
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
    let answer = client.send(
        "POST",
        &format!("/api/drafts/{id}/publish"),
        &json!({"rollout": 0}),
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    let manifest = get(daemon.http, "/updates/darwin-arm64/latest-mac.yml").text();
    assert!(manifest.starts_with("version: 1.0.0"), "{manifest}");
}

#[test]
fn a_draft_belongs_to_its_app() {
    let key = "a key of this test only";
    let hash = key_hash(key);
    let config = format!(
        "[apps.default]\nbuilder_key_hashes = [\"{hash}\"]\n[apps.other]\nbuilder_key_hashes = [\"{hash}\"]\n"
    );
    let daemon = Builder::new().config(&config).start();
    let client = Client {
        address: daemon.http,
        key,
    };
    let answer = client.send("POST", "/apps/other/api/releases", &json!({}));
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(client.publish(&id).expect("an answer").status, 404);
    assert_eq!(client.declare(&id, "", &files(&[("x", b"x")])).status, 404);
    let body = declaration("", &files(&[("x", b"")]));
    let declared = client
        .send("PUT", &format!("/apps/other/api/drafts/{id}/files"), &body)
        .json();
    let upload = declared["files"][0]["upload"]
        .as_str()
        .expect("an upload")
        .to_owned();
    assert_eq!(
        declared["files"][0]["missingParts"],
        json!([]),
        "an empty file has no parts"
    );
    assert_eq!(
        client.complete(&id, &upload).expect("an answer").status,
        404
    );
    let path = format!("/apps/other/api/drafts/{id}");
    assert_eq!(
        client
            .send(
                "POST",
                &format!("{path}/uploads/{upload}/complete"),
                &Value::Null
            )
            .status,
        200
    );
    assert_eq!(
        client
            .send("POST", &format!("{path}/publish"), &json!({}))
            .status,
        200
    );
    assert_eq!(
        client.publish(&id).expect("an answer").status,
        404,
        "nor is its record another app's"
    );
    assert_eq!(get(daemon.http, "/other/x").status, 200);
}
