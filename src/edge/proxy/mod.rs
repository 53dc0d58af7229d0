//! Other servers.

use axum::body::Body;
use http::{Request, Response, StatusCode};

use super::client::Client;

/// What answers on one route.
pub struct Proxy;

impl Proxy {
    /// `path` is what the upstream is asked for: as it was sent, still encoded, without the query.
    pub async fn answer(
        &self,
        _request: Request<Body>,
        _path: &str,
        _client: &Client,
    ) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    }
}
