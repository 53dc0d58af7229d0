//! What the API says of itself: health, documentation, methods, origins.

use std::path::Path;

use serde_json::Value;

use crate::harness::Builder;
use crate::harness::bucket::secret_file;
use crate::harness::command::seance;
use crate::harness::http::{get, request};
use crate::harness::wait::wait_until;

#[test]
fn health_is_what_the_contracts_say() {
    let daemon = Builder::new().start();
    let json = |path: &str| {
        let answer = get(daemon.http, path);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        answer.json()
    };
    let time = |value: &Value| {
        value
            .as_str()
            .is_some_and(|time| time.ends_with('Z') && time.contains('T'))
    };
    let root = json("/");
    assert_eq!(
        (root["status"].as_str(), root["service"].as_str()),
        (Some("healthy"), Some("seance-backend"))
    );
    assert!(time(&root["timestamp"]));
    assert_eq!(json("/health/live")["status"], "live");
    assert_eq!(json("/health/ready")["status"], "ready");
    let health = json("/health");
    assert_eq!(health["status"], "healthy");
    assert_eq!(
        (health["database"].as_str(), health["redis"].as_str()),
        (Some("not_configured"), Some("not_configured"))
    );
    assert_eq!(
        health["storage"],
        serde_json::json!({ "local": "healthy", "cloud": "not_configured" })
    );
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    let api = json("/api/health");
    assert!(
        api["ok"] == true && api["service"].is_string() && time(&api["time"]),
        "{api}"
    );
    let pong = json("/api/health/ping");
    assert!(
        pong["message"] == "pong" && time(&pong["timestamp"]),
        "{pong}"
    );
    assert_eq!(
        json("/api/health/echo?message=a%20%22b%22"),
        serde_json::json!({ "echo": "a \"b\"" })
    );
    assert_eq!(json("/api/health/echo"), serde_json::json!({ "echo": "" }));
    assert_eq!(
        request(daemon.http, "HEAD", "/health", &[], b"").status,
        200
    );
}

#[test]
fn a_store_that_never_answered_is_not_ready_and_nothing_is_called_absent() {
    let id = secret_file("id");
    let config = format!(
        "[store]\nkind = \"s3\"\n[store.s3]\nbucket = \"b\"\nendpoint = \"http://127.0.0.1:9\"\n\
         access_key_id_file = \"{id}\"\nsecret_access_key_file = \"{id}\"\n"
    );
    let daemon = Builder::new().config(&config).start();
    for (path, status) in [
        ("/", 200),
        ("/health/live", 200),
        ("/health/ready", 503),
        ("/health", 503),
        ("/api/health", 503),
    ] {
        assert_eq!(get(daemon.http, path).status, status, "{path}");
    }
    assert_eq!(
        get(daemon.http, "/health").json()["storage"]["local"],
        "not_configured"
    );
    for path in [
        "/updates/darwin-arm64/latest-mac.yml",
        "/prod/releases/version.json",
    ] {
        let answer = get(daemon.http, path);
        assert_eq!(
            (answer.status, answer.json()["error"].as_str()),
            (503, Some("Temporarily unavailable")),
            "{path}"
        );
        assert!(answer.header("retry-after").is_some(), "{path}");
    }
    assert_eq!(get(daemon.http, "/nonsense").status, 404);
}

fn document() -> Value {
    serde_json::from_str(&seance(&["openapi"], &[]).stdout).expect("JSON")
}

#[test]
fn the_checked_in_description_is_the_current_one() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/openapi.json");
    let kept = std::fs::read_to_string(file).expect("the checked-in description");
    assert!(
        kept == seance(&["openapi"], &[]).stdout,
        "the API changed: cargo run -- openapi > tests/fixtures/openapi.json"
    );
}

#[test]
fn what_is_described_is_mounted_with_those_methods_and_no_other() {
    let daemon = Builder::new().start();
    assert_eq!(get(daemon.http, "/openapi.json").json(), document());
    let document = document();
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() > 15, "{paths:?}");
    for (path, operations) in paths {
        let path = match path.as_str() {
            "/{path}" => "/prod/x".to_owned(),
            path => path
                .replace("{app}", "default")
                .replace("{platform}", "mac")
                .replace(['{', '}'], ""),
        };
        let described: Vec<&str> = operations
            .as_object()
            .expect("operations")
            .keys()
            .map(String::as_str)
            .collect();
        let mut wanted: Vec<String> = described.iter().map(|name| name.to_uppercase()).collect();
        wanted.extend(described.contains(&"get").then(|| "HEAD".to_owned()));
        wanted.sort();
        let others = ["PATCH", "DELETE", "PUT"];
        for method in others
            .into_iter()
            .filter(|method| !wanted.contains(&(*method).to_owned()))
        {
            let answer = request(daemon.http, method, &path, &[], b"");
            assert_eq!(
                (answer.status, answer.json()["error"].as_str()),
                (405, Some("Method not allowed")),
                "{method} {path}"
            );
            let allowed = answer.header("allow").unwrap_or_default().split(',');
            let mut allowed: Vec<&str> = allowed.collect();
            allowed.sort_unstable();
            assert_eq!(allowed, wanted, "{path}");
        }
    }
}

/// utoipa-axum cannot mount a route without its description unless it is told to by this call.
#[test]
fn no_route_is_mounted_without_a_description() {
    let rooms = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api");
    for entry in std::fs::read_dir(rooms).expect("src/api") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            let text = std::fs::read_to_string(&path).expect("a source file");
            for call in [".route(", ".route_service(", ".nest_service("] {
                assert!(
                    !text.contains(call),
                    "{} mounts an undescribed route with {call}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn every_operation_has_an_id_a_tag_and_an_answer() {
    let document = document();
    let mut ids = std::collections::BTreeSet::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let id = operation["operationId"].as_str().expect("an id");
            assert!(ids.insert(id.to_owned()), "{id} twice");
            assert!(
                operation["tags"][0].is_string() && operation["summary"].is_string(),
                "{method} {path}"
            );
            assert!(
                operation["responses"]
                    .as_object()
                    .is_some_and(|responses| !responses.is_empty()),
                "{method} {path}"
            );
            for name in path
                .split('/')
                .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
            {
                let parameters = operation["parameters"].as_array().expect("parameters");
                assert!(
                    parameters
                        .iter()
                        .any(|p| p["name"] == name && p["in"] == "path"),
                    "{method} {path}: {name}"
                );
            }
        }
    }
}

#[test]
fn every_success_in_json_has_an_example() {
    let document = document();
    let mut seen = 0;
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let responses = operation["responses"].as_object().expect("responses");
            for (status, response) in responses
                .iter()
                .filter(|(status, _)| status.starts_with('2'))
            {
                let content = &response["content"]["application/json"];
                if content.is_null() {
                    continue;
                }
                let schema = match content["schema"]["$ref"].as_str() {
                    Some(named) => document.pointer(named.trim_start_matches('#')),
                    None => Some(&content["schema"]),
                };
                let example = schema.and_then(|schema| schema.get("example"));
                let example = content.get("example").or(example);
                assert!(
                    example.is_some_and(Value::is_object),
                    "{method} {path} {status}"
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn the_documentation_is_a_page_without_foreign_parts() {
    let daemon = Builder::new().start();
    for path in ["/ui", "/ui/", "/api/docs"] {
        let page = get(daemon.http, path);
        assert_eq!(
            (page.status, page.header("content-type")),
            (200, Some("text/html; charset=utf-8")),
            "{path}"
        );
        let policy = page.header("content-security-policy").expect("a policy");
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("http"),
            "{policy}"
        );
        let text = page.text();
        assert!(
            !text.contains("//") || !text.contains("src=\"http"),
            "{text}"
        );
        let assets = text.split('"').filter(|part| part.starts_with("/ui/"));
        for asset in assets {
            let plain = get(daemon.http, asset);
            assert_eq!(
                (plain.status, plain.header("content-encoding")),
                (200, None),
                "{asset}"
            );
            assert!(!plain.body.is_empty(), "{asset}");
        }
    }
    let small = request(
        daemon.http,
        "GET",
        "/ui/swagger-ui-bundle.js",
        &[("Accept-Encoding", "gzip, br")],
        b"",
    );
    assert_eq!(small.header("content-encoding"), Some("gzip"));
    assert!(small.body.len() < 600_000 && small.body.starts_with(&[0x1f, 0x8b]));
    assert!(
        get(daemon.http, "/ui/swagger-initializer.js")
            .text()
            .contains("/openapi.json")
    );
    for other in [
        "none.js",
        "index.html",
        "swagger-ui.js",
        "swagger-ui-es-bundle.js",
    ] {
        assert_eq!(
            get(daemon.http, &format!("/ui/{other}")).status,
            404,
            "{other}"
        );
    }
}

#[test]
fn only_configured_origins_may_read_answers() {
    let daemon = Builder::new()
        .config("[http]\ncors_origins = [\"https://app.example\"]\n")
        .start();
    let from = |origin: &str, path: &str| {
        let answer = request(daemon.http, "GET", path, &[("Origin", origin)], b"");
        answer
            .headers
            .iter()
            .filter(|(name, _)| name == "access-control-allow-origin")
            .map(|(_, value)| value.clone())
            .collect::<Vec<_>>()
    };
    for path in ["/health", "/updates/mac/none.yml"] {
        assert_eq!(from("https://app.example", path), ["https://app.example"]);
        assert!(from("https://evil.example", path).is_empty());
    }
    for (method, path, fields) in [
        ("POST", "/deploy", "x-builder-key,content-type"),
        (
            "PUT",
            "/api/drafts/x/uploads/y/parts/1",
            "x-builder-key,x-content-sha256",
        ),
        ("DELETE", "/api/drafts/x", "x-builder-key"),
    ] {
        let ask = [
            ("Origin", "https://app.example"),
            ("Access-Control-Request-Method", method),
            ("Access-Control-Request-Headers", fields),
        ];
        let preflight = request(daemon.http, "OPTIONS", path, &ask, b"");
        assert_eq!(preflight.status, 200);
        let allows = |name: &str, wanted: &str| {
            let allowed = preflight.header(name).unwrap_or_default();
            wanted.split(',').all(|one| allowed.contains(one))
        };
        assert!(
            allows("access-control-allow-headers", fields)
                && allows("access-control-allow-methods", method),
            "{method}: {preflight:?}"
        );
    }
    let plain = Builder::new().start();
    let answer = request(
        plain.http,
        "GET",
        "/health",
        &[("Origin", "https://app.example")],
        b"",
    );
    assert!(
        answer
            .headers
            .iter()
            .all(|(name, _)| !name.starts_with("access-control-")),
        "{answer:?}"
    );
}

#[test]
fn an_options_that_is_no_preflight_is_a_method_like_any_other() {
    let daemon = Builder::new()
        .config("[http]\ncors_origins = [\"https://app.example\"]\n")
        .start();
    for (path, fields, status, allow) in [
        ("/nope", &[][..], 404, None),
        ("/health", &[], 405, Some("GET,HEAD")),
        (
            "/health",
            &[("Origin", "https://app.example")],
            405,
            Some("GET,HEAD"),
        ),
        (
            "/deploy",
            &[("Access-Control-Request-Method", "POST")],
            405,
            Some("POST"),
        ),
    ] {
        let answer = request(daemon.http, "OPTIONS", path, fields, b"");
        let found = (answer.status, answer.header("allow"));
        assert_eq!(found, (status, allow), "{path} {fields:?}");
    }
}

#[test]
fn anything_else_is_404_in_json() {
    let daemon = Builder::new().start();
    for (method, path) in [
        ("GET", "/nonsense"),
        ("POST", "/nonsense"),
        ("GET", "/api"),
        ("DELETE", "/a/b/c"),
        ("GET", "/updates"),
        ("GET", "//"),
    ] {
        let answer = request(daemon.http, method, path, &[], b"");
        assert_eq!(
            (answer.status, answer.json()["error"].as_str()),
            (404, Some("Not found")),
            "{method} {path}"
        );
        assert_eq!(answer.header("allow"), None, "{method} {path}");
        assert_eq!(
            answer.json()["id"].as_str(),
            answer.header("x-request-id"),
            "{method} {path}"
        );
    }
}

#[test]
fn what_is_switched_off_is_501_and_no_error_in_the_log() {
    let daemon = Builder::new().start();
    let answer = get(daemon.http, "/api/turn");
    assert_eq!(answer.status, 501, "{}", answer.text());
    let log = wait_until(
        "it is answered",
        || daemon.log(),
        |log| log.contains("path=\"/api/turn\" status=501"),
    );
    assert!(!log.contains("ERROR"), "{log}");
}
