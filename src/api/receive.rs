//! A request body on its way to a thread that reads it synchronously.

use std::io::{self, Read};
use std::time::Duration;

use axum::body::Body;
use bytes::{Buf as _, Bytes};
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;

/// Chunks, of at most 64 KiB each from HTTP/1, that wait for the reading thread.
const QUEUED_CHUNKS: usize = 8;

/// What a body does next.
enum Piece {
    Data(Bytes),
    /// It is complete. Without this the sender went away.
    End,
    Failed(io::ErrorKind),
}

/// Gives a body to its [`Reader`] until either of them ends.
pub struct Pump {
    body: Body,
    pieces: mpsc::Sender<Piece>,
    stall: Duration,
    limit: u64,
}

/// A body as [`Read`], for a thread that may block.
pub struct Reader {
    pieces: mpsc::Receiver<Piece>,
    current: Bytes,
    ended: bool,
}

/// The length that a body is declared to have; one in chunks has none.
pub fn declared(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok() // the edge has refused what is no number
}

/// Splits a body of at most `limit` bytes as sent. A sender that sends nothing for `stall` makes the reader fail with
/// [`io::ErrorKind::TimedOut`], too many bytes with [`io::ErrorKind::FileTooLarge`].
pub fn split(body: Body, stall: Duration, limit: u64) -> (Pump, Reader) {
    let (pieces, receiver) = mpsc::channel(QUEUED_CHUNKS);
    let reader = Reader {
        pieces: receiver,
        current: Bytes::new(),
        ended: false,
    };
    (
        Pump {
            body,
            pieces,
            stall,
            limit,
        },
        reader,
    )
}

impl Pump {
    /// Runs until the body or its reader ends. Time that the reader takes does not count as a stall.
    pub async fn run(mut self) {
        let mut left = self.limit;
        loop {
            let frame = tokio::select! {
                frame = tokio::time::timeout(self.stall, self.body.frame()) => frame,
                () = self.pieces.closed() => return,
            };
            let piece = match frame {
                Err(_) => Piece::Failed(io::ErrorKind::TimedOut),
                Ok(None) => Piece::End,
                Ok(Some(Err(_))) => Piece::Failed(io::ErrorKind::ConnectionAborted),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => match left.checked_sub(data.len() as u64) {
                        Some(rest) => {
                            left = rest;
                            Piece::Data(data)
                        }
                        None => Piece::Failed(io::ErrorKind::FileTooLarge),
                    },
                    Err(_trailers) => continue,
                },
            };
            let more = matches!(piece, Piece::Data(_));
            if self.pieces.send(piece).await.is_err() || !more {
                return;
            }
        }
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Piece::Data(data)) => self.current = data,
                Some(Piece::End) => self.ended = true,
                Some(Piece::Failed(kind)) => return Err(kind.into()),
                None => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        let count = self.current.len().min(buffer.len());
        self.current
            .copy_to_slice(buffer.get_mut(..count).unwrap_or_default());
        Ok(count)
    }
}
