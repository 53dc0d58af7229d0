//! The bytes of a file on their way out of the store, of a known length and in bounded memory.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::ContentError;
use super::ranges::{Multipart, runs};
use crate::cause::chain;
use crate::release::File;
use crate::store::sendfile::FileQueue;
use crate::store::{self, FileBody, Key, Object, Part, Store, StoreError};

/// Opens the bytes of `range`; the first answer of the store is awaited, so that its failure is still a status.
pub async fn range(
    store: &Store,
    file: &File,
    range: Range<u64>,
    queue: Option<FileQueue>,
) -> Result<Body, ContentError> {
    let length = range.end - range.start;
    if length == 0 {
        return Ok(Body::empty());
    }
    let Object { key, body, .. } = open(store, file, range).await?;
    Ok(match body {
        store::Body::File { file, range } => local(key, file, range, queue),
        store::Body::Stream(stream) => exact(stream, length),
    })
}

/// Opens the parts of a `multipart/byteranges` content.
pub async fn parts(
    store: &Store,
    file: &File,
    multipart: Multipart,
    queue: Option<FileQueue>,
) -> Result<Body, ContentError> {
    let mut reads: VecDeque<Range<u64>> = runs(&multipart.ranges)
        .into_iter()
        .map(|run| run.span)
        .collect();
    let first = reads.pop_front().unwrap_or(0..0);
    let Object { key, body, .. } = open(store, file, first.clone()).await?;
    let stream = match body {
        store::Body::File { file, .. } => {
            return Ok(local_parts(key, file, &multipart, queue));
        }
        store::Body::Stream(stream) => stream,
    };
    let length = multipart.length();
    let bucket = Bucket {
        store: store.clone(),
        key,
        reads,
        at: first.start,
        end: first.end,
        read: Read {
            stream,
            rest: Bytes::new(),
        },
    };
    let parts = Parts {
        multipart,
        bucket,
        next: 0,
        part: 0..0,
    };
    Ok(exact(
        Box::pin(stream::try_unfold(parts, Parts::step)),
        length,
    ))
}

/// The bytes of `range` of a file of this machine.
pub fn local(
    key: Key,
    file: Arc<std::fs::File>,
    range: Range<u64>,
    queue: Option<FileQueue>,
) -> Body {
    file_body(key, file, vec![Part::Range(range)], queue)
}

/// The parts of a `multipart/byteranges` content that is a file of this machine.
pub fn local_parts(
    key: Key,
    file: Arc<std::fs::File>,
    multipart: &Multipart,
    queue: Option<FileQueue>,
) -> Body {
    file_body(key, file, file_parts(multipart), queue)
}

/// The bytes of `range`, which lies within them.
pub fn slice(bytes: &Bytes, range: &Range<u64>) -> Bytes {
    let within = |at: u64| usize::try_from(at).map_or(bytes.len(), |at| at.min(bytes.len()));
    bytes.slice(within(range.start)..within(range.end))
}

/// The whole `multipart/byteranges` content of bytes in memory. It is at most as long as they and its frame.
pub fn joined(bytes: &Bytes, multipart: &Multipart) -> Bytes {
    let mut joined = BytesMut::new();
    for (index, range) in multipart.ranges.iter().enumerate() {
        joined.extend_from_slice(multipart.head(index, range).as_bytes());
        joined.extend_from_slice(&slice(bytes, range));
    }
    joined.extend_from_slice(multipart.tail().as_bytes());
    joined.freeze()
}

/// A file can be read at any place, so nothing between the ranges is.
fn file_parts(multipart: &Multipart) -> Vec<Part> {
    let mut parts = Vec::with_capacity(2 * multipart.ranges.len() + 1);
    for (index, range) in multipart.ranges.iter().enumerate() {
        parts.push(Part::Text(multipart.head(index, range).into()));
        parts.push(Part::Range(range.clone()));
    }
    parts.push(Part::Text(multipart.tail().into()));
    parts
}

fn file_body(
    key: Key,
    file: Arc<std::fs::File>,
    parts: Vec<Part>,
    queue: Option<FileQueue>,
) -> Body {
    let body = FileBody::new(key, file, parts, queue);
    Body::new(body.map_err(|error| {
        cut_off(&error);
        io::Error::other(error)
    }))
}

fn cut_off(error: &(dyn std::error::Error + 'static)) {
    tracing::error!(error = %chain(error), "a download is cut off: its file cannot be read on");
}

async fn open(store: &Store, file: &File, range: Range<u64>) -> Result<Object, ContentError> {
    let object = store
        .get(&file.content.key(), Some(range))
        .await
        .map_err(ContentError::Read)?;
    if object.size == file.size {
        return Ok(object);
    }
    Err(ContentError::Size {
        path: file.path.to_string(),
        found: object.size,
        recorded: file.size,
    })
}

fn exact(stream: store::ByteStream, length: u64) -> Body {
    Body::new(Exact {
        stream,
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
        let chunk = match ready!(self.stream.as_mut().poll_next(cx)) {
            Some(Ok(chunk)) => chunk,
            Some(Err(error)) => {
                cut_off(&error);
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
                cut_off(&error);
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

/// The parts of an object in a bucket that are not yet sent.
struct Parts {
    multipart: Multipart,
    bucket: Bucket,
    /// Index of the part after the current one.
    next: usize,
    /// What is left of the current part.
    part: Range<u64>,
}

/// One read after the other, each over some parts and the gaps between them.
struct Bucket {
    store: Store,
    key: Key,
    reads: VecDeque<Range<u64>>,
    at: u64,
    end: u64,
    read: Read,
}

struct Read {
    stream: store::ByteStream,
    /// Read, but not yet used.
    rest: Bytes,
}

impl Parts {
    async fn step(mut self) -> Result<Option<(Bytes, Parts)>, StoreError> {
        if self.part.start < self.part.end {
            let chunk = self.bucket.chunk(&self.part).await?;
            self.part.start += chunk.len() as u64;
            return Ok(Some((chunk, self)));
        }
        let index = self.next;
        self.next += 1;
        if let Some(range) = self.multipart.ranges.get(index).cloned() {
            let head = self.multipart.head(index, &range);
            self.part = range;
            return Ok(Some((head.into(), self)));
        }
        if index == self.multipart.ranges.len() {
            return Ok(Some((self.multipart.tail().into(), self)));
        }
        Ok(None)
    }
}

impl Bucket {
    /// The next bytes of `part`, after those of the gap before it; none when the bucket gave too few.
    async fn chunk(&mut self, part: &Range<u64>) -> Result<Bytes, StoreError> {
        let Bucket {
            store,
            key,
            reads,
            at,
            end,
            read,
        } = self;
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
