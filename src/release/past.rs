//! What was published before, read backwards from the log: what rollbacks and pins go back to.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::checks::replaced;
use super::control::ControlError;
use super::index::Index;
use super::path::ReleasePath;
use super::record::{Deployed, File};
use super::state::{State, Tree};
use crate::config::StorePrefix;

/// Records that a command may reach back over.
pub const REACH: u64 = 10_000;
/// Records read at a time.
const READS: usize = 16;

/// What stood under the paths that changed since a record.
pub struct Past {
    /// `None`: nothing.
    files: BTreeMap<ReleasePath, Option<Arc<File>>>,
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
        let reads = (to + 1..=state.head()).rev().map(|n| index.log().read(n));
        let mut records = stream::iter(reads).buffered(READS);
        let mut files = BTreeMap::new();
        while let Some(record) = records.try_next().await? {
            if record.prefix != *prefix {
                continue;
            }
            let deployed = record.deployed();
            let new = deployed.files.iter().filter(|file| !file.unchanged);
            files.extend(new.map(|file| (file.path.clone(), None)));
            let old = deployed.replaced.iter();
            files.extend(old.map(|file| (file.path.clone(), Some(file.clone()))));
        }
        Ok(Past { files })
    }

    /// What stood under `path` then.
    pub fn file(&self, tree: &Tree, path: &ReleasePath) -> Option<Arc<File>> {
        match self.files.get(path) {
            Some(then) => then.clone(),
            None => tree.file(path.as_str()).cloned(),
        }
    }
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
    let reads = (least..=state.head()).rev().map(|n| index.log().read(n));
    let mut records = stream::iter(reads).buffered(READS);
    while let Some(record) = records.try_next().await? {
        let deployed = record.deployed();
        let changes = |file: &Arc<File>| file.path == *path && !file.unchanged;
        if record.prefix != *prefix || !deployed.files.iter().any(changes) {
            continue;
        }
        let mut old = deployed.replaced.iter();
        return Ok(old.find(|file| file.path == *path).cloned());
    }
    Ok(None)
}
