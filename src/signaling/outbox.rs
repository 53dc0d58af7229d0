//! What a peer's socket has not taken yet.

use std::collections::VecDeque;

use bytes::Bytes;

use super::frame;

/// A queue of whole frames, the first perhaps half written. Batches are shared with the other slow
/// members of their topic; each peer counts them in full.
#[derive(Default)]
pub struct Outbox {
    chunks: VecDeque<Bytes>,
    /// How much of the first chunk has been written.
    at: usize,
    queued: usize,
}

impl Outbox {
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes that wait.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Adds whole frames of which the socket has taken `written` bytes; more than none only when
    /// nothing waited before.
    pub fn push(&mut self, frames: Bytes, written: usize) {
        if self.chunks.is_empty() {
            self.at = written;
        }
        self.queued += frames.len() - written;
        self.chunks.push_back(frames);
    }

    /// What to write next.
    pub fn front(&self) -> Option<&[u8]> {
        self.chunks.front().and_then(|chunk| chunk.get(self.at..))
    }

    /// Notes that the socket took `written` bytes of [`Self::front`].
    pub fn advance(&mut self, written: usize) {
        self.at += written;
        self.queued = self.queued.saturating_sub(written);
        if self
            .chunks
            .front()
            .is_some_and(|chunk| self.at >= chunk.len())
        {
            self.chunks.pop_front();
            self.at = 0;
        }
    }

    /// Drops everything but the rest of a frame that is half written: without that rest the peer
    /// could not read the close frame that follows.
    pub fn keep_only_started_frame(&mut self) {
        let Some(chunk) = self.chunks.front() else {
            return;
        };
        let rest = chunk.slice(self.at..frame::end_of_frame(chunk, self.at));
        self.chunks.clear();
        self.at = 0;
        self.queued = rest.len();
        if !rest.is_empty() {
            // A copy, so that one cut peer does not hold a batch that the others are done with.
            self.chunks.push_back(Bytes::copy_from_slice(&rest));
        }
    }
}
