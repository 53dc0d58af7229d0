//! The handshake of one connection: which certificate, or which refusal.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use rustls::server::{Acceptor, ClientHello, ResolvesServerCert};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, ServerConfig, SupportedCipherSuite};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use super::certificates::{ACME_TLS, Certificates, is_challenge};
use crate::cause::chain;
use crate::edge::acme::challenge;
use crate::metrics::Metrics;

/// The first byte of a connection that speaks TLS: a record of the handshake (RFC 8446 §5.1).
pub const FIRST_BYTE: u8 = 22;

/// Alerts that refuse a ClientHello (RFC 8446 §6.2).
const UNRECOGNIZED_NAME: u8 = 112;
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// Makes sessions for the names in [`Certificates`]. One for all listeners, so that a session can be resumed on any.
#[derive(Clone)]
pub struct Tls {
    certificates: Certificates,
    site: Arc<ServerConfig>,
    challenge: Arc<ServerConfig>,
    timeout: Duration,
    handshakes: Family<Outcome, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error("the handshake took longer than {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("the peer names no host")]
    NoName,
    #[error("there is no certificate for `{0}`")]
    UnknownName(String),
    #[error("there is no challenge for `{0}`")]
    UnknownChallenge(String),
    #[error("the peer hung up during the handshake")]
    Gone,
    #[error("the handshake failed")]
    Failed(#[source] io::Error),
}

impl Tls {
    /// `timeout` is for a whole handshake.
    ///
    /// # Errors
    /// A cryptography library that lacks what TLS 1.2 and 1.3 need, or random bytes for the tickets.
    pub fn new(
        certificates: Certificates,
        timeout: Duration,
        metrics: &Metrics,
    ) -> Result<Tls, rustls::Error> {
        let mut site = config(Arc::new(certificates.clone()))?;
        site.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Resumption without a state here: any number of clients, and each worker knows them all.
        site.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        let mut challenge = config(Arc::new(certificates.clone()))?;
        challenge.alpn_protocols = vec![ACME_TLS.to_vec()];
        let handshakes = Family::default();
        metrics.register(|registry| {
            registry.register("tls_handshakes", "TLS handshakes", handshakes.clone());
        });
        Ok(Tls {
            certificates,
            site: Arc::new(site),
            challenge: Arc::new(challenge),
            timeout,
            handshakes,
        })
    }

    /// A session, or none when the peer was a CA that has now seen its answer.
    ///
    /// # Errors
    /// Whatever ended the handshake. It is counted; the peer has been told what TLS lets us tell.
    pub async fn accept<I>(&self, io: I) -> Result<Option<Box<TlsStream<I>>>, HandshakeError>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let accepted = tokio::time::timeout(self.timeout, self.negotiate(io)).await;
        let accepted = accepted.unwrap_or(Err(HandshakeError::Timeout(self.timeout)));
        let outcome = match &accepted {
            Ok(None) => "challenge",
            Ok(Some(stream)) => match stream.get_ref().1.handshake_kind() {
                Some(HandshakeKind::Resumed) => "resumed",
                _ => "full",
            },
            Err(HandshakeError::Timeout(_)) => "timeout",
            Err(HandshakeError::NoName) => "no_name",
            Err(HandshakeError::UnknownName(_) | HandshakeError::UnknownChallenge(_)) => {
                "unknown_name"
            }
            Err(HandshakeError::Gone) => "gone",
            Err(HandshakeError::Failed(_)) => "failed",
        };
        self.handshakes.get_or_create(&Outcome { outcome }).inc();
        accepted
    }

    async fn negotiate<I>(&self, io: I) -> Result<Option<Box<TlsStream<I>>>, HandshakeError>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let start = LazyConfigAcceptor::new(Acceptor::default(), io).await;
        let start = start.map_err(failed)?;
        if is_challenge(&start.client_hello()) {
            return self.answer_challenge(start).await.map(|()| None);
        }
        if let Err((error, alert)) = self.known_name(&start.client_hello()) {
            refuse(start, alert).await;
            return Err(error);
        }
        let stream = start.into_stream(self.site.clone()).await;
        // A session has more than a kilobyte, and a task keeps room for each variable that it was in.
        stream.map(|stream| Some(Box::new(stream))).map_err(failed)
    }

    /// Shows a CA the answer to its challenge, ours or that of another node.
    async fn answer_challenge<I>(&self, start: StartHandshake<I>) -> Result<(), HandshakeError>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let hello = start.client_hello();
        let name = hello.server_name().unwrap_or_default().to_ascii_lowercase();
        let config = match self.certificates.challenge(&name) {
            Some(_) => Some(self.challenge.clone()),
            None => self.challenge_elsewhere(&name).await,
        };
        let Some(config) = config else {
            refuse(start, NO_APPLICATION_PROTOCOL).await;
            return Err(HandshakeError::UnknownChallenge(name));
        };
        let mut stream = start.into_stream(config).await.map_err(failed)?;
        // RFC 8737 §3: the CA closes; whatever it would ask here has no answer.
        let _gone = stream.shutdown().await; // it has seen the certificate, which is all it wants
        Ok(())
    }

    async fn challenge_elsewhere(&self, name: &str) -> Option<Arc<ServerConfig>> {
        let response = self.certificates.response_elsewhere(name).await?;
        let made = challenge::certificate(name, &response.key_authorization);
        let key = made
            .inspect_err(|error| {
                tracing::error!(host = name, error = %chain(error), "cannot answer for another node");
            })
            .ok()?; // just said
        let mut config = config(Arc::new(SingleCertAndKey::from(key)))
            .inspect_err(|error| {
                tracing::error!(host = name, error = %chain(error), "cannot answer for another node");
            })
            .ok()?; // just said
        config.alpn_protocols = vec![ACME_TLS.to_vec()];
        Some(Arc::new(config))
    }

    fn known_name(&self, hello: &ClientHello<'_>) -> Result<(), (HandshakeError, u8)> {
        let Some(name) = hello.server_name() else {
            return Err((HandshakeError::NoName, UNRECOGNIZED_NAME));
        };
        let name = name.to_ascii_lowercase();
        match self.certificates.find(&name) {
            Some(_) => Ok(()),
            None => Err((HandshakeError::UnknownName(name), UNRECOGNIZED_NAME)),
        }
    }
}

fn config(resolver: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, rustls::Error> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    // Mozilla's order for servers (Server Side TLS 5.7): a key of 128 bits is out of reach as well, and costs less.
    let long_key = |suite: &SupportedCipherSuite| {
        let name = suite.suite().as_str().unwrap_or_default();
        !name.contains("AES_128")
    };
    provider.cipher_suites.sort_by_key(long_key);
    let builder = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13, &TLS12])?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
    config.ignore_client_order = true;
    // Who resumes gets the next one; a second would cost every other handshake.
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// Sends a fatal alert. rustls has one for a missing certificate, but it is not the one that names the cause.
async fn refuse<I: AsyncRead + AsyncWrite + Unpin>(start: StartHandshake<I>, alert: u8) {
    const ALERT: u8 = 21;
    const FATAL: u8 = 2;
    let mut io = start.io;
    let record = [ALERT, 3, 3, 0, 2, FATAL, alert];
    if let Err(error) = io.write_all(&record).await {
        tracing::debug!(%error, "a peer went away before it could be refused");
    }
}

fn failed(error: io::Error) -> HandshakeError {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    match error.kind() {
        UnexpectedEof | ConnectionReset | BrokenPipe => HandshakeError::Gone,
        _ => HandshakeError::Failed(error),
    }
}
