//! A WebSocket client that may break every rule: it sends the bytes it is told to.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::wait::CEILING;

pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;

pub struct WebSocket {
    pub stream: TcpStream,
    received: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    Text(String),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// Code and reason; 1005 stands for a close frame without a code (RFC 6455 §7.1.5).
    Close(u16, String),
    /// The connection ended without a close frame.
    End,
}

/// A connection from this address of loopback.
pub fn connect_from(source: &str, address: SocketAddr) -> TcpStream {
    let kind = socket2::Type::STREAM;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, kind, None).expect("a socket");
    let source: SocketAddr = format!("{source}:0").parse().expect("an address");
    socket.bind(&source.into()).expect("an address of loopback");
    socket.connect(&address.into()).expect("a connection");
    TcpStream::from(socket)
}

/// Sends a request head and returns the answer's head with what came behind it.
pub fn request(address: SocketAddr, head: &str) -> (TcpStream, String, Vec<u8>) {
    let stream = TcpStream::connect(address).expect("a connection");
    request_on(stream, head)
}

fn request_on(mut stream: TcpStream, head: &str) -> (TcpStream, String, Vec<u8>) {
    stream
        .set_read_timeout(Some(CEILING))
        .expect("a read timeout");
    stream.set_nodelay(true).expect("no delay");
    stream
        .write_all(head.as_bytes())
        .expect("a request is taken");
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let end = received.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let rest = received.split_off(end + 4);
            return (
                stream,
                String::from_utf8(received).expect("a head in ASCII"),
                rest,
            );
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => {
                return (
                    stream,
                    String::from_utf8_lossy(&received).into_owned(),
                    Vec::new(),
                );
            }
            Ok(length) => received.extend_from_slice(&buffer[..length]),
        }
    }
}

pub fn handshake(path: &str, fields: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: seance\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    )
}

impl WebSocket {
    pub fn connect(address: SocketAddr) -> WebSocket {
        WebSocket::open(address, "/", "").expect("the handshake is accepted")
    }

    /// `Err` is the head of an answer that is not 101.
    pub fn open(address: SocketAddr, path: &str, fields: &str) -> Result<WebSocket, String> {
        let stream = TcpStream::connect(address).expect("a connection");
        WebSocket::open_on(stream, path, fields)
    }

    pub fn open_on(stream: TcpStream, path: &str, fields: &str) -> Result<WebSocket, String> {
        let (stream, head, received) = request_on(stream, &handshake(path, fields));
        if !head.starts_with("HTTP/1.1 101 ") {
            return Err(head);
        }
        let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        assert!(
            head.contains(accept),
            "the answer of RFC 6455 §1.3, not {head}"
        );
        Ok(WebSocket { stream, received })
    }

    /// Like `open` for a server that looks at the host.
    pub fn named(address: SocketAddr, host: &str, path: &str) -> Result<WebSocket, String> {
        WebSocket::named_with(address, host, path, "")
    }

    pub fn named_with(
        address: SocketAddr,
        host: &str,
        path: &str,
        fields: &str,
    ) -> Result<WebSocket, String> {
        let head = handshake(path, fields).replace("Host: seance", &format!("Host: {host}"));
        let (stream, head, received) = request(address, &head);
        if head.starts_with("HTTP/1.1 101 ") {
            return Ok(WebSocket { stream, received });
        }
        Err(head)
    }

    /// A whole masked frame.
    pub fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.raw(&frame(0x80 | opcode, payload));
    }

    pub fn text(&mut self, text: &str) {
        self.send(TEXT, text.as_bytes());
    }

    pub fn subscribe(&mut self, topic: &str) {
        self.text(&format!(r#"{{"type":"subscribe","topics":["{topic}"]}}"#));
        self.settle();
    }

    pub fn publish(&mut self, topic: &str, data: &str) {
        self.text(&format!(
            r#"{{"type":"publish","topic":"{topic}","data":"{data}"}}"#
        ));
    }

    /// Waits until the server has acted on everything sent before.
    pub fn settle(&mut self) {
        self.text(r#"{"type":"ping"}"#);
        assert_eq!(
            self.receive(),
            Received::Text(r#"{"type":"pong"}"#.to_owned())
        );
    }

    /// Sends these bytes as they are. The peer may have closed already; what it said is read later.
    pub fn raw(&mut self, bytes: &[u8]) {
        if let Err(error) = self.stream.write_all(bytes) {
            assert!(
                matches!(
                    error.kind(),
                    ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
                ),
                "{error}"
            );
        }
    }

    pub fn receive(&mut self) -> Received {
        self.receive_within(CEILING).expect("something is received")
    }

    /// The next frame, or none when nothing came for `most`.
    pub fn receive_within(&mut self, most: Duration) -> Option<Received> {
        let until = Instant::now() + most;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if let Some(received) = self.next() {
                return Some(received);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.stream
                .set_read_timeout(Some(left))
                .expect("a read timeout");
            match self.stream.read(&mut buffer) {
                Ok(0) => return Some(Received::End),
                Ok(length) => self.received.extend_from_slice(&buffer[..length]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return Some(Received::End),
            }
        }
    }

    /// The code and reason with which the server closes; everything before it is passed over.
    pub fn closed(&mut self) -> (u16, String) {
        loop {
            match self.receive() {
                Received::Close(code, reason) => return (code, reason),
                Received::End => panic!("the connection ended without a close frame"),
                Received::Text(_) | Received::Ping(_) | Received::Pong(_) => {}
            }
        }
    }

    /// The text of the next delivery; pings before it are answered.
    pub fn delivery(&mut self) -> serde_json::Value {
        loop {
            match self.receive() {
                Received::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Received::Ping(payload) => self.send(PONG, &payload),
                other => panic!("a delivery, not {other:?}"),
            }
        }
    }

    fn next(&mut self) -> Option<Received> {
        let [first, second, ..] = self.received[..] else {
            return None;
        };
        let (start, length) = match second {
            126 => (
                4,
                usize::from(u16::from_be_bytes(
                    self.received.get(2..4)?.try_into().expect("two bytes"),
                )),
            ),
            127 => {
                let length =
                    u64::from_be_bytes(self.received.get(2..10)?.try_into().expect("eight bytes"));
                (10, usize::try_from(length).expect("a length"))
            }
            short => (2, usize::from(short)),
        };
        let payload = self.received.get(start..start + length)?.to_vec();
        self.received.drain(..start + length);
        assert_eq!(first & 0xF0, 0x80, "whole frames without reserved bits");
        Some(match first & 0x0F {
            TEXT => Received::Text(String::from_utf8(payload).expect("text in UTF-8")),
            PING => Received::Ping(payload),
            PONG => Received::Pong(payload),
            CLOSE if payload.is_empty() => Received::Close(1005, String::new()),
            CLOSE => {
                let reason = String::from_utf8(payload[2..].to_vec()).expect("a reason in UTF-8");
                Received::Close(u16::from_be_bytes([payload[0], payload[1]]), reason)
            }
            opcode => panic!("a server does not send opcode {opcode}"),
        })
    }
}

/// A masked frame with any first byte and the shortest length.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | u8::try_from(length).expect("a short length")),
        length @ 126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&u16::try_from(length).expect("a length").to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    bytes.extend_from_slice(&mask);
    bytes.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}
