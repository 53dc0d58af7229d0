//! What a caller is told when something could not be done with a draft.

use http::StatusCode;
use serde_json::{Value, json};

use super::super::error::{publish_members, publish_status, store_status};
use crate::release::draft::{DraftError, Refusal};
use crate::release::path::ReleasePath;

pub fn status(error: &DraftError) -> StatusCode {
    match error {
        DraftError::Unknown | DraftError::UnknownUpload | DraftError::NotPresigned => {
            StatusCode::NOT_FOUND
        }
        DraftError::Published { .. }
        | DraftError::TooMany { .. }
        | DraftError::MissingParts(_)
        | DraftError::MissingFiles(_)
        | DraftError::Empty => StatusCode::CONFLICT,
        DraftError::Refused(refusal) => match refusal {
            Refusal::Differs { .. } | Refusal::BelowFile { .. } => StatusCode::CONFLICT,
            Refusal::Twice { .. } => StatusCode::BAD_REQUEST,
            Refusal::Files { .. }
            | Refusal::Parts { .. }
            | Refusal::Batches
            | Refusal::Jobs { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        },
        DraftError::NoPart { .. } | DraftError::PartLength { .. } | DraftError::PartHash { .. } => {
            StatusCode::BAD_REQUEST
        }
        DraftError::Body(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            StatusCode::REQUEST_TIMEOUT
        }
        DraftError::Body(_) => StatusCode::BAD_REQUEST,
        DraftError::WrongContent => StatusCode::UNPROCESSABLE_ENTITY,
        DraftError::Publish(error) => publish_status(error),
        DraftError::Busy | DraftError::Contended | DraftError::Lost(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        DraftError::Log(_) | DraftError::Store(_) | DraftError::Damaged { .. } => {
            store_status(error)
        }
    }
}

/// The members of the body beside `id`.
pub fn members(error: &DraftError) -> Value {
    let said = error.to_string();
    match error {
        DraftError::Unknown => json!({ "error": "Draft not found" }),
        DraftError::UnknownUpload => json!({ "error": "Upload not found" }),
        DraftError::NotPresigned => json!({ "error": "No signed URLs", "message": said }),
        DraftError::Published { n } => {
            json!({ "error": "Draft is published", "message": said, "record": n })
        }
        DraftError::TooMany { limit } => {
            json!({ "error": "Too many open drafts", "message": said, "limit": limit })
        }
        DraftError::MissingParts(parts) => {
            json!({ "error": "Parts are missing", "missingParts": parts })
        }
        DraftError::MissingFiles(paths) => {
            let paths: Vec<&str> = paths.iter().map(ReleasePath::as_str).collect();
            json!({ "error": "Files are missing", "missing": paths })
        }
        DraftError::Refused(refusal) => refused(refusal),
        DraftError::PartLength { expected, .. } => {
            json!({ "error": "Wrong part length", "message": said, "expectedBytes": expected })
        }
        DraftError::PartHash { .. } => json!({ "error": "Wrong part hash", "message": said }),
        DraftError::NoPart { .. } => json!({ "error": "Invalid part number", "message": said }),
        DraftError::WrongContent => json!({ "error": "Wrong content", "message": said }),
        DraftError::Empty => json!({ "error": "The draft is empty", "message": said }),
        DraftError::Body(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            json!({ "error": "The body stopped arriving" })
        }
        DraftError::Body(_) => json!({ "error": "The body ended early" }),
        DraftError::Publish(error) => publish_members(error),
        DraftError::Busy
        | DraftError::Contended
        | DraftError::Lost(_)
        | DraftError::Log(_)
        | DraftError::Store(_)
        | DraftError::Damaged { .. } => match status(error) {
            StatusCode::INSUFFICIENT_STORAGE => json!({ "error": "Storage full" }),
            StatusCode::SERVICE_UNAVAILABLE => json!({ "error": "Temporarily unavailable" }),
            _ => json!({ "error": "internal" }),
        },
    }
}

fn refused(refusal: &Refusal) -> Value {
    let said = refusal.to_string();
    match refusal {
        Refusal::Differs {
            path,
            first,
            second,
        } => {
            json!({ "error": "Jobs declare different contents", "message": said, "path": path.as_str(), "jobs": [first, second] })
        }
        Refusal::BelowFile { path, .. } | Refusal::Twice { path } => {
            json!({ "error": "Conflicting file paths", "message": said, "path": path.as_str() })
        }
        Refusal::Files { .. } | Refusal::Parts { .. } | Refusal::Batches | Refusal::Jobs { .. } => {
            json!({ "error": "Draft too large", "message": said })
        }
    }
}
