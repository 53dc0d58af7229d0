//! The y-webrtc room on the HTTP listener, the same as on its own port, and what back ends and pages need around it.

#![expect(
    unused_qualifications,
    reason = "what utoipa makes of a route's parameters"
)]

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{ConnectInfo, Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::{ApiError, ErrorBody};
use super::{Api, auth};
use crate::clock;
use crate::signaling::Occupancy;
use crate::signaling::token::{OrderError, TokenOrder};

/// Rooms in one answer.
const ROOMS_LISTED: usize = 1000;

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(signaling))
        .routes(routes!(signaling_below))
        .routes(routes!(signaling_slash))
        .routes(routes!(token))
        .routes(routes!(rooms))
        .routes(routes!(turn))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"topics": ["doc-1"], "prefixes": ["team-7/"], "expiresIn": 3600}))]
struct TokenRequest {
    /// Whole names of topics.
    #[serde(default)]
    topics: Vec<String>,
    /// Beginnings of names.
    #[serde(default)]
    prefixes: Vec<String>,
    /// May publish; true by default.
    publish: Option<bool>,
    /// May subscribe; true by default.
    subscribe: Option<bool>,
    /// Seconds; at most and by default `signaling.token_lifetime_seconds`.
    #[serde(rename = "expiresIn")]
    expires_in: Option<u64>,
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"token": "eyJhbGciOiJIUzI1NiIsImtpZCI6IjIwMjYtMTEifQ.eyJleHAiOjE3OTUyMDAwMDB9.c2ln",
    "expires": "2026-11-21T02:40:03.000Z"}))]
struct Token {
    /// For the query of the WebSocket's address, `?token=`.
    token: String,
    /// RFC 3339, UTC.
    expires: String,
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"connections": 3, "topics": 1, "rooms": [{"topic": "doc-1", "subscribers": 3, "total": 5}]}))]
struct Rooms {
    connections: usize,
    topics: usize,
    /// The fullest rooms of all nodes, at most 1000.
    rooms: Vec<Room>,
}

#[derive(Serialize, ToSchema)]
struct Room {
    topic: String,
    /// On this node.
    subscribers: usize,
    /// On all nodes.
    total: usize,
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"username": "1795200000:peer", "password": "kD2xq6Wm6M5tRkJcTzGQwBqUvOk=", "ttl": 3600,
    "uris": ["turn:turn.example.com:3478?transport=udp"], "iceServers": [{"urls":
    ["turn:turn.example.com:3478?transport=udp"], "username": "1795200000:peer",
    "credential": "kD2xq6Wm6M5tRkJcTzGQwBqUvOk="}]}))]
struct TurnCredentials {
    username: String,
    password: String,
    /// Seconds.
    ttl: u64,
    uris: Vec<String>,
    /// The same, as RTCPeerConnection takes it.
    #[serde(rename = "iceServers")]
    ice_servers: [IceServer; 1],
}

#[derive(Serialize, ToSchema)]
struct IceServer {
    urls: Vec<String>,
    username: String,
    credential: String,
}

#[derive(Deserialize, IntoParams)]
struct TurnQuery {
    /// Stands in the TURN server's log; up to 64 letters, digits, `-`, `_` and `.`.
    user: Option<String>,
    /// A room token, where the room needs one.
    #[expect(dead_code, reason = "read by the room, from the whole request")]
    token: Option<String>,
}

/// Make a room token
///
/// For a back end that knows its users: the token says which topics they may enter and what they may do there.
#[utoipa::path(post, path = "/api/signaling/token", tag = "signaling", operation_id = "signalingToken",
    request_body = TokenRequest, responses(
    (status = 200, body = Token),
    (status = 400, body = ErrorBody, example = json!({"error": "Invalid body", "id": "0197…"})),
    (status = 401, body = ErrorBody, example = json!({"error": "Invalid builder key", "id": "0197…"})),
    (status = 429, body = ErrorBody),
    (status = 501, body = ErrorBody, example = json!({"error": "signaling.token_key_files is not configured", "id": "0197…"}))))]
async fn token(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Result<Json<TokenRequest>, JsonRejection>,
) -> Result<Json<Token>, ApiError> {
    authenticate(&api, &headers, peer)?;
    let Json(request) = body?;
    let order = TokenOrder {
        topics: request.topics,
        prefixes: request.prefixes,
        publish: request.publish.unwrap_or(true),
        subscribe: request.subscribe.unwrap_or(true),
        lifetime: request.expires_in,
    };
    let (token, expires) = api
        .signaling
        .make_token(order)
        .map_err(|error| match error {
            OrderError::NoKey => ApiError::NotConfigured("signaling.token_key_files"),
            error => ApiError::Order(error),
        })?;
    let expires = clock::rfc3339(expires);
    Ok(Json(Token { token, expires }))
}

/// The rooms of this node and of those joined with it
///
/// Names and counts; what is said in a room is never kept.
#[utoipa::path(get, path = "/api/signaling/rooms", tag = "signaling", operation_id = "signalingRooms", responses(
    (status = 200, body = Rooms),
    (status = 401, body = ErrorBody, example = json!({"error": "Missing builder key", "id": "0197…"})),
    (status = 429, body = ErrorBody),
    (status = 501, body = ErrorBody)))]
async fn rooms(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<Json<Rooms>, ApiError> {
    authenticate(&api, &headers, peer)?;
    let census = api.signaling.census(ROOMS_LISTED);
    let room = |room: Occupancy| Room {
        topic: room.topic.to_string(),
        subscribers: room.here,
        total: room.everywhere,
    };
    Ok(Json(Rooms {
        connections: census.connections,
        topics: census.topics,
        rooms: census.rooms.into_iter().map(room).collect(),
    }))
}

/// Credentials for the TURN server
///
/// For whoever may enter the room: they expire, and coturn (`use-auth-secret`) checks them without asking anybody.
#[utoipa::path(get, path = "/api/turn", tag = "signaling", operation_id = "turn", params(TurnQuery), responses(
    (status = 200, body = TurnCredentials),
    (status = 400, body = ErrorBody),
    (status = 401, body = ErrorBody, example = json!({"error": "A valid token is required", "id": "0197…"})),
    (status = 403, body = ErrorBody, example = json!({"error": "This origin is not allowed", "id": "0197…"})),
    (status = 501, body = ErrorBody, example = json!({"error": "signaling.turn is not configured", "id": "0197…"}))))]
async fn turn(
    State(api): State<Arc<Api>>,
    query: Result<Query<TurnQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Query(query) = query?;
    let user = query.user.unwrap_or_else(|| "peer".to_owned());
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if user.is_empty() || user.len() > 64 || !user.bytes().all(fits) {
        return Err(ApiError::Query);
    }
    let credentials = match api.signaling.turn_credentials(&user, &request) {
        Ok(Some(credentials)) => credentials,
        Ok(None) => return Err(ApiError::NotConfigured("signaling.turn")),
        Err(StatusCode::FORBIDDEN) => return Err(ApiError::Origin),
        Err(_) => return Err(ApiError::Token),
    };
    let body = TurnCredentials {
        ice_servers: [IceServer {
            urls: credentials.urls.clone(),
            username: credentials.username.clone(),
            credential: credentials.password.clone(),
        }],
        username: credentials.username,
        password: credentials.password,
        ttl: credentials.lifetime,
        uris: credentials.urls,
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

fn authenticate(api: &Api, headers: &HeaderMap, peer: SocketAddr) -> Result<(), ApiError> {
    if api.signaling_keys.is_empty() {
        return Err(ApiError::NotConfigured("signaling.api_key_hashes"));
    }
    let failures = auth::Budget {
        guard: &api.guard,
        address: peer.ip(),
        most: api.deploy.failed_keys_per_minute,
    };
    auth::authenticate(headers, &api.signaling_keys, failures).map(|_| ())
}

/// The signaling WebSocket
///
/// The y-webrtc protocol, JSON in text frames. A plain GET is answered `okay`.
#[utoipa::path(get, path = "/signaling", tag = "signaling", operation_id = "signaling", responses(
    (status = 101, description = "A WebSocket"),
    (status = 200, content_type = "text/plain", body = String, example = json!("okay"))))]
async fn signaling(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    api.signaling.upgrade(request, peer.ip()).map(Body::from)
}

/// The signaling WebSocket, with nothing below
///
/// The path below may not be empty where it is a parameter.
#[utoipa::path(get, path = "/signaling/", tag = "signaling", operation_id = "signalingSlash", responses(
    (status = 101, description = "A WebSocket"),
    (status = 200, content_type = "text/plain", body = String, example = json!("okay"))))]
async fn signaling_slash(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    api.signaling.upgrade(request, peer.ip()).map(Body::from)
}

/// The signaling WebSocket, at any path below
#[utoipa::path(get, path = "/signaling/{*path}", tag = "signaling", operation_id = "signalingBelow",
    params(("path" = String, Path, description = "Of no meaning")),
    responses(
    (status = 101, description = "A WebSocket"),
    (status = 200, content_type = "text/plain", body = String, example = json!("okay"))))]
async fn signaling_below(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    api.signaling.upgrade(request, peer.ip()).map(Body::from)
}
