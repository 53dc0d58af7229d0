//! Holds manifests against the files they name, before users' apps do.

use base64_simd::STANDARD;

use super::intake::{ALL_INLINE_BYTES, INLINE_BYTES};
use super::manifest::{self, Hash, Manifest, ManifestError, Named};
use super::path::ReleasePath;
use super::record::{File, Warning};

/// What is wrong with a manifest.
#[derive(Debug, thiserror::Error)]
pub enum Finding {
    #[error("{0}{cause}", cause = cause(.0))]
    Unreadable(ManifestError),
    /// No fault: that it was not read says nothing against it.
    #[error("is larger than {INLINE_BYTES} bytes, so it was not checked")]
    TooLarge,
    #[error(
        "is not UTF-8 text, or the manifests of this deploy have more than {ALL_INLINE_BYTES} bytes together"
    )]
    NotText,
    #[error("names no version")]
    NoVersion,
    #[error("the version `{0}` is not a semantic version, so updaters refuse it")]
    Version(String),
    #[error("names no file")]
    NoFiles,
    #[error("names `{0}`, which is not published")]
    Missing(String),
    #[error(
        "names `{0}`, which lies above `releases/`, so that clients of `/updates/` do not find it"
    )]
    Above(String),
    #[error("says that `{name}` has {says} bytes; it has {actual}")]
    Size {
        name: String,
        says: u64,
        actual: u64,
    },
    #[error("has a wrong {algorithm} for `{name}`")]
    Hash {
        name: String,
        algorithm: &'static str,
    },
    #[error("has no sha512 for `{0}`, so clients refuse to install it")]
    NoHash(String),
    #[error("names no .zip, and macOS updates install from nothing else")]
    NoZip,
    #[error("there is no `{0}.blockmap`, so every update is a full download")]
    NoBlockmap(String),
}

/// The cause of an error, since a finding is read in one line. Not those below it: a YAML error repeats its own.
fn cause(error: &ManifestError) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    let line = cause.as_deref().and_then(|cause| cause.lines().next());
    line.map(|line| format!(": {line}")).unwrap_or_default()
}

/// A manifest of a deploy, parsed once, to be held against several states.
pub struct Lintable {
    path: ReleasePath,
    manifest: Result<Manifest, Finding>,
}

impl Lintable {
    /// Takes a file of a deploy, of `size` bytes; `None` when it is no manifest. `inline` is its content where that was
    /// kept.
    pub fn new(path: &ReleasePath, inline: Option<&[u8]>, size: u64) -> Option<Lintable> {
        let read = manifest::parse(path, inline.unwrap_or_default())?;
        let manifest = match inline {
            Some(_) => read.map_err(Finding::Unreadable),
            None if size > INLINE_BYTES as u64 => Err(Finding::TooLarge),
            None => Err(Finding::NotText),
        };
        Some(Lintable {
            path: path.clone(),
            manifest,
        })
    }

    pub fn path(&self) -> &ReleasePath {
        &self.path
    }

    pub fn versions(&self) -> &[String] {
        self.manifest
            .as_ref()
            .map_or(&[], |manifest| &manifest.versions)
    }

    /// Whether it was too large to be read; its one warning says so, and is no fault of it.
    pub fn is_unread(&self) -> bool {
        matches!(self.manifest, Err(Finding::TooLarge))
    }

    /// All that is wrong with it where `file` looks published files up.
    pub fn warnings<'a>(&self, file: impl Fn(&str) -> Option<&'a File>) -> Vec<Warning> {
        let findings = match &self.manifest {
            Ok(manifest) => check(&self.path, manifest, file),
            Err(finding) => return vec![self.warning(finding)],
        };
        findings
            .iter()
            .map(|finding| self.warning(finding))
            .collect()
    }

    fn warning(&self, finding: &Finding) -> Warning {
        Warning {
            path: self.path.clone(),
            message: finding.to_string(),
        }
    }
}

fn check<'a>(
    path: &ReleasePath,
    manifest: &Manifest,
    file: impl Fn(&str) -> Option<&'a File>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if manifest.versioned && manifest.versions.is_empty() {
        findings.push(Finding::NoVersion);
    }
    for version in &manifest.versions {
        if semver::Version::parse(version).is_err() {
            findings.push(Finding::Version(version.clone()));
        }
    }
    if manifest.differential && manifest.names.is_empty() {
        findings.push(Finding::NoFiles);
    }
    for named in &manifest.names {
        let Some(target) = manifest::resolve(path, &named.url) else {
            continue;
        };
        if manifest::leaves_updates(path, &named.url) {
            findings.push(Finding::Above(named.url.clone()));
            continue;
        }
        match file(&target) {
            None => findings.push(Finding::Missing(named.url.clone())),
            Some(found) => compare(named, found, &mut findings),
        }
        if manifest.differential
            && wants_blockmap(named, manifest)
            && file(&format!("{target}.blockmap")).is_none()
        {
            findings.push(Finding::NoBlockmap(named.url.clone()));
        }
    }
    let zip = |named: &Named| extension(&named.url).eq_ignore_ascii_case("zip");
    if manifest.for_mac && !manifest.names.is_empty() && !manifest.names.iter().any(zip) {
        findings.push(Finding::NoZip);
    }
    findings
}

fn compare(named: &Named, file: &File, findings: &mut Vec<Finding>) {
    let name = &named.url;
    if let Some(says) = named.size
        && says != file.size
    {
        findings.push(Finding::Size {
            name: name.clone(),
            says,
            actual: file.size,
        });
    }
    let wrong = match &named.hash {
        Hash::Unknown => return,
        Hash::Missing => return findings.push(Finding::NoHash(name.clone())),
        Hash::Sha512Base64(text) => {
            (STANDARD.encode_to_string(file.sha512) != *text).then_some("sha512")
        }
        Hash::Sha256Hex(text) => {
            (!hex::encode(file.sha256).eq_ignore_ascii_case(text)).then_some("SHA-256")
        }
    };
    if let Some(algorithm) = wrong {
        findings.push(Finding::Hash {
            name: name.clone(),
            algorithm,
        });
    }
}

/// Whether electron-updater looks for a block map beside this file: for what MacUpdater and NsisUpdater install.
/// An AppImage carries its own.
fn wants_blockmap(named: &Named, manifest: &Manifest) -> bool {
    if named.embedded_blockmap {
        return false;
    }
    match extension(&named.url).to_ascii_lowercase().as_str() {
        "zip" => manifest.for_mac,
        "exe" => true,
        _ => false,
    }
}

fn extension(url: &str) -> &str {
    let name = url.split(['?', '#']).next().unwrap_or_default();
    name.rsplit_once('.').map_or("", |(_, extension)| extension)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::release::record::tests::file;

    fn messages(manifest: &str, text: &str, files: &[File]) -> Vec<String> {
        let files: HashMap<&str, &File> = files
            .iter()
            .map(|file| (file.path.as_str(), file))
            .collect();
        let path = ReleasePath::parse(manifest).unwrap();
        let lintable = Lintable::new(&path, Some(text.as_bytes()), text.len() as u64).unwrap();
        let warnings = lintable.warnings(|path| files.get(path).copied());
        warnings
            .into_iter()
            .map(|warning| warning.message)
            .collect()
    }

    fn sha512(file: &File) -> String {
        STANDARD.encode_to_string(file.sha512)
    }

    #[test]
    fn a_manifest_that_is_right_has_no_findings() {
        let zip = file("releases/mac/Seance-1.0.0.zip", b"zip");
        let text = format!(
            "version: 1.0.0\nfiles:\n- url: Seance-1.0.0.zip\n  sha512: {}\n  size: 3\n",
            sha512(&zip)
        );
        let files = [zip, file("releases/mac/Seance-1.0.0.zip.blockmap", b"map")];
        assert_eq!(
            messages("releases/mac/latest-mac.yml", &text, &files),
            Vec::<String>::new()
        );
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let text = "version: 2026.01.000\nfiles:\n- url: Seance-1.0.0.dmg\n  sha512: QUJD\n  size: 99\n- url: gone.dmg\n";
        let files = [file("releases/mac/Seance-1.0.0.dmg", b"dmg")];
        assert_eq!(
            messages("releases/mac/latest-mac.yml", text, &files),
            [
                "the version `2026.01.000` is not a semantic version, so updaters refuse it",
                "says that `Seance-1.0.0.dmg` has 99 bytes; it has 3",
                "has a wrong sha512 for `Seance-1.0.0.dmg`",
                "names `gone.dmg`, which is not published",
                "names no .zip, and macOS updates install from nothing else",
            ]
        );
    }

    #[test]
    fn an_installer_without_block_map_is_found_and_an_appimage_needs_none() {
        let exe = file("releases/win/Setup-1.0.0.exe", b"exe");
        let text = format!(
            "version: 1.0.0\nfiles:\n- url: Setup-1.0.0.exe\n  sha512: {}\n",
            sha512(&exe)
        );
        assert_eq!(
            messages("releases/win/latest.yml", &text, &[exe]),
            ["there is no `Setup-1.0.0.exe.blockmap`, so every update is a full download"]
        );
        let image = file("releases/linux/S-1.0.0.AppImage", b"elf");
        let text = format!(
            "version: 1.0.0\nfiles:\n- url: S-1.0.0.AppImage\n  blockMapSize: 5\n  sha512: {}\n",
            sha512(&image)
        );
        assert_eq!(
            messages("releases/linux/latest-linux.yml", &text, &[image]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_manifest_that_was_not_read_is_faulty_only_when_it_could_have_been() {
        let path = ReleasePath::parse("releases/win/RELEASES").unwrap();
        let new = |size| Lintable::new(&path, None, size).unwrap();
        assert!(new(INLINE_BYTES as u64 + 1).is_unread());
        assert!(!new(INLINE_BYTES as u64).is_unread());
    }

    #[test]
    fn an_unreadable_manifest_says_why() {
        let found = messages("releases/mac/latest-mac.yml", "version: [", &[]);
        assert_eq!(found.len(), 1);
        let cause = found[0].strip_prefix("is not the YAML of an update manifest: ");
        let cause = cause.unwrap_or_else(|| panic!("{found:?}"));
        assert_eq!(
            cause.matches("expected string scalar").count(),
            1,
            "{found:?}"
        );
    }
}
