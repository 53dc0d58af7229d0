//! Hosts by the environment of existing deployments: `CADDY_DOMAIN`, `APP_DOMAIN`, `MARKETING_DOMAIN`.

use crate::harness::command::{path, seance};
use crate::harness::http::request;
use crate::harness::release::{deploy, files};
use crate::harness::{Builder, Daemon, key_hash};

const DOMAINS: [(&str, &str); 3] = [
    ("CADDY_DOMAIN", "localhost:8080"),
    ("APP_DOMAIN", "App.Example.com"),
    ("MARKETING_DOMAIN", "www.example.com"),
];

/// What `check-config` says, with its code.
fn check(toml: &str, environment: &[(&str, &str)], json: bool) -> (i32, String) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("c.toml");
    std::fs::write(&file, toml).expect("a configuration file");
    let mut arguments = vec!["check-config"];
    arguments.extend(json.then_some("--json"));
    arguments.push(path(&file));
    let output = seance(&arguments, environment);
    (output.code, output.stdout + &output.stderr)
}

/// Plain, behind a proxy on this machine, so that no certificate is wanted.
fn daemon() -> Daemon {
    let config = format!(
        "[http]\nbehind_proxy = true\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [apps.default]\nbuilder_key_hashes = [\"{}\"]\n\
         [hosts.\"www.example.com\"]\nroutes = [{{ to = {{ respond = {{ body = \"marketing\" }} }} }}]\n",
        key_hash("secret")
    );
    let builder = Builder::new().config(&config);
    DOMAINS
        .iter()
        .fold(builder, |builder, (name, value)| builder.env(name, value))
        .start()
}

#[test]
fn each_domain_of_the_environment_is_answered_by_what_it_stands_for() {
    let daemon = daemon();
    let ask = |host, path| {
        let answer = request(daemon.http, "GET", path, &[("Host", host)], b"");
        (answer.status, answer.text())
    };
    let app = files(&[("web/index.html", b"<h1>app"), ("web/a.js", b"1")]);
    assert_eq!(deploy(daemon.http, "secret", &app).status, 200);
    assert_eq!(ask("localhost:8080", "/health/live").0, 200);
    assert_eq!(ask("localhost", "/signaling").1, "okay");
    assert_eq!(ask("app.example.com", "/"), (200, "<h1>app".to_owned()));
    assert_eq!(ask("app.example.com", "/users/7").1, "<h1>app", "SPA");
    assert_eq!(ask("app.example.com", "/a.js").1, "1");
    assert_eq!(
        ask("www.example.com", "/").1,
        "marketing",
        "the file's routes are kept"
    );
    assert_eq!(ask("other.example.com", "/").0, 421);
}

#[test]
fn check_config_says_of_which_variable_a_host_is_and_with_which_certificate() {
    let (code, text) = check("", &DOMAINS, false);
    assert_eq!(code, 0, "{text}");
    for wanted in [
        "app.example.com   certificate by ACME   (APP_DOMAIN)",
        "localhost   certificate of the local CA   (CADDY_DOMAIN)",
        "www.example.com   certificate by ACME   (MARKETING_DOMAIN)",
        "files of the app default   (MARKETING_DOMAIN)",
        "signaling   (CADDY_DOMAIN)",
    ] {
        assert!(text.contains(wanted), "no `{wanted}` in\n{text}");
    }
    let toml = "[hosts.\"WWW.example.com\"]\ntls = \"off\"\n\
                [hosts.\"a.test\"]\ncertificate_file = \"/c.pem\"\nkey_file = \"/k.pem\"\n";
    let (_, text) = check(toml, &DOMAINS, true);
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let hosts = json["hosts"].as_array().expect("hosts");
    let said = |host: &serde_json::Value| {
        let place = &host["place"];
        let line = place["line"].as_u64().map(|line| line.to_string());
        let place = line.unwrap_or_else(|| place["variable"].to_string());
        format!("{} {} {place}", host["host"], host["certificate"])
    };
    let mut said: Vec<String> = hosts.iter().map(said).collect();
    said.sort();
    assert_eq!(
        said,
        [
            "\"a.test\" \"files\" 3",
            "\"app.example.com\" \"acme\" \"APP_DOMAIN\"",
            "\"localhost\" \"local\" \"CADDY_DOMAIN\"",
            "\"www.example.com\" \"none\" 1",
        ]
    );
}

#[test]
fn a_domain_that_is_no_host_or_has_two_purposes_is_refused() {
    for value in ["http://a.test", "a b", ":80", "a_b.test", "127.0.0.1"] {
        let (code, text) = check("", &[("CADDY_DOMAIN", value)], false);
        assert_eq!(code, 1, "{value}");
        assert!(text.contains("CADDY_DOMAIN="), "{value}: {text}");
    }
    let one = |app| [("CADDY_DOMAIN", "a.test:443"), ("APP_DOMAIN", app)];
    let (code, text) = check("", &one("A.test"), false);
    assert_eq!((code, text.contains("APP_DOMAIN=A.test")), (1, true));
    assert_eq!(check("", &one(""), false).0, 0, "empty is not set");
    let same = [("APP_DOMAIN", "a.test"), ("MARKETING_DOMAIN", "a.test")];
    assert_eq!(check("", &same, false).0, 0, "one app for both");
}

#[test]
fn the_port_of_an_old_environment_does_not_move_the_redirects() {
    let port = [("PORT", "3000"), ("CADDY_DOMAIN", "a.test")];
    let (_, text) = check("", &port, true);
    assert!(text.contains("[::]:80"), "{text}");
    let (_, text) = check("[hosts.\"a.test\"]\n", &port, true);
    assert!(text.contains("[::]:3000"), "{text}");
}

#[test]
fn to_stand_behind_a_proxy_that_nobody_trusts_is_refused() {
    let preset = "[http]\nbehind_proxy = true\n";
    let (code, text) = check(preset, &[], false);
    assert_eq!(code, 1);
    assert!(text.contains("`http.trusted_proxies` is empty"), "{text}");
    let trusted = format!("{preset}trusted_proxies = [\"10.0.0.0/8\"]\n");
    assert_eq!(check(&trusted, &[], false).0, 0);
}
