//! The certificates in force, by name, and the answers to a CA's challenges. Whoever obtains a certificate puts it here;
//! a handshake reads without a lock and without waiting.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};

/// ALPN protocol of a CA that validates a name (RFC 8737 §3).
pub const ACME_TLS: &[u8] = b"acme-tls/1";

/// What any node can answer the challenges for a name with (RFC 8555 §8.1).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Response {
    pub token: String,
    pub key_authorization: String,
}

/// Finds what another node has put up for a name.
pub type Elsewhere = Box<dyn Fn(String) -> BoxFuture<'static, Option<Response>> + Send + Sync>;

/// A cheap handle; every copy shows the same certificates.
#[derive(Clone, Default)]
pub struct Certificates {
    shared: Arc<Shared>,
}

/// Maps are replaced whole: they change a few times a day and are read by every handshake.
#[derive(Default)]
struct Shared {
    certificates: ArcSwap<HashMap<String, Entry>>,
    challenges: ArcSwap<HashMap<String, Arc<CertifiedKey>>>,
    http_challenges: ArcSwap<HashMap<String, String>>,
    elsewhere: OnceLock<Elsewhere>,
    wanted: ArcSwap<Vec<String>>,
    problems: ArcSwap<HashMap<String, String>>,
}

#[derive(Clone)]
struct Entry {
    key: Arc<CertifiedKey>,
    expires: Option<Timestamp>,
}

/// How a name that is to be served stands.
pub struct Standing {
    pub name: String,
    /// None without a certificate.
    pub expires: Option<Timestamp>,
    /// Why there is no newer certificate.
    pub problem: Option<String>,
}

impl Certificates {
    /// The names that are to have a certificate.
    pub fn want(&self, names: Vec<String>) {
        change(&self.shared.problems, |problems| {
            problems.retain(|name, _| names.contains(name));
        });
        self.shared.wanted.store(Arc::new(names));
    }

    /// Every wanted name, whether it has a certificate or not.
    pub fn standing(&self) -> Vec<Standing> {
        let (wanted, problems) = (self.shared.wanted.load(), self.shared.problems.load());
        let standing = |name: &String| Standing {
            name: name.clone(),
            expires: self.expiry(name),
            problem: problems.get(name).cloned(),
        };
        wanted.iter().map(standing).collect()
    }

    /// Why `name` gets no new certificate; for whoever asks how the daemon does. None when all is well.
    pub fn set_problem(&self, name: &str, problem: Option<String>) {
        change(&self.shared.problems, |problems| match &problem {
            Some(problem) => {
                problems.insert(name.to_owned(), problem.clone());
            }
            None => {
                problems.remove(name);
            }
        });
    }

    /// From now on handshakes for `name` (lower case; `*.example.com` for one label below) get this certificate.
    pub fn set(&self, name: &str, key: Arc<CertifiedKey>) {
        let expires = key
            .cert
            .first()
            .and_then(|certificate| expiry_of(certificate));
        let entry = Entry { key, expires };
        change(&self.shared.certificates, |map| {
            map.insert(name.to_owned(), entry.clone());
        });
    }

    /// Handshakes for `name` are refused from now on.
    pub fn remove(&self, name: &str) {
        change(&self.shared.certificates, |map| {
            map.remove(name);
        });
    }

    /// When the certificate of `name` stops being valid; none without one, or when it cannot be read.
    pub fn expiry(&self, name: &str) -> Option<Timestamp> {
        self.shared.certificates.load().get(name)?.expires
    }

    pub fn names(&self) -> Vec<String> {
        self.shared.certificates.load().keys().cloned().collect()
    }

    /// The certificate for a server name: of that name, else of the wildcard one label above it (RFC 6125 §6.4.3).
    pub fn find(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let map = self.shared.certificates.load();
        let found = map.get(name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            map.get(&format!("*.{parent}"))
        });
        found.map(|entry| entry.key.clone())
    }

    /// Answers a CA that validates `name` by TLS-ALPN-01; nobody else is shown this certificate (RFC 8737 §3).
    pub fn set_challenge(&self, name: &str, key: Arc<CertifiedKey>) {
        change(&self.shared.challenges, |map| {
            map.insert(name.to_owned(), key.clone());
        });
    }

    pub fn clear_challenge(&self, name: &str) {
        change(&self.shared.challenges, |map| {
            map.remove(name);
        });
    }

    pub fn challenge(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.shared.challenges.load().get(name).cloned()
    }

    /// Where several nodes answer for the same names: how to find what the others have put up. The first one counts.
    pub fn ask_elsewhere(&self, elsewhere: Elsewhere) {
        self.shared.elsewhere.get_or_init(|| elsewhere);
    }

    /// What another node has put up for `name`; none for a name that is not ours.
    pub async fn response_elsewhere(&self, name: &str) -> Option<Response> {
        let elsewhere = self.shared.elsewhere.get()?;
        let wanted = self
            .shared
            .wanted
            .load()
            .iter()
            .any(|wanted| wanted == name);
        if wanted {
            elsewhere(name.to_owned()).await
        } else {
            None
        }
    }

    /// Answers a CA that validates by HTTP-01 under `/.well-known/acme-challenge/` (RFC 8555 §8.3).
    pub fn set_http_challenge(&self, token: &str, key_authorization: &str) {
        change(&self.shared.http_challenges, |map| {
            map.insert(token.to_owned(), key_authorization.to_owned());
        });
    }

    pub fn clear_http_challenge(&self, token: &str) {
        change(&self.shared.http_challenges, |map| {
            map.remove(token);
        });
    }

    pub fn http_challenge(&self, token: &str) -> Option<String> {
        self.shared.http_challenges.load().get(token).cloned()
    }
}

/// Writers are few and may race: the change is made again on what the other one left.
fn change<V: Clone>(map: &ArcSwap<HashMap<String, V>>, edit: impl Fn(&mut HashMap<String, V>)) {
    map.rcu(|current| {
        let mut next = HashMap::clone(current);
        edit(&mut next);
        next
    });
}

/// None for what is no certificate.
pub fn expiry_of(certificate: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?; // no certificate, no expiry
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok() // nobody asks after the year 9999
}

impl ResolvesServerCert for Certificates {
    /// A client that offers `acme-tls/1` and nothing else gets the challenge of the name; every other one its
    /// certificate. Without a name there is neither.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?.to_ascii_lowercase();
        if is_challenge(&hello) {
            return self.challenge(&name);
        }
        self.find(&name)
    }
}

/// Whether a CA asks for the answer to its challenge.
pub fn is_challenge(hello: &ClientHello<'_>) -> bool {
    let Some(mut offered) = hello.alpn() else {
        return false;
    };
    offered.next() == Some(ACME_TLS) && offered.next().is_none()
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
