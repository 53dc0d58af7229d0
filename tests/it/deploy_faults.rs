//! A store that fails in the middle of a deploy, or loses what it had: what is published has its content.

use std::collections::HashSet;
use std::net::Shutdown;
use std::sync::{Arc, Mutex};

use crate::harness::bucket::secret_file;
use crate::harness::command::path;
use crate::harness::http::{get, request};
use crate::harness::release::{deploy, deploy_with, files, served};
use crate::harness::strace::Strace;
use crate::harness::upstream::{Received, Upstream, ok};
use crate::harness::wait::wait_until;
use crate::harness::{Builder, key_hash};

#[test]
#[ignore = "needs strace: tests/run"]
fn a_record_whose_directory_cannot_be_flushed_keeps_its_content() {
    let daemon = Builder::new().start();
    let key = daemon.builder_key();
    let first = files(&[("releases/A-1.0.0.zip", b"first")]);
    assert_eq!(deploy(daemon.http, &key, &first).status, 200);

    let log = daemon.state().join("store/.seance/log");
    let full = ["-e", "trace=fsync", "-e", "inject=fsync:error=ENOSPC"];
    let strace = Strace::attach(&daemon, &[&["-P", path(&log)], &full[..]].concat());
    let second = files(&[("releases/B-1.0.0.zip", b"second")]);
    let answer = deploy(daemon.http, &key, &second);
    // Not 507: the record has its name, and may be read by anybody.
    assert_eq!(answer.status, 503, "{}", answer.text());
    drop(strace);

    let name = "/updates/B-1.0.0.zip";
    let found = || get(daemon.http, name).status;
    wait_until("the record turns up", found, |status| *status != 404);
    assert_eq!(get(daemon.http, name).text(), "second");
    let (status, log) = daemon.stop();
    assert!(status.success(), "{log}");
}

/// A bucket that is always empty. It loses its answer to the first record, and refuses each one after it.
fn forgetful(asked: &Arc<Mutex<Vec<String>>>) -> Upstream {
    let (asked, probes) = (asked.clone(), Mutex::new(HashSet::new()));
    let answer = move |request: &Received| -> Option<Vec<u8>> {
        let line = request.line();
        let mut asked = asked.lock().expect("the requests so far");
        let records = |line: &&String| line.starts_with("PUT /b/.seance/log/");
        let is_first = !asked.iter().any(|line| records(&line));
        asked.push(line.to_owned());
        let status = |status: &str, body: &str| {
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
            Some(head.into_bytes())
        };
        if line.starts_with("PUT /b/.seance/log/") {
            if is_first {
                return None;
            }
            return status("403 Forbidden", "<Error><Code>QuotaExceeded</Code></Error>");
        }
        let is_probe = line.starts_with("PUT /b/.seance/probe/");
        if is_probe && !probes.lock().expect("the probes").insert(line.to_owned()) {
            return status("412 Precondition Failed", "");
        }
        match line.split(' ').next() {
            Some("GET") if line.contains("list-type=2") => {
                let empty = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
                Some(ok(empty.as_bytes()))
            }
            Some("GET") => status("404 Not Found", "<Error><Code>NoSuchKey</Code></Error>"),
            Some("HEAD") => status("404 Not Found", ""),
            _ => Some(ok(b"")),
        }
    };
    Upstream::start(move |mut peer, _| {
        while let Some(request) = peer.request() {
            match answer(&request) {
                Some(answer) => peer.send(&answer),
                None => return peer.stream.shutdown(Shutdown::Both).unwrap_or_default(),
            }
        }
    })
}

#[test]
fn a_record_whose_answer_was_lost_keeps_its_content_whatever_is_answered_later() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let bucket = forgetful(&asked);
    let id = secret_file("id");
    let config = format!(
        "[store]\nkind = \"s3\"\n[store.s3]\nbucket = \"b\"\npath_style = true\nendpoint = \"{}\"\n\
         access_key_id_file = \"{id}\"\nsecret_access_key_file = \"{id}\"\nattempts = 2\n\
         [apps.default]\nbuilder_key_hashes = [\"{}\"]\n",
        bucket.url(),
        key_hash("secret")
    );
    let daemon = Builder::new().config(&config).start();
    let answer = deploy(daemon.http, "secret", &files(&[("releases/a.zip", b"a")]));
    assert_eq!(answer.status, 503, "{}", answer.text());
    // Deletions outlive the answer, but not the daemon.
    let (status, log) = daemon.stop();
    assert!(status.success(), "{log}");
    let asked = asked.lock().expect("the requests");
    let content = |method: &str| {
        let begin = format!("{method} /b/.seance/content/");
        asked.iter().filter(|line| line.starts_with(&begin)).count()
    };
    assert_eq!((content("PUT"), content("DELETE")), (1, 0), "{asked:#?}");
}

#[test]
fn content_that_was_lost_is_there_again_after_a_forced_deploy() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let daemon = Builder::at(home.path()).start();
    let key = daemon.builder_key();
    let name = "releases/S-1.0.0.zip";
    let all = files(&[(name, b"zip")]);
    assert_eq!(deploy(daemon.http, &key, &all).status, 200);
    let content = daemon.state().join("store/.seance/content");
    std::fs::remove_dir_all(&content).expect("the content can be removed");
    let lost = request(daemon.http, "GET", &format!("/prod/{name}"), &[], b"");
    assert_eq!(lost.status, 500, "{}", lost.text());
    let forced = deploy_with(daemon.http, &key, &all, "/deploy?force=true", &[]);
    assert_eq!(forced.status, 200, "{}", forced.text());
    assert_eq!(served(daemon.http, name).as_deref(), Some(&b"zip"[..]));
    // Nothing of it is taken for a leftover: what is deleted is so before the daemon ends.
    let (status, log) = daemon.stop();
    assert!(status.success(), "{log}");
    let left = std::fs::read_dir(&content).expect("the content is there");
    assert_eq!(left.count(), 1);
}
