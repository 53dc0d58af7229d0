//! Updates for Tauri's updater (v2): its static JSON as it was published, else the same made from bundles that have
//! their signature beside them.
//!
//! Pure. <https://v2.tauri.app/plugin/updater/#server-support>

use std::collections::BTreeMap;

use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};

use super::artifact::{self, Arch};
use super::catalog::parse_version;
use super::channels::is_meant;
use super::manifest;
use super::path::ReleasePath;
use super::record::File;
use super::spread::StagingId;
use super::state::Tree;
use crate::clock;

/// Tauri's static JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    pub version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pub_date: Option<String>,
    /// By target: `darwin-aarch64`, `windows-x86_64-msi`.
    pub platforms: BTreeMap<String, Bundle>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// The client takes nothing but a whole one.
    pub url: String,
    /// The content of the `.sig` file.
    pub signature: String,
}

/// Which updates are meant, and who asks.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// `latest`, `beta`; `any` for all.
    pub channel: &'a str,
    pub client: Option<StagingId>,
    /// The whole address of a published path.
    pub address: &'a dyn Fn(&str) -> String,
}

impl Asked<'_> {
    /// The newest version of the channel, with every target that has it.
    pub fn newest(&self, tree: &Tree) -> Option<Document> {
        self.versions(tree).pop_last().map(|(_, newest)| newest)
    }

    /// What a client of this target gets that runs `current`; `None` when there is nothing newer for it. `kind` is how it
    /// was installed: `appimage`, `deb`, `rpm`, `app`, `msi`, `nsis`.
    pub fn newer(
        &self,
        tree: &Tree,
        current: &Version,
        target: &str,
        kind: Option<&str>,
    ) -> Option<(Document, Bundle)> {
        let versions = self.versions(tree).into_iter().rev();
        let newer = versions.take_while(|(version, _)| version > current);
        newer.map(|(_, document)| document).find_map(|document| {
            let own = kind.and_then(|kind| document.platforms.get(&format!("{target}-{kind}")));
            let bundle = own.or_else(|| document.platforms.get(target))?.clone();
            Some((document, bundle))
        })
    }

    fn versions(&self, tree: &Tree) -> BTreeMap<Version, Document> {
        let published = self.published(tree);
        if published.is_empty() {
            self.bundled(tree)
        } else {
            published
        }
    }

    /// The static documents of the channel, one per version.
    fn published(&self, tree: &Tree) -> BTreeMap<Version, Document> {
        let mut versions: BTreeMap<Version, Document> = BTreeMap::new();
        let files = tree.below("releases").filter(|file| {
            let channel = file.path.file_name().strip_suffix(".json");
            file.path.is_tauri_manifest()
                && channel.is_some_and(|channel| is_meant(self.channel, channel))
        });
        for file in files {
            let seen = tree.file_for(file.path.as_str(), self.client);
            let Some(document) = seen.and_then(|file| self.read(file)) else {
                continue;
            };
            let Some(version) = parse_version(&document.version) else {
                continue; // lint says so
            };
            match versions.get_mut(&version) {
                Some(other) => other.platforms.extend(document.platforms),
                None => drop(versions.insert(version, document)),
            }
        }
        versions
    }

    /// A static document with whole addresses.
    fn read(&self, file: &File) -> Option<Document> {
        let mut document: Document = serde_json::from_slice(file.inline.as_deref()?).ok()?; // lint says why
        for bundle in document.platforms.values_mut() {
            if let Some(path) = manifest::resolve(&file.path, &bundle.url) {
                bundle.url = (self.address)(&path);
            }
        }
        Some(document)
    }

    /// Documents made of signed bundles.
    fn bundled(&self, tree: &Tree) -> BTreeMap<Version, Document> {
        let mut versions: BTreeMap<Version, Document> = BTreeMap::new();
        let mut chosen: BTreeMap<(Version, String), usize> = BTreeMap::new();
        for signature in tree.below("releases") {
            let bundle = signature.path.as_str().strip_suffix(".sig");
            let Some(file) = bundle.and_then(|path| tree.file(path)) else {
                continue;
            };
            let Some(version) = version(tree, &file.path).filter(|version| self.follows(version))
            else {
                continue;
            };
            let text = signature
                .inline
                .as_deref()
                .and_then(|bytes| std::str::from_utf8(bytes).ok());
            let Some(text) = text else { continue };
            let bundle = Bundle {
                url: (self.address)(file.path.as_str()),
                signature: text.trim().to_owned(),
            };
            let document = versions.entry(version.clone()).or_insert_with(|| Document {
                version: version.to_string(),
                notes: None,
                pub_date: Some(date(file.modified)),
                platforms: BTreeMap::new(),
            });
            if document.notes.is_none() {
                document.notes = notes(tree, &file.path);
            }
            for (target, rank) in targets(&file.path) {
                let best = chosen
                    .entry((version.clone(), target.clone()))
                    .or_insert(usize::MAX);
                if rank < *best {
                    *best = rank;
                    document.platforms.insert(target, bundle.clone());
                }
            }
        }
        versions.retain(|_, document| !document.platforms.is_empty());
        versions
    }

    /// Who follows a channel of pre-releases gets releases too.
    fn follows(&self, version: &Version) -> bool {
        let channel = artifact::channel(version);
        version.pre.is_empty() || is_meant(self.channel, channel)
    }
}

/// The version of a bundle: its name's, its directory's, else that of the nearest `version.json`.
fn version(tree: &Tree, path: &ReleasePath) -> Option<Version> {
    artifact::version(path).or_else(|| {
        path.parents().find_map(|parent| {
            let file = tree.file_for(&format!("{parent}/version.json"), None)?;
            parse_version(file.versions().first()?)
        })
    })
}

/// `notes.md` beside a bundle or above it.
fn notes(tree: &Tree, path: &ReleasePath) -> Option<String> {
    let file = path
        .parents()
        .find_map(|parent| tree.file(&format!("{parent}/notes.md")))?;
    let text = std::str::from_utf8(file.inline.as_deref()?).ok()?; // what is no text says nothing
    Some(text.to_owned())
}

/// RFC 3339 without fractions of a second: Squirrel.Mac reads no others.
pub fn date(at: Timestamp) -> String {
    let text = clock::rfc3339(at);
    text.split_once('.')
        .map_or(text.clone(), |(seconds, _)| format!("{seconds}Z"))
}

/// The targets that a bundle is for, each with its rank among those for the same one.
fn targets(path: &ReleasePath) -> Vec<(String, usize)> {
    let name = path.file_name().to_ascii_lowercase();
    let Some((rank, (_, system, kind))) = KINDS
        .iter()
        .enumerate()
        .find(|(_, (end, ..))| name.ends_with(end))
    else {
        return Vec::new();
    };
    let archs: &[&str] = match (Arch::of_path(path), *system) {
        (Some(Arch::Arm64), _) => &["aarch64"],
        (Some(Arch::X64), _) => &["x86_64"],
        (Some(Arch::X86), _) => &["i686"],
        (Some(Arch::Arm), _) => &["armv7"],
        (Some(Arch::Universal), _) => &["aarch64", "x86_64"],
        // Half of the Macs could not start it.
        (None, "darwin") => &[],
        (None, _) => &["x86_64"],
    };
    let one = |arch: &&str| {
        let target = format!("{system}-{arch}");
        [(format!("{target}-{kind}"), rank), (target, rank)]
    };
    archs.iter().flat_map(one).collect()
}

/// Ends of names, systems and kinds of installation, the preferred ones first.
const KINDS: [(&str, &str, &str); 9] = [
    (".app.tar.gz", "darwin", "app"),
    (".appimage", "linux", "appimage"),
    (".appimage.tar.gz", "linux", "appimage"),
    (".deb", "linux", "deb"),
    (".rpm", "linux", "rpm"),
    (".exe", "windows", "nsis"),
    (".nsis.zip", "windows", "nsis"),
    (".msi", "windows", "msi"),
    (".msi.zip", "windows", "msi"),
];

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::StorePrefix;
    use crate::release::record::tests::{file, record};
    use crate::release::state::State;

    fn tree(files: &[(&str, &str)]) -> Arc<Tree> {
        let files = files.iter().map(|(path, text)| {
            let mut file = file(&format!("releases/{path}"), text.as_bytes());
            file.inline = file
                .path
                .is_inlined()
                .then(|| text.as_bytes().to_vec().into());
            file
        });
        let mut state = State::default();
        state
            .apply(&record(1, "prod", files.collect(), &[]))
            .unwrap();
        state.tree(&StorePrefix::try_from("prod".to_owned()).unwrap())
    }

    fn address(path: &str) -> String {
        format!("https://cdn.example/{path}")
    }

    fn asked(channel: &str) -> Asked<'_> {
        Asked {
            channel,
            client: None,
            address: &address,
        }
    }

    fn newer(tree: &Tree, current: &str, target: &str, kind: Option<&str>) -> Option<String> {
        let current = Version::parse(current).unwrap();
        let found = asked("latest").newer(tree, &current, target, kind);
        found.map(|(_, bundle)| bundle.signature)
    }

    fn url(document: &Document, target: &str) -> String {
        let bundle = document.platforms.get(target);
        bundle
            .map(|bundle| bundle.url.replace("https://cdn.example/releases/", ""))
            .unwrap_or_default()
    }

    #[test]
    fn bundles_with_a_signature_make_a_document() {
        let tree = tree(&[
            ("darwin-aarch64/S.app.tar.gz", ""),
            ("darwin-aarch64/S.app.tar.gz.sig", "one\n"),
            ("linux-x86_64/S_1.1.0_amd64.AppImage", ""),
            ("linux-x86_64/S_1.1.0_amd64.AppImage.sig", "two"),
            ("linux-x86_64/S_1.1.0_amd64.deb", ""),
            ("linux-x86_64/S_1.1.0_amd64.deb.sig", "three"),
            ("windows-x86_64/S_1.1.0_x64-setup.exe", ""),
            ("windows-x86_64/S_1.1.0_x64-setup.exe.sig", "four"),
            ("windows-x86_64/S_1.1.0_x64_en-US.msi", ""),
            ("windows-x86_64/S_1.1.0_x64_en-US.msi.sig", "five"),
            ("windows-x86_64/S_1.2.0_x64-setup.exe", "unsigned"),
            ("linux-x86_64/S_1.0.0_amd64.AppImage", ""),
            ("linux-x86_64/S_1.0.0_amd64.AppImage.sig", "old"),
            ("version.json", "{\"version\":\"1.1.0\"}"),
            ("notes.md", "new"),
            ("linux-aarch64/S_1.0.0_aarch64.AppImage", ""),
            ("linux-aarch64/S_1.0.0_aarch64.AppImage.sig", "behind"),
        ]);
        let document = asked("latest").newest(&tree).unwrap();
        assert_eq!(
            (document.version.as_str(), document.notes.as_deref()),
            ("1.1.0", Some("new"))
        );
        assert_eq!(document.platforms["darwin-aarch64"].signature, "one");
        assert_eq!(
            url(&document, "darwin-aarch64-app"),
            "darwin-aarch64/S.app.tar.gz"
        );
        assert_eq!(
            url(&document, "linux-x86_64"),
            "linux-x86_64/S_1.1.0_amd64.AppImage"
        );
        assert_eq!(
            url(&document, "linux-x86_64-deb"),
            "linux-x86_64/S_1.1.0_amd64.deb"
        );
        assert_eq!(
            url(&document, "windows-x86_64"),
            "windows-x86_64/S_1.1.0_x64-setup.exe"
        );
        assert_eq!(
            url(&document, "windows-x86_64-msi"),
            "windows-x86_64/S_1.1.0_x64_en-US.msi"
        );
        let newer = |current, target, kind| newer(&tree, current, target, kind);
        assert_eq!(newer("1.0.9", "linux-x86_64", None).as_deref(), Some("two"));
        assert_eq!(
            newer("1.0.0", "linux-x86_64", Some("deb")).as_deref(),
            Some("three")
        );
        assert_eq!(
            newer("1.0.0", "linux-x86_64", Some("rpm")).as_deref(),
            Some("two")
        );
        assert_eq!(newer("1.1.0", "linux-x86_64", None), None);
        assert_eq!(
            newer("0.9.0", "linux-aarch64", None).as_deref(),
            Some("behind")
        );
        assert_eq!(newer("0.9.0", "linux-armv7", None), None);
    }

    #[test]
    fn a_published_document_outranks_the_bundles_and_gets_whole_addresses() {
        let platforms = r#"{"linux-x86_64":{"url":"linux/S_1.0.0.AppImage","signature":"s"},"darwin-aarch64":{"url":"https://x.example/S","signature":"t"}}"#;
        let latest = format!(
            r#"{{"version":"v1.0.0","notes":"n","pub_date":"2026-11-21T00:00:00Z","platforms":{platforms}}}"#
        );
        let tree = tree(&[
            ("latest.json", &latest),
            ("linux/S_2.0.0_amd64.AppImage", ""),
            ("linux/S_2.0.0_amd64.AppImage.sig", "x"),
        ]);
        let document = asked("latest").newest(&tree).unwrap();
        assert_eq!(document.version, "v1.0.0");
        assert_eq!(url(&document, "linux-x86_64"), "linux/S_1.0.0.AppImage");
        assert_eq!(url(&document, "darwin-aarch64"), "https://x.example/S");
        assert_eq!(
            newer(&tree, "0.9.0", "linux-x86_64", None).as_deref(),
            Some("s")
        );
    }

    #[test]
    fn a_pre_release_is_for_those_who_follow_its_channel() {
        let files = [
            ("linux/S_1.1.0-beta.1_amd64.AppImage", ""),
            ("linux/S_1.1.0-beta.1_amd64.AppImage.sig", "b"),
            ("linux/S_1.0.0_amd64.AppImage", ""),
            ("linux/S_1.0.0_amd64.AppImage.sig", "a"),
        ];
        let tree = tree(&files);
        let version = |channel| asked(channel).newest(&tree).unwrap().version;
        assert_eq!(version("latest"), "1.0.0");
        assert_eq!(version("beta"), "1.1.0-beta.1");
        assert_eq!(version("alpha"), "1.0.0");
    }

    #[test]
    fn a_mac_bundle_that_does_not_say_its_processor_is_for_nobody() {
        let files = [
            ("mac/S_1.0.0.app.tar.gz", ""),
            ("mac/S_1.0.0.app.tar.gz.sig", "a"),
        ];
        assert_eq!(asked("latest").newest(&tree(&files)), None);
    }
}
