//! A route that other servers answer: requests go to one of its upstreams and answers come back, both as streams.

mod balance;
mod check;
mod dial;
mod download;
mod failure;
mod fields;
mod h1;
mod h2;
mod health;
mod measure;
mod outgoing;
mod pool;
mod registry;
mod stream;
mod tunnel;
mod upload;
mod upstream;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::header::{CONNECTION, HOST, UPGRADE};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;

use self::balance::{Balancer, Tried};
use self::dial::{Connection, Wanted};
use self::download::Download;
use self::failure::Failure;
use self::fields::Edits;
use self::outgoing::{Draft, Rules, Sender};
use self::tunnel::Tunnel;
use self::upstream::{Identity, Lease, Upstream};
use self::wait::Wait;
use super::client::Client;
use crate::cause::chain;
use crate::config;
use crate::config::proxy::UpstreamUrl;
use crate::tasks::Tasks;

pub use self::registry::Upstreams;

/// The answers of one route.
pub struct Proxy {
    balancer: Balancer,
    rules: Rules,
    response_edits: Edits,
    first_byte: Duration,
    idle: Duration,
    total: Option<Duration>,
    tunnel_idle: Duration,
    retries: u32,
    tasks: Tasks,
}

/// How one try ended without an answer.
struct Refused {
    failure: Failure,
    /// Another try may do better, and does no harm.
    again: bool,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Refused {
        Refused {
            failure,
            again: false,
        }
    }
}

/// What a request has on its way beside itself.
struct Journey<'a> {
    sender: Sender<'a>,
    id: &'a HeaderValue,
    on_upgrade: Option<OnUpgrade>,
    version: Version,
    latest: Option<Instant>,
}

impl Proxy {
    /// Upstreams that another route, or the configuration before, has as well are shared with it. One whose roots cannot
    /// be read is left out, and logged: it must not keep every other route from being served.
    pub fn new(config: &config::Proxy, upstreams: &Upstreams) -> Proxy {
        let get = |url: &UpstreamUrl| match upstreams.get(Identity::of(url, config)) {
            Ok(upstream) => Some(upstream),
            Err(error) => {
                let error = chain(&error);
                tracing::error!(%error, upstream = %url, "an upstream cannot be used");
                None
            }
        };
        let all = config.upstreams.iter().filter_map(get).collect();
        let seconds = Duration::from_secs;
        Proxy {
            balancer: Balancer::new(all, config.balance),
            rules: Rules {
                host: config.host,
                origin: config.origin,
                forwarded: config.forwarded,
                via: config.via,
                edits: Edits::new(&config.request_headers),
            },
            response_edits: Edits::new(&config.response_headers),
            first_byte: seconds(config.first_byte_timeout_seconds),
            idle: seconds(config.idle_timeout_seconds),
            total: (config.total_timeout_seconds > 0)
                .then(|| seconds(config.total_timeout_seconds)),
            tunnel_idle: seconds(config.tunnel_idle_seconds),
            retries: config.retries,
            tasks: upstreams.tasks().clone(),
        }
    }

    /// `path_below_route` is the request's path as it came, without what the route strips.
    pub async fn answer(
        &self,
        request: Request<Body>,
        path_below_route: &str,
        client: &Client,
    ) -> Response<Body> {
        match self.pass_on(request, path_below_route, client).await {
            Ok(response) => response,
            Err(failure) => {
                if failure.status().is_server_error() {
                    let id = client.request_id.to_str().unwrap_or("-");
                    let status = failure.status().as_u16();
                    tracing::warn!(error = %chain(&failure), id, status, "a request could not be passed on");
                }
                failure.answer(&client.request_id)
            }
        }
    }

    async fn pass_on(
        &self,
        mut request: Request<Body>,
        path_below_route: &str,
        client: &Client,
    ) -> Result<Response<Body>, Failure> {
        if request.method() == Method::CONNECT {
            return Err(Failure::ConnectMethod);
        }
        if request.method() == Method::TRACE {
            return Err(Failure::TraceMethod);
        }
        let address = client.address.ip().to_canonical();
        let peer = client.peer.ip().to_canonical();
        let host = asked_host(&request);
        let sender = Sender {
            address,
            through: (peer != address).then_some(peer),
            tls: client.tls,
            host: &host,
        };
        let target = outgoing::target(request.uri(), path_below_route).map_err(Failure::Request)?;
        let mut journey = Journey {
            id: &client.request_id,
            on_upgrade: request.extensions_mut().remove::<OnUpgrade>(),
            version: request.version(),
            latest: self.total.map(|total| Instant::now() + total),
            sender,
        };
        let mut draft = Draft::new(request, target, &journey.sender, &self.rules);
        let mut tried = Tried::default();
        let mut tries_left = self.retries;
        loop {
            let (number, upstream) = self.balancer.choose(tried).ok_or(Failure::NoUpstream)?;
            let again = tried.has(number);
            tried.add(number);
            let ended = self
                .attempt(upstream, again, tries_left > 0, &mut draft, &mut journey)
                .await;
            let Refused { failure, again } = match ended {
                Ok(response) => return Ok(response),
                Err(refused) => refused,
            };
            if failure.is_upstreams_fault() {
                blame(upstream, &failure, journey.id);
            }
            if !again || tries_left == 0 {
                return Err(failure);
            }
            tries_left -= 1;
        }
    }

    /// Sends the request to one upstream and waits for the head of its answer.
    async fn attempt(
        &self,
        upstream: &Arc<Upstream>,
        fresh: bool,
        more: bool,
        draft: &mut Draft,
        journey: &mut Journey<'_>,
    ) -> Result<Response<Body>, Refused> {
        let wanted = match draft.upgrade {
            Some(_) => Wanted::Http1,
            None => Wanted::Any,
        };
        let leased = upstream.lease(wanted, fresh).await;
        // Nothing was sent, so nothing can be done twice.
        let mut lease = leased.map_err(|failure| Refused {
            again: failure.is_upstreams_fault(),
            failure,
        })?;
        upstream.measures.requests.inc();
        let http2 = matches!(lease.connection, Connection::H2(_));
        let keep = more && draft.repeatable;
        let request = draft
            .request(upstream, http2, &journey.sender, &self.rules, keep)
            .map_err(Failure::Request)?;
        let wait = Wait {
            begun: Instant::now(),
            first_byte: self.first_byte,
            idle: self.idle,
            latest: journey.latest,
            progress: request.body().progress(),
        };
        let sent = match &mut lease.connection {
            Connection::H1(connection) => connection.send(request, &wait).await,
            Connection::H2(connection) => connection.send(request, &wait).await,
        };
        let response = match sent {
            Some(Ok(response)) => response,
            None => return Err(Failure::late(wait.phase()).into()),
            Some(Err(mut error)) => {
                let unsent = error.take_message();
                let again = unsent.is_some() || (draft.repeatable && !error.error().is_parse());
                if let Some(request) = unsent {
                    draft.restore(request);
                }
                let failure = Failure::broken(error.into_error(), wait.phase());
                return Err(Refused { failure, again });
            }
        };
        let took = wait.begun.elapsed().as_secs_f64();
        upstream.measures.seconds.observe(took);
        let response = self.give_back(response, lease, draft, journey)?;
        upstream.health.succeeded(); // not before: the answer may be none
        Ok(response)
    }

    /// The answer as the client gets it.
    fn give_back(
        &self,
        response: Response<Incoming>,
        lease: Lease,
        draft: &Draft,
        journey: &mut Journey<'_>,
    ) -> Result<Response<Body>, Failure> {
        let (mut parts, body) = response.into_parts();
        if fields::is_framed_oddly(&parts.headers) {
            return Err(Failure::Framing);
        }
        let patience = patience(&parts.headers);
        let protocol = parts.headers.get(UPGRADE).cloned();
        let received = parts.version;
        fields::remove_hop_by_hop(&mut parts.headers);
        if self.rules.via {
            outgoing::via(&mut parts.headers, received);
        }
        fields::edit(&mut parts.headers, &self.response_edits);
        parts.version = journey.version;
        let body = if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            let (Some(_), Some(client), Connection::H1(connection)) =
                (&draft.upgrade, journey.on_upgrade.take(), lease.connection)
            else {
                return Err(Failure::Unasked);
            };
            let (stream, early) = connection.into_stream();
            let tunnel = Tunnel {
                client,
                upstream: stream,
                early,
                place: lease.place,
                idle: self.tunnel_idle,
                id: journey.id.clone(),
            };
            // It ends with one of its ends.
            drop(self.tasks.short("tunnel", tunnel.run(self.tasks.clone())));
            let upgrade = HeaderValue::from_static("upgrade");
            parts.headers.insert(CONNECTION, upgrade);
            parts
                .headers
                .extend(protocol.map(|protocol| (UPGRADE, protocol)));
            Body::empty()
        } else {
            let latest = journey.latest;
            let id = journey.id.clone();
            Body::new(Download::new(body, lease, self.idle, latest, patience, id))
        };
        Ok(Response::from_parts(parts, body))
    }
}

/// Host and port that the client asked for.
fn asked_host(request: &Request<Body>) -> String {
    let authority = request.uri().authority().map(Authority::as_str);
    let field = || request.headers().get(HOST)?.to_str().ok(); // bytes above ASCII are in no host name
    authority.or_else(field).unwrap_or_default().to_owned()
}

/// Counts a failure by the upstream's fault.
fn blame(upstream: &Upstream, failure: &Failure, id: &HeaderValue) {
    upstream.measures.failures.inc();
    let ejected = upstream.health.failed();
    tracing::warn!(
        error = %chain(failure),
        upstream = %upstream.identity.url,
        id = id.to_str().unwrap_or("-"),
        ejected,
        "an upstream did not answer"
    );
}

/// How long an upstream keeps a connection for us: what it says, less the time of a request on its way to one that is
/// being closed.
fn patience(headers: &HeaderMap) -> Option<Duration> {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    let said = headers.get(KEEP_ALIVE)?.to_str().ok()?;
    let timeout = said
        .split(',')
        .find_map(|part| part.trim().strip_prefix("timeout="))?;
    let timeout: u64 = timeout.trim().parse().ok()?;
    Some(Duration::from_secs(timeout.saturating_sub(1)))
}
