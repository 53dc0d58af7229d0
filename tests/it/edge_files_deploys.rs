//! Static files of an app's newest deploy: it appears in one step, and what it replaced stays for the pages that need it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::harness::http::{Connection, head};
use crate::harness::release::{Files, deploy, files};
use crate::harness::site::{HOST, ask, coded, decoded, site, toml};
use crate::harness::{Builder, Daemon};

/// A web app whose page names the assets of its version.
fn app(version: usize) -> Files {
    let mut page = format!("<title>{version}</title>");
    let mut all = Files::new();
    for part in 0..5 {
        let name = format!("assets/part{part}-{version:08}.js");
        page += &format!("<script src=\"/{name}\"></script>");
        all.insert(
            format!("web/{name}"),
            format!("// {version} {part}").into_bytes(),
        );
    }
    all.insert("web/index.html".to_owned(), page.into_bytes());
    all.insert(
        "web/sw.js".to_owned(),
        format!("// worker {version}").into_bytes(),
    );
    all
}

fn publish(daemon: &Daemon, files: &Files) {
    let answer = deploy(daemon.http, "secret", files);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn a_deployed_app_is_served_from_the_store() {
    let daemon = site("app = \"default\", spa = true");
    assert_eq!(ask(&daemon, "/", &[]).status, 404);
    let script = "console.log(1);".repeat(200);
    let large = vec![b'x'; 3_000_000];
    publish(
        &daemon,
        &files(&[
            ("web/index.html", b"<h1>app"),
            ("web/about.html", b"<h1>about"),
            ("web/docs/index.html", b"<h1>docs"),
            ("web/app.js", script.as_bytes()),
            ("web/large.txt", &large),
            ("web/pre.js", b"plain and long enough"),
            ("web/pre.js.br", b"neighbour"),
            ("web/.well-known/a", b"known"),
            ("web/.hidden", b"SECRET"),
            ("releases/version.json", b"{\"version\":\"1.0.0\"}"),
        ]),
    );
    for (path, status, body) in [
        ("/", 200, "<h1>app"),
        ("/about", 200, "<h1>about"),
        ("/docs", 308, ""),
        ("/docs/", 200, "<h1>docs"),
        ("/users/7", 200, "<h1>app"),
        ("/gone.js", 404, "Not found\n"),
        ("/.hidden", 404, "Not found\n"),
        ("/.well-known/a", 200, "known"),
    ] {
        for _ in 0..2 {
            let answer = ask(&daemon, path, &[]);
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (status, body),
                "{path}"
            );
        }
    }
    for path in [
        "/../releases/version.json",
        "/%2e%2e/releases/version.json",
        "/..%2freleases/version.json",
    ] {
        let answer = ask(&daemon, path, &[]);
        assert!(matches!(answer.status, 400 | 404), "{path}: {answer:?}");
    }
    for coding in ["gzip", "br", "zstd"] {
        let answer = coded(&daemon, "/app.js", coding);
        assert_eq!(decoded(coding, &answer.body), script.as_bytes());
    }
    assert_eq!(
        ask(&daemon, "/pre.js", &[("Accept-Encoding", "br")]).text(),
        "neighbour"
    );
    let range = ask(&daemon, "/large.txt", &[("Range", "bytes=-5")]);
    assert_eq!((range.status, range.text().as_str()), (206, "xxxxx"));
    assert!(ask(&daemon, "/large.txt", &[]).body == large);
    let tag = ask(&daemon, "/", &[])
        .header("etag")
        .expect("a tag")
        .to_owned();
    assert_eq!(ask(&daemon, "/", &[("If-None-Match", &tag)]).status, 304);
}

#[test]
fn a_page_always_finds_the_assets_that_it_names_while_deploys_follow_each_other() {
    let daemon = site("app = \"default\", spa = true");
    publish(&daemon, &app(0));
    let done = AtomicBool::new(false);
    let seen = AtomicUsize::new(0);
    let address = daemon.http;
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| visit_until(&done, &seen, address));
        }
        let deploys = scope.spawn(|| {
            for version in 1..=25 {
                publish(&daemon, &app(version));
            }
        });
        let deployed = deploys.join();
        done.store(true, Ordering::Release);
        deployed.expect("all deploys succeed");
    });
    assert!(seen.load(Ordering::Relaxed) > 5, "{seen:?}");
}

/// Loads the page and its assets again and again; versions must never go back. Counts the versions.
fn visit_until(done: &AtomicBool, seen: &AtomicUsize, address: SocketAddr) {
    let mut connection = Connection::open(address);
    let mut get = |path: &str| {
        connection.send(&head("GET", path, &[("Host", HOST)], None));
        let answer = connection.answer(true);
        (answer.status, answer.text())
    };
    let mut newest = 0;
    while !done.load(Ordering::Acquire) {
        let (status, page) = get("/");
        assert_eq!(status, 200);
        let version = page
            .split(['>', '<'])
            .nth(2)
            .and_then(|text| text.parse::<usize>().ok());
        let version = version.unwrap_or_else(|| panic!("a page of no version: {page}"));
        assert!(version >= newest, "{version} after {newest}");
        if version > newest {
            newest = version;
            seen.fetch_add(1, Ordering::Relaxed);
        }
        for (part, script) in page.split("src=\"").skip(1).enumerate() {
            let path = script.split('"').next().expect("an address");
            assert_eq!(
                get(path),
                (200, format!("// {version} {part}")),
                "{path} of {version}"
            );
        }
    }
}

#[test]
fn assets_of_an_earlier_deploy_stay_for_a_while_and_its_pages_do_not() {
    let home = tempfile::tempdir().expect("a directory");
    let start = |options: &str| {
        let config = toml(&format!("app = \"default\"{options}"));
        Builder::at(home.path()).config(&config).start()
    };
    let daemon = start("");
    let mut first = app(1);
    first.insert("web/old.html".to_owned(), b"old".to_vec());
    publish(&daemon, &first);
    let mut second = app(2);
    second.remove("web/sw.js");
    publish(&daemon, &second);
    let status = |daemon: &Daemon, path: &str| ask(daemon, path, &[]).status;
    let old = "/assets/part0-00000001.js";
    let check = |daemon: &Daemon, old_asset: u16| {
        assert_eq!(status(daemon, old), old_asset);
        assert_eq!(status(daemon, "/assets/part0-00000002.js"), 200);
        for path in ["/old", "/old.html", "/sw.js"] {
            assert_eq!(status(daemon, path), 404, "{path}");
        }
    };
    check(&daemon, 200);
    assert_eq!(ask(&daemon, old, &[]).text(), "// 1 0");
    daemon.stop();
    let daemon = start("");
    check(&daemon, 200);
    daemon.stop();
    let daemon = start(", keep_replaced_days = 0");
    check(&daemon, 404);
}
