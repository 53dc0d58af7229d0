//! The state on the local disk, so that a node starts and serves while the bucket is away.
//!
//! Nothing depends on its being there: a missing or damaged one costs reading the log again.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::collector::Collected;
use super::record::ReleaseId;
use super::state::State;

/// Version of the file's form. A file of another one is not read.
const FORMAT: u32 = 1;

/// `releases.json` in the state directory.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    path: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Snapshot {
    format: u32,
    /// When the log was last seen.
    pub seen: Timestamp,
    pub state: State,
    /// All records up to this one are projected.
    pub projected: u64,
    /// Staged content up to that of this deploy was looked through for leftovers.
    pub collected: Option<ReleaseId>,
    /// The content of what the records up to this one took away is freed.
    #[serde(default)]
    pub freed: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("the work to read the snapshot of releases was cut short")]
    Lost,
    #[error("cannot write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Snapshot {
    pub fn new(seen: Timestamp, state: State, projected: u64, collected: Collected) -> Snapshot {
        Snapshot {
            format: FORMAT,
            seen,
            state,
            projected,
            collected: collected.deploys,
            freed: collected.prunes,
        }
    }
}

impl SnapshotFile {
    pub fn new(state_directory: &Path) -> SnapshotFile {
        SnapshotFile {
            path: state_directory.join("releases.json"),
        }
    }

    /// Reads the file. Blocks. One that cannot be understood counts as none, with a word in the log.
    pub fn load(&self) -> Result<Option<Snapshot>, SnapshotError> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(SnapshotError::Read {
                    path: self.path.clone(),
                    source,
                });
            }
        };
        match serde_json::from_slice::<Snapshot>(&text) {
            Ok(snapshot) if snapshot.format == FORMAT => Ok(Some(snapshot)),
            Ok(snapshot) => {
                tracing::warn!(
                    format = snapshot.format,
                    "the snapshot of releases has another format; the log is read"
                );
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(%error, "the snapshot of releases is damaged; the log is read");
                Ok(None)
            }
        }
    }

    /// Replaces the file as a whole. Blocks.
    pub fn save(&self, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        replace(&self.path, |file| {
            serde_json::to_writer(&mut *file, snapshot).map_err(io::Error::from)
        })
        .map_err(|source| SnapshotError::Write {
            path: self.path.clone(),
            source,
        })
    }
}

/// Writes a file beside `path`, flushes it, and moves it there.
fn replace(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = BufWriter::with_capacity(256 * 1024, File::create(&new)?);
    write(&mut file)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// The name of this node in the log: random, made once per state directory. Blocks.
pub fn node_id(state_directory: &Path) -> Result<String, SnapshotError> {
    let path = state_directory.join("node");
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() && text.len() <= 64 => {
            return Ok(text.trim().to_owned());
        }
        // Cut short by a crash: no record can carry the name yet that would have been in it.
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(SnapshotError::Read { path, source }),
    }
    let id = ReleaseId::generate().to_string();
    replace(&path, |file| writeln!(file, "{id}"))
        .map_err(|source| SnapshotError::Write { path, source })?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::record::tests::{file, record};

    #[test]
    fn a_snapshot_is_read_back_and_a_damaged_one_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let snapshots = SnapshotFile::new(directory.path());
        assert!(snapshots.load().unwrap().is_none());
        let mut state = State::default();
        state
            .apply(&record(
                1,
                "prod",
                vec![file("releases/latest.yml", b"version: 1")],
                &[],
            ))
            .unwrap();
        snapshots
            .save(&Snapshot::new(
                Timestamp::UNIX_EPOCH,
                state.clone(),
                1,
                Collected::default(),
            ))
            .unwrap();
        let read = snapshots.load().unwrap().unwrap();
        assert_eq!((read.state, read.projected), (state, 1));
        fs::write(directory.path().join("releases.json"), b"{\"format\":1,").unwrap();
        assert!(snapshots.load().unwrap().is_none());
    }

    #[test]
    fn a_node_keeps_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let first = node_id(directory.path()).unwrap();
        assert_eq!(node_id(directory.path()).unwrap(), first);
        assert!(first.parse::<ReleaseId>().is_ok());
    }
}
