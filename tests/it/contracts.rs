//! The sample configuration for those who come from the deployment guides, route by route.

use std::path::Path;

use crate::harness::browser::{browse, trust};
use crate::harness::http::{Answer, request};
use crate::harness::nginx::Nginx;
use crate::harness::release::{deploy_with, files};
use crate::harness::tls::Client;
use crate::harness::upstream::{Upstream, ok};
use crate::harness::vite::Vite;
use crate::harness::wait::wait_until;
use crate::harness::websocket::WebSocket;
use crate::harness::{Builder, Daemon};

const BACKEND: &str = "backend.example.com";
const APP: &str = "app.example.com";
const ORIGIN: (&str, &str) = ("Origin", "https://app.example.com");

struct Product {
    daemon: Daemon,
    client: Client,
}

impl Product {
    /// The sample with certificates of the local CA, and with these texts in the place of others.
    fn with(changes: &[(&str, &str)]) -> Product {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config/contracts.toml");
        let mut text = std::fs::read_to_string(file).expect("the sample");
        let hash = crate::harness::key_hash("secret");
        let hashes = text
            .lines()
            .filter(|line| line.starts_with("builder_key_hashes"));
        for line in hashes.map(str::to_owned).collect::<Vec<_>>() {
            let ours = format!("builder_key_hashes = [\"{hash}\"]");
            text = text.replace(&line, &ours);
        }
        for (from, to) in changes {
            assert!(text.contains(from), "the sample has no {from}");
            text = text.replace(from, to);
        }
        text = text.replace("example.com\"]\n", "example.com\"]\ntls = \"local\"\n");
        let daemon = Builder::new().config(&text).start();
        let root = daemon.local_root();
        wait_until("there is a local CA", || root.exists(), |exists| *exists);
        let client = Client::trusting(&root);
        for host in [
            BACKEND,
            APP,
            "example.com",
            "www.example.com",
            "app.localhost",
        ] {
            let handshake = || client.connect(daemon.https(), host).map(drop);
            wait_until("there are certificates", handshake, Result::is_ok).expect("a handshake");
        }
        Product { daemon, client }
    }

    fn as_it_is() -> Product {
        Product::with(&[])
    }

    fn ask(&self, host: &str, method: &str, path: &str, extra: &[(&str, &str)]) -> Answer {
        let mut fields = vec![("Host", host)];
        fields.extend(extra);
        let entrance = self.client.tunnel(self.daemon.https(), host);
        request(entrance, method, path, &fields, b"")
    }

    fn deploy(&self, path: &str, web: &[(&str, &[u8])]) {
        let entrance = self.client.tunnel(self.daemon.https(), BACKEND);
        let deployed = deploy_with(entrance, "secret", &files(web), path, &[("Host", BACKEND)]);
        assert_eq!(deployed.status, 200, "{}", deployed.text());
    }
}

fn all<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    let found = answer.headers.iter().filter(|(key, _)| key == name);
    found.map(|(_, value)| value.as_str()).collect()
}

#[test]
fn the_back_end_answers_under_its_own_name_and_takes_deploys() {
    let product = Product::as_it_is();
    let health = product.ask(BACKEND, "GET", "/", &[]).json();
    assert_eq!(health["service"], "seance-backend");
    product.deploy(
        "/deploy",
        &[("releases/version.json", b"{\"version\":\"1.0.0\"}")],
    );
    let version = product.ask(BACKEND, "GET", "/updates/api/version.json", &[]);
    assert_eq!(version.json()["version"], "1.0.0");
    assert_eq!(product.ask(BACKEND, "GET", "/nothing", &[]).status, 404);
    let plain = request(
        product.daemon.http,
        "GET",
        "/health/ping",
        &[("Host", BACKEND)],
        b"",
    );
    assert_eq!(plain.status, 308, "to https");
}

#[test]
fn signaling_is_one_room_under_the_path_and_on_its_own_port() {
    let product = Product::as_it_is();
    let entrance = product.client.tunnel(product.daemon.https(), BACKEND);
    let mut by_path = WebSocket::named(entrance, BACKEND, "/signaling").expect("a handshake");
    let below = WebSocket::named(entrance, BACKEND, "/signaling/any").expect("a handshake");
    let own = product.daemon.signaling.expect("a signaling port");
    let mut by_port = WebSocket::connect(own);
    let secure = product.client.tunnel(own, BACKEND);
    let mut by_tls = WebSocket::named(secure, BACKEND, "/").expect("a handshake");
    by_path.subscribe("room");
    by_port.subscribe("room");
    by_tls.publish("room", "hello");
    for socket in [&mut by_path, &mut by_port] {
        let delivery = socket.delivery();
        assert_eq!(
            (&delivery["data"], &delivery["clients"]),
            (&"hello".into(), &2.into())
        );
    }
    drop(below);
}

#[test]
fn webhooks_reach_the_teams_own_back_end_byte_by_byte() {
    let upstream =
        Upstream::answering(|request| ok(&[request.head.as_bytes(), &request.body].concat()));
    let product = Product::with(&[("http://127.0.0.1:4000", &upstream.url())]);
    let body = b"{\"id\": \"evt_1\",\n  \"caf\xc3\xa9\": true}\r\n\x00\xff";
    let fields = [("Host", BACKEND), ("Stripe-Signature", "t=1,v1=abc")];
    let entrance = product.client.tunnel(product.daemon.https(), BACKEND);
    let answer = request(entrance, "POST", "/stripe/webhook", &fields, body);
    assert_eq!(answer.status, 200);
    assert!(answer.body.ends_with(body), "{}", answer.text());
    let seen = answer.text().to_ascii_lowercase();
    assert!(seen.starts_with("post /stripe/webhook http/1.1"), "{seen}");
    assert!(seen.contains("stripe-signature: t=1,v1=abc"), "{seen}");
}

#[test]
fn the_app_and_the_marketing_site_are_what_was_deployed_last() {
    let product = Product::as_it_is();
    assert_eq!(product.ask(APP, "GET", "/", &[]).status, 404);
    let page = "<h1>the app</h1>".repeat(200);
    product.deploy("/deploy", &[("web/index.html", page.as_bytes())]);
    product.deploy(
        "/apps/marketing/deploy",
        &[
            ("web/index.html", b"<h1>buy</h1>"),
            ("web/prices.html", b"<h1>prices</h1>"),
        ],
    );
    assert_eq!(product.ask(APP, "GET", "/rooms/7", &[]).text(), page);
    let packed = || product.ask(APP, "GET", "/", &[("Accept-Encoding", "gzip")]);
    let is_gzip = |answer: &Answer| answer.header("content-encoding") == Some("gzip");
    wait_until("it is compressed", packed, is_gzip);
    let site = |path: &str| product.ask("example.com", "GET", path, &[]);
    assert_eq!(site("/").text(), "<h1>buy</h1>");
    assert_eq!(site("/prices").text(), "<h1>prices</h1>");
    assert_eq!(site("/rooms/7").status, 404, "no app of one page");
    let moved = product.ask("www.example.com", "GET", "/prices?a=b", &[]);
    assert_eq!(
        moved.header("location"),
        Some("https://example.com/prices?a=b")
    );
}

#[test]
fn preflights_for_the_analytics_are_answered_here() {
    let product = Product::as_it_is();
    let fields = [ORIGIN, ("Access-Control-Request-Method", "POST")];
    for path in ["/beholder/e", "/beholder/static/a.js"] {
        let preflight = product.ask(BACKEND, "OPTIONS", path, &fields);
        assert_eq!(preflight.status, 204, "{path}");
        assert_eq!(all(&preflight, "access-control-allow-origin"), [ORIGIN.1]);
    }
}

#[test]
#[ignore = "needs nginx: tests/run"]
fn analytics_go_to_an_https_upstream_with_its_names_and_our_cors() {
    let nginx = Nginx::start();
    nginx.put("array.js", b"capture()");
    let trusted = format!("\"]\nca_file = \"{}\"\norigin", nginx.root().display());
    let assets = format!("{}/static", nginx.url());
    let product = Product::with(&[
        ("https://assets.analytics.example/static", &assets),
        ("https://analytics.example", &nginx.url()),
        ("\"]\norigin", &trusted),
    ]);
    let upstream = nginx.url().replace("https://", "");
    let seen = product.ask(BACKEND, "POST", "/beholder/e/?ip=1&v=%2F", &[ORIGIN]);
    let wanted = format!(
        "POST /e/?ip=1&v=%2F host={upstream} origin={} ",
        nginx.url()
    );
    assert!(seen.text().starts_with(&wanted), "{wanted} {seen:?}");
    assert!(
        seen.text().ends_with("for=127.0.0.1 proto=https"),
        "{}",
        seen.text()
    );
    let script = product.ask(BACKEND, "GET", "/beholder/static/array.js", &[ORIGIN]);
    assert_eq!(script.text(), "capture()");
    assert_eq!(script.header("content-type"), Some("text/javascript"));
    for answer in [&seen, &script] {
        assert_eq!(all(answer, "access-control-allow-origin"), [ORIGIN.1]);
        assert!(all(answer, "access-control-allow-credentials").is_empty());
    }
    let missing = product.ask(BACKEND, "GET", "/beholder/static/none.js", &[ORIGIN]);
    assert_eq!(missing.status, 404);
    assert_eq!(all(&missing, "access-control-allow-origin"), [ORIGIN.1]);
    let foreign = product.ask(
        BACKEND,
        "GET",
        "/beholder/e",
        &[("Origin", "https://b.test")],
    );
    assert!(all(&foreign, "access-control-allow-origin").is_empty());
}

const DEV: &str = "app.localhost";

fn with_dev_server(vite: &Vite) -> Product {
    Product::with(&[("http://127.0.0.1:5173", &vite.url())])
}

#[test]
#[ignore = "needs node and vite: tests/run"]
fn a_dev_server_tells_of_changes_by_its_websocket() {
    let vite = Vite::start();
    let product = with_dev_server(&vite);
    let page = product.ask(DEV, "GET", "/", &[]).text();
    assert!(page.contains("/@vite/client"), "{page}");
    let client = product.ask(DEV, "GET", "/@vite/client", &[]).text();
    let token = client.split("wsToken = \"").nth(1).expect("a token");
    let token = token.split('"').next().expect("a token");
    let entrance = product.client.tunnel(product.daemon.https(), DEV);
    let path = format!("/?token={token}");
    let mut socket =
        WebSocket::named_with(entrance, DEV, &path, "Sec-WebSocket-Protocol: vite-hmr\r\n")
            .expect("a handshake");
    assert_eq!(socket.delivery()["type"], "connected");
    // Only modules that were asked for are watched.
    for module in ["/main.js", "/word.js"] {
        assert_eq!(product.ask(DEV, "GET", module, &[]).status, 200);
    }
    vite.change("second");
    let update = socket.delivery();
    assert_eq!(update["type"], "update", "{update}");
    assert_eq!(update["updates"][0]["path"], "/main.js", "{update}");
    let module = product.ask(DEV, "GET", "/word.js", &[]);
    assert!(module.text().contains("second"), "{}", module.text());
}

#[test]
#[ignore = "needs node, vite, chromium and certutil: tests/run"]
fn a_page_of_a_dev_server_changes_in_the_browser_without_being_loaded_again() {
    let vite = Vite::start();
    let product = with_dev_server(&vite);
    let home = tempfile::tempdir().expect("a directory");
    trust(home.path(), &product.daemon.local_root());
    let address = format!("https://{DEV}:{}/", product.daemon.https().port());
    let _browser = browse(home.path(), &[], &address);
    let shown = |path: &str| {
        wait_until(
            "it is shown",
            || product.daemon.log(),
            |log| log.contains(path),
        );
    };
    shown("/shown/first/loaded/https");
    // What changes before the page's WebSocket is there is told to nobody.
    let over_http2 = "method=CONNECT path=\"/\" status=200";
    shown(over_http2);
    vite.change("second");
    shown("/shown/second/replaced/https");
    let log = product.daemon.log();
    assert!(!log.contains("/shown/second/loaded"), "{log}");
}
