//! What a caller is told when something did not work, in one place.
//!
//! A handler returns an [`ApiError`]; [`finish`] turns it into a JSON answer with the request's id. The caller gets a
//! decision, the log gets the cause: what we did wrong is `{"error":"internal","id":"…"}`.

mod release;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};
use tower::Service as _;
use utoipa::ToSchema;

use self::release::{control_members, refused};
pub use self::release::{control_status, publish_members, publish_status, store_status};
use super::drafts::failure;
use crate::audit::{AuditError, Outcome};
use crate::cause::chain;
use crate::config::{self, REQUEST_ID, Scope};
use crate::content::ContentError;
use crate::release::body::error::{BodyError, Problem, Refusal};
use crate::release::draft::DraftError;
use crate::release::path::{PathError, ReleasePath};
use crate::release::{ControlError, PublishError, StagingError};
use crate::signaling::token::OrderError;

/// When a caller may come back after 503, seconds.
const RETRY_SECONDS: u64 = 5;

/// Every answer that is not a success.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"error": "Not found", "id": "0199d3a7c1f07b6e8a52e4f06d1c9b7e"}))]
pub struct ErrorBody {
    /// What is wrong, for a person to read; `internal` when it is our fault.
    pub error: String,
    /// Names the request in the server's log; the `X-Request-Id` of the answer.
    pub id: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("Not found")]
    NotFound,
    #[error("Manifest not found")]
    ManifestNotFound,
    #[error("Method not allowed")]
    MethodNotAllowed,
    #[error("Invalid query")]
    Query,
    #[error("Invalid query")]
    Parameters(#[from] QueryRejection),
    #[error("Invalid query")]
    Parameter { name: String },
    #[error("The version is not a semantic version")]
    Version,
    #[error("Missing builder key")]
    MissingKey,
    #[error("Invalid builder key")]
    InvalidKey,
    #[error("Too many invalid builder keys")]
    TooManyKeys { retry_seconds: u64 },
    #[error("This builder key has expired")]
    ExpiredKey,
    #[error("This builder key may not {}", .0.as_str())]
    Scope(Scope),
    #[error("Only a builder key without restrictions may change the keys")]
    RestrictedKey,
    #[error("This builder key may not publish there")]
    Outside {
        path: ReleasePath,
        within: Vec<String>,
    },
    #[error("A builder key cannot revoke itself")]
    OwnKey,
    #[error("Deploys are switched off: no builder key is configured")]
    DeploysOff,
    #[error("Invalid body")]
    Body(#[from] JsonRejection),
    #[error("{0} is not configured")]
    NotConfigured(&'static str),
    #[error("A valid token is required")]
    Token,
    #[error("This origin is not allowed")]
    Origin,
    #[error("Content-Type must be application/json")]
    ContentType,
    #[error("Content-Encoding must be gzip, zstd or identity")]
    ContentEncoding,
    #[error("Idempotency-Key must be 1 to 255 visible ASCII characters")]
    IdempotencyKey,
    #[error("Invalid body")]
    Order(#[source] OrderError),
    #[error("Invalid body")]
    Value {
        member: &'static str,
        rule: &'static str,
    },
    #[error("x-content-sha256 must be 64 hexadecimal digits")]
    ContentSha256,
    #[error("Invalid file path")]
    Path {
        path: String,
        #[source]
        source: PathError,
    },
    #[error("A deploy with this Idempotency-Key is running")]
    Running,
    #[error("Body too large")]
    TooLarge { limit_bytes: u64 },
    #[error("The body stopped arriving")]
    Stalled,
    #[error("The body ended early")]
    Incomplete,
    #[error("Too many deploys at the same time")]
    Busy,
    #[error("Precondition failed")]
    PreconditionFailed,
    #[error("the deploy body was refused")]
    Refused(#[source] Refusal),
    #[error("a deploy failed")]
    Deploy(#[source] PublishError),
    #[error("a command over releases failed")]
    Control(#[from] ControlError),
    #[error("a call over a draft failed")]
    Draft(#[from] DraftError),
    #[error("the deed cannot be recorded in the audit")]
    Audit(#[from] AuditError),
    #[error("Invalid builder key")]
    Key(#[from] config::ValueError),
    #[error("the releases are not known")]
    Unknown,
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error("a task of the request was cut")]
    Cut,
}

impl From<BodyError<StagingError>> for ApiError {
    fn from(error: BodyError<StagingError>) -> ApiError {
        match error {
            BodyError::Refused(refusal) => ApiError::Refused(refusal),
            BodyError::Read(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                ApiError::Stalled
            }
            BodyError::Read(_) => ApiError::Incomplete,
            BodyError::Sink(error) => ApiError::Deploy(PublishError::Staging(error)),
        }
    }
}

impl ApiError {
    pub fn status(&self) -> StatusCode {
        match self {
            ApiError::Query
            | ApiError::Parameters(_)
            | ApiError::Parameter { .. }
            | ApiError::Version
            | ApiError::Value { .. }
            | ApiError::Order(_)
            | ApiError::IdempotencyKey
            | ApiError::ContentSha256
            | ApiError::Path { .. }
            | ApiError::Incomplete => StatusCode::BAD_REQUEST,
            ApiError::Body(rejection) => match rejection.status() {
                // What cannot be read as the route's own type is as malformed as what is no JSON.
                StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
                status => status,
            },
            ApiError::MissingKey
            | ApiError::InvalidKey
            | ApiError::ExpiredKey
            | ApiError::Token => StatusCode::UNAUTHORIZED,
            ApiError::DeploysOff
            | ApiError::Scope(_)
            | ApiError::RestrictedKey
            | ApiError::Outside { .. }
            | ApiError::Origin => StatusCode::FORBIDDEN,
            ApiError::OwnKey => StatusCode::CONFLICT,
            ApiError::Key(_) => StatusCode::BAD_REQUEST,
            ApiError::NotConfigured(_) => StatusCode::NOT_IMPLEMENTED,
            ApiError::NotFound | ApiError::ManifestNotFound => StatusCode::NOT_FOUND,
            ApiError::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            ApiError::Stalled => StatusCode::REQUEST_TIMEOUT,
            ApiError::Running => StatusCode::CONFLICT,
            ApiError::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            ApiError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            ApiError::ContentType | ApiError::ContentEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ApiError::Content(ContentError::Range { .. }) => StatusCode::RANGE_NOT_SATISFIABLE,
            ApiError::TooManyKeys { .. } => StatusCode::TOO_MANY_REQUESTS,
            ApiError::Refused(refusal) if refusal.limit().is_some() => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            ApiError::Refused(Refusal {
                problem: Problem::Outside { .. },
                ..
            }) => StatusCode::FORBIDDEN,
            ApiError::Refused(_) => StatusCode::BAD_REQUEST,
            ApiError::Deploy(error) => publish_status(error),
            ApiError::Control(error) => control_status(error),
            ApiError::Draft(error) => failure::status(error),
            ApiError::Content(ContentError::Read(error)) if error.is_unavailable() => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            ApiError::Busy | ApiError::Unknown | ApiError::Cut => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::Audit(_) => StatusCode::INSUFFICIENT_STORAGE,
            ApiError::Content(ContentError::Read(_) | ContentError::Size { .. }) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// The members of the body beside `id`.
    fn members(&self) -> Value {
        match self {
            ApiError::Refused(refusal) => refused(refusal),
            ApiError::Deploy(error) => publish_members(error),
            ApiError::Control(error) => control_members(error),
            ApiError::Draft(error) => failure::members(error),
            ApiError::Value { member, rule } => {
                json!({ "error": self.to_string(), "message": format!("`{member}` has to be {rule}") })
            }
            ApiError::Order(source) => {
                json!({ "error": self.to_string(), "message": source.to_string() })
            }
            ApiError::Path { path, source } => {
                json!({ "error": self.to_string(), "path": path, "message": source.to_string() })
            }
            ApiError::TooLarge { limit_bytes } => {
                json!({ "error": self.to_string(), "limitBytes": limit_bytes })
            }
            ApiError::Parameters(rejection) => {
                json!({ "error": self.to_string(), "message": rejection.body_text() })
            }
            ApiError::Parameter { name } => {
                json!({ "error": self.to_string(), "message": format!("there is no parameter `{name}` here") })
            }
            ApiError::Body(rejection) => {
                json!({ "error": self.to_string(), "message": rejection.body_text() })
            }
            ApiError::Outside { path, within } => {
                json!({ "error": self.to_string(), "path": path.as_str(), "within": within })
            }
            ApiError::Key(error) => {
                json!({ "error": self.to_string(), "message": error.to_string() })
            }
            ApiError::Audit(_) => json!({ "error": "Storage full" }),
            ApiError::Unknown | ApiError::Cut => json!({ "error": "Temporarily unavailable" }),
            ApiError::Content(ContentError::Range { .. }) => {
                json!({ "error": "Range not satisfiable" })
            }
            ApiError::Content(ContentError::Read(error)) if error.is_unavailable() => {
                json!({ "error": "Temporarily unavailable" })
            }
            ApiError::Content(ContentError::Read(_) | ContentError::Size { .. }) => {
                json!({ "error": "internal" })
            }
            ApiError::NotFound
            | ApiError::ManifestNotFound
            | ApiError::MethodNotAllowed
            | ApiError::Query
            | ApiError::Version
            | ApiError::MissingKey
            | ApiError::InvalidKey
            | ApiError::TooManyKeys { .. }
            | ApiError::DeploysOff
            | ApiError::ExpiredKey
            | ApiError::Scope(_)
            | ApiError::RestrictedKey
            | ApiError::OwnKey
            | ApiError::NotConfigured(_)
            | ApiError::Token
            | ApiError::Origin
            | ApiError::ContentType
            | ApiError::ContentEncoding
            | ApiError::IdempotencyKey
            | ApiError::ContentSha256
            | ApiError::Running
            | ApiError::Stalled
            | ApiError::Incomplete
            | ApiError::Busy
            | ApiError::PreconditionFailed => json!({ "error": self.to_string() }),
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match self {
            ApiError::MissingKey | ApiError::InvalidKey | ApiError::ExpiredKey => {
                headers.insert(
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static("Bearer realm=\"seance\""),
                );
            }
            ApiError::TooManyKeys { retry_seconds } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(*retry_seconds));
            }
            ApiError::Content(ContentError::Range { size }) => {
                if let Ok(value) = HeaderValue::try_from(format!("bytes */{size}")) {
                    headers.insert(header::CONTENT_RANGE, value);
                }
            }
            _ if self.status() == StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
            }
            _ => {}
        }
        headers
    }
}

/// What the audit calls a deed that was answered so: a refusal is the caller's matter, a failure the operator's.
pub fn outcome(status: StatusCode) -> Outcome {
    if status.is_server_error() {
        Outcome::Failure
    } else {
        Outcome::Denied
    }
}

/// Leaves the answer to [`finish`], which knows the request.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// Gives every failure its JSON body, and logs the cause of those that are ours.
pub async fn finish(mut router: Router, request: Request) -> Response {
    let id = request.headers().get(REQUEST_ID).cloned();
    // A router is ready at any time.
    let mut response = router.call(request).await.unwrap_or_else(|e| match e {});
    response.headers_mut().insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let error = match response.extensions_mut().remove::<Arc<ApiError>>() {
        Some(error) => error,
        None if response.status() == StatusCode::METHOD_NOT_ALLOWED => {
            Arc::new(ApiError::MethodNotAllowed)
        }
        None => return response,
    };
    let id = id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or("-");
    let status = error.status();
    // What the operator left switched off is no failure, and anybody can ask for it.
    if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED {
        let error = chain(&*error);
        tracing::error!(%error, id, status = status.as_u16(), "a request failed");
    }
    let mut members = error.members();
    members["id"] = json!(id);
    let mut answer = (status, error.headers(), members.to_string()).into_response();
    let headers = answer.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if status == StatusCode::METHOD_NOT_ALLOWED
        && let Some(allow) = response.headers().get(header::ALLOW)
    {
        headers.insert(header::ALLOW, allow.clone());
    }
    answer
}
