//! Options that nothing else shows to be obeyed.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::harness::bucket::{Bucket, secret_file};
use crate::harness::draft::Client;
use crate::harness::http::{Connection, get, head, request};
use crate::harness::release::{deploy, files};
use crate::harness::wait::wait_until;
use crate::harness::{Builder, Daemon};

fn small_deploy(daemon: &Daemon, n: usize) {
    let file = files(&[("releases/n.txt", n.to_string().as_bytes())]);
    let answer = deploy(daemon.http, &daemon.builder_key(), &file);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn closed_audits(daemon: &Daemon) -> Vec<String> {
    let names = std::fs::read_dir(daemon.state().join("audit")).expect("the audit");
    let names = names.map(|entry| entry.expect("an entry").file_name().into_string());
    names
        .flatten()
        .filter(|name| name.starts_with("audit-"))
        .collect()
}

/// A closed audit file that was last written `days` ago.
fn old_audit(home: &Path, days: u64) {
    let directory = home.join("state/audit");
    std::fs::create_dir_all(&directory).expect("a directory");
    let file =
        std::fs::File::create(directory.join(format!("audit-{days}.jsonl"))).expect("a file");
    let written = SystemTime::now() - Duration::from_secs(days * 86_400);
    file.set_modified(written).expect("a time");
}

#[test]
fn the_audit_begins_a_new_file_at_its_size_and_drops_old_ones() {
    let home = tempfile::tempdir().expect("a temporary directory");
    old_audit(home.path(), 3);
    old_audit(home.path(), 10);
    let daemon = Builder::at(home.path())
        .env("SEANCE_AUDIT__MAX_FILE_BYTES", "65536")
        .env("SEANCE_AUDIT__KEEP_DAYS", "5")
        .start();
    let mut deploys = 0;
    while closed_audits(&daemon).len() < 2
        || closed_audits(&daemon).contains(&"audit-10.jsonl".to_owned())
    {
        small_deploy(&daemon, deploys);
        deploys += 1;
        assert!(deploys < 1000, "no new file after {deploys} deploys");
    }
    let closed = closed_audits(&daemon);
    assert!(closed.contains(&"audit-3.jsonl".to_owned()), "{closed:?}");
    let rotated = closed
        .iter()
        .find(|name| name.len() > 20)
        .expect("a file named by its time");
    let rotated = daemon.state().join("audit").join(rotated);
    let full = std::fs::read_to_string(rotated).expect("the closed file");
    let open =
        std::fs::read_to_string(daemon.state().join("audit/audit.jsonl")).expect("the open one");
    assert!(full.len() >= 65_536, "{}", full.len());
    assert_eq!(
        full.lines().count() + open.lines().count(),
        deploys,
        "each deed once"
    );
}

#[test]
fn a_reader_that_takes_nothing_is_cut_off() {
    let daemon = Builder::new()
        .env("SEANCE_HTTP__WRITE_TIMEOUT_SECONDS", "1")
        .start();
    let large = vec![7; 24 * 1024 * 1024];
    let answer = deploy(
        daemon.http,
        &daemon.builder_key(),
        &files(&[("releases/large.bin", &large)]),
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut connection = Connection::open(daemon.http);
    connection.send(&head("GET", "/updates/large.bin", &[], None));
    let line = "path=\"/updates/large.bin\"";
    let log = wait_until(
        "the download is given up",
        || daemon.log(),
        |log| log.contains(line),
    );
    let line = log
        .lines()
        .find(|logged| logged.contains(line))
        .expect("its line");
    assert!(line.contains("complete=false"), "{line}");
    let mut rest = Vec::new();
    let ended = connection.stream().read_to_end(&mut rest);
    assert!(
        ended.is_err() || rest.len() < large.len(),
        "it was sent whole"
    );
}

#[test]
fn the_number_of_streams_is_announced_to_http2_clients() {
    let daemon = Builder::new().env("SEANCE_HTTP__MAX_STREAMS", "7").start();
    let mut connection = Connection::open(daemon.http);
    connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let mut head = [0; 9];
    connection.stream().read_exact(&mut head).expect("a frame");
    assert_eq!(head[3], 4, "SETTINGS come first");
    let mut settings = vec![0; usize::from(head[2])];
    connection
        .stream()
        .read_exact(&mut settings)
        .expect("settings");
    // SETTINGS_MAX_CONCURRENT_STREAMS is 3 (RFC 9113 §6.5.2).
    assert!(
        settings
            .chunks(6)
            .any(|setting| setting == [0, 3, 0, 0, 0, 7]),
        "{settings:?}"
    );
}

#[test]
fn a_deploy_too_many_at_the_same_time_is_told_to_come_back() {
    let daemon = Builder::new()
        .env("SEANCE_DEPLOY__MAX_CONCURRENT", "1")
        .env("SEANCE_DEPLOY__STALL_TIMEOUT_SECONDS", "2")
        .start();
    let key = daemon.builder_key();
    let headers = [
        ("X-Builder-Key", key.as_str()),
        ("Content-Type", "application/json"),
        ("Expect", "100-continue"),
    ];
    let mut first = Connection::open(daemon.http);
    first.send(&head("POST", "/deploy", &headers, Some(100_000)));
    assert_eq!(first.answer(false).status, 100);
    let second = || deploy(daemon.http, &key, &files(&[("releases/a", b"a")]));
    let refused = std::thread::scope(|scope| {
        let second = scope.spawn(second);
        // The first one must not stall meanwhile: white space may stand before the JSON.
        let answered = || {
            first.send(b" ");
            second.is_finished()
        };
        wait_until("the second one is answered", answered, |answered| *answered);
        second.join().expect("an answer")
    });
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    drop(first);
    wait_until("the place is free", second, |answer| answer.status == 200);
}

#[test]
fn more_ranges_than_allowed_are_refused() {
    let status = |most: &str| {
        let daemon = Builder::new()
            .env("SEANCE_UPDATES__MAX_RANGES", most)
            .start();
        deploy(
            daemon.http,
            &daemon.builder_key(),
            &files(&[("releases/a.bin", b"0123456789")]),
        );
        request(
            daemon.http,
            "GET",
            "/updates/a.bin",
            &[("Range", "bytes=0-1,4-5,8-9")],
            b"",
        )
        .status
    };
    assert_eq!(status("2"), 416);
    assert_eq!(status("3"), 206);
}

#[test]
fn content_of_no_release_is_collected_when_it_is_old_enough() {
    // A UUIDv7 of three days ago: its first 48 bits are milliseconds of the epoch.
    let days_ago = SystemTime::now() - Duration::from_secs(3 * 86_400);
    let millis = days_ago
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970")
        .as_millis();
    let hex = format!("{millis:012x}");
    let deploy_id = format!("{}-{}-7000-8000-000000000000", &hex[..8], &hex[8..]);
    let leftover = |home: &Path| {
        home.join("state/store/.seance/content")
            .join(&deploy_id)
            .join("0")
    };
    let start = |home: &Path, seconds: &str| {
        let file = leftover(home);
        std::fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
        std::fs::write(file, b"left over").expect("a file");
        let collect = ("SEANCE_DEPLOY__COLLECT_AFTER_SECONDS", seconds);
        let daemon = Builder::at(home).env(collect.0, collect.1).start();
        // The collector judges by the log, which has to have a record for it to trust its view.
        small_deploy(&daemon, 1);
        daemon
    };
    let patient = tempfile::tempdir().expect("a temporary directory");
    let _patient = start(patient.path(), "864000");
    let strict = tempfile::tempdir().expect("a temporary directory");
    let _strict = start(strict.path(), "86400");
    wait_until(
        "it is collected",
        || leftover(strict.path()).exists(),
        |exists| !exists,
    );
    assert!(leftover(patient.path()).exists());
}

/// Uploads that are put together at once, at most, while two are asked for at the same time.
fn completes_at_once(limit: &str) -> usize {
    const SIZE: usize = 48 * 1024 * 1024;
    let daemon = Builder::new()
        .env("SEANCE_DRAFTS__PART_BYTES", &SIZE.to_string())
        .env("SEANCE_DRAFTS__COMPLETES_IN_FLIGHT", limit)
        .start();
    let key = daemon.builder_key();
    let client = Client::of(&daemon, &key);
    let id = client.open();
    let uploads = [1, 2].map(|byte| {
        let file = files(&[(&format!("releases/{byte}.bin"), &vec![byte; SIZE])]);
        let upload = client.upload(&id, "", &file);
        let sent = client.part(&id, &upload, 1, &vec![byte; SIZE]);
        assert_eq!(sent.expect("an answer").status, 204);
        upload
    });
    let staged = daemon.state().join("store/.seance/tmp");
    let under_way = || {
        let entries = std::fs::read_dir(&staged).into_iter().flatten().flatten();
        let sizes = entries.filter_map(|entry| entry.metadata().ok());
        sizes.filter(|file| file.len() > 1024 * 1024).count()
    };
    std::thread::scope(|scope| {
        let id = &id;
        let complete = |upload: &String| {
            let upload = upload.clone();
            scope.spawn(move || client.complete(id, &upload).expect("an answer"))
        };
        let completes = uploads.each_ref().map(complete);
        let mut most = 0;
        while completes.iter().any(|complete| !complete.is_finished()) {
            most = most.max(under_way());
        }
        for complete in completes {
            assert_eq!(complete.join().expect("an answer").status, 200);
        }
        most
    })
}

#[test]
fn so_many_uploads_are_put_together_at_the_same_time() {
    assert_eq!(completes_at_once("1"), 1);
    assert_eq!(completes_at_once("2"), 2);
}

#[test]
#[ignore = "needs Ceph RGW: tests/run"]
fn large_content_goes_to_the_bucket_in_parts_of_the_configured_size() {
    let parts = |size: &str| {
        let bucket = Bucket::fresh();
        let config = format!(
            "{}part_size_bytes = {size}\nparts_in_flight = 1\n{KEY}",
            bucket.toml()
        );
        let daemon = Builder::new().config(&config).start();
        let answer = deploy(
            daemon.http,
            "secret",
            &files(&[("releases/a.bin", &vec![1; 12_000_000])]),
        );
        assert_eq!(answer.status, 200, "{}", answer.text());
        let id = answer.json()["id"].as_str().expect("an id").to_owned();
        let listed = bucket.request(
            "GET",
            &format!("?list-type=2&prefix=.seance%2Fcontent%2F{id}"),
        );
        let listed = String::from_utf8(listed).expect("XML");
        // The ETag of a multipart upload ends with the number of its parts.
        let etag = listed
            .split("<ETag>")
            .nth(1)
            .and_then(|rest| rest.split("</ETag>").next());
        etag.expect("an ETag")
            .trim_matches(['"', '&', 'q', 'u', 'o', 't', ';'])
            .to_owned()
    };
    assert!(parts("5242880").ends_with("-3"));
    assert!(parts("8388608").ends_with("-2"));
}

/// The default app with the word `secret` as its key.
const KEY: &str = "[apps.default]\nbuilder_key_hashes = [\"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\"]\n";

#[test]
#[ignore = "needs Ceph RGW: tests/run"]
fn without_acl_the_public_copies_are_as_private_as_the_bucket() {
    let readable = |acl: &str| {
        let bucket = Bucket::fresh();
        let config = format!("{}acl = {acl}\n{KEY}", bucket.toml());
        let daemon = Builder::new().config(&config).start();
        let answer = deploy(daemon.http, "secret", &files(&[("releases/a.txt", b"a")]));
        assert_eq!(answer.status, 200, "{}", answer.text());
        wait_until(
            "it is projected",
            || get(daemon.http, "/health").status,
            |status| *status == 200,
        );
        let copy = || {
            String::from_utf8_lossy(
                &bucket.request("GET", "?list-type=2&prefix=.seance%2Fprojected%2F"),
            )
            .into_owned()
        };
        wait_until("the marker is written", copy, |listed| {
            listed.contains("000000000001")
        });
        let url = format!("{}/prod/releases/a.txt", bucket.public());
        let mut curl = std::process::Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", &url]);
        String::from_utf8(curl.output().expect("curl runs").stdout).expect("a status")
    };
    assert_eq!(readable("true"), "200");
    assert_eq!(readable("false"), "403");
}

/// A bucket at this provider, looked at once and not again for as long as a test takes.
fn at_provider(provider: &TcpListener, options: &str) -> Daemon {
    let endpoint = provider.local_addr().expect("its address");
    let id = secret_file("id");
    let config = format!(
        "[deploy]\nfollow_seconds = 3600\n[store]\nkind = \"s3\"\n[store.s3]\nbucket = \"b\"\npath_style = true\n\
         endpoint = \"http://{endpoint}\"\naccess_key_id_file = \"{id}\"\nsecret_access_key_file = \"{id}\"\n{options}"
    );
    Builder::new().config(&config).start()
}

const GIVEN_UP: &str = "cannot read the release log";

#[test]
fn a_silent_provider_is_given_up_after_the_configured_time() {
    let provider = TcpListener::bind("127.0.0.1:0").expect("a port");
    let patient = at_provider(&provider, "operation_timeout_seconds = 3600\n");
    let hasty = at_provider(&provider, "operation_timeout_seconds = 1\n");
    wait_until(
        "the hasty one gives up",
        || hasty.log(),
        |log| log.contains(GIVEN_UP),
    );
    assert!(!patient.log().contains(GIVEN_UP), "{}", patient.log());
}

#[test]
fn a_provider_that_throttles_is_asked_as_often_as_configured() {
    let asked = |attempts: usize| {
        let provider = TcpListener::bind("127.0.0.1:0").expect("a port");
        let daemon = at_provider(&provider, &format!("attempts = {attempts}\n"));
        provider
            .set_nonblocking(true)
            .expect("a socket that does not wait");
        let mut asked = 0;
        let mut answer = || {
            while let Ok((mut peer, _)) = provider.accept() {
                peer.set_nonblocking(false).expect("a socket that waits");
                let _request = peer.read(&mut [0; 16 * 1024]).expect("a request");
                let refusal =
                    b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                peer.write_all(refusal).expect("the answer is sent");
                asked += 1;
            }
            daemon.log()
        };
        wait_until("the daemon gives up", &mut answer, |log| {
            log.contains(GIVEN_UP)
        });
        asked
    };
    assert!(asked(1) < 4);
    assert!(asked(4) >= 4);
}
