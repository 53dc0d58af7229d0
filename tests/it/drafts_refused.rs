//! Drafts: what is refused, why it is said to be, and that nothing of it stands.

use serde_json::{Value, json};

use crate::drafts::{PART, daemon, error};
use crate::harness::draft::{Client, sha256};
use crate::harness::http::{Connection, head};
use crate::harness::release::{deploy, files, product};
use crate::harness::{Builder, key_hash};

#[test]
fn bytes_that_are_not_what_was_declared_are_sent_again() {
    let daemon = daemon();
    let key = daemon.builder_key();
    let client = Client::of(&daemon, &key);
    let release = files(&[("releases/a.bin", &[1; PART + 1][..])]);
    let id = client.open();
    let upload = client.upload(&id, "", &release);
    let parts = format!("/api/drafts/{id}/uploads/{upload}/parts");
    let (full, last) = (vec![1; PART], vec![2; 1]);
    let send = |n: &str, extra: &[(&str, &str)], bytes: &[u8]| {
        client
            .try_send("PUT", &format!("{parts}/{n}"), extra, bytes)
            .expect("an answer")
    };
    for (n, bytes, said) in [
        ("1", &full[1..], "Wrong part length"),
        ("2", &full[..], "Wrong part length"),
        ("3", &last[..], "Invalid part number"),
        ("0", &last[..], "Invalid part number"),
    ] {
        let answer = send(n, &[], bytes);
        assert_eq!(
            (answer.status, error(&answer).as_str()),
            (400, said),
            "part {n}"
        );
    }
    let hash = sha256(&full);
    let answer = send("1", &[("x-content-sha256", &hash)], &vec![3; PART]);
    assert_eq!(
        (answer.status, error(&answer).as_str()),
        (400, "Wrong part hash")
    );
    assert_eq!(send("1", &[("x-content-sha256", &hash)], &full).status, 204);
    assert_eq!(send("1", &[], &full).status, 204, "the same again");
    assert_eq!(send("2", &[], &last).status, 204);
    let answer = client.complete(&id, &upload).expect("an answer");
    assert_eq!(
        (answer.status, error(&answer).as_str()),
        (422, "Wrong content")
    );
    let answer = client.complete(&id, &upload).expect("an answer");
    assert_eq!(
        answer.json()["missingParts"],
        json!([1, 2]),
        "the parts are gone"
    );
    let answer = client.publish(&id).expect("an answer");
    assert_eq!(
        (answer.status, &answer.json()["missing"]),
        (409, &json!(["releases/a.bin"]))
    );
    client.fill(&id, "", &release, PART).expect("answers");
    assert_eq!(client.publish(&id).expect("an answer").status, 200);
}

#[test]
fn a_body_that_ends_early_leaves_no_part() {
    let daemon = daemon();
    let key = daemon.builder_key();
    let client = Client::of(&daemon, &key);
    let id = client.open();
    let release = files(&[("releases/a.bin", &[1; PART][..])]);
    let upload = client.upload(&id, "", &release);
    let path = format!("/api/drafts/{id}/uploads/{upload}/parts/1");
    let mut connection = Connection::open(daemon.http);
    connection.send(&head("PUT", &path, &[("X-Builder-Key", &key)], Some(PART)));
    connection.send(&[1; PART / 2]);
    connection
        .stream()
        .shutdown(std::net::Shutdown::Write)
        .expect("the half is closed");
    // Whether it is answered or cut, nothing of the part is kept.
    let _answer = connection.try_answer(true);
    let answer = client.complete(&id, &upload).expect("an answer");
    assert_eq!(answer.json()["missingParts"], json!([1]));
}

#[test]
fn jobs_that_contradict_each_other_are_named() {
    let daemon = daemon();
    let key = daemon.builder_key();
    let client = Client::of(&daemon, &key);
    let id = client.open();
    assert_eq!(
        client
            .declare(&id, "linux", &files(&[("releases/notes.txt", b"1")]))
            .status,
        200
    );
    let answer = client.declare(
        &id,
        "mac",
        &files(&[("releases/notes.txt", b"2"), ("releases/b", b"b")]),
    );
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert_eq!(
        (&answer.json()["path"], &answer.json()["jobs"]),
        (&json!("releases/notes.txt"), &json!(["linux", "mac"]))
    );
    assert_eq!(
        client
            .declare(&id, "mac", &files(&[("releases/notes.txt", b"1")]))
            .status,
        200
    );
    let answer = client.declare(&id, "mac", &files(&[("releases/notes.txt/x", b"1")]));
    assert_eq!(
        (answer.status, error(&answer).as_str()),
        (409, "Conflicting file paths")
    );
    // Nothing of a refused declaration stands.
    let shown = client
        .send("GET", &format!("/api/drafts/{id}"), &Value::Null)
        .json();
    let paths: Vec<&Value> = shown["files"]
        .as_array()
        .expect("files")
        .iter()
        .map(|file| &file["path"])
        .collect();
    assert_eq!(paths, ["releases/notes.txt", "releases/notes.txt"]);
}

#[test]
fn everything_that_speaks_against_a_draft_is_told_at_once_and_force_is_audited() {
    let daemon = daemon();
    let key = daemon.builder_key();
    let client = Client::of(&daemon, &key);
    assert_eq!(
        deploy(daemon.http, &key, &product("1.5.0", 100, 1)).status,
        200
    );
    let id = client.open();
    let broken = files(&[
        (
            "releases/darwin-arm64/latest-mac.yml",
            b"version: 1.4.0\nfiles:\n- url: gone.zip\n  sha512: QUJD\n",
        ),
        (
            "releases/darwin-arm64/Seance-1.5.0-arm64-mac.zip",
            b"other bytes",
        ),
    ]);
    client.fill(&id, "", &broken, PART).expect("answers");
    let answer = client.publish(&id).expect("an answer");
    assert_eq!(answer.status, 422, "{}", answer.text());
    let reasons: Vec<String> = answer.json()["reasons"]
        .as_array()
        .expect("reasons")
        .iter()
        .map(|reason| reason["message"].as_str().expect("a message").to_owned())
        .collect();
    for part in [
        "names `gone.zip`, which is not published",
        "lower than the published 1.5.0",
        "would change published bytes",
    ] {
        assert!(
            reasons.iter().any(|reason| reason.contains(part)),
            "{part}: {reasons:?}"
        );
    }
    let path = format!("/api/drafts/{id}/publish");
    let answer = client.send("POST", &path, &json!({"force": true}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.json()["warnings"]
            .as_array()
            .expect("warnings")
            .len(),
        reasons.len()
    );
    let audit =
        std::fs::read_to_string(daemon.state().join("audit/audit.jsonl")).expect("an audit");
    let deeds: Vec<(String, String, String)> = audit
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .filter(|deed: &Value| deed["action"] == "draft-publish" || deed["action"] == "draft-open")
        .map(|deed| {
            (
                deed["action"].to_string(),
                deed["result"].to_string(),
                deed["details"].to_string(),
            )
        })
        .collect();
    assert_eq!(deeds.len(), 3, "{deeds:?}");
    assert!(deeds[1].1.contains("DENIED"), "{deeds:?}");
    assert!(
        deeds[2].1.contains("SUCCESS") && deeds[2].2.contains("forced"),
        "{deeds:?}"
    );
}

#[test]
fn hostile_declarations_are_refused() {
    let daemon = daemon();
    let key = daemon.builder_key();
    let client = Client::of(&daemon, &key);
    let id = client.open();
    let hash = sha256(b"x");
    let declare = |file: Value| {
        client.send(
            "PUT",
            &format!("/api/drafts/{id}/files"),
            &json!({"files": [file]}),
        )
    };
    for path in ["../x", "/x", "a//b", "a\\b", ".seance/log/1", "", "a/../b"] {
        let answer = declare(json!({"path": path, "size": 1, "sha256": hash}));
        assert_eq!(
            (answer.status, error(&answer).as_str()),
            (400, "Invalid file path"),
            "{path}"
        );
        assert_eq!(answer.json()["path"], path);
    }
    for (size, sha256) in [
        (json!(-1), &hash[..]),
        (json!(1.5), &hash),
        (json!("1"), &hash),
        (json!(1), "ff"),
        (json!(1), "../../../etc/passwd"),
    ] {
        let answer = declare(json!({"path": "x", "size": size, "sha256": sha256}));
        assert_eq!(answer.status, 400, "{size} {sha256}");
    }
    let one = json!({"path": "x", "size": 1, "sha256": hash});
    let answer = client.send(
        "PUT",
        &format!("/api/drafts/{id}/files"),
        &json!({"files": [one, one]}),
    );
    assert_eq!(
        (answer.status, error(&answer).as_str()),
        (400, "Conflicting file paths")
    );
    let answer = declare(json!({"path": "x", "size": u64::MAX, "sha256": hash}));
    assert_eq!(
        (answer.status, error(&answer).as_str()),
        (413, "Draft too large")
    );
}

#[test]
fn hostile_uploads_and_part_numbers_are_refused() {
    let daemon = daemon();
    let key = daemon.builder_key();
    let client = Client::of(&daemon, &key);
    let id = client.open();
    let hash = sha256(b"x");
    assert_eq!(client.declare(&id, "", &files(&[("x", b"x")])).status, 200);
    for upload in [
        format!("{hash}-2"),
        format!("{hash}-01"),
        hash.to_uppercase() + "-1",
        "..".to_owned(),
        "x".to_owned(),
    ] {
        let part = client.part(&id, &upload, 1, b"x").expect("an answer");
        let complete = client.complete(&id, &upload).expect("an answer");
        assert_eq!((part.status, complete.status), (404, 404), "{upload}");
    }
    for n in ["-1", "x", "18446744073709551616", "1%2f..%2f2"] {
        let path = format!("/api/drafts/{id}/uploads/{hash}-1/parts/{n}");
        assert_eq!(
            client
                .try_send("PUT", &path, &[], b"x")
                .expect("an answer")
                .status,
            404,
            "{n}"
        );
    }
    let answer = client
        .part(&id, &format!("{hash}-1"), u64::MAX, b"x")
        .expect("an answer");
    assert_eq!(answer.status, 400);
    let wrong = Client {
        address: daemon.http,
        key: "wrong",
    };
    for answer in [
        wrong.send("POST", "/api/releases", &json!({})),
        wrong.declare(&id, "", &files(&[])),
        wrong.publish(&id).expect("an answer"),
    ] {
        assert_eq!(answer.status, 401);
    }
    let answer = client.send(
        "PUT",
        &format!("/api/drafts/{id}/files"),
        &json!({"job": "j".repeat(65), "files": []}),
    );
    assert_eq!(answer.status, 400);
    let answer = client.send(
        "POST",
        &format!("/api/drafts/{}/publish", client.open()),
        &json!({}),
    );
    assert_eq!(
        (answer.status, error(&answer).as_str()),
        (409, "The draft is empty")
    );
}

#[test]
fn a_key_with_paths_leaves_the_uploads_and_drafts_of_others_alone() {
    let config = format!(
        "[apps.default]\nbuilder_key_hashes = [\"{}\"]\n[[apps.default.keys]]\nhash = \"{}\"\n\
         paths = [\"releases/mac/\"]\n",
        key_hash("all"),
        key_hash("mac"),
    );
    let daemon = Builder::new().config(&config).start();
    let address = daemon.http;
    let (all, mac) = (
        Client {
            address,
            key: "all",
        },
        Client {
            address,
            key: "mac",
        },
    );
    let id = mac.open();
    let shared = ("releases/win/notes.txt", &b"both"[..]);
    let others = files(&[("releases/win/a.exe", b"theirs"), shared]);
    assert_eq!(all.declare(&id, "win", &others).status, 200);
    let own = files(&[("releases/mac/notes.txt", b"both")]);
    let theirs = format!("{}-6", sha256(b"theirs"));
    let of_both = format!("{}-4", sha256(b"both"));
    let part = |upload: &str| mac.part(&id, upload, 1, b"wrong!").expect("an answer");
    assert_eq!(part(&of_both).status, 403, "before it is declared");
    mac.fill(&id, "mac", &own, PART).expect("answers");
    for answer in [
        part(&theirs),
        mac.complete(&id, &theirs).expect("an answer"),
        mac.delete(&id),
    ] {
        assert_eq!(answer.status, 403, "{}", answer.text());
        assert!(
            answer.text().contains("releases/win/a.exe"),
            "{}",
            answer.text()
        );
    }
    all.fill(&id, "win", &others, PART).expect("answers");
    assert_eq!(all.publish(&id).expect("an answer").status, 200);
    assert_eq!(mac.delete(&mac.open()).status, 204);
}
