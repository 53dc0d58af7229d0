//! An object opened for reading.

use std::{fs::File, ops::Range, pin::Pin, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http_body_util::BodyDataStream;

use super::{FileBody, Key, Part, StoreError};

/// An object opened for reading: it stays readable as it is, also when it is
/// replaced or removed meanwhile.
pub struct Object {
    pub key: Key,
    /// Size of the whole object in bytes, whatever range was asked for.
    pub size: u64,
    pub body: Body,
}

/// The bytes asked for.
pub enum Body {
    /// They are this range of a local file: [`FileBody`] has them sent by the
    /// kernel where the connection can.
    File { file: Arc<File>, range: Range<u64> },
    /// They come over the network.
    Stream(ByteStream),
}

/// Chunks of at most a few hundred KiB, read as they are asked for.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, StoreError>> + Send>>;

impl Object {
    /// The bytes as a stream.
    pub fn into_stream(self) -> ByteStream {
        match self.body {
            Body::File { file, range } => {
                let body = FileBody::new(self.key, file, [Part::Range(range)], None);
                Box::pin(BodyDataStream::new(body))
            }
            Body::Stream(stream) => stream,
        }
    }

    /// The bytes at once, at most `limit`.
    pub async fn read(self, limit: usize) -> Result<Bytes, StoreError> {
        let key = self.key.clone();
        let mut stream = self.into_stream();
        let mut all = BytesMut::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk?;
            if all.len() + chunk.len() > limit {
                return Err(StoreError::TooLarge { key, limit });
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Object")
            .field("key", &self.key)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
