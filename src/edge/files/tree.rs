//! Files of an app's newest web deploy, by the index of releases in memory: all of a deploy appears in one step.

use std::sync::Arc;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::entry::Kind;
use super::path::{Outcome, Wanted};
use super::source::{Content, FilesError, Found};
use crate::clock;
use crate::config::{self, StorePrefix};
use crate::edge::encoding::Encoding;
use crate::release::path::normalised;
use crate::release::{self, Releases, Synced};
use crate::store::Store;

pub struct Tree {
    pub releases: Releases,
    pub store: Store,
    pub prefix: StorePrefix,
    pub keep_replaced: SignedDuration,
}

impl Tree {
    /// Changes when files have to be looked up again.
    pub fn stamp(&self) -> u64 {
        self.releases.state().head()
    }

    /// Finds the file for a path in the newest deploy, or else among the assets that it replaced.
    pub fn find(
        &self,
        wanted: &Wanted,
        files: &config::Files,
        navigation: bool,
    ) -> Result<Outcome<Found>, FilesError> {
        let synced = self.releases.synced();
        let tree = self.releases.tree(&self.prefix);
        let since = clock::now()
            .checked_sub(self.keep_replaced)
            .unwrap_or(Timestamp::MIN);
        let published = |name: &str| {
            let path = format!("web/{name}");
            let path = normalised(&path);
            tree.file(&path)
                .or_else(|| tree.retired(&path, since))
                .cloned()
        };
        let look = |name: &str| -> Result<Option<Found>, FilesError> {
            Ok(published(name).map(|file| found(name, file, published)))
        };
        match wanted.resolve(files, navigation, look)? {
            // A store that is away may have a release that was never seen here.
            Outcome::Absent(_) if synced != Synced::Known => Err(FilesError::Unknown),
            outcome => Ok(outcome),
        }
    }
}

fn found(
    name: &str,
    file: Arc<release::File>,
    published: impl Fn(&str) -> Option<Arc<release::File>>,
) -> Found {
    let neighbours = Encoding::ALL.into_iter().filter_map(|encoding| {
        let neighbour = published(&format!("{name}{}", encoding.suffix()))?;
        let current = neighbour.modified >= file.modified;
        current.then_some((encoding, Content::Stored(neighbour)))
    });
    Found {
        name: name.to_owned(),
        kind: Kind {
            content_type: file.content_type.clone(),
            cache_control: file.cache_control.clone(),
        },
        modified: file.modified,
        neighbours: neighbours.collect(),
        content: Content::Stored(file),
    }
}

/// Reads a small file whole.
pub async fn read(store: &Store, file: &release::File) -> Result<Bytes, FilesError> {
    if let Some(bytes) = &file.inline {
        return Ok(bytes.clone());
    }
    let name = file.path.to_string();
    let limit = usize::try_from(file.size).unwrap_or(usize::MAX);
    match store.read(&file.content.key(), limit).await {
        Ok(bytes) if bytes.len() == limit => Ok(bytes),
        Ok(bytes) => Err(FilesError::Size {
            name,
            found: bytes.len() as u64,
            recorded: file.size,
        }),
        Err(source) => Err(FilesError::Stored { name, source }),
    }
}
