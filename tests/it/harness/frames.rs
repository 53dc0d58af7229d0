//! HTTP/2 frames as they are on the wire (RFC 9113 §4), right or wrong.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a length");
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Fields as literals that change no table (RFC 7541 §6.2.2).
pub fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

/// RFC 7541 §5.1 and §5.2, without Huffman coding.
fn text(block: &mut Vec<u8>, text: &str) {
    match u8::try_from(text.len()) {
        Ok(length @ 0..127) => block.push(length),
        _ => {
            block.push(127);
            let mut rest = text.len() - 127;
            while rest >= 128 {
                block.push(u8::try_from(rest % 128).expect("seven bits") | 128);
                rest /= 128;
            }
            block.push(u8::try_from(rest).expect("seven bits"));
        }
    }
    block.extend(text.as_bytes());
}

/// The four pseudo-fields of a GET, and more fields behind them.
pub fn get(host: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", host),
        (":path", path),
    ];
    fields(&[&pseudo[..], more].concat())
}

/// A whole request without a body.
pub fn request(stream: u32, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, block)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// What came before the connection ended.
pub fn read_frame(stream: &mut TcpStream) -> Option<Frame> {
    let mut head = [0; 9];
    fill(stream, &mut head)?;
    let [a, b, c, kind, flags, id @ ..] = head;
    let length = u32::from_be_bytes([0, a, b, c]);
    let mut payload = vec![0; usize::try_from(length).expect("a length")];
    fill(stream, &mut payload)?;
    Some(Frame {
        kind,
        flags,
        stream: u32::from_be_bytes(id),
        payload,
    })
}

fn fill(stream: &mut TcpStream, buffer: &mut [u8]) -> Option<()> {
    match stream.read_exact(buffer) {
        Ok(()) => Some(()),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
            ) =>
        {
            None
        }
        Err(error) => panic!("the daemon went silent: {error}"),
    }
}

/// Sends the preface with these settings, `(id, value)`.
pub fn greet(stream: &mut TcpStream, settings: &[(u16, u32)]) {
    let one = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    let settings: Vec<u8> = settings.iter().flat_map(one).collect();
    let mut greeting = PREFACE.to_vec();
    greeting.extend(frame(SETTINGS, 0, 0, &settings));
    stream.write_all(&greeting).expect("the daemon reads");
}

/// The status at the beginning of a header block as the h2 crate writes it.
pub fn status(block: &[u8]) -> Option<u16> {
    // RFC 7541 appendix A, 8 to 14.
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match block {
        [first @ 0x88..=0x8e, ..] => INDEXED.get(usize::from(first - 0x88)).copied(),
        [0x08 | 0x48, length, rest @ ..] if length & 0x80 != 0 => {
            Some(huffman_digits(rest.get(..usize::from(length & 0x7f))?))
        }
        [0x08 | 0x48, 3, rest @ ..] => std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok(),
        _ => None,
    }
}

/// Three digits by RFC 7541 appendix B: 0 to 2 have five bits, 3 to 9 have six.
fn huffman_digits(bytes: &[u8]) -> u16 {
    let mut bits = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| u16::from(byte >> at & 1)));
    let mut number = 0;
    for _ in 0..3 {
        let mut code = bits.by_ref().take(5).fold(0, |code, bit| code * 2 + bit);
        if code > 2 {
            code = code * 2 + bits.next().unwrap_or_default();
            code = code - 0x19 + 3;
        }
        number = number * 10 + code;
    }
    number
}

#[test]
fn statuses_are_read_as_the_codes_of_the_standard_have_them() {
    assert_eq!(status(&[0x88]), Some(200));
    // RFC 7541 C.4 has "302" as 64 02.
    assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), Some(302));
    assert_eq!(status(b"\x08\x03421"), Some(421));
}
