//! One part of a file as the body of a request, read while it is sent.

use std::collections::BTreeMap;
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::{HeaderName, HeaderValue, Method, Request, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use md5::{Digest as _, Md5};
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use super::{Body, Client, ClientError, PATIENCE};

/// What is in memory of a part, bytes.
const CHUNK: usize = 128 * 1024;
/// For a bucket, without a byte of a part being taken: it may be where only the daemon reaches it.
const SIGNED_PATIENCE: Duration = Duration::from_secs(20);

/// Where the bytes of a file are.
#[derive(Clone, Debug)]
pub enum Content {
    Disk(PathBuf),
    /// A manifest that was changed on its way.
    Memory(Bytes),
}

impl Content {
    /// MD5 of `length` bytes from `offset` on.
    pub async fn md5(&self, (offset, length): (u64, u64)) -> Result<[u8; 16], ClientError> {
        let path = match self {
            Content::Memory(bytes) => return Ok(Md5::digest(within(bytes, offset, length)).into()),
            Content::Disk(path) => path,
        };
        let mut file = open(path, offset).await?.take(length);
        let mut md5 = Md5::new();
        let mut buffer = vec![0; CHUNK];
        loop {
            match file
                .read(&mut buffer)
                .await
                .map_err(|source| failed(path, source))?
            {
                0 => return Ok(md5.finalize().into()),
                length => md5.update(buffer.get(..length).unwrap_or_default()),
            }
        }
    }
}

/// Counts the bytes of one part that the connection took, in the sum of all parts too.
pub struct Meter {
    part: AtomicU64,
    all: Arc<AtomicU64>,
}

impl Meter {
    pub fn new(all: Arc<AtomicU64>) -> Arc<Meter> {
        let part = AtomicU64::new(0);
        Arc::new(Meter { part, all })
    }

    fn add(&self, bytes: usize) {
        self.part.fetch_add(bytes as u64, Ordering::Relaxed);
        self.all.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.part.load(Ordering::Relaxed)
    }

    /// The part did not arrive: its bytes will be sent, and counted, again.
    pub fn take_back(&self) {
        self.all
            .fetch_sub(self.part.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// A request for a part that opens the bucket by itself. Its URL is as good as a key, so it stands in no message.
#[derive(Deserialize)]
pub struct Signed {
    url: String,
    headers: BTreeMap<String, String>,
}

impl Client {
    /// Sends `length` bytes of `content` from `offset` on. As long as `meter` counts more of them the part may take any
    /// time.
    pub async fn put(
        &self,
        path: &str,
        content: &Content,
        (offset, length): (u64, u64),
        meter: &Arc<Meter>,
    ) -> Result<(), ClientError> {
        let uri = format!("{}{path}", self.base);
        let request = Request::builder()
            .method(Method::PUT)
            .uri(uri.as_str())
            .header("x-builder-key", &self.key)
            .header(header::CONTENT_LENGTH, length)
            .body(body(content, offset, length, meter.clone()).await?)?;
        self.watched(&uri, request, meter, PATIENCE).await
    }

    /// As [`Client::put`], to where `signed` says.
    pub async fn put_signed(
        &self,
        signed: &Signed,
        content: &Content,
        (offset, length): (u64, u64),
        meter: &Arc<Meter>,
    ) -> Result<(), ClientError> {
        let body = body(content, offset, length, meter.clone()).await?;
        let mut request = Request::builder()
            .method(Method::PUT)
            .uri(signed.url.as_str())
            .body(body)?;
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_LENGTH, length.into());
        for (name, value) in &signed.headers {
            let name = HeaderName::try_from(name).map_err(http::Error::from)?;
            headers.insert(
                name,
                HeaderValue::try_from(value).map_err(http::Error::from)?,
            );
        }
        let shown = signed.url.split('?').next().unwrap_or_default();
        self.watched(shown, request, meter, SIGNED_PATIENCE).await
    }

    async fn watched(
        &self,
        uri: &str,
        request: Request<Body>,
        meter: &Meter,
        patience: Duration,
    ) -> Result<(), ClientError> {
        let mut exchange = std::pin::pin!(self.exchange(uri, request));
        let mut before = meter.count();
        loop {
            if let Ok(done) = tokio::time::timeout(patience, &mut exchange).await {
                return done.map(drop);
            }
            let now = meter.count();
            if now == before {
                let uri = uri.to_owned();
                return Err(ClientError::Timeout {
                    uri,
                    waited: patience,
                });
            }
            before = now;
        }
    }
}

async fn body(
    content: &Content,
    offset: u64,
    length: u64,
    meter: Arc<Meter>,
) -> Result<Body, ClientError> {
    let path = match content {
        Content::Memory(bytes) => {
            let part = within(bytes, offset, length);
            meter.add(part.len());
            return Ok(Body::new(Full::from(part).map_err(|never| match never {})));
        }
        Content::Disk(path) => path,
    };
    let file = open(path, offset).await?;
    let chunks = ReaderStream::with_capacity(file.take(length), CHUNK).map_ok(move |chunk| {
        meter.add(chunk.len());
        Frame::data(chunk)
    });
    Ok(Body::new(StreamBody::new(chunks)))
}

async fn open(path: &Path, offset: u64) -> Result<File, ClientError> {
    let opened = async {
        let mut file = File::open(path).await?;
        file.seek(SeekFrom::Start(offset)).await?;
        Ok(file)
    };
    opened.await.map_err(|source| failed(path, source))
}

fn failed(path: &Path, source: io::Error) -> ClientError {
    ClientError::Read {
        path: path.to_owned(),
        source,
    }
}

fn within(bytes: &Bytes, offset: u64, length: u64) -> Bytes {
    let end = (offset + length).min(bytes.len() as u64);
    let start = offset.min(end);
    // Both are within the length of something in memory.
    match (usize::try_from(start), usize::try_from(end)) {
        (Ok(start), Ok(end)) => bytes.slice(start..end),
        _ => Bytes::new(),
    }
}
