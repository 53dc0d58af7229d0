//! The log in the store: records created in order, each only if its number is free.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::id::own_key;
use super::record::{Record, RecordError};
use crate::store::{Attributes, Created, Key, Store, StoreError, Visibility};
use crate::tasks;

const RECORDS: &str = ".seance/log/";

/// A record lists every file of a deploy, some 500 bytes each.
const RECORD_BYTES: usize = 256 * 1024 * 1024;

/// Records listed, and held in memory, at a time while catching up.
const PAGE: usize = 100;

/// Records read at a time; latency, not bandwidth, is what catching up costs.
const READS: usize = 8;

/// Tries to learn what became of a write whose answer was lost.
const TRIES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub struct Log {
    store: Store,
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("cannot read the release log")]
    Read(#[source] StoreError),
    #[error("the release log cannot be followed")]
    Record(#[from] RecordError),
    #[error("record {missing} of the release log is missing, though record {found} is there")]
    Gap { missing: u64, found: u64 },
    #[error("cannot encode record {n} of the release log")]
    Encode {
        n: u64,
        #[source]
        source: serde_json::Error,
    },
    /// It could be written, but nobody could read it, nor any record behind it.
    #[error("record {n} of the release log would have {bytes} bytes; {RECORD_BYTES} are the most")]
    TooLarge { n: u64, bytes: usize },
    #[error("cannot append record {n} to the release log")]
    Append {
        n: u64,
        #[source]
        source: StoreError,
    },
    /// The record may be there, or come to be there: what it names must stay.
    #[error("whether record {n} was appended to the release log is unknown")]
    Uncertain {
        n: u64,
        #[source]
        source: StoreError,
    },
}

/// What became of an append.
pub enum Appended {
    Yes,
    /// Another record has this number.
    Taken,
}

/// The records that follow a place in the log.
pub struct Page {
    pub records: Vec<Record>,
    /// Whether there may be more behind them.
    pub more: bool,
}

impl Log {
    pub fn new(store: Store) -> Log {
        Log { store }
    }

    /// The records after record `n`, in order without gaps; one listing, whose cost does not grow with the log.
    pub async fn after(&self, n: u64) -> Result<Page, LogError> {
        let start = key(n);
        let listed = self
            .store
            .list(RECORDS, Some(start.as_str()), PAGE)
            .await
            .map_err(LogError::Read)?;
        let more = listed.len() == PAGE;
        let mut numbers = Vec::with_capacity(listed.len());
        for meta in listed {
            let Some(found) = number(&meta.key) else {
                tracing::warn!(key = %meta.key, "an object that is no record lies in the release log");
                continue;
            };
            let missing = n + 1 + numbers.len() as u64;
            if found != missing {
                // What is whole before the gap is true all the same.
                if numbers.is_empty() {
                    return Err(LogError::Gap { missing, found });
                }
                return Ok(Page {
                    records: self.read_all(numbers).await?,
                    more: true,
                });
            }
            numbers.push(found);
        }
        Ok(Page {
            records: self.read_all(numbers).await?,
            more,
        })
    }

    async fn read_all(&self, numbers: Vec<u64>) -> Result<Vec<Record>, LogError> {
        let reads = numbers.into_iter().map(|n| self.read(n));
        stream::iter(reads).buffered(READS).try_collect().await
    }

    /// Reads one record.
    pub async fn read(&self, n: u64) -> Result<Record, LogError> {
        let bytes = self
            .store
            .read(&key(n), RECORD_BYTES)
            .await
            .map_err(LogError::Read)?;
        Ok(Record::parse(n, &bytes)?)
    }

    /// Appends a record under its number unless the number is taken.
    ///
    /// The store may do what it answers with an error, and may do it late; so the answer to a failed write is
    /// looked up, and the write, which cannot happen twice, repeated.
    pub async fn append(&self, record: &Record) -> Result<Appended, LogError> {
        let n = record.n;
        let bytes = record
            .to_bytes()
            .map_err(|source| LogError::Encode { n, source })?;
        let size = bytes.len();
        if size > RECORD_BYTES {
            return Err(LogError::TooLarge { n, bytes: size });
        }
        let mut pause = FIRST_PAUSE;
        let mut tries = 0;
        let mut first = None;
        loop {
            tries += 1;
            let failure = match self.create(n, bytes.clone()).await {
                Ok(Created::Yes) => return Ok(Appended::Yes),
                // Perhaps by an earlier try of ours, here or inside the store.
                // All of it is compared: two nodes that publish one draft write records of one id.
                Ok(Created::AlreadyExists) => match self.store.read(&key(n), RECORD_BYTES).await {
                    Ok(there) if there == bytes => return Ok(Appended::Yes),
                    Ok(_) => return Ok(Appended::Taken),
                    Err(source) => source,
                },
                // After a write without an answer even a refusal leaves open what became of that one.
                Err(source) if tries == 1 && is_refusal(&source) => {
                    return Err(LogError::Append { n, source });
                }
                Err(source) => source,
            };
            // What left it open, not a refusal that came after it: that would be told as if nothing were there.
            let source = first.take().unwrap_or(failure);
            if tries == TRIES {
                return Err(LogError::Uncertain { n, source });
            }
            first = Some(source);
            tasks::pause(pause).await;
            pause *= 2;
        }
    }

    async fn create(&self, n: u64, bytes: Bytes) -> Result<Created, StoreError> {
        let attributes = private("application/json");
        self.store.create(&key(n), bytes, &attributes).await
    }
}

/// Whether the store said that it did not, and will not, do it.
fn is_refusal(error: &StoreError) -> bool {
    !error.is_unavailable()
}

/// Attributes of the objects that only seance reads.
pub(super) fn private(content_type: &'static str) -> Attributes {
    Attributes {
        content_type: content_type.into(),
        cache_control: None,
        visibility: Visibility::Private,
        sha256: None,
    }
}

fn key(n: u64) -> Key {
    own_key(format!("{RECORDS}{n:012}.json"))
}

fn number(key: &Key) -> Option<u64> {
    let digits = key.as_str().strip_prefix(RECORDS)?.strip_suffix(".json")?;
    let n = digits.parse().ok()?;
    (digits.len() == 12 && n > 0).then_some(n)
}
