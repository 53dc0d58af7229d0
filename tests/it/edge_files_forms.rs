//! The form in which a static file is sent: compressed or not, whole or in part, or not again.

use crate::edge_files::example;
use crate::harness::http::Answer;
use crate::harness::site::{ask, coded, decoded, site};

#[test]
fn a_client_gets_the_coding_that_it_likes_best() {
    let (_home, options) = example();
    let daemon = site(&options);
    let plain = ask(&daemon, "/app.js", &[]);
    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(plain.header("vary"), Some("accept-encoding"));
    let mut tags = vec![plain.header("etag").expect("a tag").to_owned()];
    for coding in ["gzip", "br", "zstd"] {
        let answer = coded(&daemon, "/app.js", coding);
        assert_eq!(decoded(coding, &answer.body), plain.body, "{coding}");
        assert!(answer.body.len() < plain.body.len() / 2, "{coding}");
        assert_eq!(answer.header("vary"), Some("accept-encoding"));
        let tag = answer.header("etag").expect("a tag").to_owned();
        assert!(tag.starts_with('"') && !tags.contains(&tag), "{tag}");
        let again = [("Accept-Encoding", coding), ("If-None-Match", tag.as_str())];
        let unchanged = ask(&daemon, "/app.js", &again);
        assert_eq!(
            (unchanged.status, unchanged.header("etag")),
            (304, Some(tag.as_str()))
        );
        assert_eq!(unchanged.header("vary"), Some("accept-encoding"));
        tags.push(tag);
    }
    for (accept, coding) in [
        ("br;q=0.1, gzip;q=0.2", Some("gzip")),
        ("br;q=0, *;q=0", None),
        ("identity", None),
        ("identity;q=1, gzip;q=0.9", None),
        ("deflate", None),
        ("", None),
    ] {
        let answer = ask(&daemon, "/app.js", &[("Accept-Encoding", accept)]);
        assert_eq!(answer.header("content-encoding"), coding, "{accept:?}");
    }
    let any = ask(
        &daemon,
        "/app.js",
        &[("Accept-Encoding", "gzip, deflate, br, zstd")],
    );
    assert!(any.header("content-encoding").is_some());
    // Nothing to be gained.
    for path in ["/feed.xml", "/large.bin"] {
        let answer = ask(&daemon, path, &[("Accept-Encoding", "gzip, br")]);
        assert_eq!(answer.header("content-encoding"), None, "{path}");
    }
}

#[test]
fn compressed_files_beside_a_file_are_sent_instead_of_it() {
    let (home, options) = example();
    let root = home.path().join("site");
    let write_beside = |name: &str| {
        let file = root.join(name);
        std::fs::write(file, b"from the neighbour").expect("a file");
    };
    for name in ["app.js.br", "app.js.gz", "large.txt.zst", "large.bin.gz"] {
        write_beside(name);
    }
    // Older than its file, so it is of another version of it.
    write_beside("about.html.br");
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let file = std::fs::File::options()
        .write(true)
        .open(root.join("about.html.br"));
    file.expect("a file").set_modified(old).expect("a time");
    let daemon = site(&format!("{options}, precompress = false"));
    for (path, coding) in [
        ("/app.js", "br"),
        ("/app.js", "gzip"),
        ("/large.txt", "zstd"),
        ("/large.bin", "gzip"),
    ] {
        let answer = ask(&daemon, path, &[("Accept-Encoding", coding)]);
        assert_eq!(answer.header("content-encoding"), Some(coding), "{path}");
        assert_eq!(answer.text(), "from the neighbour", "{path}");
        assert_eq!(answer.header("vary"), Some("accept-encoding"), "{path}");
        let kind = ask(&daemon, path, &[])
            .header("content-type")
            .map(str::to_owned);
        assert_eq!(answer.header("content-type"), kind.as_deref(), "{path}");
    }
    for (path, coding) in [("/app.js", "zstd"), ("/large.txt", "br"), ("/about", "br")] {
        let answer = ask(&daemon, path, &[("Accept-Encoding", coding)]);
        assert_eq!(answer.header("content-encoding"), None, "{path}");
    }
    let ranged = [("Accept-Encoding", "gzip"), ("Range", "bytes=0-3")];
    assert_eq!(ask(&daemon, "/large.bin", &ranged).body, [0, 1, 2, 3]);
}

#[test]
fn conditions_and_ranges_hold_for_small_and_large_files() {
    let (home, options) = example();
    let daemon = site(&options);
    for name in ["app.js", "large.bin"] {
        let content = std::fs::read(home.path().join("site").join(name)).expect("the file");
        let path = format!("/{name}");
        let with = |headers: &[(&str, &str)]| ask(&daemon, &path, headers);
        let whole = with(&[]);
        assert!(whole.body == content, "{name}");
        assert_eq!(whole.header("accept-ranges"), Some("bytes"));
        let tag = whole.header("etag").expect("a tag").to_owned();
        let date = whole.header("last-modified").expect("a date").to_owned();
        for (headers, status) in [
            (&[("If-None-Match", tag.as_str())][..], 304),
            (&[("If-None-Match", "*")], 304),
            (&[("If-None-Match", "\"x\"")], 200),
            (&[("If-Modified-Since", &date)], 304),
            (
                &[("If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT")],
                200,
            ),
            (
                &[("If-None-Match", "\"x\""), ("If-Modified-Since", &date)],
                200,
            ),
            (&[("If-Match", &tag)], 200),
            (&[("If-Match", "\"x\"")], 412),
            (
                &[("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT")],
                412,
            ),
            (&[("Range", "bytes=0-0"), ("If-Range", &tag)], 206),
            (&[("Range", "bytes=0-0"), ("If-Range", "\"x\"")], 200),
            (&[("Range", "bytes=0-0"), ("If-Range", &date)], 200),
            (&[("Range", "bytes=99999999-")], 416),
            (&[("Range", "bytes=0-5,3-8")], 416),
            (&[("Range", "lines=1-2")], 200),
            (&[("Range", "bytes=x")], 200),
        ] {
            let answer = with(headers);
            assert_eq!(answer.status, status, "{name} {headers:?}");
            if status == 304 {
                assert_eq!(answer.header("etag"), Some(tag.as_str()));
                assert_eq!(answer.header("content-type"), None);
                assert!(answer.header("cache-control").is_some());
            }
        }
        let size = content.len();
        for (range, wanted) in [
            ("bytes=0-9", 0..10),
            ("bytes=5-", 5..size),
            ("bytes=-7", size - 7..size),
            ("bytes=100-99999999", 100..size),
        ] {
            let answer = with(&[("Range", range)]);
            assert_eq!(answer.status, 206);
            assert!(answer.body == content[wanted.clone()], "{name} {range}");
            let field = format!("bytes {}-{}/{size}", wanted.start, wanted.end - 1);
            assert_eq!(answer.header("content-range"), Some(field.as_str()));
        }
        parts(&with(&[("Range", "bytes=20-29, 0-4, -3")]), &content);
        let refused = with(&[("Range", "bytes=99999999-")]);
        assert_eq!(
            refused.header("content-range"),
            Some(format!("bytes */{size}").as_str())
        );
    }
}

/// Three parts in the order of the request.
fn parts(answer: &Answer, content: &[u8]) {
    assert_eq!(answer.status, 206);
    let kind = answer.header("content-type").expect("a type");
    let boundary = kind.split("boundary=").nth(1).expect("a boundary");
    let size = content.len();
    let mut wanted: Vec<u8> = Vec::new();
    for range in [20..30, 0..5, size - 3..size] {
        let type_of_part = if size > 10_000 {
            "application/octet-stream"
        } else {
            "text/javascript; charset=utf-8"
        };
        let line = if wanted.is_empty() { "" } else { "\r\n" };
        let head = format!(
            "{line}--{boundary}\r\nContent-Type: {type_of_part}\r\nContent-Range: bytes {}-{}/{size}\r\n\r\n",
            range.start,
            range.end - 1
        );
        wanted.extend(head.as_bytes());
        wanted.extend(&content[range]);
    }
    wanted.extend(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(answer.body == wanted, "{}", answer.text());
}
