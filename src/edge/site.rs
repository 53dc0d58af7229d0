//! What answers under one configuration: the route table, and a handler for each of its routes.

mod fixed;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::ConnectInfo;
use futures_util::future::BoxFuture;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, Uri};

use self::fixed::Fixed;
use super::client::Client;
use super::compress;
use super::files::{Cabinet, Files};
use super::gate::Gate;
use super::passwords::Passwords;
use super::policy::Policy;
use super::policy::headers::Headers;
use super::proxy::{Proxy, Upstreams};
use super::request::refusal;
use crate::config::{
    App, Encrypted, HostName, HostRoutes, RequestPath, Route, Table, TableRoute, Target, UserFiles,
};

/// Where the API has the signaling room.
const SIGNALING: &str = "/signaling";

/// Answers what the table sends to the backend; without hosts, everything.
pub type Backend = Arc<dyn Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// Swapped whole by a reload; a request keeps the one that it began with.
pub struct Site {
    pub gate: Gate,
    table: Arc<Table>,
    api: Backend,
    /// As in the table: by host, by route.
    handlers: Vec<Vec<(Policy, Handler)>>,
    /// Of answers to requests that reach no route.
    bare: Option<Headers>,
}

/// What the answers of routes are made with.
pub struct Means<'a> {
    pub apps: &'a [App],
    pub user_files: &'a UserFiles,
    pub cabinet: &'a Cabinet,
    pub passwords: &'a Passwords,
    pub upstreams: &'a Upstreams,
}

/// What a handler has to say. What takes time is in a box: else every request would be as large as the largest answer,
/// and it is moved several times before it is polled.
enum Answer<'a> {
    Now(Response<Body>),
    Later(BoxFuture<'a, Response<Body>>),
}

enum Handler {
    Api,
    Signaling,
    Files(Arc<Files>),
    Proxy(Box<Proxy>),
    Fixed(Fixed),
}

impl Site {
    pub fn new(gate: Gate, table: Arc<Table>, api: Backend, means: &Means<'_>) -> Site {
        let policy = |route| Policy::new(route, means.user_files, means.passwords);
        let handlers = table.hosts().iter();
        let handlers = handlers.map(|host| {
            let routes = host.routes.iter();
            routes
                .map(|route| (policy(&route.route), handler(route, means)))
                .collect()
        });
        Site {
            gate,
            handlers: handlers.collect(),
            bare: (!table.is_empty()).then(|| Headers::new(&Route::default())),
            table,
            api,
        }
    }

    /// One back end for everything.
    pub fn only(api: Backend) -> Site {
        Site {
            gate: Gate::default(),
            handlers: Vec::new(),
            bare: None,
            table: Arc::default(),
            api,
        }
    }

    /// The answer of the API, whatever the host.
    pub fn answer_api(
        &self,
        mut request: Request<Body>,
        peer: SocketAddr,
        encrypted: bool,
    ) -> BoxFuture<'static, Response<Body>> {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(Encrypted(encrypted));
        (self.api)(request)
    }

    /// Goes on with the rate limits of routes that are in `before` as well.
    pub fn keep_counts(&mut self, before: &Site) {
        for (host, handlers) in self.table.hosts().iter().zip(&mut self.handlers) {
            let of_host = |(old, _): &(&HostRoutes, _)| old.name == host.name;
            let mut hosts = before.table.hosts().iter().zip(&before.handlers);
            let Some((old_host, old_handlers)) = hosts.find(of_host) else {
                continue;
            };
            for (route, (policy, _)) in host.routes.iter().zip(handlers) {
                let mut old = old_host.routes.iter().zip(old_handlers);
                if let Some((_, (old, _))) = old.find(|(old, _)| old.prefix == route.prefix) {
                    policy.keep_counts(old);
                }
            }
        }
    }

    /// Gives an answer that no handler made what the answers of its route have; where there is no route, what is given
    /// without being asked for.
    pub fn dress(
        &self,
        mut response: Response<Body>,
        client: &Client,
        path: &str,
        origin: Option<&HeaderValue>,
    ) -> Response<Body> {
        let host = HostName::parse(&client.host).and_then(|name| self.table.host(&name));
        let route = host.zip(RequestPath::parse(path)).and_then(|(host, path)| {
            let route = self.table.hosts()[host].route(path.plain())?;
            Some((&self.handlers[host][route].0, path))
        });
        match route {
            Some((policy, path)) => {
                policy.write_cors(response.headers_mut(), origin);
                policy.dress(response, &String::from_utf8_lossy(path.plain()), client)
            }
            None => self.dress_bare(response, client.tls),
        }
    }

    pub fn dress_bare(&self, mut response: Response<Body>, tls: bool) -> Response<Body> {
        if let Some(headers) = &self.bare {
            let status = response.status();
            headers.write(response.headers_mut(), status, "/", tls);
        }
        response
    }

    /// The answer of the route for the client's host and the request's path.
    pub async fn answer(&self, mut request: Request<Body>, client: &Client) -> Response<Body> {
        if self.table.is_empty() {
            return self.answer_api(request, client.address, client.tls).await;
        }
        let refuse =
            |status, error| self.dress_bare(refusal(status, error, &client.request_id), client.tls);
        let host = HostName::parse(&client.host).and_then(|name| self.table.host(&name));
        let Some(host) = host else {
            // RFC 9110 §15.5.20: not 404, which would speak for that host.
            return refuse(
                StatusCode::MISDIRECTED_REQUEST,
                "This host is not served here",
            );
        };
        let uri = request.uri().clone();
        let Some(path) = RequestPath::parse(uri.path()) else {
            return refuse(StatusCode::BAD_REQUEST, "The path is not one");
        };
        let routes = &self.table.hosts()[host];
        let Some(index) = routes.route(path.plain()) else {
            return refuse(StatusCode::NOT_FOUND, "Not found");
        };
        let route = &routes.routes[index];
        let (policy, handler) = &self.handlers[host][index];
        let below = path.below(route.prefix.len());
        let plain = String::from_utf8_lossy(path.plain());
        let passed = match policy.begin(&mut request, client) {
            Ok(passed) => passed,
            Err(refused) => return policy.dress(*refused, &plain, client),
        };
        let wish = route
            .route
            .compress
            .then(|| compress::wish(request.method(), request.headers()));
        let response = match policy.log_in(&mut request, client).await {
            Ok(()) => match self.handle(route, handler, request, below, client) {
                Answer::Now(response) => response,
                Answer::Later(answer) => answer.await,
            },
            Err(refused) => *refused,
        };
        let response = match wish {
            Some(wish) => compress::answer(wish, response),
            None => response,
        };
        policy.end(&passed, response, &plain, client)
    }

    fn handle<'a>(
        &'a self,
        route: &TableRoute,
        handler: &'a Handler,
        request: Request<Body>,
        below: &'a str,
        client: &'a Client,
    ) -> Answer<'a> {
        let (peer, tls) = (client.address, client.tls);
        Answer::Later(match handler {
            Handler::Api => match rewritten(route, below) {
                None => self.answer_api(request, peer, tls),
                Some(path) => return self.answer_api_at(request, path, client),
            },
            Handler::Signaling => {
                let path = format!("{SIGNALING}{below}");
                return self.answer_api_at(request, path, client);
            }
            Handler::Files(files) => match rewritten(route, below) {
                Some(path) if route.route.rewrite.is_some() => {
                    Box::pin(async move { files.answer(request, &path).await })
                }
                _ => Box::pin(files.answer(request, below)),
            },
            Handler::Proxy(proxy) => match rewritten(route, below) {
                Some(path) => Box::pin(async move { proxy.answer(request, &path, client).await }),
                None => Box::pin(async move {
                    let uri = request.uri().clone();
                    proxy.answer(request, uri.path(), client).await
                }),
            },
            Handler::Fixed(fixed) => {
                return Answer::Now(fixed.answer(below, request.uri().query()));
            }
        })
    }

    fn answer_api_at(
        &self,
        mut request: Request<Body>,
        path: String,
        client: &Client,
    ) -> Answer<'static> {
        match with_path(request.uri(), path) {
            Some(uri) => *request.uri_mut() = uri,
            // Both halves were valid; together they may be longer than a target can be.
            None => {
                return Answer::Now(refusal(
                    StatusCode::URI_TOO_LONG,
                    "The path is too long",
                    &client.request_id,
                ));
            }
        }
        Answer::Later(self.answer_api(request, client.address, client.tls))
    }
}

fn handler(route: &TableRoute, means: &Means<'_>) -> Handler {
    match &route.route.to {
        Target::Backend => Handler::Api,
        Target::Signaling => Handler::Signaling,
        Target::Files(files) => Handler::Files(means.cabinet.files(files, means.apps)),
        Target::Proxy(proxy) => Handler::Proxy(Box::new(Proxy::new(proxy, means.upstreams))),
        Target::Redirect(redirect) => Handler::Fixed(Fixed::redirect(redirect)),
        Target::Respond(respond) => Handler::Fixed(Fixed::respond(respond)),
    }
}

/// The path that whoever answers is to see, when it is not the one that was sent.
fn rewritten(route: &TableRoute, below: &str) -> Option<String> {
    let front = match &route.route.rewrite {
        Some(rewrite) => rewrite.trim_end_matches('/'),
        None if route.route.strip_prefix => "",
        None => return None,
    };
    let slash = if front.is_empty() && !below.starts_with('/') {
        "/"
    } else {
        ""
    };
    Some(format!("{front}{slash}{below}"))
}

fn with_path(uri: &Uri, path: String) -> Option<Uri> {
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?); // the caller says so
    Uri::from_parts(parts).ok()
}
