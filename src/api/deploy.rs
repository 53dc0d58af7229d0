//! `POST /deploy`: a whole release in one request.

#![expect(
    unused_qualifications,
    reason = "what utoipa makes of a route's parameters"
)]

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::Caller;
use super::error::{ApiError, ErrorBody};
use super::{Api, receive, serve};
use crate::audit::{self, Outcome};
use crate::cause::chain;
use crate::clock;
use crate::config::{self, Scope};
use crate::release::body::{self, decompress::Encoding};
use crate::release::path::longest_under;
use crate::release::{BeginError, Deploy, Intake, Order, Published, Rollout};
use crate::tasks;

pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// After the drain a deploy has this long to begin its record, and then to end it; together less than the daemon gives
/// its tasks.
const LAST_MOMENT: Duration = Duration::from_millis(1500);
const LAST_RECORD: Duration = Duration::from_secs(1);

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(deploy))
}

/// The body of a deploy. Its members may come in any order, each once; unknown ones are ignored, and what is in them
/// is not checked for members that stand twice.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "described here, read as a stream by the release room"
)]
struct DeployRequest {
    files: Vec<DeployedContent>,
}

#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "described here, read as a stream by the release room"
)]
struct DeployedContent {
    /// Relative, with `/` between segments: `releases/darwin-arm64/latest-mac.yml`.
    path: String,
    /// Base64: standard or url-safe, padded or not, in lines or not.
    #[schema(content_encoding = "base64")]
    content: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "success": true, "filesDeployed": 1,
    "files": [{"path": "releases/version.json", "url": "https://cdn.example.com/prod/releases/version.json", "size": 19,
        "sha256": "…64 hexadecimal digits…", "sha512": "…128 hexadecimal digits…"}],
    "timestamp": "2026-11-21T01:40:03.000Z", "id": "0199d3a7-c1f0-7b6e-8a52-e4f06d1c9b7e", "warnings": []}))]
pub struct DeployResponse {
    success: bool,
    files_deployed: usize,
    files: Vec<DeployedFile>,
    /// When the release became true, RFC 3339, UTC.
    timestamp: String,
    /// Names the release.
    id: String,
    warnings: Vec<Warning>,
}

#[derive(Serialize, ToSchema)]
pub struct DeployedFile {
    path: String,
    /// Percent-encoded; at the CDN when there is one, else a path on this server.
    url: String,
    /// Bytes.
    size: u64,
    /// Hexadecimal.
    sha256: String,
    /// Hexadecimal.
    sha512: String,
}

/// What is wrong with a manifest that was published all the same.
#[derive(Serialize, ToSchema)]
pub struct Warning {
    path: String,
    message: String,
}

/// What is mistyped here would publish to more than was meant.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct DeployQuery {
    /// Replace the bytes of files whose names carry a version.
    #[serde(default)]
    force: bool,
    /// Share of the clients that get changed manifests at first, 0 to 100; raise it with `/api/releases/rollout`.
    rollout: Option<u8>,
}

/// Publish files, all at once
///
/// Until the answer nothing of it can be seen, after it everything. Named paths are added or replaced; a deploy with
/// `web/index.html` replaces all of `web/`. The body may be compressed (`Content-Encoding: gzip` or `zstd`). With an
/// `Idempotency-Key` a request that is repeated within 24 hours of its first success gets that answer (and
/// `Idempotency-Replayed: true`); a failure is not kept.
#[utoipa::path(post, path = "/deploy", tag = "deploy", operation_id = "deploy",
    params(
        DeployQuery,
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters")),
    security(("builderKey" = []), ("bearer" = [])),
    request_body(content = DeployRequest, content_type = "application/json",
        example = json!({"files": [{"path": "releases/version.json", "content": "eyJ2ZXJzaW9uIjoiMS4yLjAifQ=="}]})),
    responses(
        (status = 200, body = DeployResponse),
        (status = 400, body = ErrorBody, example = json!({"error": "Invalid file path", "path": "../x",
            "message": "invalid file path \"../x\": a path must not contain a `..` segment (line 1, offset 19, file 0)",
            "line": 1, "offset": 19, "file": {"index": 0, "path": null}, "id": "0199d3a7c1f07b6e8a52e4f06d1c9b7e"})),
        (status = 401, body = ErrorBody, example = json!({"error": "Invalid builder key", "id": "0199d3a7c1f07b6e8a52e4f06d1c9b7e"})),
        (status = 403, body = ErrorBody, description = "No builder key is configured; the key may not publish, or not there"),
        (status = 408, body = ErrorBody, description = "The body stopped arriving, or took hours"),
        (status = 409, body = ErrorBody, description = "Bytes would change under a versioned name; a path would be file and directory; a deploy with this Idempotency-Key is running"),
        (status = 413, body = ErrorBody, description = "A limit, which is named, was exceeded"),
        (status = 415, body = ErrorBody, description = "Not application/json, or an unknown Content-Encoding"),
        (status = 422, body = ErrorBody, description = "Faulty manifests, where they are refused; another deploy has this Idempotency-Key"),
        (status = 429, body = ErrorBody, description = "Too many invalid keys from this address"),
        (status = 500, body = ErrorBody, example = json!({"error": "Deployment failed", "message": "internal", "id": "0199d3a7c1f07b6e8a52e4f06d1c9b7e"})),
        (status = 503, body = ErrorBody, description = "Too many deploys at the same time, or the store is away"),
        (status = 507, body = ErrorBody, description = "The store is full")))]
async fn deploy(
    State(api): State<Arc<Api>>,
    caller: Caller,
    query: Result<Query<DeployQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    // All of this before the body is polled: hyper asks for it (100 Continue) with the first poll.
    caller.may(Scope::Publish)?;
    let Query(query) = query?;
    let encoding = encoding(request.headers())?;
    check_length(request.headers(), api.deploy.max_body_bytes)?;
    let order = Order {
        key_sha256: idempotency(request.headers())?,
        force: query.force,
        rollout: rollout(query.rollout)?,
        ..caller.order()
    };
    let (deploy, intake) = api
        .releases
        .begin(order)
        .await
        .map_err(|error| match error {
            BeginError::Busy => ApiError::Busy,
            BeginError::Running => ApiError::Running,
        })?;
    let deed = caller.deed("deploy", format!("{}/{}", caller.app.prefix, deploy.id()));
    let deed = api.audit.begin(deed).await?;
    let job = Job {
        api: api.clone(),
        app: caller.app,
        within: caller.key.paths,
        encoding,
        deploy,
        intake,
        deed,
    };
    let stall = Duration::from_secs(api.deploy.stall_timeout_seconds);
    let (pump, reader) = receive::split(request.into_body(), stall, api.deploy.max_body_bytes);
    let (done, ()) = tokio::join!(job.start(reader), pump.run());
    done.ok().flatten().ok_or(ApiError::Cut)? // the log has the panic
}

/// One deploy between its head and its answer.
struct Job {
    api: Arc<Api>,
    app: Arc<config::App>,
    /// Where the key may publish.
    within: Vec<String>,
    encoding: Encoding,
    deploy: Deploy,
    intake: Intake,
    deed: audit::Reservation,
}

impl Job {
    /// Runs beside the connections: the deploy ends, and is recorded, also when its sender goes away or its connection
    /// is cut at the end of the drain.
    fn start(self, reader: receive::Reader) -> JoinHandle<Option<Result<Response, ApiError>>> {
        let api = self.api.clone();
        let _entered = api.background.enter();
        api.tasks.short("deploy", self.run(reader))
    }

    async fn run(self, reader: receive::Reader) -> Result<Response, ApiError> {
        let Job {
            api,
            app,
            within,
            encoding,
            deploy,
            intake,
            deed,
        } = self;
        let most = api.deploy.max_body_bytes;
        let limits = body::Limits {
            body_bytes: most,
            files: api.deploy.max_files,
            file_bytes: most,
            path_bytes: longest_under(app.prefix.as_str()),
            within,
        };
        let cut = deploy.cut();
        let mut publishing = pin!(publish(&api, limits, encoding, deploy, intake, reader));
        let published = tokio::select! {
            published = &mut publishing => published,
            () = last_moment(&api) => {
                cut.cancel();
                // A record that is being written is no failure yet.
                let last = tokio::time::timeout(LAST_RECORD, publishing).await;
                last.unwrap_or(Err(ApiError::Cut))
            }
        };
        let (outcome, details) = match &published {
            Ok(published) if published.replayed => {
                (Outcome::Success, "repeated request".to_owned())
            }
            Ok(published) => (
                Outcome::Success,
                format!("{} files", published.record.deployed().files.len()),
            ),
            Err(error) if error.status().is_server_error() => {
                (Outcome::Failure, chain(error).to_string())
            }
            Err(error) => (Outcome::Denied, chain(error).to_string()),
        };
        log_end(&app, outcome, &details);
        if let Err(error) = deed.record(outcome, details).await {
            tracing::error!(
                error = %chain(&error),
                "a deploy could not be recorded in the audit, although room was reserved"
            );
        }
        let published = published?;
        let answer = Json(deploy_response(&app, &published)).into_response();
        Ok(replayed(answer, &published))
    }
}

/// A refusal is the sender's matter, a failure the operator's.
pub fn log_end(app: &config::App, outcome: Outcome, details: &str) {
    use crate::systemd::message;
    let app = &app.name;
    match outcome {
        Outcome::Success => {
            tracing::info!(message_id = message::DEPLOY_PUBLISHED, %app, details, "a deploy was published");
        }
        Outcome::Denied => {
            tracing::warn!(message_id = message::DEPLOY_REFUSED, %app, details, "a deploy was refused");
        }
        Outcome::Failure => {
            tracing::error!(message_id = message::DEPLOY_FAILED, %app, details, "a deploy failed");
        }
    }
}

/// When the daemon is about to exit: what is not published by then has to be recorded as cut.
async fn last_moment(api: &Api) {
    api.tasks.cancelled().await;
    tasks::pause(LAST_MOMENT).await;
}

async fn publish(
    api: &Api,
    limits: body::Limits,
    encoding: Encoding,
    deploy: Deploy,
    mut intake: Intake,
    reader: receive::Reader,
) -> Result<Published, ApiError> {
    let most = limits.body_bytes;
    let reading = tasks::blocking("deploy-body", move || {
        let reader =
            body::decompress::decompress(encoding, reader).map_err(body::error::BodyError::Read)?;
        body::read(reader, &limits, &mut intake).map(|_| intake)
    });
    let intake = match reading.await.map_err(|_| ApiError::Cut)? {
        Ok(intake) => intake,
        Err(body::error::BodyError::Read(error))
            if error.kind() == std::io::ErrorKind::FileTooLarge =>
        {
            return Err(ApiError::TooLarge { limit_bytes: most });
        }
        Err(error) => return Err(error.into()),
    };
    api.releases
        .publish(deploy, intake)
        .await
        .map_err(ApiError::Deploy)
}

/// What a deploy that is true is answered.
pub fn deploy_response(app: &config::App, published: &Published) -> DeployResponse {
    let record = &published.record;
    let deployed = record.deployed();
    let files = deployed.files.iter().map(|file| DeployedFile {
        path: file.path.to_string(),
        url: serve::public_url(app, file.path.as_str()),
        size: file.size,
        sha256: hex::encode(file.sha256),
        sha512: hex::encode(file.sha512),
    });
    let warnings = deployed.warnings.iter();
    DeployResponse {
        success: true,
        files_deployed: deployed.files.len(),
        files: files.collect(),
        timestamp: clock::rfc3339(record.at),
        id: record.id.to_string(),
        warnings: warnings
            .map(|w| Warning {
                path: w.path.to_string(),
                message: w.message.clone(),
            })
            .collect(),
    }
}

/// Says so in an answer that was given before.
pub fn replayed(mut response: Response, published: &Published) -> Response {
    if published.replayed {
        response
            .headers_mut()
            .insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// All clients are no rollout.
pub fn rollout(percentage: Option<u8>) -> Result<Option<Rollout>, ApiError> {
    match percentage {
        None | Some(100) => Ok(None),
        Some(101..) => Err(ApiError::Query),
        Some(percentage) => Ok(Some(Rollout {
            percentage,
            steps: Vec::new(),
        })),
    }
}

/// How the body is compressed, when it is JSON in UTF-8 (RFC 8259 §8.1) at all.
fn encoding(headers: &HeaderMap) -> Result<Encoding, ApiError> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let mut parts = text(header::CONTENT_TYPE).unwrap_or_default().split(';');
    let media_type = parts.next().unwrap_or_default().trim();
    let mut parameters = parts.filter_map(|parameter| parameter.trim().split_once('='));
    let other_charset = parameters.any(|(name, value)| {
        let utf8 = value.trim_matches('"').eq_ignore_ascii_case("utf-8");
        name.eq_ignore_ascii_case("charset") && !utf8
    });
    if !media_type.eq_ignore_ascii_case("application/json") || other_charset {
        return Err(ApiError::ContentType);
    }
    match text(header::CONTENT_ENCODING) {
        None => Ok(Encoding::Identity),
        Some(coding) => Encoding::parse(coding).ok_or(ApiError::ContentEncoding),
    }
}

/// Refuses on its word a body that is declared too large.
fn check_length(headers: &HeaderMap, limit_bytes: u64) -> Result<(), ApiError> {
    if receive::declared(headers).is_some_and(|declared| declared > limit_bytes) {
        return Err(ApiError::TooLarge { limit_bytes });
    }
    Ok(())
}

fn idempotency(headers: &HeaderMap) -> Result<Option<[u8; 32]>, ApiError> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let key = key.as_bytes();
    if !(1..=255).contains(&key.len()) || !key.iter().all(u8::is_ascii_graphic) {
        return Err(ApiError::IdempotencyKey);
    }
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest(&SHA256, key).as_ref());
    Ok(Some(sha256))
}
