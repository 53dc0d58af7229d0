//! Drafts end: by their time, or because somebody said so; and what is left of them goes.

use serde_json::{Value, json};

use crate::drafts::daemon;
use crate::harness::draft::{Client, sha256};
use crate::harness::release::files;
use crate::harness::wait::wait_until;

#[test]
fn a_deleted_or_expired_draft_is_unknown() {
    let daemon = daemon();
    let key = daemon.builder_key();
    let client = Client {
        address: daemon.http,
        key: &key,
    };
    let id = client.open();
    assert_eq!(
        client
            .send("DELETE", &format!("/api/drafts/{id}"), &Value::Null)
            .status,
        204
    );
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
            client.send("DELETE", &format!("/api/drafts/{id}"), &Value::Null),
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
