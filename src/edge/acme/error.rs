//! What can go wrong between us and a CA, told so that the next try can be decided.

use std::fmt;
use std::time::Duration;

use rustls_acme::acme;
use serde::Deserialize;
use tokio::time::Instant;

use super::attempts::Kind;
use super::certificate::CertificateError;
use crate::store::{BoxError, StoreError};

/// Details are the CA's words; more of them than this help nobody.
const DETAIL_MOST: usize = 1000;
/// What a CA asks for bars a name no longer than that.
const RETRY_MOST: Duration = Duration::from_secs(24 * 3600);
/// The same when it says that we come too often: CAs count by the week.
const RATE_LIMIT_MOST: Duration = Duration::from_secs(7 * 24 * 3600);

/// A failed step on the way to a certificate.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    #[error("the CA cannot be reached (it was to {action})")]
    Unreachable {
        action: &'static str,
        #[source]
        source: BoxError,
    },
    #[error("the CA did not answer in time when asked to {action}")]
    Timeout { action: &'static str },
    #[error("the CA does not show its directory")]
    Directory {
        #[source]
        source: Box<AcmeError>,
    },
    #[error("the CA did not answer a moment ago; it is asked again soon")]
    Silent { again: Instant },
    #[error("the CA cannot {action} now (status {status})")]
    Unavailable {
        action: &'static str,
        status: u16,
        retry_after: Option<Duration>,
    },
    #[error("the CA refused to {action}: {problem}")]
    Refused {
        action: &'static str,
        problem: Problem,
        retry_after: Option<Duration>,
    },
    #[error("cannot understand what the CA answered when asked to {action}")]
    Answer {
        action: &'static str,
        #[source]
        source: BoxError,
    },
    #[error("the CA's answer, when asked to {action}, has no {header}")]
    Header {
        action: &'static str,
        header: &'static str,
    },
    #[error("the CA could not validate the name by {kind}: {problem}")]
    Validation { kind: Kind, problem: Problem },
    #[error("the CA gave up the order: {problem}")]
    Order { problem: Problem },
    #[error("the CA offers no way to validate the name that we know")]
    NoChallenge,
    #[error("the CA wants external account binding: set `acme.eab_key_id` and its key")]
    BindingRequired,
    #[error("the order took too long")]
    Deadline,
    #[error("enough validations of the name failed for now")]
    Paused { again: jiff::Timestamp },
    #[error("cannot make a key or sign with it")]
    Crypto(#[source] BoxError),
    #[error("cannot read the saved account key")]
    AccountKey(#[source] BoxError),
    #[error("the CA's certificate is not usable")]
    Certificate(#[source] CertificateError),
    #[error("cannot write as JSON what is to be kept")]
    Json(#[source] serde_json::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("`{0}` cannot be kept in the store under this name")]
    Name(String),
}

/// A problem document (RFC 7807, RFC 8555 §6.7).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: String,
    detail: String,
}

impl Problem {
    /// Reads a body that should be a problem document; another one has no kind.
    pub fn read(body: &[u8]) -> Problem {
        serde_json::from_slice(body).unwrap_or_else(|_| Problem {
            kind: String::new(),
            detail: String::from_utf8_lossy(body).into_owned(),
        })
    }

    /// Whether it is the error `name` of RFC 8555 §6.7.
    pub fn is(&self, name: &str) -> bool {
        self.kind.strip_prefix("urn:ietf:params:acme:error:") == Some(name)
    }
}

impl From<Option<&acme::Problem>> for Problem {
    fn from(problem: Option<&acme::Problem>) -> Problem {
        let text = |part: fn(&acme::Problem) -> Option<&String>| {
            problem.and_then(part).cloned().unwrap_or_default()
        };
        Problem {
            kind: text(|problem| problem.typ.as_ref()),
            detail: text(|problem| problem.detail.as_ref()),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.rsplit(':').next().unwrap_or_default();
        let detail = self.detail.chars().take(DETAIL_MOST);
        let detail: String = detail.filter(|c| !c.is_control()).collect();
        match (kind, detail.as_str()) {
            ("", "") => f.write_str("it did not say why"),
            ("", detail) => f.write_str(detail),
            (kind, "") => f.write_str(kind),
            (kind, detail) => write!(f, "{kind}: {detail}"),
        }
    }
}

impl AcmeError {
    /// The error of RFC 8555 §6.7 that the CA answered with is `name`.
    pub fn is_problem(&self, name: &str) -> bool {
        matches!(self, AcmeError::Refused { problem, .. } if problem.is(name))
    }

    /// The CA is away: nothing is known about what it would say.
    pub fn is_outage(&self) -> bool {
        matches!(
            self,
            AcmeError::Directory { .. }
                | AcmeError::Unreachable { .. }
                | AcmeError::Timeout { .. }
                | AcmeError::Silent { .. }
                | AcmeError::Unavailable { .. }
        )
    }

    /// How long the CA asks us to wait, as far as that is obeyed: a day, or a week when it limits us.
    pub fn retry_after(&self) -> Option<Duration> {
        let asked = match self {
            AcmeError::Unavailable { retry_after, .. } | AcmeError::Refused { retry_after, .. } => {
                *retry_after
            }
            AcmeError::Directory { source } => return source.retry_after(),
            _ => None,
        };
        let most = match self.is_problem("rateLimited") {
            true => RATE_LIMIT_MOST,
            false => RETRY_MOST,
        };
        asked.map(|asked| asked.min(most))
    }

    /// A word for the metrics.
    pub fn outcome(&self) -> &'static str {
        match self {
            _ if self.is_outage() => "unreachable",
            AcmeError::Validation { .. } => "validation_failed",
            _ if self.is_problem("rateLimited") => "rate_limited",
            AcmeError::Store(_) => "storage_failed",
            _ => "refused",
        }
    }
}
