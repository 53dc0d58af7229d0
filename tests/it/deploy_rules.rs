//! What deploys and lookups must put up with: large manifests, other spellings, many at a time, a weak provider.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use crate::harness::bucket::secret_file;
use crate::harness::http::{Answer, Connection, get, head};
use crate::harness::release::{Files, deploy, deploy_with, files, product};
use crate::harness::wait::wait_until;
use crate::harness::{Builder, Daemon};

fn strict() -> Daemon {
    Builder::new().env("SEANCE_DEPLOY__LINT", "enforce").start()
}

fn deployed(daemon: &Daemon, path: &str, content: &[u8]) -> Answer {
    let files = files(&[(path, content)]);
    deploy(daemon.http, &daemon.builder_key(), &files)
}

/// A `RELEASES` of at least `bytes`, which names one file that is not there.
fn releases(bytes: usize) -> Vec<u8> {
    let mut text = format!("{} gone-1.0.0-full.nupkg 5\n", "a".repeat(40));
    text += &"# an older release\n".repeat(bytes / 18);
    text.into_bytes()
}

#[test]
fn a_large_manifest_is_checked_and_one_too_large_to_be_checked_is_published() {
    let daemon = strict();
    let path = "releases/win/RELEASES";
    let large = deployed(&daemon, path, &releases(700 * 1024));
    assert_eq!(large.status, 422, "{}", large.text());
    assert!(
        large.text().contains("gone-1.0.0-full.nupkg"),
        "{}",
        large.text()
    );
    let huge = releases(2 * 1024 * 1024);
    let answer = deployed(&daemon, path, &huge);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(
        answer.text().contains("was not checked"),
        "{}",
        answer.text()
    );
    assert_eq!(get(daemon.http, "/updates/win/RELEASES").body, huge);
    let not_text = deployed(&daemon, path, b"\xff\xfea\0");
    assert_eq!(not_text.status, 422, "{}", not_text.text());
}

#[test]
fn a_file_that_breaks_a_published_manifest_is_told_of() {
    let name = "releases/darwin-arm64/Seance-1.0.0-arm64-mac.zip";
    let manifest = "releases/darwin-arm64/latest-mac.yml";
    let forced = |daemon: &Daemon, files: &Files| {
        let key = daemon.builder_key();
        deploy_with(daemon.http, &key, files, "/deploy?force=true", &[])
    };
    for (daemon, status) in [(Builder::new().start(), 200), (strict(), 422)] {
        let whole = product("1.0.0", 1000, 0);
        let first = deploy(daemon.http, &daemon.builder_key(), &whole);
        assert_eq!(first.status, 200, "{}", first.text());
        assert_eq!(first.json()["warnings"], serde_json::json!([]));
        // The same bytes, and others that no manifest names, break nothing.
        for (path, content) in [(name, &whole[name]), ("web/app.js", &b"new".to_vec())] {
            let harmless = forced(&daemon, &files(&[(path, content)]));
            assert_eq!(harmless.status, 200, "{}", harmless.text());
            assert_eq!(harmless.json()["warnings"], serde_json::json!([]));
        }
        let broken = forced(&daemon, &files(&[(name, &[7; 1000])]));
        assert_eq!(broken.status, status, "{}", broken.text());
        let told = broken.json();
        let told = told.get("warnings").or(told.get("reasons"));
        let told = told.expect("warnings or reasons");
        assert_eq!(told.as_array().map(Vec::len), Some(1), "{told}");
        assert_eq!(told[0]["path"], manifest);
        let message = told[0]["message"].as_str().expect("a message");
        assert!(message.starts_with("has a wrong sha512"), "{message}");
    }
}

#[test]
fn settings_beside_the_manifests_are_no_manifests() {
    let daemon = strict();
    let settings = deployed(&daemon, "releases/settings.yml", b"hello: 1\n");
    assert_eq!(settings.status, 200, "{}", settings.text());
    let channel = deployed(&daemon, "releases/canary.yml", b"version: x\npath: a.exe\n");
    assert_eq!(channel.status, 422, "{}", channel.text());
}

#[test]
fn a_name_is_found_in_whichever_normalisation_form_it_is_asked_for() {
    let daemon = Builder::new().start();
    let answer = deployed(&daemon, "releases/e\u{301}.dmg", b"dmg");
    assert_eq!(answer.status, 200, "{}", answer.text());
    for name in ["e%CC%81.dmg", "%C3%A9.dmg"] {
        for path in [format!("/updates/{name}"), format!("/prod/releases/{name}")] {
            assert_eq!(get(daemon.http, &path).status, 200, "{path}");
        }
    }
}

#[test]
fn a_deploy_too_many_waits_for_its_turn() {
    let daemon = Builder::new()
        .env("SEANCE_DEPLOY__MAX_CONCURRENT", "1")
        .start();
    let key = daemon.builder_key();
    let headers = [
        ("X-Builder-Key", key.as_str()),
        ("Content-Type", "application/json"),
        ("Expect", "100-continue"),
    ];
    let begin = || {
        let mut connection = Connection::open(daemon.http);
        connection.send(&head("POST", "/deploy", &headers, Some(12)));
        connection
    };
    let mut first = begin();
    assert_eq!(first.answer(false).status, 100);
    let mut second = begin();
    first.send(b"{\"files\":[]}");
    assert_eq!(first.answer(false).status, 200);
    assert_eq!(second.answer(false).status, 100);
    second.send(b"{\"files\":[]}");
    assert_eq!(second.answer(false).status, 200);
}

/// Answers one request as a provider that is `away`, or that has an empty bucket and no create-only writes.
fn answer(mut peer: TcpStream, away: bool) {
    peer.set_nonblocking(false).expect("a socket that waits");
    let mut request = Vec::new();
    let length = loop {
        let mut piece = [0; 4096];
        let read = peer.read(&mut piece).expect("a request");
        request.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1);
            let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
            break head.len() + 4 + length.unwrap_or(0);
        }
        assert!(read > 0, "half a request: {text}");
    };
    let missing = length.saturating_sub(request.len());
    peer.read_exact(&mut vec![0; missing]).expect("its body");
    let (status, body) = match request.first() {
        _ if away => ("503 Service Unavailable", ""),
        Some(b'G') => (
            "200 OK",
            "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>",
        ),
        Some(b'P') => (
            "501 Not Implemented",
            "<Error><Code>NotImplemented</Code></Error>",
        ),
        _ => ("204 No Content", ""),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    peer.write_all(head.as_bytes()).expect("the answer is sent");
}

#[test]
fn a_provider_that_comes_back_and_lacks_create_only_writes_is_told_of() {
    let provider = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = provider.local_addr().expect("its address");
    let id = secret_file("id");
    let config = format!(
        "[deploy]\nfollow_seconds = 1\n[store]\nkind = \"s3\"\n[store.s3]\nbucket = \"b\"\npath_style = true\n\
         endpoint = \"http://{endpoint}\"\naccess_key_id_file = \"{id}\"\nsecret_access_key_file = \"{id}\"\nattempts = 1\n"
    );
    let daemon = Builder::new().config(&config).start();
    provider
        .set_nonblocking(true)
        .expect("a socket that does not wait");
    let log = |away: bool| {
        while let Ok((peer, _)) = provider.accept() {
            answer(peer, away);
        }
        daemon.log()
    };
    wait_until(
        "the daemon complains",
        || log(true),
        |log| log.contains("cannot follow the release log"),
    );
    for line in [
        "the release log can be followed again",
        "does not support create-only writes: only one daemon may write to this bucket",
    ] {
        let log = wait_until(line, || log(false), |log| log.contains(line));
        assert_eq!(log.matches(line).count(), 1, "{log}");
    }
}
