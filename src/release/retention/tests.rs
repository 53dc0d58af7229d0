use proptest::prelude::*;

use super::*;
use crate::config::StorePrefix;
use crate::release::record::tests::{file, record};
use crate::release::record::{Event, Rollout, SpreadOf};
use crate::release::state::State;

const DAY: i64 = 86_400;

fn at(day: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + day * DAY).unwrap()
}

fn rules(keep_versions: u32, keep_days: u32) -> Retention {
    Retention {
        keep_versions,
        keep_days,
        keep_blockmaps_days: 0,
    }
}

/// Files with the days on which they were published.
fn tree(files: &[(&str, &str, i64)]) -> Arc<Tree> {
    let files = files.iter().map(|(path, text, day)| File {
        modified: at(*day),
        ..file(&format!("releases/{path}"), text.as_bytes())
    });
    let mut state = State::default();
    state
        .apply(&record(1, "prod", files.collect(), &[]))
        .unwrap();
    state.tree(&prefix())
}

fn prefix() -> StorePrefix {
    StorePrefix::try_from("prod".to_owned()).unwrap()
}

fn gone(tree: &Tree, rules: &Retention, day: i64) -> Vec<String> {
    let going = plan(tree, rules, at(day));
    let names = going
        .iter()
        .map(|file| file.path.as_str().replace("releases/", ""));
    names.collect()
}

#[test]
fn versions_are_counted_per_platform_and_channel() {
    let tree = tree(&[
        ("mac/S-1.0.0.dmg", "", 0),
        ("mac/S-1.1.0.dmg", "", 1),
        ("mac/S-1.2.0.dmg", "", 2),
        ("mac/S-1.3.0-beta.1.dmg", "", 3),
        ("mac/S-1.3.0-beta.2.dmg", "", 3),
        ("win/S-1.0.0.exe", "", 0),
        ("mac/S.dmg", "", 0),
    ]);
    assert_eq!(gone(&tree, &rules(2, 0), 100), ["mac/S-1.0.0.dmg"]);
    assert_eq!(
        gone(&tree, &rules(1, 0), 100),
        [
            "mac/S-1.0.0.dmg",
            "mac/S-1.1.0.dmg",
            "mac/S-1.3.0-beta.1.dmg"
        ]
    );
    assert_eq!(gone(&tree, &rules(0, 0), 100), Vec::<String>::new());
    let listed = summary(&plan(&tree, &rules(1, 0), at(100)));
    let channels: Vec<_> = listed.iter().map(|gone| gone.channel.as_str()).collect();
    assert_eq!(channels, ["beta", "latest", "latest"]);
}

#[test]
fn what_either_rule_keeps_stays() {
    let tree = tree(&[
        ("mac/S-1.0.0.dmg", "", 0),
        ("mac/S-1.1.0.dmg", "", 50),
        ("mac/S-1.2.0.dmg", "", 60),
        ("mac/S-1.3.0.dmg", "", 70),
    ]);
    assert_eq!(
        gone(&tree, &rules(0, 30), 85),
        ["mac/S-1.0.0.dmg", "mac/S-1.1.0.dmg"]
    );
    assert_eq!(gone(&tree, &rules(3, 30), 85), ["mac/S-1.0.0.dmg"]);
    assert_eq!(gone(&tree, &rules(2, 100), 85), Vec::<String>::new());
    // However old it is, the newest stays.
    assert_eq!(gone(&tree, &rules(0, 1), 1000).len(), 3);
}

#[test]
fn what_a_manifest_names_stays_with_all_of_its_version() {
    let tree = tree(&[
        (
            "mac/latest-mac.yml",
            "version: 1.0.0\nfiles:\n- url: S-1.0.0-mac.zip\n",
            0,
        ),
        ("mac/S-1.0.0-mac.zip", "", 0),
        ("mac/S-1.0.0-mac.zip.blockmap", "", 0),
        ("mac/S-1.0.0.dmg", "", 0),
        ("mac/S-0.9.0.dmg", "", 0),
        ("mac/S-1.1.0.dmg", "", 0),
        ("linux/S-1.0.0.AppImage", "", 0),
        ("linux/S-1.1.0.AppImage", "", 0),
        (
            "linux/latest.json",
            "{\"version\":\"1.0.0\",\"platforms\":{\"linux-x86_64\":{\"signature\":\"\",\"url\":\"https://b.example/prod/releases/linux/S-1.0.0.AppImage\"}}}",
            0,
        ),
    ]);
    assert_eq!(gone(&tree, &rules(1, 0), 100), ["mac/S-0.9.0.dmg"]);
}

#[test]
fn what_a_manifest_behind_a_rollout_or_pin_names_stays() {
    let old = "version: 1.0.0\nfiles:\n- url: S-1.0.0.exe\n";
    let new = "version: 2.0.0\nfiles:\n- url: S-2.0.0.exe\n";
    let files =
        ["0.9.0", "1.0.0", "1.5.0", "2.0.0"].map(|version| format!("releases/win/S-{version}.exe"));
    let mut all: Vec<File> = files.iter().map(|path| file(path, b"")).collect();
    all.push(file("releases/win/latest.yml", new.as_bytes()));
    let mut state = State::default();
    state.apply(&record(1, "prod", all, &[])).unwrap();
    let mut spread = record(2, "prod", vec![], &[]);
    spread.event = Event::Spread {
        spreads: vec![SpreadOf {
            path: ReleasePath::parse("releases/win/latest.yml").unwrap(),
            rollout: Rollout::default(),
            before: Some(Arc::new(file("releases/win/latest.yml", old.as_bytes()))),
            pinned: true,
        }],
    };
    state.apply(&spread).unwrap();
    let tree = state.tree(&prefix());
    assert_eq!(
        gone(&tree, &rules(1, 0), 1000),
        ["win/S-0.9.0.exe", "win/S-1.5.0.exe"]
    );
}

#[test]
fn a_manifest_that_cannot_be_read_protects_its_directory() {
    let tree = tree(&[
        ("mac/latest-mac.yml", "version: [", 0),
        ("mac/S-1.0.0.dmg", "", 0),
        ("mac/S-1.1.0.dmg", "", 0),
        ("win/S-1.0.0.exe", "", 0),
        ("win/S-1.1.0.exe", "", 0),
    ]);
    assert_eq!(gone(&tree, &rules(1, 0), 100), ["win/S-1.0.0.exe"]);
}

#[test]
fn block_maps_stay_longer_and_signatures_go_with_their_file() {
    let tree = tree(&[
        ("win/S-1.0.0.exe", "", 0),
        ("win/S-1.0.0.exe.blockmap", "", 0),
        ("win/S-1.0.0.exe.sig", "", 0),
        ("win/S-1.1.0.exe", "", 0),
        ("win/S-1.1.0.exe.blockmap", "", 0),
    ]);
    let supported = Retention {
        keep_blockmaps_days: 365,
        ..rules(1, 0)
    };
    assert_eq!(
        gone(&tree, &supported, 100),
        ["win/S-1.0.0.exe", "win/S-1.0.0.exe.sig"]
    );
    assert_eq!(gone(&tree, &supported, 400).len(), 3);
}

#[test]
fn a_directory_of_a_version_is_counted_with_the_others() {
    let tree = tree(&[
        ("1.0.0/mac/S.dmg", "", 0),
        ("1.1.0/mac/S.dmg", "", 0),
        ("1.1.0/win/S.exe", "", 0),
    ]);
    assert_eq!(gone(&tree, &rules(1, 0), 100), ["1.0.0/mac/S.dmg"]);
}

proptest! {
    #[test]
    fn no_manifest_ever_names_what_goes(
        published in proptest::collection::vec((0u64..6, 0u64..4, 0i64..100), 1..30),
        named in (0u64..6, 0u64..4),
        keep in (0u32..4, 0u32..60),
    ) {
        let name = |minor: u64, patch: u64| format!("win/S-1.{minor}.{patch}.exe");
        let manifest = format!("version: 1.{}.{}\nfiles:\n- url: S-1.{}.{}.exe\n", named.0, named.1, named.0, named.1);
        let paths: Vec<(String, i64)> = published.iter().map(|(minor, patch, day)| (name(*minor, *patch), *day)).collect();
        let mut files: Vec<(&str, &str, i64)> = paths.iter().map(|(path, day)| (path.as_str(), "", *day)).collect();
        files.push(("win/latest.yml", &manifest, 0));
        let tree = tree(&files);
        let going = gone(&tree, &rules(keep.0, keep.1), 100);
        prop_assert!(!going.contains(&name(named.0, named.1)));
        let newest = published.iter().map(|(minor, patch, _)| (*minor, *patch)).max().unwrap();
        prop_assert!(!going.contains(&name(newest.0, newest.1)));
    }
}
