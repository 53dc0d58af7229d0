//! Answers that were made when the configuration was loaded: redirects, and fixed texts.

use axum::body::{Body, Bytes};
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::config;

pub struct Fixed {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    /// One whose location depends on the request.
    keeps: Option<config::Redirect>,
}

impl Fixed {
    pub fn redirect(redirect: &config::Redirect) -> Fixed {
        let mut headers = HeaderMap::new();
        if !redirect.keep_path
            && let Ok(location) = HeaderValue::try_from(&redirect.location)
        {
            headers.insert(LOCATION, location);
        }
        Fixed {
            // Both were checked with the table.
            status: StatusCode::from_u16(redirect.status).unwrap_or(StatusCode::PERMANENT_REDIRECT),
            headers,
            body: Bytes::new(),
            keeps: redirect.keep_path.then(|| redirect.clone()),
        }
    }

    pub fn respond(respond: &config::Respond) -> Fixed {
        let mut headers = HeaderMap::new();
        if !respond.body.is_empty()
            && let Ok(content_type) = HeaderValue::try_from(&respond.content_type)
        {
            headers.insert(CONTENT_TYPE, content_type);
        }
        Fixed {
            status: StatusCode::from_u16(respond.status).unwrap_or(StatusCode::OK),
            headers,
            body: Bytes::from(respond.body.clone()),
            keeps: None,
        }
    }

    pub fn answer(&self, below: &str, query: Option<&str>) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        if let Some(redirect) = &self.keeps {
            match HeaderValue::try_from(redirect.leads_to(below, query)) {
                Ok(location) => drop(response.headers_mut().insert(LOCATION, location)),
                Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
            }
        }
        response
    }
}
