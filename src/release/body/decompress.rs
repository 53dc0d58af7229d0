//! Compressed request bodies, undone as they arrive.

use std::fmt;
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

/// Largest zstd window that `Content-Encoding: zstd` may ask of a decoder, as a power of two: 8 MiB
/// (RFC 9659 §3). Bounds the memory that a request can claim before its first byte comes out.
const ZSTD_WINDOW_LOG: u32 = 23;

/// How a request body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// A body that is not what its `Content-Encoding` says.
#[derive(Debug, thiserror::Error)]
#[error("cannot decompress {encoding}")]
pub struct Corrupt {
    pub encoding: Encoding,
    #[source]
    pub cause: io::Error,
}

/// zstd that a decoder of bounded memory cannot undo.
#[derive(Debug, thiserror::Error)]
#[error("it needs a window above {} MiB", 1 << (ZSTD_WINDOW_LOG - 20))]
struct Window;

/// zstd names this one by words alone.
fn named(cause: io::Error) -> io::Error {
    match cause.to_string().contains("requires too much memory") {
        true => io::Error::other(Window),
        false => cause,
    }
}

impl Encoding {
    /// Reads a `Content-Encoding` of one coding (RFC 9110 §8.4); none if it is not a known one.
    pub fn parse(header: &str) -> Option<Self> {
        match header.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// The decompressed bytes of `reader`, all members or frames of it one after the other.
///
/// Memory stays bounded whatever comes out; how much may come out is [`read`](super::read)'s limit.
/// Members that decompress to nothing are not bounded here: the caller limits the bytes on the wire.
///
/// # Errors
/// An error of `reader` comes through as it is; anything wrong with the data wraps a [`Corrupt`].
pub fn decompress<R: Read>(encoding: Encoding, reader: R) -> io::Result<Decompressed<R>> {
    let wire = Wire {
        reader,
        broken: false,
    };
    Ok(Decompressed(match encoding {
        Encoding::Identity => Decoder::Identity(wire),
        Encoding::Gzip => Decoder::Gzip(MultiGzDecoder::new(wire)),
        Encoding::Zstd => {
            let mut decoder = zstd::Decoder::new(wire)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Decoder::Zstd(decoder)
        }
    }))
}

/// See [`decompress`].
pub struct Decompressed<R: Read>(Decoder<R>);

enum Decoder<R: Read> {
    Identity(Wire<R>),
    Gzip(MultiGzDecoder<Wire<R>>),
    Zstd(zstd::Decoder<'static, io::BufReader<Wire<R>>>),
}

impl<R: Read> Read for Decompressed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (encoding, result, wire) = match &mut self.0 {
            Decoder::Identity(wire) => return wire.read(buffer),
            Decoder::Gzip(decoder) => (Encoding::Gzip, decoder.read(buffer), decoder.get_ref()),
            Decoder::Zstd(decoder) => (
                Encoding::Zstd,
                decoder.read(buffer).map_err(named),
                decoder.get_ref().get_ref(),
            ),
        };
        result.map_err(|cause| match cause.kind() {
            io::ErrorKind::Interrupted => cause,
            _ if wire.broken => cause,
            _ => io::Error::new(io::ErrorKind::InvalidData, Corrupt { encoding, cause }),
        })
    }
}

/// Remembers whether it was the sender's connection that failed: then the data is not to blame.
struct Wire<R> {
    reader: R,
    broken: bool,
}

impl<R: Read> Read for Wire<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.reader.read(buffer);
        if let Err(error) = &result {
            self.broken = error.kind() != io::ErrorKind::Interrupted;
        }
        result
    }
}
