//! The HTTP API: extract, call a room, shape the answer.
//!
//! Every route is mounted together with its description, so that the OpenAPI document cannot lack one.

mod apps;
mod auth;
mod caller;
mod deploy;
mod diff;
mod docs;
mod download;
mod drafts;
mod error;
mod feeds;
mod health;
mod history;
mod keys;
mod prune;
mod receive;
mod releases;
mod republish;
mod serve;
mod signaling;
mod updates;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer, ExposeHeaders};
use utoipa_axum::router::OpenApiRouter;

pub use auth::Guard;
pub use docs::document;
pub use health::CertificateHealth;

use self::apps::Apps;
use self::error::ApiError;
use crate::audit::Audit;
use crate::clock;
use crate::config;
use crate::release::Releases;
use crate::signaling::Signaling;
use crate::store::Store;
use crate::tasks::Tasks;

/// Characters of a parameter's name in an answer.
const PARAMETER_MOST: usize = 64;

/// What the routes need; made anew for each configuration.
pub struct State {
    pub releases: Releases,
    pub store: Store,
    pub audit: Audit,
    pub tasks: Tasks,
    /// The runtime that deploys run on, whichever connection they came from.
    pub background: Handle,
    /// Cancelled from the moment on when the daemon is told to end.
    pub draining: CancellationToken,
    pub signaling: Signaling,
    pub guard: Arc<Guard>,
    /// Keys of back ends that may make room tokens and look at the rooms.
    pub signaling_keys: Vec<config::BuilderKey>,
    pub apps: Vec<config::App>,
    pub deploy: config::Deploy,
    pub updates: config::Updates,
    pub cors_origins: Vec<String>,
    /// How the hosts' certificates stand at the moment of the call.
    pub certificates: Certificates,
}

pub type Certificates = Arc<dyn Fn() -> Vec<CertificateHealth> + Send + Sync>;

/// [`State`] as the handlers see it.
struct Api {
    releases: Releases,
    store: Store,
    audit: Audit,
    tasks: Tasks,
    background: Handle,
    draining: CancellationToken,
    signaling: Signaling,
    signaling_keys: Vec<config::BuilderKey>,
    apps: Apps,
    guard: Arc<Guard>,
    deploy: config::Deploy,
    updates: config::Updates,
    certificates: Certificates,
}

/// Answers requests.
pub type Answering = Arc<dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync>;

/// All routes.
pub fn answering(state: State) -> Answering {
    let api = Api {
        releases: state.releases,
        store: state.store,
        audit: state.audit,
        tasks: state.tasks,
        background: state.background,
        draining: state.draining,
        signaling: state.signaling,
        signaling_keys: state.signaling_keys,
        apps: Apps::new(state.apps),
        guard: state.guard,
        deploy: state.deploy,
        updates: state.updates,
        certificates: state.certificates,
    };
    let (router, _) = routes().split_for_parts();
    let answering = with_failures(router.with_state(Arc::new(api)));
    match cors(&state.cors_origins) {
        Some(cors) => with_cors(answering, &cors),
        None => answering,
    }
}

/// Gives every failure of a router its JSON body.
pub fn with_failures(router: Router) -> Answering {
    let router = router.fallback(not_found);
    // Around the whole router: axum names the allowed methods only after the layers of its routes.
    Arc::new(move |request| Box::pin(error::finish(router.clone(), request)))
}

/// To the layer any OPTIONS is a preflight; what is none is answered like any other method, without
/// the fields of CORS.
fn with_cors(answering: Answering, cors: &CorsLayer) -> Answering {
    let plain = answering.clone();
    let service = service_fn(move |request| answering(request).map(Ok::<_, Infallible>));
    let service = cors.layer(service);
    Arc::new(move |request: Request| {
        if request.method() == Method::OPTIONS && !is_preflight(request.headers()) {
            return plain(request);
        }
        let answered = service.clone().oneshot(request);
        Box::pin(answered.map(|answered| answered.unwrap_or_else(|e| match e {})))
    })
}

fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::default()
        .merge(health::routes())
        .merge(docs::routes())
        .merge(app_routes())
        .nest("/apps/{app}", app_routes())
        .merge(signaling::routes())
        .merge(updates::public_routes())
}

/// What every app has: under its host, and under its name.
fn app_routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .merge(deploy::routes())
        .merge(download::routes())
        .merge(feeds::routes())
        .merge(diff::routes())
        .merge(commands())
        .merge(updates::routes())
}

/// What changes an app by its body alone.
fn commands() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .merge(prune::routes())
        .merge(releases::routes())
        .merge(republish::routes())
        .merge(drafts::routes())
        .merge(keys::routes())
        .route_layer(from_fn(without_parameters))
}

/// Refuses orders in the query, which nobody would obey: `?dryRun=true` beside a body that does not say so.
async fn without_parameters(request: Request, next: Next) -> Result<Response, ApiError> {
    let query = request.uri().query().unwrap_or_default();
    if request.method().is_safe() || query.is_empty() {
        return Ok(next.run(request).await);
    }
    let name = query.split(['=', '&']).next().unwrap_or_default();
    let name = name.chars().take(PARAMETER_MOST).collect();
    Err(ApiError::Parameter { name })
}

/// What a browser asks before a request (Fetch §3.3.2).
fn is_preflight(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

async fn not_found() -> ApiError {
    ApiError::NotFound
}

/// Which pages may read answers; without origins nothing is said about it, and browsers let none.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let origin = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(
            origins
                .iter()
                .filter_map(|origin| HeaderValue::try_from(origin).ok()),
        )
    };
    let sent = [
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::IF_NONE_MATCH,
        header::IF_RANGE,
        header::RANGE,
        auth::BUILDER_KEY,
        deploy::IDEMPOTENCY_KEY,
        drafts::CONTENT_SHA256,
    ];
    let read: [HeaderName; 9] = [
        header::ACCEPT_RANGES,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::ETAG,
        header::LAST_MODIFIED,
        header::LOCATION,
        header::RETRY_AFTER,
        config::REQUEST_ID,
        serve::STALE,
    ];
    let cors = CorsLayer::new()
        .allow_origin(origin)
        .allow_methods(AllowMethods::list([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::DELETE,
        ]))
        .allow_headers(AllowHeaders::list(sent))
        .expose_headers(ExposeHeaders::list(read));
    Some(cors)
}

fn seconds_since(since: Timestamp) -> u64 {
    u64::try_from(clock::now().duration_since(since).as_secs()).unwrap_or(0)
}
