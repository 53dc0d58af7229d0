//! What was published before, read backwards from the log: what rollbacks and pins go back to.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, TryStreamExt, future, stream};
use jiff::Timestamp;

use super::checks::replaced;
use super::control::ControlError;
use super::index::Index;
use super::log::LogError;
use super::manifest;
use super::path::ReleasePath;
use super::record::{ContentKey, Deployed, Event, File, Record};
use super::state::{State, Tree};
use crate::config::StorePrefix;

/// Records that a command may reach back over.
pub const REACH: u64 = 10_000;
/// Records read at a time.
const READS: usize = 16;

/// What stood under paths that changed since; `None`: nothing.
pub type Then = BTreeMap<ReleasePath, Option<Arc<File>>>;

/// What stood under the paths that changed since a record.
pub struct Past {
    files: Then,
    pub taken: Taken,
}

/// What was taken away since a record, and cannot be published again.
#[derive(Default)]
pub struct Taken {
    paths: HashSet<ReleasePath>,
    contents: HashSet<ContentKey>,
}

impl Taken {
    /// Whether this record took something away.
    fn note(&mut self, record: &Record) -> bool {
        let Event::Prune { deployed } = &record.event else {
            return false;
        };
        self.paths.extend(deployed.removed.iter().cloned());
        self.contents
            .extend(deployed.replaced.iter().map(|file| file.content));
        true
    }

    /// # Errors
    /// A file to be published again is of what was taken away, or is a manifest that names such a file.
    pub fn check(
        &self,
        state: &State,
        tree: &Tree,
        files: &[Arc<File>],
    ) -> Result<(), ControlError> {
        if self.paths.is_empty() {
            return Ok(());
        }
        let live: HashSet<ContentKey> = state.contents().collect();
        for file in files {
            if self.contents.contains(&file.content) && !live.contains(&file.content) {
                return Err(ControlError::Gone(file.path.clone()));
            }
            let read = file
                .inline
                .as_deref()
                .and_then(|bytes| manifest::parse(&file.path, bytes));
            let Some(Ok(manifest)) = read else { continue };
            for named in &manifest.names {
                let taken = |path: &str| self.paths.contains(path) && tree.file(path).is_none();
                let path = manifest::published(&file.path, &named.url, taken);
                if let Some(path) = path.filter(|path| taken(path)) {
                    let path = self.paths.get(path.as_str()).unwrap_or(&file.path);
                    return Err(ControlError::Gone(path.clone()));
                }
            }
        }
        Ok(())
    }
}

impl Past {
    /// The fold backwards: from the newest record to the one behind `to`, each puts back what it replaced.
    pub async fn read(
        index: &Index,
        state: &State,
        prefix: &StorePrefix,
        to: u64,
    ) -> Result<Past, ControlError> {
        if to == 0 || to > state.head() {
            return Err(ControlError::NoRecord { n: to });
        }
        if state.head() - to > REACH {
            return Err(ControlError::TooFar { n: to });
        }
        if index.log().read(to).await?.prefix != *prefix {
            return Err(ControlError::NoRecord { n: to });
        }
        let mut records = back(index, prefix, to + 1..=state.head());
        let (mut files, mut taken) = (Then::new(), Taken::default());
        while let Some(record) = records.try_next().await? {
            if !taken.note(&record) {
                undo(&mut files, record.deployed());
            }
        }
        Ok(Past { files, taken })
    }

    /// What stood under `path` then.
    pub fn file(&self, tree: &Tree, path: &ReleasePath) -> Option<Arc<File>> {
        match self.files.get(path) {
            Some(then) => then.clone(),
            None => tree.file(path.as_str()).cloned(),
        }
    }
}

/// Records of one app, the newest first.
pub fn back<'a>(
    index: &'a Index,
    prefix: &'a StorePrefix,
    records: RangeInclusive<u64>,
) -> impl Stream<Item = Result<Record, LogError>> + Unpin + 'a {
    let reads = records.rev().map(|n| index.log().read(n));
    let is_own = |record: &Record| future::ready(record.prefix == *prefix);
    stream::iter(reads).buffered(READS).try_filter(is_own)
}

/// Puts back what a record replaced.
pub fn undo(files: &mut Then, deployed: &Deployed) {
    let new = deployed.files.iter().filter(|file| !file.unchanged);
    files.extend(new.map(|file| (file.path.clone(), None)));
    let old = deployed.replaced.iter();
    files.extend(old.map(|file| (file.path.clone(), Some(file.clone()))));
}

/// Makes what stood then the current release.
pub fn rollback(tree: &Tree, past: &Past, now: Timestamp) -> Result<Deployed, ControlError> {
    let (mut files, mut removed) = (Vec::new(), Vec::new());
    for (path, then) in &past.files {
        let current = tree.file(path.as_str());
        match then {
            Some(then) if current.is_none_or(|file| !file.same_object(then)) => {
                files.push(Arc::new(File {
                    modified: now,
                    unchanged: false,
                    ..File::clone(then)
                }));
            }
            // What names files, and pages; a file that something may still name stays.
            None if current.is_some() && (path.is_manifest() || in_web(path)) => {
                removed.push(path.clone());
            }
            _ => {}
        }
    }
    // What was published then reached everybody.
    for (path, _) in tree.spreads().filter(|(_, spread)| !spread.pinned) {
        let file = tree
            .file(path.as_str())
            .filter(|_| !past.files.contains_key(path));
        files.extend(file.cloned());
    }
    if files.is_empty() && removed.is_empty() {
        return Err(ControlError::Unchanged);
    }
    let going: HashSet<&ReleasePath> = removed.iter().collect();
    let replaced = replaced(tree, &files, &going);
    Ok(Deployed {
        files,
        removed,
        replaced,
        warnings: Vec::new(),
        forced: false,
    })
}

fn in_web(path: &ReleasePath) -> bool {
    path.as_str().starts_with("web/")
}

/// What stood under `path` before its last change.
pub async fn predecessor(
    index: &Index,
    state: &State,
    prefix: &StorePrefix,
    path: &ReleasePath,
) -> Result<Option<Arc<File>>, ControlError> {
    let least = state.head().saturating_sub(REACH) + 1;
    let mut records = back(index, prefix, least..=state.head());
    let mut taken = Taken::default();
    while let Some(record) = records.try_next().await? {
        let deployed = record.deployed();
        let changes = |file: &Arc<File>| file.path == *path && !file.unchanged;
        if taken.note(&record) || !deployed.files.iter().any(changes) {
            continue;
        }
        let mut old = deployed.replaced.iter();
        let found = old.find(|file| file.path == *path).cloned();
        taken.check(state, &state.tree(prefix), found.as_slice())?;
        return Ok(found);
    }
    Ok(None)
}
