//! Why a deploy body was not taken.

use std::fmt;
use std::io;

use super::decompress::Corrupt;
use crate::release::path::{PathError, ReleasePath};

/// `E` is the error of the [`Sink`](super::Sink) that the files go to.
#[derive(Debug, thiserror::Error)]
pub enum BodyError<E: std::error::Error + 'static> {
    /// The sender's fault: 413 when [`Refusal::limit`] is some, else 400.
    #[error(transparent)]
    Refused(Refusal),
    /// The body stopped arriving.
    #[error("cannot read the deploy body")]
    Read(#[source] io::Error),
    #[error("cannot store a deployed file")]
    Sink(#[source] E),
}

/// What is wrong with the body, and where.
#[derive(Debug, thiserror::Error)]
#[error("{problem} ({at}{})", InFile(.file.as_ref()))]
pub struct Refusal {
    pub problem: Problem,
    pub at: Position,
    /// The file being read, if any.
    pub file: Option<FileName>,
}

/// A place in the decompressed body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Counted from 1.
    pub line: u64,
    /// Bytes before this place.
    pub offset: u64,
}

/// Names a file of the body even where its `path` comes after what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName {
    /// Place in `files`, counted from 0.
    pub index: usize,
    pub path: Option<ReleasePath>,
}

#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("the body is not JSON: {0}")]
    Syntax(Syntax),
    #[error("`{member}` must be {expected}")]
    WrongType {
        member: &'static str,
        expected: &'static str,
    },
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("the member `{0}` stands twice in one object")]
    DuplicateMember(String),
    #[error("invalid file path {path:?}: {rule}")]
    Path { path: String, rule: PathError },
    #[error("this key may publish to {}, not to `{path}`", within.join(", "))]
    Outside {
        path: ReleasePath,
        within: Vec<String>,
    },
    #[error("the path `{0}` stands twice in this deploy")]
    DuplicatePath(ReleasePath),
    #[error("`{file}` is a file here and also the directory of `{below}`")]
    FileAndDirectory {
        file: ReleasePath,
        below: ReleasePath,
    },
    #[error("`content` is not base64: {0}")]
    Base64(Base64Error),
    #[error("the body cannot be decompressed as {}: {}", .0.encoding, .0.cause)]
    Compression(Corrupt),
    #[error(transparent)]
    Limit(Limit),
}

/// How the text departs from RFC 8259.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Syntax {
    #[error("it ends in the middle")]
    End,
    #[error("expected {0}")]
    Expected(&'static str),
    #[error("a string holds a bare control character")]
    ControlCharacter,
    #[error("a string is not UTF-8")]
    Utf8,
    #[error("a string holds an unknown escape")]
    Escape,
    #[error("a string escapes half of a surrogate pair")]
    Surrogate,
    #[error("something follows the document")]
    TrailingBytes,
}

/// How a `content` departs from RFC 4648.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Base64Error {
    #[error("unexpected byte {:?}", char::from(*.0))]
    Character(u8),
    #[error("it mixes the standard and the url-safe alphabet")]
    MixedAlphabets,
    #[error("data follows the padding")]
    DataAfterPadding,
    #[error("the padding does not fit the length")]
    Padding,
    #[error("it ends within a byte")]
    Length,
    /// What a cut-off content looks like; no encoder writes it.
    #[error("the unused bits of its last character are not zero")]
    TrailingBits,
}

/// Which limit the body exceeds, and the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    #[error("the body exceeds the limit of {0} bytes, decompressed")]
    Body(u64),
    #[error("the body exceeds the limit of {0} files")]
    Files(usize),
    #[error("a file exceeds the limit of {0} bytes")]
    File(u64),
    #[error("a `path` exceeds the limit of {0} bytes as sent")]
    Path(usize),
    #[error("the document exceeds the limit of {0} levels of nesting")]
    Depth(usize),
    #[error("an object exceeds the limit of {0} members")]
    Members(usize),
    #[error("the name of a member exceeds the limit of {0} bytes")]
    MemberName(usize),
}

impl Refusal {
    /// The limit that was exceeded, when that is what is wrong.
    pub fn limit(&self) -> Option<Limit> {
        match self.problem {
            Problem::Limit(limit) => Some(limit),
            _ => None,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, offset {}", self.line, self.offset)
    }
}

struct InFile<'a>(Option<&'a FileName>);

impl fmt::Display for InFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(FileName { index, path: None }) => write!(f, ", file {index}"),
            Some(FileName {
                index,
                path: Some(path),
            }) => write!(f, ", file {index} `{path}`"),
        }
    }
}

/// An error of the layers below, which know neither sinks nor files.
#[derive(Debug)]
pub(super) enum Fault {
    Refused(Problem, Position),
    Read(io::Error),
}

impl<E: std::error::Error + 'static> From<Fault> for BodyError<E> {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(problem, at) => Self::Refused(Refusal {
                problem,
                at,
                file: None,
            }),
            Fault::Read(error) => Self::Read(error),
        }
    }
}
