//! New connections to an upstream: TCP, TLS where the address says so, and the HTTP version that is agreed on.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::h1::H1;
use super::h2::H2;
use super::stream::Stream;
use crate::cause::chain;
use crate::config::proxy::{Scheme, UpstreamUrl};
use crate::edge::streams::Executor;
use crate::tasks::Tasks;

/// What hyper may buffer of an answer on one connection, bytes: with less, large answers cost more reads.
const READ_BUFFER: usize = 128 * 1024;
/// A connection that carries requests, but is silent, is asked whether it lives.
const H2_PING_EVERY: Duration = Duration::from_secs(20);
const H2_PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Flow-control windows for answers, bytes.
const H2_STREAM_WINDOW: u32 = 1024 * 1024;
const H2_CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// How to reach one upstream.
pub struct Dialer {
    url: UpstreamUrl,
    tls: Option<Tls>,
    max_header_bytes: usize,
    tasks: Tasks,
}

struct Tls {
    name: ServerName<'static>,
    /// Offers HTTP/2 and HTTP/1.1.
    any: TlsConnector,
    /// For requests that only HTTP/1.1 can carry: upgrades.
    http1: TlsConnector,
}

pub enum Connection {
    H1(H1),
    H2(H2),
}

/// What a request needs of its connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Any,
    Http1,
}

#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("cannot connect to {host}:{port}")]
    Connect {
        host: String,
        port: u16,
        #[source]
        source: io::Error,
    },
    #[error("the TLS handshake with {host}:{port} failed")]
    Handshake {
        host: String,
        port: u16,
        #[source]
        source: io::Error,
    },
    #[error("cannot begin HTTP")]
    Http(#[source] hyper::Error),
    #[error("an upgrade needs HTTP/1.1, which an h2c upstream does not speak")]
    NoUpgrade,
}

#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    #[error("cannot read the roots in {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("{path} holds no certificate")]
    Empty { path: PathBuf },
    #[error("a certificate in {path} cannot be a root")]
    Root {
        path: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("the system has no root certificates; set `ca_file` for https upstreams")]
    NoSystemRoots,
    #[error("`{0}` is not a name that a certificate could be for")]
    Name(String),
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
}

impl Dialer {
    /// Reads the roots of `ca_file`, or the system's, when the upstream is https.
    pub fn new(
        url: &UpstreamUrl,
        ca_file: Option<&Path>,
        max_header_bytes: usize,
        tasks: &Tasks,
    ) -> Result<Dialer, RootsError> {
        let tls = match url.scheme() {
            Scheme::Https => Some(Tls::new(url.host(), ca_file)?),
            Scheme::Http | Scheme::H2c => None,
        };
        Ok(Dialer {
            url: url.clone(),
            tls,
            max_header_bytes,
            tasks: tasks.clone(),
        })
    }

    pub async fn dial(&self, wanted: Wanted) -> Result<Connection, DialError> {
        let scheme = self.url.scheme();
        if scheme == Scheme::H2c && wanted == Wanted::Http1 {
            return Err(DialError::NoUpgrade);
        }
        let (host, port) = (self.url.host(), self.url.port());
        let failed = |source| DialError::Connect {
            host: host.to_owned(),
            port,
            source,
        };
        let stream = TcpStream::connect((host, port)).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let Some(tls) = &self.tls else {
            let stream = Stream::Plain(stream);
            return self.begin(stream, scheme == Scheme::H2c).await;
        };
        let connector = match wanted {
            Wanted::Any => &tls.any,
            Wanted::Http1 => &tls.http1,
        };
        let stream = connector
            .connect(tls.name.clone(), stream)
            .await
            .map_err(|source| DialError::Handshake {
                host: host.to_owned(),
                port,
                source,
            })?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        self.begin(Stream::Tls(Box::new(stream)), http2).await
    }

    async fn begin(&self, stream: Stream, http2: bool) -> Result<Connection, DialError> {
        let stream = TokioIo::new(stream);
        if !http2 {
            let (sender, driver) = http1::Builder::new()
                .max_header_size(self.max_header_bytes)
                .max_buf_size(READ_BUFFER.max(self.max_header_bytes))
                .handshake(stream)
                .await
                .map_err(DialError::Http)?;
            return Ok(Connection::H1(H1::new(sender, driver)));
        }
        let (sender, driver) = http2::Builder::new(Executor(self.tasks.clone()))
            .timer(TokioTimer::new())
            .keep_alive_interval(H2_PING_EVERY)
            .keep_alive_timeout(H2_PING_TIMEOUT)
            .initial_stream_window_size(H2_STREAM_WINDOW)
            .initial_connection_window_size(H2_CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(self.max_header_bytes).unwrap_or(u32::MAX))
            .handshake(stream)
            .await
            .map_err(DialError::Http)?;
        let drive = async move {
            if let Err(error) = driver.await {
                tracing::debug!(error = %chain(&error), "a connection to an upstream ended early");
            }
        };
        drop(self.tasks.short("upstream", drive)); // it ends with its last request and sender
        Ok(Connection::H2(H2::new(sender)))
    }
}

impl Tls {
    fn new(host: &str, ca_file: Option<&Path>) -> Result<Tls, RootsError> {
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| RootsError::Name(host.to_owned()))?;
        let roots = match ca_file {
            Some(path) => roots_in(path)?,
            None => system_roots()?,
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut any = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(RootsError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut http1 = any.clone();
        any.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls {
            name,
            any: TlsConnector::from(Arc::new(any)),
            http1: TlsConnector::from(Arc::new(http1)),
        })
    }
}

fn roots_in(path: &Path) -> Result<RootCertStore, RootsError> {
    let read = |source| RootsError::Read {
        path: path.to_owned(),
        source,
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(read)? {
        roots
            .add(certificate.map_err(read)?)
            .map_err(|source| RootsError::Root {
                path: path.to_owned(),
                source,
            })?;
    }
    if roots.is_empty() {
        return Err(RootsError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(roots)
}

/// Certificates of the system that cannot be read are passed over: one odd file must not take all upstreams away.
fn system_roots() -> Result<RootCertStore, RootsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(RootsError::NoSystemRoots);
    }
    Ok(roots)
}
