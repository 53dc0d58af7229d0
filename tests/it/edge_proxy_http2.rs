//! Upstreams that speak HTTP/2, with and without TLS, and those whose certificate is not to be trusted.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::edge_proxy::{config, get};
use crate::harness::Builder;
use crate::harness::http::request;
use crate::harness::pki::{self, certificate};
use crate::harness::websocket::{Received, WebSocket};

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(arguments: &[&str]) -> Server {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/upstream/server.js");
        let mut child = Command::new("node")
            .arg(script)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("a port");
        let port = line.trim().parse().expect("a port");
        Server { child, port }
    }

    fn secure(files: &pki::Files) -> Server {
        let path = |path: &Path| path.display().to_string();
        Server::start(&["https", &path(&files.chain), &path(&files.key)])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill(); // it may have ended by itself
        let _status = self.child.wait(); // only so that no zombie stays
    }
}

#[test]
#[ignore = "needs node: tests/run"]
fn http2_without_tls_carries_requests_and_their_bodies() {
    let server = Server::start(&["h2c"]);
    let authority = format!("127.0.0.1:{}", server.port);
    let upstream = [format!("h2c://{authority}")];
    let daemon = Builder::new().config(&config(&upstream, "")).start();
    let fields = [("Cookie", "a=b"), ("TE", "trailers"), ("X-Kept", "1")];
    for n in 0..50 {
        let body = format!("body {n}");
        let answer = request(daemon.http, "POST", "/a%20b?c", &fields, body.as_bytes());
        let asked = answer.json();
        assert_eq!(answer.status, 200, "{asked}");
        for (wanted, seen) in [
            ("2.0", &asked["httpVersion"]),
            ("/a%20b?c", &asked["url"]),
            (body.as_str(), &asked["body"]),
            (authority.as_str(), &asked["headers"][":authority"]),
            ("a=b", &asked["headers"]["cookie"]),
            ("trailers", &asked["headers"]["te"]),
            ("1", &asked["headers"]["x-kept"]),
        ] {
            assert_eq!(seen, wanted, "{asked}");
        }
        assert!(asked["headers"].get("host").is_none(), "{asked}");
    }
    let upgrade = [("Upgrade", "websocket"), ("Connection", "upgrade")];
    let refused = request(daemon.http, "GET", "/", &upgrade, b"");
    assert_eq!(refused.status, 501, "h2c has no upgrades");
}

#[test]
#[ignore = "needs node: tests/run"]
fn https_upstreams_are_verified_by_name_and_agree_on_http2() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let files = certificate(home.path(), "up", &["localhost", "seance"], 2040);
    let server = Server::secure(&files);
    let roots = format!("ca_file = \"{}\"", files.chain.display());
    let upstream = [format!("https://localhost:{}", server.port)];
    let daemon = Builder::new().config(&config(&upstream, &roots)).start();
    let asked = get(&daemon, "/x").json();
    assert_eq!(asked["httpVersion"], "2.0");
    assert_eq!(asked["servername"], "localhost");
    // By another name, and by roots that do not know it, it is somebody else.
    let unnamed = [format!("https://127.0.0.1:{}", server.port)];
    for (upstream, options) in [(&unnamed, roots.as_str()), (&upstream, "")] {
        let daemon = Builder::new().config(&config(upstream, options)).start();
        assert_eq!(get(&daemon, "/").status, 502);
        assert!(daemon.log().contains("the TLS handshake with"));
    }
}

#[test]
#[ignore = "needs node: tests/run"]
fn a_websocket_reaches_an_https_upstream_by_http1() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let files = certificate(home.path(), "up", &["localhost"], 2040);
    let server = Server::secure(&files);
    let text = format!(
        "[hosts.seance]\ntls = \"off\"\n[[hosts.seance.routes]]\n[hosts.seance.routes.to.proxy]\n\
         upstreams = [\"https://localhost:{}\"]\nca_file = \"{}\"\n",
        server.port,
        files.chain.display()
    );
    let daemon = Builder::new().config(&text).start();
    let mut socket = WebSocket::open(daemon.http, "/", "").expect("a handshake");
    assert_eq!(socket.receive(), Received::Text("hi".to_owned()));
}
