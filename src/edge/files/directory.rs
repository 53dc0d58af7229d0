//! Files of a directory, opened by the kernel's leave only: nothing outside it, whatever the links in it say.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlink};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use super::entry::Kind;
use super::path::{Outcome, Wanted};
use super::source::{Content, FilesError, Found};
use crate::config;
use crate::edge::encoding::Encoding;
use crate::tasks;

/// How long what was found out about a file is relied on.
const TRUSTED: Duration = Duration::from_secs(1);

/// Two changes within this time may leave the same times behind, whatever the file system's clock.
const TICK_SECONDS: i64 = 2;

pub struct Directory {
    path: PathBuf,
    began: Instant,
    root: Mutex<Option<Root>>,
}

#[derive(Clone)]
struct Root {
    directory: Arc<OwnedFd>,
    identity: (u64, u64),
    /// At which stamp the path last led here.
    stamp: u64,
}

/// What tells one state of a file from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    device: u64,
    inode: u64,
    /// Bytes.
    pub size: u64,
    modified: (i64, i64),
    /// Nobody can set this one.
    changed: (i64, i64),
}

impl Stat {
    fn of(stat: &FileStat) -> Stat {
        Stat {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    pub fn modified(&self) -> Timestamp {
        // HTTP dates have no fractions. A time outside of what jiff knows is of nobody's making.
        Timestamp::from_second(self.modified.0).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// The time, while it is so close to the last change that a further one might not show; seconds.
    pub fn unsettled(&self, now: Timestamp) -> Option<i64> {
        let now = now.as_second();
        (now - self.changed.0 <= TICK_SECONDS).then_some(now)
    }
}

impl Directory {
    pub fn new(path: PathBuf) -> Directory {
        Directory {
            path,
            began: Instant::now(),
            root: Mutex::new(None),
        }
    }

    /// Changes when files have to be looked at again.
    pub fn stamp(&self) -> u64 {
        self.began.elapsed().as_secs() / TRUSTED.as_secs()
    }

    /// Finds the file for a path, on a thread that may wait for the disk.
    pub async fn find(
        self: &Arc<Self>,
        wanted: Wanted,
        files: &Arc<config::Files>,
        navigation: bool,
    ) -> Result<Outcome<Found>, FilesError> {
        let (directory, files) = (self.clone(), files.clone());
        let find = move || {
            let root = directory.root()?;
            wanted.resolve(&files, navigation, |name| root.look(name))
        };
        tasks::blocking("find-file", find)
            .await
            .map_err(|_| FilesError::Cut)?
    }

    /// The directory that the path leads to now: a link may have been switched to the next version of a site.
    fn root(&self) -> Result<Root, FilesError> {
        let failed = |source: io::Error| FilesError::Root {
            path: self.path.display().to_string(),
            source,
        };
        let stamp = self.stamp();
        let mut root = self.root.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = root.as_ref()
            && root.stamp == stamp
        {
            return Ok(root.clone());
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = nix::fcntl::open(&self.path, flags, Mode::empty());
        let opened = opened.map_err(|error| failed(error.into()))?;
        let stat = fstat(&opened).map_err(|error| failed(error.into()))?;
        let identity = (stat.st_dev, stat.st_ino);
        let directory = match root.take() {
            Some(root) if root.identity == identity => root.directory,
            _ => Arc::new(opened),
        };
        let now = Root {
            directory,
            identity,
            stamp,
        };
        Ok(root.insert(now).clone())
    }
}

impl Root {
    /// Opens a file and the compressed forms of it that are not older.
    fn look(&self, name: &str) -> Result<Option<Found>, FilesError> {
        let Some((file, stat)) = self.open(name)? else {
            return Ok(None);
        };
        let mut neighbours = Vec::new();
        for encoding in Encoding::ALL {
            let neighbour = format!("{name}{}", encoding.suffix());
            if let Some((file, of)) = self.open(&neighbour)?
                && of.modified >= stat.modified
            {
                neighbours.push((encoding, Content::Local(Arc::new(file), of)));
            }
        }
        Ok(Some(Found {
            name: name.to_owned(),
            kind: Kind::of(name),
            modified: stat.modified(),
            content: Content::Local(Arc::new(file), stat),
            neighbours,
        }))
    }

    /// Opens a regular file. What may not be read, or lies outside, is as absent as what is not there.
    fn open(&self, name: &str) -> Result<Option<(File, Stat)>, FilesError> {
        match open_beneath(&self.directory, name) {
            Ok((file, stat)) => Ok(Some((file, Stat::of(&stat)))),
            Err(
                Errno::ENOENT
                | Errno::ENOTDIR
                | Errno::ELOOP
                | Errno::EXDEV
                | Errno::ENAMETOOLONG
                | Errno::EISDIR
                | Errno::ENXIO,
            ) => Ok(None),
            Err(error @ (Errno::EACCES | Errno::EPERM)) => {
                tracing::debug!(name, %error, "a file of a site may not be read");
                Ok(None)
            }
            Err(error) => Err(FilesError::Open {
                name: name.to_owned(),
                source: error.into(),
            }),
        }
    }
}

/// Opens what `name` leads to when that lies in `directory`, whatever the links on the way; EXDEV when it lies outside,
/// or is hidden there.
///
/// openat2(2) with RESOLVE_BENEATH would do it in one step, but `RestrictSUIDSGID=` of our unit takes it away: seccomp
/// cannot look behind the pointer to its flags. So only the place is opened first, which has no effect on what is there.
fn open_beneath(directory: &OwnedFd, name: &str) -> nix::Result<(File, FileStat)> {
    let place = openat(
        directory,
        name,
        OFlag::O_PATH | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    let (root, found) = (readlink(&itself(directory))?, readlink(&itself(&place))?);
    let below = Path::new(&found).strip_prefix(&root);
    if is_hidden(below.map_err(|_| Errno::EXDEV)?) {
        return Err(Errno::EXDEV);
    }
    let stat = fstat(&place)?;
    if !is_regular(&stat) {
        return Err(Errno::ENOENT);
    }
    let file = nix::fcntl::open(
        &itself(&place),
        OFlag::O_RDONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    Ok((File::from(file), stat))
}

/// Whether a path below the root has a name that no request could spell: see [`Wanted::parse`].
fn is_hidden(below: &Path) -> bool {
    let mut names = below.iter().enumerate();
    names.any(|(depth, name)| {
        name.as_encoded_bytes().starts_with(b".") && (depth > 0 || name != ".well-known")
    })
}

/// Under which name the kernel keeps an open file, proc_pid_fd(5).
fn itself(file: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn is_regular(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
}

/// Reads a small file whole, as it was when it was found.
pub async fn read(name: &str, file: Arc<File>, stat: Stat) -> Result<Bytes, FilesError> {
    let (name, failed) = (name.to_owned(), name.to_owned());
    let read = move || {
        let mut bytes = Vec::with_capacity(usize::try_from(stat.size).unwrap_or(0));
        (&*file).take(stat.size + 1).read_to_end(&mut bytes)?;
        let after = Stat::of(&fstat(&*file)?);
        Ok::<_, io::Error>((after == stat && bytes.len() as u64 == stat.size).then_some(bytes))
    };
    match tasks::blocking("read-file", read).await {
        Ok(Ok(Some(bytes))) => Ok(bytes.into()),
        Ok(Ok(None)) => Err(FilesError::Restless { name }),
        Ok(Err(source)) => Err(FilesError::Read {
            name: failed,
            source,
        }),
        Err(_) => Err(FilesError::Cut),
    }
}
