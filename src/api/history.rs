//! Entries of the release log as the API shows them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::clock;
use crate::release::{Event, File, Record};

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"record": 42, "id": "0199d3a7-c1f0-7b6e-8a52-e4f06d1c9b7e", "kind": "deploy",
    "timestamp": "2026-11-21T01:40:03.000Z", "key": "0123abcd", "address": "203.0.113.9", "files": 3, "removed": 0,
    "bytes": 104857600, "versions": ["1.4.0"]}))]
pub struct Listed {
    record: u64,
    id: String,
    /// `deploy`, `staged` (a deploy for a part of the clients), `republish`, `rollback`, `prune`, `spread` (rollout, halt, pin),
    /// `key-added` or `key-revoked`.
    kind: &'static str,
    /// The record that a rollback went back to, or that was published again.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u64>,
    /// RFC 3339, UTC.
    timestamp: String,
    /// Fingerprint of the key; `schedule` for a step of a rollout.
    key: String,
    address: String,
    files: usize,
    removed: usize,
    /// Of the files together.
    bytes: u64,
    /// Versions that its manifests name.
    versions: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"record": 42, "id": "0199d3a7-c1f0-7b6e-8a52-e4f06d1c9b7e", "kind": "deploy",
    "timestamp": "2026-11-21T01:40:03.000Z", "key": "0123abcd", "address": "203.0.113.9", "files": 1, "removed": 0,
    "bytes": 19, "versions": ["1.4.0"], "changes": [{"path": "releases/version.json", "size": 19,
        "sha256": "…64 hexadecimal digits…", "unchanged": false}], "removals": [], "spreads": []}))]
pub struct Shown {
    #[serde(flatten)]
    listed: Listed,
    changes: Vec<ShownFile>,
    removals: Vec<String>,
    spreads: Vec<ShownSpread>,
}

#[derive(Serialize, ToSchema)]
struct ShownFile {
    path: String,
    /// Bytes.
    size: u64,
    /// Hexadecimal.
    sha256: String,
    /// Whether it was there before, with the same bytes.
    unchanged: bool,
}

#[derive(Serialize, ToSchema)]
struct ShownSpread {
    path: String,
    /// Share of the clients that get the manifest.
    percentage: u8,
    pinned: bool,
    steps: Vec<ShownStep>,
}

#[derive(Serialize, ToSchema)]
struct ShownStep {
    /// RFC 3339, UTC.
    at: String,
    percentage: u8,
}

pub fn listed(record: &Record) -> Listed {
    let deployed = record.deployed();
    let (kind, to) = match &record.event {
        Event::Deploy(_) if record.republished.is_some() => ("republish", record.republished),
        Event::Deploy(_) => ("deploy", None),
        Event::Staged { .. } => ("staged", None),
        Event::Rollback { to, .. } => ("rollback", Some(*to)),
        Event::Prune { .. } => ("prune", None),
        Event::Spread { .. } => ("spread", None),
        Event::KeyAdded { .. } => ("key-added", None),
        Event::KeyRevoked { .. } => ("key-revoked", None),
    };
    let mut versions: Vec<String> = deployed
        .files
        .iter()
        .flat_map(|file| file.versions())
        .collect();
    versions.sort();
    versions.dedup();
    Listed {
        record: record.n,
        id: record.id.to_string(),
        kind,
        to,
        timestamp: clock::rfc3339(record.at),
        key: record.actor.key.clone(),
        address: record.actor.address.clone(),
        files: deployed.files.len(),
        removed: deployed.removed.len(),
        bytes: deployed.files.iter().map(|file| file.size).sum(),
        versions,
    }
}

pub fn shown(record: &Record) -> Shown {
    let deployed = record.deployed();
    let change = |file: &File| ShownFile {
        path: file.path.to_string(),
        size: file.size,
        sha256: hex::encode(file.sha256),
        unchanged: file.unchanged,
    };
    let spreads = record.spreads().iter().map(|spread| ShownSpread {
        path: spread.path.to_string(),
        percentage: spread.rollout.percentage,
        pinned: spread.pinned,
        steps: spread
            .rollout
            .steps
            .iter()
            .map(|step| ShownStep {
                at: clock::rfc3339(step.at),
                percentage: step.percentage,
            })
            .collect(),
    });
    Shown {
        listed: listed(record),
        changes: deployed.files.iter().map(|file| change(file)).collect(),
        removals: deployed.removed.iter().map(ToString::to_string).collect(),
        spreads: spreads.collect(),
    }
}
