//! The output directory of electron-builder: channel files, what they name, and what lies beside.

use std::collections::{BTreeMap, BTreeSet};

use super::names::{self, Arch, Os};
use super::{Found, Placed};
use crate::release::manifest;
use crate::release::path::{ReleasePath, normalised};

/// Files of electron-builder's own that look like ours.
const OWN_NOTES: [&str; 2] = ["builder-debug.yml", "builder-effective-config.yaml"];

/// A channel file: the directory that it and all it names go to.
struct Channel {
    directory: String,
    names: BTreeSet<String>,
}

/// Places the files of `dist/`, by names relative to it; `read` gives the bytes of a small one.
pub fn place(
    found: &[Found],
    platform: Option<&str>,
    read: impl Fn(&str) -> Option<Vec<u8>>,
) -> Placed {
    let mut placed = Placed::default();
    let mut channels = BTreeMap::new();
    for file in found.iter().filter(|file| is_channel_file(&file.name)) {
        let bytes = read(&file.name).unwrap_or_default();
        if let Some(channel) = channel(&file.name, &bytes, platform) {
            channels.insert(file.name.as_str(), channel);
        }
    }
    for file in found {
        let name = file.name.as_str();
        if let Some(channel) = channels.get(name) {
            placed.put(file, &channel.directory, name);
            continue;
        }
        let owner = names::companion_of(name).unwrap_or(name);
        let naming: BTreeSet<&str> = channels
            .values()
            .filter(|channel| {
                [name, owner]
                    .iter()
                    .any(|name| channel.names.contains(&*normalised(name)))
            })
            .map(|channel| channel.directory.as_str())
            .collect();
        for directory in &naming {
            placed.put(file, directory, name);
        }
        if naming.is_empty() {
            alone(&mut placed, file, owner, platform);
        }
    }
    placed
}

fn is_channel_file(name: &str) -> bool {
    name.ends_with(".yml") && !name.contains('/') && !OWN_NOTES.contains(&name)
}

/// `None` for a .yml that is no channel file. One that cannot be read is one all the same: the daemon's checks tell
/// what is wrong with it.
fn channel(name: &str, bytes: &[u8], platform: Option<&str>) -> Option<Channel> {
    let beside = ReleasePath::parse(&format!("releases/{name}")).ok()?;
    let manifest = manifest::parse(&beside, bytes)?.unwrap_or_default();
    let names: BTreeSet<String> = manifest
        .names
        .iter()
        .filter_map(|named| manifest::resolve(&beside, &named.url))
        .filter_map(|path| path.strip_prefix("releases/").map(str::to_owned))
        .collect();
    let stem = name.strip_suffix(".yml").unwrap_or(name);
    let os = match stem {
        _ if stem.ends_with("-mac") => Os::Darwin,
        _ if stem.contains("-linux") => Os::Linux,
        _ => Os::Win32,
    };
    let mut arches: BTreeSet<Arch> = names.iter().map(|name| arch_or_default(name)).collect();
    // `latest-linux-arm64.yml` says it itself.
    if let Some(arch) = names::arch(stem) {
        arches = BTreeSet::from([arch]);
    }
    let directory = match (platform, arches.first()) {
        (Some(platform), _) => platform.to_owned(),
        // Clients choose among the files by their names, so they have to be in one place.
        (None, Some(_)) if arches.len() > 1 => os.to_string(),
        (None, arch) => format!("{os}-{}", arch.copied().unwrap_or(Arch::X64)),
    };
    Some(Channel { directory, names })
}

/// electron-builder leaves the processor out of the names of x64 builds.
fn arch_or_default(name: &str) -> Arch {
    names::arch(name).unwrap_or(Arch::X64)
}

/// A file that no manifest names: an installer that does not update itself, or what Squirrel.Windows reads.
fn alone(placed: &mut Placed, file: &Found, owner: &str, platform: Option<&str>) {
    let name = file.name.as_str();
    if name == "version.json" || name == "latest.json" {
        return placed.put_at(file, &format!("releases/{name}"));
    }
    let (directory, base) = name.rsplit_once('/').unwrap_or(("", name));
    let squirrel = directory.starts_with("squirrel-windows");
    let (os, arch) = match directory {
        "" => (names::os(owner), arch_or_default(owner)),
        _ if squirrel => (Some(Os::Win32), arch_or_default(directory)),
        _ => (None, Arch::X64),
    };
    let releases = base.starts_with("RELEASES");
    let known = match platform {
        Some(_) => directory.is_empty() || squirrel,
        None => os.is_some() || (releases && directory.is_empty()),
    };
    if !known || base.contains("__uninstaller") || !(releases || names::is_artefact(base_of(owner)))
    {
        return placed.skip(file);
    }
    let own = format!("{}-{arch}", os.unwrap_or(Os::Win32));
    placed.put(file, platform.unwrap_or(&own), base);
}

fn base_of(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, base)| base)
}
