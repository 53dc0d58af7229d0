use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn merged(path: &str, jobs: &[(&str, &str)]) -> Result<Value, MergeError> {
    let path = ReleasePath::parse(path).unwrap();
    let jobs: ByJob<'_> = jobs
        .iter()
        .map(|(job, text)| (*job, text.as_bytes()))
        .collect();
    let bytes = merge(&path, &jobs)?;
    Ok(if path.is_electron_channel() {
        serde_saphyr::from_str(std::str::from_utf8(&bytes).unwrap()).unwrap()
    } else {
        serde_json::from_slice(&bytes).unwrap()
    })
}

const MAC: &str = "releases/darwin/latest-mac.yml";
const ARM: &str = "version: 1.4.0\nfiles:\n  - url: S-1.4.0-arm64-mac.zip\n    sha512: QUFB\n    size: 12\npath: S-1.4.0-arm64-mac.zip\n\
    sha512: QUFB\nreleaseDate: '2026-11-02T10:00:00.000Z'\n";
const INTEL: &str = "version: 1.4.0\nfiles:\n  - url: S-1.4.0-mac.zip\n    sha512: QkJC\n    size: 34\n    blockMapSize: 5\npath: S-1.4.0-mac.zip\n\
    sha512: QkJC\nreleaseDate: '2026-11-02T10:05:00.000Z'\nreleaseNotes: |\n  - new: \"quotes\"\n  - more\n";

#[test]
fn a_mac_manifest_has_the_files_of_both_architectures_and_intel_at_the_top() {
    for jobs in [[("arm", ARM), ("intel", INTEL)], [("b", ARM), ("a", INTEL)]] {
        let merged = merged(MAC, &jobs).unwrap();
        assert_eq!(merged["version"], "1.4.0");
        let urls: BTreeSet<&str> = merged["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| file["url"].as_str().unwrap())
            .collect();
        assert_eq!(
            urls,
            BTreeSet::from(["S-1.4.0-arm64-mac.zip", "S-1.4.0-mac.zip"])
        );
        assert_eq!(
            (&merged["path"], &merged["sha512"]),
            (&json!("S-1.4.0-mac.zip"), &json!("QkJC"))
        );
        assert_eq!(merged["releaseDate"], "2026-11-02T10:05:00.000Z");
        assert_eq!(merged["releaseNotes"], "- new: \"quotes\"\n- more\n");
    }
}

#[test]
fn jobs_that_contradict_each_other_are_told_apart() {
    let other = ARM.replace("1.4.0", "1.5.0");
    let error = merged(MAC, &[("a", ARM), ("b", &other)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the jobs `a` and `b` do not have the same version"
    );
    let other = ARM.replace("QUFB", "QUFC");
    let error = merged(MAC, &[("a", ARM), ("b", &other)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the jobs `a` and `b` say different things of `S-1.4.0-arm64-mac.zip`"
    );
    let error = merged(MAC, &[("a", ARM), ("b", "version: [")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the job `b` sent a manifest that cannot be read"
    );
    let error = merged("web/x.json", &[("a", "{}"), ("b", "{\"x\":1}")]).unwrap_err();
    assert!(matches!(error, MergeError::Foreign { .. }));
}

#[test]
fn a_manifest_without_a_list_of_files_names_one() {
    let old = "version: 1.4.0\npath: Old.zip\nsha512: QUFB\n";
    let merged = merged(MAC, &[("a", old), ("b", INTEL)]).unwrap();
    assert_eq!(
        merged["files"][0],
        json!({"url": "Old.zip", "sha512": "QUFB"})
    );
}

#[test]
fn platforms_of_a_tauri_manifest_are_united() {
    let one = |platform: &str, date: &str| {
        json!({"version": "2.0.0", "notes": platform, "pub_date": date,
        "platforms": {platform: {"url": format!("https://x.example/{platform}"), "signature": "c2ln"}}}).to_string()
    };
    let (mac, win) = (
        one("darwin-aarch64", "2026-01-02T00:00:00Z"),
        one("windows-x86_64", "2026-01-03T00:00:00Z"),
    );
    let both = merged("releases/latest.json", &[("mac", &mac), ("win", &win)]).unwrap();
    assert_eq!(both["platforms"].as_object().unwrap().len(), 2);
    assert_eq!(
        (&both["notes"], &both["pub_date"]),
        (&json!("darwin-aarch64"), &json!("2026-01-03T00:00:00Z"))
    );
    let wrong = mac.replace("c2ln", "c2lo");
    let error = merged("releases/latest.json", &[("mac", &mac), ("win", &wrong)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the jobs `mac` and `win` say different things of `darwin-aarch64`"
    );
}

#[test]
fn objects_in_version_json_are_united() {
    let jobs = [
        (
            "mac",
            r#"{"version":"1.0.0","build":7,"downloads":{"mac":"a.dmg"}}"#,
        ),
        (
            "win",
            r#"{"version":"1.0.0","build":8,"downloads":{"win":"a.exe"},"channel":"latest"}"#,
        ),
    ];
    let both = merged("releases/version.json", &jobs).unwrap();
    assert_eq!(
        both,
        json!({"version": "1.0.0", "build": 7, "downloads": {"mac": "a.dmg", "win": "a.exe"}, "channel": "latest"})
    );
}

/// A channel file that names some of ten files, each always with the same hash.
fn channel(files: &BTreeSet<u8>, notes: Option<&str>) -> String {
    let name = |n: &u8| {
        if n.is_multiple_of(2) {
            format!("S-{n}-arm64.zip")
        } else {
            format!("S-{n}.zip")
        }
    };
    let list: Vec<Value> = files
        .iter()
        .map(|n| json!({"url": name(n), "sha512": format!("hash{n}"), "size": n}))
        .collect();
    let first = files.first().unwrap();
    let mut manifest = json!({"version": "1.0.0", "files": list, "path": name(first), "sha512": format!("hash{first}")});
    if let Some(notes) = notes {
        manifest["releaseNotes"] = json!(notes);
    }
    serde_saphyr::to_string(&manifest).unwrap()
}

proptest! {
    #[test]
    fn a_merged_channel_file_names_each_file_once_and_is_consistent(
        jobs in proptest::collection::vec((proptest::collection::btree_set(0u8..10, 1..5), proptest::option::of("\\PC{0,30}")), 1..5)
    ) {
        let texts: Vec<(String, String)> = jobs.iter().enumerate()
            .map(|(job, (files, notes))| (format!("job{job}"), channel(files, notes.as_deref()))).collect();
        let pairs: Vec<(&str, &str)> = texts.iter().map(|(job, text)| (job.as_str(), text.as_str())).collect();
        let value = merged(MAC, &pairs).unwrap();
        let files = value["files"].as_array().unwrap();
        let sizes: Vec<u64> = files.iter().map(|file| file["size"].as_u64().unwrap()).collect();
        let all: BTreeSet<u64> = jobs.iter().flat_map(|(files, _)| files.iter().map(|n| u64::from(*n))).collect();
        prop_assert_eq!(sizes.len(), all.len());
        prop_assert_eq!(sizes.into_iter().collect::<BTreeSet<_>>(), all);
        let top = files.iter().find(|file| file["url"] == value["path"]).unwrap();
        prop_assert_eq!(&top["sha512"], &value["sha512"]);
        let notes = jobs.iter().find_map(|(_, notes)| notes.as_deref());
        prop_assert_eq!(value["releaseNotes"].as_str(), notes);
        // Merged with itself, or with any of what it was merged from, it says the same.
        let text = serde_saphyr::to_string(&value).unwrap();
        let again = merged(MAC, &[("a", &text), ("b", pairs[0].1)]).unwrap();
        prop_assert_eq!(&again["files"], &value["files"]);
    }

    #[test]
    fn no_bytes_make_the_merger_panic(one in proptest::collection::vec(any::<u8>(), 0..60), name in "[a-z]{1,6}[.](yml|json)") {
        let path = ReleasePath::parse(&format!("releases/{name}")).unwrap();
        let jobs = ByJob::from([("a", &one[..]), ("b", b"{}")]);
        drop(merge(&path, &jobs));
    }
}
