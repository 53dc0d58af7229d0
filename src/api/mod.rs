//! The HTTP API.

mod signaling;

use axum::Router;
use axum::routing::get;

use crate::signaling::Signaling;
use tokio_util::sync::CancellationToken;

pub struct State {
    pub draining: CancellationToken,
    pub signaling: Signaling,
    pub cors_origins: Vec<String>,
}

pub fn router(state: State) -> Router {
    drop(state.draining);
    Router::new()
        .route("/health/live", get(|| async { "ok" }))
        .merge(signaling::routes(state.signaling))
}
