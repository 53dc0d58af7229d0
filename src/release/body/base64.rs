//! Base64 in pieces (RFC 4648).
//!
//! Accepted: the standard or the url-safe alphabet, not both in one file; padded or not; spaces, and
//! escaped tabs, line feeds and carriage returns anywhere. A raw line break is no JSON, so that one
//! can only come escaped.

use base64_simd::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;

use super::error::{Base64Error, Fault, Position, Problem};
use super::json::Piece;

/// Decoded bytes handed over at a time: what a window of text decodes to. A multiple of three, so
/// that every full chunk ends with a whole group.
pub(super) const CHUNK_BYTES: usize = 192 * 1024;

/// Below this a last chunk is copied out: handing over the buffer would pin all of it for a small file.
const COPIED_BYTES: usize = CHUNK_BYTES / 4;

pub(super) struct Decoder {
    chunk: Vec<u8>,
    text: Text,
}

/// What is known of the text of one file so far.
#[derive(Clone, Copy, Default)]
struct Text {
    alphabet: Option<Alphabet>,
    /// The characters of an unfinished group of four, six bits each, and their count.
    bits: u32,
    held: u8,
    padding: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Alphabet {
    Standard,
    UrlSafe,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self {
            chunk: Vec::with_capacity(CHUNK_BYTES),
            text: Text::default(),
        }
    }

    /// Decodes until the piece is used up or a chunk is full.
    pub(super) fn push(&mut self, piece: &mut Piece<'_>) -> Result<Option<Bytes>, Fault> {
        while let Some(first) = piece.bytes.first() {
            let block = self.whole_groups(piece.bytes);
            if block.is_empty() {
                self.step(*first, piece)?;
                piece.advance(1);
            } else {
                self.decode(block, piece)?;
            }
            if self.chunk.len() == CHUNK_BYTES {
                let full = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK_BYTES));
                return Ok(Some(Bytes::from(full)));
            }
        }
        Ok(None)
    }

    /// Ends a file whose text ended at `end`, which must be a place to end; gives its last chunk, if
    /// any, and is ready for the next file.
    pub(super) fn finish(&mut self, end: Position) -> Result<Option<Bytes>, Fault> {
        let text = std::mem::take(&mut self.text);
        match (text.held, text.padding) {
            (0, 0) => {}
            (1, _) => return Err(refuse(Base64Error::Length, end)),
            (2, 0 | 2) if text.bits & 0xf == 0 => {
                let [.., byte] = (text.bits >> 4).to_be_bytes();
                self.chunk.push(byte);
            }
            (3, 0 | 1) if text.bits & 0x3 == 0 => {
                let [.., first, second] = (text.bits >> 2).to_be_bytes();
                self.chunk.extend_from_slice(&[first, second]);
            }
            (2, 0 | 2) | (3, 0 | 1) => return Err(refuse(Base64Error::TrailingBits, end)),
            _ => return Err(refuse(Base64Error::Padding, end)),
        }
        if self.chunk.is_empty() {
            return Ok(None);
        }
        if self.chunk.len() < COPIED_BYTES {
            let last = Bytes::copy_from_slice(&self.chunk);
            self.chunk.clear();
            return Ok(Some(last));
        }
        Ok(Some(Bytes::from(std::mem::replace(
            &mut self.chunk,
            Vec::with_capacity(CHUNK_BYTES),
        ))))
    }

    /// The front of `bytes` that can be decoded as whole groups into the room that is left.
    fn whole_groups<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        if self.text.held != 0 {
            return &[];
        }
        let room = (CHUNK_BYTES - self.chunk.len()) / 3 * 4;
        let block = bytes.get(..room).unwrap_or(bytes);
        let mut length = block.len() / 4 * 4;
        if block
            .get(..length)
            .is_some_and(|block| block.ends_with(b"="))
        {
            length -= 4;
        }
        block.get(..length).unwrap_or_default()
    }

    /// Decodes a block of whole groups from the front of the piece, at once if it is plain.
    fn decode(&mut self, block: &[u8], piece: &mut Piece<'_>) -> Result<(), Fault> {
        if self.text.alphabet.is_none() {
            self.text.alphabet = block.iter().find_map(|byte| Alphabet::of(*byte));
        }
        let codec = match self.text.alphabet {
            Some(Alphabet::UrlSafe) => URL_SAFE_NO_PAD,
            Some(Alphabet::Standard) | None => STANDARD_NO_PAD,
        };
        if codec.decode_append(block, &mut self.chunk).is_ok() {
            piece.advance(block.len());
            return Ok(());
        }
        // Whitespace, padding or a fault somewhere in it: the slow way finds out which, and where.
        for byte in block {
            self.step(*byte, piece)?;
            piece.advance(1);
        }
        Ok(())
    }

    /// Takes in one character, the first of `piece`.
    fn step(&mut self, byte: u8, piece: &Piece<'_>) -> Result<(), Fault> {
        let text = &mut self.text;
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' if text.held < 2 || text.held + text.padding == 4 => {
                return Err(refuse(Base64Error::Padding, piece.at));
            }
            b'=' => {
                text.padding += 1;
                return Ok(());
            }
            b' ' => return Ok(()),
            b'\t' | b'\r' | b'\n' if piece.escaped => return Ok(()),
            _ => return Err(refuse(Base64Error::Character(byte), piece.at)),
        };
        if text.padding > 0 {
            return Err(refuse(Base64Error::DataAfterPadding, piece.at));
        }
        if let Some(alphabet) = Alphabet::of(byte)
            && *text.alphabet.get_or_insert(alphabet) != alphabet
        {
            return Err(refuse(Base64Error::MixedAlphabets, piece.at));
        }
        text.bits = text.bits << 6 | u32::from(value);
        text.held += 1;
        if text.held == 4 {
            let [_, group @ ..] = text.bits.to_be_bytes();
            self.chunk.extend_from_slice(&group);
            (text.bits, text.held) = (0, 0);
        }
        Ok(())
    }
}

impl Alphabet {
    /// The alphabet that alone has this character.
    fn of(byte: u8) -> Option<Self> {
        match byte {
            b'+' | b'/' => Some(Self::Standard),
            b'-' | b'_' => Some(Self::UrlSafe),
            _ => None,
        }
    }
}

fn refuse(error: Base64Error, at: Position) -> Fault {
    Fault::Refused(Problem::Base64(error), at)
}
