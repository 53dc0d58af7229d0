//! The limits of drafts: how many are open, how much is in one, and how many parts are received at a time.

use std::io::Read as _;

use serde_json::json;

use crate::drafts::{PART, error};
use crate::harness::Builder;
use crate::harness::draft::Client;
use crate::harness::http::{Connection, head};
use crate::harness::release::files;
use crate::harness::wait::wait_until;

#[test]
fn drafts_that_are_opened_at_once_are_counted() {
    let daemon = Builder::new().env("SEANCE_DRAFTS__MAX_OPEN", "2").start();
    let key = daemon.builder_key();
    let client = Client::of(&daemon, &key);
    let opened = std::thread::scope(|scope| {
        let open = || client.send("POST", "/api/releases", &json!({})).status;
        let threads: Vec<_> = (0..12).map(|_| scope.spawn(open)).collect();
        let statuses = threads
            .into_iter()
            .map(|thread| thread.join().expect("a status"));
        statuses.filter(|status| *status == 201).count()
    });
    assert_eq!(opened, 2);
}

#[test]
fn the_limits_of_drafts_are_kept() {
    let daemon = Builder::new()
        .env("SEANCE_DRAFTS__MAX_OPEN", "2")
        .env("SEANCE_DRAFTS__MAX_FILES", "2")
        .env("SEANCE_DRAFTS__EXPIRE_SECONDS", "60")
        .start();
    let key = daemon.builder_key();
    let client = Client::of(&daemon, &key);
    let answer = client.send("POST", "/api/releases", &json!({"expiresInSeconds": 61}));
    assert_eq!(answer.status, 400);
    let first = client.open();
    let second = client.open();
    let answer = client.send("POST", "/api/releases", &json!({}));
    assert_eq!(
        (answer.status, &answer.json()["limit"]),
        (409, &json!(2)),
        "{}",
        answer.text()
    );
    let two = files(&[("a", b"a"), ("b", b"a")]);
    client.fill(&first, "mac", &two, PART).expect("answers");
    for (job, more) in [("mac", &files(&[("c", b"a")])), ("win", &two)] {
        let answer = client.declare(&first, job, more);
        assert_eq!(
            (answer.status, error(&answer).as_str()),
            (413, "Draft too large"),
            "{job}"
        );
    }
    assert_eq!(client.publish(&first).expect("an answer").status, 200);
    client.open();
    assert_eq!(client.delete(&second).status, 204);
    client.open();
}

#[test]
fn parts_beyond_those_in_flight_wait_and_are_told_to_come_back() {
    let daemon = Builder::new()
        .env("SEANCE_DRAFTS__PARTS_IN_FLIGHT", "1")
        .env("SEANCE_DEPLOY__STALL_TIMEOUT_SECONDS", "2")
        .start();
    let key = daemon.builder_key();
    let client = Client::of(&daemon, &key);
    let id = client.open();
    let declared = client.declare(&id, "", &files(&[("a", &[1; 60_000]), ("b", &[2; 1000])]));
    let declared = declared.json();
    let upload = |n: usize| {
        let upload = declared["files"][n]["upload"].as_str();
        upload.expect("an upload").to_owned()
    };
    let path = format!("/api/drafts/{id}/uploads/{}/parts/1", upload(0));
    let mut slow = Connection::open(daemon.http);
    let headers = [("X-Builder-Key", &*key), ("Expect", "100-continue")];
    slow.send(&head("PUT", &path, &headers, Some(60_000)));
    let mut told = [0; 25];
    let mut stream = slow.stream();
    stream.read_exact(&mut told).expect("it has its turn");
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    let other = upload(1);
    // Answered after two seconds; until then the slow one stays alive by a byte now and then.
    let answer = std::thread::scope(|scope| {
        let other = scope.spawn(|| client.part(&id, &other, 1, &[2; 1000]).expect("an answer"));
        wait_until(
            "the other part is answered",
            || {
                slow.send(&[1]);
                other.is_finished()
            },
            |finished| *finished,
        );
        other.join().expect("an answer")
    });
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    drop(slow);
    wait_until(
        "there is room again",
        || {
            client
                .part(&id, &other, 1, &[2; 1000])
                .map(|answer| answer.status)
        },
        |status| *status == Some(204),
    );
}
