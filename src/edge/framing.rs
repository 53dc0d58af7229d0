//! HTTP/1.1 as its grammar has it (RFC 9112), looked at before hyper reads it.
//!
//! hyper takes a bare LF for the end of a line, a `Content-Length` beside a `Transfer-Encoding`, and a second one that is
//! equal. Whoever stands in front of us or reads our log may take them otherwise, and what one side takes for a body is
//! the next request for the other. Here such a request becomes one that hyper refuses as well.

/// What hyper refuses wherever it stands: the end of a line that must not be one is replaced by it.
const POISON: u8 = 0;
/// hyper does not look at a head before it sees its end, so that it gets one.
pub const END: &[u8] = b"\n\n";
/// Of a line that comes in pieces this much is kept, bytes; the fields that are looked at are shorter.
const KEPT_MOST: usize = 256;

/// Where in its requests a connection is.
#[derive(Debug, Default)]
pub struct Framing {
    at: At,
    /// The beginning of a line whose end has not come yet, and its last byte.
    kept: Vec<u8>,
    last: Option<u8>,
    length: Option<u64>,
    chunked: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    RequestLine,
    Field,
    /// So many bytes of a body, or of a chunk and the end of its line.
    Data(u64),
    ChunkSize,
    Trailer,
    /// Not HTTP/1.1 at all.
    Other,
    Refused,
}

#[derive(Debug)]
struct Refused;

impl Framing {
    /// Of a connection that speaks HTTP/2 from its first byte.
    pub fn none() -> Framing {
        Framing {
            at: At::Other,
            ..Framing::default()
        }
    }

    /// Whether the preface of HTTP/2 (RFC 9113 §3.4) came, and not a request.
    pub fn is_http2(&self) -> bool {
        self.at == At::Other
    }

    pub fn is_refused(&self) -> bool {
        self.at == At::Refused
    }

    /// Whether a head has begun and is not complete.
    pub fn in_head(&self) -> bool {
        self.at == At::Field || (self.at == At::RequestLine && self.last.is_some())
    }

    /// Whether all that came has been requests, complete with their bodies.
    pub fn is_between(&self) -> bool {
        self.at == At::RequestLine && self.last.is_none()
    }

    /// Follows what was received, and spoils what is to be refused. Returns what belongs to HTTP/2.
    pub fn follow<'a>(&mut self, mut bytes: &'a mut [u8]) -> &'a [u8] {
        while !bytes.is_empty() {
            match self.at {
                At::Other => break,
                At::Refused => {
                    bytes.fill(b'\n');
                    return &[];
                }
                At::Data(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = bytes.split_at_mut(here).1;
                    self.at = match left - here as u64 {
                        0 if self.chunked => At::ChunkSize,
                        0 => At::RequestLine,
                        left => At::Data(left),
                    };
                }
                At::RequestLine | At::Field | At::ChunkSize | At::Trailer => {
                    let Some(end) = memchr::memchr(b'\n', bytes) else {
                        self.keep(bytes);
                        return &[];
                    };
                    let (line, rest) = bytes.split_at_mut(end);
                    let (end, rest) = rest.split_at_mut(1);
                    self.at = self.end_of_line(line).unwrap_or_else(|Refused| {
                        end.fill(POISON);
                        At::Refused
                    });
                    bytes = rest;
                }
            }
        }
        bytes
    }

    fn keep(&mut self, piece: &[u8]) {
        let room = KEPT_MOST - self.kept.len();
        let piece_kept = piece.get(..room).unwrap_or(piece);
        self.kept.extend_from_slice(piece_kept);
        self.last = piece.last().copied().or(self.last);
    }

    fn end_of_line(&mut self, line: &[u8]) -> Result<At, Refused> {
        if self.last.is_none() {
            return self.line(line.strip_suffix(b"\r").ok_or(Refused)?);
        }
        self.keep(line);
        let ended = self.last.take() == Some(b'\r');
        let mut kept = std::mem::take(&mut self.kept);
        let at = match ended {
            true => self.line(kept.strip_suffix(b"\r").unwrap_or(&kept)),
            false => Err(Refused),
        };
        kept.clear();
        self.kept = kept;
        at
    }

    /// A whole line without its end; a long one that came in pieces without its tail.
    fn line(&mut self, line: &[u8]) -> Result<At, Refused> {
        match self.at {
            // RFC 9112 §2.2: an empty line before a request is passed over.
            At::RequestLine if line.is_empty() => Ok(At::RequestLine),
            At::RequestLine if line == b"PRI * HTTP/2.0" => Ok(At::Other),
            At::RequestLine => {
                (self.length, self.chunked) = (None, false);
                Ok(At::Field)
            }
            At::ChunkSize => match chunk_size(line)? {
                0 => Ok(At::Trailer),
                size => Ok(At::Data(size.checked_add(2).ok_or(Refused)?)),
            },
            At::Field if line.is_empty() => match (self.chunked, self.length) {
                (true, Some(_)) => Err(Refused), // RFC 9112 §6.3: "ought to be handled as an error"
                (true, None) => Ok(At::ChunkSize),
                (false, None | Some(0)) => Ok(At::RequestLine),
                (false, Some(length)) => Ok(At::Data(length)),
            },
            At::Trailer if line.is_empty() => Ok(At::RequestLine),
            At::Field | At::Trailer => self.field(line),
            At::Data(_) | At::Other | At::Refused => Ok(self.at),
        }
    }

    fn field(&mut self, line: &[u8]) -> Result<At, Refused> {
        // A continued line (RFC 9112 §5.2), or a field without a name.
        if matches!(line.first(), Some(b' ' | b'\t' | b':')) {
            return Err(Refused);
        }
        let Some(b'c' | b'C' | b't' | b'T') = line.first() else {
            return Ok(self.at);
        };
        let colon = memchr::memchr(b':', line).ok_or(Refused)?;
        let (name, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.trim_ascii();
        let length = name.eq_ignore_ascii_case(b"content-length");
        if !length && !name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Ok(self.at);
        }
        let again = self.at == At::Trailer || self.chunked || self.length.is_some();
        if again || line.len() >= KEPT_MOST {
            return Err(Refused);
        }
        if length {
            self.length = Some(number(value, 10)?);
        } else if value.eq_ignore_ascii_case(b"chunked") {
            self.chunked = true;
        } else {
            return Err(Refused); // no other coding is known here (RFC 9112 §6.1)
        }
        Ok(self.at)
    }
}

/// RFC 9112 §7.1, with an extension that nobody reads.
fn chunk_size(line: &[u8]) -> Result<u64, Refused> {
    let size = match memchr::memchr(b';', line) {
        Some(end) => line.split_at(end).0.trim_ascii_end(),
        None => line,
    };
    number(size, 16)
}

/// Digits and nothing else, no more than any number of 64 bits has.
fn number(text: &[u8], radix: u32) -> Result<u64, Refused> {
    let digits = |text: &&str| text.chars().all(|digit| digit.is_digit(radix)) && text.len() < 20;
    let text = std::str::from_utf8(text).ok().filter(digits); // neither is a number
    u64::from_str_radix(text.ok_or(Refused)?, radix).map_err(|_| Refused)
}

#[cfg(test)]
mod tests;
