//! The store's directory, and names below it resolved without ever leaving it.

use std::{
    collections::HashSet,
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, OFlag, openat},
    sys::stat::{Mode, SFlag, fstatat, mkdirat},
    unistd::{UnlinkatFlags, unlinkat},
};

use crate::store::Key;

/// Where unfinished files stand, within the root: `rename` and `link` need one
/// file system.
pub(super) const TEMPORARY: &str = ".seance/tmp";

/// How many directories are remembered as durable before starting over.
const MAX_REMEMBERED: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Root {
    directory: OwnedFd,
    temporary: OwnedFd,
    /// Directories whose entry in their parent this process has seen reach the
    /// disk. A file is only as durable as every directory above it, and one
    /// that exists may have been made by a process killed before its fsync.
    durable: Mutex<HashSet<String>>,
}

impl Root {
    /// Opens the directory, making it (0700) and its temporary directory.
    pub(super) fn open(path: &Path) -> io::Result<Root> {
        make_directories(path)?;
        let directory = nix::fcntl::open(path, DIRECTORY, Mode::empty())?;
        let durable = Mutex::new(HashSet::new());
        make_parents(&directory, TEMPORARY, &mut lock(&durable))?;
        let temporary = resolve(&directory, TEMPORARY, DIRECTORY)?;
        Ok(Root {
            directory,
            temporary,
            durable,
        })
    }

    pub(super) fn temporary(&self) -> BorrowedFd<'_> {
        self.temporary.as_fd()
    }

    /// Opens an existing object for reading.
    pub(super) fn open_object(&self, key: &Key) -> io::Result<File> {
        // O_NONBLOCK: a FIFO that an operator put there must not hang a thread.
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        resolve(&self.directory, key.as_str(), flags).map(File::from)
    }

    /// Opens a directory by its key, the root for `None`.
    pub(super) fn open_directory(&self, key: Option<&str>) -> io::Result<OwnedFd> {
        resolve(&self.directory, key.unwrap_or("."), DIRECTORY)
    }

    /// Opens the directory `key` stands in, making what is missing on the way
    /// down and seeing it reach the disk.
    pub(super) fn make_parent(&self, key: &Key) -> io::Result<OwnedFd> {
        let parent = key.split().0;
        if let Some(parent) = parent {
            make_parents(&self.directory, parent, &mut lock(&self.durable))?;
        }
        self.open_directory(parent)
    }

    /// Forgets which directories are there: somebody removed one behind our back.
    pub(super) fn forget_directories(&self) {
        lock(&self.durable).clear();
    }

    /// Removes the directories above `key` that have become empty.
    pub(super) fn prune_parents(&self, key: &Key) -> io::Result<()> {
        // Held throughout: a writer must not find a directory remembered as
        // durable that was removed and made anew in between.
        let mut durable = lock(&self.durable);
        let mut parent = key.split().0;
        while let Some(path) = parent {
            if path == TEMPORARY || path == ".seance" {
                return Ok(());
            }
            let (above, name) = match path.rsplit_once('/') {
                Some((above, name)) => (Some(above), name),
                None => (None, path),
            };
            let was_durable = durable.remove(path);
            let directory = match self.open_directory(above) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                other => other?,
            };
            match unlinkat(&directory, name, UnlinkatFlags::RemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => parent = above,
                Err(Errno::ENOTEMPTY | Errno::EEXIST) => {
                    if was_durable {
                        durable.insert(path.to_owned());
                    }
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

const DIRECTORY: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_CLOEXEC);

/// Opens a path below `directory`, one name after the other, and follows no link: one on the way or at the end is ELOOP.
/// `path` is a key or one of our own names, so it has no `..`.
///
/// openat2(2) could do it in one step, but `RestrictSUIDSGID=` of our unit takes it away: seccomp cannot look behind the
/// pointer to its flags.
fn resolve(directory: &OwnedFd, path: &str, flags: OFlag) -> io::Result<OwnedFd> {
    let (above, name) = match path.rsplit_once('/') {
        Some((above, name)) => (above.split('/'), name),
        None => return Ok(open_name(directory, path, flags)?),
    };
    let mut at = None;
    for name in above {
        at = Some(open_name(
            at.as_ref().unwrap_or(directory),
            name,
            ON_THE_WAY,
        )?);
    }
    Ok(open_name(at.as_ref().unwrap_or(directory), name, flags)?)
}

const ON_THE_WAY: OFlag = OFlag::O_PATH
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_CLOEXEC);

fn open_name(directory: &OwnedFd, name: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    let opened = openat(directory, name, flags | OFlag::O_NOFOLLOW, Mode::empty());
    // Whoever wants a directory is told the same of a link and of a file, but a file only means "not there".
    if matches!(opened, Err(Errno::ENOTDIR)) && is_link(directory, name)? {
        return Err(Errno::ELOOP);
    }
    opened
}

fn is_link(directory: &OwnedFd, name: &str) -> nix::Result<bool> {
    let stat = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    Ok(SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFLNK)
}

/// Makes every missing directory of `path` below `root` and flushes each new
/// entry to disk, top down.
fn make_parents(root: &OwnedFd, path: &str, durable: &mut HashSet<String>) -> io::Result<()> {
    if durable.contains(path) {
        return Ok(());
    }
    let mut above = resolve(root, ".", DIRECTORY)?;
    let ends = path
        .match_indices('/')
        .map(|(at, _)| at)
        .chain([path.len()]);
    for end in ends {
        let Some(so_far) = path.get(..end) else { break };
        let name = so_far.rsplit('/').next().unwrap_or(so_far);
        if !durable.contains(so_far) {
            match mkdirat(&above, name, Mode::S_IRWXU) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => return Err(error.into()),
            }
            nix::unistd::fsync(&above)?;
            if durable.len() >= MAX_REMEMBERED {
                durable.clear();
            }
            durable.insert(so_far.to_owned());
        }
        above = resolve(&above, name, DIRECTORY)?;
    }
    Ok(())
}

/// Makes the root itself, wherever the operator put it; links on that way are
/// the operator's own.
fn make_directories(path: &Path) -> io::Result<()> {
    let mut missing: Vec<PathBuf> = Vec::new();
    let mut at = path;
    while !at.as_os_str().is_empty() && !at.exists() {
        missing.push(at.to_owned());
        let Some(parent) = at.parent() else { break };
        at = parent;
    }
    for directory in missing.iter().rev() {
        match mkdirat(AT_FDCWD, directory.as_path(), Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let parent = match directory.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

fn lock(durable: &Mutex<HashSet<String>>) -> MutexGuard<'_, HashSet<String>> {
    // A panic while it was held leaves at worst a directory remembered too few.
    durable.lock().unwrap_or_else(PoisonError::into_inner)
}
