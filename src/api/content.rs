//! The bytes of a file on their way out of the store, of a known length and in bounded memory.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http_body::{Frame, SizeHint};

use super::error::ApiError;
use super::ranges::{Multipart, runs};
use crate::release::File;
use crate::store::{self, Key, Object, Store, StoreError};

/// Opens the bytes of `range`; the first answer of the store is awaited, so that its failure is still a status.
pub async fn range(store: &Store, file: &File, range: Range<u64>) -> Result<Body, ApiError> {
    let length = range.end - range.start;
    if length == 0 {
        return Ok(Body::empty());
    }
    let object = open(store, file, range).await?;
    Ok(body(object.into_stream(), length))
}

/// Opens the parts of a `multipart/byteranges` content.
pub async fn parts(store: &Store, file: &File, multipart: Multipart) -> Result<Body, ApiError> {
    let length = multipart.length();
    let mut reads: VecDeque<Range<u64>> = runs(&multipart.ranges)
        .into_iter()
        .map(|run| run.span)
        .collect();
    let first = reads.pop_front().unwrap_or(0..0);
    let object = open(store, file, first.clone()).await?;
    let source = match &object.body {
        store::Body::File { file, .. } => Source::File {
            key: object.key.clone(),
            size: object.size,
            file: file.clone(),
        },
        store::Body::Stream(_) => Source::Bucket {
            store: store.clone(),
            key: file.content.key(),
            reads,
            at: first.start,
            read: Read {
                stream: object.into_stream(),
                rest: Bytes::new(),
            },
            end: first.end,
        },
    };
    let parts = Parts {
        multipart,
        source,
        next: 0,
        part: 0..0,
        file_part: None,
    };
    Ok(body(stream::try_unfold(parts, Parts::step), length))
}

async fn open(store: &Store, file: &File, range: Range<u64>) -> Result<Object, ApiError> {
    let object = store
        .get(&file.content.key(), Some(range))
        .await
        .map_err(ApiError::Read)?;
    if object.size == file.size {
        return Ok(object);
    }
    Err(ApiError::Size {
        path: file.path.to_string(),
        found: object.size,
        recorded: file.size,
    })
}

fn body(
    stream: impl Stream<Item = Result<Bytes, StoreError>> + Send + 'static,
    length: u64,
) -> Body {
    Body::new(Exact {
        stream: Box::pin(stream),
        left: length,
    })
}

/// A stream that has to give exactly so many bytes. A failure in the middle ends the connection: the status is out.
struct Exact {
    stream: store::ByteStream,
    left: u64,
}

impl http_body::Body for Exact {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let failed = |error: &(dyn std::error::Error + 'static)| {
            tracing::error!(error, "a download is cut off: its file cannot be read on");
        };
        let chunk = match ready!(self.stream.as_mut().poll_next(cx)) {
            Some(Ok(chunk)) => chunk,
            Some(Err(error)) => {
                failed(&error);
                return Poll::Ready(Some(Err(io::Error::other(error))));
            }
            None => Bytes::new(),
        };
        match self.left.checked_sub(chunk.len() as u64) {
            Some(left) if !chunk.is_empty() => {
                self.left = left;
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            _ => {
                let error = io::Error::from(io::ErrorKind::UnexpectedEof);
                failed(&error);
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The parts not yet sent.
struct Parts {
    multipart: Multipart,
    source: Source,
    /// Index of the part after the current one.
    next: usize,
    /// What is left of the current part.
    part: Range<u64>,
    /// The current part, of a local file.
    file_part: Option<store::ByteStream>,
}

enum Source {
    /// Any place of it can be read at once.
    File {
        key: Key,
        size: u64,
        file: Arc<std::fs::File>,
    },
    /// One read after the other, each over some parts and the gaps between them.
    Bucket {
        store: Store,
        key: Key,
        reads: VecDeque<Range<u64>>,
        at: u64,
        end: u64,
        read: Read,
    },
}

struct Read {
    stream: store::ByteStream,
    /// Read, but not yet used.
    rest: Bytes,
}

impl Parts {
    async fn step(mut self) -> Result<Option<(Bytes, Parts)>, StoreError> {
        if self.part.start < self.part.end {
            let chunk = self.chunk().await?;
            self.part.start += chunk.len() as u64;
            return Ok(Some((chunk, self)));
        }
        let index = self.next;
        self.next += 1;
        if let Some(range) = self.multipart.ranges.get(index).cloned() {
            let head = self.multipart.head(index, &range);
            self.file_part = self.source.part(&range);
            self.part = range;
            return Ok(Some((head.into(), self)));
        }
        if index == self.multipart.ranges.len() {
            return Ok(Some((self.multipart.tail().into(), self)));
        }
        Ok(None)
    }

    /// The next bytes of the current part, at least one.
    async fn chunk(&mut self) -> Result<Bytes, StoreError> {
        match (&mut self.file_part, &mut self.source) {
            (Some(stream), _) => stream.next().await.unwrap_or(Ok(Bytes::new())),
            (None, source) => source.bucket_chunk(&self.part).await,
        }
    }
}

impl Source {
    /// A stream of its own for a part of a local file: cheaper than reading over the gaps.
    fn part(&self, range: &Range<u64>) -> Option<store::ByteStream> {
        let Source::File { key, size, file } = self else {
            return None;
        };
        let body = store::Body::File {
            file: file.clone(),
            range: range.clone(),
        };
        Some(
            Object {
                key: key.clone(),
                size: *size,
                body,
            }
            .into_stream(),
        )
    }

    /// The next bytes of `part`, after those of the gap before it; none when the bucket gave too few.
    async fn bucket_chunk(&mut self, part: &Range<u64>) -> Result<Bytes, StoreError> {
        let Source::Bucket {
            store,
            key,
            reads,
            at,
            end,
            read,
        } = self
        else {
            return Ok(Bytes::new());
        };
        loop {
            if !(*at..*end).contains(&part.start)
                && let Some(span) = reads.pop_front()
            {
                let stream = store.get(key, Some(span.clone())).await?.into_stream();
                *read = Read {
                    stream,
                    rest: Bytes::new(),
                };
                (*at, *end) = (span.start, span.end);
            }
            if read.rest.is_empty() {
                match read.stream.next().await.transpose()? {
                    Some(chunk) if !chunk.is_empty() => read.rest = chunk,
                    Some(_) => continue,
                    None => return Ok(Bytes::new()),
                }
            }
            let have = read.rest.len() as u64;
            let gap = part.start.saturating_sub(*at).min(have);
            let wanted = (part.end - part.start).min(have - gap);
            // Both are at most the length of a chunk in memory.
            let (gap, wanted) = (
                usize::try_from(gap).unwrap_or(0),
                usize::try_from(wanted).unwrap_or(0),
            );
            let _skipped = read.rest.split_to(gap);
            let chunk = read.rest.split_to(wanted);
            *at += (gap + wanted) as u64;
            if !chunk.is_empty() {
                return Ok(chunk);
            }
        }
    }
}
