//! The builder key of `POST /deploy`: who has none is told so in the contract's words, and guessing is slow.

use std::time::{Duration, Instant};

use crate::deploy_http::{post, refused};
use crate::harness::http::{Connection, head, request};
use crate::harness::{Builder, key_hash};

#[test]
fn keys_are_refused_in_the_contracts_words() {
    let daemon = Builder::new().start();
    let send = |headers: &[(&str, &str)]| request(daemon.http, "POST", "/deploy", headers, b"{}");
    refused(&send(&[]), 401, "Missing builder key");
    refused(&send(&[("X-Builder-Key", "")]), 401, "Missing builder key");
    refused(
        &send(&[("Authorization", "Basic c2VjcmV0")]),
        401,
        "Missing builder key",
    );
    let wrong = send(&[("X-Builder-Key", "wrong")]);
    refused(&wrong, 401, "Invalid builder key");
    assert!(wrong.header("www-authenticate").is_some());
}

#[test]
fn a_reload_gives_a_guesser_no_new_attempts() {
    let config = format!(
        "[apps.default]\nbuilder_key_hashes = [\"{}\"]\n",
        key_hash("secret")
    );
    let daemon = Builder::new()
        .config(&config)
        .env("SEANCE_DEPLOY__FAILED_KEYS_PER_MINUTE", "1")
        .start();
    let wrong = || {
        let headers = [("X-Builder-Key", "wrong")];
        request(daemon.http, "POST", "/deploy", &headers, b"{}").status
    };
    assert_eq!(wrong(), 401);
    daemon.reload(&config);
    assert_eq!(wrong(), 429);
}

#[test]
fn wrong_keys_are_slowed_down_and_a_valid_one_never_is() {
    let daemon = Builder::new()
        .env("SEANCE_DEPLOY__FAILED_KEYS_PER_MINUTE", "3")
        .start();
    let wrong = || {
        request(
            daemon.http,
            "POST",
            "/deploy",
            &[("X-Builder-Key", "wrong")],
            b"{}",
        )
    };
    for _ in 0..3 {
        refused(&wrong(), 401, "Invalid builder key");
    }
    let slowed = wrong();
    refused(&slowed, 429, "Too many invalid builder keys");
    let retry = slowed
        .header("retry-after")
        .and_then(|seconds| seconds.parse::<u64>().ok());
    assert!(
        retry.is_some_and(|seconds| (1..=61).contains(&seconds)),
        "{slowed:?}"
    );
    assert_eq!(post(&daemon, &[], b"{\"files\":[]}").status, 200);
}

#[test]
fn without_keys_deploys_are_off() {
    let daemon = Builder::new().config("").start();
    refused(
        &request(
            daemon.http,
            "POST",
            "/deploy",
            &[("X-Builder-Key", "x")],
            b"{}",
        ),
        403,
        "Deploys are switched off: no builder key is configured",
    );
}

#[test]
fn an_unauthenticated_sender_sees_the_answer_whatever_it_declared() {
    let daemon = Builder::new().start();
    for length in [1 << 20, 1 << 40] {
        let mut connection = Connection::open(daemon.http);
        let started = Instant::now();
        connection.send(&head(
            "POST",
            "/deploy",
            &[("X-Builder-Key", "wrong")],
            Some(length),
        ));
        let mut sent = 0;
        // What fits: the daemon hangs up in its own time, and the answer must still be readable after that.
        while sent < 1 << 20 && connection.try_send(&[b' '; 16 * 1024]).is_ok() {
            sent += 16 * 1024;
        }
        refused(&connection.answer(true), 401, "Invalid builder key");
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn a_request_without_a_valid_key_takes_less_than_64_kib() {
    let daemon = Builder::new().start();
    let headers = [
        ("X-Builder-Key", "wrong"),
        ("Content-Type", "application/json"),
    ];
    let mut open = Vec::new();
    let mut refuse = |count: u64| {
        for _ in 0..count {
            let mut connection = Connection::open(daemon.http);
            let declared = Some(400_000_000_000);
            connection.send(&head("POST", "/deploy", &headers, declared));
            // Some of the body is on its way before the answer is.
            let _refused = connection.try_send(&[b' '; 64 * 1024]);
            let answer = connection.answer(true);
            assert!(matches!(answer.status, 401 | 429), "{}", answer.text());
            open.push(connection);
        }
        daemon.memory_kib()
    };
    // What the first ones take once for all is no one's cost.
    let before = refuse(100);
    let each = refuse(300).saturating_sub(before) / 300;
    assert!(each < 64, "{each} KiB each");
}
