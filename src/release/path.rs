//! The name of a published file, checked once at the door.
//!
//! A `ReleasePath` is safe to append to `<prefix>/` as an object key, to join to a directory, and to
//! show to anybody; nothing below the door looks at a raw path string again.

mod kind;
#[cfg(test)]
mod tests;

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// Longest object key S3 and its lookalikes accept, in bytes of UTF-8.
pub const KEY_BYTES: usize = 1024;

/// Longest path segment a filesystem store can hold, in bytes (`NAME_MAX`).
const SEGMENT_BYTES: usize = 255;

/// First segment that belongs to the release log and to staged content.
const RESERVED: &str = ".seance";

/// A relative path in Unicode normalisation form C, with `/` between segments.
///
/// Cloning shares the text: the index, a record and a job may all hold one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ReleasePath(Arc<str>);

/// The rule that a refused path breaks. The caller knows, and names, the path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("a path must not be empty")]
    Empty,
    #[error("a path must be relative, without a leading `/`")]
    Absolute,
    #[error("a path must not contain an empty segment")]
    EmptySegment,
    #[error("a path must not contain a `.` segment")]
    CurrentDirectory,
    #[error("a path must not contain a `..` segment")]
    ParentDirectory,
    #[error("a path must not contain a backslash")]
    Backslash,
    #[error("a path must not contain the control character U+{:04X}", u32::from(*.0))]
    Control(char),
    #[error("a path segment must be at most {SEGMENT_BYTES} bytes, this one has {0}")]
    LongSegment(usize),
    #[error("a path must be at most {limit} bytes here, this one has {actual}")]
    TooLong { actual: usize, limit: usize },
    #[error("the directory `{RESERVED}` is reserved")]
    Reserved,
}

impl ReleasePath {
    /// Parses a path that is a whole object key by itself, so at most [`KEY_BYTES`] long.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        Self::parse_within(text, KEY_BYTES)
    }

    /// Parses a path of at most `max_bytes` bytes; see [`longest_under`].
    ///
    /// Text in another normalisation form is taken in form C (macOS tools write form D), so two
    /// spellings of one name are one path. All rules hold for the normalised text.
    pub fn parse_within(text: &str, max_bytes: usize) -> Result<Self, PathError> {
        let path: Arc<str> = normalised(text).into();
        check(&path, max_bytes)?;
        Ok(Self(path))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment.
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// The directories above this path, nearest first: `a/b/c` has `a/b` and `a`.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(self.0.rsplit_once('/').map(|(parent, _)| parent), |path| {
            path.rsplit_once('/').map(|(parent, _)| parent)
        })
    }
}

/// The spelling under which `text` is published, if it is: Unicode normalisation form C.
pub fn normalised(text: &str) -> Cow<'_, str> {
    if is_nfc(text) {
        text.into()
    } else {
        text.nfc().collect::<String>().into()
    }
}

/// Longest path, in bytes, whose key `<prefix>/<path>` still fits [`KEY_BYTES`].
pub fn longest_under(prefix: &str) -> usize {
    match prefix.len() {
        0 => KEY_BYTES,
        bytes => KEY_BYTES.saturating_sub(bytes + 1),
    }
}

fn check(path: &str, limit: usize) -> Result<(), PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    if path.len() > limit {
        return Err(PathError::TooLong {
            actual: path.len(),
            limit,
        });
    }
    if path.starts_with('/') {
        return Err(PathError::Absolute);
    }
    for character in path.chars() {
        match character {
            '\\' => return Err(PathError::Backslash),
            // XML cannot carry the two noncharacters, and an S3 listing is XML.
            '\u{fffe}' | '\u{ffff}' => return Err(PathError::Control(character)),
            _ if character.is_control() => return Err(PathError::Control(character)),
            _ => {}
        }
    }
    for segment in path.split('/') {
        match segment {
            "" => return Err(PathError::EmptySegment),
            "." => return Err(PathError::CurrentDirectory),
            ".." => return Err(PathError::ParentDirectory),
            _ if segment.len() > SEGMENT_BYTES => {
                return Err(PathError::LongSegment(segment.len()));
            }
            _ => {}
        }
    }
    // In any case: a bucket copied to a case-insensitive disk must not lay files over the log.
    let first = path.split_once('/').map_or(path, |(first, _)| first);
    if first.eq_ignore_ascii_case(RESERVED) {
        return Err(PathError::Reserved);
    }
    Ok(())
}

impl fmt::Display for ReleasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for ReleasePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ReleasePath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        Self::parse(&text)
    }
}

impl From<ReleasePath> for String {
    fn from(path: ReleasePath) -> Self {
        path.0.as_ref().into()
    }
}
