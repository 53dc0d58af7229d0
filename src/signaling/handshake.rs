//! The opening handshake: from the head of an HTTP request to an answer.
//!
//! tungstenite checks and answers the WebSocket part (RFC 6455 §4.2); what is no WebSocket request is
//! answered here, as the y-webrtc server does: a plain `GET` gets `okay`.

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server;

use super::end::End;
use super::token::{Claims, Keys};
use crate::clock;

/// Bytes that a request head may take; browsers send one or two KB, cookies included.
pub const MAX_HEAD: usize = 16 * 1024;

/// What a request head led to.
pub enum Outcome {
    /// More bytes are needed.
    Incomplete,
    /// The WebSocket is open once `answer` is sent; frames begin at byte `head` of what was read.
    Open {
        answer: Vec<u8>,
        head: usize,
        grant: Option<Box<Claims>>,
    },
    /// The connection ends after `answer`.
    Refused { answer: Vec<u8>, end: End },
}

/// Who may open a WebSocket.
pub struct Admission {
    /// Values of `Origin` that are accepted; empty accepts every one and none at all.
    pub origins: Vec<String>,
    pub keys: Keys,
    pub require_token: bool,
}

impl Admission {
    /// A page that asks its own server for something other than a WebSocket names no origin (Fetch §3.2), but says that it
    /// is such a page.
    fn knows_origin(&self, headers: &HeaderMap) -> bool {
        if self.origins.is_empty() {
            return true;
        }
        match headers.get(header::ORIGIN) {
            Some(origin) => self.origins.iter().any(|known| origin == known.as_str()),
            None => headers
                .get("sec-fetch-site")
                .is_some_and(|site| site == "same-origin"),
        }
    }

    /// What the token in the query allows; none without a token where none is needed. Browsers cannot set a header on a
    /// WebSocket, so it has to be the query, which is never logged.
    fn grant(&self, query: Option<&str>) -> Result<Option<Box<Claims>>, StatusCode> {
        let mut members = query.unwrap_or_default().split('&');
        match members.find_map(|member| member.strip_prefix("token=")) {
            Some(token) => {
                let claims = self.keys.verify(token, clock::now().as_second());
                claims
                    .map(|claims| Some(Box::new(claims)))
                    .map_err(|_| StatusCode::UNAUTHORIZED)
            }
            None if self.require_token => Err(StatusCode::UNAUTHORIZED),
            None => Ok(None),
        }
    }

    /// Whether who may enter the room sends this request.
    pub fn admits<B>(&self, request: &Request<B>) -> Result<Option<Box<Claims>>, StatusCode> {
        if !self.knows_origin(request.headers()) {
            return Err(StatusCode::FORBIDDEN);
        }
        self.grant(request.uri().query())
    }
}

/// Reads the head of a request that came in on our own port.
pub fn read(bytes: &[u8], admission: &Admission) -> Outcome {
    let (head, request) = match server::Request::try_parse(bytes) {
        Ok(Some((head, request))) if head <= MAX_HEAD => (head, request),
        Ok(None) if bytes.len() < MAX_HEAD => return Outcome::Incomplete,
        Ok(_) => return refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        // tungstenite reads nothing but GET; a health check may well ask with another method.
        Err(_) if bytes.starts_with(b"HEAD ") => return plain(true),
        Err(_) if is_other_method(bytes) => return refuse(StatusCode::METHOD_NOT_ALLOWED),
        Err(_) => return refuse(StatusCode::BAD_REQUEST),
    };
    if !request.headers().contains_key(header::UPGRADE) {
        return plain(false);
    }
    // RFC 6455 §4.2.1. The HTTP listener has seen to it before.
    if request.headers().get_all(header::HOST).iter().count() != 1 {
        return refuse(StatusCode::BAD_REQUEST);
    }
    match open(&request, admission) {
        Ok((response, grant)) => Outcome::Open {
            answer: encode(&response, ""),
            head,
            grant,
        },
        Err(status) => refuse(status),
    }
}

/// The answer to a request under `/signaling` of the HTTP listener, with what a token allows: 101 opens a WebSocket.
pub fn respond<B>(
    request: &Request<B>,
    admission: &Admission,
) -> (Response<&'static str>, Option<Box<Claims>>) {
    if !request.headers().contains_key(header::UPGRADE) {
        return (answer(StatusCode::OK).map(|()| "okay"), None);
    }
    match open(request, admission) {
        Ok((response, grant)) => (response.map(|()| ""), grant),
        Err(status) => {
            let reason = status.canonical_reason().unwrap_or_default();
            (answer(status).map(|()| reason), None)
        }
    }
}

/// The 101 answer to a request that asks for a WebSocket, or the status that refuses it.
fn open<B>(
    request: &Request<B>,
    admission: &Admission,
) -> Result<(Response<()>, Option<Box<Claims>>), StatusCode> {
    let version = request.headers().get(header::SEC_WEBSOCKET_VERSION);
    if version.is_some_and(|version| version != "13") {
        return Err(StatusCode::UPGRADE_REQUIRED);
    }
    let response =
        server::create_response_with_body(request, || ()).map_err(|_| StatusCode::BAD_REQUEST)?;
    let grant = admission.admits(request)?;
    Ok((response, grant))
}

fn is_other_method(bytes: &[u8]) -> bool {
    let method = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
    matches!(Method::from_bytes(method), Ok(method) if method != Method::GET)
        && method.iter().all(u8::is_ascii_uppercase)
}

fn plain(head: bool) -> Outcome {
    let mut answer = encode(&answer(StatusCode::OK), "okay");
    if head {
        answer.truncate(answer.len() - "okay".len());
    }
    Outcome::Refused {
        answer,
        end: End::Http,
    }
}

fn refuse(status: StatusCode) -> Outcome {
    let body = status.canonical_reason().unwrap_or_default();
    Outcome::Refused {
        answer: encode(&answer(status), body),
        end: End::HandshakeRefused,
    }
}

/// The head of an answer that is no WebSocket.
fn answer(status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    match status {
        StatusCode::UPGRADE_REQUIRED => {
            headers.insert(
                header::SEC_WEBSOCKET_VERSION,
                HeaderValue::from_static("13"),
            );
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        _ => {}
    }
    response
}

fn encode(response: &Response<()>, body: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(format!("HTTP/1.1 {}\r\n", response.status()).as_bytes());
    for (name, value) in response.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        bytes.extend_from_slice(
            format!("content-length: {}\r\nconnection: close\r\n", body.len()).as_bytes(),
        );
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body.as_bytes());
    bytes
}
