//! What can go wrong with a store, told so that callers can decide.

use std::io;

use super::Key;

/// A failed operation on the store. The Display says what was being done to
/// what; the cause is the `source`.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{key} is not in the store")]
    NotFound { key: Key },
    #[error("the store has no room left to {action} {subject}")]
    Full {
        action: &'static str,
        subject: String,
        #[source]
        source: Option<BoxError>,
    },
    #[error("a file stands where {key} needs a directory, or the other way round")]
    Obstructed { key: Key },
    #[error("{key} is larger than the {limit} bytes that were asked for")]
    TooLarge { key: Key, limit: usize },
    #[error("{key} has {size} bytes, fewer than the asked-for range")]
    OutOfRange { key: Key, size: u64 },
    #[error("the store cannot {what}")]
    Unsupported { what: &'static str },
    #[error("cannot {action} {subject}")]
    Io {
        action: &'static str,
        subject: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot read the store's credentials")]
    Credentials {
        #[source]
        source: crate::config::SecretError,
    },
    #[error("the store did not answer when asked to {action} {subject}")]
    Unreachable {
        action: &'static str,
        subject: String,
        #[source]
        source: BoxError,
    },
    #[error(
        "the store does not let our keys {action} {subject} ({code}): check the access key id, the secret access key and \
         what they may do"
    )]
    Denied {
        action: &'static str,
        subject: String,
        code: String,
        #[source]
        source: BoxError,
    },
    #[error("cannot {action} {subject}: this machine's clock and the store's differ too much")]
    ClockSkew {
        action: &'static str,
        subject: String,
        #[source]
        source: BoxError,
    },
    #[error("cannot {action} {subject}: there is no such bucket")]
    NoBucket {
        action: &'static str,
        subject: String,
        #[source]
        source: BoxError,
    },
    #[error("the store asks for fewer requests; it did not {action} {subject}")]
    Throttled {
        action: &'static str,
        subject: String,
        #[source]
        source: BoxError,
    },
    #[error("the store refused to {action} {subject} (status {status} {code})")]
    Refused {
        action: &'static str,
        subject: String,
        status: u16,
        code: String,
        #[source]
        source: BoxError,
    },
    #[error("the work to {action} {subject} was cut short")]
    Interrupted {
        action: &'static str,
        subject: String,
        #[source]
        source: tokio::task::JoinError,
    },
}

/// A cause of any type.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl StoreError {
    /// The state of the store cannot be known now: the answer to a reader is
    /// "come back later" (503), never "absent" (404).
    pub fn is_unavailable(&self) -> bool {
        match self {
            StoreError::Io { .. }
            | StoreError::Interrupted { .. }
            | StoreError::Credentials { .. }
            | StoreError::Unreachable { .. }
            | StoreError::Denied { .. }
            | StoreError::ClockSkew { .. }
            | StoreError::NoBucket { .. }
            | StoreError::Throttled { .. } => true,
            StoreError::Refused { status, .. } => *status >= 500,
            StoreError::NotFound { .. }
            | StoreError::Full { .. }
            | StoreError::Obstructed { .. }
            | StoreError::TooLarge { .. }
            | StoreError::OutOfRange { .. }
            | StoreError::Unsupported { .. } => false,
        }
    }

    /// Puts a file system's answer to an operation on `key` into our terms.
    pub(super) fn from_io(action: &'static str, key: &Key, source: io::Error) -> StoreError {
        // A symbolic link on the way is refused with ELOOP.
        if source.raw_os_error() == Some(libc::ELOOP) {
            return StoreError::Obstructed { key: key.clone() };
        }
        match source.kind() {
            io::ErrorKind::NotFound => StoreError::NotFound { key: key.clone() },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full {
                action,
                subject: key.to_string(),
                source: Some(source.into()),
            },
            io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::CrossesDevices => StoreError::Obstructed { key: key.clone() },
            _ => StoreError::Io {
                action,
                subject: key.to_string(),
                source,
            },
        }
    }
}
