//! `/signaling`: the y-webrtc room on the HTTP listener, the same as on its own port.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(signaling))
        .routes(routes!(signaling_below))
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
