//! The bytes of the body, window by window, with their place and their limit.

use std::io::{self, BufRead, BufReader, Read};

use super::decompress::Corrupt;
use super::error::{Fault, Limit, Position, Problem, Syntax};

/// Text decoded at a time. Small enough to stay in the second-level cache between scanning for its
/// end and decoding it.
const WINDOW_BYTES: usize = 256 * 1024;

pub(super) struct Input<R> {
    reader: BufReader<R>,
    offset: u64,
    line: u64,
    limit: u64,
}

impl<R: Read> Input<R> {
    /// Refuses the first byte after `limit` bytes.
    pub(super) fn new(reader: R, limit: u64) -> Self {
        Self {
            reader: BufReader::with_capacity(WINDOW_BYTES, reader),
            offset: 0,
            line: 1,
            limit,
        }
    }

    /// The bytes that are there, waiting for some; none only at the end of the body.
    pub(super) fn window(&mut self) -> Result<&[u8], Fault> {
        if self.reader.buffer().is_empty() {
            self.fill()?;
        }
        let left = usize::try_from(self.limit - self.offset).unwrap_or(usize::MAX);
        let window = self.reader.buffer();
        if left == 0 && !window.is_empty() {
            return Err(self.refuse(Problem::Limit(Limit::Body(self.limit))));
        }
        Ok(window.get(..left).unwrap_or(window))
    }

    /// Passes over `count` bytes, at most the window's.
    pub(super) fn consume(&mut self, count: usize) {
        self.reader.consume(count);
        self.offset += count as u64;
    }

    pub(super) fn peek(&mut self) -> Result<Option<u8>, Fault> {
        Ok(self.window()?.first().copied())
    }

    /// Passes over the next byte if `accept` makes something of it; else the body is refused there.
    pub(super) fn take<T>(
        &mut self,
        otherwise: Syntax,
        accept: impl FnOnce(u8) -> Option<T>,
    ) -> Result<T, Fault> {
        let Some(byte) = self.peek()? else {
            return Err(self.syntax(Syntax::End));
        };
        let Some(taken) = accept(byte) else {
            return Err(self.syntax(otherwise));
        };
        self.consume(1);
        Ok(taken)
    }

    /// Passes over RFC 8259 whitespace. Lines are counted here alone: a line feed can stand nowhere
    /// else in valid JSON.
    pub(super) fn skip_whitespace(&mut self) -> Result<(), Fault> {
        while let Some(byte @ (b' ' | b'\t' | b'\r' | b'\n')) = self.peek()? {
            self.consume(1);
            self.line += u64::from(byte == b'\n');
        }
        Ok(())
    }

    pub(super) fn position(&self) -> Position {
        Position {
            line: self.line,
            offset: self.offset,
        }
    }

    pub(super) fn refuse(&self, problem: Problem) -> Fault {
        Fault::Refused(problem, self.position())
    }

    pub(super) fn syntax(&self, syntax: Syntax) -> Fault {
        self.refuse(Problem::Syntax(syntax))
    }

    #[cold]
    fn fill(&mut self) -> Result<(), Fault> {
        loop {
            match self.reader.fill_buf() {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(match error.downcast::<Corrupt>() {
                        Ok(corrupt) => self.refuse(Problem::Compression(corrupt)),
                        Err(error) => Fault::Read(error),
                    });
                }
            }
        }
    }
}
