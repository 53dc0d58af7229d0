//! TLS as a client sees it: handshakes with chosen names and protocols, and tunnels for the clients that speak plain TCP.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnection, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned,
    SupportedProtocolVersion,
};

use super::wait::CEILING;

pub type Session = StreamOwned<ClientConnection, TcpStream>;

/// A client with its own memory of sessions.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
}

impl Client {
    /// Trusts the certificates of a PEM file.
    pub fn trusting(root: &Path) -> Client {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(root).expect("a root in PEM") {
            roots.add(root.expect("a root in PEM")).expect("a root");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        Client::verifying(verifier.build().expect("a verifier"), rustls::ALL_VERSIONS)
    }

    /// Takes every certificate.
    pub fn trusting_all() -> Client {
        Client::verifying(Arc::new(Anything), rustls::ALL_VERSIONS)
    }

    /// Takes every certificate and speaks one version.
    pub fn of_version(version: &'static SupportedProtocolVersion) -> Client {
        Client::verifying(Arc::new(Anything), &[version])
    }

    fn verifying(
        verifier: Arc<dyn ServerCertVerifier>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Client {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions that exist")
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Client {
            config: Arc::new(config),
        }
    }

    pub fn offering(mut self, protocols: &[&str]) -> Client {
        let config = Arc::make_mut(&mut self.config);
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        self
    }

    /// Names no host in the handshake.
    pub fn without_name(mut self) -> Client {
        Arc::make_mut(&mut self.config).enable_sni = false;
        self
    }

    /// A finished handshake.
    pub fn connect(&self, address: SocketAddr, name: &str) -> Result<Session, std::io::Error> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(CEILING))?;
        stream.set_write_timeout(Some(CEILING))?;
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let connection =
            ClientConnection::new(self.config.clone(), name).expect("a client connection");
        let mut session = StreamOwned::new(connection, stream);
        while session.conn.is_handshaking() {
            session.conn.complete_io(&mut session.sock)?;
        }
        Ok(session)
    }

    /// Why a handshake for `name` is refused.
    #[track_caller]
    pub fn refusal(&self, address: SocketAddr, name: &str) -> String {
        match self.connect(address, name) {
            Ok(_) => panic!("the handshake for {name} is accepted"),
            Err(error) => error.to_string(),
        }
    }

    /// An address where every plain connection becomes a TLS connection for `name`, until the test ends.
    pub fn tunnel(&self, address: SocketAddr, name: &str) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let entrance = listener.local_addr().expect("an address");
        let (config, name) = (self.config.clone(), name.to_owned());
        let work = async move {
            listener.set_nonblocking(true).expect("not blocking");
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            loop {
                let (plain, _) = listener.accept().await.expect("a connection");
                let connector = tokio_rustls::TlsConnector::from(config.clone());
                let name = ServerName::try_from(name.clone()).expect("a name");
                spawn(async move {
                    let wire = tokio::net::TcpStream::connect(address).await?;
                    let mut secure = connector.connect(name, wire).await?;
                    let mut plain = plain;
                    // Both ends see that the other one has gone; nothing is left to do about it.
                    tokio::io::copy_bidirectional(&mut plain, &mut secure).await
                });
            }
        };
        thread(work);
        entrance
    }
}

#[expect(clippy::disallowed_methods, reason = "it ends with its connection")]
fn spawn(tunnel: impl Future<Output = std::io::Result<(u64, u64)>> + Send + 'static) {
    drop(tokio::spawn(tunnel));
}

#[expect(clippy::disallowed_methods, reason = "it ends with the test process")]
fn thread(work: impl Future<Output = ()> + Send + 'static) {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(work);
    });
}

/// What `request` is answered on a session, up to the end of the connection.
pub fn exchange(session: &mut Session, request: &str) -> String {
    session
        .write_all(request.as_bytes())
        .expect("a request is taken");
    let mut answer = Vec::new();
    match session.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert!(!answer.is_empty(), "{error}"),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The names and the beginning and end of validity in the certificate that a session was shown.
pub fn leaf(session: &Session) -> CertificateDer<'static> {
    let chain = session.conn.peer_certificates().expect("a certificate");
    chain.first().expect("a certificate").clone().into_owned()
}

#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
