//! One CA over HTTPS: its directory, its nonces, signed requests.
//!
//! The requests are made here and not by rustls-acme, from whose types they are made: its functions drop the header
//! fields of answers (Retry-After is one) and have no deadline.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::EcdsaKeyPair;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls_acme::acme;
use serde::Deserialize;
use tokio::time::Instant;

use super::error::{AcmeError, Problem};
use super::jws;

/// For one request. Also how long a CA that fell silent can hide that it is back.
const ANSWER: Duration = Duration::from_secs(8);
const CONNECT: Duration = Duration::from_secs(4);
/// Certificate chains are the largest answers.
const BODY_MOST: usize = 256 * 1024;
/// A CA that refuses this many nonces in a row is not working.
const NONCE_TRIES: usize = 25;
/// Answers bring more nonces than requests need.
const NONCES_KEPT: usize = 16;
/// Between two looks at a CA that does not answer: with `ANSWER`, its return is seen within 15 seconds.
const PROBE_MOST: Duration = Duration::from_secs(6);
/// The addresses in a directory hardly ever change.
const DIRECTORY_AGE: Duration = Duration::from_secs(3600);

const NEW_NONCE: &str = "give a nonce";
const DIRECTORY: &str = "show its directory";

type Https = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

pub struct Ca {
    https: Https,
    address: Uri,
    nonces: Mutex<Vec<String>>,
    /// Locked while the directory is asked for: a CA that is away sees one question, however many names wait.
    known: tokio::sync::Mutex<Known>,
}

#[derive(Default)]
struct Known {
    directory: Option<(Instant, Arc<Directory>)>,
    /// Questions in a row that were not answered.
    silent: u32,
    again: Option<Instant>,
}

/// RFC 8555 §7.1.1, with the extension of RFC 9773.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Directory {
    #[serde(flatten)]
    pub acme: acme::Directory,
    pub renewal_info: Option<String>,
    #[serde(default)]
    pub meta: Meta,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    pub external_account_required: bool,
}

/// A successful answer.
pub struct Answer {
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Who signs a request: a key, and the address of its account once it has one.
pub struct Signer<'a> {
    pub key: &'a EcdsaKeyPair,
    pub account: Option<&'a str>,
}

impl Ca {
    pub fn new(address: Uri, tls: rustls::ClientConfig) -> Ca {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .wrap_connector(tcp);
        let https = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .pool_max_idle_per_host(4)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ca {
            https,
            address,
            nonces: Mutex::default(),
            known: tokio::sync::Mutex::default(),
        }
    }

    /// The directory, asked for at most once an hour, and while the CA is silent every few seconds.
    pub async fn directory(&self) -> Result<Arc<Directory>, AcmeError> {
        let mut known = self.known.lock().await;
        if let Some((read, directory)) = &known.directory
            && read.elapsed() < DIRECTORY_AGE
        {
            return Ok(directory.clone());
        }
        if let Some(again) = known.again.filter(|again| *again > Instant::now()) {
            return Err(AcmeError::Silent { again });
        }
        match self.ask_directory().await {
            Ok(directory) => {
                let directory = Arc::new(directory);
                *known = Known {
                    directory: Some((Instant::now(), directory.clone())),
                    ..Known::default()
                };
                Ok(directory)
            }
            Err(error) => {
                let pause = Duration::from_secs(1 << known.silent.min(3)).min(PROBE_MOST);
                let pause = pause.max(error.retry_after().unwrap_or_default());
                known.silent = known.silent.saturating_add(1);
                known.again = Some(Instant::now() + pause);
                // Whatever the answer is: one that is no directory comes from something in place of the CA.
                Err(AcmeError::Directory {
                    source: Box::new(error),
                })
            }
        }
    }

    /// After a sign that the CA is away: the next [`Ca::directory`] looks whether it is back.
    pub async fn doubt(&self) {
        self.known.lock().await.directory = None;
        self.nonces().clear();
    }

    async fn ask_directory(&self) -> Result<Directory, AcmeError> {
        let answer = self.get(DIRECTORY, &self.address.to_string()).await?;
        answer.json(DIRECTORY)
    }

    /// An unsigned request.
    pub async fn get(&self, action: &'static str, url: &str) -> Result<Answer, AcmeError> {
        self.send(action, Method::GET, url, None).await
    }

    /// A signed request. An empty payload reads (POST-as-GET, RFC 8555 §6.3). A refused nonce says nothing about the
    /// request, which is repeated at once with the nonce that came with the refusal (§6.5).
    pub async fn post(
        &self,
        action: &'static str,
        signer: &Signer<'_>,
        directory: &Directory,
        url: &str,
        payload: &str,
    ) -> Result<Answer, AcmeError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let nonce = self.nonce(directory).await?;
            let body = jws::sign(signer.key, signer.account, &nonce, url, payload);
            let body = body.map_err(|error| AcmeError::Crypto(error.into()))?;
            let sent = self.send(action, Method::POST, url, Some(body)).await;
            match sent {
                Err(error) if error.is_problem("badNonce") && tries < NONCE_TRIES => {
                    tracing::debug!(action, tries, "the CA refused a nonce");
                }
                sent => return sent,
            }
        }
    }

    async fn nonce(&self, directory: &Directory) -> Result<String, AcmeError> {
        if let Some(nonce) = self.nonces().pop() {
            return Ok(nonce);
        }
        let url = &directory.acme.new_nonce;
        self.send(NEW_NONCE, Method::HEAD, url, None).await?;
        self.nonces().pop().ok_or(AcmeError::Header {
            action: NEW_NONCE,
            header: "Replay-Nonce",
        })
    }

    fn nonces(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(
        &self,
        action: &'static str,
        method: Method,
        url: &str,
        body: Option<String>,
    ) -> Result<Answer, AcmeError> {
        let mut request = Request::builder().method(method).uri(url).header(
            header::USER_AGENT,
            concat!("seance/", env!("CARGO_PKG_VERSION")),
        );
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/jose+json");
        }
        let request = request.body(Full::from(body.unwrap_or_default()));
        let request = request.map_err(|error| AcmeError::Answer {
            action,
            source: error.into(),
        })?;
        let exchange = async {
            let (head, body) = self.https.request(request).await?.into_parts();
            let body = Limited::new(body, BODY_MOST).collect().await?.to_bytes();
            Ok::<_, crate::store::BoxError>((head, body))
        };
        let answered = tokio::time::timeout(ANSWER, exchange).await;
        let Ok(answered) = answered else {
            return Err(AcmeError::Timeout { action });
        };
        let (head, body) = answered.map_err(|source| AcmeError::Unreachable { action, source })?;
        self.keep_nonce(&head.headers);
        judge(action, head.status, head.headers, body)
    }

    fn keep_nonce(&self, headers: &HeaderMap) {
        let nonce = headers
            .get("replay-nonce")
            .and_then(|nonce| nonce.to_str().ok()); // RFC 8555 §6.5.1: base64url
        let mut nonces = self.nonces();
        if let Some(nonce) = nonce
            && nonces.len() < NONCES_KEPT
        {
            nonces.push(nonce.to_owned());
        }
    }
}

fn judge(
    action: &'static str,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Answer, AcmeError> {
    if status.is_success() {
        return Ok(Answer { headers, body });
    }
    let retry_after = retry_after(&headers);
    let problem = Problem::read(&body);
    let limited = problem.is("rateLimited");
    if status.is_server_error() && !limited {
        return Err(AcmeError::Unavailable {
            action,
            status: status.as_u16(),
            retry_after,
        });
    }
    Err(AcmeError::Refused {
        action,
        problem,
        retry_after,
    })
}

/// How long to wait (RFC 9110 §10.2.3): seconds, or until a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim(); // unreadable is as good as none
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?; // unreadable is as good as none
    Some(date.duration_since(SystemTime::now()).unwrap_or_default()) // past: no need to wait
}

impl Answer {
    pub fn json<T: for<'a> Deserialize<'a>>(&self, action: &'static str) -> Result<T, AcmeError> {
        serde_json::from_slice(&self.body).map_err(|error| AcmeError::Answer {
            action,
            source: error.into(),
        })
    }

    /// Where what was asked for has its address.
    pub fn location(&self, action: &'static str) -> Result<String, AcmeError> {
        let location = self.headers.get(header::LOCATION);
        let location = location.and_then(|location| location.to_str().ok()); // an address that is no ASCII is none
        location.map(str::to_owned).ok_or(AcmeError::Header {
            action,
            header: "Location",
        })
    }

    pub fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, kind: &str, after: Option<&str>) -> AcmeError {
        let mut headers = HeaderMap::new();
        if let Some(after) = after {
            headers.insert(header::RETRY_AFTER, after.parse().expect("a value"));
        }
        let body = format!("{{\"type\":\"urn:ietf:params:acme:error:{kind}\"}}");
        let status = StatusCode::from_u16(status).expect("a status");
        match judge("take an order", status, headers, body.into()) {
            Err(error) => error,
            Ok(_) => panic!("{status} is a success"),
        }
    }

    #[test]
    fn a_limit_is_told_from_an_outage_whatever_its_status() {
        for status in [429, 503] {
            let limited = judged(status, "rateLimited", Some("90"));
            assert!(limited.is_problem("rateLimited"), "{limited:?}");
            assert_eq!(limited.outcome(), "rate_limited");
            assert_eq!(limited.retry_after(), Some(Duration::from_secs(90)));
        }
        assert!(judged(503, "serverInternal", None).is_outage());
        assert!(!judged(429, "malformed", None).is_outage());
    }

    #[test]
    fn a_time_to_come_back_is_read_in_either_form() {
        for (after, seconds) in [
            ("5", 5),
            (" 5 ", 5),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 24 * 3600),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ] {
            let pause = judged(503, "serverInternal", Some(after)).retry_after();
            assert_eq!(pause, Some(Duration::from_secs(seconds)), "{after}");
        }
        for none in ["-5", "soon", "99999999999999999999"] {
            let pause = judged(503, "serverInternal", Some(none)).retry_after();
            assert_eq!(pause, None, "{none}");
        }
    }
}
