//! What requests about drafts say, and what they are answered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::deploy::DeployResponse;
use super::super::error::ApiError;
use crate::clock;
use crate::release::draft::{Batch, Declaration, Head, Pass, Shown, Standing, Upload};
use crate::release::path::ReleasePath;

/// Bytes of a job's name.
const JOB_MOST: usize = 64;

#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schema(example = json!({"expiresInSeconds": 86400}))]
pub struct OpenRequest {
    /// How long the draft can be published; `drafts.expire_seconds` by default, and at most.
    pub expires_in_seconds: Option<u64>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"id": "0199d3a7-c1f0-7b6e-8a52-e4f06d1c9b7e", "expires": "2026-11-28T01:40:03.000Z", "partBytes": 8388608,
    "presignedParts": false}))]
pub struct Opened {
    id: String,
    /// RFC 3339, UTC. Nothing moves it.
    expires: String,
    /// Size of every part but an upload's last, bytes.
    part_bytes: u64,
    /// Whether parts may be sent to the bucket, by signed URLs.
    presigned_parts: bool,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"id": "0199d3a7-c1f0-7b6e-8a52-e4f06d1c9b7e", "created": "2026-11-21T01:40:03.000Z",
    "expires": "2026-11-28T01:40:03.000Z", "partBytes": 8388608, "presignedParts": false, "files": [
        {"path": "releases/linux-x64/Seance-1.4.0.AppImage", "size": 16777216, "sha256": "…64 hexadecimal digits…",
            "job": "linux-x64", "state": "missing", "upload": "…its SHA-256…-16777216", "missingParts": [2]}]}))]
pub struct DraftState {
    id: String,
    /// RFC 3339, UTC.
    created: String,
    /// RFC 3339, UTC.
    expires: String,
    part_bytes: u64,
    presigned_parts: bool,
    /// The record that it was published as.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<u64>,
    files: Vec<DraftFile>,
}

#[derive(Serialize, ToSchema)]
pub struct DraftFile {
    path: String,
    /// Bytes.
    size: u64,
    /// Hexadecimal.
    sha256: String,
    /// The job that declared it; empty when it gave no name.
    job: String,
    #[serde(flatten)]
    state: FileState,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum FileState {
    /// Its content is here; nothing is to be sent.
    Present,
    #[serde(rename_all = "camelCase")]
    Missing {
        /// Names the upload in URLs. Files with the same content share one.
        upload: String,
        /// Numbers of the parts to be sent before it is completed; none when all are here, or it is empty.
        missing_parts: Vec<u64>,
    },
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"job": "linux-x64", "files": [{"path": "releases/linux-x64/Seance-1.4.0.AppImage", "size": 104857600,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}]}))]
pub struct DeclareRequest {
    /// Who declares, when several jobs fill the draft; at most 64 bytes.
    #[serde(default)]
    job: String,
    files: Vec<DeclareFile>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclareFile {
    /// Relative, with `/` between segments.
    path: String,
    /// Bytes.
    size: u64,
    /// Hexadecimal.
    sha256: String,
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"files": [
    {"path": "releases/version.json", "state": "present"},
    {"path": "releases/linux-x64/Seance-1.4.0.AppImage", "state": "missing", "missingParts": [1, 2, 3],
        "upload": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08-104857600"}]}))]
pub struct DeclareResponse {
    /// In the order of the request.
    files: Vec<DeclaredFile>,
}

#[derive(Serialize, ToSchema)]
pub struct DeclaredFile {
    path: String,
    #[serde(flatten)]
    state: FileState,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"md5": "5eb63bbbe01eeed093cb22bb8f5acdc3"}))]
pub struct PartUrlRequest {
    /// MD5 of the part, hexadecimal: the bucket refuses other bytes.
    md5: Option<String>,
}

/// The part is sent with `PUT url`, and with these headers.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"url": "https://builds.sfo3.digitaloceanspaces.com/.seance/drafts/…?X-Amz-Signature=…",
    "headers": {"content-length": "8388608", "content-type": "application/octet-stream"}, "expires": "2026-11-21T01:45:03.000Z"}))]
pub struct PartUrl {
    url: String,
    headers: BTreeMap<String, String>,
    /// RFC 3339, UTC: the part has to begin before.
    expires: String,
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"path": "releases/linux-x64/Seance-1.4.0.AppImage", "state": "present"}))]
pub struct CompleteResponse {
    /// A path that it was declared for.
    pub path: String,
    #[serde(flatten)]
    pub state: FileState,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"rollout": 10}))]
pub struct PublishRequest {
    /// Share of the clients that get changed manifests at first, 0 to 100.
    pub rollout: Option<u8>,
    /// Publish in spite of reasons against it. The audit has who insisted.
    pub force: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "success": true, "filesDeployed": 1,
    "files": [{"path": "releases/version.json", "url": "https://cdn.example.com/prod/releases/version.json", "size": 19,
        "sha256": "…64 hexadecimal digits…", "sha512": "…128 hexadecimal digits…"}],
    "timestamp": "2026-11-21T01:40:03.000Z", "id": "0199d3a7-c1f0-7b6e-8a52-e4f06d1c9b7e", "warnings": [], "record": 42}))]
pub struct PublishResponse {
    #[serde(flatten)]
    pub deploy: DeployResponse,
    /// The record that the draft was published as.
    pub record: u64,
}

impl PartUrlRequest {
    pub fn md5(&self) -> Result<Option<[u8; 16]>, ApiError> {
        let Some(text) = &self.md5 else {
            return Ok(None);
        };
        let mut md5 = [0; 16];
        hex::decode_to_slice(text, &mut md5).map_err(|_| ApiError::Value {
            member: "md5",
            rule: "32 hexadecimal digits",
        })?;
        Ok(Some(md5))
    }
}

impl From<Pass> for PartUrl {
    fn from(pass: Pass) -> PartUrl {
        PartUrl {
            url: pass.request.url,
            headers: pass.request.headers.into_iter().collect(),
            expires: clock::rfc3339(pass.expires),
        }
    }
}

impl DeclareRequest {
    /// Paths of at most `path_bytes`.
    pub fn batch(self, path_bytes: usize) -> Result<Batch, ApiError> {
        if self.job.len() > JOB_MOST || self.job.chars().any(char::is_control) {
            return Err(ApiError::Value {
                member: "job",
                rule: "at most 64 bytes without control characters",
            });
        }
        let files = self.files.into_iter();
        let files = files.map(|file| file.declaration(path_bytes));
        Ok(Batch {
            job: self.job,
            files: files.collect::<Result<Vec<Declaration>, ApiError>>()?,
        })
    }
}

impl DeclareFile {
    fn declaration(self, path_bytes: usize) -> Result<Declaration, ApiError> {
        let path = match ReleasePath::parse_within(&self.path, path_bytes) {
            Ok(path) => path,
            Err(source) => {
                let path = self.path;
                return Err(ApiError::Path { path, source });
            }
        };
        let mut sha256 = [0; 32];
        hex::decode_to_slice(&self.sha256, &mut sha256).map_err(|_| ApiError::Value {
            member: "sha256",
            rule: "64 hexadecimal digits",
        })?;
        let size = self.size;
        Ok(Declaration {
            path,
            content: Upload { sha256, size },
        })
    }
}

impl Opened {
    pub fn new(head: &Head, presigned_parts: bool) -> Opened {
        Opened {
            id: head.id.to_string(),
            expires: clock::rfc3339(head.expires),
            part_bytes: head.part_bytes,
            presigned_parts,
        }
    }
}

impl DraftState {
    pub fn new(shown: Shown, presigned_parts: bool) -> DraftState {
        let file = |standing: Standing| DraftFile {
            path: standing.path.to_string(),
            size: standing.content.size,
            sha256: hex::encode(standing.content.sha256),
            job: standing.job,
            state: state(&standing.content, standing.missing),
        };
        DraftState {
            id: shown.head.id.to_string(),
            created: clock::rfc3339(shown.head.created),
            expires: clock::rfc3339(shown.head.expires),
            part_bytes: shown.head.part_bytes,
            presigned_parts,
            record: shown.record,
            files: shown.files.into_iter().map(file).collect(),
        }
    }
}

impl From<Vec<Standing>> for DeclareResponse {
    fn from(files: Vec<Standing>) -> DeclareResponse {
        let file = |standing: Standing| DeclaredFile {
            path: standing.path.to_string(),
            state: state(&standing.content, standing.missing),
        };
        DeclareResponse {
            files: files.into_iter().map(file).collect(),
        }
    }
}

fn state(content: &Upload, missing: Option<Vec<u64>>) -> FileState {
    match missing {
        None => FileState::Present,
        Some(missing_parts) => FileState::Missing {
            upload: content.to_string(),
            missing_parts,
        },
    }
}
