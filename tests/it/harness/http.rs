//! A plain HTTP/1.1 client that shows what is really on the wire, one connection at a time.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use super::wait::CEILING;

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case, in the order of the wire.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name)?;
        Some(&found.1)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// One connection, kept open between requests.
pub struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Connection {
        Connection::try_open(address).expect("the daemon accepts")
    }

    /// Like `open` for a daemon that may be dead already.
    pub fn try_open(address: SocketAddr) -> std::io::Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream
            .set_read_timeout(Some(CEILING))
            .expect("a read timeout");
        stream
            .set_write_timeout(Some(CEILING))
            .expect("a write timeout");
        Ok(Connection {
            stream,
            unread: Vec::new(),
        })
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the daemon reads");
    }

    /// Like `send` for a peer that may have hung up already.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The next answer; for one without a body (HEAD, 304) pass `false`.
    pub fn answer(&mut self, with_body: bool) -> Answer {
        self.try_answer(with_body)
            .expect("an answer before the connection ends")
    }

    /// `None` when the connection ends, or is reset, before a whole answer.
    pub fn try_answer(&mut self, with_body: bool) -> Option<Answer> {
        let head = self.until(b"\r\n\r\n")?;
        let head = String::from_utf8(head).expect("a head in ASCII");
        let mut lines = head.split("\r\n");
        let status: u16 = lines
            .next()?
            .split(' ')
            .nth(1)?
            .parse()
            .expect("a status code");
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        if status == 100 {
            return Some(answer);
        }
        if with_body && !matches!(status, 204 | 304) {
            answer.body = self.body(&answer)?;
        }
        Some(answer)
    }

    fn body(&mut self, answer: &Answer) -> Option<Vec<u8>> {
        if let Some(length) = answer.header("content-length") {
            return self.take(length.parse().expect("a length"));
        }
        let mut body = Vec::new();
        if answer.header("transfer-encoding").is_none() {
            while self.fill() {}
            return Some(std::mem::take(&mut self.unread));
        }
        loop {
            let line = self.until(b"\r\n")?;
            let size = String::from_utf8(line).expect("a chunk size");
            let size = usize::from_str_radix(size.trim(), 16).expect("a chunk size");
            body.extend(self.take(size)?);
            self.take(2)?;
            if size == 0 {
                return Some(body);
            }
        }
    }

    /// Whether the peer has closed, with nothing left to read.
    pub fn is_closed(&mut self) -> bool {
        self.unread.is_empty() && !self.fill()
    }

    fn fill(&mut self) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(length) => {
                self.unread.extend_from_slice(&buffer[..length]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("the daemon went silent: {error}"),
        }
    }

    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.unread.len() < length {
            if !self.fill() {
                return None;
            }
        }
        let rest = self.unread.split_off(length);
        Some(std::mem::replace(&mut self.unread, rest))
    }

    fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self
                .unread
                .windows(end.len())
                .position(|bytes| bytes == end)
            {
                return self.take(at + end.len());
            }
            if !self.fill() {
                return None;
            }
        }
    }
}

/// One request on a connection of its own; `extra` are whole header lines.
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    extra: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut connection = Connection::open(address);
    connection.send(&head(method, path, extra, Some(body.len())));
    // A refused body may not be read to its end: what matters is the answer.
    let sent = connection.try_send(body);
    match connection.try_answer(method != "HEAD") {
        Some(answer) => answer,
        None => panic!("{method} {path}: no answer (sent: {sent:?})"),
    }
}

pub fn get(address: SocketAddr, path: &str) -> Answer {
    request(address, "GET", path, &[], b"")
}

/// A request head; without a length it has none, for bodies that come in chunks.
pub fn head(method: &str, path: &str, extra: &[(&str, &str)], length: Option<usize>) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    if !extra
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        head += "Host: localhost\r\n";
    }
    for (name, value) in extra {
        head += &format!("{name}: {value}\r\n");
    }
    if let Some(length) = length.filter(|length| *length > 0 || method != "GET") {
        head += &format!("Content-Length: {length}\r\n");
    }
    head += "\r\n";
    head.into_bytes()
}
