//! Answers that were made when the configuration was loaded: redirects, and fixed texts.

use axum::body::{Body, Bytes};
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::config;

pub struct Fixed {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    /// The beginning of a location that the rest of the path and the query follow.
    location: Option<String>,
}

impl Fixed {
    pub fn redirect(redirect: &config::Redirect) -> Fixed {
        let mut headers = HeaderMap::new();
        let location = redirect.location.trim_end_matches('/');
        let keep = redirect.keep_path.then(|| location.to_owned());
        if keep.is_none()
            && let Ok(location) = HeaderValue::try_from(&redirect.location)
        {
            headers.insert(LOCATION, location);
        }
        Fixed {
            // Both were checked with the table.
            status: StatusCode::from_u16(redirect.status).unwrap_or(StatusCode::PERMANENT_REDIRECT),
            headers,
            body: Bytes::new(),
            location: keep,
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
            location: None,
        }
    }

    pub fn answer(&self, below: &str, query: Option<&str>) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        if let Some(front) = &self.location {
            let slash = if front.is_empty() && !below.starts_with('/') {
                "/"
            } else {
                ""
            };
            let mark = if query.is_some() { "?" } else { "" };
            let location = format!("{front}{slash}{below}{mark}{}", query.unwrap_or_default());
            match HeaderValue::try_from(location) {
                Ok(location) => drop(response.headers_mut().insert(LOCATION, location)),
                Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
            }
        }
        response
    }
}
