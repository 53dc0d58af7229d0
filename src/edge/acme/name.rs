//! One name: is its certificate due, get a new one, and when to look again.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::ari::Ari;
use super::certificate::Certificate;
use super::error::AcmeError;
use super::failures::{Failures, until};
use super::lease::Lease;
use super::order::Desk;
use super::renewal;
use crate::cause::chain;
use crate::clock;
use crate::store::Meta;
use crate::tasks;

/// For one order. What it could not do till then, the next try goes on with.
pub const ORDER: Duration = Duration::from_secs(4 * 60);

/// The most between two looks at a name. Clocks are set, and machines sleep.
const LOOK: Duration = Duration::from_secs(3600);
/// The same where another node may have renewed the certificate.
const LOOK_SHARED: Duration = Duration::from_secs(60);
/// While another node is at it.
const LOOK_LEASED: Duration = Duration::from_secs(2);

pub struct Worker {
    name: String,
    shared: Arc<Shared>,
    current: Option<Certificate>,
    /// What the vault said of the certificate that is in force.
    seen: Option<Meta>,
    ari: Ari,
    failures: Failures,
}

impl Worker {
    pub fn new(name: String, shared: Arc<Shared>, current: Option<Certificate>) -> Worker {
        Worker {
            name,
            shared,
            current,
            seen: None,
            ari: Ari::default(),
            failures: Failures::default(),
        }
    }

    pub async fn run(mut self, stop: CancellationToken) {
        let cancelled = self.shared.tasks.cancelled();
        let looking = async {
            loop {
                // Without this one fault of ours would end the name's renewals until a restart.
                let looked = AssertUnwindSafe(self.look()).catch_unwind().await;
                let pause = looked.unwrap_or_else(|_| {
                    tracing::error!(
                        host = self.name,
                        "the work for a certificate panicked; it goes on later"
                    );
                    LOOK
                });
                tasks::pause(pause).await;
            }
        };
        tokio::select! {
            () = looking => {}
            () = stop.cancelled() => {}
            () = cancelled => {}
        }
    }

    /// Does what is due; returns how long there is nothing to do.
    async fn look(&mut self) -> Duration {
        match self.step().await {
            Ok(pause) => {
                self.failures = Failures::default();
                pause
            }
            Err(error) => {
                if !matches!(error, AcmeError::Paused { .. }) {
                    self.shared.report.failed(&self.name, &error);
                }
                if error.is_outage() && !matches!(error, AcmeError::Silent { .. }) {
                    self.shared.ca.doubt().await;
                }
                let pause = self.failures.after(&error, clock::now());
                tracing::debug!(host = self.name, error = %chain(&error), pause_s = pause.as_secs(), "trying again");
                pause
            }
        }
    }

    async fn step(&mut self) -> Result<Duration, AcmeError> {
        let shared = self.shared.clone();
        let taken_up = match shared.vault.shared() {
            Some(_) => self.take_up().await,
            None => Ok(()),
        };
        if let Some(pause) = self.until_due().await {
            if let Err(error) = taken_up {
                tracing::debug!(host = self.name, error = %chain(&error), "cannot look for a newer certificate");
            }
            return Ok(pause);
        }
        taken_up?;
        // Before anything is written: while the CA is away there is nothing to be done.
        shared.ca.directory().await?;
        let _place = shared.orders.acquire().await; // never closed
        if shared.vault.shared().is_none() {
            return self.renew().await.map(|()| Duration::ZERO);
        }
        let Some(lease) = Lease::take(&shared.vault, &self.name, &shared.node).await? else {
            return Ok(LOOK_LEASED);
        };
        let renewed = self.renew_leased().await;
        if let Err(error) = lease.release(&shared.vault).await {
            tracing::warn!(host = self.name, error = %chain(&error), "other nodes have to wait for our lease to expire");
        }
        renewed.map(|()| Duration::ZERO)
    }

    /// The node that had the lease before us may just have done it.
    async fn renew_leased(&mut self) -> Result<(), AcmeError> {
        self.take_up().await?;
        match self.until_due().await {
            Some(_) => Ok(()),
            None => self.renew().await,
        }
    }

    async fn renew(&mut self) -> Result<(), AcmeError> {
        let shared = self.shared.clone();
        let began = Instant::now();
        let desk = Desk {
            ca: &shared.ca,
            accounts: &shared.accounts,
            vault: &shared.vault,
            certificates: &shared.certificates,
            name: &self.name,
        };
        let replaces = self
            .current
            .as_ref()
            .and_then(|current| current.id.as_deref());
        let obtained = tokio::time::timeout(ORDER, desk.obtain(replaces)).await;
        let pem = obtained.map_err(|_| AcmeError::Deadline).flatten()?;
        let certificate = Certificate::read(&self.name, &pem, &shared.provider);
        let certificate = certificate.map_err(AcmeError::Certificate)?;
        shared
            .report
            .obtained(&self.name, certificate.not_after, began.elapsed());
        self.install(certificate);
        Ok(())
    }

    fn install(&mut self, certificate: Certificate) {
        self.shared.install(&self.name, &certificate);
        self.ari = Ari::default();
        self.current = Some(certificate);
    }

    /// Puts in force what another node obtained.
    async fn take_up(&mut self) -> Result<(), AcmeError> {
        let shared = self.shared.clone();
        let meta = shared.vault.certificate_meta(&self.name).await?;
        if meta.is_none() || meta == self.seen {
            return Ok(());
        }
        let Some(pem) = shared.vault.certificate(&self.name).await? else {
            return Ok(());
        };
        let read = Certificate::read(&self.name, &pem, &shared.provider);
        let certificate = read.map_err(AcmeError::Certificate)?;
        self.seen = meta;
        let is_newer = self
            .current
            .as_ref()
            .is_none_or(|current| current.not_after < certificate.not_after);
        if is_newer {
            tracing::info!(host = self.name, expires = %certificate.not_after, "certificate of another node taken up");
            shared.report.well(&self.name);
            self.install(certificate);
        }
        Ok(())
    }

    /// `None` when the certificate is to be renewed now.
    async fn until_due(&mut self) -> Option<Duration> {
        let shared = self.shared.clone();
        let current = self.current.as_ref()?;
        let now = clock::now();
        self.ari.refresh(&shared.ca, current, now).await;
        let due = renewal::due(
            &self.name,
            current.not_before,
            current.not_after,
            self.ari.window(),
        );
        if due <= now {
            return None;
        }
        let most = match shared.vault.shared() {
            Some(_) => LOOK_SHARED,
            None => LOOK,
        };
        let next = self.ari.next().map_or(due, |next| next.min(due));
        Some(until(next, now).min(most))
    }
}
