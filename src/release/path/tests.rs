use proptest::prelude::*;

use super::{KEY_BYTES, PathError, ReleasePath, longest_under};

fn path(text: &str) -> ReleasePath {
    ReleasePath::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

#[test]
fn ordinary_names_are_taken_as_they_are() {
    for text in [
        "a",
        "releases/darwin-arm64/Seance-1.4.0.dmg",
        "web/.well-known/x",
        "a/…/b c",
        "a/..b/c..",
        ".seanc/x",
        "x/.seance/y",
    ] {
        assert_eq!(path(text).as_str(), text);
    }
}

#[test]
fn every_rule_refuses_what_it_names() {
    let long = "x".repeat(256);
    let table = [
        ("", PathError::Empty),
        ("/a", PathError::Absolute),
        ("/", PathError::Absolute),
        ("a//b", PathError::EmptySegment),
        ("a/", PathError::EmptySegment),
        ("./a", PathError::CurrentDirectory),
        ("a/.", PathError::CurrentDirectory),
        ("..", PathError::ParentDirectory),
        ("releases/../secret", PathError::ParentDirectory),
        ("a\\b", PathError::Backslash),
        ("a\0b", PathError::Control('\0')),
        ("a\u{7f}", PathError::Control('\u{7f}')),
        ("a\u{85}", PathError::Control('\u{85}')),
        ("a\u{ffff}", PathError::Control('\u{ffff}')),
        (long.as_str(), PathError::LongSegment(256)),
        (".seance", PathError::Reserved),
        (".SeAnce/log/1", PathError::Reserved),
    ];
    for (text, rule) in table {
        assert_eq!(ReleasePath::parse(text), Err(rule), "{text:?}");
    }
}

#[test]
fn a_key_with_its_prefix_fits_1024_bytes() {
    let limit = longest_under("prod");
    assert_eq!(limit, 1019);
    assert_eq!(longest_under(""), KEY_BYTES);
    let mut text = "abc/".repeat(254);
    text.push_str("abc");
    assert_eq!(text.len(), limit);
    assert!(ReleasePath::parse_within(&text, limit).is_ok());
    text.push('d');
    assert_eq!(
        ReleasePath::parse_within(&text, limit),
        Err(PathError::TooLong {
            actual: 1020,
            limit
        })
    );
    assert!(ReleasePath::parse(&text).is_ok());
}

#[test]
fn two_spellings_of_one_name_are_one_path() {
    assert_eq!(path("re\u{301}sume\u{301}"), path("r\u{e9}sum\u{e9}"));
    // Normalising can lengthen a text; the limits hold for what is stored.
    let grows = "\u{958}".repeat(60);
    assert_eq!(ReleasePath::parse(&grows), Err(PathError::LongSegment(360)));
}

#[test]
fn parents_are_the_directories_above() {
    assert_eq!(path("a/b/c").parents().collect::<Vec<_>>(), ["a/b", "a"]);
    assert_eq!(path("a").parents().count(), 0);
    assert_eq!(path("a/b/c").file_name(), "c");
}

#[test]
fn manifests_are_told_from_artefacts() {
    for manifest in [
        "releases/version.json",
        "releases/darwin-arm64/latest-mac.yml",
        "releases/beta-linux-arm64.yml",
        "releases/win32-x64/canary.yml",
        "releases/win32-x64/RELEASES",
        "releases/win/RELEASES-x64",
        "releases/win/releases.win.json",
        "feed/latest.yml",
        "releases/latest.json",
        "releases/darwin-aarch64/beta.json",
        "releases/tauri/canary.json",
    ] {
        assert!(path(manifest).is_manifest(), "{manifest}");
        assert_eq!(path(manifest).cache_control(), "no-cache", "{manifest}");
    }
    for file in [
        "web/config.yml",
        "releases/a/Seance-1.0.0-mac.zip",
        "releases/releases.json",
        "web/data.json",
        "releases/x.yaml",
        "releases/canary.json",
        "web/latest.json",
        "web/tauri/x.json",
    ] {
        assert!(!path(file).is_manifest(), "{file}");
    }
}

#[test]
fn only_names_that_never_change_are_immutable() {
    for immutable in [
        "releases/darwin-arm64/Seance-1.4.0-arm64.dmg",
        "releases/Seance-1.4.0-arm64-mac.zip.blockmap",
        "releases/Seance Setup 10.20.30.exe",
        "releases/seance_1.4.0_amd64.deb",
        "releases/v1.4.0",
        "releases/1.2.0/App.dmg",
        "releases/v1.2.0/mac/App.dmg",
        "web/assets/index-B1xk_d9a.js",
        "web/static/js/main.8c1dfc2b.chunk.js",
        "web/_next/static/media/3f2a9c1b4d5e6f70.woff2",
        "web/main-4KZ3ABCD.css",
    ] {
        assert_eq!(
            path(immutable).cache_control(),
            "public, max-age=31536000, immutable",
            "{immutable}"
        );
    }
    for changing in [
        "releases/Seance.dmg",
        "releases/Seance-1.4.dmg",
        "releases/1.2/0/App.dmg",
        "web/main-messages.js",
        "web/mockup-iPhone15.png",
        "web/feature-20240115.js",
        "web/favicon.ico",
        "test/main.8c1dfc2b.js",
    ] {
        assert_eq!(
            path(changing).cache_control(),
            "public, max-age=0, must-revalidate",
            "{changing}"
        );
    }
    assert_eq!(path("web/docs-1.2.3.html").cache_control(), "no-cache");
    assert!(path("releases/Seance-1.4.0.dmg").is_versioned());
    assert!(!path("web/docs-1.2.3.html").is_versioned());
    assert!(!path("releases/1.2.3-mac.yml").is_versioned());
    assert!(path("releases/1.2.0/App.dmg").is_versioned());
    assert!(!path("releases/1.2.0/latest-mac.yml").is_versioned());
    assert!(!path("web/1.2.0/index.html").is_versioned());
}

#[test]
fn media_types_follow_the_extension() {
    for (name, media_type) in [
        ("releases/version.json", "application/json"),
        ("releases/latest-mac.yml", "text/yaml"),
        ("releases/a.YAML", "text/yaml"),
        ("releases/Seance.DMG", "application/x-apple-diskimage"),
        ("web/index.html", "text/html; charset=utf-8"),
        ("web/app.js", "text/javascript; charset=utf-8"),
        ("web/app.css", "text/css; charset=utf-8"),
        ("releases/Seance.AppImage", "application/vnd.appimage"),
        ("releases/Seance.zip.blockmap", "application/octet-stream"),
        ("releases/json", "application/octet-stream"),
        ("json.d/file", "application/octet-stream"),
    ] {
        assert_eq!(path(name).content_type(), media_type, "{name}");
    }
}

/// Strings made of what the rules are about, so that a fair share of them is valid.
fn path_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z0-9._-]{1,8}",
        2 => Just("/".to_owned()),
        1 => prop_oneof![Just(".."), Just("."), Just("//"), Just("\\"), Just(".seance"), Just("e\u{301}"), Just("\u{212b}")].prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_accepted_path_breaks_no_rule_and_stays_below_its_root(text in path_like()) {
        if let Ok(path) = ReleasePath::parse(&text) {
            let root = std::path::Path::new("/root");
            let joined = root.join(path.as_str());
            prop_assert!(joined.starts_with(root));
            prop_assert!(joined.components().all(|part| part != std::path::Component::ParentDir));
            prop_assert_eq!(joined.components().count(), 2 + path.as_str().split('/').count());
            prop_assert!(!path.as_str().chars().any(|c| c.is_control() || c == '\\'));
            prop_assert!(!path.as_str().to_lowercase().starts_with(".seance/"));
        }
    }

    #[test]
    fn parsing_is_idempotent_and_json_keeps_the_path(text in path_like()) {
        if let Ok(path) = ReleasePath::parse(&text) {
            prop_assert_eq!(&ReleasePath::parse(path.as_str()), &Ok(path.clone()));
            let json = serde_json::to_string(&path).expect("a string serialises");
            prop_assert_eq!(serde_json::from_str::<ReleasePath>(&json).expect("it was a path"), path);
        }
    }

    #[test]
    fn no_text_upsets_the_parser(text in any::<String>()) {
        if let Ok(path) = ReleasePath::parse(&text) {
            prop_assert!(path.content_type().contains('/'));
            prop_assert!(!path.cache_control().is_empty());
        }
    }
}
