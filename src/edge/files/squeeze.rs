//! Compressed forms of a file in memory, made once.

use std::io::{self, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::Semaphore;

use super::entry::Entry;
use super::memory::Memory;
use crate::cause::chain;
use crate::edge::encoding::Encoding;
use crate::tasks::{self, Tasks};

/// Shorter ones fit in a packet as they are.
const LEAST_BYTES: usize = 512;

/// Strong, since it is done once; the strongest would take seconds for a megabyte.
const BROTLI_QUALITY: u32 = 9;
const BROTLI_WINDOW: u32 = 22;
const ZSTD_LEVEL: i32 = 15;

/// Makes compressed forms beside the connections: one file at a time, so that a new deploy does not take all cores.
pub struct Press {
    tasks: Tasks,
    turn: Arc<Semaphore>,
}

impl Press {
    pub fn new(tasks: Tasks) -> Press {
        Press {
            tasks,
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Begins with a file that was just taken into memory, if it is worth it.
    pub fn begin(&self, entry: &Arc<Entry>, memory: &Arc<Memory>) {
        let worth = entry.plain.bytes.len() >= LEAST_BYTES && entry.kind.is_compressible();
        if !worth || entry.is_complete() {
            return;
        }
        let (entry, memory, turn) = (entry.clone(), memory.clone(), self.turn.clone());
        let work = async move {
            // The semaphore is never closed.
            let Ok(_turn) = turn.acquire().await else {
                return;
            };
            let bytes = entry.plain.bytes.clone();
            match tasks::blocking("compress-file", move || forms(&bytes)).await {
                Ok(Ok(forms)) => {
                    entry.add(forms);
                    memory.weigh(&entry);
                }
                Ok(Err(error)) => {
                    tracing::error!(name = entry.name(), error = %chain(&error), "cannot compress a file");
                }
                Err(_) => {} // the daemon ends, or the panic is logged
            }
        };
        drop(self.tasks.short("compress-files", work)); // it ends by itself
    }
}

fn forms(bytes: &Bytes) -> io::Result<Vec<(Encoding, Bytes)>> {
    Encoding::ALL
        .into_iter()
        .map(|encoding| Ok((encoding, squeezed(encoding, bytes)?.into())))
        .collect()
}

fn squeezed(encoding: Encoding, bytes: &[u8]) -> io::Result<Vec<u8>> {
    match encoding {
        Encoding::Zstd => zstd::bulk::compress(bytes, ZSTD_LEVEL),
        Encoding::Gzip => {
            let mut writer = GzEncoder::new(Vec::new(), Compression::best());
            writer.write_all(bytes)?;
            writer.finish()
        }
        Encoding::Brotli => {
            let mut writer =
                brotli::CompressorWriter::new(Vec::new(), 4096, BROTLI_QUALITY, BROTLI_WINDOW);
            writer.write_all(bytes)?;
            writer.flush()?;
            Ok(writer.into_inner())
        }
    }
}
