//! How the names are doing, for health, metrics and the journal.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicI64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::error::AcmeError;
use crate::cause::chain;
use crate::clock;
use crate::edge::tls::certificates::Certificates;
use crate::metrics::Metrics;
use crate::systemd::message;

/// The journal is told again of a failure that goes on.
const REPEAT: SignedDuration = SignedDuration::from_hours(1);

pub struct Report {
    certificates: Certificates,
    failed: Family<Host, Gauge<i64, AtomicI64>>,
    attempts: Family<Attempt, Counter>,
    /// What the journal was told last of names that fail, and when.
    told: Mutex<BTreeMap<String, (Timestamp, String)>>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Host {
    host: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Attempt {
    host: String,
    outcome: &'static str,
}

impl Report {
    pub fn new(certificates: &Certificates, metrics: &Metrics) -> Report {
        let report = Report {
            certificates: certificates.clone(),
            failed: Family::default(),
            attempts: Family::default(),
            told: Mutex::default(),
        };
        metrics.register(|registry| {
            let help =
                "When a certificate could last not be obtained, Unix time; 0 when all is well";
            let failed = report.failed.clone();
            registry.register("acme_last_failure_timestamp_seconds", help, failed);
            let help = "Tries to obtain a certificate";
            registry.register("acme_attempts", help, report.attempts.clone());
        });
        report
    }

    /// A certificate was obtained.
    pub fn obtained(&self, name: &str, expires: Timestamp, took: Duration) {
        self.well(name);
        self.count(name, "obtained");
        tracing::info!(
            message_id = message::CERTIFICATE_OBTAINED,
            host = name,
            expires = %expires,
            took_ms = took.as_millis(),
            "certificate obtained"
        );
    }

    /// The name has a certificate that is not due.
    pub fn well(&self, name: &str) {
        self.told().remove(name);
        self.certificates.set_problem(name, None);
        self.failed.get_or_create(&label(name)).set(0);
    }

    /// A try failed.
    pub fn failed(&self, name: &str, error: &AcmeError) {
        let now = clock::now();
        if matches!(error, AcmeError::Silent { .. }) {
            // Nothing was tried: the cause is the one that was told, here or for another name.
            if self.told().contains_key(name) {
                return;
            }
        } else {
            self.count(name, error.outcome());
        }
        self.failed.get_or_create(&label(name)).set(now.as_second());
        let problem = chain(error).to_string();
        self.certificates.set_problem(name, Some(problem.clone()));
        if self.is_news(name, &problem, now) {
            let expires = self.certificates.expiry(name);
            tracing::error!(
                message_id = message::CERTIFICATE_FAILED,
                host = name,
                error = problem,
                expires = expires.map_or("none".to_owned(), |expires| expires.to_string()),
                "cannot obtain a certificate; trying on"
            );
        }
    }

    /// A name is not looked after any more.
    pub fn forget(&self, name: &str) {
        self.told().remove(name);
        self.failed.remove(&label(name));
    }

    fn is_news(&self, name: &str, problem: &str, now: Timestamp) -> bool {
        let mut told = self.told();
        if let Some((at, last)) = told.get(name)
            && last == problem
            && now.duration_since(*at) < REPEAT
        {
            return false;
        }
        told.insert(name.to_owned(), (now, problem.to_owned()));
        true
    }

    fn count(&self, name: &str, outcome: &'static str) {
        let attempt = Attempt {
            host: name.to_owned(),
            outcome,
        };
        self.attempts.get_or_create(&attempt).inc();
    }

    fn told(&self) -> MutexGuard<'_, BTreeMap<String, (Timestamp, String)>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn label(name: &str) -> Host {
    Host {
        host: name.to_owned(),
    }
}
