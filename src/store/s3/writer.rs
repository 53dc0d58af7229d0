//! Streaming uploads: a single PUT while the object fits into one part, a
//! multipart upload beyond.

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::OwnedSemaphorePermit;

use super::{S3, multipart::Upload};
use crate::store::{Attributes, Key, StoreError};

/// Memory for parts is counted in units of this many bytes.
pub(super) const ROOM_UNIT: usize = 64 * 1024;
/// S3 takes at most 10 000 parts: doubling the size after so many lets
/// any object fit that S3 can hold.
const PARTS_PER_SIZE: usize = 990;

/// An object on its way into the bucket.
pub struct Writer {
    s3: S3,
    key: Key,
    attributes: Attributes,
    /// The part being gathered, and the memory reserved for it.
    part: BytesMut,
    room: Option<OwnedSemaphorePermit>,
    upload: Option<Upload>,
    size: u64,
}

impl S3 {
    pub(in crate::store) fn writer(&self, key: &Key, attributes: &Attributes) -> Writer {
        Writer {
            s3: self.clone(),
            key: key.clone(),
            attributes: attributes.clone(),
            part: BytesMut::new(),
            room: None,
            upload: None,
            size: 0,
        }
    }

    /// Waits until there is memory for `bytes` more; a part that is larger than
    /// all of it waits to be alone.
    async fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, StoreError> {
        let units = bytes.div_ceil(ROOM_UNIT).min(self.shared.room_units);
        let closed = |_| StoreError::Unsupported {
            what: "take uploads any more",
        };
        self.shared
            .room
            .clone()
            .acquire_many_owned(u32::try_from(units).unwrap_or(u32::MAX))
            .await
            .map_err(closed)
    }
}

impl Writer {
    pub(in crate::store) async fn write(&mut self, mut bytes: Bytes) -> Result<(), StoreError> {
        while bytes.has_remaining() {
            let part_bytes = self.part_bytes();
            if self.room.is_none() {
                self.room = Some(self.s3.reserve(part_bytes).await?);
            }
            let taken = bytes.split_to(bytes.len().min(part_bytes - self.part.len()));
            self.part.extend_from_slice(&taken);
            self.size += taken.len() as u64;
            if self.part.len() == part_bytes {
                self.send_part().await?;
            }
        }
        Ok(())
    }

    pub(in crate::store) async fn finish(mut self) -> Result<u64, StoreError> {
        if self.upload.is_none() {
            let (content, _room) = self.take_part();
            self.s3.put(&self.key, content, &self.attributes).await?;
            return Ok(self.size);
        }
        if !self.part.is_empty() {
            self.send_part().await?;
        }
        if let Some(upload) = self.upload.take() {
            upload.complete(self.size).await?;
        }
        Ok(self.size)
    }

    /// The size of the part being gathered.
    fn part_bytes(&self) -> usize {
        let parts = self.upload.as_ref().map_or(0, Upload::parts);
        part_bytes(self.s3.shared.part_bytes, parts)
    }

    async fn send_part(&mut self) -> Result<(), StoreError> {
        let mut upload = match self.upload.take() {
            Some(upload) => upload,
            None => self.s3.begin_upload(&self.key, &self.attributes).await?,
        };
        upload.take_sent().await?;
        let (content, room) = self.take_part();
        upload.send(content, room);
        self.upload = Some(upload);
        Ok(())
    }

    /// The gathered bytes with no more than the memory they need reserved.
    fn take_part(&mut self) -> (Bytes, Option<OwnedSemaphorePermit>) {
        let content = self.part.split().freeze();
        self.part = BytesMut::new();
        let room = self.room.take().map(|mut room| {
            let needed = content.len().div_ceil(ROOM_UNIT);
            room.split(needed).unwrap_or(room)
        });
        (content, room)
    }
}

/// S3 takes no larger part, bytes.
const LARGEST_PART: usize = 5 * 1024 * 1024 * 1024;

/// The size of the part that follows `parts` others.
fn part_bytes(first: usize, parts: usize) -> usize {
    let doublings = u32::try_from(parts / PARTS_PER_SIZE).unwrap_or(u32::MAX);
    let grown = first.saturating_mul(1usize.checked_shl(doublings).unwrap_or(usize::MAX));
    grown.min(LARGEST_PART)
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("key", &self.key)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::part_bytes;

    #[test]
    fn ten_thousand_parts_hold_the_largest_object() {
        let smallest_part = 5 * 1024 * 1024;
        let all: u64 = (0..10_000)
            .map(|parts| part_bytes(smallest_part, parts) as u64)
            .sum();
        assert!(all >= 5 * 1024_u64.pow(4), "{all}");
        assert!(part_bytes(smallest_part, 9_999) as u64 <= 5 * 1024_u64.pow(3));
    }
}
