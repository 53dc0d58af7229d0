//! Sends the parts that a draft lacks, several at a time.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::bucket::Bucket;
use super::digest::Item;
use super::draft::{Draft, Lacking};
use super::error::PublishError;
use crate::cli::client::{Content, Meter};

/// Times that the daemon is asked what it lacks. More than one, as parts may go while they are sent: with the node that
/// had them, or because their bytes were damaged on the way.
const ROUNDS: u32 = 3;

/// What a draft got.
#[derive(Debug, Default)]
pub struct Sent {
    /// Files that the daemon had not, and their bytes that it lacked when it was asked first.
    pub files: usize,
    pub bytes: u64,
}

/// A file on its way.
struct Flight<'a> {
    lacking: &'a Lacking<'a>,
    /// Parts that are still to arrive.
    left: AtomicUsize,
}

/// Has the draft hold all of `items`.
pub async fn fill(
    draft: &Draft<'_>,
    job: &str,
    items: &[Item],
    parallel: usize,
) -> Result<Sent, PublishError> {
    let mut sent = Sent::default();
    let mut refused = Vec::new();
    for round in 0..ROUNDS {
        let lacking = draft.declare(job, items).await?;
        let bytes = lacking
            .iter()
            .map(|file| bytes(file, draft.state.part_bytes))
            .sum();
        if round == 0 {
            sent = Sent {
                files: lacking.len(),
                bytes,
            };
        }
        if lacking.is_empty() {
            return Ok(sent);
        }
        draft.progress.begin("sending", bytes);
        // What came wrong by way of the bucket does not go that way again.
        let bucket = Bucket::new(draft.state.presigned_parts && round == 0);
        refused = send(draft, &bucket, &lacking, parallel).await?;
        if refused.is_empty() {
            return Ok(sent);
        }
    }
    Err(PublishError::NotTaken(refused))
}

/// Gives what the daemon would not take, with its reasons.
async fn send(
    draft: &Draft<'_>,
    bucket: &Bucket,
    lacking: &[Lacking<'_>],
    parallel: usize,
) -> Result<Vec<String>, PublishError> {
    let flights: Vec<Flight<'_>> = lacking
        .iter()
        .map(|lacking| Flight {
            lacking,
            left: AtomicUsize::new(lacking.parts.len()),
        })
        .collect();
    let steps = flights.iter().flat_map(|flight| {
        let parts = flight.lacking.parts.iter().map(|part| Some(*part));
        let only_complete = flight.lacking.parts.is_empty().then_some(None);
        parts.chain(only_complete).map(move |part| (flight, part))
    });
    stream::iter(steps)
        .map(|(flight, part)| step(draft, bucket, flight, part))
        .buffer_unordered(parallel)
        .try_filter_map(|refused| std::future::ready(Ok(refused)))
        .try_collect()
        .await
}

/// Sends a part; who sent the last one of a file has it put together.
async fn step(
    draft: &Draft<'_>,
    bucket: &Bucket,
    flight: &Flight<'_>,
    part: Option<u64>,
) -> Result<Option<String>, PublishError> {
    if let Some(n) = part {
        send_part(draft, bucket, flight.lacking, n).await?;
        if flight.left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return Ok(None);
        }
    }
    let completed = draft.complete(&flight.lacking.upload).await?;
    Ok(completed
        .err()
        .map(|reason| format!("{}: {reason}", flight.lacking.item.path)))
}

async fn send_part(
    draft: &Draft<'_>,
    bucket: &Bucket,
    lacking: &Lacking<'_>,
    n: u64,
) -> Result<(), PublishError> {
    let range = range(lacking.item.size, draft.state.part_bytes, n);
    if bucket.takes(draft, lacking, n, range).await? {
        return Ok(());
    }
    let path = draft.part_path(&lacking.upload, n);
    let mut retries = draft.client.retries();
    loop {
        unchanged(lacking.item).await?;
        let meter = Meter::new(draft.progress.counter());
        let Err(error) = draft
            .client
            .put(&path, &lacking.item.content, range, &meter)
            .await
        else {
            return Ok(());
        };
        meter.take_back();
        let what = format!("part {n} of {}", lacking.item.path);
        let tell = |error: &_, pause| draft.progress.again(&what, error, pause);
        retries.wait(error, tell).await?;
    }
}

/// A file that was cut short would look like a connection that breaks, each time.
async fn unchanged(item: &Item) -> Result<(), PublishError> {
    let Content::Disk(path) = &item.content else {
        return Ok(());
    };
    let found = tokio::fs::metadata(path).await;
    let found = found.map_err(|source| PublishError::Read {
        path: path.clone(),
        source,
    })?;
    if found.len() == item.size {
        Ok(())
    } else {
        Err(PublishError::Changed(path.clone()))
    }
}

/// Offset and length of part `n`, from 1; nothing behind the end.
fn range(size: u64, part_bytes: u64, n: u64) -> (u64, u64) {
    let offset = n.saturating_sub(1).saturating_mul(part_bytes).min(size);
    (offset, part_bytes.min(size - offset))
}

fn bytes(lacking: &Lacking<'_>, part_bytes: u64) -> u64 {
    let parts = lacking.parts.iter();
    parts
        .map(|n| range(lacking.item.size, part_bytes, *n).1)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_of_one_size_but_for_the_last() {
        let all: Vec<_> = (1..=4).map(|n| range(25, 10, n)).collect();
        assert_eq!(all, [(0, 10), (10, 10), (20, 5), (25, 0)]);
        assert_eq!(range(0, 10, 1), (0, 0));
        assert_eq!(range(u64::MAX, 10, u64::MAX), (u64::MAX, 0));
    }
}
