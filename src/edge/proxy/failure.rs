//! Why an upstream did not answer, and what the client is told.

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};

use super::dial::DialError;
use super::upload::Phase;

/// When a client may come back after 503, seconds.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// With 405 (RFC 9110 §15.5.6): what an upstream may understand.
const ALLOWED: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("every upstream is down by its health checks")]
    NoUpstream,
    #[error("the upstream has as many requests as it may, and as many wait")]
    Full,
    #[error("the upstream cannot be reached")]
    Connect(#[source] DialError),
    #[error("the upstream took no connection in time")]
    ConnectTimeout,
    #[error("the upstream gave no valid answer")]
    Answer(#[source] hyper::Error),
    #[error("the upstream switched protocols unasked")]
    Unasked,
    #[error("the length of the upstream's answer can be read in two ways")]
    Framing,
    #[error("the upstream did not answer in time")]
    FirstByteTimeout,
    #[error("the upstream stopped taking the request's body")]
    UploadTimeout,
    #[error("the client stopped sending the request's body")]
    ClientStalled,
    #[error("the client's connection broke within the request's body")]
    ClientGone,
    #[error("the request cannot be passed on")]
    Request(#[source] http::Error),
    #[error("an upgraded connection cannot be made by CONNECT here")]
    ConnectMethod,
    #[error("TRACE would show the client's secrets to whoever reads the answer")]
    TraceMethod,
}

impl Failure {
    /// No answer in time, the request's body being in this phase.
    pub fn late(phase: Phase) -> Failure {
        match phase {
            Phase::Upstream => Failure::UploadTimeout,
            Phase::Client => Failure::ClientStalled,
            Phase::Broken => Failure::ClientGone,
            Phase::Sent => Failure::FirstByteTimeout,
        }
    }

    /// The exchange broke, the request's body being in this phase.
    pub fn broken(error: hyper::Error, phase: Phase) -> Failure {
        match phase {
            Phase::Broken => Failure::ClientGone,
            Phase::Upstream | Phase::Client | Phase::Sent => Failure::Answer(error),
        }
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Failure::NoUpstream | Failure::Full => StatusCode::SERVICE_UNAVAILABLE,
            Failure::Connect(DialError::NoUpgrade) | Failure::ConnectMethod => {
                StatusCode::NOT_IMPLEMENTED
            }
            Failure::TraceMethod => StatusCode::METHOD_NOT_ALLOWED,
            Failure::Connect(_) | Failure::Answer(_) | Failure::Unasked | Failure::Framing => {
                StatusCode::BAD_GATEWAY
            }
            Failure::ConnectTimeout | Failure::FirstByteTimeout | Failure::UploadTimeout => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Failure::ClientStalled => StatusCode::REQUEST_TIMEOUT,
            Failure::ClientGone | Failure::Request(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// Whether it speaks against the upstream's health.
    pub fn is_upstreams_fault(&self) -> bool {
        match self {
            Failure::Connect(error) => !matches!(error, DialError::NoUpgrade),
            Failure::ConnectTimeout
            | Failure::Answer(_)
            | Failure::Unasked
            | Failure::Framing
            | Failure::FirstByteTimeout
            | Failure::UploadTimeout => true,
            Failure::NoUpstream
            | Failure::Full
            | Failure::ClientStalled
            | Failure::ClientGone
            | Failure::Request(_)
            | Failure::ConnectMethod
            | Failure::TraceMethod => false,
        }
    }

    fn told(&self) -> &'static str {
        match self.status() {
            StatusCode::BAD_GATEWAY => "Bad gateway",
            StatusCode::GATEWAY_TIMEOUT => "Gateway timeout",
            StatusCode::SERVICE_UNAVAILABLE => "Temporarily unavailable",
            StatusCode::NOT_IMPLEMENTED => "This upgrade is not offered",
            StatusCode::METHOD_NOT_ALLOWED => "This method is not passed on",
            StatusCode::REQUEST_TIMEOUT => "The body stopped arriving",
            _ => "Invalid request",
        }
    }

    pub fn answer(&self, id: &HeaderValue) -> Response<Body> {
        let id = id.to_str().unwrap_or("-");
        let body = serde_json::json!({ "error": self.told(), "id": id }).to_string();
        let mut response = Response::new(Body::from(body));
        let status = self.status();
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        let no_store = HeaderValue::from_static("no-store");
        headers.insert(header::CACHE_CONTROL, no_store);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, RETRY_SECONDS);
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, ALLOWED);
        }
        response
    }
}
