//! A validating cursor over JSON text (RFC 8259) that builds nothing.
//!
//! The hot path needs to know that a message is well formed and where three of its members lie;
//! it passes the rest on untouched. Walking the text once, without recursion or allocation, costs
//! a fraction of parsing it into values, and no nesting can exhaust the stack.

/// Deepest nesting that is accepted; `serde_json` draws the same line.
pub const MAX_DEPTH: u32 = 127;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("not JSON at byte {0}")]
    Syntax(usize),
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// Where a string's contents lie, without the quotes.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub start: usize,
    pub end: usize,
    /// Whether the contents hold a backslash, so that the raw bytes are not yet the string.
    pub escaped: bool,
}

pub struct Cursor<'a> {
    bytes: &'a [u8],
    pub at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Skips insignificant whitespace.
    pub fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// Takes `byte` if it is next.
    pub fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.take(byte) {
            return Ok(());
        }
        Err(Malformed::Syntax(self.at))
    }

    /// A member's name and the colon behind it, with the whitespace around both.
    pub fn key(&mut self) -> Result<Span, Malformed> {
        self.space();
        let span = self.string()?;
        self.space();
        self.expect(b':')?;
        self.space();
        Ok(span)
    }

    pub fn string(&mut self) -> Result<Span, Malformed> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at = plain_until(self.bytes, self.at);
            match self.peek() {
                Some(b'"') => {
                    let end = self.at;
                    self.at += 1;
                    return Ok(Span {
                        start,
                        end,
                        escaped,
                    });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(Malformed::Syntax(self.at)),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                let digits = self.bytes.get(self.at + 1..self.at + 5);
                if !digits.is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit)) {
                    return Err(Malformed::Syntax(self.at));
                }
                self.at += 5;
            }
            _ => return Err(Malformed::Syntax(self.at)),
        }
        Ok(())
    }

    /// Skips one value of any kind that stands inside `outer` brackets. The brackets it opens
    /// itself are bits of one integer (1 = object), which is what bounds the depth.
    pub fn skip_value(&mut self, outer: u32) -> Result<(), Malformed> {
        let mut open: u128 = 0;
        let mut depth = 0;
        loop {
            self.space();
            let bracket = self.peek().filter(|b| matches!(b, b'{' | b'['));
            if let Some(bracket) = bracket {
                depth += 1;
                if outer + depth > MAX_DEPTH {
                    return Err(Malformed::TooDeep);
                }
                let object = bracket == b'{';
                open = open << 1 | u128::from(object);
                self.at += 1;
                self.space();
                if self.peek() != Some(if object { b'}' } else { b']' }) {
                    if object {
                        self.key()?;
                    }
                    continue;
                }
            } else {
                self.scalar()?;
            }
            if self.leave(&mut open, &mut depth)? {
                return Ok(());
            }
        }
    }

    /// After a value: closes what ends here and steps over a comma. True when nothing is open.
    fn leave(&mut self, open: &mut u128, depth: &mut u32) -> Result<bool, Malformed> {
        while *depth > 0 {
            self.space();
            let object = *open & 1 == 1;
            if self.take(b',') {
                if object {
                    self.key()?;
                }
                return Ok(false);
            }
            self.expect(if object { b'}' } else { b']' })?;
            *open >>= 1;
            *depth -= 1;
        }
        Ok(true)
    }

    fn scalar(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            _ => Err(Malformed::Syntax(self.at)),
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Malformed> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(Malformed::Syntax(self.at));
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), Malformed> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            return Err(Malformed::Syntax(start));
        }
        Ok(())
    }
}

/// The first byte from `at` on that ends a run of ordinary string bytes: a quote, a backslash or a
/// control character; else the end of the text. Looks at eight bytes at once, because payloads are
/// long strings.
fn plain_until(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ (ONES * b'"' as u64);
        let slash = word ^ (ONES * b'\\' as u64);
        let found = (word.wrapping_sub(ONES * 0x20) & !word
            | quote.wrapping_sub(ONES) & !quote
            | slash.wrapping_sub(ONES) & !slash)
            & HIGH;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while bytes
        .get(at)
        .is_some_and(|b| !matches!(b, b'"' | b'\\' | 0..0x20))
    {
        at += 1;
    }
    at
}
