//! `check-storage` tells what a store really does, and cleans up after itself.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::bucket::{Bucket, secret_file};
use crate::harness::command::{Output, path, seance};
use crate::harness::wait::wait_until;

fn check(toml: &str, arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("config.toml");
    std::fs::write(&file, toml).expect("a configuration file");
    let mut all = vec!["check-storage", "--config", path(&file)];
    all.extend(arguments);
    seance(&all, &[("STATE_DIRECTORY", path(directory.path()))])
}

/// The result of a check in the JSON report.
fn result(report: &serde_json::Value, check: &str) -> String {
    let checks = report["checks"].as_array().expect("a list of checks");
    let found = checks.iter().find(|found| found["check"] == check);
    found.unwrap_or_else(|| panic!("no {check} in {report}"))["result"].to_string()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_str(&output.stdout)
        .unwrap_or_else(|_| panic!("{}{}", output.stdout, output.stderr))
}

#[test]
fn a_directory_does_everything_and_is_left_as_it_was() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let checked = seance(
        &["check-storage"],
        &[("STATE_DIRECTORY", path(directory.path()))],
    );
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
    assert_eq!(checked.stdout.lines().count(), 8, "{}", checked.stdout);
    assert!(
        checked.stdout.lines().all(|line| line.starts_with("yes")),
        "{}",
        checked.stdout
    );
    assert_eq!(entries(&directory.path().join("store/.seance")), ["tmp"]);
    assert!(entries(&directory.path().join("store/.seance/tmp")).is_empty());
}

fn entries(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect()
}

#[test]
#[ignore = "needs Ceph RGW: tests/run"]
fn ceph_does_what_seance_needs_and_its_quirks_are_found() {
    let bucket = Bucket::fresh();
    let checked = check(&bucket.toml(), &["--json"]);
    assert_eq!(checked.code, 3, "{}{}", checked.stdout, checked.stderr);
    let report = json(&checked);
    assert_eq!(report["ok"], true);
    for finding in report["checks"].as_array().expect("a list of checks") {
        assert!(
            finding["needed"] == false || finding["result"] == "yes",
            "{finding}"
        );
        assert_ne!(finding["result"], "failed", "{finding}");
    }
    for works in [
        "create-only writes",
        "Content-MD5 is checked",
        "copy by parts (over 5 GiB)",
        "presigned PUT",
    ] {
        assert_eq!(result(&report, works), "\"yes\"", "{works}");
    }
    for quirk in [
        "create-only on multipart uploads",
        "several ranges in one GET",
        "CORS",
    ] {
        assert_eq!(result(&report, quirk), "\"no\"", "{quirk}");
    }
    assert_clean(&bucket);
}

/// No object and no unfinished upload.
#[track_caller]
fn assert_clean(bucket: &Bucket) {
    let objects = String::from_utf8(bucket.request("GET", "?list-type=2")).expect("XML");
    assert!(!objects.contains("<Key>"), "{objects}");
    let uploads = String::from_utf8(bucket.request("GET", "?uploads=")).expect("XML");
    assert!(!uploads.contains("<UploadId>"), "{uploads}");
}

#[test]
#[ignore = "needs Ceph RGW: tests/run"]
fn the_cors_rules_of_a_bucket_can_be_set() {
    let bucket = Bucket::fresh();
    let checked = check(
        &bucket.toml(),
        &[
            "--json",
            "--set-cors",
            "https://app.example",
            "https://www.example",
        ],
    );
    let report = json(&checked);
    assert_eq!(result(&report, "CORS"), "\"yes\"", "{report}");
    let rules = String::from_utf8(bucket.request("GET", "?cors=")).expect("XML");
    assert!(
        rules.contains("<AllowedOrigin>https://app.example</AllowedOrigin>"),
        "{rules}"
    );
}

#[test]
#[ignore = "needs Ceph RGW: tests/run"]
fn an_interrupted_check_leaves_nothing_behind() {
    let bucket = Bucket::fresh();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("config.toml");
    std::fs::write(&file, bucket.toml()).expect("a configuration file");
    let mut child = Command::new(env!("CARGO_BIN_EXE_seance"))
        .args(["check-storage", "--config", path(&file)])
        .stdout(Stdio::null())
        .spawn()
        .expect("the command runs");
    // The large object is on its way: its parts are the hardest to clean up.
    wait_until(
        "an upload has begun",
        || String::from_utf8(bucket.request("GET", "?uploads=")).expect("XML"),
        |uploads| uploads.contains("<UploadId>"),
    );
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it can be interrupted");
    assert_eq!(child.wait().expect("an exit status").code(), Some(130));
    assert_clean(&bucket);
}

#[test]
#[ignore = "needs Ceph RGW: tests/run"]
fn wrong_keys_and_a_missing_bucket_are_named() {
    let right = Bucket::fresh().toml();
    let wrong = secret_file("wrong");
    // The rest of the line becomes a comment.
    let wrong_secret = format!("secret_access_key_file = \"{wrong}\" # \"");
    let wrong_id = format!("access_key_id_file = \"{wrong}\" # \"");
    for (replace, by, wanted) in [
        (
            "secret_access_key_file = \"",
            wrong_secret.as_str(),
            "SignatureDoesNotMatch): check the access key id",
        ),
        (
            "access_key_id_file = \"",
            wrong_id.as_str(),
            "InvalidAccessKeyId): check the access key id",
        ),
        (
            "bucket = \"it-",
            "bucket = \"none-",
            "there is no such bucket",
        ),
    ] {
        let checked = check(&right.replacen(replace, by, 1), &[]);
        assert_eq!(checked.code, 1, "{}", checked.stdout);
        assert_eq!(
            checked.stdout.lines().count(),
            1,
            "nothing else is tried: {}",
            checked.stdout
        );
        assert!(
            checked.stdout.contains(wanted),
            "{wanted}: {}",
            checked.stdout
        );
    }
}

/// Runs `check-storage` against a provider that gives these answers, then refuses.
fn against(answers: &[(&str, &str)]) -> Output {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let id = secret_file("id");
    let toml = format!(
        "[store]\nkind = \"s3\"\n[store.s3]\nbucket = \"b\"\nendpoint = \"http://{address}\"\npath_style = true\n\
         access_key_id_file = \"{id}\"\nsecret_access_key_file = \"{id}\"\noperation_timeout_seconds = 10\n"
    );
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for (status, body) in answers {
                let (mut peer, _) = listener.accept().expect("a connection");
                let mut request = [0; 16 * 1024];
                if peer.read(&mut request).expect("a request") == 0 {
                    return;
                }
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/xml\r\ncontent-length: {length}\r\n\
                     connection: close\r\n\r\n{body}"
                );
                peer.write_all(answer.as_bytes())
                    .expect("the answer is sent");
            }
        });
        let checked = check(&toml, &["--json"]);
        // Ends the provider if it still has answers; else nobody listens.
        let _closed = TcpStream::connect(address);
        checked
    })
}

#[test]
fn a_throttled_request_is_tried_again_whatever_the_status() {
    let slower =
        |code: &str| format!("<Error><Code>{code}</Code><Message>slower</Message></Error>");
    let checked = against(&[
        ("400 Bad Request", &slower("RequestRateLimitExceeded")),
        ("503 Service Unavailable", &slower("SlowDown")),
        (
            "200 OK",
            "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>",
        ),
    ]);
    assert_eq!(
        result(&json(&checked), "reach the store"),
        "\"yes\"",
        "{}",
        checked.stdout
    );
}

#[test]
fn a_wrong_clock_is_named() {
    let skewed = "<Error><Code>RequestTimeTooSkewed</Code><Message>the difference is too large</Message></Error>";
    let checked = against(&[("403 Forbidden", skewed); 1]);
    assert_eq!(checked.code, 1, "{}", checked.stdout);
    assert!(
        checked
            .stdout
            .contains("this machine's clock and the store's differ too much"),
        "{}",
        checked.stdout
    );
}

#[test]
fn a_provider_that_is_down_is_named_with_the_cause() {
    let port = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address")
        .port();
    let id = secret_file("id");
    let toml = format!(
        "[store]\nkind = \"s3\"\n[store.s3]\nbucket = \"b\"\nendpoint = \"http://127.0.0.1:{port}\"\n\
         path_style = true\naccess_key_id_file = \"{id}\"\nsecret_access_key_file = \"{id}\"\n"
    );
    let checked = check(&toml, &[]);
    assert_eq!(checked.code, 1, "{}", checked.stdout);
    assert!(
        checked.stdout.contains("did not answer") && checked.stdout.contains("Connection refused"),
        "{}",
        checked.stdout
    );
}

#[test]
fn a_directory_has_no_cors_rules() {
    let checked = check("", &["--set-cors", "https://app.example"]);
    assert_eq!(checked.code, 1);
    assert!(
        checked.stderr.contains("--set-cors is for buckets"),
        "{}",
        checked.stderr
    );
}
