use super::*;
use crate::release::record::tests::{file, record};
use crate::release::state::State;

fn catalog(files: &[(&str, &str)]) -> Catalog {
    let files = files
        .iter()
        .map(|(path, text)| file(&format!("releases/{path}"), text.as_bytes()));
    let mut state = State::default();
    state
        .apply(&record(1, "prod", files.collect(), &[]))
        .unwrap();
    let prefix = StorePrefix::try_from("prod".to_owned()).unwrap();
    Catalog::of(&state.tree(&prefix))
}

fn names(catalog: &Catalog) -> Vec<&str> {
    let offers = catalog.offers.iter();
    offers.map(|offer| offer.file.path.file_name()).collect()
}

fn chosen(catalog: &Catalog, system: System, arch: Option<Arch>) -> Option<&str> {
    let offer = catalog.choose(system, arch, None)?;
    Some(offer.file.path.file_name())
}

#[test]
fn the_manifest_says_which_version_is_offered_with_all_that_lies_beside_it() {
    let catalog = catalog(&[
        (
            "mac/latest-mac.yml",
            "version: 1.1.0\nfiles:\n- url: S-1.1.0-mac.zip\nreleaseNotes: better\n",
        ),
        ("mac/S-1.1.0-mac.zip", ""),
        ("mac/S-1.1.0-arm64.dmg", ""),
        ("mac/S-1.1.0.dmg", ""),
        ("mac/S-1.2.0.dmg", ""),
        ("mac/S-1.0.0.dmg", ""),
        ("mac/S-1.1.0.dmg.blockmap", ""),
    ]);
    assert_eq!(
        names(&catalog),
        ["S-1.1.0.dmg", "S-1.1.0-arm64.dmg", "S-1.1.0-mac.zip"]
    );
    assert_eq!(
        catalog.notes.as_ref().map(|notes| notes.text.as_str()),
        Some("better")
    );
    let chosen = |arch| chosen(&catalog, System::Mac, arch);
    assert_eq!(chosen(None), Some("S-1.1.0-arm64.dmg"));
    assert_eq!(
        chosen(Some(Arch::X64)),
        Some("S-1.1.0.dmg"),
        "no name, so x64"
    );
    assert_eq!(chosen(Some(Arch::Arm64)), Some("S-1.1.0-arm64.dmg"));
}

#[test]
fn an_earlier_build_under_another_version_is_offered_with_all_that_lies_beside_it() {
    let catalog = catalog(&[
        (
            "mac/latest-mac.yml",
            "version: 1.2.1\nfiles:\n- url: S-1.1.0-mac.zip\n",
        ),
        ("mac/S-1.1.0-mac.zip", ""),
        ("mac/S-1.1.0.dmg", ""),
        ("mac/S-1.2.0-mac.zip", ""),
        ("mac/S-1.2.0.dmg", ""),
    ]);
    assert_eq!(names(&catalog), ["S-1.1.0.dmg", "S-1.1.0-mac.zip"]);
}

#[test]
fn without_a_manifest_the_newest_release_is_offered_and_no_pre_release() {
    let catalog = catalog(&[
        ("win/S-1.9.0-x64.exe", ""),
        ("win/S-1.10.0-x64.exe", ""),
        ("win/S-2.0.0-beta.1-x64.exe", ""),
        ("linux/S-2.0.0-beta.1.AppImage", ""),
        ("other/Setup.exe", ""),
    ]);
    assert_eq!(
        names(&catalog),
        ["Setup.exe", "S-1.10.0-x64.exe", "S-2.0.0-beta.1.AppImage"]
    );
}

#[test]
fn a_beta_channel_is_not_what_people_are_offered() {
    let catalog = catalog(&[
        (
            "win/latest.yml",
            "version: 1.0.0\nfiles:\n- url: S-1.0.0.exe\n",
        ),
        (
            "win/beta.yml",
            "version: 1.1.0-beta.1\nfiles:\n- url: S-1.1.0-beta.1.exe\n",
        ),
        ("win/S-1.0.0.exe", ""),
        ("win/S-1.1.0-beta.1.exe", ""),
    ]);
    assert_eq!(names(&catalog), ["S-1.0.0.exe"]);
}

#[test]
fn of_several_directories_the_newest_is_offered() {
    let catalog = catalog(&[
        ("1.0.0/S-x64.exe", ""),
        ("1.1.0/S-x64.exe", ""),
        ("1.1.0/S-arm64.exe", ""),
    ]);
    let paths: Vec<&str> = catalog
        .offers
        .iter()
        .map(|offer| offer.file.path.as_str())
        .collect();
    assert_eq!(
        paths,
        ["releases/1.1.0/S-x64.exe", "releases/1.1.0/S-arm64.exe"]
    );
}

#[test]
fn who_has_no_build_of_their_own_gets_one_that_runs() {
    let catalog = catalog(&[
        ("win/S-1.0.0-x64.exe", ""),
        ("win/S-1.0.0-x64.zip", ""),
        ("mac/S-1.0.0-x64.dmg", ""),
        ("linux/S-1.0.0-x64.AppImage", ""),
    ]);
    let chosen = |system, arch| chosen(&catalog, system, Some(arch));
    assert_eq!(
        chosen(System::Windows, Arch::Arm64),
        Some("S-1.0.0-x64.exe")
    );
    assert_eq!(chosen(System::Windows, Arch::X86), None);
    assert_eq!(chosen(System::Mac, Arch::Arm64), Some("S-1.0.0-x64.dmg"));
    assert_eq!(chosen(System::Linux, Arch::Arm64), None);
    assert_eq!(
        chosen(System::Linux, Arch::X64),
        Some("S-1.0.0-x64.AppImage")
    );
}

#[test]
fn a_catalog_is_found_again_for_its_own_tree_only() {
    let catalogs = Catalogs::default();
    let prefix = StorePrefix::try_from("prod".to_owned()).unwrap();
    let (one, other) = (Arc::new(Tree::default()), Arc::new(Tree::default()));
    catalogs.put(&prefix, &one, &Arc::default());
    assert!(catalogs.get(&prefix, &one).is_some());
    assert!(catalogs.get(&prefix, &other).is_none());
}
