//! The one place that asks what time it is.

use jiff::Timestamp;

pub fn now() -> Timestamp {
    Timestamp::now()
}

/// RFC 3339 in UTC with milliseconds, the form of every timestamp on the wire.
pub fn rfc3339(timestamp: Timestamp) -> String {
    format!("{timestamp:.3}")
}
