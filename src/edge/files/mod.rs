//! Files of a directory or of a deploy.

use axum::body::Body;
use http::{Request, Response, StatusCode};

/// What answers on one route.
pub struct Files;

impl Files {
    /// `path` is what stands below the route: as it was sent, still encoded, without the query.
    pub async fn answer(&self, _request: Request<Body>, _path: &str) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    }
}
