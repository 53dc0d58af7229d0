//! Drafts of a Tauri app: its signatures are verified before its clients do that.

use base64_simd::STANDARD;
use serde_json::{Value, json};

use crate::drafts::PART;
use crate::harness::command::check_config;
use crate::harness::draft::Client;
use crate::harness::http::Answer;
use crate::harness::release::{Files, files};
use crate::harness::{Builder, Daemon, key_hash};

const KEY: &str = "a key of this test only";

/// Of minisign's own documentation, over the bytes `test`.
const PUBLIC: &str = "untrusted comment: minisign public key E7620F1842B4E81F\n\
    RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n";
const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
    RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
    trusted comment: timestamp:1633700835\tfile:test\tprehashed\n\
    wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==\n";

fn config(public: &str) -> String {
    let (hash, public) = (key_hash(KEY), STANDARD.encode_to_string(public));
    format!("[apps.default]\nbuilder_key_hashes = [\"{hash}\"]\ntauri_public_key = \"{public}\"\n")
}

fn bundle(bytes: &[u8], signature: &str) -> Files {
    let signature = STANDARD.encode_to_string(signature);
    files(&[
        ("releases/darwin-arm64/App_1.0.0_aarch64.app.tar.gz", bytes),
        (
            "releases/darwin-arm64/App_1.0.0_aarch64.app.tar.gz.sig",
            signature.as_bytes(),
        ),
    ])
}

fn published(daemon: &Daemon, release: &Files, force: bool) -> Answer {
    let client = Client {
        address: daemon.http,
        key: KEY,
    };
    let id = client.open();
    client.fill(&id, "", release, PART).expect("answers");
    client.send(
        "POST",
        &format!("/api/drafts/{id}/publish"),
        &json!({"force": force}),
    )
}

#[track_caller]
fn reasons(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 422, "{}", answer.text());
    let reasons = answer.json()["reasons"]
        .as_array()
        .expect("reasons")
        .clone();
    let text = |reason: &Value| {
        format!(
            "{}: {}",
            reason["path"].as_str().expect("a path"),
            reason["message"].as_str().expect("a message")
        )
    };
    reasons.iter().map(text).collect()
}

#[test]
fn a_signature_that_the_key_does_not_verify_is_refused() {
    let daemon = Builder::new().config(&config(PUBLIC)).start();
    let file = "releases/darwin-arm64/App_1.0.0_aarch64.app.tar.gz";
    let said = |what: &str| vec![format!("{file}.sig: the signature of `{file}` {what}")];
    let other = SIGNATURE.replacen("RUQf6LRC", "RUQf6LRD", 1);
    for (bytes, signature, what) in [
        (&b"tost"[..], SIGNATURE, "does not fit the file"),
        (
            b"test",
            "no signature",
            "is not a signature of minisign in base64",
        ),
        (b"test", &other, "is by another key than `tauri_public_key`"),
    ] {
        assert_eq!(
            reasons(&published(&daemon, &bundle(bytes, signature), false)),
            said(what)
        );
    }
    let answer = published(&daemon, &bundle(b"test", SIGNATURE), false);
    assert_eq!(answer.status, 200, "{}", answer.text());
    // In the static JSON too, of a file that is published already.
    let manifest = |signature: &str| {
        let url = format!("https://cdn.example/prod/{file}");
        let platform = json!({"url": url, "signature": STANDARD.encode_to_string(signature)});
        let document = json!({"version": "1.0.0", "platforms": {"darwin-aarch64": platform}});
        files(&[("releases/latest.json", document.to_string().as_bytes())])
    };
    let wrong = SIGNATURE.replacen("wLMDjy9F", "wLMDjy9G", 1);
    let answer = published(&daemon, &manifest(&wrong), false);
    assert!(
        reasons(&answer)[0].ends_with("does not fit the file"),
        "{}",
        answer.text()
    );
    assert_eq!(published(&daemon, &manifest(SIGNATURE), false).status, 200);
    let answer = published(&daemon, &manifest(&wrong), true);
    assert_eq!(
        (
            answer.status,
            answer.json()["warnings"].as_array().map(Vec::len)
        ),
        (200, Some(1))
    );
}

#[test]
fn a_public_key_that_is_none_is_refused_with_its_app() {
    let output = check_config(&config("RWQ no key\n"), &[]);
    assert_ne!(output.code, 0);
    let said = output.stderr;
    assert!(
        said.contains("`apps.default.tauri_public_key` is not a public key"),
        "{said}"
    );
}
