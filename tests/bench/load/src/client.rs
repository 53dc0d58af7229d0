//! One WebSocket client that knows just enough: a handshake, masked frames out, headers of frames in.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd as _, RawFd};

pub struct Client {
    stream: TcpStream,
    /// The beginning of a frame whose rest has not come.
    partial: Vec<u8>,
}

/// Where a publish carries the time and its sender. Every server passes members on in order, and puts `clients` last.
pub struct Layout;
pub const PUBLISH_TIME: Layout = Layout;
const HEAD: &str = r#"{"type":"publish","topic":"room-0000","time":"#;
const DIGITS: usize = 12;
const SENDER: &str = r#","from":"#;
/// The whole publish, bytes.
const SIZE: usize = 200;

impl Layout {
    pub fn time(&self, payload: &[u8]) -> u64 {
        number(&payload[HEAD.len()..HEAD.len() + DIGITS]) - FIRST as u64
    }

    pub fn sender(&self, payload: &[u8]) -> Option<usize> {
        let start = HEAD.len() + DIGITS + SENDER.len();
        let digits = payload.get(start..start + DIGITS)?;
        Some(number(digits) as usize - FIRST)
    }
}

/// Numbers are this much larger than they are, so that they have as many digits as are looked for.
const FIRST: usize = 100_000_000_000;

fn number(digits: &[u8]) -> u64 {
    digits
        .iter()
        .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

impl Client {
    pub fn open(address: SocketAddr) -> Client {
        let mut client = Client::begin(address);
        client.finish();
        client
    }

    pub fn begin(address: SocketAddr) -> Client {
        Client::try_begin(address).expect("a connection")
    }

    /// Connects and sends the handshake; the answer is read later, so that several are under way.
    pub fn try_begin(address: SocketAddr) -> Option<Client> {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).ok()?;
        stream
            .write_all(
                b"GET / HTTP/1.1\r\nHost: localhost:4444\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            )
            .ok()?;
        Some(Client {
            stream,
            partial: Vec::new(),
        })
    }

    pub fn finish(&mut self) {
        assert!(self.answered(), "the handshake is answered by 101");
    }

    fn answered(&mut self) -> bool {
        let mut buffer = [0; 512];
        let mut length = 0;
        while !buffer[..length].ends_with(b"\r\n\r\n") {
            match self.stream.read(&mut buffer[length..]) {
                Ok(0) | Err(_) => return false,
                Ok(more) => length += more,
            }
        }
        buffer.starts_with(b"HTTP/1.1 101")
    }

    pub fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    pub fn subscribe(&self, room: usize) {
        self.send(format!(r#"{{"type":"subscribe","topics":["room-{room:04}"]}}"#).as_bytes());
    }

    /// Waits until the server has acted on what was sent, then stops blocking.
    pub fn settle(&mut self) {
        self.send(br#"{"type":"ping"}"#);
        let mut pong = [0; 17];
        self.stream.read_exact(&mut pong).expect("a pong");
        self.stream
            .set_nonblocking(true)
            .expect("a socket that does not block");
    }

    pub fn publish(&self, room: usize, sender: usize, time: u64) {
        let sender = if sender == usize::MAX {
            FIRST - 1
        } else {
            sender
        };
        let (time, sender) = (FIRST as u64 + time, FIRST + sender);
        let mut text = Vec::with_capacity(SIZE);
        write!(
            text,
            r#"{{"type":"publish","topic":"room-{room:04}","time":{time},"from":{sender},"data":""#
        )
        .expect("memory");
        text.resize(SIZE - 2, b'x');
        text.extend_from_slice(b"\"}");
        self.send(&text);
    }

    fn send(&self, payload: &[u8]) {
        let mut frame = Vec::with_capacity(payload.len() + 8);
        frame.push(0x81);
        match u8::try_from(payload.len()) {
            Ok(short) if short < 126 => frame.push(0x80 | short),
            _ => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
            }
        }
        // A mask of zeros costs the server what any other costs, and the load nothing.
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        (&self.stream).write_all(&frame).expect("the server reads");
    }

    /// What came, behind an unfinished frame; none when the connection has ended.
    pub fn read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let kept = self.partial.len();
        buffer[..kept].copy_from_slice(&self.partial);
        self.partial.clear();
        // SAFETY: the kernel writes at most as many bytes as the rest of the buffer has.
        let read = unsafe {
            libc::recv(
                self.fd(),
                buffer[kept..].as_mut_ptr().cast(),
                buffer.len() - kept,
                libc::MSG_DONTWAIT,
            )
        };
        match read {
            0 => None,
            read if read > 0 => Some(kept + read as usize),
            _ if std::io::Error::last_os_error().kind() == ErrorKind::WouldBlock => Some(kept),
            _ => None,
        }
    }

    /// Calls `each` with the payload of every whole text frame; returns how many bytes they took. Pings are answered.
    pub fn frames(&self, bytes: &[u8], mut each: impl FnMut(&[u8])) -> usize {
        let mut at = 0;
        while let [first, second, rest @ ..] = &bytes[at..] {
            let (head, length) = match (second, rest) {
                (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
                (126 | 127, _) => break,
                (short, _) => (2, usize::from(*short)),
            };
            let Some(payload) = bytes.get(at + head..at + head + length) else {
                break;
            };
            match first {
                0x81 => each(payload),
                0x89 => (&self.stream)
                    .write_all(&[0x8a, 0x80, 0, 0, 0, 0])
                    .expect("the server reads"),
                _ => panic!(
                    "the server closes: {:?}",
                    String::from_utf8_lossy(&payload[2..])
                ),
            }
            at += head + length;
        }
        at
    }

    pub fn keep(&mut self, rest: &[u8]) {
        self.partial.extend_from_slice(rest);
    }
}

impl Drop for Client {
    /// Resets the connection: thousands in TIME_WAIT would use up the ports.
    fn drop(&mut self) {
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        // SAFETY: the option is as long as is said.
        let set = unsafe {
            libc::setsockopt(
                self.stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of::<libc::linger>() as libc::socklen_t,
            )
        };
        assert_eq!(set, 0, "SO_LINGER");
    }
}
