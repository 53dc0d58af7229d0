//! Why nothing was published, and the exit code that tells it to a script.

use std::io;
use std::path::PathBuf;

use http::StatusCode;

use super::mapping::MappingError;
use crate::cli::client::ClientError;
use crate::release::ReleaseId;

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Mapping(#[from] MappingError),
    #[error("there is nothing to publish in {}", .0.display())]
    Nothing(PathBuf),
    #[error("nothing to do: name a directory, or --open, or --draft ID --finish")]
    NoTask,
    #[error("the address of the daemon is required: --to URL, or BUILDER_URL in the environment")]
    NoAddress,
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is not UTF-8 text", .0.display())]
    Text(PathBuf),
    #[error("{} is not JSON, so the notes cannot be put into it", .0.display())]
    Json(PathBuf),
    #[error("{} changed while it was being sent", .0.display())]
    Changed(PathBuf),
    #[error("a thread that hashes files ended early")]
    Hashing,
    #[error("cannot remember the draft in {path}")]
    Remember {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the draft {0} is unknown, or has expired")]
    NoDraft(ReleaseId),
    #[error("the daemon would not take: {}", .0.join("; "))]
    NotTaken(Vec<String>),
    #[error("the draft is not complete, these files are missing:{}", list(.0))]
    Missing(Vec<String>),
    #[error("refused, nothing was published:{}", list(.0))]
    Refused(Vec<String>),
}

fn list(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

impl PublishError {
    /// As `--help` and the README have it.
    pub fn exit_code(&self) -> u8 {
        match self {
            PublishError::NoTask
            | PublishError::NoAddress
            | PublishError::Nothing(_)
            | PublishError::Mapping(_)
            | PublishError::Client(ClientError::NoKey | ClientError::Address(_)) => 2,
            PublishError::Refused(_) => 3,
            PublishError::Client(
                ClientError::Connect(..)
                | ClientError::Broken(..)
                | ClientError::Timeout { .. }
                | ClientError::Answer(..),
            ) => 4,
            PublishError::Client(ClientError::Refused(refusal))
                if matches!(
                    refusal.status,
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
                ) =>
            {
                5
            }
            _ => 1,
        }
    }

    /// The reasons, one by one, for who reads JSON.
    pub fn reasons(&self) -> &[String] {
        match self {
            PublishError::Refused(lines)
            | PublishError::Missing(lines)
            | PublishError::NotTaken(lines) => lines,
            _ => &[],
        }
    }
}
