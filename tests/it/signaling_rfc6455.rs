//! The connected phase of RFC 6455, case by case: what is legal works, what is not closes that connection alone with
//! the right code. The cases follow the chapters of the Autobahn test suite, whose echo a signaling server cannot give.

use crate::harness::websocket::{
    BINARY, CLOSE, PING, PONG, Received, TEXT, WebSocket, frame, handshake, request,
};
use crate::harness::{Builder, Daemon};

const FIN: u8 = 0x80;
const SUBSCRIBE: &[u8] = br#"{"type":"subscribe","topics":["room"]}"#;

fn start() -> (Daemon, std::net::SocketAddr) {
    let daemon = Builder::new().start();
    let address = daemon.signaling.expect("a signaling address");
    (daemon, address)
}

/// Asserts that `bytes` close the connection that sent them with `code`, and nobody else's.
fn assert_closes(
    address: std::net::SocketAddr,
    witness: &mut WebSocket,
    what: &str,
    bytes: &[u8],
    code: u16,
) {
    let mut peer = WebSocket::connect(address);
    peer.raw(bytes);
    assert_eq!(peer.closed().0, code, "{what}");
    assert_eq!(
        peer.receive(),
        Received::End,
        "{what}: the server ends the connection"
    );
    witness.publish("room", what);
    assert_eq!(witness.delivery()["data"], what);
}

/// Asserts that a peer that sent `bytes` can go on.
fn assert_harmless(address: std::net::SocketAddr, what: &str, bytes: &[u8]) {
    let mut peer = WebSocket::connect(address);
    peer.raw(bytes);
    peer.text(r#"{"type":"ping"}"#);
    loop {
        match peer.receive() {
            Received::Text(text) => return assert_eq!(text, r#"{"type":"pong"}"#, "{what}"),
            Received::Pong(_) => {}
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn protocol_violations_close_with_1002() {
    let (_daemon, address) = start();
    let mut witness = WebSocket::connect(address);
    witness.subscribe("room");
    for (what, bytes) in violations() {
        assert_closes(address, &mut witness, what, &bytes, 1002);
    }
}

#[rustfmt::skip] // a table is read by its columns
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn violations() -> Vec<(&'static str, Vec<u8>)> {
    let long = vec![b'x'; 126];
    vec![
        ("3.1 RSV1", frame(FIN | 0x40 | TEXT, SUBSCRIBE)),
        ("3.2 RSV2", frame(FIN | 0x20 | TEXT, SUBSCRIBE)),
        ("3.3 RSV3", frame(FIN | 0x10 | TEXT, SUBSCRIBE)),
        ("3.4 RSV on a ping", frame(FIN | 0x40 | PING, b"")),
        ("4.1.1 reserved data opcode 3", frame(FIN | 0x3, b"")),
        ("4.1.5 reserved data opcode 7", frame(FIN | 0x7, b"x")),
        ("4.2.1 reserved control opcode 11", frame(FIN | 0xB, b"")),
        ("4.2.5 reserved control opcode 15", frame(FIN | 0xF, b"x")),
        ("2.5 ping of 126 bytes", frame(FIN | PING, &long)),
        ("pong of 126 bytes", frame(FIN | PONG, &long)),
        ("7.3.6 close of 126 bytes", frame(FIN | CLOSE, &long)),
        ("5.1 fragmented ping", frame(PING, b"")),
        ("5.2 fragmented pong", frame(PONG, b"")),
        ("fragmented close", frame(CLOSE, b"")),
        ("5.9 continuation of nothing", frame(FIN, SUBSCRIBE)),
        (
            "5.10 unfinished continuation of nothing",
            frame(0, SUBSCRIBE),
        ),
        (
            "5.18 text inside a fragmented text",
            [frame(TEXT, b"a"), frame(FIN | TEXT, b"b")].concat(),
        ),
        (
            "binary inside a fragmented text",
            [frame(TEXT, b"a"), frame(FIN | BINARY, b"b")].concat(),
        ),
        ("not masked", b"\x81\x02{}".to_vec()),
        (
            "length of 5 in two bytes",
            b"\x81\xfe\x00\x05\0\0\0\0abcde".to_vec(),
        ),
        (
            "length of 5 in eight bytes",
            b"\x81\xff\0\0\0\0\0\0\0\x05\0\0\0\0abcde".to_vec(),
        ),
        (
            "length with the top bit",
            b"\x81\xff\x80\0\0\0\0\x01\0\0\0\0\0\0".to_vec(),
        ),
        ("7.3.2 close of one byte", frame(FIN | CLOSE, b"\x03")),
        (
            "7.9.1 close code 0",
            frame(FIN | CLOSE, &0u16.to_be_bytes()),
        ),
        (
            "7.9.2 close code 999",
            frame(FIN | CLOSE, &999u16.to_be_bytes()),
        ),
        (
            "7.9.3 close code 1004",
            frame(FIN | CLOSE, &1004u16.to_be_bytes()),
        ),
        (
            "7.9.4 close code 1005",
            frame(FIN | CLOSE, &1005u16.to_be_bytes()),
        ),
        (
            "7.9.5 close code 1006",
            frame(FIN | CLOSE, &1006u16.to_be_bytes()),
        ),
        (
            "7.9.7 close code 1015",
            frame(FIN | CLOSE, &1015u16.to_be_bytes()),
        ),
        (
            "7.9.10 close code 2999",
            frame(FIN | CLOSE, &2999u16.to_be_bytes()),
        ),
        (
            "7.13.2 close code 65535",
            frame(FIN | CLOSE, &65535u16.to_be_bytes()),
        ),
        (
            "an HTTP request where a frame should be",
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        ),
    ]
}

#[test]
fn text_that_is_not_utf_8_closes_with_1007() {
    let (_daemon, address) = start();
    let mut witness = WebSocket::connect(address);
    witness.subscribe("room");
    for (what, bytes) in [
        (
            "6.3 a lone continuation byte",
            frame(FIN | TEXT, b"{\"type\":\"\x80\"}"),
        ),
        (
            "6.4 invalid in the second fragment",
            [frame(TEXT, b"{\"a\":\""), frame(FIN, b"\xff\"}")].concat(),
        ),
        (
            "6.14 a truncated character",
            frame(FIN | TEXT, b"\"\xce\xba\xe1\xbd"),
        ),
        ("6.16 overlong slash", frame(FIN | TEXT, b"\xc0\xaf")),
        (
            "6.20 half a surrogate pair",
            frame(FIN | TEXT, b"\xed\xa0\x80"),
        ),
        (
            "6.22 above U+10FFFF",
            frame(FIN | TEXT, b"\xf4\x90\x80\x80"),
        ),
        (
            "7.5.1 close reason",
            frame(FIN | CLOSE, b"\x03\xe8\xce\xba\xe1\xbd\xb9\xcf\x83\xed"),
        ),
    ] {
        assert_closes(address, &mut witness, what, &bytes, 1007);
    }
}

#[test]
fn legal_frames_of_every_shape_are_taken() {
    let (_daemon, address) = start();
    let split: Vec<u8> = SUBSCRIBE
        .iter()
        .enumerate()
        .flat_map(|(at, byte)| {
            let fin = if at + 1 == SUBSCRIBE.len() { FIN } else { 0 };
            frame(fin | if at == 0 { TEXT } else { 0 }, &[*byte])
        })
        .collect();
    for (what, bytes) in [
        ("1.1.1 empty text", frame(FIN | TEXT, b"")),
        ("1.2.1 empty binary", frame(FIN | BINARY, b"")),
        (
            "1.1.6 text of 65535 bytes",
            frame(FIN | TEXT, &vec![b' '; 65_535]),
        ),
        (
            "1.1.7 text of 65536 bytes",
            frame(FIN | TEXT, &vec![b' '; 65_536]),
        ),
        ("2.1 empty ping", frame(FIN | PING, b"")),
        ("2.4 ping of 125 bytes", frame(FIN | PING, &[0xfe; 125])),
        ("2.7 unasked pong", frame(FIN | PONG, b"")),
        ("2.10 ten pings at once", frame(FIN | PING, b"x").repeat(10)),
        (
            "5.3 text in two fragments",
            [frame(TEXT, b"{\"a\""), frame(FIN, b":1}")].concat(),
        ),
        (
            "5.6 ping between fragments",
            [frame(TEXT, b"{"), frame(FIN | PING, b"p"), frame(FIN, b"}")].concat(),
        ),
        ("6.2.3 a byte in each fragment", split),
        (
            "5.15 empty fragments",
            [frame(TEXT, b""), frame(0, b""), frame(FIN, b"{}")].concat(),
        ),
        ("binary that is not UTF-8", frame(FIN | BINARY, b"\xff\xfe")),
    ] {
        assert_harmless(address, what, &bytes);
    }
}

#[test]
fn a_frame_may_come_in_any_pieces() {
    let (_daemon, address) = start();
    let mut peer = WebSocket::connect(address);
    let bytes = frame(FIN | PING, b"0123456789");
    for at in 1..bytes.len() {
        peer.raw(&bytes[..at]);
        peer.raw(&bytes[at..]);
        assert_eq!(peer.receive(), Received::Pong(b"0123456789".to_vec()));
    }
    for byte in &bytes {
        peer.raw(&[*byte]);
    }
    assert_eq!(peer.receive(), Received::Pong(b"0123456789".to_vec()));
}

#[test]
fn a_close_is_answered_with_its_code_and_ends_the_connection() {
    let (_daemon, address) = start();
    for (payload, code) in [
        (&b""[..], 1000),
        (&b"\x03\xe8"[..], 1000),
        (&b"\x03\xe9going"[..], 1001),
        (&b"\x0b\xb8"[..], 3000),
        (&b"\x13\x87"[..], 4999),
    ] {
        let mut peer = WebSocket::connect(address);
        peer.send(CLOSE, payload);
        peer.text("{}"); // nothing is read behind a close frame
        assert_eq!(peer.closed().0, code);
        assert_eq!(peer.receive(), Received::End);
    }
}

#[test]
fn a_handshake_is_answered_by_the_book() {
    let (_daemon, address) = start();
    let good = handshake("/", "");
    for (what, head, status) in [
        ("no key", good.replace("Sec-WebSocket-Key", "X-Key"), "400"),
        (
            "a key of 15 bytes",
            good.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZ"),
            "400",
        ),
        (
            "an old version",
            good.replace("Version: 13", "Version: 8"),
            "426",
        ),
        (
            "no version",
            good.replace("Sec-WebSocket-Version", "X-Version"),
            "400",
        ),
        (
            "another upgrade",
            good.replace("Upgrade: websocket", "Upgrade: h2c"),
            "400",
        ),
        (
            "no connection field",
            good.replace("Connection: Upgrade", "X-Connection: Upgrade"),
            "400",
        ),
        ("HTTP/1.0", good.replace("HTTP/1.1", "HTTP/1.0"), "400"),
        ("another method", good.replace("GET", "POST"), "405"),
        ("no HTTP", "hello\r\n\r\n".to_owned(), "400"),
        (
            "a head without end",
            format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(20_000)),
            "431",
        ),
        (
            "a long head that comes at once",
            handshake("/", &format!("X: {}\r\n", "x".repeat(20_000))),
            "431",
        ),
        ("no host", good.replace("Host: seance\r\n", ""), "400"),
        ("two hosts", handshake("/", "Host: other\r\n"), "400"),
        (
            "HEAD",
            "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "200",
        ),
    ] {
        let (_stream, answer, _) = request(address, &head);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{what}: {answer}"
        );
        assert!(
            status != "426" || answer.contains("sec-websocket-version: 13"),
            "{answer}"
        );
    }
    let other_case = good
        .replace("Connection: Upgrade", "connection: keep-alive, upgrade")
        .replace("websocket\r", "WebSocket\r");
    assert!(request(address, &other_case).1.starts_with("HTTP/1.1 101 "));
}
