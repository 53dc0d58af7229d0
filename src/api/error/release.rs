//! What the errors of the release room and of the store are to a caller.

use std::error::Error;

use http::StatusCode;
use serde_json::{Value, json};

use crate::release::body::error::{Problem, Refusal};
use crate::release::path::ReleasePath;
use crate::release::{ControlError, Obstacle, PublishError};
use crate::store::StoreError;

/// The contract's words first, for clients that compare them; what exactly is wrong beside them.
pub fn refused(refusal: &Refusal) -> Value {
    let error = match &refusal.problem {
        Problem::Path { .. } => "Invalid file path",
        Problem::Syntax(_) => "Invalid JSON",
        Problem::Base64(_) => "Invalid base64",
        Problem::DuplicatePath(_) | Problem::FileAndDirectory { .. } => "Conflicting file paths",
        Problem::Compression(_) => "Invalid compression",
        Problem::Limit(_) => "Body too large",
        Problem::Outside { .. } => "This builder key may not publish there",
        Problem::WrongType { .. } | Problem::Missing(_) | Problem::DuplicateMember(_) => {
            "Invalid body"
        }
    };
    let mut members = json!({
        "error": error,
        "message": refusal.to_string(),
        "line": refusal.at.line,
        "offset": refusal.at.offset,
    });
    if let Some(file) = &refusal.file {
        members["file"] =
            json!({ "index": file.index, "path": file.path.as_ref().map(ReleasePath::as_str) });
    }
    if let Problem::Path { path, .. } = &refusal.problem {
        members["path"] = json!(path);
    }
    members
}

pub fn publish_status(error: &PublishError) -> StatusCode {
    match error {
        PublishError::Changed(_)
        | PublishError::BelowFile { .. }
        | PublishError::IsDirectory { .. }
        | PublishError::Forgotten => StatusCode::CONFLICT,
        PublishError::Lint(_) | PublishError::OtherDeploy => StatusCode::UNPROCESSABLE_ENTITY,
        PublishError::Outside { .. } | PublishError::Revoked => StatusCode::FORBIDDEN,
        PublishError::Expired => StatusCode::REQUEST_TIMEOUT,
        PublishError::Contended => StatusCode::SERVICE_UNAVAILABLE,
        PublishError::Again(obstacle) => obstacle_status(obstacle),
        PublishError::Staging(_) | PublishError::Log(_) => store_status(error),
    }
}

pub fn publish_members(error: &PublishError) -> Value {
    match error {
        PublishError::Changed(paths) => {
            let paths: Vec<&str> = paths.iter().map(ReleasePath::as_str).collect();
            json!({ "error": "Published files would change", "message": error.to_string(), "paths": paths })
        }
        PublishError::BelowFile { .. } | PublishError::IsDirectory { .. } => {
            json!({ "error": "Conflicting file paths", "message": error.to_string() })
        }
        PublishError::Lint(warnings) => {
            let reasons: Vec<Value> = warnings
                .iter()
                .map(|w| json!({ "path": w.path.as_str(), "message": w.message }))
                .collect();
            json!({ "error": "Faulty manifests", "message": error.to_string(), "reasons": reasons })
        }
        PublishError::Outside { path, within } => json!({
            "error": "This builder key may not publish there", "message": error.to_string(),
            "path": path.as_str(), "within": within
        }),
        PublishError::Revoked => json!({ "error": error.to_string() }),
        PublishError::Forgotten => {
            json!({ "error": "Idempotency-Key is outdated", "message": error.to_string() })
        }
        PublishError::OtherDeploy => {
            json!({ "error": "Idempotency-Key was used for another deploy" })
        }
        PublishError::Expired => {
            json!({ "error": "Deploy took too long", "message": error.to_string() })
        }
        PublishError::Again(_) => json!({ "error": error.to_string() }),
        PublishError::Staging(_) | PublishError::Log(_) | PublishError::Contended => {
            let status = publish_status(error);
            let message = match status {
                StatusCode::INSUFFICIENT_STORAGE => "Storage full",
                StatusCode::SERVICE_UNAVAILABLE => "Temporarily unavailable",
                _ => "internal",
            };
            json!({ "error": "Deployment failed", "message": message })
        }
    }
}

fn obstacle_status(obstacle: &Obstacle) -> StatusCode {
    match obstacle {
        Obstacle::Inside(_) | Obstacle::Unread(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Obstacle::NotHigher { .. } | Obstacle::Absent { .. } | Obstacle::Changed { .. } => {
            StatusCode::CONFLICT
        }
    }
}

pub fn control_status(error: &ControlError) -> StatusCode {
    match error {
        ControlError::Log(_) => store_status(error),
        ControlError::NoRecord { .. } | ControlError::NothingSelected => StatusCode::NOT_FOUND,
        ControlError::RevokedKey | ControlError::KnownKey | ControlError::ManyKeys => {
            StatusCode::CONFLICT
        }
        ControlError::OwnKeyRevoked => StatusCode::FORBIDDEN,
        ControlError::TooFar { .. } | ControlError::Steps | ControlError::ManySteps => {
            StatusCode::BAD_REQUEST
        }
        ControlError::Complete(_)
        | ControlError::Shrinks { .. }
        | ControlError::Nothing(_)
        | ControlError::NotThen(_)
        | ControlError::Gone(_)
        | ControlError::Pinned(_)
        | ControlError::Unchanged => StatusCode::CONFLICT,
        ControlError::Again(obstacle) => obstacle_status(obstacle),
        ControlError::Publish(error) => publish_status(error),
        ControlError::Contended | ControlError::Begin(_) => StatusCode::SERVICE_UNAVAILABLE,
        ControlError::Cut(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

pub fn control_members(error: &ControlError) -> Value {
    if let ControlError::Publish(error) = error {
        return publish_members(error);
    }
    let error = match control_status(error) {
        StatusCode::INTERNAL_SERVER_ERROR => "internal".to_owned(),
        StatusCode::SERVICE_UNAVAILABLE => "Temporarily unavailable".to_owned(),
        StatusCode::INSUFFICIENT_STORAGE => "Storage full".to_owned(),
        _ => error.to_string(),
    };
    json!({ "error": error })
}

/// What became of a call that the store failed.
pub fn store_status(error: &(dyn Error + 'static)) -> StatusCode {
    match store_cause(error) {
        Some(StoreError::Full { .. }) => StatusCode::INSUFFICIENT_STORAGE,
        Some(store) if store.is_unavailable() => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn store_cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a StoreError> {
    let mut cause: Option<&'a (dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(store) = error.downcast_ref::<StoreError>() {
            return Some(store);
        }
        cause = error.source();
    }
    None
}
