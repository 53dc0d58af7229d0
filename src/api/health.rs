//! Is it well: one computation behind every health address.

#![expect(
    unused_qualifications,
    reason = "what utoipa makes of a route's parameters"
)]

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::error::{ApiError, ErrorBody};
use crate::clock;
use crate::release::Synced;
use crate::signaling::BusState;
use crate::store::Store;

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(root))
        .routes(routes!(live))
        .routes(routes!(ready))
        .routes(routes!(detailed))
        .routes(routes!(api_health))
        .routes(routes!(ping))
        .routes(routes!(echo))
}

/// What all health answers are made of. It costs no call to the store: whoever follows the release log asks it
/// anyway, every few seconds.
struct Health {
    /// Number of the last record of the release log that is served.
    head: u64,
    synced: Synced,
    draining: bool,
    bucket: bool,
    bus: BusState,
    certificates: Vec<CertificateHealth>,
}

/// The certificate of one host.
#[derive(Serialize, ToSchema)]
pub struct CertificateHealth {
    pub host: String,
    /// `valid`, `expired` or `missing`.
    pub status: &'static str,
    /// RFC 3339, UTC; none without a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

impl Health {
    fn of(api: &Api) -> Health {
        let releases = api.releases.health();
        Health {
            head: releases.head,
            synced: releases.synced,
            draining: api.draining.is_cancelled(),
            bucket: matches!(api.store, Store::S3(_)),
            certificates: (api.certificates)(),
            bus: api.signaling.bus_state(),
        }
    }

    fn status(&self) -> &'static str {
        let certified = |host: &CertificateHealth| host.status == "valid";
        match (self.draining, self.synced) {
            (true, _) => "draining",
            (false, Synced::Known) if self.bus == BusState::Lost => "degraded",
            (false, Synced::Never) => "unhealthy",
            (false, Synced::Known) if self.certificates.iter().all(certified) => "healthy",
            (false, Synced::Known | Synced::Stale { .. }) => "degraded",
        }
    }

    /// Whether new requests should come here. A node that serves the last known releases stays in.
    fn is_ready(&self) -> bool {
        !self.draining && self.synced != Synced::Never
    }

    fn signaling(&self) -> SignalingHealth {
        let bus = match self.bus {
            BusState::NotConfigured => "not_configured",
            BusState::Connected => "healthy",
            BusState::Lost => "unreachable",
        };
        SignalingHealth { bus }
    }

    fn storage(&self) -> Storage {
        let state = match self.synced {
            Synced::Known => "healthy",
            Synced::Stale { .. } => "unreachable",
            Synced::Never => "unknown",
        };
        let (local, cloud) = if self.bucket {
            ("not_configured", state)
        } else {
            (state, "not_configured")
        };
        Storage { local, cloud }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"status": "healthy", "service": "seance-backend", "timestamp": "2026-11-21T01:40:03.000Z"}))]
struct Root {
    status: &'static str,
    service: &'static str,
    /// RFC 3339, UTC.
    timestamp: String,
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"status": "live"}))]
struct Probe {
    status: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"status": "healthy", "database": "not_configured", "redis": "not_configured",
    "storage": {"local": "healthy", "cloud": "not_configured"}, "signaling": {"bus": "not_configured"},
    "version": "0.1.0", "release": 42, "staleSeconds": 0,
    "certificates": [{"host": "app.example.com", "status": "valid", "expires": "2027-01-20T01:40:03.000Z"}]}))]
struct Detailed {
    /// `healthy`; `degraded`: the last known releases are served, a host lacks a valid certificate, or the rooms of
    /// other nodes cannot be reached; `unhealthy`: no releases are known; `draining`.
    status: &'static str,
    database: &'static str,
    redis: &'static str,
    storage: Storage,
    signaling: SignalingHealth,
    version: &'static str,
    /// Number of the last record of the release log that is served.
    release: u64,
    /// Seconds since the store was last seen; 0 while it answers.
    #[serde(rename = "staleSeconds")]
    stale_seconds: u64,
    /// Of every host that is served over TLS.
    certificates: Vec<CertificateHealth>,
}

#[derive(Serialize, ToSchema)]
struct Storage {
    local: &'static str,
    cloud: &'static str,
}

#[derive(Serialize, ToSchema)]
struct SignalingHealth {
    /// The way to the rooms of other nodes.
    bus: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"ok": true, "service": "seance", "time": "2026-11-21T01:40:03.000Z"}))]
struct ApiHealth {
    ok: bool,
    service: &'static str,
    /// RFC 3339, UTC.
    time: String,
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"message": "pong", "timestamp": "2026-11-21T01:40:03.000Z"}))]
struct Pong {
    message: &'static str,
    /// RFC 3339, UTC.
    timestamp: String,
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"echo": "hello"}))]
struct Echo {
    echo: String,
}

#[derive(Deserialize, IntoParams)]
struct EchoQuery {
    /// Sent back.
    #[serde(default)]
    message: String,
}

/// A health answer is true only now.
fn answer(well: bool, body: impl Serialize) -> Response {
    let status = if well {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut response = (status, Json(body)).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn timestamp() -> String {
    clock::rfc3339(clock::now())
}

/// The back end, in a word
#[utoipa::path(get, path = "/", tag = "health", operation_id = "root", responses((status = 200, body = Root)))]
async fn root() -> Response {
    answer(
        true,
        Root {
            status: "healthy",
            service: "seance-backend",
            timestamp: timestamp(),
        },
    )
}

/// Whether the process answers
#[utoipa::path(get, path = "/health/live", tag = "health", operation_id = "live", responses((status = 200, body = Probe)))]
async fn live() -> Response {
    answer(true, Probe { status: "live" })
}

/// Whether new requests should be sent here
///
/// 503 while the daemon is draining, and while no release is known because the store never answered.
#[utoipa::path(get, path = "/health/ready", tag = "health", operation_id = "ready", responses(
    (status = 200, body = Probe),
    (status = 503, body = Probe, example = json!({"status": "draining"}))))]
async fn ready(State(api): State<Arc<Api>>) -> Response {
    let health = Health::of(&api);
    let status = if health.is_ready() {
        "ready"
    } else {
        health.status()
    };
    answer(health.is_ready(), Probe { status })
}

/// All parts
///
/// 503 unless everything works; parts that are not in use say `not_configured`.
#[utoipa::path(get, path = "/health", tag = "health", operation_id = "health", responses(
    (status = 200, body = Detailed),
    (status = 503, body = Detailed)))]
async fn detailed(State(api): State<Arc<Api>>) -> Response {
    let health = Health::of(&api);
    let stale_seconds = match health.synced {
        Synced::Stale { since } => super::seconds_since(since),
        Synced::Known | Synced::Never => 0,
    };
    let body = Detailed {
        status: health.status(),
        database: "not_configured",
        redis: "not_configured",
        storage: health.storage(),
        signaling: health.signaling(),
        version: env!("CARGO_PKG_VERSION"),
        release: health.head,
        stale_seconds,
        certificates: health.certificates,
    };
    answer(body.status == "healthy", body)
}

/// Whether the API works
#[utoipa::path(get, path = "/api/health", tag = "health", operation_id = "apiHealth", responses(
    (status = 200, body = ApiHealth),
    (status = 503, body = ApiHealth)))]
async fn api_health(State(api): State<Arc<Api>>) -> Response {
    let ok = Health::of(&api).is_ready();
    answer(
        ok,
        ApiHealth {
            ok,
            service: "seance",
            time: timestamp(),
        },
    )
}

/// pong
#[utoipa::path(get, path = "/api/health/ping", tag = "health", operation_id = "ping", responses((status = 200, body = Pong)))]
async fn ping() -> Response {
    answer(
        true,
        Pong {
            message: "pong",
            timestamp: timestamp(),
        },
    )
}

/// Says what was said
#[utoipa::path(get, path = "/api/health/echo", tag = "health", operation_id = "echo", params(EchoQuery), responses(
    (status = 200, body = Echo),
    (status = 400, body = ErrorBody, description = "A query that is not UTF-8")))]
async fn echo(query: Result<Query<EchoQuery>, QueryRejection>) -> Result<Response, ApiError> {
    let Query(query) = query?;
    Ok(answer(
        true,
        Echo {
            echo: query.message,
        },
    ))
}
