//! Hosts and routes: what answers for which name and path.

use std::path::Path;

use crate::harness::Builder;
use crate::harness::command::seance;
use crate::harness::http::{Answer, Connection, get};

const TWO_HOSTS: &str = r#"
[hosts."backend.example.com"]
tls = "off"

[hosts."www.example.com"]
tls = "off"
[[hosts."www.example.com".routes]]
to = { redirect = { location = "https://example.com", keep_path = true } }
[[hosts."www.example.com".routes]]
path = "/text"
to = { respond = { status = 418, body = "short", content_type = "text/x-tea" } }
[[hosts."www.example.com".routes]]
path = "/api/v1"
strip_prefix = true
[[hosts."www.example.com".routes]]
path = "/probe"
rewrite = "/health"
[[hosts."www.example.com".routes]]
path = "/rooms"
to = "signaling"
"#;

fn ask(connection: &mut Connection, host: &str, target: &str) -> Answer {
    connection.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    connection.answer(true)
}

#[test]
fn each_host_and_path_is_answered_by_its_route() {
    let daemon = Builder::new().config(TWO_HOSTS).start();
    let mut connection = Connection::open(daemon.http);
    let mut www = |target| ask(&mut connection, "www.example.com", target);
    assert_eq!(www("/text/below").status, 418);
    let tea = www("/te%78t");
    assert_eq!((tea.status, tea.text().as_str()), (418, "short"));
    assert_eq!(tea.header("content-type"), Some("text/x-tea"));
    let redirect = www("/texts?a=b");
    assert_eq!(redirect.status, 308);
    assert_eq!(
        redirect.header("location"),
        Some("https://example.com/texts?a=b")
    );
    assert_eq!(www("/api/v1/health/live").status, 200, "stripped");
    assert_eq!(www("/probe/live").status, 200, "rewritten");
    assert_eq!(www("/rooms").text(), "okay", "the signaling room");
    assert_eq!(www("/text/../x").status, 400);
    let backend = ask(&mut connection, "Backend.Example.com:80", "/health/live");
    assert_eq!(backend.status, 200);
}

#[test]
fn a_kept_path_leads_to_no_other_host() {
    let config = "[hosts.\"a.test\"]\ntls = \"off\"\nroutes = [\n\
        { path = \"/go\", to = { redirect = { location = \"/\", keep_path = true } } },\n\
        { path = \"/x\", to = { redirect = { location = \"https://example.com\", keep_path = true } } },\n\
        { path = \"/y\", to = { redirect = { location = \"https://example.com/z/\", keep_path = true } } },\n]\n";
    let daemon = Builder::new().config(config).start();
    let mut connection = Connection::open(daemon.http);
    for (target, location) in [
        ("/go", "/"),
        ("/go?a=b", "/?a=b"),
        ("/go/a//b", "/a//b"),
        ("/go//evil.com", "/evil.com"),
        ("/go///evil.com/", "/evil.com/"),
        ("/go/\\evil.com", "/evil.com"),
        ("/go/%5Cevil.com", "/evil.com"),
        ("/go/%2f%2Fevil.com", "/evil.com"),
        ("/go%2f/evil.com", "/evil.com"),
        ("/x", "https://example.com"),
        ("/x/", "https://example.com/"),
        ("/x%2F@evil.com/", "https://example.com/@evil.com/"),
        ("/x%2f.evil.com", "https://example.com/.evil.com"),
        ("/y/%C3%A9?a", "https://example.com/z/%C3%A9?a"),
    ] {
        let answer = ask(&mut connection, "a.test", target);
        assert_eq!(answer.header("location"), Some(location), "{target}");
    }
}

#[test]
fn a_host_that_is_not_served_is_misdirected() {
    let daemon = Builder::new().config(TWO_HOSTS).start();
    let mut connection = Connection::open(daemon.http);
    for host in ["other.example.com", "example.com", "x.www.example.com"] {
        assert_eq!(ask(&mut connection, host, "/").status, 421, "{host}");
    }
}

#[test]
fn without_hosts_the_backend_answers_for_any_name() {
    let daemon = Builder::new().start();
    let mut connection = Connection::open(daemon.http);
    for host in ["a.example.com", "127.0.0.1"] {
        assert_eq!(
            ask(&mut connection, host, "/health/live").status,
            200,
            "{host}"
        );
    }
    assert_eq!(get(daemon.http, "/a/b").status, 404);
}

#[test]
fn a_reload_changes_the_table_for_open_connections_too() {
    let daemon = Builder::new().config(TWO_HOSTS).start();
    let mut connection = Connection::open(daemon.http);
    assert_eq!(ask(&mut connection, "www.example.com", "/text").status, 418);
    daemon.reload(&TWO_HOSTS.replace("418", "451"));
    assert_eq!(ask(&mut connection, "www.example.com", "/text").status, 451);
    daemon.reload(&TWO_HOSTS.replace("\"/text\"", "\"/rooms\""));
    assert_eq!(
        ask(&mut connection, "www.example.com", "/text").status,
        451,
        "a bad configuration changes nothing"
    );
}

fn refused(config: &str) -> String {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("c.toml");
    std::fs::write(&file, config).expect("a file");
    let output = seance(&["check-config", path(&file)], &[]);
    assert_eq!(output.code, 1, "{config}");
    output.stderr
}

fn path(file: &Path) -> &str {
    file.to_str().expect("a path in UTF-8")
}

/// The configuration of one host with these routes; the first stands in line 2.
fn routes(routes: &str) -> String {
    format!("[hosts.\"a.test\"]\nroutes = [\n{routes}\n]\n")
}

#[test]
fn a_table_that_cannot_be_meant_is_refused_with_host_path_and_line() {
    for (written, wanted) in [
        (
            "{ path = \"/a\" },\n{ path = \"/a/\" }",
            &["c.toml:4", "`/a/` of `a.test`", "c.toml:3"][..],
        ),
        (
            "{ path = \"a\" }",
            &["c.toml:3", "`a` of `a.test` is not a path"],
        ),
        ("{ path = \"/a/../b\" }", &["is not a path"]),
        ("{ path = \"/a%20b\" }", &["is not a path"]),
        (
            "{ path = \"/a\", strip_prefix = true, rewrite = \"/b\" }",
            &["both `strip_prefix` and `rewrite`"],
        ),
        (
            "{ path = \"/a\", strip_prefix = true, to = { respond = {} } }",
            &["does nothing"],
        ),
        (
            "{ path = \"/a\", to = { redirect = { location = \"b\" } } }",
            &["needs a `location`"],
        ),
        (
            "{ path = \"/a\", to = { redirect = { location = \"/b?x=1\", keep_path = true } } }",
            &["no path can stand"],
        ),
        (
            "{ path = \"/a\", to = { redirect = { location = \"/b#x\", keep_path = true } } }",
            &["no path can stand"],
        ),
        (
            "{ path = \"/a\", to = { redirect = { location = \"/b\", status = 200 } } }",
            &["has the status 200"],
        ),
        (
            "{ path = \"/a\", to = { respond = { status = 204, body = \"x\" } } }",
            &["has no body"],
        ),
    ] {
        let error = refused(&routes(written));
        for part in wanted {
            assert!(error.contains(part), "{written}: {error}");
        }
    }
}

#[test]
fn an_unknown_key_inside_a_route_is_named_with_its_line_and_the_nearest_known_one() {
    let inline = refused(&routes("{ path = \"/a\", strip_prefx = true }"));
    assert!(inline.contains("c.toml:3"), "{inline}");
    assert!(
        inline.contains("did you mean `hosts.a.test.routes.strip_prefix`"),
        "{inline}"
    );
    let deep = refused(
        "[[hosts.\"a.test\".routes]]\npath = \"/\"\n[hosts.\"a.test\".routes.to.redirect]\nlokation = \"/b\"\n",
    );
    assert!(deep.contains("c.toml:4"), "{deep}");
    assert!(deep.contains("redirect.location"), "{deep}");
    let target = refused(&routes("{ to = { prxy = {} } }"));
    assert!(target.contains("routes.to.proxy"), "{target}");
}

#[test]
fn a_host_of_an_app_has_to_be_among_the_hosts() {
    let error = refused("[hosts.\"a.test\"]\n[apps.second]\nhosts = [\"b.test\"]\n");
    assert!(
        error.contains("`apps.second.hosts` names `b.test`"),
        "{error}"
    );
}

#[test]
fn check_config_says_what_answers_for_each_host_and_path() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("c.toml");
    std::fs::write(&file, TWO_HOSTS).expect("a file");
    let text = seance(&["check-config", path(&file)], &[]).stdout;
    let line = |wanted: &str| {
        let found = text
            .lines()
            .find(|line| line.trim_start().starts_with(wanted));
        found
            .unwrap_or_else(|| panic!("no `{wanted}` in\n{text}"))
            .to_owned()
    };
    assert!(line("/text/").contains("always 418"), "{text}");
    assert!(line("/text/").contains("c.toml:9"), "{text}");
    assert!(line("backend.example.com").contains("c.toml:2"), "{text}");
    let json = seance(&["check-config", "--json", path(&file)], &[]).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["hosts"][1]["host"], "www.example.com");
    assert_eq!(json["hosts"][1]["routes"][0]["place"]["line"], 12);
}
