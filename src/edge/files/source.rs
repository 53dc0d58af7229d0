//! Where files come from: a directory of this machine, or the newest `web/` tree of an app.

use std::fs::File;
use std::sync::Arc;

use jiff::Timestamp;

use super::directory::{Directory, Stat};
use super::entry::Kind;
use super::path::{Outcome, Wanted};
use super::tree::Tree;
use crate::clock;
use crate::config::{self, StorePrefix};
use crate::content::ContentError;
use crate::edge::encoding::Encoding;
use crate::release;
use crate::store::{Key, Store, StoreError};

pub enum Source {
    Directory(Arc<Directory>),
    Tree(Tree),
}

/// A file that was found, with the compressed forms beside it.
pub struct Found {
    /// Below the root.
    pub name: String,
    pub kind: Kind,
    pub modified: Timestamp,
    pub content: Content,
    pub neighbours: Vec<(Encoding, Content)>,
}

/// Bytes that are not in memory.
pub enum Content {
    Local(Arc<File>, Stat),
    Stored(Arc<release::File>),
}

/// Tells whether a file and its neighbours are the same as before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(Vec<Identity>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Identity {
    /// The second is set while the file is so young that it could change again within the same tick of its times: it then
    /// differs from look to look.
    Local(Stat, Option<i64>),
    Stored {
        sha256: [u8; 32],
        modified: Timestamp,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("cannot open the directory {path}")]
    Root {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot open the file {name}")]
    Open {
        name: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot read the file {name}")]
    Read {
        name: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot read the file {name}")]
    Stored {
        name: String,
        #[source]
        source: StoreError,
    },
    #[error("{name} has {found} bytes in the store, {recorded} in its record")]
    Size {
        name: String,
        found: u64,
        recorded: u64,
    },
    #[error("the file {name} changes faster than it can be read")]
    Restless { name: String },
    #[error("cannot send the file {name}")]
    Content {
        name: String,
        #[source]
        source: ContentError,
    },
    #[error("the releases are not known")]
    Unknown,
    #[error("a task of the request was cut")]
    Cut,
}

impl FilesError {
    /// Whether the same request may succeed a little later.
    pub fn is_passing(&self) -> bool {
        match self {
            FilesError::Root { .. }
            | FilesError::Restless { .. }
            | FilesError::Unknown
            | FilesError::Cut => true,
            FilesError::Stored { source, .. }
            | FilesError::Content {
                source: ContentError::Read(source),
                ..
            } => source.is_unavailable(),
            FilesError::Open { .. }
            | FilesError::Read { .. }
            | FilesError::Size { .. }
            | FilesError::Content { .. } => false,
        }
    }
}

impl Source {
    /// Changes when files have to be looked up again.
    pub fn stamp(&self) -> u64 {
        match self {
            Source::Directory(directory) => directory.stamp(),
            Source::Tree(tree) => tree.stamp(),
        }
    }

    /// What answers a path now.
    pub async fn find(
        &self,
        wanted: &Wanted,
        files: &Arc<config::Files>,
        navigation: bool,
    ) -> Result<Outcome<Found>, FilesError> {
        match self {
            Source::Directory(directory) => directory.find(wanted.clone(), files, navigation).await,
            Source::Tree(tree) => tree.find(wanted, files, navigation),
        }
    }

    /// Of the app whose files they are.
    pub fn prefix(&self) -> Option<&StorePrefix> {
        match self {
            Source::Directory(_) => None,
            Source::Tree(tree) => Some(&tree.prefix),
        }
    }

    pub fn store(&self) -> Option<&Store> {
        match self {
            Source::Directory(_) => None,
            Source::Tree(tree) => Some(&tree.store),
        }
    }
}

impl Content {
    /// Bytes.
    pub fn size(&self) -> u64 {
        match self {
            Content::Local(_, stat) => stat.size,
            Content::Stored(file) => file.size,
        }
    }

    fn identity(&self) -> Identity {
        match self {
            Content::Local(_, stat) => Identity::Local(*stat, stat.unsettled(clock::now())),
            Content::Stored(file) => Identity::Stored {
                sha256: file.sha256,
                modified: file.modified,
            },
        }
    }

    /// What tells this content from others, hexadecimal: of a large file on disk not its bytes, which are too many to be
    /// read for it, but its inode and times.
    pub fn hash(&self) -> String {
        match self {
            Content::Local(_, stat) => super::entry::hash(format!("{stat:?}").as_bytes()),
            Content::Stored(file) => hex::encode(file.boundary()),
        }
    }

    /// All of it, for memory.
    pub async fn read(
        &self,
        name: &str,
        store: Option<&Store>,
    ) -> Result<bytes::Bytes, FilesError> {
        match (self, store) {
            (Content::Local(file, stat), _) => {
                super::directory::read(name, file.clone(), *stat).await
            }
            (Content::Stored(file), Some(store)) => super::tree::read(store, file).await,
            (Content::Stored(_), None) => Err(FilesError::Unknown),
        }
    }
}

impl Version {
    /// Whether the same version means the same bytes.
    pub fn is_settled(&self) -> bool {
        let settled = |identity: &Identity| !matches!(identity, Identity::Local(_, Some(_)));
        self.0.iter().all(settled)
    }
}

impl Found {
    pub fn version(&self) -> Version {
        let neighbours = self
            .neighbours
            .iter()
            .map(|(_, content)| content.identity());
        Version(
            [self.content.identity()]
                .into_iter()
                .chain(neighbours)
                .collect(),
        )
    }

    /// Names the file in errors; the longest paths by their last segment.
    pub fn key(&self) -> Result<Key, FilesError> {
        let last = self.name.rsplit('/').next().unwrap_or_default();
        Key::parse(&self.name)
            .or_else(|_| Key::parse(last))
            .map_err(|_| FilesError::Cut)
    }
}
