//! Parts that go to the bucket itself by signed URLs: what arrives there is proved like any other, and who cannot reach
//! the bucket loses nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::channel;

use jiff::{SignedDuration, Timestamp};
use md5::{Digest as _, Md5};
use serde_json::{Value, json};

use crate::drafts::error;
use crate::harness::Daemon;
use crate::harness::bucket::Bucket;
use crate::harness::command::{check_config, path};
use crate::harness::draft;
use crate::harness::http::{Answer, get, request};
use crate::harness::link::Link;
use crate::harness::publish::{
    CLIENTS, Client, KEY, PARALLEL, PART, assert_served, done, drafts_with, kill, mac_build,
    outcome,
};
use crate::harness::release::files;
use crate::harness::sieve::Sieve;
use crate::harness::wait::{CEILING, wait_until};

const SIZE: usize = 400_000;
/// Times that each client is killed.
const KILLS: u64 = 5;

/// A daemon on `bucket` that gives signed URLs for parts, and logs as much as it can.
fn daemon(bucket: &Bucket, options: &str) -> Daemon {
    reached(bucket, &bucket.endpoint, options)
}

/// The same with the bucket at another address.
fn reached(bucket: &Bucket, endpoint: &str, options: &str) -> Daemon {
    drafts_with(&format!(
        "{}[log]\nfilter = \"seance=trace\"\n[drafts]\npart_bytes = {PART}\npresigned_parts = true\n{options}",
        bucket.toml().replace(&bucket.endpoint, endpoint)
    ))
}

/// Where a bucket's server listens.
fn server(bucket: &Bucket) -> SocketAddr {
    let (_, address) = bucket.endpoint.split_once("//").expect("an endpoint");
    address.parse().expect("its address")
}

/// Bytes of parts that came through the daemon.
fn through(daemon: &Daemon) -> u64 {
    daemon.metric("seance_release_draft_part_bytes_total")
}

/// The answer of the bucket to a request for a part.
fn put(pass: &Value, body: &[u8]) -> Answer {
    let url = pass["url"].as_str().expect("a URL");
    let rest = url.strip_prefix("http://").expect("a URL without TLS");
    let (host, path) = rest.split_once('/').expect("a path");
    let mut headers = vec![("Host", host)];
    for (name, value) in pass["headers"].as_object().expect("headers") {
        // It says what is sent, whatever was signed.
        if name != "content-length" {
            headers.push((name, value.as_str().expect("a text")));
        }
    }
    let address = host.parse().expect("an address");
    request(address, "PUT", &format!("/{path}"), &headers, body)
}

/// A draft with one file of a part and a bit, not sent yet.
struct Begun<'a> {
    client: draft::Client<'a>,
    id: String,
    upload: String,
    content: Vec<u8>,
}

impl<'a> Begun<'a> {
    fn at(daemon: &'a Daemon) -> Begun<'a> {
        let client = draft::Client {
            address: daemon.http,
            key: KEY,
        };
        let content = vec![5; usize::try_from(PART).expect("a size") + 9];
        let id = client.open();
        let release = files(&[("releases/big.bin", &content)]);
        let declared = client.declare(&id, "", &release).json();
        let upload = &declared["files"][0]["upload"];
        Begun {
            upload: upload.as_str().expect("an upload").to_owned(),
            client,
            id,
            content,
        }
    }

    fn ask(&self, n: u64, body: &Value) -> Answer {
        let path = format!(
            "/api/drafts/{}/uploads/{}/parts/{n}/url",
            self.id, self.upload
        );
        self.client.send("POST", &path, body)
    }

    #[track_caller]
    fn pass(&self, n: u64, body: &Value) -> Value {
        let answer = self.ask(n, body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    fn complete(&self) -> Answer {
        let answer = self.client.complete(&self.id, &self.upload);
        answer.expect("an answer")
    }

    fn parts(&self) -> (&[u8], &[u8]) {
        self.content.split_at(self.content.len() - 9)
    }
}

#[test]
#[ignore = "needs Ceph RGW: tests/run"]
fn a_signed_url_is_good_for_one_part_with_its_length_and_its_bytes() {
    let bucket = Bucket::fresh();
    let daemon = daemon(&bucket, "");
    let begun = Begun::at(&daemon);
    let (first, second) = begun.parts();
    let md5 = hex::encode(Md5::digest(second));
    let pass = begun.pass(2, &json!({ "md5": md5 }));
    for wrong in [&b"123456780"[..], b"12345678", first] {
        let refused = put(&pass, wrong);
        assert!((400..=403).contains(&refused.status), "{}", refused.text());
    }
    assert_eq!(begun.complete().json()["missingParts"], json!([1, 2]));
    assert_eq!(put(&pass, second).status, 200);
    assert_eq!(put(&begun.pass(1, &json!({})), first).status, 200);
    assert_eq!(begun.complete().status, 200);
    let published = begun.client.publish(&begun.id).expect("an answer");
    assert_eq!(published.status, 200, "{}", published.text());
    let served = get(daemon.http, "/prod/releases/big.bin");
    assert!(served.body == begun.content);
    assert_eq!(through(&daemon), 0, "nothing came through the daemon");
    let late = begun.ask(1, &json!({}));
    assert_eq!((late.status, &late.json()["record"]), (409, &json!(1)));
    assert_silent(&daemon.log());
}

#[test]
#[ignore = "needs Ceph RGW: tests/run"]
fn wrong_bytes_in_the_bucket_never_become_a_file() {
    let bucket = Bucket::fresh();
    let daemon = daemon(&bucket, "");
    let begun = Begun::at(&daemon);
    let (first, second) = begun.parts();
    let late = begun.pass(2, &json!({}));
    assert_eq!(put(&begun.pass(1, &json!({})), first).status, 200);
    assert_eq!(put(&late, b"not these").status, 200);
    let refused = begun.complete();
    assert_eq!(
        (refused.status, error(&refused)),
        (422, "Wrong content".to_owned())
    );
    let published = begun.client.publish(&begun.id).expect("an answer");
    assert_eq!(
        (published.status, error(&published)),
        (409, "Files are missing".to_owned())
    );
    assert_eq!(begun.complete().json()["missingParts"], json!([1, 2]));
    for (n, part) in [(1, first), (2, second)] {
        assert_eq!(put(&begun.pass(n, &json!({})), part).status, 200);
    }
    assert_eq!(begun.complete().status, 200);
    // What was proved has another place: a URL that is still good changes nothing of it.
    assert_eq!(put(&late, b"not these").status, 200);
    let published = begun.client.publish(&begun.id).expect("an answer");
    assert_eq!(published.status, 200, "{}", published.text());
    assert!(get(daemon.http, "/prod/releases/big.bin").body == begun.content);
}

#[test]
#[ignore = "needs Ceph RGW: tests/run"]
fn a_signed_url_ends_and_is_for_whom_the_upload_is() {
    let bucket = Bucket::fresh();
    let daemon = daemon(&bucket, "presigned_seconds = 1\n");
    let begun = Begun::at(&daemon);
    let pass = begun.pass(2, &json!({}));
    let (_, second) = begun.parts();
    wait_until(
        "the URL is of no use",
        || put(&pass, second).status,
        |status| *status == 403,
    );
    let expires: Timestamp = pass["expires"]
        .as_str()
        .expect("a time")
        .parse()
        .expect("RFC 3339");
    assert!(expires <= Timestamp::now());
    for (n, body, wanted) in [
        (3, json!({}), 400),
        (1, json!({ "md5": "abc" }), 400),
        (1, json!({ "sha256": "" }), 400),
    ] {
        assert_eq!(begun.ask(n, &body).status, wanted, "{n} {body}");
    }
    let stranger = draft::Client {
        key: "no key",
        ..begun.client
    };
    let begun = Begun {
        client: stranger,
        ..begun
    };
    assert_eq!(begun.ask(1, &json!({})).status, 401);
}

/// Publishes a build; gives what the client printed on the way.
#[track_caller]
fn publishes(client: Client, daemon: &Daemon) -> String {
    let home = tempfile::tempdir().expect("a temporary directory");
    let dist = home.path().join("dist");
    let release = mac_build(&dist, "1.0.0", SIZE);
    let mut command = client.command(home.path());
    command.args([path(&dist), "--to", &daemon.url("")]);
    let command = command.env("BUILDER_KEY", KEY);
    let started = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let ended = outcome(started.expect("the client starts"));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_served(daemon, &release);
    assert_silent(&ended.stderr);
    assert_silent(&daemon.log());
    ended.stderr
}

/// Nobody who reads this can send a part.
#[track_caller]
fn assert_silent(text: &str) {
    let signature = text
        .find("X-Amz-Signature")
        .or(text.find("X-Amz-Credential"));
    assert!(signature.is_none(), "a signature was logged:\n{text}");
}

#[test]
#[ignore = "needs Ceph RGW and node: tests/run"]
fn both_clients_send_parts_past_the_daemon() {
    for client in CLIENTS {
        let bucket = Bucket::fresh();
        let daemon = daemon(&bucket, "");
        let said = publishes(client, &daemon);
        assert!(!said.contains("through the daemon"), "{said}");
        assert_eq!(through(&daemon), 0, "{client:?}");
    }
}

#[test]
#[ignore = "needs Ceph RGW and node: tests/run"]
fn who_cannot_reach_the_bucket_sends_parts_to_the_daemon() {
    for client in CLIENTS {
        let bucket = Bucket::fresh();
        let sieve = Sieve::to(server(&bucket), |head| !head.contains("X-Amz-Signature"));
        let daemon = reached(&bucket, &sieve.url(), "");
        let said = publishes(client, &daemon);
        let told = said.matches("goes through the daemon").count();
        // Those under way when the last of three failed are told too.
        assert!((3..=6).contains(&told), "{client:?}: {said}");
        assert!(through(&daemon) >= SIZE as u64, "{client:?}");
    }
}

#[test]
#[ignore = "needs Ceph RGW and node: tests/run"]
fn a_part_whose_url_ended_on_the_way_goes_through_the_daemon() {
    for client in CLIENTS {
        let bucket = Bucket::fresh();
        let sieve = Sieve::to(server(&bucket), |head| {
            if head.contains("X-Amz-Signature") {
                let end = Timestamp::now() + SignedDuration::from_secs(2);
                wait_until("the URL ended", Timestamp::now, |now| *now > end);
            }
            true
        });
        let daemon = reached(&bucket, &sieve.url(), "presigned_seconds = 1\n");
        let said = publishes(client, &daemon);
        assert!(said.contains("answered 403"), "{client:?}: {said}");
        assert!(through(&daemon) > 0, "{client:?}");
    }
}

/// Kills the client while parts go past the daemon, and has another run do the rest.
#[track_caller]
fn killed_it_is_gone_on_with(client: Client) {
    let bucket = Bucket::fresh();
    let (fire, fired) = channel();
    let link = Link::with(server(&bucket), u64::MAX, move || {
        fire.send(()).expect("the test waits");
    });
    let daemon = reached(&bucket, &link.url(), "");
    let home = tempfile::tempdir().expect("a temporary directory");
    let start = |dist: &Path| {
        let parallel = PARALLEL.to_string();
        let arguments = [path(dist), "--to", &daemon.url(""), "--parallel", &parallel];
        client.start(home.path(), &arguments)
    };
    for n in 0..KILLS {
        let dist = home.path().join(n.to_string());
        let release = mac_build(&dist, &format!("1.0.{n}"), SIZE);
        // More than what is on its way at a time, so that a part has arrived.
        link.after(PART * PARALLEL + 30_000 + n * 40_000);
        let killed = start(&dist);
        fired
            .recv_timeout(CEILING)
            .expect("the client sends that much");
        kill(killed);
        let rest = outcome(start(&dist));
        let sent = done(&rest)["sent"]["bytes"].as_u64().expect("bytes");
        assert!(
            sent <= SIZE as u64 + 2000 - PART,
            "{client:?}: {sent} bytes again"
        );
        assert_served(&daemon, &release);
    }
    // Whose connection was cut may have begun to send its part to the daemon before the kill.
    assert!(through(&daemon) <= KILLS * PARALLEL * PART, "{client:?}");
}

#[test]
#[ignore = "needs Ceph RGW: tests/run"]
fn a_client_killed_while_it_sends_past_the_daemon_is_gone_on_with() {
    killed_it_is_gone_on_with(Client::Binary);
}

#[test]
#[ignore = "needs Ceph RGW and node: tests/run"]
fn the_action_killed_while_it_sends_past_the_daemon_is_gone_on_with() {
    killed_it_is_gone_on_with(Client::Node);
}

#[test]
fn a_directory_gives_no_signed_urls_and_says_so_when_it_is_loaded() {
    let refused = check_config("[drafts]\npresigned_parts = true\n", &[]);
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    let said = "`drafts.presigned_parts` is set, but only a bucket takes parts by signed URLs";
    assert!(refused.stderr.contains(said), "{}", refused.stderr);
    let daemon = drafts_with("[drafts]\npart_bytes = 65536\n");
    let begun = Begun::at(&daemon);
    let refused = begun.ask(1, &json!({}));
    assert_eq!(
        (refused.status, error(&refused)),
        (404, "No signed URLs".to_owned())
    );
    let shown = begun
        .client
        .send("GET", &format!("/api/drafts/{}", begun.id), &Value::Null);
    assert_eq!(shown.json()["presignedParts"], false);
}
