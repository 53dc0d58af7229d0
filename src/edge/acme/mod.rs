//! Certificates from a CA (ACME, RFC 8555): for each name one of its own, obtained, renewed and kept.
//!
//! Names do not wait for each other: each has a task that looks after it ([`name`]). What they share is the CA, the
//! account and the vault.

mod account;
mod ari;
mod attempts;
mod ca;
mod certificate;
pub mod challenge;
mod elsewhere;
mod error;
mod failures;
mod jws;
mod lease;
mod name;
mod order;
mod renewal;
mod report;
mod roots;
mod vault;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::account::{Accounts, Binding};
use self::ca::Ca;
use self::certificate::Certificate;
use self::elsewhere::Elsewhere;
use self::name::Worker;
use self::report::Report;
use self::vault::Vault;
use super::tls::certificates::Certificates;
use crate::cause::chain;
use crate::config::{self, AcmeStorage, SecretError};
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};
use crate::tasks::Tasks;

pub use self::error::AcmeError;

/// Orders that are open at the same time; with more names the others wait.
const ORDERS: usize = 8;
/// A store that does not answer holds the start up no longer.
const LOAD: Duration = Duration::from_secs(2);

/// Looks after the certificates of a set of names.
pub struct Acme {
    shared: Arc<Shared>,
    workers: Mutex<BTreeMap<String, Running>>,
}

/// What all names use.
struct Shared {
    ca: Ca,
    accounts: Accounts,
    vault: Vault,
    certificates: Certificates,
    provider: Arc<CryptoProvider>,
    report: Report,
    orders: Semaphore,
    elsewhere: Elsewhere,
    /// Tells this node's leases from those of others.
    node: String,
    tasks: Tasks,
}

#[derive(Debug, thiserror::Error)]
pub enum AcmeOpenError {
    #[error("cannot open the place where certificates are kept")]
    Vault(#[source] StoreError),
    #[error("cannot read the CA's root certificates in {path}")]
    Roots {
        path: PathBuf,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("there is no certificate in {path}")]
    NoRoot { path: PathBuf },
    #[error("cannot set up TLS towards the CA")]
    Tls(#[source] rustls::Error),
    #[error("cannot read `acme.eab_hmac_key`")]
    Secret(#[source] SecretError),
    #[error("`acme.eab_hmac_key` is not base64url")]
    SecretForm,
    #[error("cannot read the node's name in the state directory")]
    Node(#[source] AcmeError),
}

impl Acme {
    /// Opens what is kept and reads secrets and roots; it does not ask the CA anything.
    pub async fn open(
        config: &config::Acme,
        certificates: &Certificates,
        store: &Store,
        state: &Path,
        tasks: &Tasks,
        metrics: &Metrics,
    ) -> Result<Acme, AcmeOpenError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = roots::client(config.ca_file.as_deref(), provider.clone())?;
        let shared_store = (config.storage == AcmeStorage::Store).then(|| store.clone());
        let vault = Vault::open(&config.directory, state, shared_store, tasks).await;
        let vault = vault.map_err(AcmeOpenError::Vault)?;
        let node = vault.node().await.map_err(AcmeOpenError::Node)?;
        let binding = config.binding.as_ref().map(binding).transpose()?;
        let shared = Shared {
            ca: Ca::new(config.directory.clone(), tls),
            accounts: Accounts::new(config.contact.clone(), binding),
            vault,
            certificates: certificates.clone(),
            provider,
            report: Report::new(certificates, metrics),
            orders: Semaphore::new(ORDERS),
            elsewhere: Elsewhere::new(),
            node,
            tasks: tasks.clone(),
        };
        let shared = Arc::new(shared);
        if config.storage == AcmeStorage::Store {
            let asked = shared.clone();
            certificates.ask_elsewhere(Box::new(move |name| {
                let asked = asked.clone();
                Box::pin(async move { asked.elsewhere.response(&asked.vault, &name).await })
            }));
        }
        Ok(Acme {
            shared,
            workers: Mutex::default(),
        })
    }

    /// Looks after exactly these names from now on; those that stay notice nothing. When this returns, the certificates
    /// that are kept are in force. It does not wait for the CA.
    pub async fn look_after(&self, names: &BTreeSet<String>) {
        let dropped: Vec<String> = {
            let workers = self.workers();
            let gone = workers.keys().filter(|name| !names.contains(*name));
            gone.cloned().collect()
        };
        for name in dropped {
            let running = self.workers().remove(&name);
            if let Some(running) = running {
                running.stop.cancel();
                // Else it could put a certificate in force that it has just got, after the name is gone.
                drop(running.work.await); // that it panicked is in the log
            }
            self.shared.certificates.remove(&name);
            self.shared.report.forget(&name);
            self.shared.elsewhere.forget(&name);
        }
        for name in names {
            let known = self.workers().contains_key(name);
            if !known {
                self.add(name).await;
            }
        }
    }

    async fn add(&self, name: &str) {
        let shared = self.shared.clone();
        let current = shared.load(name).await;
        let stop = CancellationToken::new();
        let worker = Worker::new(name.to_owned(), shared.clone(), current);
        let work = shared.tasks.short("acme", worker.run(stop.clone()));
        self.workers()
            .insert(name.to_owned(), Running { stop, work });
    }

    fn workers(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Running>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The work for one name.
struct Running {
    stop: CancellationToken,
    work: JoinHandle<Option<()>>,
}

impl Shared {
    /// The certificate that was kept for `name`, in force; also an expired one, which is still better than none.
    async fn load(&self, name: &str) -> Option<Certificate> {
        let mut read = self.vault.last_certificate(name).await;
        if matches!(read, Ok(None)) && self.vault.shared().is_some() {
            let asked = tokio::time::timeout(LOAD, self.vault.certificate(name)).await;
            read = asked.unwrap_or(Ok(None));
        }
        let pem = match read {
            Ok(pem) => pem?,
            Err(error) => {
                tracing::error!(host = name, error = %chain(&error), "cannot read the certificate that was kept");
                return None;
            }
        };
        match Certificate::read(name, &pem, &self.provider) {
            Ok(certificate) => {
                self.install(name, &certificate);
                Some(certificate)
            }
            Err(error) => {
                tracing::error!(host = name, error = %chain(&error), "the certificate that was kept is not usable; it is obtained anew");
                None
            }
        }
    }

    fn install(&self, name: &str, certificate: &Certificate) {
        self.certificates.set(name, certificate.key.clone());
    }
}

fn binding(config: &config::Binding) -> Result<Binding, AcmeOpenError> {
    let text = config.hmac_key.read().map_err(AcmeOpenError::Secret)?;
    // Some CAs hand the key out with padding.
    let text = text.expose().trim_end_matches('=');
    let secret = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(text);
    Ok(Binding {
        key_id: config.key_id.clone(),
        secret: secret.map_err(|_| AcmeOpenError::SecretForm)?,
    })
}
