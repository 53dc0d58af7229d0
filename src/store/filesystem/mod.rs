//! Objects as files below one directory.
//!
//! A file is written under a temporary name, flushed, moved or linked to its
//! key, and the directory flushed: whatever interrupts this, a key names a
//! whole file that is on the disk. All of it runs on blocking threads.

mod body;
mod root;
mod staged;
mod walk;

use std::{fs::File, io, ops::Range, path::PathBuf, sync::Arc};

use bytes::Bytes;
use nix::{
    errno::Errno,
    sys::stat::{FileStat, SFlag, fstat},
    unistd::{UnlinkatFlags, fsync, unlinkat},
};

use self::{root::Root, staged::Staged};
use crate::tasks;

use super::{Attributes, Body, Created, Key, Meta, Object, StoreError};

pub use body::{FileBody, Part};

/// The file system store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Filesystem {
    root: Arc<Root>,
}

impl Filesystem {
    /// Opens the store below `directory`, which is made when missing.
    pub(super) async fn open(directory: PathBuf) -> Result<Filesystem, StoreError> {
        let subject = directory.display().to_string();
        let opened = blocking("open", subject.clone(), move || Ok(Root::open(&directory))).await?;
        match opened {
            Ok(root) => Ok(Filesystem {
                root: Arc::new(root),
            }),
            Err(source) => Err(StoreError::Io {
                action: "open",
                subject,
                source,
            }),
        }
    }

    pub(super) async fn reachable(&self) -> Result<(), StoreError> {
        let root = self.root.clone();
        let looked = blocking("look into", "the store's directory".to_owned(), move || {
            Ok(root.open_directory(None))
        });
        match looked.await? {
            Ok(_directory) => Ok(()),
            Err(source) => Err(StoreError::Io {
                action: "look into",
                subject: "the store's directory".to_owned(),
                source,
            }),
        }
    }

    pub(super) async fn writer(
        &self,
        key: &Key,
        attributes: &Attributes,
    ) -> Result<Writer, StoreError> {
        let (root, visibility) = (self.root.clone(), attributes.visibility);
        let staged = self
            .work("begin", key, move |_| Staged::new(root, visibility))
            .await?;
        Ok(Writer {
            files: self.clone(),
            key: key.clone(),
            staged: Some(staged),
        })
    }

    pub(super) async fn put(
        &self,
        key: &Key,
        content: Bytes,
        attributes: &Attributes,
    ) -> Result<(), StoreError> {
        let (root, visibility) = (self.root.clone(), attributes.visibility);
        self.work("write", key, move |key| {
            let mut staged = Staged::new(root, visibility)?;
            staged.write(&content)?;
            staged.replace(key)
        })
        .await
    }

    pub(super) async fn create(
        &self,
        key: &Key,
        content: Bytes,
        attributes: &Attributes,
    ) -> Result<Created, StoreError> {
        let (root, visibility) = (self.root.clone(), attributes.visibility);
        self.work("create", key, move |key| {
            let mut staged = Staged::new(root, visibility)?;
            staged.write(&content)?;
            staged.create(key)
        })
        .await
    }

    pub(super) async fn get(
        &self,
        key: &Key,
        range: Option<Range<u64>>,
    ) -> Result<Object, StoreError> {
        let root = self.root.clone();
        let (file, stat) = self
            .work("open", key, move |key| open_regular(&root, key))
            .await?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let range = range.unwrap_or(0..size);
        if range.start > range.end || range.end > size {
            return Err(StoreError::OutOfRange {
                key: key.clone(),
                size,
            });
        }
        Ok(Object {
            key: key.clone(),
            size,
            body: Body::File {
                file: Arc::new(file),
                range,
            },
        })
    }

    pub(super) async fn head(&self, key: &Key) -> Result<Option<Meta>, StoreError> {
        let root = self.root.clone();
        match self
            .work("look up", key, move |key| open_regular(&root, key))
            .await
        {
            Ok((_, stat)) => Ok(Some(meta(key.clone(), &stat))),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn copy(
        &self,
        from: &Key,
        to: &Key,
        attributes: &Attributes,
    ) -> Result<(), StoreError> {
        let (root, target, visibility) = (self.root.clone(), to.clone(), attributes.visibility);
        let copied = self.work("copy", from, move |from| {
            staged::copy(root, from, &target, visibility)
        });
        copied.await.map_err(|error| match error {
            // The source could be opened.
            StoreError::Obstructed { .. } => StoreError::Obstructed { key: to.clone() },
            other => other,
        })
    }

    pub(super) async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Meta>, StoreError> {
        let (root, prefix, after) = (
            self.root.clone(),
            prefix.to_owned(),
            after.unwrap_or("").to_owned(),
        );
        let subject = format!("{prefix}*");
        let listed = blocking("list", subject.clone(), move || {
            Ok(walk::list(&root, &prefix, &after, limit))
        })
        .await?;
        listed.map_err(|source| StoreError::Io {
            action: "list",
            subject,
            source,
        })
    }

    pub(super) async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let root = self.root.clone();
        let deleted = self.work("delete", key, move |key| {
            let (parent, name) = key.split();
            let directory = root.open_directory(parent)?;
            unlinkat(&directory, name, UnlinkatFlags::NoRemoveDir)?;
            fsync(&directory)?;
            drop(directory);
            root.prune_parents(key)
        });
        match deleted.await {
            Err(StoreError::NotFound { .. } | StoreError::Obstructed { .. }) => Ok(()),
            other => other,
        }
    }

    /// Removes temporary files last written before `before`; returns how many.
    pub(super) async fn remove_stale(&self, before: jiff::Timestamp) -> Result<usize, StoreError> {
        let root = self.root.clone();
        let subject = root::TEMPORARY.to_owned();
        let removed = blocking("clear", subject.clone(), move || {
            Ok(walk::remove_stale(&root, before))
        })
        .await?;
        removed.map_err(|source| StoreError::Io {
            action: "clear",
            subject,
            source,
        })
    }

    /// Runs `work` for `key` on a blocking thread.
    async fn work<T: Send + 'static>(
        &self,
        action: &'static str,
        key: &Key,
        work: impl FnOnce(&Key) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let key = key.clone();
        blocking(action, key.to_string(), move || {
            work(&key).map_err(|source| StoreError::from_io(action, &key, source))
        })
        .await
    }
}

/// An object being written to a file.
#[derive(Debug)]
pub struct Writer {
    files: Filesystem,
    key: Key,
    /// Away while a thread works with it.
    staged: Option<Staged>,
}

impl Writer {
    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let mut staged = self.take()?;
        let work = self.files.work("write", &self.key, move |_| {
            staged.write(&bytes)?;
            Ok(staged)
        });
        self.staged = Some(work.await?);
        Ok(())
    }

    pub(super) async fn finish(mut self) -> Result<u64, StoreError> {
        let staged = self.take()?;
        let size = staged.size();
        self.files
            .work("finish", &self.key, move |key| staged.replace(key))
            .await?;
        Ok(size)
    }

    fn take(&mut self) -> Result<Staged, StoreError> {
        self.staged.take().ok_or(StoreError::Unsupported {
            what: "go on with an object whose write failed",
        })
    }
}

fn open_regular(root: &Root, key: &Key) -> io::Result<(File, FileStat)> {
    let file = root.open_object(key).map_err(|error| match error.kind() {
        // Below a file there is nothing.
        io::ErrorKind::NotADirectory => Errno::ENOENT.into(),
        _ => error,
    })?;
    let stat = fstat(&file)?;
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        // A directory is no object.
        return Err(Errno::ENOENT.into());
    }
    Ok((file, stat))
}

fn meta(key: Key, stat: &FileStat) -> Meta {
    let nanoseconds = i32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Meta {
        key,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified: jiff::Timestamp::new(stat.st_mtime, nanoseconds)
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH),
        etag: None,
    }
}

/// Runs `work` on a blocking thread; a panic there becomes an error here.
async fn blocking<T: Send + 'static>(
    action: &'static str,
    subject: String,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tasks::blocking(action, work).await {
        Ok(result) => result,
        Err(source) => Err(StoreError::Interrupted {
            action,
            subject,
            source,
        }),
    }
}
