//! One record of the release log: what happened, to which product, by whom.
//!
//! Records are written once and read for ever, by older and newer nodes on the same bucket. A reader
//! ignores fields it does not know, but not an event or a format it does not know: guessing at those
//! would make two nodes serve different releases from one log.

mod serial;

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(super) use self::serial::hexadecimal;
use self::serial::inline;
pub use super::id::{ContentKey, ReleaseId};
use super::manifest;
use super::path::ReleasePath;
use crate::config::{AppName, BuilderKey, BuilderKeyHash, StorePrefix};

/// Version of the record's form; raised when a reader of the old form would misunderstand the new one.
pub const FORMAT: u32 = 1;

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
    /// Whether it is that of a draft, whose id it has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draft: bool,
    /// The record whose manifests are published again, with another version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub republished: Option<u64>,
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
    /// SHA-256 over the sorted pairs of path and content hash, and over what else was asked for.
    #[serde(with = "hexadecimal")]
    pub fingerprint: [u8; 32],
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    Deploy(Deployed),
    /// A deploy whose manifests reach only a part of the clients at first.
    Staged {
        deployed: Deployed,
        rollout: Rollout,
    },
    /// What record `to` had published is published again; `deployed` names content that is in the store already.
    Rollback {
        to: u64,
        deployed: Deployed,
    },
    /// Old versions were taken away; `deployed` only removes, and its `replaced` tells whose content is freed.
    Prune {
        deployed: Deployed,
    },
    /// How far published manifests spread.
    Spread {
        spreads: Vec<SpreadOf>,
    },
    KeyAdded {
        key: BuilderKey,
    },
    KeyRevoked {
        hash: BuilderKeyHash,
    },
}

/// The kinds of [`Event`] that this version knows.
const KINDS: &[&str] = &[
    "deploy",
    "staged",
    "rollback",
    "prune",
    "spread",
    "key_added",
    "key_revoked",
];

static NOTHING: Deployed = Deployed {
    files: Vec::new(),
    removed: Vec::new(),
    replaced: Vec::new(),
    warnings: Vec::new(),
    forced: false,
};

/// The share of clients that a manifest reaches, and how it grows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// 0 to 100.
    pub percentage: u8,
    /// In the order of their times, each with a larger share than the one before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub at: Timestamp,
    pub percentage: u8,
}

/// How far one manifest spreads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpreadOf {
    pub path: ReleasePath,
    #[serde(flatten)]
    pub rollout: Rollout,
    /// What the other clients get; absent when the manifest reaches all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Arc<File>>,
    /// Whether it stays so when another version is published.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
}

/// Files that were added or overwritten, and files that went, all at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deployed {
    /// In the order of the request.
    pub files: Vec<Arc<File>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<ReleasePath>,
    /// The changed and removed files as they were before: what a rollback puts back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<Arc<File>>,
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
    /// The bytes themselves, for a small file that clients poll for: it is served while the store is away.
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

    /// Half of the content's hash, for a boundary that does not stand in the content.
    pub fn boundary(&self) -> [u8; 16] {
        let mut half = [0; 16];
        half.copy_from_slice(&self.sha256[..16]);
        half
    }

    /// The versions that it names, when it is a manifest that can be read.
    pub fn versions(&self) -> Vec<String> {
        let read = self
            .inline
            .as_deref()
            .and_then(|bytes| manifest::parse(&self.path, bytes));
        match read {
            Some(Ok(manifest)) => manifest.versions,
            _ => Vec::new(),
        }
    }

    /// Whether both are the same object to whoever downloads it.
    pub fn same_object(&self, other: &File) -> bool {
        self.sha256 == other.sha256
            && self.size == other.size
            && self.content_type == other.content_type
            && self.cache_control == other.cache_control
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
        if !KINDS.contains(&probe.event.kind.as_str()) {
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

    /// How far it lets manifests spread.
    pub fn spreads(&self) -> &[SpreadOf] {
        match &self.event {
            Event::Spread { spreads } => spreads,
            _ => &[],
        }
    }

    /// The files that it changed.
    pub fn deployed(&self) -> &Deployed {
        match &self.event {
            Event::Deploy(deployed)
            | Event::Staged { deployed, .. }
            | Event::Rollback { deployed, .. }
            | Event::Prune { deployed } => deployed,
            Event::Spread { .. } | Event::KeyAdded { .. } | Event::KeyRevoked { .. } => &NOTHING,
        }
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
            draft: false,
            republished: None,
            event: Event::Deploy(Deployed {
                files: files.into_iter().map(Arc::new).collect(),
                removed: removed
                    .iter()
                    .map(|path| ReleasePath::parse(path).unwrap())
                    .collect(),
                replaced: Vec::new(),
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
        rollback["event"] = serde_json::json!({"kind": "recall", "to": 3});
        let error = Record::parse(1, &serde_json::to_vec(&rollback).unwrap()).unwrap_err();
        assert!(matches!(error, RecordError::Kind { n: 1, kind } if kind == "recall"));
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

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Record::parse(1, &bytes).is_err());
        }
    }
}
