//! The sink of the body reader: takes one file after the other to the hashing threads and to the store.
//!
//! It runs on a thread that may block. Small files are uploaded whole, several at a time, out of one byte budget of the
//! daemon; a large one is streamed while it arrives, through a short queue. So a fast sender waits for a slow store
//! instead of filling the memory.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::body::hash::{Digests, Hasher, hasher};
use super::body::{self, Sink};
use super::log::private;
use super::path::ReleasePath;
use super::record::{ContentKey, ReleaseId};
use super::staging::{Room, Shared, StagedFile, StagingError};
use crate::store::{Store, StoreError};
use crate::tasks;

/// Largest manifest that is kept in memory and in the log, bytes. Those of Squirrel and Velopack grow with each release.
pub const INLINE_BYTES: usize = 1024 * 1024;

/// All manifests of one deploy that are kept so, bytes: they lie in memory, and in one record.
pub const ALL_INLINE_BYTES: usize = 8 * 1024 * 1024;

/// A file up to this size is uploaded whole. While it gathers it is outside of the budget, once per deploy.
const WHOLE_BYTES: usize = 256 * 1024;

/// Chunks, of at most 192 KiB each, between the reading thread and the upload of a streamed file. Not out of the
/// budget: a stream that waits for the store must not keep from the others what they need to go on.
const QUEUED_CHUNKS: usize = 4;

pub struct Intake {
    id: ReleaseId,
    room: Room,
    shared: Arc<Shared>,
    hasher: Hasher,
    /// Uploads of this deploy that may run now.
    slots: Arc<Semaphore>,
    store: bool,
    current: Current,
    files: Vec<Taken>,
    /// Bytes of manifests that are kept.
    inlined: usize,
}

/// The content that is being taken in.
enum Current {
    Small(BytesMut),
    Large {
        pieces: mpsc::Sender<Piece>,
        /// All that came so far, while it may be a manifest.
        text: Option<BytesMut>,
    },
}

enum Piece {
    Data(Bytes),
    /// Without it the end of the queue means that the deploy was given up.
    End,
}

/// A file that was taken in, but for its digests.
pub(super) struct Taken {
    path: ReleasePath,
    index: u32,
    inline: Option<Bytes>,
}

impl Taken {
    pub(super) fn staged(self, id: ReleaseId, digests: Digests) -> StagedFile {
        StagedFile {
            path: self.path,
            content: ContentKey {
                id,
                index: self.index,
            },
            size: digests.size,
            sha256: digests.sha256,
            sha512: digests.sha512,
            inline: self.inline,
        }
    }
}

impl Intake {
    pub(super) fn new(id: ReleaseId, room: Room, shared: Arc<Shared>, store: bool) -> Intake {
        let (hasher, threads) = hasher();
        let entered = room.background.enter();
        for hashing in threads {
            // Nobody waits for it: it ends when the hasher is dropped.
            drop(tasks::blocking("deploy-hash", move || hashing.run()));
        }
        drop(entered);
        Intake {
            id,
            shared,
            hasher,
            slots: Arc::new(Semaphore::new(room.uploads)),
            room,
            store,
            current: Current::Small(BytesMut::new()),
            files: Vec::new(),
            inlined: 0,
        }
    }

    /// The files, the hasher that has their digests in this order, and whether they were stored.
    pub(super) fn into_parts(self) -> (Vec<Taken>, Hasher, bool) {
        (self.files, self.hasher, self.store)
    }

    /// Waits on this thread for permits, unless the deploy ends before.
    fn acquire(
        &self,
        semaphore: &Arc<Semaphore>,
        permits: usize,
    ) -> Result<OwnedSemaphorePermit, StagingError> {
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        let acquired = self.room.background.block_on(async {
            tokio::select! {
                biased;
                () = self.shared.cancel.cancelled() => None,
                permit = semaphore.clone().acquire_many_owned(permits) => permit.ok(),
            }
        });
        acquired.ok_or_else(|| self.shared.failure())
    }

    fn start_upload(
        &self,
        upload: impl Future<Output = Result<(), UploadError>> + Send + 'static,
        content: ContentKey,
    ) -> Result<(), StagingError> {
        let shared = self.shared.clone();
        let upload = async move {
            match upload.await {
                Ok(()) => shared.outcome().stored.push(content),
                Err(UploadError::GivenUp) => {}
                Err(UploadError::Store(error)) => {
                    shared.outcome().failure.get_or_insert(error);
                    shared.cancel.cancel();
                }
            }
        };
        let outcome = self.shared.outcome();
        if outcome.closed {
            return Err(StagingError::GivenUp);
        }
        let _entered = self.room.background.enter();
        // Its result is in the outcome.
        drop(
            self.room
                .tasks
                .short("deploy-upload", self.shared.uploads.track_future(upload)),
        );
        Ok(())
    }

    /// Begins to stream the current file, of which `first` is what came so far.
    fn stream(&mut self, first: Bytes) -> Result<(), StagingError> {
        let slot = self.acquire(&self.slots, 1)?;
        let content = self.content();
        let (pieces, queue) = mpsc::channel(QUEUED_CHUNKS);
        let store = self.room.store.clone();
        let upload = async move {
            let done = stream(&store, content, queue).await;
            drop(slot);
            done
        };
        self.start_upload(upload, content)?;
        // Its name may come after its content; most of what is large shows at once that it is no text.
        let text = is_text_so_far(&first).then(|| BytesMut::from(&*first));
        self.current = Current::Large { pieces, text };
        self.send(Piece::Data(first))
    }

    fn send(&self, piece: Piece) -> Result<(), StagingError> {
        let Current::Large { pieces, .. } = &self.current else {
            return Ok(());
        };
        // The upload ended early, having told why.
        pieces
            .blocking_send(piece)
            .map_err(|_| self.shared.failure())
    }

    fn upload_whole(&self, bytes: Bytes) -> Result<(), StagingError> {
        let slot = self.acquire(&self.slots, 1)?;
        // Never more than there is: that would be waited for in vain.
        let share = bytes.len().min(self.room.budget_bytes);
        let charged = self.acquire(&self.room.budget, share)?;
        let content = self.content();
        let store = self.room.store.clone();
        let upload = async move {
            let attributes = private("application/octet-stream");
            let done = store.put(&content.key(), bytes, &attributes).await;
            drop((charged, slot));
            done.map_err(UploadError::Store)
        };
        self.start_upload(upload, content)
    }

    /// What of a file is kept in memory and in the log.
    fn inline(&mut self, path: &ReleasePath, bytes: &Bytes) -> Option<Bytes> {
        let all = self.inlined + bytes.len();
        // What is only hashed was perhaps cut.
        let kept = self.store
            && path.is_inlined()
            && all <= ALL_INLINE_BYTES
            && std::str::from_utf8(bytes).is_ok();
        kept.then(|| {
            self.inlined = all;
            bytes.clone()
        })
    }

    fn content(&self) -> ContentKey {
        // There are at most as many files as the limit allows, far fewer than four thousand million.
        ContentKey {
            id: self.id,
            index: u32::try_from(self.files.len()).unwrap_or(u32::MAX),
        }
    }
}

impl Sink for Intake {
    type Error = StagingError;

    fn start(&mut self, _index: usize) -> Result<(), StagingError> {
        self.current = Current::Small(BytesMut::new());
        Ok(())
    }

    fn data(&mut self, chunk: Bytes) -> Result<(), StagingError> {
        self.room.figures.staged_bytes.inc_by(chunk.len() as u64);
        self.hasher.data(chunk.clone())?;
        let so_far = match &mut self.current {
            Current::Small(so_far) => so_far,
            Current::Large { text, .. } => {
                *text = text
                    .take()
                    .filter(|text| text.len() + chunk.len() <= INLINE_BYTES);
                if let Some(text) = text {
                    text.extend_from_slice(&chunk);
                }
                return self.send(Piece::Data(chunk));
            }
        };
        so_far.extend_from_slice(&chunk);
        if so_far.len() > WHOLE_BYTES && self.store {
            let first = so_far.split().freeze();
            return self.stream(first);
        }
        if so_far.len() > WHOLE_BYTES {
            // Hashed only; kept no further than to see that it is no small manifest.
            so_far.truncate(WHOLE_BYTES);
        }
        Ok(())
    }

    fn finish(&mut self, file: body::File) -> Result<(), StagingError> {
        self.hasher.end_of_file()?;
        let inline;
        match std::mem::replace(&mut self.current, Current::Small(BytesMut::new())) {
            Current::Small(bytes) => {
                let bytes = bytes.freeze();
                inline = self.inline(&file.path, &bytes);
                if self.store {
                    self.upload_whole(bytes)?;
                }
            }
            Current::Large { pieces, text } => {
                inline = text.and_then(|text| self.inline(&file.path, &text.freeze()));
                self.current = Current::Large { pieces, text: None };
                self.send(Piece::End)?;
                self.current = Current::Small(BytesMut::new());
            }
        }
        let index = self.content().index;
        self.files.push(Taken {
            path: file.path,
            index,
            inline,
        });
        Ok(())
    }
}

/// Whether the beginning of a file may be UTF-8: a character may be cut at its end.
fn is_text_so_far(first: &[u8]) -> bool {
    std::str::from_utf8(first).map_or_else(|error| error.error_len().is_none(), |_| true)
}

enum UploadError {
    Store(StoreError),
    GivenUp,
}

impl From<StoreError> for UploadError {
    fn from(error: StoreError) -> UploadError {
        UploadError::Store(error)
    }
}

async fn stream(
    store: &Store,
    content: ContentKey,
    mut queue: mpsc::Receiver<Piece>,
) -> Result<(), UploadError> {
    let mut writer = store
        .writer(&content.key(), &private("application/octet-stream"))
        .await?;
    loop {
        match queue.recv().await {
            Some(Piece::Data(chunk)) => writer.write(chunk).await?,
            Some(Piece::End) => break,
            None => return Err(UploadError::GivenUp),
        }
    }
    writer.finish().await?;
    Ok(())
}
