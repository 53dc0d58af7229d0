//! What a route asks of a request before it is answered, and adds to the answer: made once, when the configuration is
//! loaded.

mod cors;
pub mod headers;
mod login;
mod rate;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::{Frame, SizeHint};

use self::cors::Cors;
use self::headers::Headers;
use self::login::Login;
pub use self::rate::{Limiter, Standing};
use super::client::Client;
use super::passwords::Passwords;
use super::request::refusal;
use crate::config::{Network, Route, UserFiles};

pub struct Policy {
    allow: Option<Vec<Network>>,
    max_body_bytes: Option<u64>,
    limiters: Vec<Arc<Limiter>>,
    cors: Option<Cors>,
    login: Option<Login>,
    headers: Headers,
}

/// What is known of a request after its beginning.
pub struct Passed {
    /// The strictest of the limits.
    standing: Option<Standing>,
    /// Of the page that asks, where a route has `cors`.
    origin: Option<HeaderValue>,
    too_large: Option<Arc<AtomicBool>>,
}

impl Policy {
    pub fn new(route: &Route, files: &UserFiles, passwords: &Passwords) -> Policy {
        let login = route.basic_auth.as_ref();
        let limiters = route.rate_limits.iter();
        Policy {
            login: login.map(|auth| Login::new(auth, files, passwords)),
            allow: route.allow.clone(),
            max_body_bytes: route.max_body_bytes,
            limiters: limiters.map(Limiter::new).map(Arc::new).collect(),
            cors: route.cors.as_ref().map(Cors::new),
            headers: Headers::new(route),
        }
    }

    /// `Err` is the answer to a request that goes no further.
    pub fn begin(
        &self,
        request: &mut Request<Body>,
        client: &Client,
    ) -> Result<Passed, Box<Response<Body>>> {
        let cors = self.cors.as_ref();
        let origin = cors.and_then(|_| request.headers().get(header::ORIGIN).cloned());
        let refuse = |status, error| {
            let mut refused = refusal(status, error, &client.request_id);
            self.write_cors(refused.headers_mut(), origin.as_ref());
            Box::new(refused)
        };
        let inside = |allow: &Vec<Network>| {
            allow
                .iter()
                .any(|network| network.contains(client.address.ip()))
        };
        if !self.allow.as_ref().is_none_or(inside) {
            return Err(refuse(
                StatusCode::FORBIDDEN,
                "Not allowed from this address",
            ));
        }
        if let Some(preflight) = cors.and_then(|cors| cors.preflight(request)) {
            return Err(Box::new(preflight));
        }
        let mut strictest: Option<Standing> = None;
        for limiter in &self.limiters {
            let standing = limiter.take(client, request.headers());
            if standing.is_refused() {
                let mut response = refuse(StatusCode::TOO_MANY_REQUESTS, "Too many requests");
                standing.write(response.headers_mut());
                return Err(response);
            }
            let other = strictest.filter(|other| other.is_stricter(&standing));
            strictest = Some(other.unwrap_or(standing));
        }
        let mut too_large = None;
        if let Some(most) = self.max_body_bytes {
            if length(request.headers()).is_some_and(|length| length > most) {
                return Err(refuse(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "The body is too large",
                ));
            }
            let exceeded = Arc::new(AtomicBool::new(false));
            let body = std::mem::take(request.body_mut());
            *request.body_mut() = Body::new(Limited {
                body,
                left: most,
                exceeded: exceeded.clone(),
            });
            too_large = Some(exceeded);
        }
        Ok(Passed {
            standing: strictest,
            origin,
            too_large,
        })
    }

    /// After [`Policy::begin`]: preflights carry no password (Fetch Standard). `Err` is the answer to a request that goes
    /// no further, to be given to [`Policy::end`] too.
    pub async fn log_in(
        &self,
        request: &mut Request<Body>,
        client: &Client,
    ) -> Result<(), Box<Response<Body>>> {
        match &self.login {
            Some(login) => Box::pin(login.pass(request, client)).await,
            None => Ok(()),
        }
    }

    /// Lets pages of the origins that the route names read an answer. Preflights have been given what is theirs.
    pub fn write_cors(&self, headers: &mut HeaderMap, origin: Option<&HeaderValue>) {
        if let Some(cors) = &self.cors {
            cors.write(headers, origin);
        }
    }

    /// Gives an answer what all answers of the route have. `path` is the request's own, decoded.
    pub fn dress(
        &self,
        mut response: Response<Body>,
        path: &str,
        client: &Client,
    ) -> Response<Body> {
        let status = response.status();
        let headers = response.headers_mut();
        self.headers.write(headers, status, path, client.tls);
        response
    }

    /// Goes on with the counts of limits that are as they were.
    pub fn keep_counts(&mut self, before: &Policy) {
        for (limiter, old) in self.limiters.iter_mut().zip(&before.limiters) {
            if old.is_like(limiter) {
                *limiter = old.clone();
            }
        }
    }

    /// `path` is the request's own, decoded.
    pub fn end(
        &self,
        passed: &Passed,
        mut response: Response<Body>,
        path: &str,
        client: &Client,
    ) -> Response<Body> {
        if passed
            .too_large
            .as_ref()
            .is_some_and(|flag| flag.load(Ordering::Relaxed))
        {
            response = refusal(
                StatusCode::PAYLOAD_TOO_LARGE,
                "The body is too large",
                &client.request_id,
            );
        }
        if let Some(standing) = &passed.standing {
            standing.write(response.headers_mut());
        }
        self.write_cors(response.headers_mut(), passed.origin.as_ref());
        let mut response = self.dress(response, path, client);
        if self.login.is_some() {
            headers::keep_private(response.headers_mut());
        }
        response
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok() // hyper has refused what is no number
}

/// A body that ends with an error at its limit.
struct Limited {
    body: Body,
    left: u64,
    exceeded: Arc<AtomicBool>,
}

#[derive(Debug, thiserror::Error)]
#[error("the body is larger than the route allows")]
struct TooLarge;

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            match self.left.checked_sub(length) {
                Some(left) => self.left = left,
                None => {
                    self.exceeded.store(true, Ordering::Relaxed);
                    return Poll::Ready(Some(Err(axum::Error::new(TooLarge))));
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
