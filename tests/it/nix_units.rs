//! The units and configurations in `tests/nix/rendered` are those of today's NixOS module, and this program accepts
//! them. Nix writes them (`tests/nix/run --write`); what runs here needs no Nix.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::command::{path, seance};

const RENDERED: &str = "tests/nix/rendered";
/// What the rendered files are made from.
const INPUTS: [&str; 6] = [
    "nix/module.nix",
    "nix/module",
    "flake.lock",
    "tests/nix/fixtures",
    "tests/nix/evaluate.nix",
    "tests/nix/toml.nix",
];

fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    entries
        .flat_map(|entry| files(&entry.expect("an entry").path()))
        .collect()
}

fn sha256(path: &Path) -> String {
    let content = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    hex::encode(aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        &content,
    ))
}

#[test]
fn rendered_units_are_those_of_the_module_lock_and_fixtures_as_they_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sums = fs::read_to_string(root.join(RENDERED).join("SHA256SUMS")).expect("the sums");
    let listed: BTreeSet<(PathBuf, String)> = sums
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(sum, path)| (root.join(path), sum.to_owned()))
        .collect();
    let present: BTreeSet<(PathBuf, String)> = INPUTS
        .iter()
        .flat_map(|input| files(&root.join(input)))
        .chain([root.join("tests/nix/stand-ins.nix")])
        .map(|path| (path.clone(), sha256(&path)))
        .collect();
    let changed: Vec<_> = listed.symmetric_difference(&present).collect();
    assert!(
        changed.is_empty(),
        "these changed since the units were rendered: {changed:#?}\n\
         SEANCE_NIXPKGS=… tests/nix/run --write renders them anew"
    );
}

#[test]
fn rendered_configurations_are_accepted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(RENDERED);
    let mut checked = 0;
    for file in files(&root) {
        if file.file_name().is_none_or(|name| name != "config.toml") {
            continue;
        }
        let expected = fs::read_to_string(file.with_file_name("environment")).expect("names");
        let sample = |name: &str| match name.ends_with("ENDPOINT") {
            true => "https://expected.invalid",
            false => "expected",
        };
        let environment: Vec<(&str, &str)> =
            expected.lines().map(|name| (name, sample(name))).collect();
        let output = seance(&["check-config", path(&file)], &environment);
        assert_eq!(output.code, 0, "{}: {}", file.display(), output.stderr);
        checked += 1;
    }
    assert!(checked >= 5, "{checked} configurations");
}

/// The remark of `config-reference` on an option that a reload does not put in force.
const AT_START: &str = "(At the start only.)";

/// Every option of the reference, with its documentation.
fn documented() -> BTreeMap<String, String> {
    let reference = seance(&["config-reference"], &[]).stdout;
    let mut options = BTreeMap::new();
    let (mut section, mut text) = (String::new(), String::new());
    for line in reference.lines() {
        let content = line.trim_start_matches("# ");
        if let Some(name) = content.strip_prefix('[') {
            section = name.trim_matches(['[', ']']).to_owned();
            text.clear();
        } else if let Some((name, _)) = content.split_once(" =")
            && !name.contains(' ')
        {
            options.insert(format!("{section}.{name}"), std::mem::take(&mut text));
        } else {
            text.push_str(content);
            text.push(' ');
        }
    }
    options
}

#[test]
fn the_module_restarts_for_exactly_the_options_that_the_daemon_reads_only_at_its_start() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("nix/module/at-start.json");
    let text = fs::read_to_string(&file).expect("the list of the module");
    let module: BTreeSet<String> = serde_json::from_str(&text).expect("a list of names");
    let options = documented();
    assert!(options.len() > 200, "{} options were found", options.len());
    let daemon: BTreeSet<String> = options
        .into_iter()
        .filter(|(_, text)| text.contains(AT_START))
        .map(|(name, _)| name)
        .collect();
    let json = serde_json::to_string_pretty(&daemon).expect("JSON");
    assert_eq!(module, daemon, "{} has to be\n{json}", file.display());
}

#[test]
fn the_module_knows_every_secret_that_has_no_place_in_the_file() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("nix/module/secrets.json");
    let text = fs::read_to_string(&file).expect("the list of the module");
    let module: BTreeSet<String> = serde_json::from_str(&text).expect("a list of names");
    let options = documented();
    let daemon: BTreeSet<String> = options
        .keys()
        .filter(|name| options.contains_key(&format!("{name}_file")))
        .cloned()
        .collect();
    assert!(daemon.contains("store.s3.secret_access_key"), "{daemon:?}");
    assert_eq!(module, daemon, "{}", file.display());
}
