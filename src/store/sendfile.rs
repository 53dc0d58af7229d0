//! File bytes that the kernel sends itself (sendfile(2)), past an HTTP implementation that knows only slices of memory.
//!
//! A body promises its connection a piece of a file and gives HTTP a slice of a placeholder of the same length instead.
//! An HTTP/1 connection sends bytes in the order in which its body gave them, so when the slice's turn to be written
//! comes, the piece it stands for is the first one in the connection's queue.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::Bytes;

/// The longest piece of one promise, bytes.
pub(super) const PIECE_MOST: u64 = 2 * 1024 * 1024;

/// Never written and never read, so it takes address space but no memory.
#[expect(clippy::cast_possible_truncation, reason = "two mebibytes fit")]
static PLACEHOLDER: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(vec![0; PIECE_MOST as usize]));

/// The file pieces that one plain HTTP/1 connection still has to send. Its requests carry a clone in their extensions;
/// where it is missing (TLS, HTTP/2) a body must give its bytes themselves.
#[derive(Clone, Debug, Default)]
pub struct FileQueue {
    pieces: Arc<Mutex<VecDeque<Piece>>>,
}

#[derive(Debug)]
struct Piece {
    file: Arc<File>,
    offset: i64,
    left: usize,
}

impl FileQueue {
    /// Queues at most `PIECE_MOST` bytes of `range` and returns the slice that stands for them.
    pub(super) fn promise(&self, file: &Arc<File>, range: &Range<u64>) -> io::Result<Bytes> {
        let offset = i64::try_from(range.start).map_err(io::Error::other)?;
        let left =
            usize::try_from((range.end - range.start).min(PIECE_MOST)).map_err(io::Error::other)?;
        let piece = Piece {
            file: file.clone(),
            offset,
            left,
        };
        self.pieces
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(piece);
        Ok(PLACEHOLDER.slice(..left))
    }

    /// Sends from the piece that a placeholder slice of `promised` bytes stands for; returns how many bytes went out.
    ///
    /// # Errors
    /// What sendfile(2) answers, would-block included. A queue that is out of step with the slices (somebody read the
    /// placeholder as if it were data) and a file that was cut short must end the connection: its peer could not tell
    /// the bytes from good ones.
    pub fn send(&self, socket: impl AsFd, promised: usize) -> io::Result<usize> {
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(piece) = pieces.front_mut().filter(|piece| piece.left == promised) else {
            return Err(io::Error::other(
                "a file piece and its placeholder are out of step",
            ));
        };
        // The kernel moves the offset on.
        let sent = nix::sys::sendfile::sendfile(
            socket,
            &*piece.file,
            Some(&mut piece.offset),
            piece.left,
        )?;
        if sent == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        piece.left -= sent;
        if piece.left == 0 {
            pieces.pop_front();
        }
        Ok(sent)
    }
}

/// Whether a slice that is about to be written stands for a file piece.
pub fn stands_for_file(slice: &[u8]) -> bool {
    PLACEHOLDER.as_ptr_range().contains(&slice.as_ptr())
}
