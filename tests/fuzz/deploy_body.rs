//! Any deploy body, cut anywhere: it must mean what serde_json says, and no cut may change what is read or refused.
//!
//! In this directory, with a stable compiler:
//!
//! ```sh
//! export RUSTFLAGS='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares'
//! cargo run --release --target x86_64-unknown-linux-gnu --bin deploy_body -- -max_len=4096 -max_total_time=600
//! ```
//!
//! `--target` keeps the flags from build scripts. A crash is left as `crash-<sha1>`; its bytes belong into a table of
//! `src/release/body/tests/`.

#![no_main]

use std::convert::Infallible;
use std::io::{self, Read};

use bytes::Bytes;
use libfuzzer_sys::{Corpus, fuzz_target};

use release::body::{File, Limits, Sink};

#[expect(dead_code, reason = "the daemon uses the rest")]
#[path = "../../src/release"]
mod release {
    pub mod body;
    pub mod path;
}

#[path = "../../src/release/body/tests/oracle.rs"]
mod oracle;

/// Stands in for the daemon's: no key here has places.
mod config {
    pub fn is_within(_: &[String], _: &str) -> bool {
        true
    }
}

const LIMITS: Limits = Limits {
    body_bytes: 1 << 20,
    files: 1000,
    file_bytes: 1 << 20,
    path_bytes: 1024,
    within: Vec::new(),
};

/// The first byte says how the rest, the body, is cut.
fn check(input: &[u8]) -> Corpus {
    let Some((cut, body)) = input.split_first() else {
        return Corpus::Reject;
    };
    let whole = read(body, usize::MAX);
    assert_eq!(read(body, usize::from(*cut) + 1), whole);
    match (oracle::files(body), whole) {
        (None, _) => return Corpus::Reject,
        (Some(expected), Ok(files)) => assert_eq!(Some(files), expected),
        // serde_json knows no limits, and bounds nesting elsewhere.
        (Some(Some(_)), Err(words)) => assert!(words.contains("exceeds the limit"), "{words}"),
        (Some(None), Err(_)) => {}
    }
    Corpus::Keep
}

fn read(body: &[u8], length: usize) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut sink = Kept::default();
    match release::body::read(Cut { body, length }, &LIMITS, &mut sink) {
        Ok(_) => Ok(sink.files),
        Err(error) => Err(error.to_string()),
    }
}

struct Cut<'a> {
    body: &'a [u8],
    length: usize,
}

impl Read for Cut<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.length);
        self.body.read(&mut buffer[..most])
    }
}

#[derive(Default)]
struct Kept {
    files: Vec<(String, Vec<u8>)>,
    data: Vec<u8>,
}

impl Sink for Kept {
    type Error = Infallible;

    fn start(&mut self, _: usize) -> Result<(), Infallible> {
        assert!(self.data.is_empty());
        Ok(())
    }

    fn data(&mut self, chunk: Bytes) -> Result<(), Infallible> {
        self.data.extend_from_slice(&chunk);
        Ok(())
    }

    fn finish(&mut self, file: File) -> Result<(), Infallible> {
        self.files
            .push((file.path.to_string(), std::mem::take(&mut self.data)));
        Ok(())
    }
}

fuzz_target!(|input: &[u8]| -> Corpus { check(input) });
