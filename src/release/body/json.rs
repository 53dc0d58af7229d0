//! A pull parser for the little of JSON that a deploy body needs, strict about all of it (RFC 8259).
//!
//! Two texts that the grammar allows are refused, as every other JSON reader on the way would garble
//! them: half a surrogate pair, and a name that stands twice in an object that we look into.

mod text;

use std::io::Read;

use super::error::{Fault, Limit, Problem, Syntax};
use super::input::Input;
pub(super) use text::Piece;

/// Levels of arrays and objects in one document, ours and ignored ones. Bounds the stack.
pub(super) const DEPTH: usize = 64;

/// Members of one object that we look into: their names are kept to find duplicates.
const MEMBERS: usize = 64;

/// Bytes in the name of such a member.
const MEMBER_NAME_BYTES: usize = 256;

pub(super) struct Json<R> {
    pub(super) input: Input<R>,
    /// Bytes of the window that the last piece of a string lent out.
    lent: usize,
    /// An escaped character, as UTF-8.
    escape: [u8; 4],
}

/// An object whose members are being read: the names so far.
#[derive(Default)]
pub(super) struct Members(Vec<String>);

/// An array whose elements are being read: how many so far.
#[derive(Default)]
pub(super) struct Elements(usize);

impl<R: Read> Json<R> {
    pub(super) fn new(input: Input<R>) -> Self {
        Self {
            input,
            lent: 0,
            escape: [0; 4],
        }
    }

    /// Passes the byte that opens a value of the expected type: `{`, `[` or `"`.
    pub(super) fn open(
        &mut self,
        byte: u8,
        member: &'static str,
        expected: &'static str,
    ) -> Result<(), Fault> {
        self.input.skip_whitespace()?;
        if let Some(other) = self.input.peek()?
            && other != byte
            && opens_value(other)
        {
            return Err(self.input.refuse(Problem::WrongType { member, expected }));
        }
        self.byte(byte, "a value")
    }

    /// The name of the next member of an open object, its value next; none once the object is closed.
    pub(super) fn member(&mut self, members: &mut Members) -> Result<Option<String>, Fault> {
        if !self.another(members.0.is_empty(), b'}', "`,` or `}`")? {
            return Ok(None);
        }
        if members.0.len() == MEMBERS {
            return Err(self.input.refuse(Problem::Limit(Limit::Members(MEMBERS))));
        }
        self.byte(b'"', "the name of a member")?;
        let name = self.text(MEMBER_NAME_BYTES, Limit::MemberName(MEMBER_NAME_BYTES))?;
        if members.0.contains(&name) {
            return Err(self.input.refuse(Problem::DuplicateMember(name)));
        }
        self.colon()?;
        members.0.push(name.clone());
        Ok(Some(name))
    }

    /// The index of the next element of an open array, its value next; none once the array is closed.
    pub(super) fn element(&mut self, elements: &mut Elements) -> Result<Option<usize>, Fault> {
        let index = elements.0;
        elements.0 += 1;
        Ok(self
            .another(index == 0, b']', "`,` or `]`")?
            .then_some(index))
    }

    /// Passes over any value that stands `depth` levels deep, checking all of it.
    pub(super) fn skip_value(&mut self, depth: usize) -> Result<(), Fault> {
        if depth > DEPTH {
            return Err(self.input.refuse(Problem::Limit(Limit::Depth(DEPTH))));
        }
        self.input.skip_whitespace()?;
        let first = self.input.take(Syntax::Expected("a value"), |byte| {
            opens_value(byte).then_some(byte)
        })?;
        match first {
            b'{' => {
                let mut first = true;
                while self.another(first, b'}', "`,` or `}`")? {
                    first = false;
                    self.byte(b'"', "the name of a member")?;
                    self.skip_text()?;
                    self.colon()?;
                    self.skip_value(depth + 1)?;
                }
                Ok(())
            }
            b'[' => {
                let mut first = true;
                while self.another(first, b']', "`,` or `]`")? {
                    first = false;
                    self.skip_value(depth + 1)?;
                }
                Ok(())
            }
            b'"' => self.skip_text(),
            b't' => self.literal(b"rue"),
            b'f' => self.literal(b"alse"),
            b'-' => self.integer(),
            b'0' => self.fraction(),
            b'1'..=b'9' => self.digits().and_then(|()| self.fraction()),
            _ => self.literal(b"ull"),
        }
    }

    /// Passes over the whitespace after the document, which must be all that is left of the body.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        self.input.skip_whitespace()?;
        match self.input.peek()? {
            None => Ok(()),
            Some(_) => Err(self.input.syntax(Syntax::TrailingBytes)),
        }
    }

    /// Whether an open array or object goes on; passes over its comma, or over what closes it.
    fn another(&mut self, first: bool, close: u8, expected: &'static str) -> Result<bool, Fault> {
        self.input.skip_whitespace()?;
        match self.input.peek()? {
            Some(byte) if byte == close => {
                self.input.consume(1);
                Ok(false)
            }
            Some(b',') if !first => {
                self.input.consume(1);
                self.input.skip_whitespace()?;
                Ok(true)
            }
            Some(_) if first => Ok(true),
            Some(_) => Err(self.input.syntax(Syntax::Expected(expected))),
            None => Err(self.input.syntax(Syntax::End)),
        }
    }

    fn byte(&mut self, byte: u8, expected: &'static str) -> Result<(), Fault> {
        let expected = Syntax::Expected(expected);
        self.input
            .take(expected, |found| (found == byte).then_some(()))
    }

    fn colon(&mut self) -> Result<(), Fault> {
        self.input.skip_whitespace()?;
        self.byte(b':', "`:`")
    }

    fn literal(&mut self, rest: &'static [u8]) -> Result<(), Fault> {
        for byte in rest {
            self.byte(*byte, "`true`, `false` or `null`")?;
        }
        Ok(())
    }

    /// What stands after a minus.
    fn integer(&mut self) -> Result<(), Fault> {
        match self.digit()? {
            b'0' => self.fraction(),
            _ => self.digits().and_then(|()| self.fraction()),
        }
    }

    /// What may follow the integer part of a number.
    fn fraction(&mut self) -> Result<(), Fault> {
        if self.input.peek()? == Some(b'.') {
            self.input.consume(1);
            self.digit()?;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.input.peek()? {
            self.input.consume(1);
            if let Some(b'+' | b'-') = self.input.peek()? {
                self.input.consume(1);
            }
            self.digit()?;
            self.digits()?;
        }
        Ok(())
    }

    fn digit(&mut self) -> Result<u8, Fault> {
        let digit = Syntax::Expected("a digit");
        self.input
            .take(digit, |byte| byte.is_ascii_digit().then_some(byte))
    }

    fn digits(&mut self) -> Result<(), Fault> {
        while let Some(b'0'..=b'9') = self.input.peek()? {
            self.input.consume(1);
        }
        Ok(())
    }
}

fn opens_value(byte: u8) -> bool {
    matches!(
        byte,
        b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'
    )
}
