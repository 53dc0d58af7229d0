//! Updates for Tauri's updater, Squirrel.Mac and Squirrel.Windows, in the form that their clients take.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde_json::{Value, json};

use crate::harness::Daemon;
use crate::harness::http::{Answer, get, request};
use crate::harness::release::{Files, deploy_with, files};
use crate::updates_http::{daemon, publish};

/// Within the first per cent, and behind nine tenths, by electron-updater's rule.
const EARLY: &str = "6f2b3a10-1c5d-5e8f-9a0b-112200000001";
const LATE: &str = "6f2b3a10-1c5d-5e8f-9a0b-1122f0000000";

/// What `RemoteRelease` of tauri-plugin-updater 2 takes in its dynamic form: a semantic version and a whole address, both
/// strings; a signature; notes and an RFC 3339 date that may be absent.
#[track_caller]
fn tauri_takes(update: &Value) {
    let text = |name: &str| update[name].as_str();
    let version = text("version").expect("a version");
    assert!(
        version.split('.').count() >= 3 && version.starts_with(|c: char| c.is_ascii_digit()),
        "{update}"
    );
    whole_address(text("url").expect("an address"));
    assert!(
        text("signature").is_some_and(|signature| !signature.is_empty()),
        "{update}"
    );
    if let Some(date) = update.get("pub_date") {
        let date: Result<jiff::Timestamp, _> = date.as_str().expect("a text").parse();
        assert!(date.is_ok(), "{update}");
    }
    assert!(update.get("notes").is_none_or(Value::is_string), "{update}");
}

#[track_caller]
fn whole_address(url: &str) {
    let url: http::Uri = url.parse().expect("an address");
    assert!(url.scheme().is_some() && url.host().is_some(), "{url}");
}

/// The path of a whole address of the daemon.
fn path(url: &str) -> &str {
    let (_, rest) = url.split_once("://").expect("a scheme");
    rest.find('/')
        .and_then(|at| rest.get(at..))
        .expect("a path")
}

fn bundles(version: &str) -> Files {
    let bundle = |directory: &str, name: &str| {
        format!("releases/{directory}/{}", name.replace("{}", version))
    };
    let mut all = Files::new();
    for (directory, name) in [
        ("darwin-arm64", "Notes_{}_aarch64.app.tar.gz"),
        ("linux-x64", "Notes_{}_amd64.AppImage"),
        ("linux-x64", "Notes_{}_amd64.deb"),
        ("win32-x64", "Notes_{}_x64-setup.exe"),
    ] {
        let path = bundle(directory, name);
        all.insert(
            format!("{path}.sig"),
            format!("signature of {path}\n").into_bytes(),
        );
        all.insert(path, version.as_bytes().to_vec());
    }
    all.insert("releases/linux-x64/notes.md".to_owned(), b"Faster".to_vec());
    all
}

fn deployed(daemon: &Daemon, query: &str, files: &Files) {
    let answer = deploy_with(
        daemon.http,
        "secret",
        files,
        &format!("/deploy{query}"),
        &[],
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn a_tauri_app_is_told_of_a_signed_bundle_that_is_newer() {
    let daemon = daemon("");
    assert_eq!(
        get(daemon.http, "/updates/tauri/linux/x86_64/1.0.0").status,
        204
    );
    deployed(&daemon, "", &bundles("1.0.0"));
    deployed(&daemon, "", &bundles("1.1.0"));
    let ask = |path: &str| get(daemon.http, &format!("/updates/tauri/{path}"));
    let answer = ask("linux/x86_64/1.0.0");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let update = answer.json();
    tauri_takes(&update);
    assert_eq!(
        (&update["version"], &update["notes"]),
        (&json!("1.1.0"), &json!("Faster"))
    );
    let bundle = "releases/linux-x64/Notes_1.1.0_amd64.AppImage";
    assert_eq!(update["signature"], format!("signature of {bundle}"));
    let url = update["url"].as_str().expect("an address");
    assert_eq!(url, format!("http://localhost/prod/{bundle}"));
    assert_eq!(get(daemon.http, path(url)).body, b"1.1.0");
    for nothing in [
        "linux/x86_64/1.1.0",
        "linux/x86_64/2.0.0",
        "linux/aarch64/1.0.0",
        "plan9/x86_64/1.0.0",
    ] {
        assert_eq!(ask(nothing).status, 204, "{nothing}");
    }
    let deb = ask("linux/x86_64/1.0.0?bundle_type=deb").json();
    assert!(
        deb["url"].as_str().is_some_and(|url| url.ends_with(".deb")),
        "{deb}"
    );
    assert_eq!(ask("linux/x86_64/newest").status, 400);
}

#[test]
fn a_static_document_is_made_of_the_newest_signed_bundles() {
    let daemon = daemon("");
    assert_eq!(get(daemon.http, "/updates/tauri/latest.json").status, 404);
    deployed(&daemon, "", &bundles("1.1.0"));
    deployed(&daemon, "", &bundles("1.0.0"));
    let ask = |path: &str| get(daemon.http, &format!("/updates/tauri/{path}"));
    let document = ask("latest.json").json();
    assert_eq!(document["version"], "1.1.0");
    let targets: Vec<&String> = document["platforms"]
        .as_object()
        .expect("platforms")
        .keys()
        .collect();
    assert_eq!(
        targets,
        [
            "darwin-aarch64",
            "darwin-aarch64-app",
            "linux-x86_64",
            "linux-x86_64-appimage",
            "linux-x86_64-deb",
            "windows-x86_64",
            "windows-x86_64-nsis"
        ]
    );
    for bundle in document["platforms"]
        .as_object()
        .expect("platforms")
        .values()
    {
        tauri_takes(
            &json!({ "version": "1.1.0", "url": bundle["url"], "signature": bundle["signature"] }),
        );
    }
    let tagged = ask("latest.json");
    let tag = tagged.header("etag").expect("a tag");
    let again = request(
        daemon.http,
        "GET",
        "/updates/tauri/latest.json",
        &[("If-None-Match", tag)],
        b"",
    );
    assert_eq!(again.status, 304);
}

/// A static document of one channel.
fn document(version: &str, channel: &str) -> Files {
    let platform = json!({ "url": format!("linux-x64/N_{version}.AppImage"), "signature": "s" });
    let text = json!({ "version": version, "notes": "n", "pub_date": "2026-11-21T10:00:00Z", "platforms": { "linux-x86_64": platform } });
    let mut all = files(&[(
        &format!("releases/linux-x64/N_{version}.AppImage"),
        version.as_bytes(),
    )]);
    all.insert(
        format!("releases/{channel}.json"),
        text.to_string().into_bytes(),
    );
    all
}

#[test]
fn a_static_document_follows_its_channel_and_its_rollout() {
    let daemon = daemon("");
    deployed(&daemon, "", &document("1.0.0", "latest"));
    deployed(&daemon, "", &document("2.0.0-beta.1", "beta"));
    deployed(&daemon, "?rollout=10", &document("1.1.0", "latest"));
    let ask = |path: &str, client: Option<&str>| {
        let fields: Vec<(&str, &str)> = client
            .map(|id| ("x-user-staging-id", id))
            .into_iter()
            .collect();
        request(
            daemon.http,
            "GET",
            &format!("/updates/tauri/{path}"),
            &fields,
            b"",
        )
    };
    let version = |answer: &Answer| answer.json()["version"].clone();
    let early = ask("linux/x86_64/0.9.0", Some(EARLY));
    tauri_takes(&early.json());
    assert_eq!(version(&early), "1.1.0");
    assert_eq!(early.header("vary"), Some("x-user-staging-id"));
    assert_eq!(version(&ask("linux/x86_64/0.9.0", Some(LATE))), "1.0.0");
    assert_eq!(version(&ask("linux/x86_64/0.9.0", None)), "1.0.0");
    assert_eq!(ask("linux/x86_64/1.0.0", None).status, 204);
    assert_eq!(
        version(&ask("linux/x86_64/1.0.0?channel=beta", None)),
        "2.0.0-beta.1"
    );
    assert_eq!(version(&ask("latest.json", Some(EARLY))), "1.1.0");
    assert_eq!(version(&ask("beta.json", None)), "2.0.0-beta.1");
    assert_eq!(ask("canary.json", None).status, 404);
}

#[test]
fn a_whole_address_names_the_cdn_or_the_host_that_was_asked() {
    let hash = crate::harness::key_hash("secret");
    let proxy = daemon("[http]\ntrusted_proxies = [\"127.0.0.1\"]\n");
    deployed(&proxy, "", &bundles("1.0.0"));
    let fields = [("Host", "backend.example"), ("X-Forwarded-Proto", "https")];
    let answer = request(
        proxy.http,
        "GET",
        "/updates/tauri/linux/x86_64/0.9.0",
        &fields,
        b"",
    );
    assert_eq!(
        answer.json()["url"],
        "https://backend.example/prod/releases/linux-x64/Notes_1.0.0_amd64.AppImage"
    );
    let app = format!(
        "[apps.cdn]\nbuilder_key_hashes = [\"{hash}\"]\ncdn_endpoint = \"https://cdn.example\"\n"
    );
    let daemon = daemon(&app);
    let answer = deploy_with(
        daemon.http,
        "secret",
        &bundles("1.0.0"),
        "/apps/cdn/deploy",
        &[],
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    crate::harness::wait::wait_until(
        "the copies are made",
        || get(daemon.http, "/apps/cdn/updates/tauri/linux/x86_64/0.9.0").text(),
        |text| text.contains("https://cdn.example/cdn/releases/linux-x64/"),
    );
}

/// What Squirrel.Mac reads of an update (`SQRLUpdate`): a whole address, and a date of the form
/// `yyyy-MM-dd'T'HH:mm:ssZZZZZ`.
#[test]
fn squirrel_for_macs_is_told_of_the_archive_for_its_processor() {
    let daemon = daemon("");
    let version = |version: &str| {
        let (intel, arm) = (
            format!("N-{version}-mac.zip"),
            format!("N-{version}-arm64-mac.zip"),
        );
        let manifest = format!(
            "version: {version}\nfiles:\n- url: {intel}\n- url: {arm}\nreleaseNotes: new\nreleaseDate: '2026-11-21T10:00:00.123Z'\n"
        );
        files(&[
            (&format!("releases/mac/{intel}"), intel.as_bytes()),
            (&format!("releases/mac/{arm}"), arm.as_bytes()),
            ("releases/mac/latest-mac.yml", manifest.as_bytes()),
        ])
    };
    let ask = |path: &str, client: &str| {
        let path = format!("/updates/squirrel/mac/{path}");
        request(
            daemon.http,
            "GET",
            &path,
            &[("x-user-staging-id", client)],
            b"",
        )
    };
    assert_eq!(ask("arm64/1.0.0", EARLY).status, 204);
    deployed(&daemon, "", &version("1.0.0"));
    deployed(&daemon, "?rollout=10", &version("1.1.0"));
    let update = ask("arm64/0.9.0", EARLY).json();
    assert_eq!(
        update,
        json!({ "url": "http://localhost/prod/releases/mac/N-1.1.0-arm64-mac.zip", "name": "1.1.0", "notes": "new",
            "pub_date": "2026-11-21T10:00:00Z" })
    );
    assert_eq!(
        get(daemon.http, path(update["url"].as_str().expect("a text"))).body,
        b"N-1.1.0-arm64-mac.zip"
    );
    assert_eq!(
        ask("x64/0.9.0", LATE).json()["url"],
        "http://localhost/prod/releases/mac/N-1.0.0-mac.zip"
    );
    assert_eq!(ask("arm64/1.0.0", LATE).status, 204);
    assert_eq!(ask("arm64/1.1.0", EARLY).status, 204);
    assert_eq!(
        (
            ask("m68k/1.0.0", EARLY).status,
            ask("arm64/x", EARLY).status
        ),
        (404, 400)
    );
}

/// Reads a line as `ReleaseEntry` of Squirrel.Windows does: what it does not take makes it refuse the whole file.
#[track_caller]
fn squirrel_reads(line: &str) -> (String, String, u64) {
    let words: Vec<&str> = line
        .split('#')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let [sha1, name, size] = words[..] else {
        panic!("{line}")
    };
    assert!(
        sha1.len() == 40 && sha1.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{line}"
    );
    assert!(
        name.starts_with("http") || !name.contains(['/', '\\']),
        "{line}"
    );
    (
        sha1.to_ascii_lowercase(),
        name.to_owned(),
        size.parse().expect("a size"),
    )
}

#[test]
fn squirrel_for_windows_gets_a_file_of_which_it_can_have_every_line() {
    let daemon = daemon("");
    let sha1 = |content: &[u8]| hex::encode_upper(digest(&SHA1_FOR_LEGACY_USE_ONLY, content));
    let (one, two) = (&b"first package"[..], &b"second"[..]);
    let releases = format!(
        "\u{feff}{} Notes-1.0.0-full.nupkg {}\r\n{} Notes-1.1.0-full.nupkg {}\r\n{} Notes-1.1.0-delta.nupkg 99\r\nnonsense\r\n",
        sha1(one),
        one.len(),
        sha1(two),
        two.len(),
        sha1(two)
    );
    publish(
        &daemon,
        &[
            ("releases/win32-x64/Notes-1.0.0-full.nupkg", one),
            ("releases/win32-x64/Notes-1.1.0-full.nupkg", two),
            (
                "releases/win32-x64/Notes-1.1.0-delta.nupkg",
                b"of another size",
            ),
            ("releases/win32-x64/RELEASES", releases.as_bytes()),
        ],
    );
    let asked = "/updates/squirrel/win/x64/RELEASES?id=Notes&localVersion=1.0.0&arch=amd64";
    let answer = get(daemon.http, asked);
    assert_eq!(
        (answer.status, answer.header("cache-control")),
        (200, Some("no-cache"))
    );
    let text = answer.text();
    let entries: Vec<_> = text.lines().map(squirrel_reads).collect();
    assert_eq!(entries.len(), 2, "{text}");
    for (hash, name, size) in entries {
        let package = get(daemon.http, &format!("/updates/squirrel/win/x64/{name}"));
        assert_eq!(
            (package.status, package.body.len() as u64),
            (200, size),
            "{name}"
        );
        assert_eq!(sha1(&package.body).to_ascii_lowercase(), hash, "{name}");
    }
    let tag = answer.header("etag").expect("a tag");
    assert_eq!(
        request(daemon.http, "GET", asked, &[("If-None-Match", tag)], b"").status,
        304
    );
    for (path, status) in [
        ("arm64/RELEASES", 404),
        ("x64/none.nupkg", 404),
        ("z80/RELEASES", 404),
    ] {
        assert_eq!(
            get(daemon.http, &format!("/updates/squirrel/win/{path}")).status,
            status,
            "{path}"
        );
    }
    let plain = get(daemon.http, "/updates/win32-x64/RELEASES");
    assert_eq!(plain.text(), releases, "as it was published");
}
