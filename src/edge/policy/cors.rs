//! Cross-origin requests (Fetch Standard, "CORS protocol").

use axum::body::Body;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};

use crate::config;

/// What no upstream may say when a route says it, whatever the standard adds to it.
const FIELDS: &str = "access-control-";

pub struct Cors {
    any: bool,
    origins: Vec<HeaderValue>,
    /// Beside the origin: in answers, and in answers to preflights.
    answers: HeaderMap,
    preflights: HeaderMap,
}

impl Cors {
    pub fn new(cors: &config::Cors) -> Cors {
        let mut answers = HeaderMap::new();
        if cors.credentials {
            answers.insert(
                ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
        }
        let mut preflights = answers.clone();
        let list = |headers: &mut HeaderMap, name, list: &[String]| {
            if !list.is_empty()
                && let Ok(value) = HeaderValue::try_from(list.join(", "))
            {
                headers.insert(name, value);
            }
        };
        list(&mut answers, ACCESS_CONTROL_EXPOSE_HEADERS, &cors.expose);
        list(&mut preflights, ACCESS_CONTROL_ALLOW_METHODS, &cors.methods);
        list(&mut preflights, ACCESS_CONTROL_ALLOW_HEADERS, &cors.headers);
        preflights.insert(
            ACCESS_CONTROL_MAX_AGE,
            HeaderValue::from(cors.max_age_seconds),
        );
        let origins = cors.origins.iter();
        Cors {
            any: cors.origins.iter().any(|origin| origin == "*"),
            origins: origins
                .filter_map(|origin| HeaderValue::try_from(origin).ok())
                .collect(),
            answers,
            preflights,
        }
    }

    /// The answer to a question whether a request may be sent; it is none of the upstream's business.
    pub fn preflight(&self, request: &Request<Body>) -> Option<Response<Body>> {
        let headers = request.headers();
        let asks = request.method() == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !asks {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        *response.headers_mut() = self.with_origin(&self.preflights, headers.get(ORIGIN));
        Some(response)
    }

    /// Gives the answer to a request from `origin` one set of fields: whatever an upstream says about origins is not ours.
    pub fn write(&self, headers: &mut HeaderMap, origin: Option<&HeaderValue>) {
        let unwanted = |name: &&HeaderName| name.as_str().starts_with(FIELDS);
        while let Some(name) = headers.keys().find(unwanted).cloned() {
            headers.remove(name);
        }
        for (name, value) in &self.with_origin(&self.answers, origin) {
            headers.append(name, value.clone());
        }
    }

    fn with_origin(&self, allowed: &HeaderMap, origin: Option<&HeaderValue>) -> HeaderMap {
        if self.any {
            let mut fields = allowed.clone();
            fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            return fields;
        }
        let origin = origin.filter(|origin| self.origins.contains(origin));
        let mut fields = match origin {
            Some(origin) => {
                let mut fields = allowed.clone();
                fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                fields
            }
            None => HeaderMap::new(),
        };
        fields.append(VARY, HeaderValue::from_static("origin"));
        fields
    }
}
