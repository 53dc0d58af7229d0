//! What is published, with the hash by which the daemon knows whether it has it.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{Context, SHA256, SHA512, digest};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::error::PublishError;
use super::progress::Progress;
use crate::cli::client::Content;
use crate::release::path::ReleasePath;
use crate::tasks;

const CHUNK: usize = 256 * 1024;
/// Files that are read at a time.
const THREADS: usize = 4;

/// A file that is to be published.
#[derive(Debug)]
pub struct Source {
    pub path: ReleasePath,
    pub content: Content,
    /// Bytes, when it was found.
    pub size: u64,
}

#[derive(Debug)]
pub struct Item {
    pub path: ReleasePath,
    pub content: Content,
    /// Bytes that were hashed.
    pub size: u64,
    pub sha256: [u8; 32],
    /// Only when it was asked for: manifests have it.
    pub sha512: Option<[u8; 64]>,
}

/// Reads every file once, several at a time, in the order of their paths.
pub async fn hash(
    sources: Vec<Source>,
    with_sha512: bool,
    progress: &Progress,
) -> Result<Vec<Item>, PublishError> {
    progress.begin("hashing", sources.iter().map(|source| source.size).sum());
    let hashed = stream::iter(sources).map(|source| {
        let counter = progress.counter();
        let work = tasks::blocking("hash", move || item(source, with_sha512, &counter));
        async { work.await.map_err(|_| PublishError::Hashing)? }
    });
    hashed.buffered(THREADS).try_collect().await
}

fn item(source: Source, with_sha512: bool, counter: &Arc<AtomicU64>) -> Result<Item, PublishError> {
    let mut short = Context::new(&SHA256);
    let mut long = with_sha512.then(|| Context::new(&SHA512));
    let mut size = 0;
    let mut take = |chunk: &[u8]| {
        short.update(chunk);
        if let Some(long) = &mut long {
            long.update(chunk);
        }
        size += chunk.len() as u64;
        counter.fetch_add(chunk.len() as u64, Ordering::Relaxed);
    };
    match &source.content {
        Content::Memory(bytes) => take(bytes),
        Content::Disk(path) => read(path, &mut take)?,
    }
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(short.finish().as_ref());
    let sha512 = long.map(|long| {
        let mut sha512 = [0; 64];
        sha512.copy_from_slice(long.finish().as_ref());
        sha512
    });
    Ok(Item {
        path: source.path,
        content: source.content,
        size,
        sha256,
        sha512,
    })
}

fn read(path: &Path, take: &mut impl FnMut(&[u8])) -> Result<(), PublishError> {
    let failed = |source| PublishError::Read {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(failed)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(()),
            length => take(buffer.get(..length).unwrap_or_default()),
        }
    }
}

/// What is the same for the same files going to the same place, and for nothing else.
pub fn fingerprint(base: &str, job: &str, items: &[Item]) -> [u8; 32] {
    let mut text = format!("{base}\n{job}\n");
    for item in items {
        text.push_str(&hex::encode(item.sha256));
        text.push_str(item.path.as_str());
        text.push('\n');
    }
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    fingerprint
}
