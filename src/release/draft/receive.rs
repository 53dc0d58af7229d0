//! One part of an upload, from a client to the store.

use std::io::{self, Read};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Bytes, BytesMut};

use super::error::Lost;
use super::objects::{Sender, part_key};
use super::{DraftError, Drafts, Upload};
use crate::config;
use crate::release::log::private;
use crate::release::record::ReleaseId;
use crate::store::Key;
use crate::tasks;

/// Bytes that go to the store, and to the hash, at a time.
const CHUNK: usize = 256 * 1024;

/// A part that may be received.
pub struct Part {
    drafts: Drafts,
    n: u64,
    key: Key,
    /// Its size in bytes.
    size: u64,
    sha256: Option<[u8; 32]>,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

impl Drafts {
    /// The size in bytes of part `n` of an upload that may be sent.
    pub(super) async fn awaited(
        &self,
        app: &config::App,
        id: ReleaseId,
        upload: &Upload,
        n: u64,
    ) -> Result<u64, DraftError> {
        let opened = self.with_upload(app, id, upload).await?;
        if let Some(n) = self.record_of(id) {
            return Err(DraftError::Published { n });
        }
        let part_bytes = opened.head.part_bytes;
        let last = upload.parts(part_bytes);
        let size = upload.part_size(n, part_bytes);
        size.ok_or(DraftError::NoPart { last })
    }

    /// Admits part `n` of an upload, once there is room for it; its bytes may have to have a `sha256`.
    pub async fn part(
        &self,
        app: &config::App,
        id: ReleaseId,
        upload: &Upload,
        sender: &Sender,
        n: u64,
        sha256: Option<[u8; 32]>,
    ) -> Result<Part, DraftError> {
        let size = self.awaited(app, id, upload, n).await?;
        let turn = self.shared.receiving.clone().acquire_owned();
        let permit = match tokio::time::timeout(self.shared.room.patience, turn).await {
            Ok(permit) => permit.map_err(Lost::Closed)?,
            Err(_) => return Err(DraftError::Busy),
        };
        Ok(Part {
            drafts: self.clone(),
            n,
            key: part_key(id, upload, sender, n),
            size,
            sha256,
            _permit: permit,
        })
    }
}

impl Part {
    /// Bytes that it has to have.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The same, as what is wrong with any other number of bytes.
    pub fn wrong_length(&self) -> DraftError {
        DraftError::PartLength {
            n: self.n,
            expected: self.size,
        }
    }

    /// Takes the body in; it is in the store, durable, when this returns, and nothing of it is otherwise.
    pub async fn receive(self, body: impl Read + Send + 'static) -> Result<(), DraftError> {
        let background = self.drafts.shared.room.background.clone();
        let work = {
            let _entered = background.enter();
            tasks::blocking("draft-part", move || self.take(body))
        };
        work.await.map_err(Lost::Task)?
    }

    fn take(self, mut body: impl Read) -> Result<(), DraftError> {
        let room = &self.drafts.shared.room;
        let attributes = private("application/octet-stream");
        let writer = room.store.writer(&self.key, &attributes);
        let mut writer = room.background.block_on(writer)?;
        let mut hash = self.sha256.map(|_| Context::new(&SHA256));
        let mut left = self.size;
        loop {
            let chunk = chunk(&mut body).map_err(|error| match error.kind() {
                io::ErrorKind::FileTooLarge => self.wrong_length(),
                _ => DraftError::Body(error),
            })?;
            if chunk.is_empty() {
                break;
            }
            room.figures.draft_part_bytes.inc_by(chunk.len() as u64);
            let rest = left.checked_sub(chunk.len() as u64);
            left = rest.ok_or_else(|| self.wrong_length())?;
            if let Some(hash) = &mut hash {
                hash.update(&chunk);
            }
            room.background.block_on(writer.write(chunk))?;
        }
        if left > 0 {
            return Err(self.wrong_length());
        }
        if let (Some(sha256), Some(hash)) = (self.sha256, hash)
            && hash.finish().as_ref() != sha256
        {
            return Err(DraftError::PartHash { n: self.n });
        }
        room.background.block_on(writer.finish())?;
        Ok(())
    }
}

/// The next bytes, few only at the end.
fn chunk(body: &mut impl Read) -> io::Result<Bytes> {
    let mut chunk = BytesMut::zeroed(CHUNK);
    let mut filled = 0;
    while let Some(room) = chunk.get_mut(filled..).filter(|room| !room.is_empty()) {
        match body.read(room)? {
            0 => break,
            count => filled += count,
        }
    }
    chunk.truncate(filled);
    Ok(chunk.freeze())
}
