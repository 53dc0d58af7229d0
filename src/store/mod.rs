//! Objects by key, in a directory of this machine or in a bucket.
//!
//! Every write is atomic and durable when it returns: a reader sees the whole
//! old object or the whole new one, also after a power cut.

mod error;
mod filesystem;
mod key;
mod object;
pub mod probe;
mod s3;
pub mod sendfile;

use std::{borrow::Cow, ops::Range, time::Duration};

use bytes::Bytes;

use crate::{config, tasks::Tasks};

pub use error::{BoxError, StoreError};
pub use filesystem::{FileBody, Filesystem, Part};
pub use key::Key;
pub use object::{Body, ByteStream, Object};
pub use s3::S3;

/// Where objects live. Cheap to clone. The SDK's futures hold 16 KiB and more:
/// boxed, they cost nothing where there is no bucket.
#[derive(Debug, Clone)]
pub enum Store {
    Filesystem(Filesystem),
    S3(S3),
}

/// What a reader of the object is told about it. The file system keeps only the
/// visibility: the release index knows the rest.
#[derive(Debug, Clone)]
pub struct Attributes {
    pub content_type: Cow<'static, str>,
    pub cache_control: Option<Cow<'static, str>>,
    pub visibility: Visibility,
    /// SHA-256 of the content where it is known, kept as metadata on S3.
    pub sha256: Option<[u8; 32]>,
}

/// Who may read an object without our credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    Private,
    Public,
}

/// What a listing tells about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    pub key: Key,
    pub size: u64,
    pub modified: jiff::Timestamp,
    /// The provider's ETag without quotes; none on the file system.
    pub etag: Option<String>,
}

/// The only body that a signed URL is good for.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    pub content_type: &'a str,
    /// Bytes.
    pub length: u64,
    /// MD5 of the body, where it is known: the provider refuses any other.
    pub md5: Option<[u8; 16]>,
}

/// A request that the provider takes without our credentials: who sees the URL can make it, so it has no Debug and
/// belongs in no log.
pub struct Presigned {
    pub url: String,
    /// Fields that are signed too; the request has to have them.
    pub headers: Vec<(String, String)>,
}

/// What became of a create-only write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a lost race is not an error, and the object is somebody else's"]
pub enum Created {
    Yes,
    AlreadyExists,
}

impl Store {
    /// Opens the store without waiting for any network: whether a bucket
    /// answers is found out by [`Store::reachable`].
    pub async fn open(config: &config::Store, tasks: &Tasks) -> Result<Store, StoreError> {
        match config {
            config::Store::Filesystem { directory } => Ok(Store::Filesystem(
                Filesystem::open(directory.clone()).await?,
            )),
            config::Store::S3(bucket) => Ok(Store::S3(S3::open(bucket, tasks).await?)),
        }
    }

    /// Takes up credentials that changed; everything else takes effect with the next start.
    pub async fn reload(&self, config: &config::Store) -> Result<(), StoreError> {
        match (self, config) {
            (Store::S3(bucket), config::Store::S3(config)) => bucket.reload(config).await,
            _ => Ok(()),
        }
    }

    /// Asks the store for something small, to know whether it works now.
    pub async fn reachable(&self) -> Result<(), StoreError> {
        match self {
            Store::Filesystem(files) => files.reachable().await,
            Store::S3(bucket) => Box::pin(bucket.reachable()).await,
        }
    }

    /// Whether [`Store::create`] is atomic between several processes. Without
    /// it only one daemon may write to the bucket.
    pub async fn create_only(&self) -> Result<bool, StoreError> {
        match self {
            Store::Filesystem(_) => Ok(true),
            Store::S3(bucket) => Box::pin(bucket.create_only()).await,
        }
    }

    /// Parts of objects that can be written at the same time, the further ones wait; `None` when all can.
    pub fn parts_in_flight(&self) -> Option<usize> {
        match self {
            Store::Filesystem(_) => None,
            Store::S3(bucket) => Some(bucket.parts_in_flight()),
        }
    }

    /// Starts an object of yet unknown size. Nothing is visible before
    /// [`Writer::finish`] returns; a dropped writer leaves nothing.
    pub async fn writer(&self, key: &Key, attributes: &Attributes) -> Result<Writer, StoreError> {
        match self {
            Store::Filesystem(files) => {
                Ok(Writer::Filesystem(files.writer(key, attributes).await?))
            }
            Store::S3(bucket) => Ok(Writer::S3(Box::new(bucket.writer(key, attributes)))),
        }
    }

    /// Writes a small object whole, in place of the one that may be there.
    pub async fn put(
        &self,
        key: &Key,
        content: Bytes,
        attributes: &Attributes,
    ) -> Result<(), StoreError> {
        match self {
            Store::Filesystem(files) => files.put(key, content, attributes).await,
            Store::S3(bucket) => Box::pin(bucket.put(key, content, attributes)).await,
        }
    }

    /// Writes a small object whole if there is none under this key.
    pub async fn create(
        &self,
        key: &Key,
        content: Bytes,
        attributes: &Attributes,
    ) -> Result<Created, StoreError> {
        match self {
            Store::Filesystem(files) => files.create(key, content, attributes).await,
            Store::S3(bucket) => Box::pin(bucket.create(key, content, attributes)).await,
        }
    }

    /// Opens an object for reading: all of it, or a range that lies within it
    /// ([`StoreError::OutOfRange`] otherwise).
    pub async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, StoreError> {
        match self {
            Store::Filesystem(files) => files.get(key, range).await,
            Store::S3(bucket) => Box::pin(bucket.get(key, range)).await,
        }
    }

    /// Reads an object of at most `limit` bytes whole.
    pub async fn read(&self, key: &Key, limit: usize) -> Result<Bytes, StoreError> {
        self.get(key, None).await?.read(limit).await
    }

    /// Looks an object up; `None` when there is none.
    pub async fn head(&self, key: &Key) -> Result<Option<Meta>, StoreError> {
        match self {
            Store::Filesystem(files) => files.head(key).await,
            Store::S3(bucket) => Box::pin(bucket.head(key)).await,
        }
    }

    /// Copies an object within the store, whatever its size, without its bytes
    /// passing through here.
    pub async fn copy(
        &self,
        from: &Key,
        to: &Key,
        attributes: &Attributes,
    ) -> Result<(), StoreError> {
        match self {
            Store::Filesystem(files) => files.copy(from, to, attributes).await,
            Store::S3(bucket) => Box::pin(bucket.copy(from, to, attributes)).await,
        }
    }

    /// One page of the objects whose keys start with `prefix` (any text), in
    /// the order of their keys' bytes, beginning behind `after`. Fewer than
    /// `limit` means that the end is reached. On S3 `limit` is at most 1000.
    pub async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Meta>, StoreError> {
        match self {
            Store::Filesystem(files) => files.list(prefix, after, limit).await,
            Store::S3(bucket) => Box::pin(bucket.list(prefix, after, limit)).await,
        }
    }

    /// Removes an object; that it is absent is fine.
    pub async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        match self {
            Store::Filesystem(files) => files.delete(key).await,
            Store::S3(bucket) => Box::pin(bucket.delete(key)).await,
        }
    }

    /// A URL that reads the object without credentials for `valid`, at most a
    /// week (S3 only).
    pub async fn presign_get(&self, key: &Key, valid: Duration) -> Result<String, StoreError> {
        match self {
            Store::Filesystem(_) => Err(StoreError::Unsupported { what: "sign URLs" }),
            Store::S3(bucket) => Box::pin(bucket.presign_get(key, valid)).await,
        }
    }

    /// A URL to which `expected` may be PUT without credentials for `valid` (S3 only).
    pub async fn presign_put(
        &self,
        key: &Key,
        valid: Duration,
        expected: Expected<'_>,
    ) -> Result<Presigned, StoreError> {
        match self {
            Store::Filesystem(_) => Err(StoreError::Unsupported { what: "sign URLs" }),
            Store::S3(bucket) => Box::pin(bucket.presign_put(key, valid, expected)).await,
        }
    }

    /// Removes what writers left behind that died before `before`: temporary
    /// files, unfinished multipart uploads. Returns how many.
    pub async fn remove_stale(&self, before: jiff::Timestamp) -> Result<usize, StoreError> {
        match self {
            Store::Filesystem(files) => files.remove_stale(before).await,
            Store::S3(bucket) => Box::pin(bucket.abort_uploads("", before)).await,
        }
    }
}

/// An object being written.
#[derive(Debug)]
pub enum Writer {
    Filesystem(filesystem::Writer),
    S3(Box<s3::Writer>),
}

impl Writer {
    /// Appends bytes, waiting while earlier ones are still on their way. After
    /// an error or a cancelled call the writer is good only for dropping.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        match self {
            Writer::Filesystem(writer) => writer.write(bytes).await,
            Writer::S3(writer) => Box::pin(writer.write(bytes)).await,
        }
    }

    /// Makes the object durable, then visible; returns its size in bytes.
    pub async fn finish(self) -> Result<u64, StoreError> {
        match self {
            Writer::Filesystem(writer) => writer.finish().await,
            Writer::S3(writer) => Box::pin(writer.finish()).await,
        }
    }
}
