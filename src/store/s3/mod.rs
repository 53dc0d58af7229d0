//! Objects in a bucket of an S3-compatible provider.

mod client;
mod copy;
mod create;
mod failure;
mod inspect;
mod multipart;
mod read;
mod writer;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use aws_sdk_s3::{
    Client,
    presigning::PresigningConfig,
    primitives::{ByteStream, DateTime, SdkBody},
    types::ObjectCannedAcl,
};
use base64_simd::STANDARD;
use bytes::Bytes;
use md5::{Digest, Md5};
use tokio::sync::{OnceCell, Semaphore};

use self::failure::{Deed, is_absent};
use super::{Attributes, Expected, Key, Meta, Presigned, StoreError, Visibility};
use crate::{
    config,
    tasks::{self, Tasks},
};

pub use writer::Writer;

/// Content up to this size is hashed where we stand: it takes 100 µs.
const HASH_INLINE_BYTES: usize = 64 * 1024;
/// The user metadata that carries our SHA-256, in hex.
const SHA256_METADATA: &str = "sha256";
/// S3's own limit for a page of a listing.
const PAGE: usize = 1000;

/// A bucket. Cheap to clone.
#[derive(Clone)]
pub struct S3 {
    shared: Arc<Shared>,
}

struct Shared {
    /// Swapped when the credentials change; an operation keeps the one that it began with.
    client: ArcSwap<Client>,
    config: config::S3,
    bucket: String,
    /// Whether the provider takes an ACL with an object.
    acl: bool,
    part_bytes: usize,
    /// Time for an operation without a large body.
    timeout: Duration,
    /// Tries for one operation.
    attempts: u32,
    /// Memory for parts of all uploads, in units of [`writer::ROOM_UNIT`].
    room: Arc<Semaphore>,
    room_units: usize,
    /// Whether create-only writes work here, once it is known.
    create_only: OnceCell<bool>,
    /// Without create-only writes, creations by this process at least queue up.
    creating: tokio::sync::Mutex<()>,
    tasks: Tasks,
}

/// A client with the credentials as they are now.
async fn connect(config: &config::S3) -> Result<Client, StoreError> {
    let settings = config.clone();
    match tasks::blocking("open bucket", move || client::build(&settings)).await {
        Ok(client) => client,
        Err(source) => Err(StoreError::Interrupted {
            action: "open",
            subject: config.bucket.clone(),
            source,
        }),
    }
}

impl S3 {
    /// Reads the credentials again. Bucket and limits stay those of the start.
    pub(super) async fn reload(&self, new: &config::S3) -> Result<(), StoreError> {
        let config = self.shared.config.with_credentials_of(new);
        self.shared.client.store(Arc::new(connect(&config).await?));
        Ok(())
    }

    /// Opens the bucket without touching the network.
    pub(super) async fn open(config: &config::S3, tasks: &Tasks) -> Result<S3, StoreError> {
        let client = connect(config).await?;
        let room_units =
            (config.part_size_bytes * config.parts_in_flight).div_ceil(writer::ROOM_UNIT);
        Ok(S3 {
            shared: Arc::new(Shared {
                client: ArcSwap::from_pointee(client),
                config: config.clone(),
                bucket: config.bucket.clone(),
                acl: config.acl,
                part_bytes: config.part_size_bytes,
                timeout: client::operation_timeout(config),
                attempts: config.attempts,
                room: Arc::new(Semaphore::new(room_units)),
                room_units,
                create_only: OnceCell::new(),
                creating: tokio::sync::Mutex::new(()),
                tasks: tasks.clone(),
            }),
        })
    }

    pub(super) fn parts_in_flight(&self) -> usize {
        self.shared.config.parts_in_flight
    }

    /// Lists one object: unlike a HEAD of the bucket its failure has a body
    /// that tells wrong keys from a wrong clock.
    pub(super) async fn reachable(&self) -> Result<(), StoreError> {
        let deed = Deed {
            action: "list",
            subject: &self.shared.bucket,
        };
        let asked = self
            .client()
            .list_objects_v2()
            .bucket(self.bucket())
            .max_keys(1)
            .send();
        asked.await.map(drop).map_err(|error| deed.failed(error))
    }

    pub(super) async fn put(
        &self,
        key: &Key,
        content: Bytes,
        attributes: &Attributes,
    ) -> Result<(), StoreError> {
        let deed = Deed {
            action: "write",
            subject: key.as_str(),
        };
        let settings = client::sending(self.shared.timeout, content.len());
        let request = self.put_request(key, content, attributes).await?;
        let sent = request
            .customize()
            .disable_payload_signing()
            .config_override(settings)
            .send();
        sent.await.map(drop).map_err(|error| deed.failed(error))
    }

    pub(super) async fn head(&self, key: &Key) -> Result<Option<Meta>, StoreError> {
        let deed = Deed {
            action: "look up",
            subject: key.as_str(),
        };
        let found = match self
            .client()
            .head_object()
            .bucket(self.bucket())
            .key(key.as_str())
            .send()
            .await
        {
            Ok(found) => found,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(deed.failed(error)),
        };
        Ok(Some(Meta {
            key: key.clone(),
            size: unsigned(found.content_length),
            modified: timestamp(found.last_modified),
            etag: found.e_tag.as_deref().map(unquoted),
        }))
    }

    /// Pages through the listing until `limit` keys are found. Names that are
    /// no keys of ours (such as folder markers, `a/`) are passed over.
    pub(super) async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Meta>, StoreError> {
        let subject = format!("{prefix}*");
        let deed = Deed {
            action: "list",
            subject: &subject,
        };
        let mut found: Vec<Meta> = Vec::new();
        let mut after = after.map(str::to_owned);
        while found.len() < limit {
            let page = self
                .client()
                .list_objects_v2()
                .bucket(self.bucket())
                .prefix(prefix)
                .set_start_after(after.take())
                .max_keys(i32::try_from((limit - found.len()).min(PAGE)).unwrap_or(i32::MAX))
                .send()
                .await
                .map_err(|error| deed.failed(error))?;
            after = page.contents().last().and_then(|last| last.key.clone());
            for object in page.contents() {
                let Some(Ok(key)) = object.key().map(Key::parse) else {
                    continue;
                };
                found.push(Meta {
                    key,
                    size: unsigned(object.size),
                    modified: timestamp(object.last_modified),
                    etag: object.e_tag.as_deref().map(unquoted),
                });
            }
            if page.is_truncated != Some(true) || after.is_none() {
                break;
            }
        }
        Ok(found)
    }

    pub(super) async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let deed = Deed {
            action: "delete",
            subject: key.as_str(),
        };
        match self
            .client()
            .delete_object()
            .bucket(self.bucket())
            .key(key.as_str())
            .send()
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => Err(deed.failed(error)),
        }
    }

    pub(super) async fn presign_get(
        &self,
        key: &Key,
        valid: Duration,
    ) -> Result<String, StoreError> {
        let deed = Deed {
            action: "sign a URL for",
            subject: key.as_str(),
        };
        let request = self
            .client()
            .get_object()
            .bucket(self.bucket())
            .key(key.as_str());
        let signed = request
            .presigned(presigning(valid)?)
            .await
            .map_err(|error| deed.failed(error))?;
        Ok(signed.uri().to_owned())
    }

    /// What is expected is part of the signature: the provider refuses anything
    /// else.
    pub(super) async fn presign_put(
        &self,
        key: &Key,
        valid: Duration,
        expected: Expected<'_>,
    ) -> Result<Presigned, StoreError> {
        let deed = Deed {
            action: "sign a URL for",
            subject: key.as_str(),
        };
        let request = self
            .client()
            .put_object()
            .bucket(self.bucket())
            .key(key.as_str())
            .content_type(expected.content_type)
            .content_length(i64::try_from(expected.length).unwrap_or(i64::MAX))
            .set_content_md5(expected.md5.map(|md5| STANDARD.encode_to_string(md5)));
        let signed = request
            .presigned(presigning(valid)?)
            .await
            .map_err(|error| deed.failed(error))?;
        let headers = signed.headers();
        Ok(Presigned {
            url: signed.uri().to_owned(),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        })
    }

    pub(super) fn client(&self) -> Arc<Client> {
        self.shared.client.load_full()
    }

    pub(super) fn bucket(&self) -> &str {
        &self.shared.bucket
    }

    /// A PUT of the whole object, guarded by its MD5.
    async fn put_request(
        &self,
        key: &Key,
        content: Bytes,
        attributes: &Attributes,
    ) -> Result<aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder, StoreError>
    {
        Ok(self
            .client()
            .put_object()
            .bucket(self.bucket())
            .key(key.as_str())
            .set_acl(self.acl(attributes.visibility))
            .content_type(attributes.content_type.as_ref())
            .set_cache_control(attributes.cache_control.as_deref().map(str::to_owned))
            .set_metadata(metadata(attributes))
            .content_md5(content_md5(key, &content).await?)
            .content_length(i64::try_from(content.len()).unwrap_or(i64::MAX))
            .body(ByteStream::new(SdkBody::from(content))))
    }

    fn acl(&self, visibility: Visibility) -> Option<ObjectCannedAcl> {
        self.shared.acl.then_some(match visibility {
            Visibility::Private => ObjectCannedAcl::Private,
            Visibility::Public => ObjectCannedAcl::PublicRead,
        })
    }
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3")
            .field("bucket", &self.shared.bucket)
            .finish_non_exhaustive()
    }
}

fn metadata(attributes: &Attributes) -> Option<HashMap<String, String>> {
    attributes
        .sha256
        .map(|sha256| HashMap::from([(SHA256_METADATA.to_owned(), hex::encode(sha256))]))
}

/// The value of a `Content-MD5` header: the only body check that every
/// provider makes.
async fn content_md5(key: &Key, content: &Bytes) -> Result<String, StoreError> {
    let digest = |content: &[u8]| STANDARD.encode_to_string(Md5::digest(content));
    if content.len() <= HASH_INLINE_BYTES {
        return Ok(digest(content));
    }
    let content = content.clone();
    tasks::blocking("content-md5", move || digest(&content))
        .await
        .map_err(|source| StoreError::Interrupted {
            action: "hash",
            subject: key.to_string(),
            source,
        })
}

fn presigning(valid: Duration) -> Result<PresigningConfig, StoreError> {
    PresigningConfig::expires_in(valid).map_err(|_over_a_week| StoreError::Unsupported {
        what: "sign a URL for longer than a week",
    })
}

fn unsigned(length: Option<i64>) -> u64 {
    length
        .and_then(|length| u64::try_from(length).ok())
        .unwrap_or(0)
}

fn unquoted(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

fn timestamp(time: Option<DateTime>) -> jiff::Timestamp {
    let time = time.and_then(|time| {
        jiff::Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
    });
    time.unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}
