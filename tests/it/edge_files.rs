//! Static files of a directory: what is found, what never is, and what becomes of changes.

use std::os::unix::fs::symlink;

use crate::harness::Daemon;
use crate::harness::site::{ask, ask_by, directory, site, write};
use crate::harness::wait::wait_until;

const HASHED: &str = "assets/index-B1xk2d9a.js";

/// A site of each kind of file, and what must stay outside of it.
pub fn example() -> (tempfile::TempDir, String) {
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
    symlink(".env", root.join("env.txt")).expect("a link");
    symlink(".well-known/security.txt", root.join("contact.txt")).expect("a link");
    symlink(".git", root.join("gitlink")).expect("a link");
    symlink("../docs/.hidden.html", root.join("docs/shown.html")).expect("a link");
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
        "/env.txt",
        "/gitlink/config",
        "/docs/shown",
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
    assert_eq!(status(&daemon, "/contact.txt").0, 200);
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
fn a_file_that_changes_is_noticed_and_so_is_a_switched_link() {
    let home = tempfile::tempdir().expect("a directory");
    let current = home.path().join("current");
    write(
        home.path(),
        &[
            (".releases/v1/index.html", b"one"),
            (".releases/v1/gone.txt", b"x"),
            (".releases/v2/index.html", b"two"),
        ],
    );
    symlink(".releases/v1", &current).expect("a link");
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
        std::fs::write(home.path().join(".releases/v1/index.html"), text).expect("a file");
        shows("/", text);
    }
    assert_ne!(
        ask(&daemon, "/", &[]).header("etag").map(str::to_owned),
        before
    );
    std::fs::remove_file(home.path().join(".releases/v1/gone.txt")).expect("removed");
    shows("/gone.txt", "Not found\n");
    write(home.path(), &[(".releases/v1/new.txt", b"new")]);
    shows("/new.txt", "new");
    symlink(".releases/v2", home.path().join("next")).expect("a link");
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
    let resident = || daemon.memory_kib();
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
