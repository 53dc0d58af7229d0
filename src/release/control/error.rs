//! Why a command over releases changed nothing.

use tokio::task::JoinError;

use super::{RACES, STEPS_MOST};
use crate::release::deploy::BeginError;
use crate::release::keys::KEYS_MOST;
use crate::release::log::LogError;
use crate::release::past::REACH;
use crate::release::path::ReleasePath;
use crate::release::publish::PublishError;
use crate::release::republish::Obstacle;

#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("there is no record {n} of this app in the release log")]
    NoRecord { n: u64 },
    #[error("record {n} is more than {REACH} records back")]
    TooFar { n: u64 },
    #[error("no published manifest is meant by this channel and platform")]
    NothingSelected,
    #[error("`{0}` reaches all clients already")]
    Complete(ReleasePath),
    #[error(
        "`{path}` reaches {percentage} % of the clients, and a share only grows; halt it instead"
    )]
    Shrinks { path: ReleasePath, percentage: u8 },
    #[error(
        "a share lies between 0 and 100 and grows from step to step, each later than the one before"
    )]
    Steps,
    #[error("a rollout has up to {STEPS_MOST} steps")]
    ManySteps,
    #[error("`{0}` is the first of its name, so there is nothing to give clients instead")]
    Nothing(ReleasePath),
    #[error("`{0}` was not published at that time")]
    NotThen(ReleasePath),
    #[error(
        "`{0}` belongs to a version that was pruned, so what needs it cannot be published again"
    )]
    Gone(ReleasePath),
    #[error("`{0}` is pinned; unpin it first")]
    Pinned(ReleasePath),
    #[error("this key was revoked; make another one")]
    RevokedKey,
    #[error("an app has up to {KEYS_MOST} such keys; revoke some")]
    ManyKeys,
    #[error("a key with this fingerprint is known; make another one")]
    KnownKey,
    #[error("the key of this command was revoked")]
    OwnKeyRevoked,
    #[error("nothing would change")]
    Unchanged,
    #[error(transparent)]
    Again(#[from] Obstacle),
    #[error(transparent)]
    Begin(#[from] BeginError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("{RACES} other changes were made first")]
    Contended,
    /// The log has the panic, if it was one.
    #[error("the work on a command was cut")]
    Cut(#[from] JoinError),
}
