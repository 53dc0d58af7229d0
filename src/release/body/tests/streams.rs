//! Where the body comes from and where its files go: cuts, compression, hashing, broken ends.

use std::io::{self, Read, Write};

use base64_simd::STANDARD;
use bytes::Bytes;

use super::{LIMITS, in_words, read_cut, read_whole};
use crate::release::body::base64::CHUNK_BYTES;
use crate::release::body::decompress::{Encoding, decompress};
use crate::release::body::error::{BodyError, Limit, Problem};
use crate::release::body::hash::{Digests, hasher};
use crate::release::body::{File, Limits, Sink, Summary, read};

/// Bytes without a pattern, the same every time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn body_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let entry = |(path, data): &(&str, &[u8])| {
        let content = STANDARD.encode_to_string(data);
        format!(r#"{{"path":"{path}","content":"{content}"}}"#)
    };
    format!(
        r#"{{"files":[{}]}}"#,
        files.iter().map(entry).collect::<Vec<_>>().join(",")
    )
    .into_bytes()
}

#[test]
fn no_cut_changes_what_is_read_or_what_is_refused() {
    let bodies: [&[u8]; 5] = [
        "{\"x\":[-1.5e+3,true,null,\"é😀\\ud83d\\ude00\\n\"],\n\"files\" : [{\"content\":\"QU\\/C\\r\\nQUJD-\",\"path\":\"a\"}]}".as_bytes(),
        "{\"x\":{\"é\":\"\u{10ffff}\"},\n\"files\" : [{\"content\":\"QU\\/C\\r\\nQUJDRA==\\n\",\"path\":\"a\\u00e9/😀\"},{\"path\":\"b\",\"y\":0.25,\"content\":\"\"}],\"z\":1}\n".as_bytes(),
        b"{\"x\":\"aa\xc3\xc3\xa9aaaa\\u0041\"}",
        b"{\"x\":\"aa\xf0\x9f\x98\x80aaa\x01a\xff\"}",
        b"{\"files\":[{\"path\":\"aaaaaaaaaaaaaaaaa\x01\xff/../\"}]}",
    ];
    let limits = Limits {
        path_bytes: 12,
        ..LIMITS
    };
    for body in bodies {
        let whole = in_words(&read_cut(body, &limits, &[usize::MAX]));
        for place in 1..body.len() {
            assert_eq!(
                in_words(&read_cut(body, &limits, &[place, usize::MAX])),
                whole,
                "cut at {place}"
            );
        }
        for length in 1..10 {
            assert_eq!(
                in_words(&read_cut(body, &limits, &[length])),
                whole,
                "reads of {length}"
            );
        }
    }
}

#[test]
fn files_around_the_size_of_a_chunk_arrive_whole() {
    let noise = noise(3 * CHUNK_BYTES + 5);
    let sizes = [
        0,
        1,
        2,
        3,
        CHUNK_BYTES / 4,
        CHUNK_BYTES - 1,
        CHUNK_BYTES,
        CHUNK_BYTES + 1,
        noise.len(),
    ];
    let names: Vec<String> = (0..sizes.len())
        .map(|number| format!("f{number}"))
        .collect();
    let sent: Vec<_> = names
        .iter()
        .zip(sizes)
        .map(|(name, size)| (name.as_str(), &noise[..size]))
        .collect();
    let body = body_of(&sent);
    for lengths in [&[usize::MAX][..], &[64 * 1024], &[16_384, 1, 4093]] {
        let (_, files) = read_cut(&body, &LIMITS, lengths).expect("a fine body");
        for ((path, data), (file, received)) in sent.iter().zip(&files) {
            assert_eq!(file.path.as_str(), *path);
            assert!(received == data, "{path} of {} bytes differs", data.len());
        }
    }
}

#[test]
fn a_fault_deep_in_a_large_file_is_named_to_the_byte() {
    let noise = noise(2 * CHUNK_BYTES);
    let mut body = body_of(&[("releases/a", &noise)]);
    body[300_000] = b'!';
    let expected =
        "`content` is not base64: unexpected byte '!' (line 1, offset 300000, file 0 `releases/a`)";
    assert_eq!(in_words(&read_whole(&body)), expected);
    assert_eq!(in_words(&read_cut(&body, &LIMITS, &[10_007])), expected);
}

fn compressed(encoding: Encoding, data: &[u8]) -> Vec<u8> {
    match encoding {
        Encoding::Identity => data.to_vec(),
        Encoding::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(data).expect("a vector takes everything");
            encoder.finish().expect("a vector takes everything")
        }
        Encoding::Zstd => zstd::encode_all(data, 1).expect("a slice can be read"),
    }
}

fn read_compressed(encoding: Encoding, wire: impl Read, limits: &Limits) -> super::Outcome {
    let mut sink = super::Kept::default();
    let reader = decompress(encoding, wire).expect("a decoder");
    let summary = read(reader, limits, &mut sink)?;
    Ok((summary, sink.files))
}

#[test]
fn compressed_bodies_are_read_across_their_members() {
    let body = body_of(&[("a", &noise(100_000)), ("b", b"text")]);
    let plain = in_words(&read_whole(&body));
    for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Zstd] {
        let (head, tail) = body.split_at(50_000);
        let wire = [compressed(encoding, head), compressed(encoding, tail)].concat();
        assert!(
            in_words(&read_compressed(encoding, wire.as_slice(), &LIMITS)) == plain,
            "{encoding}"
        );
    }
}

#[test]
fn a_body_that_is_not_compressed_as_it_says_is_the_senders_fault() {
    let body = body_of(&[("a", &noise(100_000))]);
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let whole = compressed(encoding, &body);
        let garbage_after = [whole.as_slice(), b"garbage"].concat();
        for wire in [b"{}".as_slice(), &whole[..whole.len() - 20], &garbage_after] {
            let outcome = read_compressed(encoding, wire, &LIMITS);
            let Err(BodyError::Refused(refusal)) = outcome else {
                panic!("{encoding}: {}", in_words(&outcome))
            };
            let words = format!("the body cannot be decompressed as {encoding}: ");
            assert!(refusal.to_string().starts_with(&words), "{refusal}");
        }
    }
}

#[test]
fn a_bomb_ends_at_the_limit_of_the_body() {
    let bomb = [b"{\"x\":\"".to_vec(), vec![b'a'; 50_000_000]].concat();
    let limits = Limits {
        body_bytes: 1_000_000,
        ..LIMITS
    };
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let outcome = read_compressed(encoding, compressed(encoding, &bomb).as_slice(), &limits);
        let Err(BodyError::Refused(refusal)) = outcome else {
            panic!("{}", in_words(&outcome))
        };
        assert_eq!(refusal.limit(), Some(Limit::Body(1_000_000)));
        assert_eq!(refusal.at.offset, 1_000_000);
    }
}

#[test]
fn a_zstd_window_above_eight_mebibytes_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
    encoder.window_log(24).expect("a window");
    encoder
        .write_all(&vec![b' '; 20 << 20])
        .expect("a vector takes everything");
    let wire = encoder.finish().expect("a vector takes everything");
    let outcome = read_compressed(Encoding::Zstd, wire.as_slice(), &LIMITS);
    let words = in_words(&outcome);
    assert!(words.contains("it needs a window above 8 MiB"), "{words}");
}

#[test]
fn content_encodings_are_known_by_their_names() {
    assert_eq!(Encoding::parse(" GZip"), Some(Encoding::Gzip));
    assert_eq!(Encoding::parse("x-gzip"), Some(Encoding::Gzip));
    assert_eq!(Encoding::parse("zstd"), Some(Encoding::Zstd));
    assert_eq!(Encoding::parse("identity"), Some(Encoding::Identity));
    assert_eq!(Encoding::parse("br"), None);
    assert_eq!(Encoding::parse("gzip, gzip"), None);
}

/// Gives some bytes, is interrupted once, then breaks.
struct Broken<'a>(&'a [u8], bool);

impl Read for Broken<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !std::mem::replace(&mut self.1, true) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::ConnectionReset.into()),
            count => Ok(count),
        }
    }
}

#[test]
fn a_broken_connection_is_told_from_a_bad_body() {
    let body = body_of(&[("a", &noise(100_000))]);
    for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Zstd] {
        let wire = compressed(encoding, &body);
        match read_compressed(encoding, Broken(&wire[..wire.len() / 2], false), &LIMITS) {
            Err(BodyError::Read(error)) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
            other => panic!("{encoding}: {}", in_words(&other)),
        }
    }
}

/// Fails in the call of this number.
struct Failing(usize);

#[derive(Debug, thiserror::Error)]
#[error("the disk is full")]
struct Full;

impl Failing {
    fn call(&mut self) -> Result<(), Full> {
        self.0 = self.0.checked_sub(1).ok_or(Full)?;
        Ok(())
    }
}

impl Sink for Failing {
    type Error = Full;

    fn start(&mut self, _: usize) -> Result<(), Full> {
        self.call()
    }

    fn data(&mut self, _: Bytes) -> Result<(), Full> {
        self.call()
    }

    fn finish(&mut self, _: File) -> Result<(), Full> {
        self.call()
    }
}

#[test]
fn an_error_of_the_sink_ends_the_reading_at_any_call() {
    let body = body_of(&[("a", &noise(2 * CHUNK_BYTES)), ("b", b"x")]);
    let calls = 4 + 3;
    for call in 0..calls {
        assert!(
            matches!(
                read(body.as_slice(), &LIMITS, &mut Failing(call)),
                Err(BodyError::Sink(Full))
            ),
            "{call}"
        );
    }
    assert!(matches!(
        read(body.as_slice(), &LIMITS, &mut Failing(calls)),
        Ok(Summary { files: 2, .. })
    ));
}

#[test]
fn digests_come_in_the_order_of_the_files() {
    let (hasher, threads) = hasher();
    let noise = noise(CHUNK_BYTES);
    let digests = std::thread::scope(|scope| {
        for hashing in threads {
            scope.spawn(|| hashing.run());
        }
        hasher.end_of_file().expect("it runs");
        for _ in 0..20 {
            hasher
                .data(Bytes::copy_from_slice(&noise))
                .expect("it runs");
        }
        hasher.end_of_file().expect("it runs");
        hasher
            .data(Bytes::from_static(b"of a file that has no end"))
            .expect("it runs");
        hasher.digests().expect("it runs")
    });
    let expected = [Vec::new(), noise.repeat(20)].map(|data| Digests {
        sha256: digest(&aws_lc_rs::digest::SHA256, &data),
        sha512: digest(&aws_lc_rs::digest::SHA512, &data),
        size: data.len() as u64,
    });
    assert_eq!(digests, expected);
    assert_eq!(hex::encode(&digests[0].sha256[..4]), "e3b0c442");
}

fn digest<const N: usize>(
    algorithm: &'static aws_lc_rs::digest::Algorithm,
    data: &[u8],
) -> [u8; N] {
    aws_lc_rs::digest::digest(algorithm, data)
        .as_ref()
        .try_into()
        .expect("the digest's length")
}

#[test]
fn a_hasher_without_its_thread_says_so() {
    let (hasher, threads) = hasher();
    drop(threads);
    assert!(hasher.data(Bytes::from_static(b"x")).is_err());
    assert!(hasher.digests().is_err());
}

#[test]
fn a_refusal_tells_its_parts() {
    let Err(BodyError::Refused(refusal)) = read_whole(br#"{"files":[{"path":"/etc/passwd"}]}"#)
    else {
        panic!("an absolute path was taken")
    };
    assert!(matches!(refusal.problem, Problem::Path { ref path, .. } if path == "/etc/passwd"));
    assert_eq!(refusal.file.map(|file| file.index), Some(0));
    assert_eq!((refusal.at.line, refusal.at.offset), (1, 19));
}
