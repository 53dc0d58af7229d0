//! What desktop apps read: manifests and files, their headers, conditions and redirects.

use std::net::SocketAddr;

use serde_json::json;

use crate::harness::http::{Answer, get, request};
use crate::harness::wait::wait_until;
use crate::harness::{Builder, Daemon};

pub fn publish(daemon: &Daemon, files: &[(&str, &[u8])]) {
    let entry = |(path, content): &(&str, &[u8])| json!({ "path": path, "content": base64_simd::STANDARD.encode_to_string(content) });
    let body = json!({ "files": files.iter().map(entry).collect::<Vec<_>>() }).to_string();
    let headers = [
        ("X-Builder-Key", "secret"),
        ("Content-Type", "application/json"),
    ];
    let answer = request(daemon.http, "POST", "/deploy", &headers, body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// The default app of a configuration, with the word `secret` as its key.
const KEY: &str = "[apps.default]\nbuilder_key_hashes = [\"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\"]\n";

/// A daemon to which everybody may publish who knows the word `secret`.
pub fn daemon(config: &str) -> Daemon {
    Builder::new().config(&format!("{KEY}{config}")).start()
}

fn with(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    request(address, "GET", path, headers, b"")
}

/// The header fields, but for those that differ from answer to answer.
fn named(answer: &Answer) -> Vec<(String, String)> {
    let mut named = answer.headers.clone();
    named.retain(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()));
    named.sort();
    named
}

const MANIFEST: &[u8] = b"version: 1.2.0\nfiles:\n  - url: Seance-1.2.0-mac.zip\n";

fn published() -> Daemon {
    let daemon = daemon("");
    publish(
        &daemon,
        &[
            ("releases/version.json", b"{\"version\":\"1.2.0\"}"),
            ("releases/darwin-arm64/latest-mac.yml", MANIFEST),
            (
                "releases/darwin-arm64/Seance-1.2.0-mac.zip",
                b"not really a zip",
            ),
            ("releases/Seance-1.2.0.dmg", b"not really a dmg"),
        ],
    );
    daemon
}

#[test]
fn manifests_and_artefacts_are_at_the_contracts_addresses() {
    let daemon = published();
    for (path, content_type, cache_control, body) in [
        (
            "/updates/api/version.json",
            "application/json",
            "no-cache",
            &b"{\"version\":\"1.2.0\"}"[..],
        ),
        (
            "/updates/version.json",
            "application/json",
            "no-cache",
            b"{\"version\":\"1.2.0\"}",
        ),
        (
            "/updates/darwin-arm64/latest-mac.yml?noCache=1j0",
            "text/yaml",
            "no-cache",
            MANIFEST,
        ),
        (
            "/updates/darwin-arm64/Seance-1.2.0-mac.zip",
            "application/zip",
            "public, max-age=31536000, immutable",
            b"not really a zip",
        ),
        (
            "/updates/Seance-1.2.0.dmg",
            "application/x-apple-diskimage",
            "public, max-age=31536000, immutable",
            b"not really a dmg",
        ),
        (
            "/prod/releases/darwin-arm64/latest-mac.yml",
            "text/yaml",
            "no-cache",
            MANIFEST,
        ),
        (
            "/apps/default/updates/darwin-arm64/latest-mac.yml",
            "text/yaml",
            "no-cache",
            MANIFEST,
        ),
    ] {
        let answer = get(daemon.http, path);
        assert_eq!(
            (answer.status, answer.body.as_slice()),
            (200, body),
            "{path}"
        );
        assert_eq!(answer.header("content-type"), Some(content_type), "{path}");
        assert_eq!(
            answer.header("cache-control"),
            Some(cache_control),
            "{path}"
        );
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        assert_eq!(answer.header("content-encoding"), None, "{path}");
        let head = request(daemon.http, "HEAD", path, &[], b"");
        assert_eq!((head.status, named(&head)), (200, named(&answer)), "{path}");
    }
}

#[test]
fn what_is_absent_is_404() {
    let daemon = published();
    for (path, error) in [
        ("/updates/win32-x64/latest.yml", "Manifest not found"),
        ("/updates/latest-linux.yml", "Manifest not found"),
        ("/updates/darwin-arm64/none.zip", "Not found"),
        (
            "/updates/darwin-arm64/../version.json",
            "Manifest not found",
        ),
        ("/updates/%2e%2e/version.json", "Manifest not found"),
        ("/updates/%ff/x", "Not found"),
        ("/prod/none", "Not found"),
        ("/dev/releases/version.json", "Not found"),
        ("/.seance/log/000000000001.json", "Not found"),
        ("/prod/../.seance/log/000000000001.json", "Not found"),
    ] {
        let answer = get(daemon.http, path);
        assert_eq!(
            (answer.status, answer.json()["error"].as_str()),
            (404, Some(error)),
            "{path}"
        );
    }
}

#[test]
fn a_manifest_that_the_client_has_is_304() {
    let daemon = published();
    for path in [
        "/updates/darwin-arm64/latest-mac.yml",
        "/updates/darwin-arm64/Seance-1.2.0-mac.zip",
    ] {
        let first = get(daemon.http, path);
        let etag = first.header("etag").expect("an ETag").to_owned();
        let modified = first.header("last-modified").expect("a date").to_owned();
        assert!(etag.starts_with('"'), "a strong tag: {etag}");
        let status = |headers: &[(&str, &str)]| {
            let answer = with(daemon.http, path, headers);
            assert!(
                answer.status != 304
                    || answer.body.is_empty() && answer.header("etag") == Some(&etag)
            );
            answer.status
        };
        assert_eq!(status(&[("If-None-Match", &etag)]), 304);
        assert_eq!(
            status(&[("If-None-Match", &format!("\"x\", W/{etag}"))]),
            304
        );
        assert_eq!(status(&[("If-Modified-Since", &modified)]), 304);
        assert_eq!(
            status(&[("If-None-Match", "\"x\""), ("If-Modified-Since", &modified)]),
            200
        );
        assert_eq!(status(&[("If-Match", "\"x\"")]), 412);
    }
}

#[test]
fn a_new_release_changes_the_tag_at_once() {
    let daemon = published();
    let path = "/updates/darwin-arm64/latest-mac.yml";
    let old = get(daemon.http, path);
    publish(
        &daemon,
        &[("releases/darwin-arm64/latest-mac.yml", b"version: 1.3.0\n")],
    );
    let etag = old.header("etag").expect("an ETag");
    let new = with(daemon.http, path, &[("If-None-Match", etag)]);
    assert_eq!(
        (new.status, new.body.as_slice()),
        (200, &b"version: 1.3.0\n"[..])
    );
}

/// Where requests for an artefact of an app with a CDN go: whole, one range, two ranges.
fn destinations(artifacts: &str) -> [(u16, Option<String>); 3] {
    let daemon = daemon(&format!(
        "cdn_endpoint = \"https://cdn.example\"\n[updates]\nartifacts = \"{artifacts}\"\n"
    ));
    publish(
        &daemon,
        &[
            ("releases/mac/S 1.0.0.zip", b"0123456789"),
            ("releases/mac/latest-mac.yml", MANIFEST),
        ],
    );
    let manifest = get(daemon.http, "/updates/mac/latest-mac.yml");
    assert_eq!((manifest.status, manifest.body.as_slice()), (200, MANIFEST));
    assert_eq!(
        get(daemon.http, "/prod/releases/mac/S%201.0.0.zip").status,
        200
    );
    let to = |headers: &[(&str, &str)]| {
        let answer = with(daemon.http, "/updates/mac/S%201.0.0.zip", headers);
        (answer.status, answer.header("location").map(str::to_owned))
    };
    if artifacts != "serve" {
        // Only when the CDN has all of it.
        wait_until(
            "the release is projected",
            || to(&[]),
            |(status, _)| *status == 302,
        );
    }
    [
        to(&[]),
        to(&[("Range", "bytes=0-1")]),
        to(&[("Range", "bytes=0-1,4-5")]),
    ]
}

#[test]
fn downloads_go_to_the_cdn_as_configured_and_several_ranges_never_do() {
    let cdn = (
        302,
        Some("https://cdn.example/prod/releases/mac/S%201.0.0.zip".to_owned()),
    );
    assert_eq!(
        destinations("auto"),
        [cdn.clone(), (206, None), (206, None)]
    );
    assert_eq!(destinations("redirect"), [cdn.clone(), cdn, (206, None)]);
    assert_eq!(
        destinations("serve"),
        [(200, None), (206, None), (206, None)]
    );
}

#[test]
#[ignore = "needs Ceph RGW: tests/run"]
fn the_last_known_manifests_are_served_while_the_bucket_is_away() {
    let bucket = crate::harness::bucket::Bucket::fresh();
    let home = tempfile::tempdir().expect("a temporary directory");
    let path = "/updates/mac/latest-mac.yml";
    let first = Builder::at(home.path())
        .config(&format!("{KEY}{}", bucket.toml()))
        .start();
    publish(
        &first,
        &[
            ("releases/mac/latest-mac.yml", MANIFEST),
            ("releases/mac/S-1.2.0-mac.zip", b"zip"),
        ],
    );
    let fresh = get(first.http, path);
    assert_eq!(fresh.header("x-seance-stale"), None);
    let snapshot = first.state().join("releases.json");
    wait_until(
        "the snapshot knows of the release",
        || std::fs::read_to_string(&snapshot).unwrap_or_default(),
        |saved| saved.contains("S-1.2.0-mac.zip"),
    );
    first.stop();
    let away = bucket
        .toml()
        .replace(&bucket.endpoint, "http://127.0.0.1:9");
    let second = Builder::at(home.path())
        .config(&format!("{KEY}{away}"))
        .start();
    let stale = get(second.http, path);
    assert_eq!((stale.status, stale.body.as_slice()), (200, MANIFEST));
    assert_eq!(stale.header("etag"), fresh.header("etag"));
    let seconds = stale
        .header("x-seance-stale")
        .and_then(|seconds| seconds.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| seconds < 600), "{stale:?}");
    let status = |path: &str| get(second.http, path).status;
    assert_eq!(
        status("/updates/mac/S-1.2.0-mac.zip"),
        503,
        "it cannot be read"
    );
    assert_eq!(
        status("/updates/mac/S-1.3.0-mac.zip"),
        503,
        "it cannot be known"
    );
    assert_eq!((status("/health/ready"), status("/health")), (200, 503));
    let health = get(second.http, "/health").json();
    assert_eq!(
        (
            health["status"].as_str(),
            health["storage"]["cloud"].as_str()
        ),
        (Some("degraded"), Some("unreachable"))
    );
}

#[test]
fn a_host_with_the_dot_of_the_root_is_the_same_host() {
    let config = "[apps.other]\nhosts = [\"other.example\"]\n";
    let daemon = daemon(config);
    let file = [("releases/n.txt", &b"default"[..])];
    publish(&daemon, &file);
    for (host, status) in [
        ("elsewhere.example", 200),
        ("other.example", 404),
        ("other.example.", 404),
        ("OTHER.example.:3000", 404),
    ] {
        let answer = with(daemon.http, "/updates/n.txt", &[("Host", host)]);
        assert_eq!(answer.status, status, "{host}");
    }
}

#[test]
fn names_relative_to_a_manifest_lead_to_files_or_are_told_of() {
    let daemon = daemon("");
    let manifest =
        b"version: 1.0.0\nfiles:\n- url: sub/Setup-1.0.0.exe\n- url: ../../other/Setup-1.0.0.exe\n";
    let files: Vec<serde_json::Value> = [
        ("releases/win/latest.yml", &manifest[..]),
        ("releases/a/b/latest.yml", b"version: 1.0.0\nfiles: []\n"),
        ("releases/win/sub/Setup-1.0.0.exe", b"exe"),
        ("other/Setup-1.0.0.exe", b"exe"),
    ]
    .map(|(path, content)| json!({ "path": path, "content": base64_simd::STANDARD.encode_to_string(content) }))
    .into();
    let headers = [
        ("X-Builder-Key", "secret"),
        ("Content-Type", "application/json"),
    ];
    let body = json!({ "files": files }).to_string();
    let answer = request(daemon.http, "POST", "/deploy", &headers, body.as_bytes());
    let warnings = answer.json()["warnings"].to_string();
    assert!(
        warnings.contains("names `../../other/Setup-1.0.0.exe`, which lies above `releases/`")
            && !warnings.contains("which is not published"),
        "{warnings}"
    );
    for (path, content) in [
        ("win/latest.yml", &manifest[..]),
        ("a/b/latest.yml", b"version: 1.0.0\nfiles: []\n"),
        ("win/sub/Setup-1.0.0.exe", b"exe"),
    ] {
        for root in ["", "/apps/default"] {
            let path = format!("{root}/updates/{path}");
            assert_eq!(get(daemon.http, &path).body, content, "{path}");
        }
    }
}
