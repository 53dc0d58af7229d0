//! `/signaling`: the y-webrtc room on the HTTP listener, the same as on its own port.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::signaling::Signaling;

pub fn routes(signaling: Signaling) -> Router {
    let join = move |ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request| {
        let response = signaling.upgrade(request, peer.ip());
        async move { response.map(Body::from).into_response() }
    };
    Router::new()
        .route("/signaling", get(join.clone()))
        .route("/signaling/{*path}", get(join))
}
