//! What it costs the history that old versions go.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::index::Index;
use super::log::LogError;
use super::manifest;
use super::path::ReleasePath;
use super::record::{Event, File, Record};
use super::retention::{self, Gone};
use super::state::State;
use crate::config::StorePrefix;

/// Records that are looked at, of all apps together.
const LOOKED_AT: u64 = 1000;
/// Records read at a time.
const READS: usize = 16;

/// Files that go, or went.
#[derive(Debug)]
pub struct Pruned {
    /// `None`: nothing was done.
    pub record: Option<Arc<Record>>,
    pub files: Vec<Arc<File>>,
    pub lost: Lost,
}

/// Releases that cannot be gone back to without these files.
#[derive(Debug, Default)]
pub struct Lost {
    /// Numbers of records, the newest first.
    pub records: Vec<u64>,
    /// Older ones than this were not looked at.
    pub back_to: u64,
}

impl fmt::Display for Pruned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.record {
            Some(record) => write!(f, "record {}, {} files", record.n, self.files.len()),
            None => f.write_str("nothing to take away"),
        }
    }
}

impl Pruned {
    /// The files by their versions.
    pub fn versions(&self) -> Vec<Gone> {
        retention::summary(&self.files)
    }
}

/// Looks for releases of an app whose manifests name one of `going`, or what went before.
pub async fn lost(
    index: &Index,
    state: &State,
    prefix: &StorePrefix,
    going: &[Arc<File>],
) -> Result<Lost, LogError> {
    let tree = state.tree(prefix);
    let oldest = state.head().saturating_sub(LOOKED_AT) + 1;
    if going.is_empty() {
        let back_to = oldest;
        return Ok(Lost {
            back_to,
            ..Lost::default()
        });
    }
    let mut gone: HashSet<String> = going.iter().map(|file| file.path.to_string()).collect();
    let manifests = tree
        .below("releases")
        .filter(|file| file.path.is_manifest());
    let mut named: BTreeMap<ReleasePath, Vec<String>> = manifests
        .map(|file| (file.path.clone(), names(file)))
        .collect();
    let reads = (oldest..=state.head()).rev().map(|n| index.log().read(n));
    let mut records = stream::iter(reads).buffered(READS);
    let mut lost = Vec::new();
    while let Some(record) = records.try_next().await? {
        if record.prefix != *prefix {
            continue;
        }
        if matches!(
            record.event,
            Event::Deploy(_) | Event::Staged { .. } | Event::Rollback { .. }
        ) && named.values().flatten().any(|name| gone.contains(name))
        {
            lost.push(record.n);
        }
        let deployed = record.deployed();
        for file in deployed.files.iter().filter(|file| !file.unchanged) {
            named.remove(&file.path);
        }
        for file in &deployed.replaced {
            if matches!(record.event, Event::Prune { .. }) {
                gone.insert(file.path.to_string());
            } else if file.path.is_manifest() {
                named.insert(file.path.clone(), names(file));
            }
        }
    }
    Ok(Lost {
        records: lost,
        back_to: oldest,
    })
}

/// The paths that a manifest names; none of one that cannot be read.
fn names(file: &File) -> Vec<String> {
    let read = file
        .inline
        .as_deref()
        .and_then(|bytes| manifest::parse(&file.path, bytes));
    let Some(Ok(manifest)) = read else {
        return Vec::new();
    };
    let names = manifest.names.iter();
    names
        .filter_map(|named| manifest::published(&file.path, &named.url, |_| true))
        .collect()
}
