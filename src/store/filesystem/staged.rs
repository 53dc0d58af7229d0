//! A file on its way into the store.

use std::{
    cell::Cell,
    fs::File,
    io::{self, Write},
    os::fd::AsRawFd,
    sync::Arc,
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat, renameat},
    sys::stat::{Mode, fchmod},
    unistd::{UnlinkatFlags, fsync, linkat, unlinkat},
};

use super::root::Root;
use crate::store::{Created, Key, Visibility};

/// Write-back is started whenever this much has gathered, so that the final
/// fsync waits for little and dirty pages stay few.
const WRITE_BACK_BYTES: u64 = 4 * 1024 * 1024;

/// A file under a temporary name. Dropped, it is gone; what a kill leaves is
/// removed by [`super::Filesystem::remove_stale`].
#[derive(Debug)]
pub(super) struct Staged {
    file: File,
    name: TemporaryName,
    size: u64,
    flushing: u64,
}

impl Staged {
    pub(super) fn new(root: Arc<Root>, visibility: Visibility) -> io::Result<Staged> {
        let name = TemporaryName::new(root);
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let file: File = openat(
            name.root.temporary(),
            name.name.as_str(),
            flags,
            mode(visibility),
        )?
        .into();
        Ok(Staged {
            file,
            name,
            size: 0,
            flushing: 0,
        })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        if self.size - self.flushing >= WRITE_BACK_BYTES {
            start_write_back(&self.file, self.flushing, self.size - self.flushing);
            self.flushing = self.size;
        }
        Ok(())
    }

    /// Makes the file durable and puts it under `key`, in place of what is there.
    pub(super) fn replace(self, key: &Key) -> io::Result<()> {
        self.file.sync_all()?;
        self.name.rename(key)
    }

    /// Makes the file durable and puts it under `key` if nothing is there.
    pub(super) fn create(self, key: &Key) -> io::Result<Created> {
        self.file.sync_all()?;
        let TemporaryName { root, name } = &self.name;
        let named = Cell::new(false);
        let created = in_parent(root, key, |parent, final_name| {
            match linkat(
                root.temporary(),
                name.as_str(),
                parent,
                final_name,
                AtFlags::empty(),
            ) {
                Ok(()) => {
                    named.set(true);
                    Ok(Created::Yes)
                }
                Err(Errno::EEXIST) => Ok(Created::AlreadyExists),
                Err(error) => Err(error.into()),
            }
        });
        // Everybody sees the object now: even "no space left" must not read as if it were not there.
        created.map_err(|error| match named.get() {
            true => io::Error::other(Unflushed(error)),
            false => error,
        })
    }
}

/// A file has its name, but may lose it in a power cut.
#[derive(Debug, thiserror::Error)]
#[error("the file has its name, but its directory cannot be flushed")]
struct Unflushed(#[source] io::Error);

/// Puts a second name for the file of `from` under `to`, in place of what is
/// there. Objects are never changed in place, so sharing is safe.
pub(super) fn copy(
    root: Arc<Root>,
    from: &Key,
    to: &Key,
    visibility: Visibility,
) -> io::Result<()> {
    let (mut source, _) = super::open_regular(&root, from)?;
    let directory = root.open_directory(from.split().0)?;
    let name = TemporaryName::new(root.clone());
    let linked = linkat(
        &directory,
        from.split().1,
        root.temporary(),
        name.name.as_str(),
        AtFlags::empty(),
    );
    match linked {
        Ok(()) => {
            // Both names share the permissions; published bytes are no secret
            // under their private name either.
            if visibility == Visibility::Public {
                fchmod(&source, mode(visibility))?;
            }
            name.rename(to)
        }
        // No links on this file system, or too many to this file.
        Err(Errno::EPERM | Errno::EMLINK | Errno::EOPNOTSUPP) => {
            let mut staged = Staged::new(root, visibility)?;
            io::copy(&mut source, &mut staged.file)?;
            staged.replace(to)
        }
        Err(error) => Err(error.into()),
    }
}

/// The permissions of an object's file.
pub(super) fn mode(visibility: Visibility) -> Mode {
    match visibility {
        Visibility::Private => Mode::S_IRUSR | Mode::S_IWUSR,
        Visibility::Public => Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IRGRP | Mode::S_IROTH,
    }
}

/// A name in the temporary directory, removed on drop. Once the file has moved
/// to its key there is nothing to remove, except after a rename between two
/// names of one file, which POSIX lets do nothing.
#[derive(Debug)]
struct TemporaryName {
    root: Arc<Root>,
    name: String,
}

impl TemporaryName {
    fn new(root: Arc<Root>) -> TemporaryName {
        TemporaryName {
            root,
            name: uuid::Uuid::now_v7().to_string(),
        }
    }

    fn rename(&self, key: &Key) -> io::Result<()> {
        in_parent(&self.root, key, |parent, final_name| {
            Ok(renameat(
                self.root.temporary(),
                self.name.as_str(),
                parent,
                final_name,
            )?)
        })
    }
}

impl Drop for TemporaryName {
    fn drop(&mut self) {
        match unlinkat(
            self.root.temporary(),
            self.name.as_str(),
            UnlinkatFlags::NoRemoveDir,
        ) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => {
                tracing::warn!(name = self.name, %error, "cannot remove a temporary file")
            }
        }
    }
}

/// Does `put` in the directory of `key`, then flushes that directory. A delete
/// may prune the directory in between: then it is made again.
fn in_parent<T>(
    root: &Root,
    key: &Key,
    put: impl Fn(&std::os::fd::OwnedFd, &str) -> io::Result<T>,
) -> io::Result<T> {
    const ATTEMPTS: u32 = 8;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let result = root.make_parent(key).and_then(|parent| {
            let done = put(&parent, key.split().1)?;
            fsync(&parent)?;
            Ok(done)
        });
        match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {
                root.forget_directories()
            }
            other => return other,
        }
    }
}

#[expect(unsafe_code, reason = "neither std nor nix wraps sync_file_range")]
fn start_write_back(file: &File, offset: u64, bytes: u64) {
    let (Ok(offset), Ok(bytes)) = (i64::try_from(offset), i64::try_from(bytes)) else {
        return;
    };
    // The result is not looked at: this is a hint, and the fsync that follows
    // reports every failed write.
    // SAFETY: the descriptor is open for the duration of the call, which takes
    // no pointers.
    unsafe { libc::sync_file_range(file.as_raw_fd(), offset, bytes, libc::SYNC_FILE_RANGE_WRITE) };
}
