//! Ranges of artefacts, as differential updates ask for them, over HTTP/1.1 and HTTP/2.

use std::ops::Range;
use std::time::Duration;

use crate::harness::Daemon;
use crate::harness::http::{Answer, get, request};
use crate::updates_http::{daemon, publish};

const PATH: &str = "/updates/mac/Seance-1.0.0-mac.zip";

/// Bytes that tell where they are from.
fn content(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| u8::try_from((at ^ (at >> 8) ^ (at >> 16)) & 255).unwrap_or(0))
        .collect()
}

fn serving(content: &[u8]) -> Daemon {
    let daemon = daemon("");
    publish(
        &daemon,
        &[
            ("releases/mac/Seance-1.0.0-mac.zip", content),
            ("releases/mac/empty.bin", b""),
        ],
    );
    daemon
}

fn ranged(daemon: &Daemon, range: &str, extra: &[(&str, &str)]) -> Answer {
    let mut headers = vec![("Range", range)];
    headers.extend(extra);
    request(daemon.http, "GET", PATH, &headers, b"")
}

fn field(ranges: &[Range<usize>]) -> String {
    let list: Vec<String> = ranges
        .iter()
        .map(|range| format!("{}-{}", range.start, range.end - 1))
        .collect();
    format!("bytes={}", list.join(", "))
}

/// Reads a multipart answer as electron-updater does: by the boundary, part by part. Gives each part's Content-Range
/// and bytes.
#[track_caller]
fn parts(content_type: &str, body: &[u8]) -> Vec<(String, Vec<u8>)> {
    let boundary = content_type
        .strip_prefix("multipart/byteranges; boundary=")
        .expect("a multipart answer");
    let delimiter = format!("--{boundary}\r\n");
    let mut rest = body
        .strip_prefix(delimiter.as_bytes())
        .expect("a first delimiter");
    let mut parts = Vec::new();
    loop {
        let end = rest
            .windows(4)
            .position(|bytes| bytes == b"\r\n\r\n")
            .expect("the head of a part");
        let head = std::str::from_utf8(&rest[..end]).expect("a head in ASCII");
        let range = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Range: "))
            .expect("a Content-Range")
            .to_owned();
        let (first, last) = range
            .trim_start_matches("bytes ")
            .split_once('/')
            .expect("a size")
            .0
            .split_once('-')
            .expect("a range");
        let length = last.parse::<usize>().expect("a number") + 1
            - first.parse::<usize>().expect("a number");
        let (bytes, after) = rest[end + 4..].split_at(length);
        parts.push((range, bytes.to_vec()));
        let after = after
            .strip_prefix(b"\r\n--")
            .expect("a delimiter")
            .strip_prefix(boundary.as_bytes())
            .expect("the boundary");
        match after.strip_prefix(b"\r\n") {
            Some(next) => rest = next,
            None => {
                assert_eq!(after, b"--\r\n", "nothing behind the last delimiter");
                return parts;
            }
        }
    }
}

/// A thousand ranges of odd sizes with gaps between, some of the gaps large.
fn thousand() -> Vec<Range<usize>> {
    let mut at = 7;
    let range = |number: usize| {
        let start = at;
        let length = 1 + number * 7919 % 997;
        at = start
            + length
            + if number.is_multiple_of(100) {
                150_000
            } else {
                number % 3 * 500
            };
        start..start + length
    };
    (0..1000).map(range).collect()
}

#[test]
fn single_ranges_are_206_and_exact() {
    let content = content(600_000);
    let daemon = serving(&content);
    for (range, expected) in [
        ("bytes=0-0", 0..1),
        ("bytes=1-299999", 1..300_000),
        ("bytes=599990-", 599_990..600_000),
        ("bytes=-10", 599_990..600_000),
        ("bytes=0-99999999999999999999", 0..600_000),
        ("bytes=5-6,700000-", 5..7),
    ] {
        let answer = ranged(&daemon, range, &[]);
        assert_eq!(answer.status, 206, "{range}");
        assert!(answer.body == content[expected.clone()], "{range}");
        let content_range = format!("bytes {}-{}/600000", expected.start, expected.end - 1);
        assert_eq!(
            answer.header("content-range"),
            Some(content_range.as_str()),
            "{range}"
        );
        assert_eq!(
            answer.header("content-type"),
            Some("application/zip"),
            "{range}"
        );
    }
}

#[test]
fn ranges_that_cannot_be_are_416_and_nonsense_is_ignored() {
    let daemon = serving(&content(1000));
    for range in [
        "bytes=1000-",
        "bytes=-0",
        "bytes=0-5,3-8",
        "bytes=0-0,0-0",
        "bytes=0-999,0-999",
    ] {
        let answer = ranged(&daemon, range, &[]);
        assert_eq!(
            (answer.status, answer.header("content-range")),
            (416, Some("bytes */1000")),
            "{range}"
        );
    }
    for range in ["bytes=5-2", "lines=1-2", "bytes=x", "bytes=", "0-1"] {
        assert_eq!(ranged(&daemon, range, &[]).status, 200, "{range}");
    }
    let many: Vec<Range<usize>> = (0..500).map(|n| 2 * n..2 * n + 1).collect();
    assert_eq!(ranged(&daemon, &field(&many), &[]).status, 206);
    let empty = request(
        daemon.http,
        "GET",
        "/updates/mac/empty.bin",
        &[("Range", "bytes=0-")],
        b"",
    );
    assert_eq!(
        (empty.status, empty.header("content-range")),
        (416, Some("bytes */0"))
    );
    let head = request(daemon.http, "HEAD", PATH, &[("Range", "bytes=0-1")], b"");
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("1000"))
    );
}

#[test]
fn a_range_of_another_version_gets_the_whole() {
    let daemon = serving(&content(1000));
    let whole = get(daemon.http, PATH);
    let etag = whole.header("etag").expect("an ETag");
    assert_eq!(
        ranged(&daemon, "bytes=0-1", &[("If-Range", etag)]).status,
        206
    );
    for other in [
        "\"x\"",
        &format!("W/{etag}"),
        whole.header("last-modified").expect("a date"),
    ] {
        assert_eq!(
            ranged(&daemon, "bytes=0-1", &[("If-Range", other)]).status,
            200,
            "{other}"
        );
    }
    assert_eq!(
        ranged(&daemon, "bytes=0-1", &[("If-None-Match", etag)]).status,
        304
    );
}

#[test]
fn more_ranges_than_the_limit_are_refused() {
    let daemon = daemon("[updates]\nmax_ranges = 3\n");
    publish(
        &daemon,
        &[("releases/mac/Seance-1.0.0-mac.zip", &content(100))],
    );
    assert_eq!(ranged(&daemon, "bytes=0-0,2-2,4-4", &[]).status, 206);
    assert_eq!(ranged(&daemon, "bytes=0-0,2-2,4-4,6-6", &[]).status, 416);
}

#[test]
fn a_thousand_ranges_come_in_the_order_of_the_request() {
    let mut ranges = thousand();
    let content = content(ranges.last().map_or(0, |range| range.end));
    let daemon = serving(&content);
    for turn in [0, 333] {
        ranges.rotate_left(turn);
        let answer = ranged(&daemon, &field(&ranges), &[]);
        assert_eq!(answer.status, 206);
        assert_eq!(answer.header("content-encoding"), None);
        assert_eq!(
            answer.header("content-length"),
            Some(answer.body.len().to_string().as_str())
        );
        assert_parts(
            answer.header("content-type").expect("a type"),
            &answer.body,
            &ranges,
            &content,
        );
    }
}

#[track_caller]
fn assert_parts(content_type: &str, body: &[u8], ranges: &[Range<usize>], content: &[u8]) {
    let parts = parts(content_type, body);
    assert_eq!(parts.len(), ranges.len());
    for ((found, bytes), range) in parts.iter().zip(ranges) {
        assert_eq!(
            *found,
            format!("bytes {}-{}/{}", range.start, range.end - 1, content.len())
        );
        assert!(bytes == &content[range.clone()], "{found}");
    }
}

#[test]
fn ranges_are_the_same_over_http_2() {
    let ranges = thousand();
    let content = content(ranges.last().map_or(0, |range| range.end));
    let daemon = serving(&content);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let client = reqwest::Client::builder()
            .http2_prior_knowledge()
            .timeout(Duration::from_secs(60))
            .build()
            .expect("a client");
        let get = |range: String| client.get(daemon.url(PATH)).header("range", range).send();
        let single = get("bytes=5-9".to_owned()).await.expect("an answer");
        assert_eq!(
            (single.status().as_u16(), single.version()),
            (206, reqwest::Version::HTTP_2)
        );
        assert_eq!(single.bytes().await.expect("a body"), content[5..10]);
        let many = get(field(&ranges)).await.expect("an answer");
        assert_eq!(many.status().as_u16(), 206);
        let length = many.content_length();
        let content_type = many.headers()["content-type"]
            .to_str()
            .expect("a type")
            .to_owned();
        let body = many.bytes().await.expect("a body");
        assert_eq!(length, Some(body.len() as u64));
        assert_parts(&content_type, &body, &ranges, &content);
        assert_eq!(
            get("bytes=0-5,3-8".to_owned())
                .await
                .expect("an answer")
                .status()
                .as_u16(),
            416
        );
    });
}

#[test]
#[ignore = "needs Ceph RGW: tests/run"]
fn ranges_of_a_bucket_are_the_same() {
    let ranges = thousand();
    let content = content(ranges.last().map_or(0, |range| range.end));
    let bucket = crate::harness::bucket::Bucket::fresh();
    let daemon = daemon(&bucket.toml());
    publish(
        &daemon,
        &[
            ("releases/mac/Seance-1.0.0-mac.zip", &content),
            ("releases/mac/empty.bin", b""),
        ],
    );
    assert!(get(daemon.http, PATH).body == content);
    assert_eq!(get(daemon.http, "/updates/mac/empty.bin").status, 200);
    assert!(ranged(&daemon, "bytes=-5", &[]).body == content[content.len() - 5..]);
    for turn in [0, 333] {
        let mut ranges = ranges.clone();
        ranges.rotate_left(turn);
        let answer = ranged(&daemon, &field(&ranges), &[]);
        assert_eq!(answer.status, 206);
        assert_parts(
            answer.header("content-type").expect("a type"),
            &answer.body,
            &ranges,
            &content,
        );
    }
}
