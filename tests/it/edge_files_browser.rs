//! A deployed single-page app in a real browser: deep links, scripts, a service worker, a WebSocket.

use crate::harness::browser::{browse, trust};
use crate::harness::release::{deploy, files};
use crate::harness::wait::wait_until;
use crate::harness::{Builder, Daemon};

const PAGE: &str = r#"<!doctype html><html lang="en"><head><meta charset="utf-8"><title>app</title>
<link rel="stylesheet" href="/assets/style-B1xk2d9a.css"></head>
<body><main id="shown">…</main><script type="module" src="/assets/main-C2yl3e0b.js"></script></body></html>"#;

const STYLE: &str = "body { background: rgb(0, 90, 60); color: white; font: 40px sans-serif }";

/// Says what it found by a path that it fetches, which the daemon's access log shows.
const SCRIPT: &str = r#"
const found = [];
document.getElementById("shown").textContent = `route ${location.pathname}`;
found.push(getComputedStyle(document.body).backgroundColor === "rgb(0, 90, 60)" ? "styled" : "bare");
const missing = await fetch("/assets/missing-D3zm4f1c.js");
found.push(`missing-${missing.status}`);
await navigator.serviceWorker.register("/sw.js");
await navigator.serviceWorker.ready;
found.push("worker");
const socket = new WebSocket(`ws${location.protocol === "https:" ? "s" : ""}://${location.host}/signaling`);
await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = reject; });
socket.send(JSON.stringify({ type: "ping" }));
const answer = await new Promise((resolve) => { socket.onmessage = (event) => resolve(JSON.parse(event.data).type); });
found.push(answer);
found.push(performance.getEntriesByType("navigation")[0].nextHopProtocol.replace("/", "-"));
document.getElementById("shown").textContent += `: ${found.join(", ")}`;
await fetch(`/found${location.pathname}/${found.join("/")}`);
"#;

/// A daemon that serves the app at `app.localhost`, and takes deploys at `localhost` in plain text. `tls` is of the app.
fn with_app(tls: &str) -> Daemon {
    let hash = crate::harness::key_hash("secret");
    let host = format!("[hosts.localhost]\ntls = \"off\"\n[hosts.\"app.localhost\"]\n{tls}");
    let route = "[[hosts.\"app.localhost\".routes]]\n";
    let config = format!(
        "[apps.default]\nbuilder_key_hashes = [\"{hash}\"]\n{host}\
         {route}to = {{ files = {{ app = \"default\", spa = true }} }}\n\
         {route}path = \"/signaling\"\nto = \"signaling\"\n"
    );
    let daemon = Builder::new().config(&config).start();
    let app = files(&[
        ("web/index.html", PAGE.as_bytes()),
        ("web/assets/style-B1xk2d9a.css", STYLE.as_bytes()),
        ("web/assets/main-C2yl3e0b.js", SCRIPT.as_bytes()),
        (
            "web/sw.js",
            b"self.addEventListener('install', () => self.skipWaiting());",
        ),
    ]);
    let deployed = deploy(daemon.http, "secret", &app);
    assert_eq!(deployed.status, 200, "{}", deployed.text());
    daemon
}

fn until_found(daemon: &Daemon, found: &str) {
    let what = "the app has looked at everything";
    wait_until(what, || daemon.log(), |log| log.contains(found));
}

#[test]
#[ignore = "needs chromium: tests/run"]
fn a_deployed_app_works_in_a_browser() {
    let daemon = with_app("tls = \"off\"\n");
    let home = tempfile::tempdir().expect("a directory");
    let address = format!("http://app.localhost:{}/users/7", daemon.http.port());
    let found = "/found/users/7/styled/missing-404/worker/pong/http-1.1";
    {
        let _browser = browse(home.path(), &[], &address);
        until_found(&daemon, found);
    }
    let picture = home.path().join("app.png");
    let options = [
        format!("--screenshot={}", picture.display()),
        "--timeout=5000".to_owned(),
    ];
    let mut browser = browse(home.path(), &options, &address);
    let ended = wait_until(
        "the picture is taken",
        || browser.0.try_wait().expect("its state"),
        Option::is_some,
    );
    assert!(ended.is_some_and(|status| status.success()));
    let picture = std::fs::read(picture).expect("a picture");
    assert!(
        picture.len() > 5_000,
        "an empty page: {} bytes",
        picture.len()
    );
}

#[test]
#[ignore = "needs chromium and certutil: tests/run"]
fn over_the_local_ca_a_deployed_app_works_with_http2_and_secure_websockets() {
    let daemon = with_app("");
    let home = tempfile::tempdir().expect("a directory");
    let address = format!("https://app.localhost:{}/users/7", daemon.https().port());
    // A certificate that is not trusted: service workers would not be registered either.
    {
        let _browser = browse(home.path(), &[], &address);
        let metrics = || daemon.metrics_text();
        let failed = "seance_tls_handshakes_total{outcome=\"failed\"}";
        wait_until("it is refused", metrics, |text| text.contains(failed));
    }
    assert!(!daemon.log().contains("/users/7"), "{}", daemon.log());
    trust(home.path(), &daemon.local_root());
    let _browser = browse(home.path(), &[], &address);
    until_found(&daemon, "/found/users/7/styled/missing-404/worker/pong/h2");
    let over_http2 = "method=CONNECT path=\"/signaling\" status=200";
    assert!(daemon.log().contains(over_http2), "{}", daemon.log());
}
