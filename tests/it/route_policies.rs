//! What routes ask of requests and add to answers.

use crate::harness::Builder;
use crate::harness::command::check_config;
use crate::harness::http::{Answer, Connection};
use crate::harness::upstream::Upstream;
use crate::harness::wait::wait_until;

fn config(route: &str) -> String {
    format!("[hosts.\"a.test\"]\ntls = \"off\"\n[[hosts.\"a.test\".routes]]\n{route}\n")
}

const SHORT: &str = "to = { respond = { body = \"short\" } }\n";

fn ask(connection: &mut Connection, target: &str, fields: &str) -> Answer {
    connection.send(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n").as_bytes());
    connection.answer(true)
}

#[test]
fn answers_of_hosts_tell_browsers_to_be_careful() {
    let daemon = Builder::new().config(&config(SHORT)).start();
    let answer = ask(&mut Connection::open(daemon.http), "/", "");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "strict-origin-when-cross-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let csp = answer.header("content-security-policy").expect("a policy");
    assert!(csp.starts_with("default-src 'none'"), "{csp}");
    assert!(answer.header("permissions-policy").is_some());
    assert_eq!(
        answer.header("strict-transport-security"),
        None,
        "plain text"
    );
}

#[test]
fn security_headers_are_changed_left_out_and_switched_off() {
    let changed = "security = { frame_options = \"SAMEORIGIN\", referrer_policy = \"\" }";
    let daemon = Builder::new()
        .config(&config(&format!("{SHORT}{changed}")))
        .start();
    let mut connection = Connection::open(daemon.http);
    let answer = ask(&mut connection, "/", "");
    assert_eq!(answer.header("x-frame-options"), Some("SAMEORIGIN"));
    assert_eq!(answer.header("referrer-policy"), None);
    daemon.reload(&config(&format!("{SHORT}security = {{ enabled = false }}")));
    let answer = ask(&mut connection, "/", "");
    assert_eq!(answer.header("x-content-type-options"), None);
}

#[test]
fn cors_is_said_once_and_preflights_are_answered_here() {
    let cors =
        "cors = { origins = [\"https://b.test\"], credentials = true, expose = [\"etag\"] }\n";
    let daemon = Builder::new()
        .config(&format!("[http]\ncors_origins = [\"*\"]\n{}", config(cors)))
        .start();
    let mut connection = Connection::open(daemon.http);
    let answer = ask(
        &mut connection,
        "/health/live",
        "Origin: https://b.test\r\n",
    );
    let all = |name: &str| {
        let found = answer.headers.iter().filter(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(all("access-control-allow-origin"), ["https://b.test"]);
    assert_eq!(all("access-control-allow-credentials"), ["true"]);
    assert_eq!(all("access-control-expose-headers"), ["etag"]);
    let other = ask(
        &mut connection,
        "/health/live",
        "Origin: https://c.test\r\n",
    );
    assert_eq!(other.header("access-control-allow-origin"), None);
    connection.send(
        b"OPTIONS /deploy HTTP/1.1\r\nHost: a.test\r\nOrigin: https://b.test\r\n\
          Access-Control-Request-Method: PUT\r\n\r\n",
    );
    let preflight = connection.answer(true);
    assert_eq!(preflight.status, 204);
    assert_eq!(
        preflight.header("access-control-allow-origin"),
        Some("https://b.test")
    );
    let methods = preflight
        .header("access-control-allow-methods")
        .expect("methods");
    assert!(methods.contains("PUT"), "{methods}");
}

/// Everything that an answer says about other origins, and `Vary`.
fn said_about_origins(answer: &Answer) -> Vec<(&str, &str)> {
    let pairs = answer.headers.iter();
    let pairs = pairs.map(|(name, value)| (name.as_str(), value.as_str()));
    let about = |name: &str| name.starts_with("access-control-") || name == "vary";
    pairs.filter(|(name, _)| about(name)).collect()
}

#[test]
fn whatever_an_upstream_says_about_origins_is_replaced() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Allow-Private-Network: true\r\n\
          Access-Control-Yet-Unknown: 1\r\nContent-Length: 0\r\n\r\n"
            .to_vec()
    });
    let proxy = format!(
        "to = {{ proxy = {{ upstreams = [\"{}\"] }} }}\n",
        upstream.url()
    );
    let cors = "cors = { origins = [\"https://b.test\"] }\n";
    let daemon = Builder::new()
        .config(&config(&format!("{proxy}{cors}")))
        .start();
    let mut connection = Connection::open(daemon.http);
    let answer = ask(&mut connection, "/", "Origin: https://b.test\r\n");
    assert_eq!(
        said_about_origins(&answer),
        [
            ("access-control-allow-origin", "https://b.test"),
            ("vary", "origin")
        ]
    );
    let other = ask(&mut connection, "/", "Origin: https://c.test\r\n");
    assert_eq!(said_about_origins(&other), [("vary", "origin")]);
}

#[test]
fn pages_that_may_come_can_read_refusals_too() {
    let cors = "cors = { origins = [\"https://b.test\"] }\n";
    let silent = Upstream::start(|mut peer, _| while peer.take(1).is_some() {});
    let proxy = format!(
        "to = {{ proxy = {{ upstreams = [\"{}\"] }} }}",
        silent.url()
    );
    let routes = format!(
        "{cors}{SHORT}max_body_bytes = 1\n[[hosts.\"a.test\".routes]]\npath = \"/closed\"\n\
         {cors}{SHORT}allow = [\"192.0.2.1\"]\n[[hosts.\"a.test\".routes]]\npath = \"/slow\"\n{cors}{proxy}\n\
         [deny]\npaths = [\"/denied\"]\n[http]\nbody_timeout_seconds = 1\n"
    );
    let daemon = Builder::new().config(&config(&routes)).start();
    let fields = "Host: a.test\r\nOrigin: https://b.test\r\n";
    for (status, line, more) in [
        (403, "GET /denied", ""),
        (403, "GET /closed", ""),
        (413, "POST /", "Content-Length: 2\r\n"),
        (408, "POST /slow", "Content-Length: 2\r\n"),
    ] {
        let mut connection = Connection::open(daemon.http);
        connection.send(format!("{line} HTTP/1.1\r\n{fields}{more}\r\n").as_bytes());
        let answer = connection.answer(true);
        assert_eq!(answer.status, status, "{line}");
        let allowed = ("access-control-allow-origin", "https://b.test");
        assert_eq!(
            said_about_origins(&answer),
            [allowed, ("vary", "origin")],
            "{line}"
        );
    }
}

#[test]
fn a_cache_tier_holds_for_every_spelling_of_its_path() {
    let tier = "cache = [{ path = \"/keep/*\", control = \"no-store\" }]\n";
    let daemon = Builder::new()
        .config(&config(&format!("{SHORT}{tier}")))
        .start();
    let mut connection = Connection::open(daemon.http);
    for path in ["/keep/x", "/%6beep/x", "//keep/x", "/keep%2fx"] {
        let answer = ask(&mut connection, path, "");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
    }
}

#[test]
fn cache_tiers_replace_what_the_answer_says_about_caching() {
    let tiers = "cache = [{ path = \"/health/*\", control = \"max-age=7\" }, { path = \"*\", control = \"no-cache\" }]\n\
                 response_headers = { set = { X-Team = \"blue\" }, remove = [\"vary\", \"X-Content-*\"] }";
    let daemon = Builder::new().config(&config(tiers)).start();
    let mut connection = Connection::open(daemon.http);
    let answer = ask(&mut connection, "/health/live", "");
    assert_eq!(answer.header("cache-control"), Some("max-age=7"));
    assert_eq!(answer.header("x-team"), Some("blue"));
    assert_eq!(answer.header("x-content-type-options"), None);
    assert_ne!(
        ask(&mut connection, "/nothing", "").header("cache-control"),
        Some("no-cache")
    );
}

#[test]
fn a_client_that_comes_too_often_is_told_when_to_come_again() {
    let limits = "rate_limits = [{ requests = 2, seconds = 100 }, { requests = 1, seconds = 100, key = \"X-Key\" }]\n";
    let trusted = "[http]\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let daemon = Builder::new()
        .config(&format!("{trusted}{}", config(&format!("{SHORT}{limits}"))))
        .start();
    let mut connection = Connection::open(daemon.http);
    let mut come = |from: &str, key: &str| {
        ask(
            &mut connection,
            "/",
            &format!("X-Forwarded-For: {from}\r\nX-Key: {key}\r\n"),
        )
    };
    assert_eq!(come("2001:db8::1", "a").status, 200);
    let again = come("2001:db8::2", "b");
    assert_eq!(again.status, 200, "another key, the second of this /64");
    let refused = come("2001:db8::3", "c");
    assert_eq!(refused.status, 429, "the third of this /64");
    let seconds: u64 = refused
        .header("retry-after")
        .expect("a time")
        .parse()
        .expect("seconds");
    assert!((40..=50).contains(&seconds), "{seconds}");
    assert_eq!(refused.header("x-ratelimit-limit"), Some("2"));
    assert_eq!(refused.header("x-ratelimit-remaining"), Some("0"));
    assert!(refused.header("x-ratelimit-reset").is_some());
    assert_eq!(
        come("2001:db8:0:1::1", "a").status,
        429,
        "the second with this key"
    );
    assert_eq!(come("192.0.2.1", "d").status, 200);
}

#[test]
fn only_named_addresses_come_in_and_untrusted_peers_cannot_name_another() {
    let allow = format!("{SHORT}allow = [\"192.0.2.0/24\"]\n");
    let daemon = Builder::new()
        .config(&format!(
            "[http]\ntrusted_proxies = [\"127.0.0.1\"]\n{}",
            config(&allow)
        ))
        .start();
    let mut connection = Connection::open(daemon.http);
    assert_eq!(
        ask(&mut connection, "/", "X-Forwarded-For: 192.0.2.7\r\n").status,
        200
    );
    assert_eq!(
        ask(&mut connection, "/", "X-Forwarded-For: 198.51.100.7\r\n").status,
        403
    );
    wait_until(
        "the access line names the client",
        || daemon.log(),
        |log| log.contains("198.51.100.7"),
    );
    let daemon = Builder::new().config(&config(&allow)).start();
    let mut connection = Connection::open(daemon.http);
    assert_eq!(
        ask(&mut connection, "/", "X-Forwarded-For: 192.0.2.7\r\n").status,
        403
    );
}

#[test]
fn a_body_above_the_limit_of_a_route_is_refused() {
    let daemon = Builder::new()
        .config(&config("max_body_bytes = 10\n"))
        .start();
    let key = "X-Builder-Key: x\r\n";
    let mut connection = Connection::open(daemon.http);
    connection.send(
        format!("POST /deploy HTTP/1.1\r\nHost: a.test\r\n{key}Content-Length: 11\r\n\r\n")
            .as_bytes(),
    );
    assert_eq!(connection.answer(true).status, 413);
}

#[test]
fn requests_that_are_refused_get_the_headers_of_their_route_as_well() {
    let team = "response_headers = { set = { X-Team = \"blue\" } }\n";
    let allow = "allow = [\"192.0.2.1\"]\n";
    let closed = format!(
        "path = \"/closed\"\n{SHORT}{allow}{team}[[hosts.\"a.test\".routes]]\n{SHORT}{team}max_body_bytes = 1\n\
         rate_limits = [{{ requests = 1, seconds = 100 }}]\n[deny]\npaths = [\"/denied\"]\n"
    );
    let daemon = Builder::new().config(&config(&closed)).start();
    let refused = |status: u16, request: &str, team: Option<&str>| {
        let mut connection = Connection::open(daemon.http);
        connection.send(request.as_bytes());
        let answer = connection.answer(true);
        assert_eq!(answer.status, status, "{request}");
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{request}"
        );
        assert_eq!(answer.header("x-team"), team, "{request}");
        assert!(answer.json()["id"].is_string(), "{request}");
    };
    let host = "Host: a.test\r\n";
    refused(
        403,
        &format!("GET /closed HTTP/1.1\r\n{host}\r\n"),
        Some("blue"),
    );
    refused(
        403,
        &format!("GET /denied HTTP/1.1\r\n{host}\r\n"),
        Some("blue"),
    );
    refused(
        413,
        &format!("POST / HTTP/1.1\r\n{host}Content-Length: 2\r\n\r\nab"),
        Some("blue"),
    );
    refused(429, &format!("GET / HTTP/1.1\r\n{host}\r\n"), Some("blue"));
    refused(400, &format!("GET /%zz HTTP/1.1\r\n{host}\r\n"), None);
    refused(400, "GET / HTTP/1.1\r\n\r\n", None);
    refused(421, "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n", None);
}

#[test]
fn a_rate_limit_that_a_reload_does_not_change_goes_on_counting() {
    let limited = |seconds: u32, more: &str| {
        let limit = format!("rate_limits = [{{ requests = 1, seconds = {seconds} }}]\n");
        config(&format!("{SHORT}{limit}{more}"))
    };
    let daemon = Builder::new().config(&limited(100, "")).start();
    let mut connection = Connection::open(daemon.http);
    assert_eq!(ask(&mut connection, "/", "").status, 200);
    daemon.reload(&limited(100, "compress = true\n"));
    assert_eq!(ask(&mut connection, "/", "").status, 429, "the same limit");
    daemon.reload(&limited(200, ""));
    assert_eq!(ask(&mut connection, "/", "").status, 200, "another one");
}

#[test]
fn policies_that_cannot_be_meant_are_refused() {
    for (route, wanted) in [
        ("cors = {}", "`cors.origins` is empty"),
        (
            "cors = { origins = [\"https://a.test/\"] }",
            "`cors.origins` names",
        ),
        (
            "cors = { origins = [\"*\"], credentials = true }",
            "any origin may come",
        ),
        (
            "rate_limits = [{ requests = 0, seconds = 1 }]",
            "between 1 and 1000000",
        ),
        ("max_body_bytes = 0", "nothing could be sent"),
        ("allow = []", "nobody could come in"),
        ("allow = [\"10.0.0.1/8\"]", "is not a network"),
        (
            "response_headers = { set = { Content-Length = \"1\" } }",
            "frames messages",
        ),
    ] {
        let output = check_config(&config(route), &[]);
        assert_eq!(output.code, 1, "{route}");
        assert!(output.stderr.contains(wanted), "{route}: {}", output.stderr);
    }
}
