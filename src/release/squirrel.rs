//! Updates for Squirrel: its answer for Macs, and the `RELEASES` of Windows with nothing in it that a client would
//! stumble over.
//!
//! Pure. <https://github.com/Squirrel/Squirrel.Mac#server-support>, and the rule by which Squirrel.Windows reads a line:
//! a SHA-1, the name of a file or its whole address, a size; one bad line and the client takes none.

use std::sync::Arc;

use jiff::Timestamp;
use semver::Version;

use super::artifact::{Arch, System};
use super::catalog::parse_version;
use super::channels::is_meant;
use super::manifest;
use super::path::ReleasePath;
use super::record::File;
use super::spread::StagingId;
use super::state::Tree;

/// What Squirrel.Mac is told of an update.
#[derive(Clone, Debug)]
pub struct MacUpdate {
    pub version: Version,
    pub archive: Arc<File>,
    pub notes: Option<String>,
    pub date: Timestamp,
}

/// The newest archive for a Mac, by electron-builder's manifests of a channel as this client gets them.
pub fn mac(tree: &Tree, channel: &str, arch: Arch, client: Option<StagingId>) -> Option<MacUpdate> {
    let manifests = tree.below("releases").filter(|file| {
        let own = file.path.file_name().strip_suffix("-mac.yml");
        own.is_some_and(|own| is_meant(channel, own))
    });
    let updates = manifests.filter_map(|published| {
        let file = tree.file_for(published.path.as_str(), client)?;
        let read = manifest::parse(&file.path, file.inline.as_deref()?)?.ok()?; // lint says why
        let version = parse_version(read.versions.first()?)?;
        let archives = read.names.iter().filter_map(|named| {
            let path = manifest::resolve(&file.path, &named.url)?;
            let archive = tree.file(&path)?;
            Some((suits(&archive.path, arch)?, archive.clone()))
        });
        let (_, archive) = archives.min_by_key(|(rank, _)| *rank)?;
        Some(MacUpdate {
            version,
            date: read.date.unwrap_or(file.modified),
            archive,
            notes: read.notes,
        })
    });
    updates.max_by(|one, other| one.version.cmp(&other.version))
}

/// How well an archive suits a Mac; `None`: not at all. electron-builder leaves x64 out of a name.
fn suits(path: &ReleasePath, arch: Arch) -> Option<u8> {
    if !path.file_name().to_ascii_lowercase().ends_with(".zip") {
        return None;
    }
    match Arch::of_path(path) {
        Some(own) if own == arch => Some(0),
        Some(Arch::Universal) => Some(1),
        None if arch == Arch::X64 => Some(2),
        None | Some(_) => None,
    }
}

/// The `RELEASES` for Windows machines of this kind, as this client gets it.
pub fn windows(tree: &Tree, arch: Arch, client: Option<StagingId>) -> Option<&Arc<File>> {
    let candidates = tree.below("releases").filter_map(|published| {
        let path = &published.path;
        let rank = match Arch::of_path(path) {
            Some(own) if own == arch => 0,
            None => 1,
            Some(_) => return None,
        };
        (path.file_name().starts_with("RELEASES") && is_windows(path)).then_some((rank, path))
    });
    let (_, path) = candidates.min_by_key(|(rank, _)| *rank)?;
    tree.file_for(path.as_str(), client)
}

/// Velopack writes such a file for other systems too (`RELEASES-osx`).
fn is_windows(releases: &ReleasePath) -> bool {
    let mut words = releases.as_str().split(['/', '-', '_']);
    words.all(|word| System::of_word(word).is_none_or(|system| system == System::Windows))
}

/// The lines whose packages clients can get: those of other servers, and those that lie beside the file in the stated
/// size. `None` when there is none.
pub fn lines(tree: &Tree, releases: &File) -> Option<String> {
    let text = std::str::from_utf8(releases.inline.as_deref()?).ok()?; // what is no text names nothing
    let text = text.trim_start_matches('\u{feff}');
    let mut kept = String::with_capacity(text.len());
    for line in text
        .lines()
        .filter(|line| can_be_had(tree, &releases.path, line))
    {
        kept.push_str(line.trim());
        kept.push('\n');
    }
    (!kept.is_empty()).then_some(kept)
}

fn can_be_had(tree: &Tree, releases: &ReleasePath, line: &str) -> bool {
    let line = line.split('#').next().unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    let [sha1, name, size] = words[..] else {
        return false;
    };
    let hash = sha1.len() == 40 && sha1.bytes().all(|byte| byte.is_ascii_hexdigit());
    let Some(size) = size.parse::<u64>().ok().filter(|size| hash && *size > 0) else {
        return false; // no size, no line
    };
    if name.starts_with("https://") || name.starts_with("http://") {
        return true;
    }
    let beside = manifest::resolve(releases, name).filter(|_| !name.contains(['/', '\\']));
    beside
        .and_then(|path| tree.file(&path))
        .is_some_and(|file| file.size == size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StorePrefix;
    use crate::release::record::tests::{file, record};
    use crate::release::state::State;

    fn tree(files: &[(&str, &str)]) -> Arc<Tree> {
        let files = files.iter();
        let files = files.map(|(path, text)| file(&format!("releases/{path}"), text.as_bytes()));
        let mut state = State::default();
        state
            .apply(&record(1, "prod", files.collect(), &[]))
            .unwrap();
        state.tree(&StorePrefix::try_from("prod".to_owned()).unwrap())
    }

    #[test]
    fn a_mac_gets_the_archive_for_its_processor() {
        let both = "version: 1.1.0\nfiles:\n- url: S-1.1.0-mac.zip\n- url: S-1.1.0-arm64-mac.zip\n- url: S.dmg\n";
        let old = "version: 1.0.0\nfiles:\n- url: S-1.0.0-universal.zip\n";
        let tree = tree(&[
            ("mac/latest-mac.yml", both),
            ("mac/S-1.1.0-mac.zip", ""),
            ("mac/S-1.1.0-arm64-mac.zip", ""),
            ("old/latest-mac.yml", old),
            ("old/S-1.0.0-universal.zip", ""),
        ]);
        let name = |channel, arch| {
            let update = mac(&tree, channel, arch, None)?;
            Some(update.archive.path.file_name().to_owned())
        };
        assert_eq!(
            name("latest", Arch::Arm64).as_deref(),
            Some("S-1.1.0-arm64-mac.zip")
        );
        assert_eq!(
            name("latest", Arch::X64).as_deref(),
            Some("S-1.1.0-mac.zip")
        );
        assert_eq!(
            name("latest", Arch::X86).as_deref(),
            Some("S-1.0.0-universal.zip")
        );
        assert_eq!(name("beta", Arch::X64), None);
    }

    #[test]
    fn lines_that_would_break_a_client_are_left_out() {
        let hash = "94689FEDE03FED7AB59C24337673A27837F0C3EC";
        let text = format!(
            "\u{feff}{hash} S-1.0.0-full.nupkg 3\r\n{hash} S-1.1.0-full.nupkg 4\r\n{hash} gone.nupkg 3\n\
             {hash} https://elsewhere.example/S-0.9.0-full.nupkg 7\n{hash} ../win/S-1.0.0-full.nupkg 3\nnonsense\n\n# note\n\
             abc S-1.0.0-full.nupkg 3\n{hash} S-1.0.0-full.nupkg 3 # 50%\n"
        );
        let tree = tree(&[
            ("win32-x64/RELEASES", &text),
            ("win32-x64/S-1.0.0-full.nupkg", "abc"),
            ("win32-x64/S-1.1.0-full.nupkg", "abc"),
            ("mac/RELEASES", &text),
            ("mac/S-1.0.0.dmg", ""),
        ]);
        let found = windows(&tree, Arch::X64, None).unwrap();
        assert_eq!(found.path.as_str(), "releases/win32-x64/RELEASES");
        assert!(windows(&tree, Arch::Arm64, None).is_none());
        let kept = format!(
            "{hash} S-1.0.0-full.nupkg 3\n{hash} https://elsewhere.example/S-0.9.0-full.nupkg 7\n\
             {hash} S-1.0.0-full.nupkg 3 # 50%\n"
        );
        assert_eq!(lines(&tree, found), Some(kept));
    }
}
