//! `POST /deploy` on the wire: what clients of the contract see, and what hostile senders get.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::http::{Answer, Connection, get, head, request};
use crate::harness::{Builder, Daemon};

const KEY_HASH_OF_SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

fn post(daemon: &Daemon, extra: &[(&str, &str)], body: &[u8]) -> Answer {
    let key = daemon.builder_key();
    let mut headers = vec![
        ("X-Builder-Key", key.as_str()),
        ("Content-Type", "application/json"),
    ];
    headers.extend(extra);
    request(daemon.http, "POST", "/deploy", &headers, body)
}

fn body(files: &[(&str, &[u8])]) -> Vec<u8> {
    let entry = |(path, content): &(&str, &[u8])| json!({ "path": path, "content": base64_simd::STANDARD.encode_to_string(content) });
    json!({ "files": files.iter().map(entry).collect::<Vec<Value>>() })
        .to_string()
        .into_bytes()
}

/// Status and error of a refusal, after a check of what every refusal has.
#[track_caller]
fn refusal(answer: &Answer) -> (u16, String) {
    let body = answer.json();
    assert_eq!(
        answer.header("content-type"),
        Some("application/json"),
        "{answer:?}"
    );
    assert_eq!(
        body["id"].as_str(),
        answer.header("x-request-id"),
        "{answer:?}"
    );
    (
        answer.status,
        body["error"].as_str().unwrap_or_default().to_owned(),
    )
}

#[track_caller]
fn refused(answer: &Answer, status: u16, error: &str) {
    assert_eq!(
        refusal(answer),
        (status, error.to_owned()),
        "{}",
        answer.text()
    );
}

#[test]
fn the_answer_is_the_contracts_and_more() {
    let daemon = Builder::new().start();
    let answer = post(
        &daemon,
        &[],
        &body(&[("releases/a b+c.txt", b"hello\n"), ("test/file1.txt", b"")]),
    );
    let text = answer.text();
    assert_eq!(answer.status, 200, "{text}");
    let answer = answer.json();
    assert_eq!(
        (&answer["success"], &answer["filesDeployed"]),
        (&json!(true), &json!(2)),
        "{text}"
    );
    let file = &answer["files"][0];
    assert_eq!(file["path"], "releases/a b+c.txt");
    assert_eq!(file["url"], "/prod/releases/a%20b%2Bc.txt");
    assert_eq!(file["size"], 6);
    assert_eq!(
        file["sha256"],
        "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    );
    assert_eq!(file["sha512"].as_str().map(str::len), Some(128));
    assert_eq!(answer["files"][1]["size"], 0);
    assert_eq!(answer["warnings"], json!([]));
    assert!(
        answer["id"].as_str().is_some_and(|id| id.len() == 36),
        "{text}"
    );
    assert!(
        answer["timestamp"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z')),
        "{text}"
    );
    assert_eq!(
        get(daemon.http, "/prod/releases/a%20b%2Bc.txt").body,
        b"hello\n"
    );
    assert_eq!(get(daemon.http, "/prod/test/file1.txt").status, 200);
}

#[test]
fn no_files_are_a_success_with_none() {
    let daemon = Builder::new().start();
    let answer = post(&daemon, &[], b"{\"files\":[]}");
    assert_eq!(
        (answer.status, answer.json()["filesDeployed"].clone()),
        (200, json!(0))
    );
}

#[test]
fn a_cdn_endpoint_is_the_base_of_the_urls() {
    let config = format!(
        "[apps.default]\ncdn_endpoint = \"https://cdn.example/\"\nprefix = \"team/x\"\nbuilder_key_hashes = [\"{KEY_HASH_OF_SECRET}\"]\n"
    );
    let daemon = Builder::new().config(&config).start();
    let headers = [
        ("Authorization", "Bearer secret"),
        ("Content-Type", "application/json; charset=utf-8"),
    ];
    let answer = request(
        daemon.http,
        "POST",
        "/deploy",
        &headers,
        &body(&[("web/ä.css", b"x")]),
    );
    assert_eq!(
        answer.json()["files"][0]["url"],
        "https://cdn.example/team/x/web/%C3%A4.css",
        "{}",
        answer.text()
    );
}

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
    let config = format!("[apps.default]\nbuilder_key_hashes = [\"{KEY_HASH_OF_SECRET}\"]\n");
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
fn one_who_waits_to_be_told_to_continue_is_answered_before_a_byte_of_the_body() {
    let daemon = Builder::new().start();
    let body = body(&[("releases/x.txt", b"x")]);
    let key = daemon.builder_key();
    let expect = |key: &str| {
        let mut connection = Connection::open(daemon.http);
        let headers = [
            ("X-Builder-Key", key),
            ("Content-Type", "application/json"),
            ("Expect", "100-continue"),
        ];
        connection.send(&head("POST", "/deploy", &headers, Some(body.len())));
        connection
    };
    refused(&expect("wrong").answer(true), 401, "Invalid builder key");
    let mut connection = expect(&key);
    assert_eq!(connection.answer(true).status, 100);
    connection.send(&body);
    assert_eq!(connection.answer(true).status, 200);
}

#[test]
fn only_json_is_taken_compressed_or_not() {
    use std::io::Write as _;
    let daemon = Builder::new().start();
    let key = daemon.builder_key();
    let plain = body(&[("releases/x.txt", b"hello")]);
    let send = |content_type: &str, coding: &str, body: &[u8]| {
        let headers = [
            ("X-Builder-Key", key.as_str()),
            ("Content-Type", content_type),
            ("Content-Encoding", coding),
        ];
        request(daemon.http, "POST", "/deploy", &headers, body)
    };
    refused(
        &send("text/plain", "identity", &plain),
        415,
        "Content-Type must be application/json",
    );
    for content_type in [
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/json; x=y; Charset=\"latin1\"",
    ] {
        refused(
            &send(content_type, "identity", &plain),
            415,
            "Content-Type must be application/json",
        );
    }
    let quoted = send("Application/JSON;charset=\"UTF-8\"", "identity", &plain);
    assert_eq!(quoted.status, 200, "{}", quoted.text());
    refused(
        &send("application/json", "br", &plain),
        415,
        "Content-Encoding must be gzip, zstd or identity",
    );
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&plain).expect("gzip");
    assert_eq!(
        send("application/json", "gzip", &gzip.finish().expect("gzip")).status,
        200
    );
    let zstd = zstd::encode_all(plain.as_slice(), 1).expect("zstd");
    assert_eq!(send("application/json", "zstd", &zstd).status, 200);
    refused(
        &send("application/json", "gzip", &plain),
        400,
        "Invalid compression",
    );
}

#[test]
fn a_body_over_a_limit_is_told_the_limit() {
    let daemon = Builder::new()
        .env("SEANCE_DEPLOY__MAX_BODY_BYTES", "2000")
        .env("SEANCE_DEPLOY__MAX_FILES", "2")
        .start();
    let declared = post(&daemon, &[], &body(&[("releases/big.bin", &[0; 3000])]));
    refused(&declared, 413, "Body too large");
    assert_eq!(declared.json()["limitBytes"], 2000);
    let mut connection = Connection::open(daemon.http);
    let key = daemon.builder_key();
    let headers = [
        ("X-Builder-Key", key.as_str()),
        ("Content-Type", "application/json"),
        ("Transfer-Encoding", "chunked"),
    ];
    connection.send(&head("POST", "/deploy", &headers, None));
    let chunk = format!(
        "{:x}\r\n{{\"files\":[{}]}}\r\n0\r\n\r\n",
        3000 + 12,
        " ".repeat(3000)
    );
    let _sent = connection.try_send(chunk.as_bytes()); // it may be refused before its end
    refused(&connection.answer(true), 413, "Body too large");
    let files = post(&daemon, &[], &body(&[("a", b""), ("b", b""), ("c", b"")]));
    refused(&files, 413, "Body too large");
    assert!(
        files.text().contains("limit of 2 files"),
        "{}",
        files.text()
    );
}

#[test]
fn hostile_bodies_are_refused_with_the_place_and_publish_nothing() {
    let daemon = Builder::new().start();
    let cases: [(&[u8], u16, &str); 15] = [
        (b"", 400, "Invalid JSON"),
        (b"<html>", 400, "Invalid JSON"),
        (b"[]", 400, "Invalid body"),
        (b"{}", 400, "Invalid body"),
        (b"{\"files\":[]}x", 400, "Invalid JSON"),
        (b"{\"files\":[],\"files\":[]}", 400, "Invalid body"),
        (b"{\"files\":[{\"path\":\"releases/x\"}]}", 400, "Invalid body"),
        (b"{\"files\":[{\"path\":\"../x\",\"content\":\"\"}]}", 400, "Invalid file path"),
        (b"{\"files\":[{\"path\":\"/x\",\"content\":\"\"}]}", 400, "Invalid file path"),
        (b"{\"files\":[{\"path\":\"a\\u0000\",\"content\":\"\"}]}", 400, "Invalid file path"),
        (b"{\"files\":[{\"path\":\".seance/x\",\"content\":\"\"}]}", 400, "Invalid file path"),
        (b"{\"files\":[{\"path\":\"x\",\"content\":\"!\"}]}", 400, "Invalid base64"),
        (b"{\"files\":[{\"path\":\"ok\",\"content\":\"\"},{\"path\":\"x\",\"content\":\"Zg\\u003d", 400, "Invalid JSON"),
        (b"{\"files\":[{\"path\":\"x\",\"content\":\"\"},{\"path\":\"x\",\"content\":\"\"}]}", 400, "Conflicting file paths"),
        (b"{\"files\":[{\"path\":\"x\",\"content\":\"\"},{\"path\":\"x/y\",\"content\":\"\"}]}", 400, "Conflicting file paths"),
    ];
    for (body, status, error) in cases {
        let answer = post(&daemon, &[], body);
        refused(&answer, status, error);
        let details = answer.json();
        assert!(
            details["offset"].is_u64()
                && details["line"].is_u64()
                && details["message"].is_string(),
            "{details}"
        );
    }
    assert_eq!(get(daemon.http, "/health").json()["release"], 0);
    assert_eq!(get(daemon.http, "/prod/ok").status, 404);
}

#[test]
fn a_sender_that_stalls_is_told_so_and_one_that_goes_away_publishes_nothing() {
    let daemon = Builder::new()
        .env("SEANCE_DEPLOY__STALL_TIMEOUT_SECONDS", "1")
        .start();
    let key = daemon.builder_key();
    let headers = [
        ("X-Builder-Key", key.as_str()),
        ("Content-Type", "application/json"),
    ];
    let begun = || {
        let mut connection = Connection::open(daemon.http);
        connection.send(&head("POST", "/deploy", &headers, Some(1000)));
        connection.send(b"{\"files\":[{\"path\":\"x\",\"content\":\"aGVs");
        connection
    };
    refused(&begun().answer(true), 408, "The body stopped arriving");
    drop(begun());
    assert_eq!(post(&daemon, &[], &body(&[("y", b"")])).status, 200);
    assert_eq!(get(daemon.http, "/health").json()["release"], 1);
    assert_eq!(get(daemon.http, "/prod/x").status, 404);
}

#[test]
fn a_repeated_request_gets_the_first_answer() {
    let daemon = Builder::new().start();
    let files = body(&[("releases/x.txt", b"x")]);
    let first = post(&daemon, &[("Idempotency-Key", "build-7")], &files);
    let second = post(&daemon, &[("Idempotency-Key", "build-7")], &files);
    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!(first.json(), second.json());
    assert_eq!(
        (
            first.header("idempotency-replayed"),
            second.header("idempotency-replayed")
        ),
        (None, Some("true"))
    );
    let other = post(
        &daemon,
        &[("Idempotency-Key", "build-7")],
        &body(&[("releases/x.txt", b"y")]),
    );
    refused(&other, 422, "Idempotency-Key was used for another deploy");
    refused(
        &post(&daemon, &[("Idempotency-Key", "ä")], &files),
        400,
        "Idempotency-Key must be 1 to 255 visible ASCII characters",
    );
}

#[test]
fn changed_bytes_under_a_versioned_name_need_force() {
    let daemon = Builder::new().start();
    assert_eq!(
        post(&daemon, &[], &body(&[("releases/S-1.0.0.zip", b"1")])).status,
        200
    );
    let changed = body(&[("releases/S-1.0.0.zip", b"2")]);
    let answer = post(&daemon, &[], &changed);
    refused(&answer, 409, "Published files would change");
    assert_eq!(answer.json()["paths"], json!(["releases/S-1.0.0.zip"]));
    let key = daemon.builder_key();
    let headers = [
        ("X-Builder-Key", key.as_str()),
        ("Content-Type", "application/json"),
    ];
    assert_eq!(
        request(
            daemon.http,
            "POST",
            "/deploy?force=true",
            &headers,
            &changed
        )
        .status,
        200
    );
    assert_eq!(get(daemon.http, "/updates/S-1.0.0.zip").body, b"2");
    refused(
        &request(
            daemon.http,
            "POST",
            "/deploy?force=perhaps",
            &headers,
            &changed,
        ),
        400,
        "Invalid query",
    );
}

#[test]
fn manifests_with_faults_warn_or_are_refused() {
    let faulty = body(&[(
        "releases/darwin-arm64/latest-mac.yml",
        b"version: 2026.01.000\n",
    )]);
    let daemon = Builder::new().start();
    let answer = post(&daemon, &[], &faulty);
    assert_eq!(answer.status, 200);
    assert!(
        answer.json()["warnings"][0]["message"].is_string(),
        "{}",
        answer.text()
    );
    let strict = Builder::new().env("SEANCE_DEPLOY__LINT", "enforce").start();
    let answer = post(&strict, &[], &faulty);
    refused(&answer, 422, "Faulty manifests");
    assert!(
        answer.json()["reasons"][0]["message"].is_string(),
        "{}",
        answer.text()
    );
}

#[test]
fn every_deed_is_in_the_audit_once() {
    let daemon = Builder::new().start();
    let done = post(&daemon, &[], &body(&[("x", b"")]));
    post(&daemon, &[], b"nonsense");
    let audit =
        std::fs::read_to_string(daemon.state().join("audit/audit.jsonl")).expect("an audit");
    let records: Vec<Value> = audit
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let results: Vec<&str> = records
        .iter()
        .filter_map(|record| record["result"].as_str())
        .collect();
    assert_eq!(results, ["SUCCESS", "DENIED"], "{audit}");
    assert_eq!(records[0]["action"], "deploy");
    assert_eq!(records[0]["request"].as_str(), done.header("x-request-id"));
    assert_eq!(
        records[0]["actor"]["key"].as_str().map(str::len),
        Some(8),
        "{audit}"
    );
    assert!(
        records[0]["resource"]
            .as_str()
            .is_some_and(|r| r.ends_with(done.json()["id"].as_str().unwrap_or("?"))),
        "{audit}"
    );
    assert!(!audit.contains(&daemon.builder_key()));
}

#[test]
fn another_app_deploys_under_its_name_and_on_its_host() {
    let config = format!(
        "[apps.default]\nbuilder_key_hashes = []\n[apps.second]\nhosts = [\"second.example\"]\nbuilder_key_hashes = [\"{KEY_HASH_OF_SECRET}\"]\n"
    );
    let daemon = Builder::new().config(&config).start();
    let send = |path: &str, host: &str, name: &str| {
        let headers = [
            ("Host", host),
            ("X-Builder-Key", "secret"),
            ("Content-Type", "application/json"),
        ];
        request(
            daemon.http,
            "POST",
            path,
            &headers,
            &body(&[(&format!("releases/{name}"), b"second")]),
        )
        .status
    };
    assert_eq!(send("/apps/second/deploy", "localhost", "by-name.txt"), 200);
    assert_eq!(send("/deploy", "Second.Example:8080", "by-host.txt"), 200);
    assert_eq!(send("/deploy", "localhost", "x.txt"), 403);
    assert_eq!(send("/apps/third/deploy", "localhost", "x.txt"), 404);
    let on_host =
        |path: &str| request(daemon.http, "GET", path, &[("Host", "second.example")], b"").status;
    assert_eq!(
        (
            on_host("/updates/by-name.txt"),
            on_host("/updates/by-host.txt")
        ),
        (200, 200)
    );
    let status = |path: &str| get(daemon.http, path).status;
    assert_eq!(status("/apps/second/updates/by-host.txt"), 200);
    assert_eq!(status("/second/releases/by-host.txt"), 200);
    assert_eq!(status("/updates/by-host.txt"), 404);
}
