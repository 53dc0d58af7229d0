//! Certificates from the CA, for the hosts that want one: opened when the first of them is configured.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tokio::sync::OnceCell;

use crate::config::{Config, HostCertificate};
use crate::edge::acme::{Acme, AcmeOpenError};
use crate::edge::tls::certificates::Certificates;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::tasks::Tasks;

pub struct Issuing {
    pub certificates: Certificates,
    pub store: Store,
    pub state: PathBuf,
    pub tasks: Tasks,
    pub metrics: Metrics,
    pub acme: OnceCell<Acme>,
}

impl Issuing {
    /// Looks after the hosts of `config`. The certificates that are kept for them are in force when this returns; it
    /// does not wait for the CA.
    pub async fn follow(&self, config: &Config) -> Result<(), AcmeOpenError> {
        let certificates = config.certificates.iter();
        let from_ca =
            certificates.filter(|(_, certificate)| **certificate == HostCertificate::Acme);
        let names: BTreeSet<String> = from_ca.map(|(name, _)| name.clone()).collect();
        if names.is_empty() && self.acme.get().is_none() {
            return Ok(());
        }
        let open = || {
            let (certificates, store, state) = (&self.certificates, &self.store, &self.state);
            Acme::open(
                &config.acme,
                certificates,
                store,
                state,
                &self.tasks,
                &self.metrics,
            )
        };
        self.acme
            .get_or_try_init(open)
            .await?
            .look_after(&names)
            .await;
        Ok(())
    }
}
