//! A server behind the proxy that does, byte by byte, what a test wants.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::wait::CEILING;

pub struct Upstream {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

/// One connection from the proxy.
pub struct Peer {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

#[derive(Debug)]
pub struct Received {
    /// Request line and fields, as they came.
    pub head: String,
    pub body: Vec<u8>,
}

impl Upstream {
    /// Gives each connection, with its number from 0, to `serve` on a thread of its own.
    #[expect(clippy::disallowed_methods, reason = "serves beside the test")]
    pub fn start(serve: impl Fn(Peer, usize) + Send + Sync + 'static) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let connections = Arc::new(AtomicUsize::new(0));
        let (serve, count) = (Arc::new(serve), connections.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let serve = serve.clone();
                stream.set_nodelay(true).expect("no delay");
                stream.set_read_timeout(Some(CEILING)).expect("a timeout");
                let unread = Vec::new();
                std::thread::spawn(move || serve(Peer { stream, unread }, number));
            }
        });
        Upstream {
            address,
            connections,
        }
    }

    /// Answers every request with what `answer` makes of it, on connections that stay open.
    pub fn answering(answer: impl Fn(&Received) -> Vec<u8> + Send + Sync + 'static) -> Upstream {
        Upstream::start(move |mut peer, _| {
            while let Some(request) = peer.request() {
                peer.send(&answer(&request));
            }
        })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A whole answer with this body.
pub fn ok(body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut bytes = std::mem::take(&mut answer).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

impl Peer {
    /// The next request; `None` when the connection ends before one.
    pub fn request(&mut self) -> Option<Received> {
        let head = String::from_utf8(self.until(b"\r\n\r\n")?).expect("a head in ASCII");
        let mut request = Received {
            head,
            body: Vec::new(),
        };
        if let Some(length) = request.field("content-length") {
            request.body = self.take(length.parse().expect("a length"))?;
        } else if request.field("transfer-encoding").is_some() {
            loop {
                let size = String::from_utf8(self.until(b"\r\n")?).expect("a size");
                let size = usize::from_str_radix(size.trim(), 16).expect("a size");
                request.body.extend(self.take(size)?);
                self.take(2)?;
                if size == 0 {
                    break;
                }
            }
        }
        Some(request)
    }

    /// The proxy may have gone; what came of it is seen at its other end.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap_or_default();
    }

    /// Whether the proxy still takes something.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    pub fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.unread.len() < length {
            self.fill()?;
        }
        let rest = self.unread.split_off(length);
        Some(std::mem::replace(&mut self.unread, rest))
    }

    pub fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            let found = self.unread.windows(end.len()).position(|at| at == end);
            if let Some(at) = found {
                return self.take(at + end.len());
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Option<()> {
        let mut buffer = [0; 64 * 1024];
        let length = self
            .stream
            .read(&mut buffer)
            .ok()
            .filter(|read| *read > 0)?;
        self.unread.extend_from_slice(&buffer[..length]);
        Some(())
    }
}

impl Received {
    pub fn line(&self) -> &str {
        self.head.split("\r\n").next().unwrap_or_default()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        let fields = self
            .head
            .split("\r\n")
            .filter_map(|line| line.split_once(':'));
        let mut fields = fields.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        fields.next().map(|(_, value)| value.trim())
    }
}
