//! A daemon elsewhere, asked over its HTTP API.

mod part;
mod retry;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use part::{Content, Meter, Signed};

use retry::Retries;

/// Longest answer that is read, bytes.
const ANSWER_MOST: usize = 64 * 1024 * 1024;
/// For a request and its whole answer; for a body, without a byte of it being taken.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// For what the daemon does with the bytes that it has, which grows with them.
pub const LONG_PATIENCE: Duration = Duration::from_secs(15 * 60);
/// A connection whose other end is gone is noticed after a few of these.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Which daemon, and what opens it.
#[derive(Args)]
pub struct Remote {
    /// Address of the daemon, https://backend.example.com
    #[arg(long, value_name = "URL", env = "BUILDER_URL")]
    to: Uri,
    #[command(flatten)]
    opening: Opening,
}

/// What opens it.
#[derive(Args)]
pub struct Opening {
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
    #[error("the connection to {0} broke")]
    Broken(String, #[source] legacy::Error),
    #[error("{uri} did not answer within {} seconds", .waited.as_secs())]
    Timeout { uri: String, waited: Duration },
    #[error("the answer of {0} ended early or is too long")]
    Answer(String, #[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{} answered {}: {}", .0.uri, .0.status, .0.message)]
    Refused(Box<Refusal>),
    #[error("the answer of {0} is not what this version of seance expects")]
    Json(String, #[source] serde_json::Error),
    #[error("cannot start a runtime")]
    Runtime(#[source] io::Error),
}

/// An answer that is no success.
#[derive(Debug)]
pub struct Refusal {
    pub uri: String,
    pub status: StatusCode,
    pub message: String,
    /// What the answer says besides; null when it is not JSON.
    pub body: Value,
    pub retry_after: Option<Duration>,
}

pub struct Client {
    base: String,
    key: HeaderValue,
    http: legacy::Client<HttpsConnector<HttpConnector>, Body>,
    tries: u32,
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

impl Remote {
    pub fn client(&self) -> Result<Client, ClientError> {
        Client::new(&self.to, &self.opening)
    }
}

impl Client {
    pub fn new(to: &Uri, opening: &Opening) -> Result<Client, ClientError> {
        let address = || ClientError::Address(to.to_string());
        let scheme = to.scheme_str().ok_or_else(address)?;
        let authority = to.authority().ok_or_else(address)?;
        let app = opening.app.as_ref().map(|app| format!("/apps/{app}"));
        let path = to.path().trim_end_matches('/');
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(PATIENCE));
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(opening.ca_file.as_deref())?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let mut key = HeaderValue::try_from(key(opening)?).map_err(|_| ClientError::NoKey)?;
        key.set_sensitive(true);
        Ok(Client {
            base: format!("{scheme}://{authority}{path}{}", app.unwrap_or_default()),
            key,
            http: legacy::Client::builder(TokioExecutor::new()).build(connector),
            tries: 1,
        })
    }

    /// Times that a request may be sent, for callers that ask for [`Client::retries`].
    pub fn with_tries(self, tries: u32) -> Client {
        Client { tries, ..self }
    }

    pub fn retries(&self) -> Retries {
        Retries::new(self.tries)
    }

    /// Address of the daemon and of the app on it.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Sends `body`, if any, and reads the JSON of a success.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        self.ask(method, path, body, PATIENCE).await
    }

    /// As [`Client::call`], but waits for `patience`, and knows what it expects. No answer at all counts as null.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        patience: Duration,
    ) -> Result<T, ClientError> {
        let uri = format!("{}{path}", self.base);
        let request = Request::builder()
            .method(method)
            .uri(uri.as_str())
            .header("x-builder-key", &self.key)
            .header(header::CONTENT_TYPE, "application/json");
        let body = body.map(ToString::to_string).unwrap_or_default();
        let body = Full::from(body).map_err(|never| match never {});
        let request = request.body(Body::new(body))?;
        let answered = tokio::time::timeout(patience, self.exchange(&uri, request)).await;
        let waited = patience;
        let body = answered.map_err(|_| ClientError::Timeout {
            uri: uri.clone(),
            waited,
        })??;
        let body = if body.is_empty() {
            Bytes::from_static(b"null")
        } else {
            body
        };
        serde_json::from_slice(&body).map_err(|source| ClientError::Json(uri, source))
    }

    /// The body of a success.
    async fn exchange(&self, uri: &str, request: Request<Body>) -> Result<Bytes, ClientError> {
        let answer = self.http.request(request).await.map_err(|source| {
            if source.is_connect() {
                ClientError::Connect(uri.to_owned(), source)
            } else {
                ClientError::Broken(uri.to_owned(), source)
            }
        })?;
        let (head, body) = answer.into_parts();
        let read = Limited::new(body, ANSWER_MOST).collect().await;
        let body = read.map_err(|source| ClientError::Answer(uri.to_owned(), source))?;
        let body = body.to_bytes();
        if head.status.is_success() {
            return Ok(body);
        }
        let seconds = head.headers.get(header::RETRY_AFTER);
        let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
        Err(ClientError::Refused(Box::new(Refusal {
            uri: uri.to_owned(),
            status: head.status,
            message: reason(&body),
            body: serde_json::from_slice(&body).unwrap_or_default(),
            retry_after: seconds.map(Duration::from_secs),
        })))
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
    let client = remote.client()?;
    runtime.block_on(client.call(method, path, body))
}

/// What a failure's body says, in one line.
fn reason(body: &[u8]) -> String {
    let parsed: Result<Value, _> = serde_json::from_slice(body);
    match parsed {
        Ok(body) => {
            let error = body["error"].as_str().unwrap_or("no reason given");
            let more = body["message"].as_str().filter(|more| *more != error);
            more.map_or_else(|| error.to_owned(), |more| format!("{error}: {more}"))
        }
        Err(_) => "the answer is not seance's".to_owned(),
    }
}

fn key(opening: &Opening) -> Result<String, ClientError> {
    let key = match (&opening.key_file, &opening.key) {
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
