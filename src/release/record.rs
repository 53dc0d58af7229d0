//! One record of the release log: what happened, to which product, by whom.
//!
//! Records are written once and read for ever, by older and newer nodes on the same bucket. A reader
//! ignores fields it does not know, but not an event or a format it does not know: guessing at those
//! would make two nodes serve different releases from one log.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::path::ReleasePath;
use crate::config::{AppName, StorePrefix};
use crate::store::Key;

/// Version of the record's form; raised when a reader of the old form would misunderstand the new one.
pub const FORMAT: u32 = 1;

/// Above the staged content of all deploys, as `<release id>/<index of the file>`.
pub const CONTENT: &str = ".seance/content/";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub format: u32,
    /// Position in the log, from 1 without gaps.
    pub n: u64,
    pub id: ReleaseId,
    pub app: AppName,
    pub prefix: StorePrefix,
    pub at: Timestamp,
    /// The node that wrote the record and projects it first.
    pub node: String,
    pub actor: Actor,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
    pub event: Event,
}

/// Who asked for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Actor {
    /// Fingerprint of the builder key.
    pub key: String,
    /// Network address of the sender.
    pub address: String,
}

/// Makes a repeated request recognisable; see [`super::publish`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Idempotency {
    #[serde(with = "hexadecimal")]
    pub key_sha256: [u8; 32],
    /// SHA-256 over the sorted pairs of path and content hash.
    #[serde(with = "hexadecimal")]
    pub fingerprint: [u8; 32],
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    Deploy(Deployed),
}

/// Files that were added or overwritten, and files that went, all at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deployed {
    /// In the order of the request.
    pub files: Vec<Arc<File>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<ReleasePath>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// Whether changed bytes under a versioned name were asked for.
    #[serde(default)]
    pub forced: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    pub path: ReleasePath,
    pub message: String,
}

/// A published file: its name, and where its bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    pub path: ReleasePath,
    pub content: ContentKey,
    /// Bytes.
    pub size: u64,
    #[serde(with = "hexadecimal")]
    pub sha256: [u8; 32],
    #[serde(with = "hexadecimal")]
    pub sha512: [u8; 64],
    pub content_type: String,
    pub cache_control: String,
    /// When these bytes were first published under this path.
    pub modified: Timestamp,
    /// The bytes themselves, for a small manifest: it is polled, and is served while the store is away.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "inline")]
    pub inline: Option<Bytes>,
    /// Whether the record before already had the same file under this path, so that its public copy is
    /// that record's affair.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unchanged: bool,
}

impl File {
    /// A strong entity tag, quotes included: the same bytes have the same one on every node.
    pub fn etag(&self) -> String {
        format!("\"{}\"", hex::encode(&self.sha256[..16]))
    }

    /// Whether both are the same object to whoever downloads it.
    pub fn same_object(&self, other: &File) -> bool {
        self.sha256 == other.sha256
            && self.size == other.size
            && self.content_type == other.content_type
            && self.cache_control == other.cache_control
    }
}

/// Names a deploy from its first byte on; a UUIDv7, so it sorts by, and tells, the time of its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ReleaseId(Uuid);

/// Where the bytes of a file are: the `index`th file of the deploy that first brought them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ContentKey {
    pub id: ReleaseId,
    pub index: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum IdError {
    #[error("`{0}` is not a release id")]
    Release(String),
    #[error("`{0}` is not the name of staged content")]
    Content(String),
}

impl ReleaseId {
    pub fn generate() -> ReleaseId {
        ReleaseId(Uuid::now_v7())
    }

    /// When the deploy began, milliseconds of the Unix epoch by the clock of its node.
    pub fn began_ms(&self) -> u64 {
        // RFC 9562 §5.7: the first 48 bits are the time.
        (self.0.as_u128() >> 80) as u64
    }
}

impl ContentKey {
    pub fn key(&self) -> Key {
        own_key(format!("{CONTENT}{self}"))
    }
}

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for ReleaseId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<ReleaseId, IdError> {
        match Uuid::try_parse(text) {
            // One spelling only, since the text is part of object keys.
            Ok(uuid) if uuid.get_version_num() == 7 && uuid.hyphenated().to_string() == text => {
                Ok(ReleaseId(uuid))
            }
            _ => Err(IdError::Release(text.to_owned())),
        }
    }
}

impl fmt::Display for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.id, self.index)
    }
}

impl FromStr for ContentKey {
    type Err = IdError;

    fn from_str(text: &str) -> Result<ContentKey, IdError> {
        let parts = text.split_once('/').and_then(|(id, index)| {
            let key = ContentKey {
                id: id.parse().ok()?,
                index: index.parse().ok()?,
            };
            (key.to_string() == text).then_some(key)
        });
        parts.ok_or_else(|| IdError::Content(text.to_owned()))
    }
}

impl TryFrom<String> for ReleaseId {
    type Error = IdError;

    fn try_from(text: String) -> Result<ReleaseId, IdError> {
        text.parse()
    }
}

impl From<ReleaseId> for String {
    fn from(id: ReleaseId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for ContentKey {
    type Error = IdError;

    fn try_from(text: String) -> Result<ContentKey, IdError> {
        text.parse()
    }
}

impl From<ContentKey> for String {
    fn from(key: ContentKey) -> String {
        key.to_string()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("record {n} of the release log is not a record")]
    Json {
        n: u64,
        #[source]
        source: serde_json::Error,
    },
    #[error(
        "record {n} of the release log has format {format}, this version of seance reads {FORMAT}: update it"
    )]
    Format { n: u64, format: u32 },
    #[error(
        "record {n} of the release log is of kind `{kind}`, unknown to this version of seance: update it"
    )]
    Kind { n: u64, kind: String },
    #[error("record {n} of the release log says that it is record {says}")]
    Number { n: u64, says: u64 },
}

impl Record {
    /// Reads record `n` of the log.
    pub fn parse(n: u64, bytes: &[u8]) -> Result<Record, RecordError> {
        #[derive(Deserialize)]
        struct Probe {
            format: u32,
            event: Kind,
        }
        #[derive(Deserialize)]
        struct Kind {
            kind: String,
        }
        let json = |source| RecordError::Json { n, source };
        let probe: Probe = serde_json::from_slice(bytes).map_err(json)?;
        if probe.format != FORMAT {
            return Err(RecordError::Format {
                n,
                format: probe.format,
            });
        }
        if probe.event.kind != "deploy" {
            return Err(RecordError::Kind {
                n,
                kind: probe.event.kind,
            });
        }
        let record: Record = serde_json::from_slice(bytes).map_err(json)?;
        if record.n != n {
            return Err(RecordError::Number { n, says: record.n });
        }
        Ok(record)
    }

    pub fn to_bytes(&self) -> Result<Bytes, serde_json::Error> {
        serde_json::to_vec(self).map(Bytes::from)
    }

    pub fn deployed(&self) -> &Deployed {
        let Event::Deploy(deployed) = &self.event;
        deployed
    }
}

/// A key made of our own fixed words, digits and hyphens.
pub(super) fn own_key(text: String) -> Key {
    #[expect(
        clippy::expect_used,
        reason = "no outside text is in it, so it is a key by construction"
    )]
    Key::parse(&text).expect("a key of fixed words and numbers")
}

/// Hashes as hexadecimal text.
pub(super) mod hexadecimal {
    use std::borrow::Cow;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer, const N: usize>(
        hash: &[u8; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(hash))
    }

    pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let mut hash = [0; N];
        hex::decode_to_slice(text.as_bytes(), &mut hash).map_err(D::Error::custom)?;
        Ok(hash)
    }
}

mod inline {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer, ser::Error};

    pub fn serialize<S: Serializer>(
        inline: &Option<Bytes>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match inline {
            None => serializer.serialize_none(),
            Some(bytes) => {
                serializer.serialize_str(std::str::from_utf8(bytes).map_err(S::Error::custom)?)
            }
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Bytes>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(Bytes::from))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use aws_lc_rs::digest::{SHA256, SHA512, digest};
    use proptest::prelude::*;

    use super::*;

    /// A file with this content.
    pub fn file(path: &str, content: &[u8]) -> File {
        let path = ReleasePath::parse(path).unwrap();
        let mut file = File {
            content: ContentKey {
                id: ReleaseId::generate(),
                index: 0,
            },
            size: content.len() as u64,
            sha256: [0; 32],
            sha512: [0; 64],
            content_type: path.content_type().to_owned(),
            cache_control: path.cache_control().to_owned(),
            modified: Timestamp::UNIX_EPOCH,
            inline: path.is_manifest().then(|| Bytes::copy_from_slice(content)),
            unchanged: false,
            path,
        };
        file.sha256
            .copy_from_slice(digest(&SHA256, content).as_ref());
        file.sha512
            .copy_from_slice(digest(&SHA512, content).as_ref());
        file
    }

    /// A record of a deploy.
    pub fn record(n: u64, prefix: &str, files: Vec<File>, removed: &[&str]) -> Record {
        Record {
            format: FORMAT,
            n,
            id: ReleaseId::generate(),
            app: AppName::default_app(),
            prefix: StorePrefix::try_from(prefix.to_owned()).unwrap(),
            at: Timestamp::from_second(1_800_000_000).unwrap(),
            node: "node".to_owned(),
            actor: Actor {
                key: "0123abcd".to_owned(),
                address: "::1".to_owned(),
            },
            idempotency: None,
            event: Event::Deploy(Deployed {
                files: files.into_iter().map(Arc::new).collect(),
                removed: removed
                    .iter()
                    .map(|path| ReleasePath::parse(path).unwrap())
                    .collect(),
                warnings: Vec::new(),
                forced: false,
            }),
        }
    }

    #[test]
    fn a_record_is_read_back_as_it_was_written() {
        let mut written = record(
            7,
            "prod",
            vec![file("releases/latest.yml", "version: 1 é".as_bytes())],
            &["web/x"],
        );
        written.idempotency = Some(Idempotency {
            key_sha256: [1; 32],
            fingerprint: [2; 32],
        });
        let bytes = written.to_bytes().unwrap();
        let read = Record::parse(7, &bytes).unwrap();
        assert_eq!(read.to_bytes().unwrap(), bytes);
        assert_eq!(read.deployed().files, written.deployed().files);
    }

    #[test]
    fn a_field_of_a_later_version_is_ignored() {
        let mut json: serde_json::Value = serde_json::from_slice(
            &record(1, "prod", vec![file("a", b"a")], &[])
                .to_bytes()
                .unwrap(),
        )
        .unwrap();
        json["rollout"] = 10.into();
        json["event"]["channel"] = "beta".into();
        json["event"]["files"][0]["signature"] = "x".into();
        assert!(Record::parse(1, &serde_json::to_vec(&json).unwrap()).is_ok());
    }

    #[test]
    fn an_event_or_format_of_a_later_version_is_refused_by_its_name() {
        let json: serde_json::Value =
            serde_json::from_slice(&record(1, "prod", vec![], &[]).to_bytes().unwrap()).unwrap();
        let mut rollback = json.clone();
        rollback["event"] = serde_json::json!({"kind": "rollback", "to": 3});
        let error = Record::parse(1, &serde_json::to_vec(&rollback).unwrap()).unwrap_err();
        assert!(matches!(error, RecordError::Kind { n: 1, kind } if kind == "rollback"));
        let mut later = json;
        later["format"] = 2.into();
        let error = Record::parse(1, &serde_json::to_vec(&later).unwrap()).unwrap_err();
        assert!(matches!(error, RecordError::Format { n: 1, format: 2 }));
    }

    #[test]
    fn a_record_under_another_number_is_refused() {
        let bytes = record(2, "prod", vec![], &[]).to_bytes().unwrap();
        assert!(matches!(
            Record::parse(3, &bytes),
            Err(RecordError::Number { n: 3, says: 2 })
        ));
    }

    #[test]
    fn an_id_tells_when_the_deploy_began() {
        let before = u64::try_from(Timestamp::now().as_millisecond()).unwrap();
        let id = ReleaseId::generate();
        let after = u64::try_from(Timestamp::now().as_millisecond()).unwrap();
        assert!((before..=after).contains(&id.began_ms()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Record::parse(1, &bytes).is_err());
        }

        #[test]
        fn content_keys_have_one_spelling(text in "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/[+0]?[0-9]{1,9}") {
            if let Ok(key) = text.parse::<ContentKey>() {
                prop_assert_eq!(key.to_string(), text);
            }
        }
    }
}
