//! A download has the file's bytes, whichever way they take: sent by the kernel, copied, or first read from the disk.

use std::fmt::Write as _;
use std::fs::File;
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::harness::http::{Connection, head, request};
use crate::harness::{Builder, Daemon};

const PATH: &str = "/updates/mac/Seance-1.0.0-mac.zip";
const SIZE: usize = 5_000_003;

#[test]
fn whole_files_and_ranges_of_every_length_are_exact() {
    let (daemon, content) = serving();
    // Alternately shorter and longer than what is worth a system call of its own, and than one piece of the kernel's.
    let lengths = [
        1, 16_383, 16_384, 40_000, 3, 131_072, 131_073, 255, 1_200_000, 7, 9_000, 1_048_576, 65_537,
    ];
    let mut ranges = Vec::new();
    let mut at = 11;
    for length in lengths {
        ranges.push(at..at + length);
        at += length + 4099;
    }
    let mut connection = Connection::open(daemon.http);
    for _ in 0..2 {
        connection.send(&head("GET", PATH, &[], None));
        assert!(connection.answer(true).body == content);
        connection.send(&head("GET", PATH, &[("Range", &field(&ranges))], None));
        let answer = connection.answer(true);
        assert_eq!(answer.status, 206);
        assert!(answer.body == multipart(answer.header("content-type"), &ranges, &content));
    }
}

#[test]
fn pipelined_downloads_do_not_take_each_others_bytes() {
    let (daemon, content) = serving();
    let mut connection = Connection::open(daemon.http);
    let ranges = [
        0..2_000_000,
        4_000_000..4_000_010,
        2_999_999..4_999_999,
        1_000_000..1_020_000,
    ];
    for range in &ranges {
        connection.send(&head(
            "GET",
            PATH,
            &[("Range", &field(std::slice::from_ref(range)))],
            None,
        ));
    }
    for range in ranges {
        assert!(connection.answer(true).body == content[range]);
    }
}

#[test]
fn a_file_that_is_not_in_memory_is_read_from_the_disk() {
    let (daemon, content) = serving();
    for path in stored(&daemon) {
        let file = File::open(path).expect("the stored file");
        file.sync_all().expect("a sync");
        posix_fadvise(file.as_fd(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)
            .expect("the cache is dropped");
    }
    assert!(request(daemon.http, "GET", PATH, &[], b"").body == content);
}

#[test]
fn a_file_cut_by_somebody_else_ends_the_connection_instead_of_the_download() {
    let (daemon, _) = serving();
    let mut connection = Connection::open(daemon.http);
    connection.send(&head("GET", "/health/live", &[], None));
    assert_eq!(connection.answer(true).status, 200);
    for path in stored(&daemon) {
        File::options()
            .write(true)
            .open(path)
            .and_then(|file| file.set_len(1_500_000))
            .expect("the file is cut");
    }
    connection.send(&head("GET", PATH, &[], None));
    let answer = connection.try_answer(true);
    assert!(answer.is_none_or(|answer| answer.status >= 500));
}

/// A daemon that has released one file, and the file.
fn serving() -> (Daemon, Vec<u8>) {
    let daemon = Builder::new().start();
    // No two places look alike.
    let content: Vec<u8> = (0_u32..)
        .flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes())
        .take(SIZE)
        .collect();
    let body = format!(
        r#"{{"files":[{{"path":"releases/mac/Seance-1.0.0-mac.zip","content":"{}"}}]}}"#,
        base64_simd::STANDARD.encode_to_string(&content)
    );
    let headers = [
        ("X-Builder-Key", daemon.builder_key()),
        ("Content-Type", "application/json".to_owned()),
    ];
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let answer = request(daemon.http, "POST", "/deploy", &headers, body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    (daemon, content)
}

/// The file that the daemon serves. Its public name is another link to it, made a little later.
fn stored(daemon: &Daemon) -> Vec<PathBuf> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
            let (path, data) = (entry.path(), entry.metadata().expect("an entry"));
            if data.is_dir() {
                walk(&path, found);
            } else if data.len() == SIZE as u64 {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&daemon.state().join("store/.seance/content"), &mut found);
    assert!(!found.is_empty());
    found
}

fn field(ranges: &[Range<usize>]) -> String {
    let list: Vec<String> = ranges
        .iter()
        .map(|range| format!("{}-{}", range.start, range.end - 1))
        .collect();
    format!("bytes={}", list.join(", "))
}

/// The one answer that RFC 9110 §14.6 and our order of header fields allow.
fn multipart(content_type: Option<&str>, ranges: &[Range<usize>], content: &[u8]) -> Vec<u8> {
    let boundary = content_type
        .and_then(|kind| kind.strip_prefix("multipart/byteranges; boundary="))
        .expect("a multipart answer");
    let mut body = Vec::new();
    for (index, range) in ranges.iter().enumerate() {
        let mut text = String::from(if index == 0 { "" } else { "\r\n" });
        write!(text, "--{boundary}\r\nContent-Type: application/zip\r\nContent-Range: bytes {}-{}/{SIZE}\r\n\r\n", range.start, range.end - 1)
            .expect("text");
        body.extend_from_slice(text.as_bytes());
        body.extend_from_slice(&content[range.clone()]);
    }
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    body
}
