//! Deploys to a real S3 server: several daemons on one bucket, a daemon that is killed, a bucket that goes away.

use std::net::SocketAddr;

use crate::harness::bucket::Bucket;
use crate::harness::gate::Gate;
use crate::harness::http::{get, request};
use crate::harness::release::{Files, deploy, files, onto, product, served, try_deploy};
use crate::harness::wait::wait_until;
use crate::harness::{Builder, Daemon, kill};

const KEY: &str = "a key of this test only";

/// Points at which a daemon on a bucket is killed; each takes a bucket of its own and three daemons.
const KILLS: usize = 14;

/// A daemon on the bucket, reached at `endpoint`, that gives up soon and looks often.
fn node(bucket: &Bucket, endpoint: &str) -> Builder {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, KEY.as_bytes());
    let config = format!(
        "{}operation_timeout_seconds = 2\nattempts = 2\n\
         [deploy]\nfollow_seconds = 1\nprojection_grace_seconds = 1\n\
         [apps.default]\nbuilder_key_hashes = [\"{}\"]\n",
        bucket.toml().replace(&bucket.endpoint, endpoint),
        hex::encode(hash),
    );
    Builder::new().config(&config)
}

fn started(bucket: &Bucket) -> Daemon {
    node(bucket, &bucket.endpoint).start()
}

fn server(bucket: &Bucket) -> SocketAddr {
    let address = bucket.endpoint.strip_prefix("http://").expect("plain HTTP");
    address.parse().expect("an address")
}

/// How many keys begin with `prefix`.
pub fn count(bucket: &Bucket, prefix: &str) -> usize {
    let listing = bucket.request(
        "GET",
        &format!("?list-type=2&prefix={}", prefix.replace('/', "%2F")),
    );
    String::from_utf8_lossy(&listing).matches("<Key>").count()
}

/// What anybody, such as a CDN, reads from the bucket.
fn public(bucket: &Bucket, path: &str) -> Option<Vec<u8>> {
    let server = server(bucket);
    let name = format!("/{}/prod/{path}", bucket.name);
    let answer = request(server, "GET", &name, &[("Host", &server.to_string())], b"");
    // A key that is not there is 403 to those who may not list.
    (answer.status == 200).then_some(answer.body)
}

#[track_caller]
fn projected(bucket: &Bucket, records: usize) {
    let marks = || count(bucket, ".seance/projected/");
    wait_until("the records are projected", marks, |marks| {
        *marks == records
    });
}

#[test]
#[ignore = "needs Ceph RGW: tests/run"]
fn two_daemons_on_one_bucket_publish_side_by_side() {
    let bucket = Bucket::fresh();
    let nodes = [started(&bucket), started(&bucket)];
    let one = |n: usize| {
        let content = format!("Test {n}\n");
        files(&[(format!("test/file{n}.txt").as_str(), content.as_bytes())])
    };
    let deploys: Vec<Files> = (0..20).map(one).collect();
    std::thread::scope(|scope| {
        for (n, files) in deploys.iter().enumerate() {
            let node = nodes[n % 2].http;
            scope.spawn(move || {
                let answer = deploy(node, KEY, files);
                assert_eq!(answer.status, 200, "{}", answer.text());
                // The node that was asked serves it at once.
                for (path, content) in files {
                    assert!(served(node, path).as_ref() == Some(content), "{path}");
                }
            });
        }
    });
    assert_eq!(count(&bucket, ".seance/log/"), 20);
    for node in &nodes {
        for (path, content) in deploys.iter().flatten() {
            wait_until(
                "the other node serves it too",
                || served(node.http, path),
                |seen| seen.as_ref() == Some(content),
            );
        }
    }
    projected(&bucket, 20);
    for (path, content) in deploys.iter().flatten() {
        assert!(public(&bucket, path).as_ref() == Some(content), "{path}");
    }
}

#[test]
#[ignore = "needs Ceph RGW: tests/run"]
fn two_daemons_that_publish_one_product_agree_on_the_last() {
    let bucket = Bucket::fresh();
    let nodes = [started(&bucket), started(&bucket)];
    let deploys: Vec<Files> = (0..6)
        .map(|n| product(&format!("1.{n}.0"), 2000, 2))
        .collect();
    std::thread::scope(|scope| {
        for (n, files) in deploys.iter().enumerate() {
            let node = nodes[n % 2].http;
            scope.spawn(move || assert_eq!(deploy(node, KEY, files).status, 200));
        }
    });
    projected(&bucket, 6);
    let page = public(&bucket, "web/index.html").expect("a page");
    let last = deploys
        .iter()
        .find(|deploy| deploy["web/index.html"] == page)
        .expect("one of them");
    for (path, content) in last {
        for node in &nodes {
            wait_until(
                "both nodes agree",
                || served(node.http, path),
                |seen| seen.as_ref() == Some(content),
            );
        }
        assert!(public(&bucket, path).as_ref() == Some(content), "{path}");
    }
    let web = deploys
        .iter()
        .flat_map(Files::keys)
        .filter(|path| path.starts_with("web/"));
    for gone in web.filter(|path| !last.contains_key(*path)) {
        assert_eq!(public(&bucket, gone), None, "{gone}");
    }
}

/// Deploys `old`, kills the daemon at its `at`th message to the bucket while it deploys `new`, and looks at what
/// another daemon makes of it. Gives the messages counted, and whether the new release is true.
fn killed_at(at: usize, old: &Files, new: &Files) -> (usize, bool) {
    let bucket = Bucket::fresh();
    let mut daemon = started(&bucket);
    assert_eq!(deploy(daemon.http, KEY, old).status, 200);
    projected(&bucket, 1);
    let (address, pid) = (daemon.http, kill::pid(&daemon));
    let (calls, answered) = kill::at_call(&mut daemon, at, kill::Call::is_sent, || {
        let answered = try_deploy(address, KEY, new).is_some_and(|answer| answer.status == 200);
        let done = || kill::is_dead(pid) || !answered || count(&bucket, ".seance/projected/") == 2;
        wait_until("it is killed, or done", done, |done| *done);
        answered
    });
    let other = started(&bucket);
    let is_new = count(&bucket, ".seance/log/") == 2;
    assert!(
        is_new || !answered,
        "a deploy that was answered with success is gone"
    );
    let both = onto(old, new);
    let wanted = if is_new { &both } else { old };
    for path in old.keys().chain(new.keys()) {
        assert!(
            served(other.http, path).as_ref() == wanted.get(path),
            "{path} of {is_new}"
        );
    }
    projected(&bucket, if is_new { 2 } else { 1 });
    for path in old.keys().chain(new.keys()) {
        assert!(
            public(&bucket, path).as_ref() == wanted.get(path),
            "{path} of {is_new}, in public"
        );
    }
    assert_eq!(
        deploy(other.http, KEY, new).status,
        200,
        "it cannot be repeated"
    );
    (calls, is_new)
}

#[test]
#[ignore = "needs Ceph RGW: tests/run"]
fn a_daemon_killed_on_a_bucket_leaves_one_whole_release_and_another_daemon_finishes_its_work() {
    let (old, new) = (product("1.0.0", 1000, 3), product("1.1.0", 9_000_000, 3));
    let (calls, is_new) = killed_at(usize::MAX, &old, &new);
    assert!(is_new);
    let outcomes: Vec<bool> = (1..=KILLS)
        .map(|n| killed_at(n * calls / (KILLS + 1), &old, &new).1)
        .collect();
    eprintln!("{calls} messages; the new release is true after {outcomes:?}");
    assert!(
        outcomes.contains(&false) && outcomes.contains(&true),
        "{outcomes:?}"
    );
}

#[test]
#[ignore = "needs Ceph RGW: tests/run"]
fn with_the_bucket_away_the_last_releases_are_served_and_deploys_wait_for_its_return() {
    let bucket = Bucket::fresh();
    let gate = Gate::to(server(&bucket));
    let endpoint = format!("http://{}", gate.address);
    let home = tempfile::tempdir().expect("a temporary directory");
    let started = || node(&bucket, &endpoint).living_in(home.path()).start();
    let manifest = |daemon: &Daemon| get(daemon.http, "/updates/darwin-arm64/latest-mac.yml");
    let (first, second) = (product("1.0.0", 1000, 1), product("1.1.0", 1000, 1));
    let text = |files: &Files| files["releases/darwin-arm64/latest-mac.yml"].clone();

    let daemon = started();
    assert_eq!(deploy(daemon.http, KEY, &first).status, 200);
    gate.shut();
    let answer = deploy(daemon.http, KEY, &second);
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    let stale = wait_until(
        "answers say that they may be stale",
        || manifest(&daemon),
        |answer| answer.header("x-seance-stale").is_some(),
    );
    assert!(
        stale.status == 200 && stale.body == text(&first),
        "{stale:?}"
    );
    gate.open();
    let deployed = wait_until(
        "deploys work again",
        || deploy(daemon.http, KEY, &second).status,
        |status| *status == 200,
    );
    assert_eq!(deployed, 200);
    assert_eq!(manifest(&daemon).body, text(&second));
    wait_until(
        "nothing is stale",
        || manifest(&daemon),
        |answer| answer.header("x-seance-stale").is_none(),
    );
    let snapshot =
        || std::fs::read_to_string(home.path().join("state/releases.json")).unwrap_or_default();
    wait_until("the snapshot has it", snapshot, |text| {
        text.contains("Seance-1.1.0")
    });
    daemon.stop();

    gate.shut();
    let daemon = started();
    let answer = manifest(&daemon);
    assert!(
        answer.status == 200 && answer.body == text(&second),
        "{answer:?}"
    );
    let stranger = node(&bucket, &endpoint).start();
    assert_eq!(
        manifest(&stranger).status,
        503,
        "what it cannot know is not absent"
    );
    gate.open();
    wait_until(
        "the stranger knows",
        || manifest(&stranger).status,
        |status| *status == 200,
    );
}
