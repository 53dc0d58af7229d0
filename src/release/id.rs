//! The names of deploys and of what they bring.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store::Key;

/// Above the staged content of all deploys, as `<release id>/<index of the file>`.
pub const CONTENT: &str = ".seance/content/";

/// Names a deploy from its first byte on; a UUIDv7, so it sorts by, and tells, the time of its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ReleaseId(Uuid);

/// Where the bytes of a file are: the `index`th file of the deploy that first brought them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ContentKey {
    pub id: ReleaseId,
    pub index: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum IdError {
    #[error("`{0}` is not a release id")]
    Release(String),
    #[error("`{0}` is not the name of staged content")]
    Content(String),
}

impl ReleaseId {
    pub fn generate() -> ReleaseId {
        ReleaseId(Uuid::now_v7())
    }

    /// When the deploy began, milliseconds of the Unix epoch by the clock of its node.
    pub fn began_ms(&self) -> u64 {
        // RFC 9562 §5.7: the first 48 bits are the time.
        (self.0.as_u128() >> 80) as u64
    }
}

impl ContentKey {
    pub fn key(&self) -> Key {
        own_key(format!("{CONTENT}{self}"))
    }
}

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for ReleaseId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<ReleaseId, IdError> {
        match Uuid::try_parse(text) {
            // One spelling only, since the text is part of object keys.
            Ok(uuid) if uuid.get_version_num() == 7 && uuid.hyphenated().to_string() == text => {
                Ok(ReleaseId(uuid))
            }
            _ => Err(IdError::Release(text.to_owned())),
        }
    }
}

impl fmt::Display for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.id, self.index)
    }
}

impl FromStr for ContentKey {
    type Err = IdError;

    fn from_str(text: &str) -> Result<ContentKey, IdError> {
        let parts = text.split_once('/').and_then(|(id, index)| {
            let key = ContentKey {
                id: id.parse().ok()?,
                index: index.parse().ok()?,
            };
            (key.to_string() == text).then_some(key)
        });
        parts.ok_or_else(|| IdError::Content(text.to_owned()))
    }
}

impl TryFrom<String> for ReleaseId {
    type Error = IdError;

    fn try_from(text: String) -> Result<ReleaseId, IdError> {
        text.parse()
    }
}

impl From<ReleaseId> for String {
    fn from(id: ReleaseId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for ContentKey {
    type Error = IdError;

    fn try_from(text: String) -> Result<ContentKey, IdError> {
        text.parse()
    }
}

impl From<ContentKey> for String {
    fn from(key: ContentKey) -> String {
        key.to_string()
    }
}

/// A key made of our own fixed words, digits and hyphens.
pub(super) fn own_key(text: String) -> Key {
    #[expect(
        clippy::expect_used,
        reason = "no outside text is in it, so it is a key by construction"
    )]
    Key::parse(&text).expect("a key of fixed words and numbers")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_tells_when_the_deploy_began() {
        let before = u64::try_from(Timestamp::now().as_millisecond()).unwrap();
        let id = ReleaseId::generate();
        let after = u64::try_from(Timestamp::now().as_millisecond()).unwrap();
        assert!((before..=after).contains(&id.began_ms()));
    }

    proptest! {
        #[test]
        fn content_keys_have_one_spelling(text in "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/[+0]?[0-9]{1,9}") {
            if let Ok(key) = text.parse::<ContentKey>() {
                prop_assert_eq!(key.to_string(), text);
            }
        }
    }
}
