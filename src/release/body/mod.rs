//! The body of a deploy, read as it arrives: `{"files":[{"path":"…","content":"<base64>"}, …]}`.
//!
//! Unknown members are ignored, and not looked into: that a member name comes twice is an error in the body itself and
//! in the entries of `files`, and goes unnoticed inside of what is ignored.
//!
//! Synchronous, for a thread that may block, and of bounded memory: a window of text, a chunk of
//! data, and the paths seen so far. [`read`] checks everything that the body alone can show; a sink
//! takes the files.

mod base64;
pub mod decompress;
pub mod error;
pub mod hash;
mod input;
mod json;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io::Read;
use std::ops::Bound;

use bytes::Bytes;

use self::base64::Decoder;
use self::error::{BodyError, Fault, FileName, Limit, Position, Problem, Refusal};
use self::input::Input;
use self::json::{Elements, Json, Members};
use super::path::ReleasePath;
use crate::config::is_within;

/// What one deploy may hold.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of the body, decompressed.
    pub body_bytes: u64,
    /// Entries of `files`.
    pub files: usize,
    /// Decoded bytes of one file.
    pub file_bytes: u64,
    /// Bytes of a path; see [`longest_under`](super::path::longest_under).
    pub path_bytes: usize,
    /// Where files may go; see [`is_within`].
    pub within: Vec<String>,
}

/// Where the files of a deploy go, one after the other: `start`, any number of `data`, `finish`.
///
/// An error of the sink ends the reading. After any error the sink may have been left in the middle
/// of a file, or with a file that was never finished, and must undo what it did.
pub trait Sink {
    type Error: std::error::Error + 'static;

    /// The content of the file with this place in `files` begins; its path may not be known yet.
    fn start(&mut self, index: usize) -> Result<(), Self::Error>;

    /// The next bytes of its content, at most 192 KiB and never none. A chunk to be kept for longer
    /// than it takes to pass it on is best copied: it may share a larger allocation.
    fn data(&mut self, chunk: Bytes) -> Result<(), Self::Error>;

    /// The entry is complete.
    fn finish(&mut self, file: File) -> Result<(), Self::Error>;
}

/// One complete entry of `files`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Place in `files`, counted from 0.
    pub index: usize,
    pub path: ReleasePath,
    /// Decoded bytes.
    pub size: u64,
}

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    pub files: usize,
    /// Decoded bytes of all files.
    pub content_bytes: u64,
    /// Bytes of the body, decompressed.
    pub body_bytes: u64,
}

/// Reads a whole deploy body into `sink`.
///
/// Members may come in any order and unknown ones are ignored, but every byte must be JSON. No two
/// files may have the same path, nor may one be the directory of another.
pub fn read<S: Sink>(
    reader: impl Read,
    limits: &Limits,
    sink: &mut S,
) -> Result<Summary, BodyError<S::Error>> {
    let mut body = Body {
        json: Json::new(Input::new(reader, limits.body_bytes)),
        decoder: Decoder::new(),
        limits,
        sink,
        paths: BTreeSet::new(),
        current: None,
        content_bytes: 0,
    };
    match body.document() {
        Ok(files) => Ok(Summary {
            files,
            content_bytes: body.content_bytes,
            body_bytes: body.json.input.position().offset,
        }),
        Err(BodyError::Refused(refusal)) => Err(BodyError::Refused(Refusal {
            file: body.current,
            ..refusal
        })),
        Err(error) => Err(error),
    }
}

struct Body<'a, R, S> {
    json: Json<R>,
    decoder: Decoder,
    limits: &'a Limits,
    sink: &'a mut S,
    paths: BTreeSet<ReleasePath>,
    /// The file being read, for errors to name.
    current: Option<FileName>,
    content_bytes: u64,
}

impl<R: Read, S: Sink> Body<'_, R, S> {
    /// The whole body; gives the number of files.
    fn document(&mut self) -> Result<usize, BodyError<S::Error>> {
        self.json.open(b'{', "body", "an object")?;
        let mut members = Members::default();
        let mut files = None;
        while let Some(name) = self.json.member(&mut members)? {
            match name.as_str() {
                "files" => files = Some(self.files()?),
                _ => self.json.skip_value(2)?,
            }
        }
        let files = files.ok_or_else(|| self.refuse(Problem::Missing("files")))?;
        self.json.end()?;
        Ok(files)
    }

    fn files(&mut self) -> Result<usize, BodyError<S::Error>> {
        self.json.open(b'[', "files", "an array")?;
        let mut elements = Elements::default();
        let mut count = 0;
        while let Some(index) = self.json.element(&mut elements)? {
            if index == self.limits.files {
                return Err(self
                    .refuse(Problem::Limit(Limit::Files(self.limits.files)))
                    .into());
            }
            self.current = Some(FileName { index, path: None });
            self.file(index)?;
            self.current = None;
            count = index + 1;
        }
        Ok(count)
    }

    fn file(&mut self, index: usize) -> Result<(), BodyError<S::Error>> {
        self.json.open(b'{', "files[]", "an object")?;
        let mut members = Members::default();
        let mut path = None;
        let mut size = None;
        while let Some(name) = self.json.member(&mut members)? {
            match name.as_str() {
                "path" => {
                    let parsed = self.path()?;
                    self.current = Some(FileName {
                        index,
                        path: Some(parsed.clone()),
                    });
                    path = Some(parsed);
                }
                "content" => size = Some(self.content(index)?),
                _ => self.json.skip_value(4)?,
            }
        }
        let path = path.ok_or_else(|| self.refuse(Problem::Missing("path")))?;
        let size = size.ok_or_else(|| self.refuse(Problem::Missing("content")))?;
        self.sink
            .finish(File { index, path, size })
            .map_err(BodyError::Sink)
    }

    fn path(&mut self) -> Result<ReleasePath, Fault> {
        self.json.open(b'"', "path", "a string")?;
        let at = self.json.input.position();
        // Composing a name can shorten it, at most to a third.
        let longest = self.limits.path_bytes.saturating_mul(4);
        let text = self.json.text(longest, Limit::Path(longest))?;
        let path = match ReleasePath::parse_within(&text, self.limits.path_bytes) {
            Ok(path) => path,
            Err(rule) => return Err(Fault::Refused(Problem::Path { path: text, rule }, at)),
        };
        self.check_place(&path)
            .and_then(|()| self.check_conflicts(&path))
            .map_err(|problem| Fault::Refused(problem, at))?;
        self.paths.insert(path.clone());
        Ok(path)
    }

    fn check_place(&self, path: &ReleasePath) -> Result<(), Problem> {
        if is_within(&self.limits.within, path.as_str()) {
            return Ok(());
        }
        Err(Problem::Outside {
            path: path.clone(),
            within: self.limits.within.clone(),
        })
    }

    /// Whether a store could hold this path beside those before it.
    fn check_conflicts(&self, path: &ReleasePath) -> Result<(), Problem> {
        if self.paths.contains(path) {
            return Err(Problem::DuplicatePath(path.clone()));
        }
        if let Some(file) = path.parents().find_map(|parent| self.paths.get(parent)) {
            return Err(Problem::FileAndDirectory {
                file: file.clone(),
                below: path.clone(),
            });
        }
        let directory = format!("{path}/");
        let after = (Bound::Excluded(directory.as_str()), Bound::Unbounded);
        match self.paths.range::<str, _>(after).next() {
            Some(below) if below.as_str().starts_with(&directory) => {
                Err(Problem::FileAndDirectory {
                    file: path.clone(),
                    below: below.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Decodes a content into the sink; gives its size.
    fn content(&mut self, index: usize) -> Result<u64, BodyError<S::Error>> {
        self.json.open(b'"', "content", "a string")?;
        self.sink.start(index).map_err(BodyError::Sink)?;
        let mut size = 0;
        while let Some(mut piece) = self.json.piece()? {
            while let Some(chunk) = self.decoder.push(&mut piece)? {
                size = grown(size, &chunk, self.limits.file_bytes, piece.at)?;
                self.sink.data(chunk).map_err(BodyError::Sink)?;
            }
        }
        let end = self.json.input.position();
        if let Some(chunk) = self.decoder.finish(end)? {
            size = grown(size, &chunk, self.limits.file_bytes, end)?;
            self.sink.data(chunk).map_err(BodyError::Sink)?;
        }
        self.content_bytes += size;
        Ok(size)
    }

    fn refuse(&self, problem: Problem) -> Fault {
        self.json.input.refuse(problem)
    }
}

/// The size of a file with one more chunk.
fn grown(size: u64, chunk: &Bytes, limit: u64, at: Position) -> Result<u64, Fault> {
    let size = size + chunk.len() as u64;
    if size > limit {
        return Err(Fault::Refused(Problem::Limit(Limit::File(limit)), at));
    }
    Ok(size)
}
