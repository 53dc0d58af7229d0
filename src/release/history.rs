//! The log, read backwards for people.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::index::Index;
use super::log::LogError;
use super::record::Record;
use crate::config::StorePrefix;

/// Records that one look reads, of all apps together.
const READ_MOST: u64 = 1000;
/// Records read at a time.
const READS: usize = 16;

/// Some records of one app, the newest first.
pub struct History {
    pub records: Vec<Record>,
    /// Where to go on; `None` at the beginning of the log.
    pub before: Option<u64>,
}

/// The newest records under `prefix` that are older than record `before`, at most `limit` of them.
pub async fn read(
    index: &Index,
    prefix: &StorePrefix,
    before: Option<u64>,
    limit: usize,
) -> Result<History, LogError> {
    let head = index.state().head();
    let newest = before.map_or(head, |before| before.saturating_sub(1).min(head));
    let oldest = newest.saturating_sub(READ_MOST) + 1;
    let reads = (oldest..=newest).rev().map(|n| index.log().read(n));
    let mut reads = stream::iter(reads).buffered(READS);
    let mut records = Vec::new();
    while let Some(record) = reads.try_next().await? {
        let n = record.n;
        if record.prefix == *prefix {
            records.push(record);
        }
        if records.len() == limit {
            let before = (n > 1).then_some(n);
            return Ok(History { records, before });
        }
    }
    let before = (oldest > 1).then_some(oldest);
    Ok(History { records, before })
}
