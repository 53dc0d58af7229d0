//! Which draft an interrupted run was filling, so that the next run with the same files goes on with it.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::error::PublishError;
use crate::config;
use crate::release::ReleaseId;

/// Drafts expire after seven days by default; what was remembered of one is of no use then.
const KEPT: Duration = Duration::from_secs(8 * 24 * 3600);

/// The file that remembers one draft. What is sent is known to the daemon.
pub struct Memory {
    file: Option<PathBuf>,
}

impl Memory {
    /// For the files with this fingerprint. A user without a home has none, and begins anew after a kill.
    pub fn of(fingerprint: [u8; 32]) -> Memory {
        let directory = config::user_state_directory().map(|state| state.join("publish"));
        if let Some(directory) = &directory {
            forget_old(directory);
        }
        let name = hex::encode(fingerprint.get(..16).unwrap_or_default());
        Memory {
            file: directory.map(|directory| directory.join(name)),
        }
    }

    pub fn draft(&self) -> Option<ReleaseId> {
        // One that cannot be read is as good as none: the files are sent again.
        let text = fs::read_to_string(self.file.as_ref()?).ok()?;
        text.trim().parse().ok()
    }

    pub fn remember(&self, draft: ReleaseId) -> Result<(), PublishError> {
        let Some(path) = &self.file else {
            return Ok(());
        };
        write(path, &draft.to_string()).map_err(|source| PublishError::Remember {
            path: path.clone(),
            source,
        })
    }

    pub fn forget(&self) -> Result<(), PublishError> {
        let Some(path) = &self.file else {
            return Ok(());
        };
        match fs::remove_file(path) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(PublishError::Remember {
                path: path.clone(),
                source,
            }),
            _ => Ok(()),
        }
    }
}

/// Whole or not at all, so that a kill leaves no half of an id.
fn write(path: &Path, draft: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or(path);
    fs::create_dir_all(directory)?;
    let new = path.with_extension(format!("{}.new", std::process::id()));
    fs::write(&new, draft)?;
    fs::rename(&new, path)
}

/// A file that cannot be looked at or removed now is left to the next run.
fn forget_old(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let modified = entry.metadata().and_then(|data| data.modified());
        let old = modified.is_ok_and(|time| {
            SystemTime::now()
                .duration_since(time)
                .is_ok_and(|age| age > KEPT)
        });
        if old {
            fs::remove_file(entry.path()).unwrap_or_default();
        }
    }
}
