//! The API described: `openapi.json`, and Swagger UI to read and try it.

mod failures;

use std::io::Read as _;
use std::sync::{Arc, LazyLock};

use axum::extract::Path;
use axum::response::{Html, IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContactBuilder, InfoBuilder, License, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::auth::BUILDER_KEY;
use super::error::{ApiError, ErrorBody};

/// No script but ours and none in the page; Swagger UI sets styles and shows images of its own making.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    connect-src 'self'; font-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The assets change only with the daemon.
const ASSET_CACHE: &str = "public, max-age=3600";

/// What the page loads. The rest of Swagger UI's files is not served, and the large ones are not embedded
/// (`.cargo/config.toml`).
const ASSETS: [&str; 6] = [
    "favicon-32x32.png",
    "index.css",
    "swagger-initializer.js",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
    "swagger-ui.css",
];

const PAGE: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>seance API</title>
<link rel="stylesheet" href="/ui/swagger-ui.css">
<link rel="stylesheet" href="/ui/index.css">
<link rel="icon" type="image/png" sizes="32x32" href="/ui/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/ui/swagger-ui-bundle.js"></script>
<script src="/ui/swagger-ui-standalone-preset.js"></script>
<script src="/ui/swagger-initializer.js"></script>
</body>
</html>
"#;

/// Made when it is first asked for: the start of the daemon does not wait for it.
static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document().into());

pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(ui))
        .routes(routes!(ui_directory))
        .routes(routes!(docs))
        .routes(routes!(asset))
        .routes(routes!(openapi))
}

/// The OpenAPI document, indented.
pub fn document() -> String {
    let mut document = super::routes().into_openapi();
    finish(&mut document);
    let mut text = document.to_pretty_json().unwrap_or_default(); // strings, numbers and lists only
    text.push('\n');
    text
}

/// What the descriptions of the single routes cannot say.
fn finish(document: &mut OpenApi) {
    document.info = InfoBuilder::new()
        .title("seance")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Releases and updates of desktop and web products. Every failure has a JSON body with `error` and `id`; the id is also the answer's `X-Request-Id`."))
        .license(Some(License::new("MIT")))
        .contact(None::<ContactBuilder>.map(ContactBuilder::build))
        .build();
    let components = document.components.get_or_insert_default();
    let key = ApiKey::Header(ApiKeyValue::new(BUILDER_KEY.as_str()));
    components.add_security_scheme("builderKey", SecurityScheme::ApiKey(key));
    components.add_security_scheme(
        "bearer",
        SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
    );
    let paths = std::mem::take(&mut document.paths.paths);
    for (path, mut item) in paths {
        let named = path.starts_with("/apps/{app}/");
        for operation in operations(&mut item) {
            if named {
                name_app(operation);
            }
            failures::complete(operation, named);
        }
        // OpenAPI has no sign for "and all below".
        document.paths.paths.insert(path.replace("{*", "{"), item);
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let operations = [
        &mut item.get,
        &mut item.head,
        &mut item.post,
        &mut item.put,
        &mut item.patch,
        &mut item.delete,
    ];
    operations.into_iter().flatten()
}

/// A route of the default app once more, under the name of another.
fn name_app(operation: &mut Operation) {
    use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
    use utoipa::openapi::{ObjectBuilder, RefOr, Required, Type};
    let app = ParameterBuilder::new()
        .name("app")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("Name of an app of the configuration"))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build();
    let parameters = operation.parameters.get_or_insert_default();
    parameters.insert(0, RefOr::T(app));
    operation.operation_id = operation.operation_id.take().map(|id| format!("{id}OfApp"));
}

/// Swagger UI
#[utoipa::path(get, path = "/ui", tag = "docs", operation_id = "ui", responses(
    (status = 200, content_type = "text/html", body = String)))]
async fn ui() -> Response {
    page()
}

/// Swagger UI, with a slash
#[utoipa::path(get, path = "/ui/", tag = "docs", operation_id = "uiDirectory", responses(
    (status = 200, content_type = "text/html", body = String)))]
async fn ui_directory() -> Response {
    page()
}

/// Swagger UI, at another address
#[utoipa::path(get, path = "/api/docs", tag = "docs", operation_id = "docs", responses(
    (status = 200, content_type = "text/html", body = String)))]
async fn docs() -> Response {
    page()
}

fn page() -> Response {
    (
        [
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::CACHE_CONTROL, "no-cache"),
        ],
        Html(PAGE),
    )
        .into_response()
}

/// A script or style of Swagger UI
#[utoipa::path(get, path = "/ui/{asset}", tag = "docs", operation_id = "uiAsset", params(("asset" = String, Path)), responses(
    (status = 200, content_type = "text/javascript", body = String),
    (status = 404, body = ErrorBody)))]
async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    let config = Arc::new(utoipa_swagger_ui::Config::from("/openapi.json"));
    if !ASSETS.contains(&name.as_str()) {
        return Err(ApiError::NotFound);
    }
    let Ok(Some(file)) = utoipa_swagger_ui::serve(&name, config) else {
        return Err(ApiError::NotFound);
    };
    let content_type = HeaderValue::try_from(&file.content_type).map_err(|_| ApiError::NotFound)?;
    let mut bytes = file.bytes.into_owned();
    let mut response = Response::default();
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, content_type);
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(ASSET_CACHE));
    fields.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if file.gzpipped && accepts_gzip(&headers) {
        fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    } else if file.gzpipped {
        bytes = gunzip(&bytes).ok_or(ApiError::NotFound)?;
    }
    *response.body_mut() = bytes.into();
    Ok(response)
}

/// Of our own assets, embedded at build time.
fn gunzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes)
        .read_to_end(&mut plain)
        .ok()?;
    Some(plain)
}

/// RFC 9110 §12.5.3, as far as browsers use it: `gzip` by name and not with weight 0.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let fields = headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|field| field.to_str().ok());
    fields.flat_map(|field| field.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(";q=").unwrap_or((coding, "1"));
        name.trim().eq_ignore_ascii_case("gzip")
            && weight
                .trim()
                .parse::<f32>()
                .is_ok_and(|weight| weight > 0.0)
    })
}

/// This description
#[utoipa::path(get, path = "/openapi.json", tag = "docs", operation_id = "openapi", responses(
    (status = 200, content_type = "application/json", body = Object,
        example = json!({"openapi": "3.1.0", "info": {"title": "seance", "version": "1.0.0"}, "paths": {}}))))]
async fn openapi() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, DOCUMENT.clone()).into_response()
}
