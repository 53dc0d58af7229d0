//! The HTTP API.

use axum::Router;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

pub struct State {
    pub draining: CancellationToken,
    pub cors_origins: Vec<String>,
}

pub fn router(state: State) -> Router {
    drop(state.draining);
    Router::new().route("/health/live", get(|| async { "ok" }))
}
