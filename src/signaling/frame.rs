//! WebSocket frames (RFC 6455 §5), read from and written to byte buffers.
//!
//! The handshake is tungstenite's; the connected phase is read here because a server that fans out
//! writes one encoded frame to many sockets, and reads all its sockets through one buffer.

/// Close codes (RFC 6455 §7.4.1 and the IANA registry).
pub mod code {
    pub const NORMAL: u16 = 1000;
    pub const PROTOCOL_ERROR: u16 = 1002;
    pub const INVALID_PAYLOAD: u16 = 1007;
    pub const POLICY_VIOLATION: u16 = 1008;
    pub const MESSAGE_TOO_BIG: u16 = 1009;
    pub const SERVICE_RESTART: u16 = 1012;
    pub const TRY_AGAIN_LATER: u16 = 1013;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xA,
}

impl Opcode {
    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// What a frame may not be; each closes the connection with code 1002.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    ReservedBits,
    Opcode,
    NotMasked,
    Control,
    Length,
    NothingToContinue,
    Interleaved,
}

impl Violation {
    /// What the peer is told in the close frame.
    pub fn reason(self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved bits set",
            Self::Opcode => "unknown opcode",
            Self::NotMasked => "frame not masked",
            Self::Control => "control frame fragmented or too long",
            Self::Length => "length not in its shortest form",
            Self::NothingToContinue => "continuation of nothing",
            Self::Interleaved => "new message inside a fragmented one",
        }
    }
}

/// A client frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub fin: bool,
    pub opcode: Opcode,
    pub mask: [u8; 4],
    /// Bytes of the header itself.
    pub size: usize,
    /// Bytes of payload behind it.
    pub payload: u64,
}

/// Reads the header of the client frame that `bytes` begins with; none while it is incomplete.
pub fn header(bytes: &[u8]) -> Result<Option<Header>, Violation> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & 0x70 != 0 {
        return Err(Violation::ReservedBits);
    }
    let opcode = match first & 0x0F {
        0x0 => Opcode::Continuation,
        0x1 => Opcode::Text,
        0x2 => Opcode::Binary,
        0x8 => Opcode::Close,
        0x9 => Opcode::Ping,
        0xA => Opcode::Pong,
        _ => return Err(Violation::Opcode),
    };
    if second & 0x80 == 0 {
        return Err(Violation::NotMasked);
    }
    let fin = first & 0x80 != 0;
    let short = u64::from(second & 0x7F);
    if opcode.is_control() && (!fin || short > 125) {
        return Err(Violation::Control);
    }
    let Some((payload, rest)) = length(short, rest)? else {
        return Ok(None);
    };
    let Some(mask) = rest.first_chunk() else {
        return Ok(None);
    };
    let size = bytes.len() - rest.len() + mask.len();
    Ok(Some(Header {
        fin,
        opcode,
        mask: *mask,
        size,
        payload,
    }))
}

/// The payload length (§5.2), which must take the fewest bytes and leave the top bit clear.
fn length(short: u64, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    let (length, rest, least) = match short {
        126 => match rest.split_first_chunk() {
            Some((two, rest)) => (u64::from(u16::from_be_bytes(*two)), rest, 126),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk() {
            Some((eight, rest)) => (u64::from_be_bytes(*eight), rest, 1 << 16),
            None => return Ok(None),
        },
        short => (short, rest, 0),
    };
    if length < least || length >> 63 != 0 {
        return Err(Violation::Length);
    }
    Ok(Some((length, rest)))
}

/// Removes (or applies) the mask, §5.3.
pub fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        if let Some(eight) = chunk.first_chunk_mut::<8>() {
            *eight = (u64::from_ne_bytes(*eight) ^ wide).to_ne_bytes();
        }
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Bytes of a server frame's header in front of `payload` bytes.
pub fn server_header_len(payload: usize) -> usize {
    match payload {
        0..126 => 2,
        126..0x1_0000 => 4,
        _ => 10,
    }
}

/// Appends the header of a whole, unmasked server frame.
pub fn write_header(opcode: Opcode, payload: usize, out: &mut Vec<u8>) {
    out.push(0x80 | opcode as u8);
    let long = (payload as u64).to_be_bytes();
    let [.., high, low] = long;
    match server_header_len(payload) {
        2 => out.push(low),
        4 => out.extend_from_slice(&[126, high, low]),
        _ => {
            out.push(127);
            out.extend_from_slice(&long);
        }
    }
}

/// A whole server frame with a short payload, for everything that is not a delivery.
pub fn encode(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(10 + payload.len());
    write_header(opcode, payload.len(), &mut out);
    out.extend_from_slice(payload);
    out
}

/// A close frame; `reason` is one of ours and shorter than the 123 bytes that fit.
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(&reason.as_bytes()[..reason.len().min(123)]);
    encode(Opcode::Close, &payload)
}

/// Where the server frame that holds byte `at` of `batch` ends; `batch` holds whole frames. A frame
/// that the socket took in part must be finished before anything else may follow it.
pub fn end_of_frame(batch: &[u8], at: usize) -> usize {
    let mut end = 0;
    while end < at {
        let Some(frame) = batch.get(end..) else { break };
        let (head, payload) = match frame {
            [_, 126, a, b, ..] => (4, u64::from(u16::from_be_bytes([*a, *b]))),
            [_, 127, rest @ ..] => match rest.first_chunk() {
                Some(eight) => (10, u64::from_be_bytes(*eight)),
                None => break,
            },
            [_, short, ..] => (2, u64::from(*short)),
            _ => break,
        };
        end = usize::try_from(payload)
            .map_or(usize::MAX, |payload| end.saturating_add(head + payload));
    }
    end.min(batch.len())
}

/// The code with which to answer a peer's close frame (§5.5.1, §7.4).
pub fn close_answer(payload: &[u8]) -> Result<u16, u16> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(code::NORMAL)
        } else {
            Err(code::PROTOCOL_ERROR)
        };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(code::PROTOCOL_ERROR);
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(code::INVALID_PAYLOAD);
    }
    Ok(code)
}

#[cfg(test)]
mod tests;
