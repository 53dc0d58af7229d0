//! The body of `POST /deploy`: what is taken, and that what hostile and slow senders sent is not published.

use crate::deploy_http::{body, post, refused};
use crate::harness::Builder;
use crate::harness::http::{Connection, get, head, request};

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
