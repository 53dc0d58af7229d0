//! `POST /deploy` on the wire: what clients of the contract see, and what hostile senders get.

use serde_json::{Value, json};

use crate::harness::http::{Answer, Connection, get, head, request};
use crate::harness::{Builder, Daemon, key_hash};

pub fn post(daemon: &Daemon, extra: &[(&str, &str)], body: &[u8]) -> Answer {
    let key = daemon.builder_key();
    let mut headers = vec![
        ("X-Builder-Key", key.as_str()),
        ("Content-Type", "application/json"),
    ];
    headers.extend(extra);
    request(daemon.http, "POST", "/deploy", &headers, body)
}

pub fn body(files: &[(&str, &[u8])]) -> Vec<u8> {
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
pub fn refused(answer: &Answer, status: u16, error: &str) {
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
        "[apps.default]\ncdn_endpoint = \"https://cdn.example/\"\nprefix = \"team/x\"\nbuilder_key_hashes = [\"{}\"]\n",
        key_hash("secret")
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
    for query in ["?force=true", "?rollout=10"] {
        let key = daemon.builder_key();
        let headers = [
            ("X-Builder-Key", key.as_str()),
            ("Content-Type", "application/json"),
            ("Idempotency-Key", "build-7"),
        ];
        let path = format!("/deploy{query}");
        let other = request(daemon.http, "POST", &path, &headers, &files);
        refused(&other, 422, "Idempotency-Key was used for another deploy");
    }
    refused(
        &post(&daemon, &[("Idempotency-Key", "ä")], &files),
        400,
        "Idempotency-Key must be 1 to 255 visible ASCII characters",
    );
}

#[test]
fn a_request_that_is_still_running_is_not_begun_again() {
    let daemon = Builder::new().start();
    let files = body(&[("releases/x.txt", b"x")]);
    let key = daemon.builder_key();
    let headers = [
        ("X-Builder-Key", key.as_str()),
        ("Content-Type", "application/json"),
        ("Idempotency-Key", "build-7"),
        ("Expect", "100-continue"),
    ];
    let mut first = Connection::open(daemon.http);
    first.send(&head("POST", "/deploy", &headers, Some(files.len())));
    assert_eq!(first.answer(false).status, 100);
    let (begin, rest) = files.split_at(files.len() / 2);
    first.send(begin);
    let again = || post(&daemon, &[("Idempotency-Key", "build-7")], &files);
    let running = "A deploy with this Idempotency-Key is running";
    refused(&again(), 409, running);
    let other = post(&daemon, &[("Idempotency-Key", "build-8")], &files);
    assert_eq!(other.status, 200, "{}", other.text());
    first.send(rest);
    let first = first.answer(true);
    assert_eq!(first.status, 200, "{}", first.text());
    let replayed = again();
    assert_eq!(replayed.json(), first.json());
    assert_eq!(replayed.header("idempotency-replayed"), Some("true"));
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
        "[apps.default]\nbuilder_key_hashes = []\n[apps.second]\nhosts = [\"second.example\"]\nbuilder_key_hashes = [\"{}\"]\n",
        key_hash("secret")
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

#[test]
fn a_parameter_that_nothing_reads_is_refused_by_its_name() {
    let daemon = Builder::new().start();
    let key = daemon.builder_key();
    let headers = [
        ("X-Builder-Key", key.as_str()),
        ("Content-Type", "application/json"),
    ];
    let files = body(&[("releases/n.txt", b"1")]);
    for (method, path, body, name) in [
        ("POST", "/deploy?forse=true", &files[..], "forse"),
        ("POST", "/deploy?force=true&rolout=10", &files, "rolout"),
        ("POST", "/apps/default/deploy?rolout=10", &files, "rolout"),
        ("POST", "/api/releases/prune?dryRun=true", b"{}", "dryRun"),
        ("POST", "/api/releases/rollback?to=1", b"{\"to\":1}", "to"),
        ("POST", "/api/drafts/x/publish?rollout=10", b"{}", "rollout"),
        ("DELETE", "/apps/default/api/drafts/x?dry", b"", "dry"),
    ] {
        let answer = request(daemon.http, method, path, &headers, body);
        refused(&answer, 400, "Invalid query");
        let message = answer.json()["message"].to_string();
        assert!(message.contains(&format!("`{name}`")), "{path}: {message}");
    }
    assert_eq!(get(daemon.http, "/updates/n.txt").status, 404);
    let list = request(daemon.http, "GET", "/api/releases?limit=1", &headers, b"");
    assert_eq!(list.status, 200, "{}", list.text());
    let deployed = request(daemon.http, "POST", "/deploy?force=true", &headers, &files);
    assert_eq!(deployed.status, 200, "{}", deployed.text());
}
