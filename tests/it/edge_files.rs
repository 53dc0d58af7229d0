//! Static files of a directory: what is found, what never is, and in which form it is sent.

use std::os::unix::fs::symlink;
use std::path::Path;

use crate::harness::Daemon;
use crate::harness::http::Answer;
use crate::harness::site::{ask, ask_by, coded, decoded, directory, site, write};
use crate::harness::wait::wait_until;

const HASHED: &str = "assets/index-B1xk2d9a.js";

/// A site of each kind of file, and what must stay outside of it.
fn example() -> (tempfile::TempDir, String) {
    let home = tempfile::tempdir().expect("a directory");
    let root = home.path().join("site");
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    write(
        &root,
        &[
            ("index.html", b"<h1>root"),
            ("about.html", b"<h1>about"),
            ("docs/index.html", b"<h1>docs"),
            ("404.html", b"<h1>nothing here"),
            ("app.js", "run();".repeat(300).as_bytes()),
            (HASHED, b"hashed"),
            ("feed.xml", b"<feed/>"),
            ("large.bin", &large),
            ("large.txt", &large),
            ("empty.txt", b""),
            ("\u{e9}t\u{e9}.txt", b"summer"),
            (".env", b"SECRET"),
            (".git/config", b"SECRET"),
            ("docs/.hidden.html", b"SECRET"),
            (".well-known/security.txt", b"Contact: us"),
            (".well-known/.secret", b"SECRET"),
        ],
    );
    write(
        home.path(),
        &[("secret.txt", b"SECRET"), ("site-2/x.txt", b"SECRET")],
    );
    let options = directory(&root, "");
    (home, options)
}

fn status(daemon: &Daemon, path: &str) -> (u16, String) {
    let answer = ask(daemon, path, &[]);
    (answer.status, answer.text())
}

#[test]
fn a_site_is_served_as_people_expect() {
    let (_home, options) = example();
    let daemon = site(&options);
    for (path, body) in [
        ("/", "<h1>root"),
        ("/?q=1", "<h1>root"),
        ("/index.html", "<h1>root"),
        ("/about", "<h1>about"),
        ("/about.html", "<h1>about"),
        ("/docs/", "<h1>docs"),
        ("/%C3%A9t%C3%A9.txt", "summer"),
        ("/empty.txt", ""),
        ("/.well-known/security.txt", "Contact: us"),
    ] {
        // Twice: the second comes from memory.
        for _ in 0..2 {
            assert_eq!(status(&daemon, path), (200, body.to_owned()), "{path}");
        }
    }
    for (path, location) in [
        ("/docs", "./docs/"),
        ("/docs?a=b&c", "./docs/?a=b&c"),
        ("/about/", "../about"),
    ] {
        let answer = ask(&daemon, path, &[]);
        assert_eq!(
            (answer.status, answer.header("location")),
            (308, Some(location)),
            "{path}"
        );
    }
    for path in [
        "/nothing",
        "/nothing.js",
        "/app.js/",
        "/app.js/x",
        "/assets/",
        "/assets",
    ] {
        assert_eq!(
            status(&daemon, path),
            (404, "<h1>nothing here".to_owned()),
            "{path}"
        );
    }
}

#[test]
fn types_and_caching_follow_the_name() {
    let (_home, options) = example();
    let daemon = site(&options);
    let types = [
        ("/", "text/html; charset=utf-8", "no-cache"),
        (
            "/app.js",
            "text/javascript; charset=utf-8",
            "public, max-age=0, must-revalidate",
        ),
        (
            "/assets/index-B1xk2d9a.js",
            "text/javascript; charset=utf-8",
            "public, max-age=31536000, immutable",
        ),
        (
            "/feed.xml",
            "application/xml",
            "public, max-age=0, must-revalidate",
        ),
        (
            "/large.bin",
            "application/octet-stream",
            "public, max-age=0, must-revalidate",
        ),
    ];
    for (path, kind, cache) in types {
        let answer = ask(&daemon, path, &[]);
        assert_eq!(answer.header("content-type"), Some(kind), "{path}");
        assert_eq!(answer.header("cache-control"), Some(cache), "{path}");
        assert!(
            answer.header("last-modified").is_some() && answer.header("etag").is_some(),
            "{path}"
        );
    }
    assert_eq!(ask(&daemon, "/nothing", &[]).header("etag"), None);
}

#[test]
fn only_get_and_head_are_answered_and_head_has_no_body() {
    let (_home, options) = example();
    let daemon = site(&options);
    for path in ["/", "/app.js", "/large.bin", "/nothing"] {
        let get = ask(&daemon, path, &[]);
        let head = ask_by(daemon.http, "HEAD", path, &[]);
        assert_eq!(head.status, get.status, "{path}");
        for name in ["content-length", "content-type", "etag", "cache-control"] {
            assert_eq!(head.header(name), get.header(name), "{path} {name}");
        }
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let answer = ask_by(daemon.http, method, path, &[]);
            assert_eq!(
                (answer.status, answer.header("allow")),
                (405, Some("GET, HEAD")),
                "{method} {path}"
            );
        }
    }
}

#[test]
fn nothing_outside_or_hidden_is_ever_sent() {
    let (home, options) = example();
    let root = home.path().join("site");
    symlink(home.path().join("secret.txt"), root.join("out.txt")).expect("a link");
    symlink("../secret.txt", root.join("up.txt")).expect("a link");
    symlink(home.path(), root.join("home")).expect("a link");
    symlink("/etc", root.join("etc")).expect("a link");
    symlink("/proc/self/root", root.join("magic")).expect("a link");
    symlink("loop", root.join("loop")).expect("a link");
    symlink("about.html", root.join("inside.html")).expect("a link");
    nix::unistd::mkfifo(&root.join("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let daemon = site(&options);
    for path in [
        "/../secret.txt",
        "/docs/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/%2E%2E/secret.txt",
        "/.%2e/secret.txt",
        "/..%2fsecret.txt",
        "/..%2Fsecret.txt",
        "/%252e%252e/secret.txt",
        "/%252e%252e%252fsecret.txt",
        "/docs%2f..%2f..%2fsecret.txt",
        "/..\\secret.txt",
        "/..%5csecret.txt",
        "/docs\\..\\..\\secret.txt",
        "/%c0%ae%c0%ae/secret.txt",
        "/%ff",
        "/../site-2/x.txt",
        "/..%00/secret.txt",
        "/about.html%00",
        "/about.html%00.txt",
        "/%00",
        "//etc/passwd",
        "//secret.txt",
        "/./.env",
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/docs/.hidden.html",
        "/docs/.hidden",
        "/.well-known/.secret",
        "/docs/.well-known/x",
        "/out.txt",
        "/up.txt",
        "/home/secret.txt",
        "/etc/passwd",
        "/magic/etc/passwd",
        "/loop",
        "/pipe",
    ] {
        for _ in 0..2 {
            let answer = ask(&daemon, path, &[]);
            assert!(matches!(answer.status, 400 | 404), "{path}: {answer:?}");
            assert!(
                !answer.text().contains("SECRET") && !answer.text().contains("root:"),
                "{path}"
            );
        }
    }
    assert_eq!(status(&daemon, "/inside"), (200, "<h1>about".to_owned()));
}

#[test]
fn an_app_answers_navigation_and_only_that() {
    let (_home, options) = example();
    let daemon = site(&format!("{options}, spa = true"));
    let navigates: &[&[(&str, &str)]] = &[
        &[("Sec-Fetch-Mode", "navigate")],
        &[("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")],
        &[("Accept", "*/*")],
        &[],
    ];
    for headers in navigates {
        let answer = ask(&daemon, "/users/7", headers);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "<h1>root"),
            "{headers:?}"
        );
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
    }
    let of_person = ask(
        &daemon,
        "/users/jane.doe",
        &[("Sec-Fetch-Mode", "navigate")],
    );
    assert_eq!(of_person.status, 200);
    for (path, headers) in [
        ("/assets/gone.js", &[("Sec-Fetch-Mode", "no-cors")][..]),
        (
            "/assets/gone.js",
            &[("Sec-Fetch-Mode", "cors"), ("Accept", "*/*")],
        ),
        ("/assets/gone.js", &[("Accept", "*/*")]),
        ("/users/7", &[("Sec-Fetch-Mode", "cors")]),
        ("/users/7", &[("Accept", "application/json")]),
        ("/.env", &[("Sec-Fetch-Mode", "navigate")]),
    ] {
        assert_eq!(
            ask(&daemon, path, headers).status,
            404,
            "{path} {headers:?}"
        );
    }
}

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

#[test]
fn a_file_that_changes_is_noticed_and_so_is_a_switched_link() {
    let home = tempfile::tempdir().expect("a directory");
    let current = home.path().join("current");
    write(
        home.path(),
        &[
            ("v1/index.html", b"one"),
            ("v1/gone.txt", b"x"),
            ("v2/index.html", b"two"),
        ],
    );
    symlink("v1", &current).expect("a link");
    let daemon = site(&directory(&current, ""));
    let shows = |path: &str, wanted: &str| {
        let look = || ask(&daemon, path, &[]).text();
        wait_until("the change is seen", look, |text| text == wanted);
    };
    shows("/", "one");
    shows("/gone.txt", "x");
    let before = ask(&daemon, "/", &[]).header("etag").map(str::to_owned);
    // Same size, and as fast as can be.
    for text in ["ONE", "0ne", "OnE"] {
        std::fs::write(home.path().join("v1/index.html"), text).expect("a file");
        shows("/", text);
    }
    assert_ne!(
        ask(&daemon, "/", &[]).header("etag").map(str::to_owned),
        before
    );
    std::fs::remove_file(home.path().join("v1/gone.txt")).expect("removed");
    shows("/gone.txt", "Not found\n");
    write(home.path(), &[("v1/new.txt", b"new")]);
    shows("/new.txt", "new");
    symlink("v2", home.path().join("next")).expect("a link");
    std::fs::rename(home.path().join("next"), &current).expect("switched");
    shows("/", "two");
    shows("/new.txt", "Not found\n");
}

#[test]
fn a_directory_that_is_not_there_is_no_answer_and_no_end() {
    let home = tempfile::tempdir().expect("a directory");
    let root = home.path().join("later");
    let daemon = site(&directory(&root, ""));
    let answer = ask(&daemon, "/", &[]);
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    assert!(daemon.log().contains(&id));
    write(&root, &[("index.html", b"here")]);
    wait_until(
        "it is found",
        || ask(&daemon, "/", &[]).status,
        |status| *status == 200,
    );
}

#[test]
fn memory_for_files_stays_within_its_budget() {
    let home = tempfile::tempdir().expect("a directory");
    let root = home.path().join("site");
    let noise = |seed: u64| -> Vec<u8> {
        let next = |state: &u64| {
            Some(
                state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1),
            )
        };
        std::iter::successors(Some(seed), next)
            .map(|state| (state >> 56) as u8)
            .take(30_000)
            .collect()
    };
    for n in 0..400_u64 {
        write(&root, &[(&format!("{n}.bin"), &noise(n))]);
    }
    let daemon = site(&directory(&root, ", memory_bytes = 1048576"));
    let resident = || {
        let status = std::fs::read_to_string(
            Path::new("/proc")
                .join(daemon.child.id().to_string())
                .join("status"),
        );
        let status = status.expect("the daemon's memory");
        let line = status
            .lines()
            .find(|line| line.starts_with("RssAnon:"))
            .expect("a line");
        line.split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse::<u64>().ok())
            .expect("a number")
    };
    ask(&daemon, "/0.bin", &[]);
    let before = resident();
    for round in 0..2 {
        for n in 0..400 {
            let answer = ask(&daemon, &format!("/{n}.bin"), &[]);
            assert!(answer.body == noise(n), "{round} {n}");
        }
    }
    // All of them would be 12 MB.
    let grown = resident().saturating_sub(before);
    assert!(grown < 6_000, "{grown} KiB");
}
