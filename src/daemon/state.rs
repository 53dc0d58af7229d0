//! The state directory: where it is, made private, locked against a second daemon.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("no state directory: set STATE_DIRECTORY, XDG_STATE_HOME or HOME")]
    Unknown,
    #[error("cannot create the state directory {path}")]
    Create {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot lock the state directory {path}")]
    Lock {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("another seance uses the state directory {path} (process {pid})")]
    InUse { path: PathBuf, pid: String },
}

/// The directory and its lock; the lock goes with the process, however it ends.
pub struct State {
    pub path: PathBuf,
    _lock: Flock<File>,
}

impl State {
    pub fn open(from_systemd: Option<PathBuf>) -> Result<State, StateError> {
        let path = directory(from_systemd)?;
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        created.map_err(|source| StateError::Create {
            path: path.clone(),
            source,
        })?;
        let lock = lock(&path)?;
        Ok(State { path, _lock: lock })
    }
}

/// Where the state is: what was asked for, else this user's.
pub fn directory(wanted: Option<PathBuf>) -> Result<PathBuf, StateError> {
    wanted
        .or_else(crate::config::user_state_directory)
        .ok_or(StateError::Unknown)
}

fn lock(path: &Path) -> Result<Flock<File>, StateError> {
    let failed = |source| StateError::Lock {
        path: path.to_owned(),
        source,
    };
    let mut options = OpenOptions::new();
    options
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600);
    let file = options.open(path.join("lock")).map_err(failed)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            lock.set_len(0)
                .and_then(|()| lock.rewind())
                .map_err(failed)?;
            write!(lock, "{}", std::process::id()).map_err(failed)?;
            Ok(lock)
        }
        Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(failed)?;
            Err(StateError::InUse {
                path: path.to_owned(),
                pid,
            })
        }
        Err((_, errno)) => Err(failed(errno.into())),
    }
}
