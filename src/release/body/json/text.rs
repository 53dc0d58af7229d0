//! Strings: their raw stretches as they lie in the window, and their escapes.

use std::io::Read;

use memchr::memchr2;

use super::Json;
use crate::release::body::error::{Fault, Limit, Position, Problem, Syntax};

/// A stretch of a string. A raw stretch is not checked: neither its UTF-8 nor that it holds no
/// control character, since base64 has no room for either.
pub(in crate::release::body) struct Piece<'a> {
    /// Where it stands in the body.
    pub(in crate::release::body) at: Position,
    pub(in crate::release::body) bytes: &'a [u8],
    /// Whether this is one escaped character.
    pub(in crate::release::body) escaped: bool,
}

impl<'a> Piece<'a> {
    /// Passes over `count` bytes.
    pub(in crate::release::body) fn advance(&mut self, count: usize) {
        self.bytes = self.bytes.get(count..).unwrap_or_default();
        self.at.offset += count as u64;
    }

    /// The first `count` bytes or fewer, when they may stand in a string.
    fn checked(&self, count: usize) -> Result<&'a [u8], Fault> {
        let bytes = self.bytes.get(..count).unwrap_or(self.bytes);
        // A running minimum over all bytes is vectorised; a search that stops early would not be.
        let lowest = bytes.iter().fold(u8::MAX, |lowest, byte| lowest.min(*byte));
        if lowest < b' ' && !self.escaped {
            let before = bytes.iter().take_while(|byte| **byte >= b' ').count() as u64;
            let at = Position {
                offset: self.at.offset + before,
                ..self.at
            };
            return Err(Fault::Refused(
                Problem::Syntax(Syntax::ControlCharacter),
                at,
            ));
        }
        Ok(bytes)
    }
}

impl<R: Read> Json<R> {
    /// The next stretch of an open string; none once the string is closed.
    pub(in crate::release::body) fn piece(&mut self) -> Result<Option<Piece<'_>>, Fault> {
        self.input.consume(std::mem::take(&mut self.lent));
        let at = self.input.position();
        match self.input.peek()? {
            None => Err(self.input.syntax(Syntax::End)),
            Some(b'"') => {
                self.input.consume(1);
                Ok(None)
            }
            Some(b'\\') => {
                self.input.consume(1);
                let character = self.escaped_character()?;
                let bytes = character.encode_utf8(&mut self.escape).as_bytes();
                Ok(Some(Piece {
                    at,
                    bytes,
                    escaped: true,
                }))
            }
            Some(_) => {
                let window = self.input.window()?;
                let length = memchr2(b'"', b'\\', window).unwrap_or(window.len());
                self.lent = length;
                let bytes = window.get(..length).unwrap_or_default();
                Ok(Some(Piece {
                    at,
                    bytes,
                    escaped: false,
                }))
            }
        }
    }

    /// The rest of an open string of at most `max_bytes` bytes.
    pub(in crate::release::body) fn text(
        &mut self,
        max_bytes: usize,
        limit: Limit,
    ) -> Result<String, Fault> {
        let start = self.input.position();
        let mut text = Vec::new();
        while let Some(piece) = self.piece()? {
            let left = max_bytes - text.len();
            let bytes = piece.checked(left)?;
            if piece.bytes.len() > left {
                return Err(Fault::Refused(Problem::Limit(limit), start));
            }
            text.extend_from_slice(bytes);
        }
        String::from_utf8(text).map_err(|_| Fault::Refused(Problem::Syntax(Syntax::Utf8), start))
    }

    /// Passes over the rest of an open string, checking it.
    pub(super) fn skip_text(&mut self) -> Result<(), Fault> {
        let start = self.input.position();
        let mut utf8 = Utf8::default();
        let mut valid = true;
        while let Some(piece) = self.piece()? {
            valid = utf8.take(piece.checked(usize::MAX)?) && valid;
        }
        if valid && utf8.partial.is_empty() {
            Ok(())
        } else {
            Err(Fault::Refused(Problem::Syntax(Syntax::Utf8), start))
        }
    }

    /// What stands after a backslash.
    fn escaped_character(&mut self) -> Result<char, Fault> {
        if self.input.peek()? == Some(b'u') {
            self.input.consume(1);
            return self.escaped_code_point();
        }
        self.input.take(Syntax::Escape, |byte| match byte {
            b'"' | b'\\' | b'/' => Some(char::from(byte)),
            b'b' => Some('\u{8}'),
            b'f' => Some('\u{c}'),
            b'n' => Some('\n'),
            b'r' => Some('\r'),
            b't' => Some('\t'),
            _ => None,
        })
    }

    /// What stands after `\u`: a code unit of UTF-16, or a pair of them with a `\u` between.
    fn escaped_code_point(&mut self) -> Result<char, Fault> {
        let start = self.input.position();
        let first = self.hex_code_unit()?;
        let mut second = None;
        if matches!(first, 0xd800..=0xdbff) {
            for expected in [b'\\', b'u'] {
                let matching = |byte| (byte == expected).then_some(());
                self.input.take(Syntax::Surrogate, matching)?;
            }
            second = Some(self.hex_code_unit()?);
        }
        let decoded = char::decode_utf16([first].into_iter().chain(second)).next();
        let surrogate = Fault::Refused(Problem::Syntax(Syntax::Surrogate), start);
        decoded.and_then(Result::ok).ok_or(surrogate)
    }

    fn hex_code_unit(&mut self) -> Result<u16, Fault> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = |byte| {
                char::from(byte)
                    .to_digit(16)
                    .and_then(|digit| u16::try_from(digit).ok())
            };
            unit = unit << 4 | self.input.take(Syntax::Escape, digit)?;
        }
        Ok(unit)
    }
}

/// Checks UTF-8 that may be cut anywhere.
#[derive(Default)]
struct Utf8 {
    /// The first bytes of a character that the last piece ended in: at most three.
    partial: Vec<u8>,
}

impl Utf8 {
    /// Whether the text is still valid with these bytes.
    fn take(&mut self, mut bytes: &[u8]) -> bool {
        while !self.partial.is_empty()
            && let Some((first, rest)) = bytes.split_first()
        {
            bytes = rest;
            self.partial.push(*first);
            match std::str::from_utf8(&self.partial) {
                Ok(_) => self.partial.clear(),
                Err(error) if error.error_len().is_some() => return false,
                Err(_) => {}
            }
        }
        match std::str::from_utf8(bytes) {
            Ok(_) => true,
            Err(error) if error.error_len().is_some() => false,
            Err(error) => {
                self.partial
                    .extend_from_slice(bytes.get(error.valid_up_to()..).unwrap_or_default());
                true
            }
        }
    }
}
