//! A daemon elsewhere, asked over its HTTP API.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;

/// Longest answer that is read, bytes.
const ANSWER_MOST: usize = 64 * 1024 * 1024;
/// For a request and its whole answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which daemon, and what opens it.
#[derive(Args)]
pub struct Remote {
    /// Address of the daemon, https://backend.example.com
    #[arg(long, value_name = "URL", env = "BUILDER_URL")]
    to: Uri,
    /// The app, when it is not the default one or the one of the host
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// File with the builder key; else the key is read from the environment variable BUILDER_KEY
    #[arg(long, value_name = "FILE", env = "BUILDER_KEY_FILE")]
    key_file: Option<PathBuf>,
    #[arg(long, env = "BUILDER_KEY", hide = true, hide_env_values = true)]
    key: Option<String>,
    /// PEM file with a certificate authority to trust beside the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("a builder key is required: --key-file FILE, or BUILDER_KEY in the environment")]
    NoKey,
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} holds no certificate")]
    Certificate {
        path: PathBuf,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    #[error("`{0}` is not the address of a daemon")]
    Address(String),
    #[error("cannot make a request")]
    Request(#[from] http::Error),
    #[error("cannot reach {0}")]
    Connect(String, #[source] legacy::Error),
    #[error("{uri} did not answer within {} seconds", PATIENCE.as_secs())]
    Timeout { uri: String },
    #[error("the answer of {0} ended early or is too long")]
    Answer(String, #[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{uri} answered {status}: {message}")]
    Refused {
        uri: String,
        status: StatusCode,
        message: String,
    },
    #[error("the answer of {0} is not JSON")]
    Json(String, #[source] serde_json::Error),
    #[error("cannot start a runtime")]
    Runtime(#[source] io::Error),
}

pub struct Client {
    base: String,
    key: HeaderValue,
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Client {
    pub fn new(remote: &Remote) -> Result<Client, ClientError> {
        let address = || ClientError::Address(remote.to.to_string());
        let scheme = remote.to.scheme_str().ok_or_else(address)?;
        let authority = remote.to.authority().ok_or_else(address)?;
        let app = remote.app.as_ref().map(|app| format!("/apps/{app}"));
        let path = remote.to.path().trim_end_matches('/');
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(remote.ca_file.as_deref())?)
            .https_or_http()
            .enable_http1()
            .build();
        let mut key = HeaderValue::try_from(key(remote)?).map_err(|_| ClientError::NoKey)?;
        key.set_sensitive(true);
        Ok(Client {
            base: format!("{scheme}://{authority}{path}{}", app.unwrap_or_default()),
            key,
            http: legacy::Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// Sends `body`, if any, and reads the JSON of a success.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let uri = format!("{}{path}", self.base);
        let request = Request::builder()
            .method(method)
            .uri(uri.as_str())
            .header("x-builder-key", &self.key)
            .header(header::CONTENT_TYPE, "application/json");
        let body = body.map(ToString::to_string).unwrap_or_default();
        let request = request.body(Full::from(body))?;
        let exchange = async {
            let answer = self.http.request(request).await;
            let answer = answer.map_err(|source| ClientError::Connect(uri.clone(), source))?;
            let (head, body) = answer.into_parts();
            let read = Limited::new(body, ANSWER_MOST).collect().await;
            let body = read.map_err(|source| ClientError::Answer(uri.clone(), source))?;
            Ok::<_, ClientError>((head.status, body.to_bytes()))
        };
        let answered = tokio::time::timeout(PATIENCE, exchange).await;
        let (status, body) = answered.map_err(|_| ClientError::Timeout { uri: uri.clone() })??;
        if !status.is_success() {
            let message = reason(&body);
            return Err(ClientError::Refused {
                uri,
                status,
                message,
            });
        }
        serde_json::from_slice(&body).map_err(|source| ClientError::Json(uri, source))
    }
}

/// One call of a command that makes no others.
pub fn ask(
    remote: &Remote,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ClientError::Runtime)?;
    let client = Client::new(remote)?;
    runtime.block_on(client.call(method, path, body))
}

/// What a failure's body says, in one line.
fn reason(body: &[u8]) -> String {
    let parsed: Result<Value, _> = serde_json::from_slice(body);
    match parsed {
        Ok(body) => body["error"].as_str().unwrap_or("no reason given").into(),
        Err(_) => "the answer is not seance's".to_owned(),
    }
}

fn key(remote: &Remote) -> Result<String, ClientError> {
    let key = match (&remote.key_file, &remote.key) {
        (Some(path), _) => std::fs::read_to_string(path).map_err(|source| ClientError::Read {
            path: path.clone(),
            source,
        })?,
        (None, Some(key)) => key.clone(),
        (None, None) => return Err(ClientError::NoKey),
    };
    let key = key.trim();
    if key.is_empty() {
        return Err(ClientError::NoKey);
    }
    Ok(key.to_owned())
}

fn tls(ca_file: Option<&Path>) -> Result<rustls::ClientConfig, ClientError> {
    let mut roots = rustls::RootCertStore::empty();
    // A machine without a store of its own may have the one authority that is named.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let failed = |source| ClientError::Certificate {
            path: path.to_owned(),
            source,
        };
        for certificate in CertificateDer::pem_file_iter(path).map_err(failed)? {
            roots.add(certificate.map_err(failed)?)?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
