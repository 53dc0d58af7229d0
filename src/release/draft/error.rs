//! Why something could not be done with a draft.

use std::io;

use tokio::sync::AcquireError;
use tokio::task::JoinError;

use super::declared::Refusal;
use crate::release::body::hash::Stopped;
use crate::release::log::LogError;
use crate::release::path::ReleasePath;
use crate::release::publish::PublishError;
use crate::release::staging::StagingError;
use crate::store::{Key, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// Never opened, deleted, expired, or of another app.
    #[error("there is no such draft")]
    Unknown,
    #[error("there is no such upload in the draft")]
    UnknownUpload,
    #[error("the draft was published as record {n}")]
    Published { n: u64 },
    #[error("{limit} drafts are open; publish or delete one")]
    TooMany { limit: usize },
    #[error("parts are not sent to the bucket here")]
    NotPresigned,
    #[error("too many parts are being received")]
    Busy,
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the upload has parts 1 to {last}")]
    NoPart { last: u64 },
    #[error("part {n} has {expected} bytes")]
    PartLength { n: u64, expected: u64 },
    #[error("part {n} does not have the SHA-256 that was sent with it")]
    PartHash { n: u64 },
    #[error("cannot read the body of a part")]
    Body(#[source] io::Error),
    #[error("parts are missing")]
    MissingParts(Vec<u64>),
    #[error("the parts together do not have the declared SHA-256; send them again")]
    WrongContent,
    #[error("files are missing")]
    MissingFiles(Vec<ReleasePath>),
    #[error("nothing is declared in the draft")]
    Empty,
    #[error("other jobs kept declaring files; try again")]
    Contended,
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("cannot keep or read a part of a draft")]
    Store(#[from] StoreError),
    #[error("{key} is damaged")]
    Damaged {
        key: Key,
        #[source]
        source: serde_json::Error,
    },
    #[error("work on a draft was cut short")]
    Lost(#[from] Lost),
}

/// Why work on a draft had no end.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The log has the panic.
    #[error("it panicked")]
    Panicked,
    #[error("its task was cut")]
    Task(#[from] JoinError),
    #[error("its turn never comes")]
    Closed(#[from] AcquireError),
    #[error("its content cannot be hashed")]
    Hash(#[from] Stopped),
    #[error("its content was not hashed")]
    NoDigest,
}

impl From<StagingError> for DraftError {
    fn from(error: StagingError) -> DraftError {
        DraftError::Publish(PublishError::Staging(error))
    }
}
