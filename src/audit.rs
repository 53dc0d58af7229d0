//! Who did what to what, with which result: one JSON line per deed, append-only, durable.
//!
//! Room on the disk is reserved before the deed is done: a deed that cannot be recorded is refused.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use serde::Serialize;

use crate::cause::chain;
use crate::clock;
use crate::config;
use crate::tasks;

/// Room kept for one record, bytes. Longer details are cut.
const RECORD_MOST: usize = 4096;

#[derive(Clone)]
pub struct Audit {
    journal: Arc<Mutex<Journal>>,
}

struct Journal {
    directory: PathBuf,
    file: File,
    written: u64,
    reserved: u64,
    /// Whether the file system can reserve room at all.
    reserves: bool,
    limits: config::Audit,
}

/// Who does something.
#[derive(Clone, Debug, Serialize)]
pub struct Actor {
    /// Fingerprint of the builder key, or the local user of a command.
    pub key: Option<String>,
    pub address: Option<std::net::IpAddr>,
}

/// What somebody is about to do.
#[derive(Clone, Debug, Serialize)]
pub struct Deed {
    pub app: String,
    pub actor: Actor,
    pub action: &'static str,
    pub resource: String,
    /// The request that does it; the same id is in the log.
    pub request: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Outcome {
    Success,
    Failure,
    Denied,
}

#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("cannot open the audit directory {directory}")]
    Open {
        directory: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("no room to record a deed in the audit")]
    Reserve(#[source] io::Error),
    #[error("cannot write the audit record")]
    Write(#[source] io::Error),
    #[error("the audit writer panicked")]
    Panicked,
}

#[derive(Serialize)]
struct Record<'a> {
    time: String,
    #[serde(flatten)]
    deed: &'a Deed,
    result: Outcome,
    details: &'a str,
}

/// Room in the audit for one deed. Dropping it unrecorded gives the room back and records nothing.
pub struct Reservation {
    journal: Arc<Mutex<Journal>>,
    deed: Deed,
}

impl Audit {
    pub fn open(state_directory: &Path, limits: config::Audit) -> Result<Audit, AuditError> {
        let directory = state_directory.join("audit");
        let failed = |source| AuditError::Open {
            directory: directory.clone(),
            source,
        };
        let mut private = DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(&directory).map_err(failed)?;
        let file = open(&directory).map_err(failed)?;
        let written = whole(&file).map_err(failed)?;
        if written < file.metadata().map_err(failed)?.len() {
            tracing::warn!("the audit ended in half a record, which is cut off");
            cut(&file, written).map_err(failed)?;
        }
        let journal = Journal {
            directory,
            file,
            written,
            reserved: 0,
            reserves: true,
            limits,
        };
        Ok(Audit {
            journal: Arc::new(Mutex::new(journal)),
        })
    }

    /// Reserves room for the record of `deed`, or refuses it.
    pub async fn begin(&self, deed: Deed) -> Result<Reservation, AuditError> {
        let journal = self.journal.clone();
        let reserve = move || {
            lock(&journal).reserve()?;
            // Made here, so that a caller that stopped waiting gives the room back.
            Ok(Reservation { journal, deed })
        };
        tasks::blocking("audit-reserve", reserve)
            .await
            .map_err(|_| AuditError::Panicked)?
    }
}

impl Reservation {
    /// Writes the record and makes it durable.
    pub async fn record(self, result: Outcome, details: String) -> Result<(), AuditError> {
        let write = move || {
            let time = clock::rfc3339(clock::now());
            let mut details = details;
            let line = loop {
                let record = Record {
                    time: time.clone(),
                    deed: &self.deed,
                    result,
                    details: &details,
                };
                let line = serde_json::to_vec(&record).map_err(|e| AuditError::Write(e.into()))?;
                if line.len() < RECORD_MOST || details.is_empty() {
                    break line;
                }
                let half = details.floor_char_boundary(details.len() / 2);
                details.truncate(half);
            };
            lock(&self.journal).append(line)
        };
        tasks::blocking("audit-record", write)
            .await
            .map_err(|_| AuditError::Panicked)?
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut journal = lock(&self.journal);
        journal.reserved = journal.reserved.saturating_sub(RECORD_MOST as u64);
    }
}

fn lock(journal: &Arc<Mutex<Journal>>) -> std::sync::MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(directory: &Path) -> io::Result<File> {
    let path = directory.join("audit.jsonl");
    OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

/// Where the last whole record ends: after a crash half of one may follow, which would swallow the next.
fn whole(file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = [0; RECORD_MOST];
    while end > 0 {
        let start = end.saturating_sub(RECORD_MOST as u64);
        let length = usize::try_from(end - start).unwrap_or(RECORD_MOST);
        let part = block.get_mut(..length).unwrap_or_default();
        file.read_exact_at(part, start)?;
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

fn cut(file: &File, length: u64) -> io::Result<()> {
    file.set_len(length)?;
    file.sync_all()
}

impl Journal {
    fn reserve(&mut self) -> Result<(), AuditError> {
        if self.written >= self.limits.max_file_bytes && self.reserved == 0 {
            self.rotate().map_err(AuditError::Reserve)?;
        }
        let wanted = self.reserved + RECORD_MOST as u64;
        self.hold(wanted).map_err(AuditError::Reserve)?;
        self.reserved = wanted;
        Ok(())
    }

    /// Keeps so many bytes after the records free for further ones.
    fn hold(&mut self, bytes: u64) -> io::Result<()> {
        if !self.reserves {
            return Ok(());
        }
        let keep_size = FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let (start, length) = (self.written.cast_signed(), bytes.cast_signed());
        match fallocate(&self.file, keep_size, start, length) {
            // NFS before 4.2, 9p, some of FUSE: no deploy at all would be worse than one that a full disk keeps out of
            // the audit.
            Err(Errno::EOPNOTSUPP) => {
                self.reserves = false;
                tracing::warn!(
                    directory = %self.directory.display(),
                    "the file system of the audit cannot reserve room: on a full disk a deed may be done and not recorded"
                );
                Ok(())
            }
            reserved => Ok(reserved?),
        }
    }

    fn append(&mut self, mut line: Vec<u8>) -> Result<(), AuditError> {
        line.push(b'\n');
        let written = self.file.write_all(&line);
        if let Err(error) = written.and_then(|()| self.file.sync_data()) {
            // Cutting gives up what is reserved for others, too.
            let mended = cut(&self.file, self.written).and_then(|()| self.hold(self.reserved));
            if let Err(error) = mended {
                tracing::error!(error = %chain(&error), "half a record may stand in the audit");
            }
            return Err(AuditError::Write(error));
        }
        self.written += line.len() as u64;
        Ok(())
    }

    /// Closes the current file under the time of its end and deletes files past their age.
    fn rotate(&mut self) -> io::Result<()> {
        let closed = format!(
            "audit-{}.jsonl",
            clock::now().strftime("%Y%m%dT%H%M%S%.3fZ")
        );
        std::fs::rename(
            self.directory.join("audit.jsonl"),
            self.directory.join(closed),
        )?;
        self.file = open(&self.directory)?;
        self.written = 0;
        File::open(&self.directory)?.sync_all()?;
        let oldest = std::time::SystemTime::now().checked_sub(std::time::Duration::from_secs(
            u64::from(self.limits.keep_days) * 86_400,
        ));
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            let closed = entry.file_name().to_string_lossy().starts_with("audit-");
            if closed
                && oldest.is_some_and(|oldest| {
                    entry
                        .metadata()
                        .is_ok_and(|m| m.modified().is_ok_and(|t| t < oldest))
                })
            {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}
