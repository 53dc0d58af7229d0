//! A provider's failures in our terms.

use std::error::Error;

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use super::client::THROTTLED_CODES;
use crate::store::{BoxError, StoreError};

/// What was being done to what, for errors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deed<'a> {
    pub action: &'static str,
    pub subject: &'a str,
}

impl Deed<'_> {
    /// Puts the SDK's error into our terms.
    pub(super) fn failed<E>(self, error: SdkError<E, HttpResponse>) -> StoreError
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let status = error
            .raw_response()
            .map(|response| response.status().as_u16());
        let code = error.code().unwrap_or("").to_owned();
        let source = error.into_source().unwrap_or_else(Into::into);
        match status {
            Some(status) => self.refused(status, code, source),
            None => StoreError::Unreachable {
                action: self.action,
                subject: self.subject.to_owned(),
                source,
            },
        }
    }

    /// A failure after a try whose answer was lost: that one may have succeeded.
    pub(super) fn unanswered(self, last: StoreError) -> StoreError {
        StoreError::Unreachable {
            action: self.action,
            subject: self.subject.to_owned(),
            source: last.into(),
        }
    }

    fn refused(self, status: u16, code: String, source: BoxError) -> StoreError {
        let (action, subject) = (self.action, self.subject.to_owned());
        match (code.as_str(), status) {
            ("RequestTimeTooSkewed", _) => StoreError::ClockSkew {
                action,
                subject,
                source,
            },
            ("NoSuchBucket", _) => StoreError::NoBucket {
                action,
                subject,
                source,
            },
            ("QuotaExceeded" | "InsufficientCapacity" | "XMinioStorageFull", _) | (_, 507) => {
                StoreError::Full {
                    action,
                    subject,
                    source: Some(source),
                }
            }
            (throttled, _) if THROTTLED_CODES.contains(&throttled) => StoreError::Throttled {
                action,
                subject,
                source,
            },
            (_, 429 | 503) => StoreError::Throttled {
                action,
                subject,
                source,
            },
            (_, 401 | 403) => StoreError::Denied {
                action,
                subject,
                code,
                source,
            },
            _ => StoreError::Refused {
                action,
                subject,
                status,
                code,
                source,
            },
        }
    }
}

/// Whether a lookup failed because the object is not there. A HEAD has no body
/// and hence no code; a missing bucket has one wherever there is a body.
pub(super) fn is_absent<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let status = error
        .raw_response()
        .map(|response| response.status().as_u16());
    status == Some(404) && error.code() != Some("NoSuchBucket")
}

/// Whether a conditional write found its condition untrue.
pub(super) fn is_precondition_failed<E>(error: &SdkError<E, HttpResponse>) -> bool {
    error
        .raw_response()
        .is_some_and(|response| response.status().as_u16() == 412)
}

/// The provider's error code, if it answered with one.
pub(super) fn has_code<E: ProvideErrorMetadata>(
    error: &SdkError<E, HttpResponse>,
    codes: &[&str],
) -> bool {
    error.code().is_some_and(|code| codes.contains(&code))
}
