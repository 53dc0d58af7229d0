//! SHA-256 and SHA-512 of the files of a deploy, beside the parser.
//!
//! Without SHA instructions the two digests cost more than ten times what everything else about a deploy body does,
//! and one stream cannot be spread over cores: so each algorithm has a thread of its own. Each [`Hashing::run`]
//! belongs on one that may block.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use aws_lc_rs::digest::{Algorithm, Context, Digest, SHA256, SHA512};
use bytes::Bytes;

/// Chunks under way to a hashing thread: enough to ride out its being scheduled away. As the threads share the
/// chunks and may be this far apart, 3 MiB are held at the most.
const QUEUED_CHUNKS: usize = 8;

/// The digests of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    pub sha256: [u8; 32],
    pub sha512: [u8; 64],
    /// Bytes hashed.
    pub size: u64,
}

/// A hashing thread is gone, or was never started.
#[derive(Debug, thiserror::Error)]
#[error("the hashing of a deploy stopped")]
pub struct Stopped;

/// The parser's end.
pub struct Hasher {
    sha256: Lane,
    sha512: Lane,
}

/// The parser's end of one hashing thread.
struct Lane {
    work: SyncSender<Work>,
    done: Receiver<Vec<Hashed>>,
}

/// The end of one hashing thread.
pub struct Hashing {
    algorithm: &'static Algorithm,
    work: Receiver<Work>,
    done: SyncSender<Vec<Hashed>>,
}

#[derive(Clone)]
enum Work {
    Data(Bytes),
    EndOfFile,
}

/// A file: its digest and its size.
struct Hashed(Digest, u64);

/// A hasher, and what each of its two threads is to run until the hasher is dropped or asked for its digests.
pub fn hasher() -> (Hasher, [Hashing; 2]) {
    let (sha256, thread256) = lane(&SHA256);
    let (sha512, thread512) = lane(&SHA512);
    (Hasher { sha256, sha512 }, [thread256, thread512])
}

fn lane(algorithm: &'static Algorithm) -> (Lane, Hashing) {
    let (queue, work) = sync_channel(QUEUED_CHUNKS);
    let (finished, done) = sync_channel(1);
    (
        Lane { work: queue, done },
        Hashing {
            algorithm,
            work,
            done: finished,
        },
    )
}

impl Hasher {
    /// Adds to the current file; waits while a queue is full.
    pub fn data(&self, chunk: Bytes) -> Result<(), Stopped> {
        self.send(Work::Data(chunk))
    }

    /// Ends the current file, without waiting for its digests: a deploy of many small files would otherwise pay a
    /// round trip for each.
    pub fn end_of_file(&self) -> Result<(), Stopped> {
        self.send(Work::EndOfFile)
    }

    /// Waits for the digests of all files ended so far, in that order.
    pub fn digests(self) -> Result<Vec<Digests>, Stopped> {
        let sha256 = self.sha256.finish()?;
        let sha512 = self.sha512.finish()?;
        let files = sha256.iter().zip(&sha512);
        files
            .map(|(Hashed(short, size), Hashed(long, _))| {
                Ok(Digests {
                    sha256: bytes(short)?,
                    sha512: bytes(long)?,
                    size: *size,
                })
            })
            .collect()
    }

    fn send(&self, work: Work) -> Result<(), Stopped> {
        self.sha256.work.send(work.clone()).map_err(|_| Stopped)?;
        self.sha512.work.send(work).map_err(|_| Stopped)
    }
}

impl Lane {
    fn finish(self) -> Result<Vec<Hashed>, Stopped> {
        drop(self.work);
        self.done.recv().map_err(|_| Stopped)
    }
}

fn bytes<const N: usize>(digest: &Digest) -> Result<[u8; N], Stopped> {
    digest.as_ref().try_into().map_err(|_| Stopped)
}

impl Hashing {
    /// Hashes until there is nothing more to hash.
    pub fn run(self) {
        let mut files = Vec::new();
        let mut context = Context::new(self.algorithm);
        let mut size = 0;
        while let Ok(work) = self.work.recv() {
            match work {
                Work::Data(chunk) => {
                    context.update(&chunk);
                    size += chunk.len() as u64;
                }
                Work::EndOfFile => {
                    let ended = std::mem::replace(&mut context, Context::new(self.algorithm));
                    files.push(Hashed(ended.finish(), std::mem::take(&mut size)));
                }
            }
        }
        // Nobody waits when the deploy was given up.
        self.done.send(files).unwrap_or_default();
    }
}
