//! WebSockets that open over HTTP/2 (RFC 8441), as browsers do on a connection they have already.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::upstream::{Peer, Upstream, ok};
use crate::harness::wait::CEILING;
use crate::harness::websocket::{TEXT, frame};
use crate::harness::{Builder, Daemon};
use crate::signaling_stalled::{GENEROUS, stall};

const HOST: &str = "a.test";

fn with_routes(routes: &str) -> Daemon {
    let host = format!("[hosts.\"{HOST}\"]\ntls = \"off\"\n{routes}");
    Builder::new().config(&host).start()
}

fn route(path: &str, to: &str) -> String {
    format!("[[hosts.\"{HOST}\".routes]]\npath = \"{path}\"\nto = {to}\n")
}

fn proxy(path: &str, upstream: &Upstream) -> String {
    let url = upstream.url();
    route(
        path,
        &format!("{{ proxy = {{ upstreams = [\"{url}\"] }} }}"),
    )
}

/// Runs a client on one connection, until `work` ends or takes too long.
fn on_one_connection<W: Future<Output = ()>>(
    daemon: &Daemon,
    work: impl FnOnce(SendRequest<Empty<Bytes>>) -> W,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(daemon.http).await;
        let io = TokioIo::new(stream.expect("a connection"));
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
        let (mut sender, connection) = handshake.expect("HTTP/2");
        // Whether CONNECT is extended is known when the server's settings have come.
        let first = sender.send_request(get("/first"));
        let work = async {
            first.await.expect("an answer");
            work(sender).await;
        };
        tokio::select! {
            () = work => {}
            ended = connection => panic!("the connection ended: {ended:?}"),
            () = late() => panic!("it takes too long"),
        }
    });
}

async fn late() {
    let never = std::future::pending::<()>();
    tokio::time::timeout(CEILING, never)
        .await
        .unwrap_or_default();
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    let request = Request::get(format!("http://{HOST}{path}"));
    request.body(Empty::new()).expect("a request")
}

fn connect(path: &str, protocol: &'static str) -> Request<Empty<Bytes>> {
    let mut request = get(path);
    *request.method_mut() = Method::CONNECT;
    request
        .extensions_mut()
        .insert(Protocol::from_static(protocol));
    let fields = [
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
        ("origin", "https://b.test"),
    ];
    for (name, value) in fields {
        let value = value.parse().expect("a value");
        request.headers_mut().insert(name, value);
    }
    request
}

async fn opened(response: Response<Incoming>) -> TokioIo<Upgraded> {
    assert_eq!(response.status(), StatusCode::OK);
    let upgraded = hyper::upgrade::on(response).await;
    TokioIo::new(upgraded.expect("a stream"))
}

async fn status_and_text(response: Response<Incoming>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body");
    let text = String::from_utf8(body.to_bytes().to_vec()).expect("text");
    (status, text)
}

/// Takes a WebSocket and sends back what comes, after a greeting that stands right behind its answer.
fn echo(mut peer: Peer, _: usize) {
    let Some(request) = peer.request() else {
        return;
    };
    for (name, value) in [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
        ("origin", "https://b.test"),
    ] {
        assert_eq!(request.field(name), Some(value), "{}", request.head);
    }
    let key = request.field("sec-websocket-key").unwrap_or_default();
    assert_eq!(key.len(), 24, "16 bytes in Base64: {key}");
    peer.send(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\nhello",
    );
    while let Some(byte) = peer.take(1) {
        peer.send(&byte);
        if byte == b"!" {
            return;
        }
    }
}

#[test]
fn a_proxied_websocket_opens_beside_other_requests_and_ends_with_its_upstream() {
    let upstream = Upstream::start(echo);
    let routes = route("/", "{ respond = { body = \"page\" } }") + &proxy("/chat", &upstream);
    let daemon = with_routes(&routes);
    on_one_connection(&daemon, async |mut sender| {
        let response = sender.send_request(connect("/chat/7?a=b", "websocket"));
        let response = response.await.expect("an answer");
        let fields = response.headers();
        assert_eq!(fields["sec-websocket-protocol"], "chat");
        for gone in ["connection", "upgrade", "sec-websocket-accept"] {
            assert!(!fields.contains_key(gone), "{gone}");
        }
        let mut socket = opened(response).await;
        let mut seen = [0; 9];
        socket.write_all(b"once").await.expect("it is taken");
        socket.read_exact(&mut seen).await.expect("it comes back");
        assert_eq!(&seen, b"helloonce");
        let page = sender.send_request(get("/")).await.expect("an answer");
        assert_eq!(status_and_text(page).await, (200, "page".to_owned()));
        let large: Vec<u8> = (0..300_000_u32)
            .map(|n| n.to_le_bytes()[1] | 0x80)
            .collect();
        let (mut from, mut to) = tokio::io::split(socket);
        let mut back = vec![0; large.len()];
        let (sent, received) = tokio::join!(to.write_all(&large), from.read_exact(&mut back));
        assert!(sent.is_ok() && received.is_ok() && back == large);
        to.write_all(b"!").await.expect("it is taken");
        let mut rest = Vec::new();
        from.read_to_end(&mut rest).await.expect("an orderly end");
        assert_eq!(rest, b"!");
    });
    let line = "method=CONNECT path=\"/chat/7\" status=200";
    assert!(daemon.log().contains(line), "{}", daemon.log());
}

/// Takes a WebSocket, and sends back what comes in large blocks.
fn echo_blocks(mut peer: Peer, _: usize) {
    if peer.request().is_none() {
        return;
    }
    peer.send(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    while let Some(block) = peer.take(BLOCK) {
        peer.send(&block);
    }
}

const BLOCK: usize = 64 * 1024;

#[test]
fn megabytes_go_through_a_websocket() {
    let upstream = Upstream::start(echo_blocks);
    let routes = route("/", "{ respond = { body = \"page\" } }") + &proxy("/chat", &upstream);
    let daemon = with_routes(&routes);
    on_one_connection(&daemon, async |mut sender| {
        let response = sender.send_request(connect("/chat", "websocket"));
        let socket = opened(response.await.expect("an answer")).await;
        let (mut from, mut to) = tokio::io::split(socket);
        let blocks = 16 * 1024 * 1024 / BLOCK;
        let send = async {
            for number in 0..blocks {
                let block = [u8::try_from(number % 251).expect("a byte"); BLOCK];
                to.write_all(&block).await.expect("it is taken");
            }
        };
        let receive = async {
            let mut block = vec![0; BLOCK];
            for number in 0..blocks {
                from.read_exact(&mut block).await.expect("it comes back");
                let wanted = u8::try_from(number % 251).expect("a byte");
                assert!(block.iter().all(|byte| *byte == wanted), "block {number}");
            }
        };
        tokio::join!(send, receive);
        let page = sender.send_request(get("/")).await.expect("an answer");
        assert_eq!(page.status(), StatusCode::OK);
    });
}

#[test]
fn an_upstream_hears_that_the_client_has_gone() {
    let (sender, ended) = std::sync::mpsc::channel();
    let upstream = Upstream::start(move |peer, number| {
        echo(peer, number);
        sender.send(()).expect("the test listens");
    });
    let daemon = with_routes(&proxy("/chat", &upstream));
    on_one_connection(&daemon, async |mut sender| {
        let response = sender.send_request(connect("/chat", "websocket")).await;
        let mut socket = opened(response.expect("an answer")).await;
        socket.write_all(b"once").await.expect("it is taken");
        socket.read_exact(&mut [0; 9]).await.expect("it comes back");
        socket.shutdown().await.expect("it is told");
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.expect("an orderly end");
    });
    ended.recv_timeout(CEILING).expect("the upstream hears it");
}

#[test]
fn the_signaling_room_opens_over_http2() {
    let daemon = with_routes(&route("/room", "\"signaling\""));
    on_one_connection(&daemon, async |mut sender| {
        let mut sockets = Vec::new();
        for _ in 0..2 {
            let response = sender.send_request(connect("/room", "websocket")).await;
            sockets.push(opened(response.expect("an answer")).await);
        }
        let subscribe = br#"{"type":"subscribe","topics":["doc"]}"#;
        sockets[0]
            .write_all(&frame(0x80 | TEXT, subscribe))
            .await
            .expect("it is taken");
        let ping = frame(0x80 | TEXT, br#"{"type":"ping"}"#);
        sockets[0].write_all(&ping).await.expect("it is taken");
        let mut pong = [0; 17];
        sockets[0].read_exact(&mut pong).await.expect("a pong");
        assert!(pong.ends_with(br#"{"type":"pong"}"#));
        let publish = br#"{"type":"publish","topic":"doc","data":"hello"}"#;
        sockets[1]
            .write_all(&frame(0x80 | TEXT, publish))
            .await
            .expect("it is taken");
        let mut head = [0; 2];
        sockets[0].read_exact(&mut head).await.expect("a delivery");
        let mut delivery = vec![0; usize::from(head[1])];
        sockets[0]
            .read_exact(&mut delivery)
            .await
            .expect("a delivery");
        assert!(String::from_utf8_lossy(&delivery).contains("\"data\":\"hello\""));
    });
}

#[test]
fn the_stream_of_a_reader_that_stalls_in_the_room_is_reset() {
    let daemon = with_routes(&format!("{}{GENEROUS}", route("/room", "\"signaling\"")));
    on_one_connection(&daemon, async |mut sender| {
        let response = sender.send_request(connect("/room", "websocket")).await;
        let mut socket = opened(response.expect("an answer")).await;
        let ping = frame(0x80 | TEXT, br#"{"type":"ping"}"#);
        let subscribe = frame(0x80 | TEXT, br#"{"type":"subscribe","topics":["doc"]}"#);
        let sent = socket.write_all(&[subscribe, ping.clone()].concat()).await;
        sent.expect("it is taken");
        let mut pong = [0; 17];
        socket.read_exact(&mut pong).await.expect("a pong");
        stall(&daemon, "doc");
        while socket.write_all(&ping).await.is_ok() {
            tokio::task::yield_now().await;
        }
        let page = sender.send_request(get("/")).await;
        assert_eq!(
            page.expect("the connection goes on").status(),
            StatusCode::NOT_FOUND
        );
    });
}

#[test]
fn what_does_not_open_a_websocket_is_no_success() {
    let upstream = Upstream::answering(|request| match request.line() {
        line if line.contains("/forbidden") => {
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_vec()
        }
        _ => ok(b"page"),
    });
    let routes = route("/", "{ respond = { body = \"page\" } }") + &proxy("/up", &upstream);
    let daemon = with_routes(&routes);
    on_one_connection(&daemon, async |mut sender| {
        let refused = "There is no WebSocket here";
        for (path, protocol, status, text) in [
            ("/", "websocket", 400, refused),
            ("/up", "websocket", 400, refused),
            ("/up/forbidden", "websocket", 403, "no"),
            ("/up", "connect-udp", 501, ""),
        ] {
            let response = sender.send_request(connect(path, protocol)).await;
            let (seen, body) = status_and_text(response.expect("an answer")).await;
            assert_eq!(seen, status, "{protocol} {path}: {body}");
            assert!(body.contains(text), "{body}");
        }
        let page = sender.send_request(get("/")).await.expect("an answer");
        assert_eq!(page.status(), StatusCode::OK);
    });
}
