//! A CA that says what a test wants, over HTTPS.

use std::io::{Read, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::pebble::certificates;
use super::upstream::{Received, Upstream};

pub struct FakedCa {
    upstream: Upstream,
    directory: tempfile::TempDir,
}

impl FakedCa {
    /// Answers each request, on a connection of its own, with what `answer` makes of it.
    pub fn answering(answer: impl Fn(&Received) -> String + Send + Sync + 'static) -> FakedCa {
        let directory = tempfile::tempdir().expect("a temporary directory");
        certificates(directory.path());
        let chain = CertificateDer::from_pem_file(directory.path().join("server.pem"));
        let key = PrivateKeyDer::from_pem_file(directory.path().join("server.key"));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions that exist")
            .with_no_client_auth()
            .with_single_cert(vec![chain.expect("a chain")], key.expect("a key"));
        let config = Arc::new(config.expect("a certificate that fits its key"));
        let upstream = Upstream::start(move |peer, _| {
            let connection = ServerConnection::new(config.clone()).expect("a connection");
            let mut session = StreamOwned::new(connection, peer.stream);
            let Some(request) = receive(&mut session) else {
                return;
            };
            // The daemon may have gone; what came of it is seen there.
            session
                .write_all(answer(&request).as_bytes())
                .unwrap_or_default();
            session.conn.send_close_notify();
            session.flush().unwrap_or_default();
        });
        FakedCa {
            upstream,
            directory,
        }
    }

    /// `[acme]` for this CA.
    pub fn toml(&self) -> String {
        format!(
            "[acme]\ndirectory = \"https://{}/dir\"\nca_file = \"{}\"\n",
            self.upstream.address,
            self.root().display()
        )
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root.pem")
    }
}

/// An answer that ends its connection. `fields` are whole lines.
pub fn answer(status: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n{body}"
    )
}

fn receive(session: &mut impl Read) -> Option<Received> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        session.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    let mut request = Received {
        head: String::from_utf8(head).ok()?,
        body: Vec::new(),
    };
    if let Some(length) = request.field("content-length") {
        request.body = vec![0; length.parse().ok()?];
        session.read_exact(&mut request.body).ok()?;
    }
    Some(request)
}
