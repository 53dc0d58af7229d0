//! One request: an id, a check of its host, the router's answer, one access line when the last byte is out.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use futures_util::FutureExt as _;
use http::header::{CONNECTION, COOKIE, LOCATION, ORIGIN};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use super::access::{AccessLog, Line};
use super::client::{self, Client};
use super::deny::Denial;
use super::gate::{Arrival, Verdict, Way};
use super::intake::Intake;
use super::pace::Turn;
use super::recorded::Recorded;
use super::{Shared, Site, id, websocket};
use crate::config::{self, REQUEST_ID};
use crate::signaling::Cut;

pub async fn answer(
    shared: Arc<Shared>,
    arrival: Arc<Arrival>,
    turn: Turn,
    mut request: Request<Incoming>,
) -> Result<Response<Recorded>, Infallible> {
    let started = Instant::now();
    let trusted = &shared.http.trusted_proxies;
    let tls = matches!(arrival.way, Way::Secure(_))
        || client::is_https(arrival.peer, request.headers(), trusted);
    let peer = client::address(arrival.peer, request.headers(), trusted);
    let in_flight = shared.measures.begin();
    let number = id::next();
    let version = request.version();
    let line = Line {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        peer,
        id: number,
        status: 0,
        bytes: 0,
        started,
        complete: false,
        log: match arrival.way {
            Way::Private => AccessLog::Off,
            Way::Plain | Way::Secure(_) => shared.access_log,
        },
    };
    let id = id::field(number);
    let cut = websocket::translate(&mut request).then(Cut::default);
    if let Some(cut) = &cut {
        request.extensions_mut().insert(cut.clone());
    }
    let (request, late) = receive(&shared.http, request, &turn);
    let from = (peer, tls, version);
    let mut response = decide(&shared, &arrival, from, &id, request, late).await;
    if let Some(cut) = cut {
        response = websocket::answer(response, &id);
        if response.status().is_success() {
            turn.carries(cut);
        }
    }
    response.headers_mut().insert(REQUEST_ID, id);
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // No request ends here: its own protocol says goodbye.
        turn.upgrade();
    } else if shared.draining.is_cancelled() {
        close(&mut response, version);
    }
    let line = Line {
        status: response.status().as_u16(),
        ..line
    };
    Ok(response.map(|body| Recorded {
        body,
        tail: None,
        line: Some(line),
        shared,
        turn,
        _in_flight: in_flight,
    }))
}

/// The answer of whoever has to give it; `late` tells afterwards whether the body stopped arriving.
async fn decide(
    shared: &Shared,
    arrival: &Arrival,
    (peer, tls, version): (SocketAddr, bool, Version),
    id: &HeaderValue,
    request: Request<Body>,
    late: Option<Arc<AtomicBool>>,
) -> Response<Body> {
    let site = shared.site.load_full();
    match site.gate.judge(arrival, &request) {
        Verdict::Pass(host) => {
            let client = Client {
                address: peer,
                peer: arrival.peer,
                tls,
                host,
                request_id: id.clone(),
            };
            let uri = request.uri().clone();
            let origin = request.headers().get(ORIGIN).cloned();
            let answered = pass(shared, &site, &client, request).await;
            if late.is_none_or(|late| !late.load(Ordering::Relaxed)) {
                return answered;
            }
            let status = StatusCode::REQUEST_TIMEOUT;
            let mut refused = refusal(status, "The body stopped arriving", id);
            close(&mut refused, version);
            site.dress(refused, &client, uri.path(), origin.as_ref())
        }
        Verdict::Api => route(&site, None, peer, id, request).await,
        Verdict::NoChallenge { host, token } => {
            let elsewhere = Box::pin(site.gate.challenge_elsewhere(&host, &token));
            let verdict = match elsewhere.await {
                Some(answer) => Verdict::Challenge(answer),
                None => Verdict::NoChallenge { host, token },
            };
            without_route(&site, verdict, id, tls)
        }
        // Where one request ends for somebody in front of us, another may begin.
        Verdict::BadHost => {
            let mut refused = without_route(&site, Verdict::BadHost, id, tls);
            close(&mut refused, version);
            refused
        }
        Verdict::Redirect(_) | Verdict::Misdirected
            if is_denied(shared, &site, peer.ip(), id, &request) =>
        {
            site.dress_bare(refusal(StatusCode::FORBIDDEN, "Forbidden", id), tls)
        }
        verdict => without_route(&site, verdict, id, tls),
    }
}

/// The request with a body that ends when it makes no progress; what comes with it tells whether it did.
fn receive(
    http: &config::Http,
    request: Request<Incoming>,
    turn: &Turn,
) -> (Request<Body>, Option<Arc<AtomicBool>>) {
    if request.body().is_end_stream() {
        return (request.map(Body::new), None);
    }
    let late = Arc::new(AtomicBool::new(false));
    let timeout = Duration::from_secs(http.body_timeout_seconds);
    let request = request.map(|body| {
        let least = http.min_bytes_per_second;
        let intake = Intake::new(body, late.clone(), timeout, least, turn.busy());
        Body::new(intake)
    });
    (request, Some(late))
}

/// HTTP/1.1 only: HTTP/2 says so for the connection, not for an answer.
fn close(response: &mut Response<Body>, version: Version) {
    if version < Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
}

/// The answer to a request for one of our hosts.
async fn pass(
    shared: &Shared,
    site: &Site,
    client: &Client,
    request: Request<Body>,
) -> Response<Body> {
    let refuse = |status, error| {
        let refused = refusal(status, error, &client.request_id);
        let origin = request.headers().get(ORIGIN);
        site.dress(refused, client, request.uri().path(), origin)
    };
    if is_too_much(&request, shared.http.max_headers) {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return refuse(status, "The request has too many header fields");
    }
    let (peer, id) = (client.address, &client.request_id);
    if is_denied(shared, site, peer.ip(), id, &request) {
        return refuse(StatusCode::FORBIDDEN, "Forbidden");
    }
    route(site, Some(client), peer, id, request).await
}

/// Of HTTP/1.1 hyper counts the fields itself. HTTP/2 sends each cookie as a field of its own (RFC 9113 §8.2.3).
fn is_too_much(request: &Request<Body>, most: usize) -> bool {
    let headers = request.headers();
    headers.len() > most && headers.len() - headers.get_all(COOKIE).iter().count() > most
}

/// Whether the deny list turns a request away. What it finds is counted and logged in any case.
fn is_denied(
    shared: &Shared,
    site: &Site,
    address: IpAddr,
    id: &HeaderValue,
    request: &Request<Body>,
) -> bool {
    let found = site.gate.denials.find(request, address);
    let Some(Denial { rule, block }) = found else {
        return false;
    };
    let action = if block { "block" } else { "log" };
    shared.measures.denied(rule, action);
    tracing::info!(
        rule,
        action,
        path = request.uri().path(),
        %address,
        id = id.to_str().unwrap_or_default(), // made of hexadecimal digits above
        "the deny list fits a request"
    );
    block
}

/// Without a client, the answer of the API whatever the host.
async fn route(
    site: &Site,
    client: Option<&Client>,
    peer: SocketAddr,
    id: &HeaderValue,
    mut request: Request<Body>,
) -> Response<Body> {
    request.headers_mut().insert(REQUEST_ID, id.clone());
    // Not in variables: a future keeps room for what was moved out of them.
    AssertUnwindSafe(async {
        match client {
            Some(client) => site.answer(request, client).await,
            None => site.answer_api(request, peer, false).await,
        }
    })
    .catch_unwind()
    .await
    .unwrap_or_else(|_| refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", id))
}

/// Answers what the gate does not let through.
fn without_route(site: &Site, verdict: Verdict, id: &HeaderValue, tls: bool) -> Response<Body> {
    let (status, error) = match verdict {
        Verdict::Challenge(answer) => return Response::new(Body::from(answer)),
        Verdict::Redirect(location) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
            response.headers_mut().insert(LOCATION, location);
            return site.dress_bare(response, tls);
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
    site.dress_bare(refusal(status, error, id), tls)
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
