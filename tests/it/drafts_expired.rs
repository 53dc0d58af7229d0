//! Drafts end: by their time, or because somebody said so; and what is left of them goes.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::drafts::{PART, daemon};
use crate::harness::Builder;
use crate::harness::draft::{Client, sha256};
use crate::harness::release::{StoreDirectory, files, served};
use crate::harness::wait::wait_until;

#[test]
fn a_deleted_or_expired_draft_is_unknown() {
    let daemon = daemon();
    let key = daemon.builder_key();
    let client = Client::of(&daemon, &key);
    let id = client.open();
    assert_eq!(client.delete(&id).status, 204);
    let brief = client
        .send("POST", "/api/releases", &json!({"expiresInSeconds": 1}))
        .json()["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    wait_until(
        "the draft expires",
        || {
            client
                .send("GET", &format!("/api/drafts/{brief}"), &Value::Null)
                .status
        },
        |status| *status == 404,
    );
    let never = "0199d3a7-c1f0-7b6e-8a52-e4f06d1c9b7e";
    let upload = format!("{}-1", sha256(b"x"));
    for id in [
        id.as_str(),
        &brief,
        never,
        "..",
        "%2e%2e",
        "x",
        "0199D3A7-C1F0-7B6E-8A52-E4F06D1C9B7E",
    ] {
        let calls = [
            client.send("GET", &format!("/api/drafts/{id}"), &Value::Null),
            client.delete(id),
            client.declare(id, "", &files(&[("x", b"x")])),
            client.part(id, &upload, 1, b"x").expect("an answer"),
            client.complete(id, &upload).expect("an answer"),
            client.publish(id).expect("an answer"),
        ];
        for answer in calls {
            assert_eq!(answer.status, 404, "{id}: {}", answer.text());
        }
    }
    for seconds in [json!(0), json!(700_000_000), json!(-1), json!("1")] {
        let answer = client.send(
            "POST",
            "/api/releases",
            &json!({"expiresInSeconds": seconds}),
        );
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
}

/// An id as it was given `days` ago.
pub fn id_of(days: u64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let then = now.expect("a time") - Duration::from_secs(days * 86_400);
    let ms = then.as_millis();
    format!(
        "{:08x}-{:04x}-7000-8000-00000000000{days}",
        ms >> 16,
        ms & 0xffff
    )
}

/// Turns the draft `id` of a stopped daemon into one that was opened under the id `new`, and expires at another time.
fn rewrite(store: &Path, id: &str, new: &str, expires: Option<&str>) {
    let head = |id: &str| store.join(format!(".seance/drafts/heads/default/{id}.json"));
    let text = std::fs::read_to_string(head(id)).expect("a head");
    let mut text: Value = serde_json::from_str(&text).expect("JSON");
    text["id"] = json!(new);
    if let Some(expires) = expires {
        text["expires"] = json!(expires);
    }
    std::fs::remove_file(head(id)).expect("it goes");
    std::fs::write(head(new), text.to_string()).expect("it is written");
    for above in [".seance/drafts", ".seance/content"] {
        if store.join(above).join(id).exists() && id != new {
            let moved = std::fs::rename(store.join(above).join(id), store.join(above).join(new));
            moved.expect("it moves");
        }
    }
}

fn anything_below(directory: &Path) -> bool {
    let found = Command::new("find")
        .arg(directory)
        .args(["-type", "f"])
        .output();
    !found.expect("find runs").stdout.is_empty()
}

/// One that was published with a file replaced before, one with a whole upload and half of one, one that can be published.
fn drafts(client: &Client<'_>) -> [String; 3] {
    let published = client.open();
    let kept = files(&[("releases/kept.bin", b"kept")]);
    client
        .fill(
            &published,
            "",
            &files(&[("releases/kept.bin", b"replaced")]),
            PART,
        )
        .expect("answers");
    client.fill(&published, "", &kept, PART).expect("answers");
    assert_eq!(client.publish(&published).expect("an answer").status, 200);
    let left = client.open();
    client
        .fill(&left, "", &files(&[("releases/gone.bin", b"gone")]), PART)
        .expect("answers");
    let half = files(&[("releases/half.bin", &[1; PART + 1][..])]);
    let upload = client.upload(&left, "", &half);
    assert_eq!(
        client
            .part(&left, &upload, 2, &[1])
            .expect("an answer")
            .status,
        204
    );
    let young = client.open();
    client
        .fill(
            &young,
            "",
            &files(&[("releases/young.bin", b"young")]),
            PART,
        )
        .expect("answers");
    [published, left, young]
}

#[test]
fn what_is_left_of_expired_drafts_goes_and_what_they_published_stays() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let start = || {
        Builder::at(home.path())
            .env("SEANCE_DRAFTS__PART_BYTES", &PART.to_string())
            .start()
    };
    let daemon = start();
    let key = daemon.builder_key();
    let client = Client::of(&daemon, &key);
    let [published, left, young] = drafts(&client);
    daemon.stop();
    let store = StoreDirectory::of(home.path());
    let stray = store
        .0
        .join(format!(".seance/drafts/{}/parts/x/00001", id_of(9)));
    std::fs::create_dir_all(stray.parent().expect("a directory")).expect("a directory");
    std::fs::write(&stray, b"stray").expect("a part without a draft");
    for id in [&published, &left] {
        rewrite(&store.0, id, id, Some("2026-01-01T00:00:00Z"));
    }

    let daemon = start();
    let client = Client::of(&daemon, &key);
    wait_until(
        "nothing is left of them",
        || {
            let below = |id: &str| anything_below(&store.0.join(".seance/drafts").join(id));
            let heads = store.names(".seance/drafts/heads/default");
            (heads, below(&published) || below(&left) || stray.exists())
        },
        |(heads, any)| heads.len() == 1 && !any,
    );
    assert!(!anything_below(
        &store.0.join(".seance/content").join(&left)
    ));
    assert_eq!(
        store.names(&format!(".seance/content/{published}")).len(),
        1
    );
    assert_eq!(
        served(daemon.http, "releases/kept.bin"),
        Some(b"kept".to_vec())
    );
    store.truth();
    assert_eq!(client.publish(&young).expect("an answer").status, 200);
    let answer = client.publish(&published).expect("an answer");
    assert_eq!(answer.json()["record"], 1, "its record outlives the draft");
}

#[test]
fn the_content_of_a_draft_that_is_open_for_days_stays() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let daemon = Builder::at(home.path()).start();
    let key = daemon.builder_key();
    let client = Client::of(&daemon, &key);
    let id = client.open();
    let release = files(&[("releases/a.bin", b"a"), ("releases/b.bin", b"b")]);
    client.fill(&id, "", &release, PART).expect("answers");
    daemon.stop();
    let store = StoreDirectory::of(home.path());
    let old = id_of(5);
    rewrite(&store.0, &id, &old, None);
    // Of a deploy that came to nothing, younger than the draft.
    let leftover = store.0.join(format!(".seance/content/{}/0", id_of(4)));
    std::fs::create_dir_all(leftover.parent().expect("a directory")).expect("a directory");
    std::fs::write(&leftover, b"x").expect("a leftover");

    let daemon = Builder::at(home.path()).start();
    wait_until(
        "leftovers are collected",
        || leftover.exists(),
        |there| !there,
    );
    let client = Client::of(&daemon, &key);
    let answer = client.publish(&old).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(store.truth(), release);
    assert_eq!(served(daemon.http, "releases/b.bin"), Some(b"b".to_vec()));
}

/// Writes an object into the store of a stopped daemon.
pub fn put(store: &Path, key: &str, content: &[u8]) {
    let path = store.join(key);
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    std::fs::write(path, content).expect("an object");
}

/// A draft that expired so many hours ago, as its objects lie in the store; the key of its content.
fn expired(store: &Path, id: &str, hours: i64) -> String {
    let now = jiff::Timestamp::now();
    let expires = now - jiff::SignedDuration::from_hours(hours);
    let head = json!({ "id": id, "app": "default", "prefix": "prod", "actor": { "key": "k", "address": "" },
        "created": expires, "expires": expires, "part_bytes": PART });
    let key = format!(".seance/drafts/heads/default/{id}.json");
    put(store, &key, head.to_string().as_bytes());
    put(
        store,
        &format!(".seance/drafts/{id}/declared/0001.json"),
        b"{}",
    );
    let content = format!(".seance/content/{id}/0");
    put(store, &content, b"content");
    content
}

#[test]
fn what_may_yet_be_published_or_cannot_be_read_is_let_be() {
    let home = tempfile::tempdir().expect("a temporary directory");
    Builder::at(home.path()).start().stop();
    let store = StoreDirectory::of(home.path());
    let old = expired(&store.0, &id_of(3), 25);
    let late = expired(&store.0, &id_of(4), 23);
    let unread = id_of(5);
    let damaged = expired(&store.0, &unread, 25);
    let head = format!(".seance/drafts/heads/default/{unread}.json");
    put(&store.0, &head, b"{\"id\":");
    let young = format!(".seance/drafts/{}/parts/x/00001", id_of(0));
    put(&store.0, &young, b"a part whose draft is not listed yet");
    let foreign = ".seance/drafts/README/x";
    put(&store.0, foreign, b"not ours");

    let daemon = Builder::at(home.path()).start();
    wait_until(
        "the round is over",
        || daemon.log(),
        |log| log.contains("deleted what was left of drafts"),
    );
    assert!(!store.has(&old));
    for kept in [&late, &damaged, &head, &young, foreign] {
        assert!(store.has(kept), "{kept}");
    }
}

#[test]
fn a_draft_of_any_size_goes_whole() {
    let home = tempfile::tempdir().expect("a temporary directory");
    Builder::at(home.path()).start().stop();
    let store = StoreDirectory::of(home.path());
    let id = id_of(3);
    expired(&store.0, &id, 25);
    for n in 1..1500 {
        put(&store.0, &format!(".seance/content/{id}/{n}"), b"x");
        put(
            &store.0,
            &format!(".seance/drafts/{id}/parts/x/{n:05}"),
            b"x",
        );
    }
    let daemon = Builder::at(home.path()).start();
    let left = || {
        let heads = store.names(".seance/drafts/heads/default").len();
        let content = store.names(&format!(".seance/content/{id}")).len();
        let parts = store.names(&format!(".seance/drafts/{id}/parts/x")).len();
        (heads, content, parts)
    };
    wait_until("all of it goes", left, |left| *left == (0, 0, 0));
    drop(daemon);
}
