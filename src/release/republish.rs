//! Earlier manifests under a new version: clients that took a broken one are given the files from before it.
//!
//! Nothing but manifests is made, and they go the way of every deploy. Their files are checked again at the moment of
//! the record: until then they may be pruned, or a higher version published.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use semver::Version;
use serde_json::Value;

use super::Releases;
use super::body::{self, Sink as _};
use super::control::{ControlError, Executed, Selection};
use super::document;
use super::intake::Intake;
use super::manifest;
use super::past::Past;
use super::path::ReleasePath;
use super::publish::{Order, Origin, PublishError};
use super::record::File;
use super::staging::StagingError;
use super::state::{State, Tree};
use crate::clock;
use crate::tasks;

/// Most bytes that an intake takes at a time.
const CHUNK: usize = 128 * 1024;

/// What is to be published again.
#[derive(Clone, Debug)]
pub struct Republish {
    /// The record that published it.
    pub record: u64,
    /// The version that clients are told, higher than all that they may have.
    pub version: Version,
    pub which: Selection,
}

/// Why a manifest cannot be published again under another version.
#[derive(Debug, thiserror::Error)]
pub enum Obstacle {
    #[error("the version of what `{0}` names is inside the packages, which cannot be changed")]
    Inside(ReleasePath),
    #[error("`{0}` of that time cannot be read")]
    Unread(ReleasePath),
    #[error("`{path}` has version {published}; clients that have it would not take {version}")]
    NotHigher {
        path: ReleasePath,
        published: Version,
        version: Version,
    },
    #[error("`{path}` named `{file}`, which is not published any more")]
    Absent {
        path: ReleasePath,
        file: ReleasePath,
    },
    #[error(
        "`{path}` named `{file}`, which has other bytes by now; roll back to that record first"
    )]
    Changed {
        path: ReleasePath,
        file: ReleasePath,
    },
}

/// Manifests to be published again, and what has to hold then.
pub struct Again {
    pub of: u64,
    version: Version,
    made: Vec<Made>,
}

/// One of them.
struct Made {
    path: ReleasePath,
    bytes: Bytes,
    /// The files that it names, as they were when it was published first.
    named: Vec<Arc<File>>,
}

impl Releases {
    /// Publishes the manifests that stood after a record, with another version and date, in one record. Their files
    /// have to be there as they were.
    pub async fn republish(
        &self,
        asked: &Republish,
        order: Order,
    ) -> Result<Executed, ControlError> {
        let index = &self.shared.index;
        index.catch_up().await?;
        let state = index.state();
        let past = Past::read(index, &state, &order.prefix, asked.record).await?;
        let tree = state.tree(&order.prefix);
        let (again, left) = Again::make(&state, &tree, &past, asked)?;
        let files = again.files();
        let (deploy, intake) = self.begin(order).await?;
        let taken = tasks::blocking("republish", move || take(intake, files)).await?;
        let intake = taken.map_err(PublishError::Staging)?;
        let origin = Origin::Republish(again);
        let record = self.make_true(deploy, intake, origin).await?.record;
        Ok(Executed { record, left })
    }
}

impl Again {
    /// What can be published again, at least one manifest, and why the rest of what is meant cannot.
    fn make(
        state: &State,
        tree: &Tree,
        past: &Past,
        asked: &Republish,
    ) -> Result<(Again, Vec<ControlError>), ControlError> {
        let view = View { state, tree, past };
        let (mut made, mut left, mut versions) = (Vec::new(), Vec::new(), HashSet::new());
        for path in asked.which.of(tree)? {
            if is_version_file(&path) {
                continue;
            }
            match view.renew(&path, &asked.version) {
                Ok(Some((manifest, old))) => match manifest.check(tree, &asked.version) {
                    Ok(()) => {
                        made.push(manifest);
                        versions.extend(old);
                    }
                    Err(error) => left.push(error.into()),
                },
                Ok(None) => {}
                Err(error) => left.push(error),
            }
        }
        if made.is_empty() {
            return Err(left.pop().unwrap_or(ControlError::NothingSelected));
        }
        // The product's own file goes along where it told the same version.
        let files = tree.below("releases").map(|file| &file.path);
        for path in files.filter(|path| is_version_file(path) && asked.which.holds_place(path)) {
            match view.renew(path, &asked.version) {
                Ok(Some((file, old))) if old.iter().any(|old| versions.contains(old)) => {
                    match file.check(tree, &asked.version) {
                        Ok(()) => made.push(file),
                        Err(error) => left.push(error.into()),
                    }
                }
                Ok(_) => {}
                Err(error) => left.push(error),
            }
        }
        let again = Again {
            of: asked.record,
            version: asked.version.clone(),
            made,
        };
        Ok((again, left))
    }

    fn files(&self) -> Vec<(ReleasePath, Bytes)> {
        let made = self.made.iter();
        made.map(|made| (made.path.clone(), made.bytes.clone()))
            .collect()
    }

    /// # Errors
    /// By now its files are not what they were, or clients may have the version.
    pub fn check(&self, tree: &Tree) -> Result<(), Obstacle> {
        let mut made = self.made.iter();
        made.try_for_each(|made| made.check(tree, &self.version))
    }
}

/// What was published, seen from what is.
struct View<'a> {
    state: &'a State,
    tree: &'a Tree,
    past: &'a Past,
}

impl View<'_> {
    /// The manifest with another version, and those that it had; `None` for what is no manifest.
    fn renew(
        &self,
        path: &ReleasePath,
        version: &Version,
    ) -> Result<Option<(Made, Vec<String>)>, ControlError> {
        let (tree, past) = (self.tree, self.past);
        let spread = tree.spread_of(path.as_str());
        if spread.is_some_and(|spread| spread.pinned) {
            return Err(ControlError::Pinned(path.clone()));
        }
        let file = past.file(tree, path);
        let file = file.ok_or_else(|| ControlError::NotThen(path.clone()))?;
        let unread = || Obstacle::Unread(path.clone());
        let text = file.inline.as_deref().ok_or_else(unread)?;
        let Some(read) = manifest::parse(path, text) else {
            return Ok(None);
        };
        let date = if is_version_file(path) {
            None
        } else if path.is_electron_channel() {
            Some("releaseDate")
        } else if path.is_tauri_manifest() {
            Some("pub_date")
        } else {
            return Err(Obstacle::Inside(path.clone()).into());
        };
        let read = read.map_err(|_| unread())?; // lint told why
        past.taken
            .check(self.state, tree, std::slice::from_ref(&file))?;
        let bytes = renewed(path, text, version, date).ok_or_else(unread)?;
        let is_published = |path: &str| tree.file(path).is_some();
        let mut named = Vec::new();
        for name in &read.names {
            let name = manifest::published(path, &name.url, is_published);
            let Some(name) = name.and_then(|name| ReleasePath::parse(&name).ok()) else {
                continue; // on another server
            };
            let file = past.file(tree, &name).ok_or_else(|| Obstacle::Absent {
                path: path.clone(),
                file: name,
            })?;
            named.push(file);
        }
        let made = Made {
            path: path.clone(),
            bytes: bytes.into(),
            named,
        };
        Ok(Some((made, read.versions)))
    }
}

impl Made {
    fn check(&self, tree: &Tree, version: &Version) -> Result<(), Obstacle> {
        let published = tree.file(self.path.as_str()).map(|file| file.versions());
        let published = published.iter().flatten();
        let published = published.filter_map(|version| Version::parse(version).ok()); // lint says that it is none
        // Build metadata has no precedence.
        let newer = published
            .max()
            .filter(|old| version.cmp_precedence(old).is_le());
        if let Some(published) = newer {
            return Err(Obstacle::NotHigher {
                path: self.path.clone(),
                published,
                version: version.clone(),
            });
        }
        for then in &self.named {
            let (path, file) = (self.path.clone(), then.path.clone());
            match tree.file(then.path.as_str()) {
                Some(now) if now.sha256 == then.sha256 => {}
                Some(_) => return Err(Obstacle::Changed { path, file }),
                None => return Err(Obstacle::Absent { path, file }),
            }
        }
        Ok(())
    }
}

/// The product's own word, by which no updater installs anything.
fn is_version_file(path: &ReleasePath) -> bool {
    path.file_name() == "version.json"
}

/// A manifest with another version, and with this time in the member `date`. `None` when it cannot be read or written.
fn renewed(
    path: &ReleasePath,
    text: &[u8],
    version: &Version,
    date: Option<&str>,
) -> Option<Vec<u8>> {
    let mut document = document::read(path, text)?;
    document.insert("version".to_owned(), Value::String(version.to_string()));
    if let Some(date) = date {
        let now = clock::rfc3339(clock::now());
        document.insert(date.to_owned(), Value::String(now));
    }
    document::write(path, &document)
}

/// Runs on a thread that may block.
fn take(mut intake: Intake, files: Vec<(ReleasePath, Bytes)>) -> Result<Intake, StagingError> {
    for (index, (path, mut rest)) in files.into_iter().enumerate() {
        let size = rest.len() as u64;
        intake.start(index)?;
        while !rest.is_empty() {
            let chunk = rest.split_to(rest.len().min(CHUNK));
            intake.data(chunk)?;
        }
        intake.finish(body::File { index, path, size })?;
    }
    Ok(intake)
}
