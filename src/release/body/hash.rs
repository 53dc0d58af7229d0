//! SHA-256 and SHA-512 of the files of a deploy, beside the parser.
//!
//! The two digests cost more than everything else about a deploy body together, so that they get a
//! thread of their own: [`Hashing::run`] belongs on one that may block.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use aws_lc_rs::digest::{Context, SHA256, SHA512};
use bytes::Bytes;

/// Chunks under way to the hashing thread: enough to ride out its being scheduled away, 1.5 MiB at
/// the most.
const QUEUED_CHUNKS: usize = 8;

/// The digests of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    pub sha256: [u8; 32],
    pub sha512: [u8; 64],
    /// Bytes hashed.
    pub size: u64,
}

/// The hashing thread is gone, which only its panic or the end of the process can be.
#[derive(Debug, thiserror::Error)]
#[error("the hashing thread stopped")]
pub struct Stopped;

/// The parser's end.
pub struct Hasher {
    work: SyncSender<Work>,
    results: Receiver<Vec<Digests>>,
}

/// The hashing thread's end.
pub struct Hashing {
    work: Receiver<Work>,
    results: SyncSender<Vec<Digests>>,
}

enum Work {
    Data(Bytes),
    EndOfFile,
}

/// Two ends of one hasher. The thread ends when the [`Hasher`] is dropped or asked for its digests.
pub fn hasher() -> (Hasher, Hashing) {
    let (work_in, work) = sync_channel(QUEUED_CHUNKS);
    let (results, results_out) = sync_channel(1);
    (
        Hasher {
            work: work_in,
            results: results_out,
        },
        Hashing { work, results },
    )
}

impl Hasher {
    /// Adds to the current file; waits while the queue is full.
    pub fn data(&self, chunk: Bytes) -> Result<(), Stopped> {
        self.work.send(Work::Data(chunk)).map_err(|_| Stopped)
    }

    /// Ends the current file, without waiting for its digests: a deploy of many small files would
    /// otherwise pay a round trip for each.
    pub fn end_of_file(&self) -> Result<(), Stopped> {
        self.work.send(Work::EndOfFile).map_err(|_| Stopped)
    }

    /// Waits for the digests of all files ended so far, in that order.
    pub fn digests(self) -> Result<Vec<Digests>, Stopped> {
        drop(self.work);
        self.results.recv().map_err(|_| Stopped)
    }
}

impl Hashing {
    /// Hashes until there is nothing more to hash.
    pub fn run(self) {
        let mut digests = Vec::new();
        let mut file = Contexts::new();
        while let Ok(work) = self.work.recv() {
            match work {
                Work::Data(chunk) => file.update(&chunk),
                Work::EndOfFile => {
                    digests.push(std::mem::replace(&mut file, Contexts::new()).finish())
                }
            }
        }
        // Nobody waits when the deploy was given up.
        self.results.send(digests).unwrap_or_default();
    }
}

struct Contexts {
    sha256: Context,
    sha512: Context,
    size: u64,
}

impl Contexts {
    fn new() -> Self {
        Self {
            sha256: Context::new(&SHA256),
            sha512: Context::new(&SHA512),
            size: 0,
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.sha512.update(bytes);
        self.size += bytes.len() as u64;
    }

    fn finish(self) -> Digests {
        let mut digests = Digests {
            sha256: [0; 32],
            sha512: [0; 64],
            size: self.size,
        };
        digests
            .sha256
            .copy_from_slice(self.sha256.finish().as_ref());
        digests
            .sha512
            .copy_from_slice(self.sha512.finish().as_ref());
        digests
    }
}
