//! WebSockets over HTTP/2 (RFC 8441): behind this door they are what they are over HTTP/1.1.

use axum::body::Body;
use base64_simd::STANDARD;
use http::header::{CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::ext::Protocol;

use super::request::refusal;

/// Turns an extended CONNECT for a WebSocket into the request that opens one over HTTP/1.1. Says whether it was one: then
/// the answer has to go through [`answer`].
pub fn translate<B>(request: &mut Request<B>) -> bool {
    let protocol = request.extensions().get::<Protocol>();
    let asked = protocol.is_some_and(|protocol| protocol.as_str() == "websocket");
    if request.method() != Method::CONNECT || !asked {
        return false;
    }
    *request.method_mut() = Method::GET;
    *request.version_mut() = Version::HTTP_11;
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    let host = authority.and_then(|host| HeaderValue::from_str(host).ok()); // without one it is refused
    let headers = request.headers_mut();
    if let Some(host) = host {
        headers.insert(HOST, host);
    }
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    // RFC 6455 §4.1: 16 bytes that nobody else sends; nothing is kept secret by them.
    let key = STANDARD.encode_to_string(uuid::Uuid::now_v7().as_bytes());
    if let Ok(key) = HeaderValue::try_from(key) {
        headers.insert(SEC_WEBSOCKET_KEY, key);
    }
    true
}

/// RFC 8441 §5: any 2xx means that the WebSocket is open.
pub fn answer(mut response: Response<Body>, id: &HeaderValue) -> Response<Body> {
    match response.status() {
        StatusCode::SWITCHING_PROTOCOLS => {
            *response.status_mut() = StatusCode::OK;
            for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT] {
                response.headers_mut().remove(name);
            }
            response
        }
        status if status.is_success() => {
            refusal(StatusCode::BAD_REQUEST, "There is no WebSocket here", id)
        }
        _ => response,
    }
}
