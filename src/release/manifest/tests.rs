use super::*;

fn path(text: &str) -> ReleasePath {
    ReleasePath::parse(text).unwrap()
}

#[test]
fn an_electron_builder_manifest_is_read_with_all_it_names() {
    let text = "version: 1.4.0\nfiles:\n  - url: Seance-1.4.0-arm64-mac.zip\n    sha512: QUJD\n    size: 12\n  - \
                url: Seance-1.4.0-arm64.dmg\n    sha512: REVG\n    size: 34\npath: \
                Seance-1.4.0-arm64-mac.zip\nsha512: QUJD\nreleaseDate: '2026-11-02T10:00:00.000Z'\nstagingPercentage: 10\n";
    let manifest = parse(
        &path("releases/darwin-arm64/latest-mac.yml"),
        text.as_bytes(),
    )
    .unwrap()
    .unwrap();
    assert_eq!(manifest.versions, ["1.4.0"]);
    assert!(manifest.for_mac && manifest.differential);
    assert_eq!(manifest.date, "2026-11-02T10:00:00Z".parse().ok());
    let names: Vec<_> = manifest
        .names
        .iter()
        .map(|named| (named.url.as_str(), named.size))
        .collect();
    assert_eq!(
        names,
        [
            ("Seance-1.4.0-arm64-mac.zip", Some(12)),
            ("Seance-1.4.0-arm64.dmg", Some(34))
        ]
    );
    assert_eq!(
        manifest.names[0].hash,
        Hash::Sha512Base64("QUJD".to_owned())
    );
}

#[test]
fn release_notes_are_read_in_both_forms_and_hurt_in_none() {
    let notes = |text: &str| {
        let text = format!("version: 1.0.0\nfiles: []\n{text}");
        let read = parse(&path("releases/mac/latest-mac.yml"), text.as_bytes());
        read.unwrap().unwrap().notes
    };
    assert_eq!(
        notes("releaseNotes: |\n  - a\n  - b\n").as_deref(),
        Some("- a\n- b\n")
    );
    let list =
        "releaseNotes:\n  - version: 1.0.0\n    note: new\n  - version: 0.9.0\n    note: old\n";
    assert_eq!(notes(list).as_deref(), Some("new"));
    for other in [
        "",
        "releaseNotes: null\n",
        "releaseNotes: {a: 1}\n",
        "releaseDate: 7\n",
    ] {
        assert_eq!(notes(other), None, "{other}");
    }
}

#[test]
fn a_squirrel_releases_file_is_read_line_by_line() {
    let sha1 = "94689FEDE03FED7AB59C24337673A27837F0C3EC";
    let text = format!(
        "\u{feff}{sha1} Seance-1.0.0-full.nupkg 1004502\r\n# comment\r\n{sha1} Seance-1.1.0-delta.nupkg 5 # 10%\n"
    );
    let manifest = parse(&path("releases/win32/RELEASES"), text.as_bytes())
        .unwrap()
        .unwrap();
    let names: Vec<_> = manifest
        .names
        .iter()
        .map(|named| (named.url.as_str(), named.size))
        .collect();
    assert_eq!(
        names,
        [
            ("Seance-1.0.0-full.nupkg", Some(1_004_502)),
            ("Seance-1.1.0-delta.nupkg", Some(5))
        ]
    );
    let broken = parse(&path("releases/win32/RELEASES"), b"abc def\n").unwrap();
    assert!(matches!(broken, Err(ManifestError::Releases(1))));
}

#[test]
fn a_velopack_feed_is_read() {
    let text = r#"{"Assets":[{"PackageId":"Seance","Version":"1.0.1","Type":"Full","FileName":"Seance-1.0.1-full.nupkg","SHA1":"00","SHA256":"AB","Size":7}]}"#;
    let manifest = parse(&path("releases/releases.win.json"), text.as_bytes())
        .unwrap()
        .unwrap();
    assert_eq!(manifest.versions, ["1.0.1"]);
    assert_eq!(manifest.names[0].hash, Hash::Sha256Hex("AB".to_owned()));
}

#[test]
fn names_are_resolved_beside_their_manifest() {
    let manifest = path("releases/darwin-arm64/latest-mac.yml");
    for (url, resolved) in [
        ("Seance-1.zip", Some("releases/darwin-arm64/Seance-1.zip")),
        (
            "My%20App-1.zip?x=1",
            Some("releases/darwin-arm64/My App-1.zip"),
        ),
        ("../win/Seance.exe", Some("releases/win/Seance.exe")),
        (
            "Se%CC%81ance.zip",
            Some("releases/darwin-arm64/S\u{e9}ance.zip"),
        ),
        ("https://elsewhere.example/Seance-1.zip", None),
    ] {
        assert_eq!(resolve(&manifest, url).as_deref(), resolved, "{url}");
    }
}

#[test]
fn names_that_climb_above_the_feed_are_told_apart() {
    for (manifest, url, leaves) in [
        ("releases/win/latest.yml", "../Setup-1.exe", false),
        ("releases/win/latest.yml", "../../other/Setup-1.exe", true),
        (
            "releases/win/latest.yml",
            "..%2F../releases/win/Setup-1.exe",
            true,
        ),
        (
            "releases/win/latest.yml",
            "sub/../../mac/Setup-1.exe",
            false,
        ),
        ("releases/latest.yml", "../Setup-1.exe", true),
        ("test/latest.yml", "../other/Setup-1.exe", false),
    ] {
        assert_eq!(
            leaves_updates(&path(manifest), url),
            leaves,
            "{manifest} {url}"
        );
    }
}

#[test]
fn whole_addresses_of_ours_are_known() {
    let manifest = path("releases/latest.json");
    let is_published = |path: &str| path == "releases/mac/My App-1.zip";
    for (url, found) in [
        (
            "https://cdn.example/prod/releases/mac/My%20App-1.zip?x",
            true,
        ),
        ("https://backend.example/updates/mac/My%20App-1.zip", true),
        ("https://backend.example/updates/mac/Other-1.zip", false),
        ("https://backend.example", false),
    ] {
        let path = published(&manifest, url, is_published);
        assert_eq!(path.is_some(), found, "{url}: {path:?}");
    }
}

#[test]
fn a_tauri_document_is_read() {
    let text = r#"{"version":"v1.0.0","notes":"new","pub_date":"2026-11-21T00:00:00Z","platforms":{"linux-x86_64":{"url":"https://x.example/a","signature":"s"}}}"#;
    let manifest = parse(&path("releases/latest.json"), text.as_bytes())
        .unwrap()
        .unwrap();
    assert_eq!(
        (manifest.versions[0].as_str(), manifest.notes.as_deref()),
        ("1.0.0", Some("new"))
    );
    assert_eq!(manifest.names[0].url, "https://x.example/a");
    assert!(
        parse(&path("releases/latest.json"), b"{}")
            .unwrap()
            .is_err()
    );
}

#[test]
fn only_manifests_are_parsed() {
    assert!(parse(&path("releases/x/Seance-1.0.0.zip"), b"").is_none());
    for (name, text) in [
        ("builder-debug", "x: 1"),
        ("settings", "hello: 1"),
        ("settings", "version: 1"),
        ("settings", "["),
    ] {
        let name = format!("releases/x/{name}.yml");
        assert!(parse(&path(&name), text.as_bytes()).is_none(), "{text}");
    }
    let canary = b"version: 1.0.0\npath: a.exe\nsha512: QUJD\n";
    assert!(parse(&path("releases/x/canary.yml"), canary).is_some_and(|read| read.is_ok()));
    assert!(parse(&path("releases/x/beta.yml"), b"hello: 1").is_some_and(|read| read.is_err()));
    assert!(
        parse(&path("releases/x/latest.yml"), b"- a\n- b\n")
            .unwrap()
            .is_err()
    );
    assert!(
        parse(&path("releases/x/latest.yml"), &[0xff])
            .unwrap()
            .is_err()
    );
    assert!(
        parse(&path("releases/version.json"), b"{}")
            .unwrap()
            .is_ok()
    );
}
