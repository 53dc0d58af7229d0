//! Requests as hostile clients send them, to every kind of listener and route.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use super::tls::Client;
use super::upstream::{Received, Upstream, ok};
use super::wait::CEILING;
use super::{Builder, Daemon};

/// A daemon with an API, files and a proxied server, on a host in plain text and on one under TLS.
pub struct Target {
    pub daemon: Daemon,
    _files: tempfile::TempDir,
    received: Arc<Mutex<Vec<Received>>>,
}

/// Where its routes are.
pub const ROUTES: [&str; 3] = ["/", "/files/", "/proxied/"];

/// Bytes of `/files/large.bin`: more than sockets hold.
pub const LARGE: usize = 32 * 1024 * 1024;

/// A listener, and the host that it serves.
#[derive(Clone, Copy, Debug)]
pub struct Entrance {
    pub host: &'static str,
    pub address: SocketAddr,
}

impl Target {
    /// With `options` for the section `[http]`.
    pub fn start(options: &str) -> Target {
        let received = Arc::new(Mutex::new(Vec::new()));
        let seen = received.clone();
        let upstream = Upstream::start(move |mut peer, _| {
            while let Some(request) = peer.request() {
                seen.lock().expect("the requests").push(request);
                peer.send(&ok(b"fine"));
            }
        });
        let files = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(files.path().join("index.html"), "fine").expect("a file");
        let large = vec![7; LARGE];
        std::fs::write(files.path().join("large.bin"), large).expect("a file");
        let routes = |host: &str| {
            let route = format!("[[hosts.\"{host}\".routes]]\n");
            format!(
                "{route}path = \"/files\"\nto = {{ files = {{ directory = \"{}\" }} }}\n\
                 {route}path = \"/proxied\"\nto = {{ proxy = {{ upstreams = [\"{}\"] }} }}\n{route}to = \"backend\"\n",
                files.path().display(),
                upstream.url()
            )
        };
        let config = format!(
            "[http]\n{options}\n[hosts.\"plain.localhost\"]\ntls = \"off\"\n{}[hosts.\"secure.localhost\"]\n{}",
            routes("plain.localhost"),
            routes("secure.localhost"),
        );
        let daemon = Builder::new()
            .config(&config)
            .env("SEANCE_LOG__ACCESS", "false")
            .start();
        Target {
            daemon,
            _files: files,
            received,
        }
    }

    /// The plain listener and one under TLS, for clients that offer `protocol`.
    pub fn entrances(&self, protocol: &str) -> [Entrance; 2] {
        let host = "secure.localhost";
        let tls = Client::trusting_all().offering(&[protocol]);
        [
            Entrance {
                host: "plain.localhost",
                address: self.daemon.http,
            },
            Entrance {
                host,
                address: tls.tunnel(self.daemon.https(), host),
            },
        ]
    }

    /// What reached the proxied server since the last time.
    pub fn passed_on(&self) -> Vec<Received> {
        std::mem::take(&mut *self.received.lock().expect("the requests"))
    }

    /// Fails unless everybody else is served.
    #[track_caller]
    pub fn assert_serves(&self, after: &str) {
        let host = [("Host", "plain.localhost")];
        let answer = super::http::request(self.daemon.http, "GET", "/health/live", &host, b"");
        assert_eq!(answer.status, 200, "after {after}");
    }
}

impl Entrance {
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("a connection");
        let ceiling = Some(CEILING);
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(ceiling).expect("a read timeout");
        stream.set_write_timeout(ceiling).expect("a write timeout");
        stream
    }
}

/// Sends what the daemon takes of it, and returns everything that it answers until it closes.
pub fn exchange(mut stream: TcpStream, request: &[u8]) -> Vec<u8> {
    // It may close before it has read all.
    let sent = stream.write_all(request);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!(
            "{error}; sent: {sent:?}; answered: {}",
            String::from_utf8_lossy(&answer)
        ),
    }
    stream.shutdown(Shutdown::Both).unwrap_or_default(); // gone already
    answer
}
