//! One request: an id, a check of its host, the router's answer, one access line when the last byte is out.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use futures_util::FutureExt as _;
use http::header::{CONNECTION, LOCATION};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use super::client::{self, Client};
use super::deny::Denial;
use super::gate::{Arrival, Verdict, Way};
use super::{Shared, Site, measure, websocket};
use crate::config::{Encrypted, REQUEST_ID};

pub async fn answer(
    shared: Arc<Shared>,
    arrival: Arc<Arrival>,
    mut request: Request<Incoming>,
) -> Result<Response<Recorded>, Infallible> {
    let started = Instant::now();
    let trusted = &shared.http.trusted_proxies;
    let tls = matches!(arrival.way, Way::Secure(_))
        || client::is_https(arrival.peer, request.headers(), trusted);
    let peer = client::address(arrival.peer, request.headers(), trusted);
    let in_flight = shared.measures.begin();
    let id = uuid::Uuid::now_v7().simple().to_string();
    let version = request.version();
    let line = Line {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        peer,
        id: id.clone(),
        status: 0,
        bytes: 0,
        started,
        complete: false,
        silent: matches!(arrival.way, Way::Private) || !shared.access_log,
    };
    let id = HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("-"));
    let bootstrapped = websocket::translate(&mut request);
    let site = shared.site.load_full();
    let mut response = match site.gate.judge(&arrival, &request) {
        Verdict::Pass(host) => {
            let client = Client {
                address: peer,
                peer: arrival.peer,
                tls,
                host,
                request_id: id.clone(),
            };
            if is_denied(&shared, &site, &client, &request) {
                refusal(StatusCode::FORBIDDEN, "Forbidden", &id)
            } else {
                route(&site, Some(client), peer, &id, request).await
            }
        }
        Verdict::Api => route(&site, None, peer, &id, request).await,
        Verdict::NoChallenge { host, token } => {
            match site.gate.challenge_elsewhere(&host, &token).await {
                Some(answer) => without_route(Verdict::Challenge(answer), &id),
                None => without_route(Verdict::NoChallenge { host, token }, &id),
            }
        }
        verdict => without_route(verdict, &id),
    };
    if bootstrapped {
        response = websocket::answer(response, &id);
    }
    response.headers_mut().insert(REQUEST_ID, id);
    // An upgraded connection ends no request: its own protocol says goodbye.
    let upgrades = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if shared.draining.is_cancelled() && version < Version::HTTP_2 && !upgrades {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let line = Line {
        status: response.status().as_u16(),
        ..line
    };
    Ok(response.map(|body| Recorded {
        body,
        line: Some(line),
        shared,
        _in_flight: in_flight,
    }))
}

/// Whether the deny list turns a request away. What it finds is counted and logged in any case.
fn is_denied(shared: &Shared, site: &Site, client: &Client, request: &Request<Incoming>) -> bool {
    let found = site.gate.denials.find(request, client.address.ip());
    let Some(Denial { rule, block }) = found else {
        return false;
    };
    let action = if block { "block" } else { "log" };
    shared.measures.denied(rule, action);
    tracing::info!(
        rule,
        action,
        path = request.uri().path(),
        address = %client.address.ip(),
        id = client.request_id.to_str().unwrap_or_default(), // made of hexadecimal digits above
        "the deny list fits a request"
    );
    block
}

/// Without a client, the answer of the API whatever the host.
async fn route(
    site: &Site,
    client: Option<Client>,
    peer: SocketAddr,
    id: &HeaderValue,
    mut request: Request<Incoming>,
) -> Response<Body> {
    request.headers_mut().insert(REQUEST_ID, id.clone());
    request.extensions_mut().insert(ConnectInfo(peer));
    let encrypted = client.as_ref().is_some_and(|client| client.tls);
    request.extensions_mut().insert(Encrypted(encrypted));
    let request = request.map(Body::new);
    let answered = async {
        match &client {
            Some(client) => site.answer(request, client).await,
            None => site.answer_api(request).await,
        }
    };
    let answered = AssertUnwindSafe(answered).catch_unwind().await;
    answered.unwrap_or_else(|_| refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", id))
}

/// Answers what the gate does not let through.
fn without_route(verdict: Verdict, id: &HeaderValue) -> Response<Body> {
    let (status, error) = match verdict {
        Verdict::Challenge(answer) => return Response::new(Body::from(answer)),
        Verdict::Redirect(location) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
            response.headers_mut().insert(LOCATION, location);
            return response;
        }
        Verdict::NoChallenge { .. } => (StatusCode::NOT_FOUND, "No such challenge"),
        Verdict::Misdirected => (
            StatusCode::MISDIRECTED_REQUEST,
            "This connection does not serve that host",
        ),
        Verdict::Pass(_) | Verdict::Api | Verdict::BadHost => (
            StatusCode::BAD_REQUEST,
            "Exactly one Host header is required, and it has to be a host name",
        ),
    };
    refusal(status, error, id)
}

pub fn refusal(status: StatusCode, error: &str, id: &HeaderValue) -> Response<Body> {
    let id = id.to_str().unwrap_or_default(); // made of hexadecimal digits above
    let body = serde_json::json!({ "error": error, "id": id }).to_string();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

struct Line {
    method: http::Method,
    path: String,
    peer: SocketAddr,
    id: String,
    status: u16,
    bytes: u64,
    started: Instant,
    complete: bool,
    /// Counted, but not written.
    silent: bool,
}

/// An answer's body on its way out; its end, or the connection's, writes the access line.
pub struct Recorded {
    body: Body,
    line: Option<Line>,
    shared: Arc<Shared>,
    _in_flight: measure::InFlight,
}

impl http_body::Body for Recorded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let Some(line) = &mut self.line else {
            return polled;
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                line.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            Poll::Ready(None) => line.complete = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
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

impl Drop for Recorded {
    fn drop(&mut self) {
        let Some(line) = self.line.take() else { return };
        let took = line.started.elapsed();
        self.shared
            .measures
            .answered(line.status, took.as_secs_f64(), line.bytes);
        if line.silent {
            return;
        }
        let complete = line.complete || http_body::Body::is_end_stream(&self.body);
        tracing::info!(
            target: "seance::access",
            method = %line.method,
            path = line.path,
            status = line.status,
            bytes = line.bytes,
            duration_ms = took.as_secs_f64() * 1e3,
            address = %line.peer.ip(),
            id = line.id,
            complete,
            "answered"
        );
    }
}
