//! What people can download: of each system, processor and form the newest installer that is published to everybody.
//!
//! Pure. A manifest says which version that is, as clients get it that show no place in a rollout; where nothing polls
//! for updates, the names of the files do.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use jiff::Timestamp;
use semver::{BuildMetadata, Version};

use super::artifact::{self, Arch, Format, Installer, System};
use super::manifest::{self, Manifest};
use super::path::ReleasePath;
use super::record::File;
use super::state::Tree;
use crate::config::StorePrefix;

#[derive(Debug, Default)]
pub struct Catalog {
    /// By system, then form, then processor.
    pub offers: Vec<Offer>,
    /// Of the newest version that has any.
    pub notes: Option<Notes>,
}

#[derive(Clone, Debug)]
pub struct Offer {
    pub file: Arc<File>,
    pub installer: Installer,
    /// `None`: no name and no manifest says it.
    pub version: Option<Version>,
}

#[derive(Clone, Debug)]
pub struct Notes {
    pub version: Version,
    pub text: String,
    pub date: Option<Timestamp>,
}

/// The installers of one directory and system, and what a manifest says about them.
#[derive(Default)]
struct Group {
    offers: Vec<Offer>,
    stated: Option<Stated>,
}

/// What is current by a manifest's word.
#[derive(Clone)]
struct Stated {
    /// Stable channels before others, then releases before pre-releases, then by version.
    rank: (bool, bool, Version),
    names: Arc<Vec<String>>,
}

impl Catalog {
    pub fn of(tree: &Tree) -> Catalog {
        let mut groups: BTreeMap<(String, System), Group> = BTreeMap::new();
        let mut notes = None;
        for file in tree.below("releases") {
            if let Some(installer) = Installer::of_path(&file.path) {
                let place = (directory(&file.path).to_owned(), installer.system);
                let version = artifact::version(&file.path);
                let file = file.clone();
                groups.entry(place).or_default().offers.push(Offer {
                    file,
                    installer,
                    version,
                });
            }
        }
        for file in tree
            .below("releases")
            .filter(|file| file.path.is_manifest())
        {
            let seen = tree.file_for(file.path.as_str(), None);
            if let Some((stated, manifest)) = seen.and_then(|file| Stated::read(tree, file)) {
                stated.tell(&mut groups);
                newer_notes(&mut notes, &stated, manifest);
            }
        }
        Catalog {
            offers: newest(groups.into_values().flat_map(Group::current)),
            notes: notes.map(|(_, notes)| notes),
        }
    }

    /// What suits somebody with this system best; without a processor, most of those who have the system.
    pub fn choose(
        &self,
        system: System,
        arch: Option<Arch>,
        format: Option<Format>,
    ) -> Option<&Offer> {
        let offers = self.offers.iter().filter(|offer| {
            offer.installer.system == system
                && format.is_none_or(|format| offer.installer.format == format)
        });
        let ranked = offers.filter_map(|offer| {
            let Installer {
                arch: own, format, ..
            } = offer.installer;
            let suits = preference(system, arch)
                .iter()
                .position(|arch| *arch == own)?;
            let archive = matches!(format, Format::Zip | Format::TarGz);
            Some(((archive, suits, Reverse(&offer.version), format), offer))
        });
        ranked
            .min_by(|(one, _), (other, _)| one.cmp(other))
            .map(|(_, offer)| offer)
    }
}

/// Processors in the order in which their installers suit; those that run on none of them are left out.
fn preference(system: System, arch: Option<Arch>) -> &'static [Option<Arch>] {
    use Arch::{Arm, Arm64, Universal, X64, X86};
    match (system, arch) {
        // Macs sold since 2020.
        (System::Mac, None) => &[Some(Universal), Some(Arm64), None, Some(X64)],
        (System::Mac, Some(Arm64 | Universal)) => &[Some(Arm64), Some(Universal), None, Some(X64)],
        (System::Mac, Some(_)) => &[Some(X64), Some(Universal), None],
        (System::Windows, None) => &[Some(X64), Some(Universal), None, Some(X86), Some(Arm64)],
        (System::Windows, Some(Arm64)) => {
            &[Some(Arm64), Some(Universal), Some(X64), None, Some(X86)]
        }
        (System::Windows, Some(X86)) => &[Some(X86), Some(Universal), None],
        (System::Windows, Some(_)) => &[Some(X64), Some(Universal), None, Some(X86)],
        (System::Linux, None) => &[
            Some(X64),
            Some(Universal),
            None,
            Some(Arm64),
            Some(X86),
            Some(Arm),
        ],
        (System::Linux, Some(Arm64)) => &[Some(Arm64), Some(Universal), None],
        (System::Linux, Some(X86)) => &[Some(X86), Some(Universal), None],
        (System::Linux, Some(Arm)) => &[Some(Arm), Some(Universal), None],
        (System::Linux, Some(_)) => &[Some(X64), Some(Universal), None],
    }
}

impl Stated {
    fn read(tree: &Tree, file: &File) -> Option<(Stated, Manifest)> {
        let bytes = file.inline.as_deref()?;
        let manifest = manifest::parse(&file.path, bytes)?.ok()?; // lint says what is wrong with it
        let said = manifest
            .versions
            .iter()
            .filter_map(|version| parse_version(version));
        let named = manifest.names.iter();
        let version = said.max().or_else(|| {
            let packages = named
                .clone()
                .filter_map(|named| artifact::version_in(&named.url));
            packages.max()
        })?;
        let is_published = |path: &str| tree.file(path).is_some();
        let names =
            named.filter_map(|named| manifest::published(&file.path, &named.url, is_published));
        let names: Vec<String> = names.collect();
        let stated = Stated {
            rank: (is_stable(&file.path), version.pre.is_empty(), version),
            names: Arc::new(names),
        };
        Some((stated, manifest))
    }

    fn version(&self) -> &Version {
        &self.rank.2
    }

    /// Takes it to the groups that the named files belong to.
    fn tell(&self, groups: &mut BTreeMap<(String, System), Group>) {
        for name in self.names.iter() {
            let Ok(path) = ReleasePath::parse(name) else {
                continue;
            };
            let place = directory(&path);
            let own = Installer::of_path(&path).map(|installer| installer.system);
            let told = groups.iter_mut().filter(|((directory, system), _)| {
                directory == place && own.is_none_or(|own| own == *system)
            });
            for (_, group) in told {
                if group.stated.as_ref().is_none_or(|old| old.rank < self.rank) {
                    group.stated = Some(self.clone());
                }
            }
        }
    }
}

impl Group {
    fn current(self) -> Vec<Offer> {
        let rank = |version: &Version| (version.pre.is_empty(), version.clone());
        let wanted = match &self.stated {
            Some(stated) => Some(stated.version().clone()),
            None => {
                let versions = self
                    .offers
                    .iter()
                    .filter_map(|offer| offer.version.as_ref());
                versions.max_by_key(|version| rank(version)).cloned()
            }
        };
        let named = |offer: &Offer| {
            let stated = self.stated.as_ref();
            stated.is_some_and(|stated| {
                stated
                    .names
                    .iter()
                    .any(|name| name == offer.file.path.as_str())
            })
        };
        // An earlier build that was published again goes by another version than its names tell.
        let own = match self.offers.iter().any(|offer| offer.version == wanted) {
            true => None,
            false => self
                .offers
                .iter()
                .filter(|offer| named(offer))
                .max_by(|one, other| one.version.cmp(&other.version)),
        };
        let own = own.map_or_else(|| wanted.clone(), |offer| offer.version.clone());
        let (mut current, rest): (Vec<Offer>, Vec<Offer>) = self
            .offers
            .iter()
            .cloned()
            .partition(|offer| offer.version == own && own.is_some() || named(offer));
        if current.is_empty() {
            // Overwritten by each release.
            current = rest
                .into_iter()
                .filter(|offer| offer.version.is_none())
                .collect();
        }
        for offer in &mut current {
            offer.version = wanted.clone();
        }
        name_default_arch(&mut current);
        current
    }
}

/// Beside installers for other processors, electron-builder leaves x64 out of a name.
fn name_default_arch(offers: &mut [Offer]) {
    let others: Vec<Format> = offers
        .iter()
        .filter(|offer| {
            matches!(
                offer.installer.arch,
                Some(Arch::Arm64 | Arch::X86 | Arch::Arm)
            )
        })
        .map(|offer| offer.installer.format)
        .collect();
    for Offer { installer, .. } in offers {
        if installer.arch.is_none() && others.contains(&installer.format) {
            installer.arch = Some(Arch::X64);
        }
    }
}

/// Of several directories the newest of each kind.
fn newest(offers: impl Iterator<Item = Offer>) -> Vec<Offer> {
    let rank = |offer: &Offer| {
        let version = offer.version.clone();
        (
            version.as_ref().map(|version| version.pre.is_empty()),
            version,
        )
    };
    let mut kinds: BTreeMap<(System, Format, Option<Arch>), Offer> = BTreeMap::new();
    for offer in offers {
        let Installer {
            system,
            arch,
            format,
        } = offer.installer;
        let kind = (system, format, arch);
        if kinds.get(&kind).is_none_or(|old| rank(old) < rank(&offer)) {
            kinds.insert(kind, offer);
        }
    }
    kinds.into_values().collect()
}

type Rank = (bool, bool, Version);

fn newer_notes(notes: &mut Option<(Rank, Notes)>, stated: &Stated, manifest: Manifest) {
    let text = manifest.notes.filter(|text| !text.trim().is_empty());
    let newer = notes.as_ref().is_none_or(|(rank, _)| *rank < stated.rank);
    if let Some(text) = text.filter(|_| newer) {
        let version = stated.version().clone();
        let date = manifest.date;
        *notes = Some((
            stated.rank.clone(),
            Notes {
                version,
                text,
                date,
            },
        ));
    }
}

/// Whether a manifest is that of the channel that clients follow unless told otherwise.
fn is_stable(path: &ReleasePath) -> bool {
    let name = path.file_name();
    name.starts_with("latest") || name.starts_with("RELEASES") || name.starts_with("releases.")
}

/// Some write `v1.4.0`.
pub fn parse_version(version: &str) -> Option<Version> {
    let mut version = Version::parse(version.trim_start_matches('v')).ok()?; // lint says that it is none
    version.build = BuildMetadata::EMPTY;
    Some(version)
}

fn directory(path: &ReleasePath) -> &str {
    path.parents().next().unwrap_or_default()
}

/// A catalog, and the tree that it was made of.
type Made = (Weak<Tree>, Arc<Catalog>);

/// The catalogs of all prefixes, each made once for a state.
#[derive(Default)]
pub struct Catalogs {
    /// As many as apps are configured.
    known: Mutex<HashMap<StorePrefix, Made>>,
}

impl Catalogs {
    /// The catalog of exactly this tree, if it was made.
    pub fn get(&self, prefix: &StorePrefix, tree: &Arc<Tree>) -> Option<Arc<Catalog>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, catalog) = known.get(prefix)?;
        // The weak reference keeps the address from being used again.
        std::ptr::eq(of.as_ptr(), Arc::as_ptr(tree)).then(|| catalog.clone())
    }

    pub fn put(&self, prefix: &StorePrefix, tree: &Arc<Tree>, catalog: &Arc<Catalog>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(prefix.clone(), (Arc::downgrade(tree), catalog.clone()));
    }
}

#[cfg(test)]
mod tests;
