//! In which order a deploy reaches the disk, seen in a trace of the daemon's calls.

use std::collections::BTreeMap;

use crate::harness::Builder;
use crate::harness::release::{StoreDirectory, deploy, product};
use crate::harness::strace::Strace;

/// A call of a trace: where it began and ended, and what it was.
struct Call {
    began: usize,
    ended: usize,
    text: String,
}

/// The calls of a trace in which lines of several threads are interleaved.
fn calls(trace: &str) -> Vec<Call> {
    let mut unfinished: BTreeMap<&str, (usize, String)> = BTreeMap::new();
    let mut calls = Vec::new();
    for (at, line) in trace.lines().enumerate() {
        let Some((thread, call)) = line.split_once(char::is_whitespace) else {
            continue;
        };
        let call = call.trim_start();
        if let Some((begun, _)) = call.split_once(" <unfinished ...>") {
            unfinished.insert(thread, (at, begun.to_owned()));
        } else if let Some((_, rest)) = call.split_once(" resumed>") {
            let (began, begun) = unfinished.remove(thread).expect("a call that began");
            calls.push(Call {
                began,
                ended: at,
                text: begun + rest,
            });
        } else {
            calls.push(Call {
                began: at,
                ended: at,
                text: call.to_owned(),
            });
        }
    }
    calls
}

/// The trace of a daemon that takes a deploy of 16 files and brings it to the public names.
fn traced() -> String {
    let mut daemon = Builder::new().start();
    let calls = "trace=fsync,linkat,renameat,write,writev,sendto";
    let strace = Strace::attach(&daemon, &["-y", "-s", "16", "-e", calls]);
    let answer = deploy(
        daemon.http,
        &daemon.builder_key(),
        &product("1.0.0", 600_000, 10),
    );
    assert_eq!(answer.status, 200);
    StoreDirectory::of(daemon.home()).projected(1);
    daemon.kill();
    strace.trace(&daemon)
}

/// kill -9 never shows a missing fsync, since the page cache survives it: so the order of the calls is looked at. That
/// each file is flushed before it is named, and its directory after, is looked at with the store alone.
#[test]
#[ignore = "needs strace: tests/run"]
fn the_record_follows_all_content_to_the_disk_and_the_answer_follows_the_record() {
    let trace = traced();
    let calls = calls(&trace);
    let find = |parts: &[&str]| -> Vec<&Call> {
        calls
            .iter()
            .filter(|call| parts.iter().all(|part| call.text.contains(part)))
            .collect()
    };
    let record = find(&["linkat(", "/.seance/log>"]);
    let [record] = record.as_slice() else {
        panic!("one record is linked:\n{trace}")
    };
    let named = find(&["renameat(", "/.seance/content/"]);
    assert_eq!(named.len(), 16, "a content per file:\n{trace}");
    let last_named = named.iter().map(|call| call.ended).max().expect("some");
    let flushed = find(&["fsync(", "/.seance/content/"]);
    assert!(
        flushed
            .iter()
            .any(|call| call.began > last_named && call.ended < record.began),
        "{trace}"
    );
    assert!(
        flushed.iter().all(|call| call.ended < record.began),
        "{trace}"
    );
    let log = find(&["fsync(", "/.seance/log>"]);
    let durable = log
        .iter()
        .map(|call| call.ended)
        .find(|at| *at > record.ended)
        .expect("the log is flushed");
    let answered = find(&["HTTP/1.1 200"]);
    assert!(
        !answered.is_empty() && answered.iter().all(|call| call.began > durable),
        "{trace}"
    );
    let copies = find(&["renameat(", "/store/prod/"]);
    assert!(
        copies.len() >= 16 && copies.iter().all(|call| call.began > durable),
        "{trace}"
    );
    let manifest = find(&["renameat(", "\"latest-mac.yml\""]);
    let artefact = find(&["renameat(", "\"Seance-1.0.0-arm"]);
    assert!(!manifest.is_empty() && !artefact.is_empty());
    assert!(
        artefact.iter().all(|artefact| manifest
            .iter()
            .all(|manifest| artefact.ended < manifest.began)),
        "{trace}"
    );
}
