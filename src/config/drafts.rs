//! Limits of drafts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Releases that are uploaded in parts, by several jobs if need be, and published at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Drafts {
    /// Size of the parts that files are sent in, bytes; what a client sends again after a cut. A draft keeps the size that
    /// it was opened with.
    pub part_bytes: u64,
    /// Drafts of one app that are neither published nor expired.
    pub max_open: usize,
    /// Files of one draft, counted for each job that declares them, and different contents that were ever declared in it.
    pub max_files: usize,
    /// How long a draft can be published after it was opened, seconds; a request may ask for less. What is left of it is
    /// deleted a day later.
    pub expire_seconds: u64,
    /// Parts that are received at the same time. A further one waits for its turn, unread, for up to
    /// `deploy.stall_timeout_seconds`; then it is answered 503 with Retry-After. In a bucket they are fewer than
    /// `store.s3.parts_in_flight`: a part in the making takes the room of one, however slowly its client sends.
    pub parts_in_flight: usize,
    /// Files that are put together from their parts at the same time.
    pub completes_in_flight: usize,
    /// Clients may send parts to the bucket themselves, by signed URLs, when they reach it at `store.s3.endpoint`. Only
    /// with `store.kind = "s3"`.
    pub presigned_parts: bool,
    /// How long a signed URL of a part is good, seconds. It counts when the part begins.
    pub presigned_seconds: u64,
}

impl Default for Drafts {
    fn default() -> Drafts {
        Drafts {
            part_bytes: 8 * 1024 * 1024,
            max_open: 50,
            max_files: 10_000,
            expire_seconds: 7 * 24 * 3600,
            parts_in_flight: 32,
            completes_in_flight: 4,
            presigned_parts: false,
            presigned_seconds: 300,
        }
    }
}
