//! What changed between two releases.

use std::sync::Arc;

use futures_util::TryStreamExt;

use super::control::ControlError;
use super::index::Index;
use super::past::{REACH, Then, back, undo};
use super::path::ReleasePath;
use super::record::File;
use super::state::{State, Tree};
use crate::config::StorePrefix;

/// The files that are not the same after one record and after another. What was published counts, whoever a rollout
/// or a pin gave it to.
#[derive(Debug)]
pub struct Diff {
    pub from: u64,
    pub to: u64,
    /// Manifests first, each in the order of their paths.
    pub changes: Vec<Change>,
}

/// A file on either side; `None`: it was not there.
#[derive(Debug)]
pub struct Change {
    pub path: ReleasePath,
    pub before: Option<Arc<File>>,
    pub after: Option<Arc<File>>,
}

impl Diff {
    /// Compares what was published after `from` with what was after `to`, by default the newest record of the app.
    pub async fn read(
        index: &Index,
        state: &State,
        prefix: &StorePrefix,
        from: u64,
        to: Option<u64>,
    ) -> Result<Diff, ControlError> {
        let head = state.head();
        for n in [Some(from), to].into_iter().flatten() {
            if n == 0 || n > head || index.log().read(n).await?.prefix != *prefix {
                return Err(ControlError::NoRecord { n });
            }
        }
        let (earlier, later) = match to {
            Some(to) => (from.min(to), from.max(to)),
            None => (from, head),
        };
        if head - earlier > REACH {
            return Err(ControlError::TooFar { n: earlier });
        }
        let mut files = Then::new();
        let (mut newest, mut at_later) = (from, None);
        let mut records = back(index, prefix, earlier + 1..=head);
        while let Some(record) = records.try_next().await? {
            newest = newest.max(record.n);
            if record.n <= later && at_later.is_none() {
                at_later = Some(files.clone());
            }
            undo(&mut files, record.deployed());
        }
        let at_later = at_later.unwrap_or_else(|| files.clone());
        let to = to.unwrap_or(newest);
        let (before, after) = if from <= to {
            (&files, &at_later)
        } else {
            (&at_later, &files)
        };
        let tree = state.tree(prefix);
        // What stands in the later one stands in the earlier one too.
        let paths = files.keys();
        let mut changes: Vec<Change> = paths
            .filter_map(|path| {
                Change::of(path, file(before, &tree, path), file(after, &tree, path))
            })
            .collect();
        changes.sort_by_key(|change| !change.path.is_manifest());
        Ok(Diff { from, to, changes })
    }
}

impl Change {
    fn of(
        path: &ReleasePath,
        before: Option<&Arc<File>>,
        after: Option<&Arc<File>>,
    ) -> Option<Change> {
        let sha256 = |file: &Arc<File>| file.sha256;
        (before.map(sha256) != after.map(sha256)).then(|| Change {
            path: path.clone(),
            before: before.cloned(),
            after: after.cloned(),
        })
    }
}

fn file<'a>(then: &'a Then, tree: &'a Tree, path: &ReleasePath) -> Option<&'a Arc<File>> {
    match then.get(path) {
        Some(file) => file.as_ref(),
        None => tree.file(path.as_str()),
    }
}
