//! Byte ranges: which bytes a `Range` field asks for, and how the answer to several of them is laid out.
//!
//! Pure. RFC 9110 §14. The parts of an answer come in the order of the request and are never merged: electron-updater
//! maps the n-th part to the n-th range it asked for.

#[cfg(test)]
mod tests;

use std::ops::Range;

/// The most bytes between two ranges that are read and thrown away rather than asked of a bucket separately: about
/// what a bucket delivers while a further request would be on its way.
const GAP_BYTES: u64 = 128 * 1024;

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The whole content with 200: no `Range`, a unit other than bytes, or nothing that can be read as ranges.
    Whole,
    /// 206 with these bytes.
    One(Range<u64>),
    /// 206 `multipart/byteranges` with these, two or more.
    Many(Vec<Range<u64>>),
    /// 416: none of the ranges lies in the content, two overlap, or there are too many (RFC 9110 §14.2 lets a server
    /// refuse those). Ranges that do not overlap cannot add up to more than the content.
    Refused,
}

/// Reads a `Range` field for a content of `size` bytes. At most `most` ranges are taken.
pub fn select(field: &str, size: u64, most: usize) -> Selection {
    let Some(specs) = parse(field, most) else {
        return Selection::Whole;
    };
    let Specs::Ranges(specs) = specs else {
        return Selection::Refused;
    };
    let mut ranges: Vec<Range<u64>> = specs
        .into_iter()
        .filter_map(|spec| spec.within(size))
        .collect();
    match ranges.len() {
        0 => Selection::Refused,
        1 => Selection::One(ranges.remove(0)),
        _ if overlap(&ranges) => Selection::Refused,
        _ => Selection::Many(ranges),
    }
}

enum Specs {
    Ranges(Vec<Spec>),
    TooMany,
}

/// `first-last`, `first-` or `-length`, both ends included.
enum Spec {
    From { first: u64, last: Option<u64> },
    Last { length: u64 },
}

impl Spec {
    fn parse(text: &str) -> Option<Spec> {
        let (first, last) = text.split_once('-')?;
        if first.is_empty() {
            return Some(Spec::Last {
                length: number(last)?,
            });
        }
        let first = number(first)?;
        let last = if last.is_empty() {
            None
        } else {
            Some(number(last)?)
        };
        match last {
            Some(last) if last < first => None,
            _ => Some(Spec::From { first, last }),
        }
    }

    /// The bytes that are there; none when it asks for bytes behind the end only.
    fn within(&self, size: u64) -> Option<Range<u64>> {
        let range = match *self {
            Spec::From { first, last } => {
                first..last.map_or(size, |last| last.saturating_add(1).min(size))
            }
            Spec::Last { length } => size.saturating_sub(length)..size,
        };
        (range.start < range.end).then_some(range)
    }
}

/// `None` when the field is to be ignored.
fn parse(field: &str, most: usize) -> Option<Specs> {
    let (unit, set) = field.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut specs = Vec::new();
    // RFC 9110 §5.6.1.2: empty elements of a list are passed over.
    for text in set
        .split(',')
        .map(|text| text.trim_matches([' ', '\t']))
        .filter(|text| !text.is_empty())
    {
        if specs.len() == most {
            return Some(Specs::TooMany);
        }
        specs.push(Spec::parse(text)?);
    }
    (!specs.is_empty()).then_some(Specs::Ranges(specs))
}

/// A number that does not fit is beyond every end.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

fn overlap(ranges: &[Range<u64>]) -> bool {
    let mut sorted: Vec<&Range<u64>> = ranges.iter().collect();
    sorted.sort_by_key(|range| range.start);
    sorted
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if a.end > b.start))
}

/// The frame around the parts of a `multipart/byteranges` content (RFC 9110 §14.6).
#[derive(Clone, Debug)]
pub struct Multipart {
    boundary: String,
    content_type: String,
    /// Of the whole content, bytes.
    size: u64,
    pub ranges: Vec<Range<u64>>,
}

impl Multipart {
    /// `boundary` is part of a hash of the content, so it cannot stand in it but by a chance of 1 in 2^128 per byte.
    pub fn new(
        boundary: &[u8; 16],
        content_type: &str,
        size: u64,
        ranges: Vec<Range<u64>>,
    ) -> Multipart {
        let boundary = hex::encode(boundary);
        Multipart {
            boundary,
            content_type: content_type.to_owned(),
            size,
            ranges,
        }
    }

    pub fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// What stands before the bytes of part `index`.
    pub fn head(&self, index: usize, range: &Range<u64>) -> String {
        let line = if index == 0 { "" } else { "\r\n" };
        format!(
            "{line}--{}\r\nContent-Type: {}\r\nContent-Range: bytes {}-{}/{}\r\n\r\n",
            self.boundary,
            self.content_type,
            range.start,
            range.end - 1,
            self.size
        )
    }

    /// What stands behind the last part.
    pub fn tail(&self) -> String {
        format!("\r\n--{}--\r\n", self.boundary)
    }

    /// Bytes of all of it, told before the first is sent.
    pub fn length(&self) -> u64 {
        let parts = self.ranges.iter().enumerate();
        let parts = parts
            .map(|(index, range)| self.head(index, range).len() as u64 + (range.end - range.start));
        parts.sum::<u64>() + self.tail().len() as u64
    }
}

/// Ranges that one read of a bucket covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub span: Range<u64>,
    /// How many of the ranges, in their order, lie in it.
    pub ranges: usize,
}

/// Groups ranges that follow each other closely, in their order, so that a thousand small ranges of a differential
/// download become few reads. What is read in vain is bounded by the gap times the number of ranges.
pub fn runs(ranges: &[Range<u64>]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for range in ranges {
        match runs.last_mut() {
            Some(run) if range.start >= run.span.end && range.start - run.span.end <= GAP_BYTES => {
                run.span.end = range.end;
                run.ranges += 1;
            }
            _ => runs.push(Run {
                span: range.clone(),
                ranges: 1,
            }),
        }
    }
    runs
}
