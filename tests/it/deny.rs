//! The deny list: what is turned away before any route is looked at, and what is only noted.

use std::io::{Read as _, Write as _};

use crate::harness::command::check_config;
use crate::harness::http::{Answer, get, request};
use crate::harness::websocket::connect_from;
use crate::harness::{Builder, Daemon};

const LISTS: &str =
    "[deny]\npaths = [\"/private/*\", \"/health/live\"]\nuser_agents = [\"BadBot\"]\n";

fn ask(daemon: &Daemon, path: &str, agent: &str) -> Answer {
    request(daemon.http, "GET", path, &[("User-Agent", agent)], b"")
}

#[test]
fn listed_paths_and_user_agents_are_turned_away_and_counted() {
    let daemon = Builder::new().config(LISTS).start();
    for (path, agent, status) in [
        ("/health/ready", "curl/8", 200),
        ("/health/ready", "Mozilla (badbot/2)", 403),
        ("/health/live", "curl/8", 403),
        ("/health//l%69ve", "curl/8", 403),
        ("/private/a/b", "curl/8", 403),
        ("/privateer", "curl/8", 404),
    ] {
        assert_eq!(ask(&daemon, path, agent).status, status, "{path} {agent}");
    }
    let refused = ask(&daemon, "/private/", "curl/8");
    let body: serde_json::Value = serde_json::from_str(&refused.text()).expect("JSON");
    let names: Vec<&String> = body.as_object().expect("an object").keys().collect();
    assert_eq!(
        (body["error"].as_str(), names.len()),
        (Some("Forbidden"), 2)
    );
    let counted =
        "seance_http_requests_denied_total{listener=\"http\",rule=\"path\",action=\"block\"}";
    assert_eq!(daemon.metric(counted), 4);
}

#[test]
fn listed_addresses_are_turned_away_from_every_host_and_a_reload_lets_them_in_again() {
    let host = "[http]\ntrusted_proxies = [\"127.0.0.1\"]\n[hosts.localhost]\ntls = \"off\"\n";
    let deny = format!("{host}[deny]\naddresses = [\"203.0.113.0/24\"]\n");
    let daemon = Builder::new().config(&deny).start();
    let from = |address| {
        let from = [("X-Forwarded-For", address)];
        request(daemon.http, "GET", "/health/live", &from, b"").status
    };
    assert_eq!((from("203.0.113.9"), from("203.0.114.9")), (403, 200));
    daemon.reload(&deny.replace("[deny]", "[deny]\nmode = \"log\""));
    assert_eq!(from("203.0.113.9"), 200);
    let counted =
        "seance_http_requests_denied_total{listener=\"http\",rule=\"address\",action=\"log\"}";
    assert_eq!(daemon.metric(counted), 1);
}

#[test]
fn what_scanners_ask_for_is_noted_and_by_option_blocked() {
    let daemon = Builder::new().config("").start();
    assert_eq!(get(daemon.http, "/.git/config").status, 404);
    let log = daemon.log();
    assert!(log.contains("rule=\"known_bad\""), "{log}");
    daemon.reload("[deny]\nknown_bad = \"block\"\n");
    for path in ["/.env", "/x/%2egit/HEAD", "/WP-login.php"] {
        assert_eq!(get(daemon.http, path).status, 403, "{path}");
    }
    assert_eq!(get(daemon.http, "/health/live").status, 200);
    // What blocks wins over what only notes.
    daemon.reload("[deny]\nmode = \"log\"\npaths = [\"*\"]\nknown_bad = \"block\"\n");
    assert_eq!(get(daemon.http, "/.env").status, 403);
    assert_eq!(get(daemon.http, "/health/live").status, 200);
    daemon.reload("[deny]\nknown_bad = \"off\"\n");
    assert_eq!(get(daemon.http, "/.env").status, 404);
}

#[test]
fn what_is_denied_gets_neither_a_redirect_nor_word_of_the_host() {
    let config =
        "[hosts.\"one.localhost\"]\n[deny]\npaths = [\"/private\"]\nknown_bad = \"block\"\n";
    let daemon = Builder::new().config(config).start();
    let ask = |host: &str, path: &str| {
        let host = [("Host", host)];
        request(daemon.http, "GET", path, &host, b"").status
    };
    for (host, path, status) in [
        ("one.localhost", "/.env", 403),
        ("one.localhost", "/private", 403),
        ("other.example", "/.env", 403),
        ("one.localhost", "/", 308),
        ("other.example", "/", 421),
        ("one.localhost", "/.well-known/acme-challenge/.env", 404),
        ("127.0.0.1", "/health/live", 200),
    ] {
        assert_eq!(ask(host, path), status, "{host} {path}");
    }
    let counted =
        "seance_http_requests_denied_total{listener=\"http\",rule=\"known_bad\",action=\"block\"}";
    assert_eq!(daemon.metric(counted), 2);
    assert!(daemon.log().contains("the deny list fits a request"));
}

#[test]
fn an_entry_that_cannot_be_meant_is_refused() {
    for (entry, wanted) in [
        ("paths = [\"private\"]", "`deny.paths` names `private`"),
        ("user_agents = [\"\"]", "`deny.user_agents[]` is empty"),
        ("addresses = [\"10.0.0.1/8\"]", "is not a network"),
        ("known_bad = \"drop\"", "known_bad"),
    ] {
        let output = check_config(&format!("[deny]\n{entry}\n"), &[]);
        assert_eq!(output.code, 1, "{entry}");
        assert!(output.stderr.contains(wanted), "{entry}: {}", output.stderr);
    }
}

/// What the signaling port answers a connection from this address of loopback; nothing when it is dropped.
fn signaling_from(daemon: &Daemon, source: &str) -> String {
    let mut stream = connect_from(source, daemon.signaling.expect("a signaling address"));
    let ceiling = Some(crate::harness::wait::CEILING);
    stream.set_read_timeout(ceiling).expect("a timeout");
    let mut answer = String::new();
    let asked = stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    match asked.and_then(|()| stream.read_to_string(&mut answer)) {
        Ok(_) => answer,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => String::new(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn listed_addresses_are_dropped_on_the_signaling_port_too() {
    let list = "[deny]\naddresses = [\"127.0.0.2\"]\n";
    for hosts in ["", "[hosts.\"a.localhost\"]\n"] {
        let daemon = Builder::new().config(&format!("{list}{hosts}")).start();
        assert_eq!(signaling_from(&daemon, "127.0.0.2"), "");
        let answer = signaling_from(&daemon, "127.0.0.3");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let counted = "seance_http_requests_denied_total{listener=\"signaling\",rule=\"address\",action=\"block\"}";
        assert_eq!(daemon.metric(counted), 1);
        // It costs nothing to come again and again.
        assert!(!daemon.log().contains("fits a signaling connection"));
        daemon.reload(hosts);
        let answer = signaling_from(&daemon, "127.0.0.2");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}
