mod hostile;
mod oracle;
mod properties;
mod streams;

use std::convert::Infallible;
use std::io::{self, Read};

use bytes::Bytes;

use super::error::BodyError;
use super::{File, Limits, Sink, Summary};

const LIMITS: Limits = Limits {
    body_bytes: 1 << 30,
    files: 1000,
    file_bytes: 1 << 30,
    path_bytes: 1024,
    within: Vec::new(),
};

/// Keeps all files, and checks that the calls come in their order.
#[derive(Default)]
struct Kept {
    files: Vec<(File, Vec<u8>)>,
    open: Option<(usize, Vec<u8>)>,
}

impl Sink for Kept {
    type Error = Infallible;

    fn start(&mut self, index: usize) -> Result<(), Infallible> {
        assert!(self.open.is_none(), "start within a file");
        self.open = Some((index, Vec::new()));
        Ok(())
    }

    fn data(&mut self, chunk: Bytes) -> Result<(), Infallible> {
        assert!(!chunk.is_empty() && chunk.len() <= super::base64::CHUNK_BYTES);
        let (_, data) = self.open.as_mut().expect("data outside a file");
        data.extend_from_slice(&chunk);
        Ok(())
    }

    fn finish(&mut self, file: File) -> Result<(), Infallible> {
        let (index, data) = self.open.take().expect("finish outside a file");
        assert_eq!((file.index, file.size), (index, data.len() as u64));
        self.files.push((file, data));
        Ok(())
    }
}

/// Hands out `text` in reads of the given lengths, again and again.
struct Cut<'a> {
    text: &'a [u8],
    lengths: std::iter::Cycle<std::slice::Iter<'a, usize>>,
}

impl Read for Cut<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.lengths.next().copied().unwrap_or(usize::MAX).max(1);
        let length = length.min(self.text.len()).min(buffer.len());
        let (now, later) = self.text.split_at(length);
        buffer[..length].copy_from_slice(now);
        self.text = later;
        Ok(length)
    }
}

type Outcome = Result<(Summary, Vec<(File, Vec<u8>)>), BodyError<Infallible>>;

fn read_cut(text: &[u8], limits: &Limits, lengths: &[usize]) -> Outcome {
    let mut sink = Kept::default();
    let summary = super::read(
        Cut {
            text,
            lengths: lengths.iter().cycle(),
        },
        limits,
        &mut sink,
    )?;
    assert!(sink.open.is_none());
    assert_eq!(summary.files, sink.files.len());
    assert_eq!(summary.body_bytes, text.len() as u64);
    assert_eq!(
        summary.content_bytes,
        sink.files.iter().map(|(file, _)| file.size).sum::<u64>()
    );
    Ok((summary, sink.files))
}

fn read_whole(text: &[u8]) -> Outcome {
    read_cut(text, &LIMITS, &[usize::MAX])
}

/// What was read, or the message why not: what must not depend on how the body is cut.
fn in_words(outcome: &Outcome) -> String {
    match outcome {
        Ok((summary, files)) => format!("{summary:?} {files:?}"),
        Err(error) => format!("{error}"),
    }
}
