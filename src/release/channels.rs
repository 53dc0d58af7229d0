//! The channel `any`: of all channels, whatever has the highest version.
//!
//! Pure.

use semver::Version;

use super::catalog::parse_version;
use super::path::ReleasePath;
use super::spread::StagingId;
use super::state::Tree;

/// Stands for all channels.
const ANY: &str = "any";

/// Whether somebody who asks for `wanted` means `channel`.
pub fn is_meant(wanted: &str, channel: &str) -> bool {
    wanted == ANY || wanted == channel
}

/// A manifest's channel and what follows it: `latest-mac.yml` is `latest` and `-mac.yml`.
pub fn channel_of(manifest: &ReleasePath) -> (&str, &str) {
    parts(manifest.file_name())
}

fn parts(name: &str) -> (&str, &str) {
    name.split_at(name.find(['-', '.']).unwrap_or(name.len()))
}

/// The manifest of electron-builder that `any-mac.yml` stands for in its directory, as a client gets those; `None` for
/// every other name, and for one that is published.
pub fn newest(tree: &Tree, path: &str, client: Option<StagingId>) -> Option<ReleasePath> {
    let (directory, name) = path.rsplit_once('/')?;
    let (ANY, wanted) = parts(name) else {
        return None;
    };
    if !name.ends_with(".yml") || tree.file(path).is_some() {
        return None;
    }
    let version = |path: &ReleasePath| -> Option<Version> {
        parse_version(tree.file_for(path.as_str(), client)?.versions().first()?)
    };
    let paths = tree.below(directory).map(|file| &file.path);
    let meant = |path: &&ReleasePath| {
        path.parents().next() == Some(directory) && channel_of(path).1 == wanted
    };
    let versions = paths
        .filter(meant)
        .filter_map(|path| Some((version(path)?, path)));
    versions.max().map(|(_, path)| path.clone())
}
