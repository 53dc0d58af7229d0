//! The name of an object.

use std::{fmt, sync::Arc};

/// S3 takes at most 1024 bytes of UTF-8 as a key.
const MAX_BYTES: usize = 1024;
/// A segment becomes a file name, and file systems take at most 255 bytes.
const MAX_SEGMENT_BYTES: usize = 255;

/// The name of an object: `/`-separated, relative, without empty, `.` or `..`
/// segments or control characters, at most 1024 bytes with segments of at most
/// 255. One that exists is safe as a path below the store's directory and as an
/// S3 key. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("an object key is longer than {MAX_BYTES} bytes")]
    TooLong,
    #[error("a segment of an object key is longer than {MAX_SEGMENT_BYTES} bytes")]
    SegmentTooLong,
    #[error("an object key has an empty segment")]
    EmptySegment,
    #[error("an object key has a `.` or `..` segment")]
    DotSegment,
    #[error("an object key has a control character")]
    ControlCharacter,
}

impl Key {
    /// Takes `text` as a key if it is one.
    pub fn parse(text: &str) -> Result<Key, KeyError> {
        if text.len() > MAX_BYTES {
            return Err(KeyError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(KeyError::ControlCharacter);
        }
        for segment in text.split('/') {
            match segment {
                "" => return Err(KeyError::EmptySegment),
                "." | ".." => return Err(KeyError::DotSegment),
                long if long.len() > MAX_SEGMENT_BYTES => return Err(KeyError::SegmentTooLong),
                _ => {}
            }
        }
        Ok(Key(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of the directory this object stands in (`None` at the top), and
    /// its name there.
    pub fn split(&self) -> (Option<&str>, &str) {
        match self.0.rsplit_once('/') {
            Some((parent, name)) => (Some(parent), name),
            None => (None, &self.0),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_never_leaves_the_directory_it_is_joined_to(text in "[a./\\\\\0é~-]{0,12}") {
            if let Ok(key) = Key::parse(&text) {
                let parts: Vec<_> = Path::new(key.as_str()).components().collect();
                prop_assert!(parts.iter().all(|part| matches!(part, Component::Normal(_))));
                prop_assert_eq!(parts.len(), text.split('/').count());
            }
        }

        #[test]
        fn a_key_is_the_text_it_was_parsed_from(text in "[a-zA-Z0-9 _é][a-zA-Z0-9 ._é]{0,40}(/[a-z][a-z0-9.]{0,20}){0,5}") {
            let key = Key::parse(&text);
            prop_assert_eq!(key.as_ref().map(Key::as_str), Ok(text.as_str()));
        }

        #[test]
        fn a_key_splits_into_parent_and_name(parent in "[a-z]{1,8}(/[a-z]{1,8}){0,3}", name in "[a-z.]{3,8}") {
            prop_assume!(name != "..");
            let key = Key::parse(&format!("{parent}/{name}"));
            prop_assert_eq!(key.as_ref().map(Key::split), Ok((Some(parent.as_str()), name.as_str())));
        }
    }

    #[test]
    fn unsafe_texts_are_refused_with_their_reason() {
        for (text, why) in [
            ("", KeyError::EmptySegment),
            ("/a", KeyError::EmptySegment),
            ("a/", KeyError::EmptySegment),
            ("a//b", KeyError::EmptySegment),
            ("../a", KeyError::DotSegment),
            ("a/./b", KeyError::DotSegment),
            ("a\nb", KeyError::ControlCharacter),
            ("a\0b", KeyError::ControlCharacter),
        ] {
            assert_eq!(Key::parse(text), Err(why), "{text:?}");
        }
        assert_eq!(Key::parse(&"é".repeat(128)), Err(KeyError::SegmentTooLong));
        assert_eq!(Key::parse(&"ab/".repeat(400)), Err(KeyError::TooLong));
        assert!(Key::parse(&"é".repeat(127)).is_ok());
    }
}
