//! Which old versions go: by count and age per platform and channel, and never what somebody may still ask for.
//!
//! Pure. A manifest protects what it names and all else of the same version beside that, also one that only a part of
//! the clients still gets: in front of a rollout, under a halt or a pin. One that cannot be read protects its directory.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use semver::Version;
use tokio::task::JoinError;

use super::artifact::{self, Arch, Installer, System};
use super::manifest;
use super::path::ReleasePath;
use super::record::File;
use super::state::Tree;
use crate::config::Retention;
use crate::tasks;

/// One version of one platform and channel, as far as it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The directory, without a part that is the version.
    pub place: String,
    pub channel: String,
    pub version: Version,
    pub files: usize,
    /// Of the files together.
    pub bytes: u64,
}

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    place: String,
    system: Option<System>,
    arch: Option<Arch>,
    channel: String,
}

/// What manifests hold fast.
#[derive(Default)]
struct Protected {
    paths: HashSet<String>,
    versions: HashSet<(String, Version)>,
    /// Of manifests that cannot be read.
    directories: Vec<String>,
}

/// The files that these rules take away, in the order of their paths.
pub fn plan(tree: &Tree, rules: &Retention, now: Timestamp) -> Vec<Arc<File>> {
    if rules.keep_versions == 0 && rules.keep_days == 0 {
        return Vec::new();
    }
    let mut lines: BTreeMap<Line, BTreeMap<Version, Vec<&Arc<File>>>> = BTreeMap::new();
    for file in tree.below("releases") {
        if let Some((line, version)) = line(&file.path) {
            lines
                .entry(line)
                .or_default()
                .entry(version)
                .or_default()
                .push(file);
        }
    }
    let protected = Protected::of(tree);
    let mut going: Vec<Arc<File>> = Vec::new();
    for versions in lines.values() {
        // The newest one stays whatever its age: it is what the download page offers.
        for (behind, (version, files)) in versions.iter().rev().enumerate().skip(1) {
            if !stays(rules, behind, files, now) {
                let files = files.iter().filter(|file| {
                    !protected.holds(&file.path, version) && !is_wanted_block_map(rules, file, now)
                });
                going.extend(files.map(|file| Arc::clone(file)));
            }
        }
    }
    going.sort_by(|one, other| one.path.cmp(&other.path));
    going
}

/// [`plan`] on the blocking pool: it reads the name of every artefact.
pub async fn plan_aside(
    tree: Arc<Tree>,
    rules: Retention,
    now: Timestamp,
) -> Result<Vec<Arc<File>>, JoinError> {
    tasks::blocking("release-retention", move || plan(&tree, &rules, now)).await
}

/// What of each version is among these files.
pub fn summary(files: &[Arc<File>]) -> Vec<Gone> {
    let mut versions: BTreeMap<(String, String, Version), (usize, u64)> = BTreeMap::new();
    for file in files {
        if let Some((line, version)) = line(&file.path) {
            let (count, bytes) = versions
                .entry((line.place, line.channel, version))
                .or_default();
            *count += 1;
            *bytes = bytes.saturating_add(file.size);
        }
    }
    let gone = versions.into_iter();
    gone.map(|((place, channel, version), (files, bytes))| Gone {
        place,
        channel,
        version,
        files,
        bytes,
    })
    .collect()
}

/// Where an artefact is counted; `None` for what carries no version, and for manifests.
fn line(path: &ReleasePath) -> Option<(Line, Version)> {
    if !path.is_versioned() {
        return None;
    }
    let version = artifact::version(path)?;
    // A block map or a signature goes with what it belongs to.
    let text = path.as_str();
    let owner = [".blockmap", ".sig"]
        .iter()
        .find_map(|end| text.strip_suffix(end))
        .unwrap_or(text);
    let owner = ReleasePath::parse(owner).ok()?; // a part of a path is one
    let line = Line {
        place: place(path, &version),
        system: Installer::of_path(&owner).map(|installer| installer.system),
        arch: Arch::of_path(&owner),
        channel: artifact::channel(&version).to_owned(),
    };
    Some((line, version))
}

/// The directory, without the parts that are this version.
fn place(path: &ReleasePath, version: &Version) -> String {
    let directory = path.parents().next().unwrap_or_default();
    let parts = directory
        .split('/')
        .filter(|part| artifact::version_in(part).as_ref() != Some(version));
    parts.collect::<Vec<_>>().join("/")
}

/// Whether one rule keeps a version that has `behind` newer ones. A rule that is not set keeps nothing.
fn stays(rules: &Retention, behind: usize, files: &[&Arc<File>], now: Timestamp) -> bool {
    let published = files.iter().map(|file| file.modified).max();
    let young = published.is_some_and(|at| is_younger(at, rules.keep_days, now));
    behind < usize::try_from(rules.keep_versions).unwrap_or(usize::MAX) || young
}

/// electron-updater compares the block map of the version that it runs with that of the new one.
fn is_wanted_block_map(rules: &Retention, file: &File, now: Timestamp) -> bool {
    file.path.file_name().ends_with(".blockmap")
        && is_younger(file.modified, rules.keep_blockmaps_days, now)
}

fn is_younger(at: Timestamp, days: u32, now: Timestamp) -> bool {
    now.duration_since(at) < SignedDuration::from_hours(i64::from(days) * 24)
}

impl Protected {
    fn of(tree: &Tree) -> Protected {
        let mut protected = Protected::default();
        let published = tree
            .below("releases")
            .filter(|file| file.path.is_manifest());
        let before = tree.spreads().map(|(_, spread)| &spread.before);
        for file in published.chain(before) {
            protected.add(tree, file);
        }
        protected
    }

    fn add(&mut self, tree: &Tree, file: &File) {
        let read = file
            .inline
            .as_deref()
            .map(|bytes| manifest::parse(&file.path, bytes));
        let manifest = match read {
            Some(Some(Ok(manifest))) => manifest,
            // Settings that lie beside releases.
            Some(None) => return,
            Some(Some(Err(_))) | None => {
                let directory = file.path.parents().next().unwrap_or_default();
                return self.directories.push(format!("{directory}/"));
            }
        };
        for named in &manifest.names {
            let is_published = |path: &str| tree.file(path).is_some();
            let Some(path) = manifest::published(&file.path, &named.url, is_published) else {
                continue;
            };
            if let Ok(path) = ReleasePath::parse(&path)
                && let Some(version) = artifact::version(&path)
            {
                self.versions.insert((place(&path, &version), version));
            }
            for companion in [".blockmap", ".sig"] {
                self.paths.insert(format!("{path}{companion}"));
            }
            self.paths.insert(path);
        }
    }

    fn holds(&self, path: &ReleasePath, version: &Version) -> bool {
        let text = path.as_str();
        self.paths.contains(text)
            || self
                .versions
                .contains(&(place(path, version), version.clone()))
            || self
                .directories
                .iter()
                .any(|directory| text.starts_with(directory))
    }
}

#[cfg(test)]
mod tests;
