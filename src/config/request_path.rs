//! The path of a request as routes are looked up by it.

use std::borrow::Cow;

/// Percent-encoding decoded and repeated slashes merged, so that no spelling of a path evades the route that is meant for
/// it: whatever is behind a proxy may decode and merge too.
pub struct RequestPath<'a> {
    raw: &'a str,
    plain: Cow<'a, [u8]>,
}

impl<'a> RequestPath<'a> {
    /// `None` for what has no business in a request: `.` and `..` segments in any spelling (RFC 3986 §5.2.4 has clients
    /// remove them), NUL, broken percent-encoding, a path that is not absolute.
    pub fn parse(raw: &'a str) -> Option<RequestPath<'a>> {
        if !raw.starts_with('/') {
            return None;
        }
        let plain = if is_plain(raw.as_bytes()) {
            Cow::Borrowed(raw.as_bytes())
        } else {
            let mut plain = Vec::with_capacity(raw.len());
            for byte in Decoded::new(raw.as_bytes()) {
                let (byte, _) = byte?;
                plain.push(byte);
            }
            Cow::Owned(plain)
        };
        let odd = plain.split(|b| matches!(b, b'/' | b'\\')).any(is_dots) || plain.contains(&0);
        (!odd).then_some(RequestPath { raw, plain })
    }

    pub fn plain(&self) -> &[u8] {
        &self.plain
    }

    /// What follows the first `length` bytes of the plain path, as the client wrote it. Begins with `/` or is empty.
    pub fn below(&self, length: usize) -> &'a str {
        if let Cow::Borrowed(_) = self.plain {
            return self.raw.get(length..).unwrap_or_default();
        }
        let mut end = 0;
        for byte in Decoded::new(self.raw.as_bytes()).take(length) {
            end = byte.map_or(self.raw.len(), |(_, end)| end);
        }
        self.raw.get(end..).unwrap_or_default()
    }
}

fn is_plain(raw: &[u8]) -> bool {
    !raw.contains(&b'%') && !raw.windows(2).any(|two| two == b"//")
}

/// `.` and `..`, also with the parameters that some servers cut off before they look.
fn is_dots(segment: &[u8]) -> bool {
    let name = segment.split(|b| *b == b';').next().unwrap_or_default();
    matches!(name, b"." | b"..")
}

/// The decoded bytes of a path, each with the offset behind what it was written as.
struct Decoded<'a> {
    raw: &'a [u8],
    at: usize,
    after_slash: bool,
}

impl Decoded<'_> {
    fn new(raw: &[u8]) -> Decoded<'_> {
        Decoded {
            raw,
            at: 0,
            after_slash: false,
        }
    }

    /// The next byte, decoded; the inner `None` is broken encoding.
    fn byte(&mut self) -> Option<Option<u8>> {
        let first = *self.raw.get(self.at)?;
        self.at += 1;
        if first != b'%' {
            return Some(Some(first));
        }
        let digits = self.raw.get(self.at..self.at + 2);
        self.at += 2;
        let mut byte = [0];
        Some(digits.and_then(|digits| {
            hex::decode_to_slice(digits, &mut byte).ok()?; // no digits, no byte
            Some(byte[0])
        }))
    }
}

impl Iterator for Decoded<'_> {
    type Item = Option<(u8, usize)>;

    fn next(&mut self) -> Option<Option<(u8, usize)>> {
        loop {
            let Some(byte) = self.byte()? else {
                return Some(None);
            };
            if byte == b'/' && std::mem::replace(&mut self.after_slash, byte == b'/') {
                continue;
            }
            self.after_slash = byte == b'/';
            return Some(Some((byte, self.at)));
        }
    }
}
