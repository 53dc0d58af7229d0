//! A real NATS server on a free port of loopback, ready when `start` returns, that can be killed and started again.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use super::wait::wait_until;

pub struct Nats {
    child: Child,
    port: u16,
    arguments: Vec<String>,
    home: tempfile::TempDir,
}

impl Nats {
    pub fn start() -> Nats {
        Nats::with(&[])
    }

    /// A server with further arguments, `["--auth", "token"]`.
    pub fn with(arguments: &[&str]) -> Nats {
        let home = tempfile::tempdir().expect("a temporary directory");
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let (child, port) = run(&home, "-1", &arguments);
        Nats {
            child,
            port,
            arguments,
            home,
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ended = self.child.kill(); // it may have ended by itself
        self.child.wait().expect("an exit status");
    }

    /// On the same port, after [`Nats::kill`].
    pub fn start_again(&mut self) {
        let port = self.port.to_string();
        (self.child, _) = run(&self.home, &port, &self.arguments);
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Publishes these bytes under a subject, and returns when the server has taken them.
    pub fn publish(&self, subject: &str, payloads: &[Vec<u8>]) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        let mut bytes = b"CONNECT {\"verbose\":false}\r\n".to_vec();
        for payload in payloads {
            bytes.extend_from_slice(format!("PUB {subject} {}\r\n", payload.len()).as_bytes());
            bytes.extend_from_slice(payload);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"PING\r\n");
        stream.write_all(&bytes).expect("the server listens");
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        assert!(lines.any(|line| line == "PONG"), "the server took it all");
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}

fn run(home: &tempfile::TempDir, port: &str, arguments: &[String]) -> (Child, u16) {
    let child = Command::new("nats-server")
        .args(["--addr", "127.0.0.1", "--port", port, "--ports_file_dir"])
        .arg(home.path())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nats-server starts");
    // Written when the port is bound.
    let file = home
        .path()
        .join(format!("nats-server_{}.ports", child.id()));
    let read = || std::fs::read_to_string(&file).unwrap_or_default();
    let text = wait_until("the NATS server listens", read, |text| text.ends_with('}'));
    let ports: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let url = ports["nats"][0].as_str().expect("an address");
    let port = url.rsplit(':').next().and_then(|port| port.parse().ok());
    (child, port.expect("a port"))
}
