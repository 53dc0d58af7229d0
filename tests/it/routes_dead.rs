//! Routes, options and hosts that could do nothing are refused, what only looks like it is not.

use crate::harness::command::check_config;

/// A host with one route, which stands in line 2.
fn route(route: &str) -> String {
    format!("[hosts.\"a.test\"]\nroutes = [\n{{ {route} }}\n]\n")
}

#[track_caller]
fn right(config: &str) {
    let output = check_config(config, &[]);
    assert_eq!(output.code, 0, "{config}: {}", output.stderr);
}

#[track_caller]
fn refused(config: &str, parts: &[&str]) {
    let output = check_config(config, &[]);
    assert_eq!(output.code, 1, "{config}");
    for part in parts {
        assert!(output.stderr.contains(part), "{config}: {}", output.stderr);
    }
}

const FILES: &str = "to = { files = { directory = \"/srv\" } }";
const ELSEWHERE: &str = "to = { redirect = { location = \"https://b.test\" } }";
const LOST: &str = "to = { respond = { status = 404 } }";
const TIER: &str = "control = \"no-cache\"";

#[test]
fn options_of_a_route_that_do_nothing_are_refused() {
    let cache = |path: &str| format!("cache = [{{ path = \"{path}\", {TIER} }}]");
    let after = |first: &str, path: &str| {
        format!("cache = [{{ path = \"{first}\", {TIER} }}, {{ path = \"{path}\", {TIER} }}]")
    };
    let limit = "{ requests = 9, seconds = 60, key = \"X-Key\" }";
    let same = "{ requests = 9, seconds = 60, key = \"x-key\" }";
    for (written, key) in [
        (
            format!("strip_prefix = true, {ELSEWHERE}"),
            "`strip_prefix` does nothing",
        ),
        (
            format!("rewrite = \"/b\", {LOST}"),
            "`rewrite` does nothing",
        ),
        (
            "strip_prefix = true, to = \"signaling\"".to_owned(),
            "`strip_prefix` does nothing",
        ),
        (
            "rewrite = \"/b\", to = \"signaling\"".to_owned(),
            "`rewrite` does nothing",
        ),
        (
            format!("strip_prefix = true, {FILES}"),
            "`strip_prefix` does nothing",
        ),
        (
            format!("rewrite = \"/\", {FILES}"),
            "`rewrite` does nothing",
        ),
        ("rewrite = \"/a/\"".to_owned(), "`rewrite` does nothing"),
        (
            format!("compress = true, {ELSEWHERE}"),
            "`compress` does nothing",
        ),
        (
            "compress = true, to = \"signaling\"".to_owned(),
            "`compress` does nothing",
        ),
        (
            format!("{}, {ELSEWHERE}", cache("*")),
            "`cache` does nothing",
        ),
        (format!("{}, {LOST}", cache("*")), "`cache` does nothing"),
        (cache(""), "`cache` has the path ``"),
        (cache("/static/*"), "`cache` has the path `/static/*`"),
        (cache("/ab*"), "`cache` has the path `/ab*`"),
        (cache("/"), "`cache` has the path `/`"),
        (after("*", "/a/*"), "behind `*`"),
        (after("*.js", "/a/*.min.js"), "behind `*.js`"),
        (
            format!("rate_limits = [{limit}, {same}]"),
            "`rate_limits` has 9 requests in 60 s twice",
        ),
    ] {
        let written = format!("path = \"/a\", {written}");
        refused(&route(&written), &["config.toml:3: `/a` of `a.test`", key]);
    }
    refused(
        &route("strip_prefix = true"),
        &["`/` of `a.test`", "`strip_prefix` does nothing"],
    );
}

#[test]
fn options_of_a_route_that_do_something_are_not_refused() {
    let tiers = |paths: &[&str]| {
        let tier = |path: &&str| format!("{{ path = \"{path}\", {TIER} }}");
        let tiers: Vec<String> = paths.iter().map(tier).collect();
        format!("cache = [{}]", tiers.join(", "))
    };
    for written in [
        "path = \"/a\", strip_prefix = true".to_owned(),
        "rewrite = \"/a\"".to_owned(),
        // Files below `/a` of the directory, instead of those of the directory itself.
        format!("path = \"/a\", rewrite = \"/a\", {FILES}"),
        format!("compress = true, {FILES}"),
        "compress = true, max_body_bytes = 1, to = { respond = {} }".to_owned(),
        format!("path = \"/a\", {}", tiers(&["/a", "/a/*", "/*.js", "*.css", "*"])),
        tiers(&["/", "/a", "/*.js", "/*"]),
        format!("{}, to = {{ respond = {{}} }}", tiers(&["*"])),
        "rate_limits = [{ requests = 9, seconds = 60 }, { requests = 9, seconds = 60, key = \"x\" }, \
         { requests = 99, seconds = 60 }]"
            .to_owned(),
    ] {
        right(&route(&written));
    }
}

#[test]
fn a_route_that_the_deny_list_holds_whole_is_refused() {
    let denied = |paths: &str, more: &str| {
        let deny = format!("[deny]\npaths = [{paths}]\n{more}\n");
        format!("{deny}{}", route("path = \"/a\""))
    };
    let parts = ["config.toml:6: `/a` of `a.test`", "`deny.paths`"];
    for paths in ["\"/a*\"", "\"/x\", \"/a\", \"/a/*\""] {
        refused(&denied(paths, ""), &parts);
    }
    right(&denied("\"*\"", "")); // closed for a while
    right(&denied("\"/a*\"", "mode = \"log\""));
    right(&denied("\"/a/*\"", ""));
    right(&denied("\"/a\", \"/a/b*\"", ""));
}

#[test]
fn an_origin_in_a_form_that_no_browser_sends_is_refused() {
    let cors = |origin: &str| route(&format!("cors = {{ origins = [\"{origin}\"] }}"));
    let signaling = |origin: &str| format!("[signaling]\nallowed_origins = [\"{origin}\"]\n");
    let api = |origin: &str| format!("[http]\ncors_origins = [\"{origin}\"]\n");
    for origin in [
        "https://A.test",
        "https://a.test:443",
        "http://a.test:80",
        "https://a.test:",
        "https://a.test:99999",
        "https://a.test/",
        "https://u@a.test",
    ] {
        refused(
            &cors(origin),
            &[
                "config.toml:3: `/` of `a.test`",
                "`cors.origins` names",
                origin,
            ],
        );
        refused(
            &signaling(origin),
            &["`signaling.allowed_origins` is", origin],
        );
        refused(&api(origin), &["`http.cors_origins` is", origin]);
    }
    for origin in [
        "https://a.test",
        "https://a.test:8443",
        "http://a.test:443",
        "http://[::1]:5173",
        // Of an app's webview.
        "tauri://localhost",
        "null",
    ] {
        right(&cors(origin));
        right(&signaling(origin));
        right(&api(origin));
    }
}

#[test]
fn a_host_that_no_ca_certifies_is_refused() {
    let host = |name: &str, more: &str| format!("[hosts.\"{name}\"]\n{more}\n");
    let own_ca = "[acme]\ndirectory = \"https://ca.internal/acme/directory\"\n";
    let staging =
        "[acme]\ndirectory = \"https://acme-staging-v02.api.letsencrypt.org/directory\"\n";
    refused(
        &host("192.0.2.1", ""),
        &["config.toml:1: ", "`hosts.\"192.0.2.1\"` is an address"],
    );
    refused(
        &format!("{}{own_ca}", host("192.0.2.1", "")),
        &["is an address"],
    );
    refused(
        &host("intranet", ""),
        &["config.toml:1: ", "`hosts.\"intranet\"` has no dot"],
    );
    refused(&host("localhost", "tls = \"acme\""), &["has no dot"]);
    refused(
        &format!("{}{staging}", host("intranet", "")),
        &["has no dot"],
    );
    right(&format!("{}{own_ca}", host("intranet", "")));
    let behind = "[http]\nbehind_proxy = true\ntrusted_proxies = [\"10.0.0.0/8\"]\n";
    for name in ["intranet", "192.0.2.1"] {
        right(&host(name, "tls = \"off\""));
        right(&host(
            name,
            "certificate_file = \"/c.pem\"\nkey_file = \"/k.pem\"",
        ));
        right(&format!("{}{behind}", host(name, "")));
    }
}

#[test]
fn passwords_in_plain_text_are_warned_of() {
    let auth = "path = \"/a\", basic_auth = { users_file = \"/u\" }";
    let plain = route(auth).replace("routes", "tls = \"off\"\nroutes");
    let output = check_config(&plain, &[]);
    let wanted = "config.toml:4: `basic_auth` of `/a` of `a.test`: without TLS";
    assert_eq!(output.code, 0, "{}", output.stderr);
    let warning = output
        .stdout
        .lines()
        .find(|line| line.starts_with("warning: "));
    let warning = warning.unwrap_or_else(|| panic!("no warning in {}", output.stdout));
    assert!(warning.contains(wanted), "{warning}");
    let trusted = format!("[http]\ntrusted_proxies = [\"10.0.0.0/8\"]\n{plain}");
    for config in [route(auth), trusted] {
        let output = check_config(&config, &[]);
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert!(!output.stdout.contains("warning"), "{}", output.stdout);
    }
}
