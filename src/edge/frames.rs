//! The frames of HTTP/2 (RFC 9113 §4.1) in one direction of a connection, followed by their heads.

const HEAD: u8 = 9;

#[derive(Debug)]
pub struct Frames {
    /// The bytes of a head that have come, and how many they are.
    head: u128,
    read: u8,
    kind: Kind,
    /// Of a payload, bytes that have not come.
    left: usize,
    increment: u32,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Data,
    /// HEADERS and CONTINUATION.
    Fields,
    /// WINDOW_UPDATE of the connection.
    Window,
    Other,
}

/// What some bytes were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// DATA frames that began in them, and the payload of such, bytes.
    pub data_frames: u64,
    pub data: u64,
    /// Header blocks, bytes.
    pub fields: u64,
    /// By how much the window of the connection grew, bytes.
    pub window: u64,
}

impl Frames {
    /// Behind so many bytes that are no frames.
    pub fn behind(preface: usize) -> Frames {
        Frames {
            head: 0,
            read: 0,
            kind: Kind::Other,
            left: preface,
            increment: 0,
        }
    }

    pub fn follow(&mut self, mut bytes: &[u8], seen: &mut Seen) {
        while let Some((byte, rest)) = bytes.split_first() {
            if self.left > 0 {
                let (here, rest) = bytes.split_at(self.left.min(bytes.len()));
                self.payload(here, seen);
                bytes = rest;
                continue;
            }
            self.head = self.head << 8 | u128::from(*byte);
            self.read += 1;
            if self.read == HEAD {
                self.begin(seen);
            }
            bytes = rest;
        }
    }

    fn begin(&mut self, seen: &mut Seen) {
        let [.., a, b, c, kind, _flags, d, e, f, g] = self.head.to_be_bytes();
        let stream = u32::from_be_bytes([d, e, f, g]) & (u32::MAX >> 1);
        self.kind = match kind {
            0 => Kind::Data,
            1 | 9 => Kind::Fields,
            8 if stream == 0 => Kind::Window,
            _ => Kind::Other,
        };
        self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        (self.head, self.read, self.increment) = (0, 0, 0);
        seen.data_frames += u64::from(kind == 0);
    }

    fn payload(&mut self, here: &[u8], seen: &mut Seen) {
        self.left -= here.len();
        match self.kind {
            Kind::Data => seen.data += here.len() as u64,
            Kind::Fields => seen.fields += here.len() as u64,
            Kind::Window => {
                for byte in here {
                    self.increment = self.increment << 8 | u32::from(*byte);
                }
                if self.left == 0 {
                    seen.window += u64::from(self.increment & (u32::MAX >> 1));
                }
            }
            Kind::Other => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("a length");
        let head = [&length.to_be_bytes()[1..], &[kind, 0]].concat();
        [head, stream.to_be_bytes().to_vec(), payload.to_vec()].concat()
    }

    proptest! {
        #[test]
        fn frames_are_counted_however_they_are_cut(pieces in prop::collection::vec(1usize..40, 1..60)) {
            let bytes = [
                b"PREFACE".to_vec(),
                frame(4, 0, &[1; 6]),
                frame(1, 1, &[2; 30]),
                frame(9, 1, &[3; 7]),
                frame(0, 1, &[4; 300]),
                frame(0, 1, &[]),
                frame(6, 0, &[5; 8]),
                frame(8, 1, &[0, 1, 0, 0]),
                frame(8, 0, &[0x80, 0, 2, 5]),
                frame(0, 3, &[8; 5]),
            ]
            .concat();
            let (mut frames, mut seen) = (Frames::behind(7), Seen::default());
            let mut rest = bytes.as_slice();
            for piece in pieces.iter().cycle() {
                let (here, behind) = rest.split_at((*piece).min(rest.len()));
                frames.follow(here, &mut seen);
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(seen, Seen { data_frames: 3, data: 305, fields: 37, window: 517 });
        }
    }
}
