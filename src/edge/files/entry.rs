//! A file in memory, with everything of its answers that can be made beforehand.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;

use super::source::Version;
use crate::content::set;
use crate::edge::encoding::{Encoding, is_compressible};
use crate::release::path::ReleasePath;

/// About what an entry takes beside its bytes: its header maps, its names.
const OVERHEAD_BYTES: usize = 2048;

/// One file and its compressed forms.
pub struct Entry {
    name: Box<str>,
    pub version: Version,
    pub kind: Kind,
    pub modified: Timestamp,
    pub plain: Form,
    /// The smallest first. Set once, when they are there.
    encoded: OnceLock<Vec<(Encoding, Form)>>,
    used: AtomicU64,
}

/// A content as it is sent.
pub struct Form {
    /// Strong, quotes included.
    pub etag: String,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

/// What a file is by its name, or by the record that published it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    pub content_type: String,
    pub cache_control: String,
}

impl Kind {
    /// A file of a directory is treated as if it had been deployed.
    pub fn of(name: &str) -> Kind {
        let path = ReleasePath::parse(&format!("web/{name}")).ok(); // no release could hold it: plain bytes
        Kind {
            content_type: path
                .as_ref()
                .map_or("application/octet-stream", ReleasePath::content_type)
                .to_owned(),
            cache_control: path
                .as_ref()
                .map_or("no-cache", ReleasePath::cache_control)
                .to_owned(),
        }
    }

    /// The header fields of an answer with a content of this kind, but for those that tell its length and coding.
    pub fn headers(&self, etag: &str, modified: Timestamp, varies: bool) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(8);
        set(&mut headers, header::ETAG, etag);
        set(&mut headers, header::CONTENT_TYPE, &*self.content_type);
        set(&mut headers, header::CACHE_CONTROL, &*self.cache_control);
        let modified = httpdate::fmt_http_date(modified.into());
        set(&mut headers, header::LAST_MODIFIED, modified);
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if varies {
            let field = HeaderValue::from_static("accept-encoding");
            headers.insert(header::VARY, field);
        }
        headers
    }

    pub fn is_compressible(&self) -> bool {
        is_compressible(&self.content_type)
    }
}

impl Form {
    fn new(
        kind: &Kind,
        hash: &str,
        modified: Timestamp,
        encoding: Option<Encoding>,
        varies: bool,
        bytes: Bytes,
    ) -> Form {
        let etag = etag(hash, encoding);
        let mut headers = kind.headers(&etag, modified, varies);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        if let Some(encoding) = encoding {
            let name = HeaderValue::from_static(encoding.name());
            headers.insert(header::CONTENT_ENCODING, name);
        }
        Form {
            etag,
            headers,
            bytes,
        }
    }
}

/// RFC 9110 §8.8.3.3: forms of one content that differ in their coding have different strong tags.
pub fn etag(hash: &str, encoding: Option<Encoding>) -> String {
    match encoding {
        None => format!("\"{hash}\""),
        Some(encoding) => format!("\"{hash}-{}\"", encoding.name()),
    }
}

/// The first half of a content's SHA-256, as in the entity tags of releases.
pub fn hash(bytes: &[u8]) -> String {
    hex::encode(
        digest(&SHA256, bytes)
            .as_ref()
            .get(..16)
            .unwrap_or_default(),
    )
}

impl Entry {
    /// `neighbours` are compressed forms that lie beside the file.
    pub fn new(
        name: &str,
        version: Version,
        kind: Kind,
        modified: Timestamp,
        bytes: Bytes,
        neighbours: Vec<(Encoding, Bytes)>,
    ) -> Entry {
        let varies = kind.is_compressible() || !neighbours.is_empty();
        let plain = Form::new(&kind, &hash(&bytes), modified, None, varies, bytes);
        let entry = Entry {
            name: name.into(),
            version,
            kind,
            modified,
            plain,
            encoded: OnceLock::new(),
            used: AtomicU64::new(0),
        };
        if !neighbours.is_empty() {
            entry.add(neighbours);
        }
        entry
    }

    /// Adds compressed forms, once. One that is no smaller than the file is left out.
    pub fn add(&self, forms: Vec<(Encoding, Bytes)>) {
        let hash = self.hash();
        let smaller = |(_, bytes): &(Encoding, Bytes)| bytes.len() < self.plain.bytes.len();
        let form = |(encoding, bytes)| {
            let form = Form::new(&self.kind, hash, self.modified, Some(encoding), true, bytes);
            (encoding, form)
        };
        let mut forms: Vec<_> = forms.into_iter().filter(smaller).map(form).collect();
        forms.sort_by_key(|(_, form)| form.bytes.len());
        // Two that made them at the same time made the same.
        let _first = self.encoded.set(forms);
    }

    pub fn encoded(&self) -> &[(Encoding, Form)] {
        self.encoded.get().map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether compressed forms were made or found, or are not wanted.
    pub fn is_complete(&self) -> bool {
        self.encoded.get().is_some()
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Hexadecimal.
    pub fn hash(&self) -> &str {
        self.plain.etag.trim_matches('"')
    }

    /// What it takes of the memory for files.
    pub fn bytes(&self) -> usize {
        let encoded = self.encoded().iter();
        let encoded: usize = encoded.map(|(_, form)| form.bytes.len()).sum();
        self.plain.bytes.len() + encoded + OVERHEAD_BYTES
    }

    pub fn touch(&self, now: u64) {
        self.used.store(now, Ordering::Relaxed);
    }

    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}
