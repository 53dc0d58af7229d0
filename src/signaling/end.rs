//! Why a connection ends: the close code and reason that its peer is told, and the name under which it is counted.

use super::frame::{Violation, code};
use super::hub::Refusal;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The peer closed the WebSocket; the code is answered with itself.
    Closed(u16),
    /// The connection ended without a close frame.
    Gone,
    /// An HTTP request that asked for no WebSocket was answered.
    Http,
    HandshakeTimeout,
    HandshakeRefused,
    Protocol(Violation),
    CloseCode(u16),
    NotUtf8,
    MessageTooBig,
    MessageRate,
    ByteRate,
    TopicName,
    TooManyTopics,
    TopicFull,
    TooManyConnections,
    TooManyFromAddress,
    Idle,
    NoPong,
    Stalled,
    Restart,
    TokenExpired,
    Forbidden,
    /// The fragments of a message came too slowly.
    Unfinished,
}

/// The names under which ends are counted; [`End::count_as`] is an index into it.
pub const NAMES: [&str; 22] = [
    "closed",
    "gone",
    "http",
    "handshake_timeout",
    "handshake_refused",
    "protocol_error",
    "not_utf8",
    "message_too_big",
    "message_rate",
    "byte_rate",
    "topic_name",
    "too_many_topics",
    "topic_full",
    "too_many_connections",
    "too_many_from_address",
    "idle",
    "no_pong",
    "stalled",
    "restart",
    "token_expired",
    "forbidden",
    "unfinished",
];

impl End {
    pub fn count_as(self) -> usize {
        match self {
            Self::Closed(_) => 0,
            Self::Gone => 1,
            Self::Http => 2,
            Self::HandshakeTimeout => 3,
            Self::HandshakeRefused => 4,
            Self::Protocol(_) | Self::CloseCode(_) => 5,
            Self::NotUtf8 => 6,
            Self::MessageTooBig => 7,
            Self::MessageRate => 8,
            Self::ByteRate => 9,
            Self::TopicName => 10,
            Self::TooManyTopics => 11,
            Self::TopicFull => 12,
            Self::TooManyConnections => 13,
            Self::TooManyFromAddress => 14,
            Self::Idle => 15,
            Self::NoPong => 16,
            Self::Stalled => 17,
            Self::Restart => 18,
            Self::TokenExpired => 19,
            Self::Forbidden => 20,
            Self::Unfinished => 21,
        }
    }

    /// The close frame's code and reason; none where no close frame can be sent.
    pub fn close(self) -> Option<(u16, &'static str)> {
        Some(match self {
            Self::Gone | Self::Http | Self::HandshakeTimeout | Self::HandshakeRefused => {
                return None;
            }
            Self::Closed(code) => (code, ""),
            Self::CloseCode(code) => (code, "bad close frame"),
            Self::Protocol(violation) => (code::PROTOCOL_ERROR, violation.reason()),
            Self::NotUtf8 => (code::INVALID_PAYLOAD, "text is not UTF-8"),
            Self::MessageTooBig => (code::MESSAGE_TOO_BIG, "message too big"),
            Self::MessageRate => (code::POLICY_VIOLATION, "too many messages per second"),
            Self::ByteRate => (code::POLICY_VIOLATION, "too many bytes per second"),
            Self::TopicName => (code::POLICY_VIOLATION, "topic name too long"),
            Self::TooManyTopics => (code::POLICY_VIOLATION, "too many topics on one connection"),
            Self::TopicFull => (code::TRY_AGAIN_LATER, "topic has too many subscribers"),
            Self::TooManyConnections => (code::TRY_AGAIN_LATER, "too many connections"),
            Self::TooManyFromAddress => (
                code::TRY_AGAIN_LATER,
                "too many connections from this address",
            ),
            Self::Idle => (code::POLICY_VIOLATION, "idle for too long"),
            Self::NoPong => (code::POLICY_VIOLATION, "ping not answered"),
            Self::Stalled => (code::TRY_AGAIN_LATER, "too slow to read"),
            Self::Restart => (code::SERVICE_RESTART, "server restarts"),
            Self::TokenExpired => (code::POLICY_VIOLATION, "token expired"),
            Self::Forbidden => (code::POLICY_VIOLATION, "not allowed by the token"),
            Self::Unfinished => (code::POLICY_VIOLATION, "message not finished in time"),
        })
    }
}

impl From<Violation> for End {
    fn from(violation: Violation) -> Self {
        Self::Protocol(violation)
    }
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TopicName => Self::TopicName,
            Refusal::TooManyTopics => Self::TooManyTopics,
            Refusal::TopicFull => Self::TopicFull,
        }
    }
}
