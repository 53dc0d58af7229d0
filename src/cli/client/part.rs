//! One part of a file as the body of a request, read while it is sent.

use std::io::SeekFrom;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::{Method, Request, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use super::{Body, Client, ClientError, PATIENCE};

/// What is in memory of a part, bytes.
const CHUNK: usize = 128 * 1024;

/// Where the bytes of a file are.
#[derive(Clone, Debug)]
pub enum Content {
    Disk(PathBuf),
    /// A manifest that was changed on its way.
    Memory(Bytes),
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
        let mut exchange = std::pin::pin!(self.exchange(&uri, request));
        let mut before = meter.count();
        loop {
            if let Ok(done) = tokio::time::timeout(PATIENCE, &mut exchange).await {
                return done.map(drop);
            }
            let now = meter.count();
            if now == before {
                let waited = PATIENCE;
                let uri = uri.clone();
                return Err(ClientError::Timeout { uri, waited });
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
    let failed = |source| ClientError::Read {
        path: path.clone(),
        source,
    };
    let mut file = tokio::fs::File::open(path).await.map_err(failed)?;
    file.seek(SeekFrom::Start(offset)).await.map_err(failed)?;
    let chunks = ReaderStream::with_capacity(file.take(length), CHUNK).map_ok(move |chunk| {
        meter.add(chunk.len());
        Frame::data(chunk)
    });
    Ok(Body::new(StreamBody::new(chunks)))
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
