//! The objects of a draft in the store: all that there is of it, so that any node can go on with it.
//!
//! `heads/<app>/<id>.json` says that it exists and until when. `<id>/declared/<n>.json` are the entries of its own log,
//! `<id>/parts/<upload>/<n>` the parts that arrived, `<id>/done/<upload>-<sha512>` the uploads whose content is whole
//! and verified.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::DraftError;
use super::declared::{BATCHES_MOST, Batch, Declared};
use super::upload::Upload;
use crate::config::{AppName, BuilderKey, StorePrefix};
use crate::release::id::own_key;
use crate::release::log::private;
use crate::release::record::{Actor, ContentKey, ReleaseId};
use crate::store::{Created, Key, Meta, Store, StoreError};

pub const DRAFTS: &str = ".seance/drafts/";
pub const HEADS: &str = ".seance/drafts/heads/";

/// A head is some hundred bytes.
const HEAD_BYTES: usize = 64 * 1024;
/// One entry names up to a hundred thousand files.
const BATCH_BYTES: usize = 256 * 1024 * 1024;
/// Entries read at a time.
const READS: usize = 8;
/// Objects listed at a time.
const PAGE: usize = 1000;
/// Objects deleted at a time.
const DELETES: usize = 8;

/// What is known of a draft from its beginning.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Head {
    pub id: ReleaseId,
    pub app: AppName,
    pub prefix: StorePrefix,
    pub actor: Actor,
    pub created: Timestamp,
    /// From then on it is as if it had never been.
    pub expires: Timestamp,
    /// Size of its parts, bytes.
    pub part_bytes: u64,
}

/// An upload whose content is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    pub sha512: [u8; 64],
}

/// Whose parts: those of a key with paths are its own, since wrong ones would spoil the upload of others who declared
/// the same content. What they become is hashed first, and is one for all.
#[derive(Clone, Debug, Default)]
pub struct Sender(Option<String>);

impl Sender {
    pub fn of(key: &BuilderKey) -> Sender {
        let restricted = !key.paths.is_empty();
        Sender(restricted.then(|| key.hash.clone().into()))
    }

    /// What follows an upload in the name of the directory of its parts; never a digit.
    fn suffix(&self) -> String {
        let key = self.0.as_ref();
        key.map_or_else(String::new, |hash| format!(".{hash}"))
    }
}

/// The parts that arrived, each with its size in bytes.
pub type Parts = BTreeMap<u64, u64>;

pub fn head_key(app: &AppName, id: ReleaseId) -> Key {
    own_key(format!("{HEADS}{app}/{id}.json"))
}

/// The id in the key of a head.
pub fn head_id(key: &Key) -> Option<ReleaseId> {
    let (_, name) = key.as_str().strip_prefix(HEADS)?.split_once('/')?;
    name.strip_suffix(".json")?.parse().ok()
}

fn declared_key(id: ReleaseId, n: u32) -> Key {
    own_key(format!("{DRAFTS}{id}/declared/{n:04}.json"))
}

pub fn part_key(id: ReleaseId, upload: &Upload, sender: &Sender, n: u64) -> Key {
    own_key(format!("{}{n:05}", parts_directory(id, upload, sender)))
}

fn parts_directory(id: ReleaseId, upload: &Upload, sender: &Sender) -> String {
    format!("{DRAFTS}{id}/parts/{upload}{}/", sender.suffix())
}

fn done_key(id: ReleaseId, upload: &Upload, done: &Done) -> Key {
    own_key(format!(
        "{DRAFTS}{id}/done/{upload}-{}",
        hex::encode(done.sha512)
    ))
}

/// Where the content of the `number`th upload of a draft is.
pub fn content(id: ReleaseId, number: u32) -> ContentKey {
    ContentKey { id, index: number }
}

pub async fn read_head(
    store: &Store,
    app: &AppName,
    id: ReleaseId,
) -> Result<Option<Head>, DraftError> {
    read_head_at(store, &head_key(app, id)).await
}

pub async fn read_head_at(store: &Store, key: &Key) -> Result<Option<Head>, DraftError> {
    match store.read(key, HEAD_BYTES).await {
        Ok(bytes) => decode(key, &bytes).map(Some),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Writes the head, over the one that may be there.
pub async fn write_head(store: &Store, head: &Head) -> Result<(), DraftError> {
    let key = head_key(&head.app, head.id);
    let bytes = encode(&key, head)?;
    Ok(store.put(&key, bytes, &private("application/json")).await?)
}

/// Takes in the entries behind those that `declared` has.
pub async fn read_declared(
    store: &Store,
    id: ReleaseId,
    mut declared: Declared,
) -> Result<Declared, DraftError> {
    let last = declared_key(id, declared.batches());
    let prefix = format!("{DRAFTS}{id}/declared/");
    let most = BATCHES_MOST as usize;
    let listed = store.list(&prefix, Some(last.as_str()), most).await?;
    // Created in order, so there is no gap among the first of them.
    let reads = (declared.batches() + 1..)
        .zip(listed)
        .map(|(n, _)| async move {
            let key = declared_key(id, n);
            let bytes = store.read(&key, BATCH_BYTES).await?;
            decode::<Batch>(&key, &bytes)
        });
    let mut batches = stream::iter(reads).buffered(READS);
    while let Some(batch) = batches.try_next().await? {
        declared.apply(&batch);
    }
    Ok(declared)
}

/// Appends entry `n` unless there is one.
pub async fn append(
    store: &Store,
    id: ReleaseId,
    n: u32,
    batch: &Batch,
) -> Result<Created, DraftError> {
    let key = declared_key(id, n);
    let bytes = encode(&key, batch)?;
    let attributes = private("application/json");
    Ok(store.create(&key, bytes, &attributes).await?)
}

/// All uploads whose content is whole.
pub async fn all_done(store: &Store, id: ReleaseId) -> Result<HashMap<Upload, Done>, DraftError> {
    let prefix = format!("{DRAFTS}{id}/done/");
    let mut all = HashMap::new();
    each(store, &prefix, None, |rest, _| all.extend(read_done(rest))).await?;
    Ok(all)
}

/// Whether the content of an upload is whole.
pub async fn done(
    store: &Store,
    id: ReleaseId,
    upload: &Upload,
) -> Result<Option<Done>, DraftError> {
    let directory = format!("{DRAFTS}{id}/done/");
    let listed = store
        .list(&format!("{directory}{upload}-"), None, 1)
        .await?;
    let name = listed
        .first()
        .and_then(|meta| meta.key.as_str().strip_prefix(&directory));
    Ok(name.and_then(read_done).map(|(_, done)| done))
}

fn read_done(name: &str) -> Option<(Upload, Done)> {
    let (upload, sha512) = name.rsplit_once('-')?;
    let mut done = Done { sha512: [0; 64] };
    hex::decode_to_slice(sha512, &mut done.sha512).ok()?;
    Some((upload.parse().ok()?, done))
}

pub async fn write_done(
    store: &Store,
    id: ReleaseId,
    upload: &Upload,
    done: &Done,
) -> Result<(), DraftError> {
    let key = done_key(id, upload, done);
    let attributes = private("application/octet-stream");
    Ok(store.put(&key, Bytes::new(), &attributes).await?)
}

/// The parts of all uploads.
pub async fn all_parts(
    store: &Store,
    id: ReleaseId,
    sender: &Sender,
) -> Result<HashMap<Upload, Parts>, DraftError> {
    let suffix = sender.suffix();
    let prefix = format!("{DRAFTS}{id}/parts/");
    let mut all: HashMap<Upload, Parts> = HashMap::new();
    each(store, &prefix, None, |rest, meta| {
        if let Some((upload, n)) = rest.split_once('/')
            && let Some(upload) = upload.strip_suffix(&suffix)
            && let (Ok(upload), Ok(n)) = (upload.parse(), n.parse())
        {
            all.entry(upload).or_default().insert(n, meta.size);
        }
    })
    .await?;
    Ok(all)
}

/// The parts of one upload.
pub async fn parts(
    store: &Store,
    id: ReleaseId,
    upload: &Upload,
    sender: &Sender,
) -> Result<Parts, DraftError> {
    let prefix = parts_directory(id, upload, sender);
    let mut parts = Parts::new();
    each(store, &prefix, None, |rest, meta| {
        parts.extend(rest.parse().ok().map(|n: u64| (n, meta.size)));
    })
    .await?;
    Ok(parts)
}

/// Removes everything below a prefix of ours.
pub async fn remove(store: &Store, prefix: &str) -> Result<u64, StoreError> {
    let mut removed = 0;
    loop {
        let listed = store.list(prefix, None, PAGE).await?;
        let full = listed.len() == PAGE;
        removed += delete(store, listed.into_iter().map(|meta| meta.key)).await?;
        if !full {
            return Ok(removed);
        }
    }
}

/// Deletes objects, several at a time; returns how many.
pub async fn delete(store: &Store, keys: impl IntoIterator<Item = Key>) -> Result<u64, StoreError> {
    let deletes = keys
        .into_iter()
        .map(|key| async move { store.delete(&key).await });
    let mut deletes = stream::iter(deletes).buffer_unordered(DELETES);
    let mut deleted = 0;
    while let Some(done) = deletes.next().await {
        done?;
        deleted += 1;
    }
    Ok(deleted)
}

/// The ids of all drafts that have a head, with the keys of these.
pub async fn heads(store: &Store) -> Result<Vec<(ReleaseId, Key)>, StoreError> {
    let mut heads = Vec::new();
    each(store, HEADS, None, |_, meta| {
        heads.extend(head_id(&meta.key).map(|id| (id, meta.key.clone())));
    })
    .await?;
    Ok(heads)
}

/// The drafts of one app that were opened since and have a head.
pub async fn heads_since(
    store: &Store,
    app: &AppName,
    since: Timestamp,
) -> Result<Vec<ReleaseId>, DraftError> {
    let directory = format!("{HEADS}{app}/");
    // RFC 9562 §5.7: an id begins with the time in milliseconds, 8 digits and 4.
    let time = format!("{:012x}", since.as_millisecond().max(0));
    let (high, low) = time.split_at(8);
    let mut ids = Vec::new();
    let after = Some(format!("{directory}{high}-{low}"));
    each(store, &directory, after, |name, _| {
        let id = name.strip_suffix(".json");
        ids.extend(id.and_then(|id| id.parse::<ReleaseId>().ok())); // what is no head is none of ours
    })
    .await?;
    Ok(ids)
}

/// Calls `take` with what follows `prefix` in each key behind `after`, and with the object.
pub async fn each(
    store: &Store,
    prefix: &str,
    mut after: Option<String>,
    mut take: impl FnMut(&str, &Meta),
) -> Result<(), StoreError> {
    loop {
        let listed = store.list(prefix, after.as_deref(), PAGE).await?;
        for meta in &listed {
            let rest = meta.key.as_str().strip_prefix(prefix);
            take(rest.unwrap_or_default(), meta);
        }
        if listed.len() < PAGE {
            return Ok(());
        }
        after = listed.last().map(|meta| meta.key.to_string());
    }
}

fn decode<T: for<'a> Deserialize<'a>>(key: &Key, bytes: &[u8]) -> Result<T, DraftError> {
    serde_json::from_slice(bytes).map_err(|source| DraftError::Damaged {
        key: key.clone(),
        source,
    })
}

fn encode<T: Serialize>(key: &Key, value: &T) -> Result<Bytes, DraftError> {
    let bytes = serde_json::to_vec(value).map_err(|source| DraftError::Damaged {
        key: key.clone(),
        source,
    })?;
    Ok(bytes.into())
}
