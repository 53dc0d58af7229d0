//! Keeps the certificates that need no CA on the network: manual ones follow their files, local ones are renewed. And it
//! says when a name is without a valid certificate, wherever that was to come from.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::certificates::{Certificates, Standing};
use super::local::{LocalCa, LocalError};
use super::manual;
use super::report::Report;
use crate::cause::chain;
use crate::clock;
use crate::config::HostCertificate;
use crate::metrics::Metrics;
use crate::systemd::message;
use crate::tasks::{self, Tasks};

/// How often files are looked at. A change is read when it has stood for one turn: two files are written one after
/// the other.
const TURN: Duration = Duration::from_secs(2);
/// A local certificate that is valid for less than this is replaced.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(31 * 24);
/// A manual certificate that is valid for less than this is complained about.
const WARN_BEFORE: SignedDuration = SignedDuration::from_hours(14 * 24);
/// How long a name may wait for its first certificate before that is an error.
const FIRST_CERTIFICATE: SignedDuration = SignedDuration::from_secs(60);

/// A cheap handle.
#[derive(Clone)]
pub struct Keeper {
    state: Arc<Mutex<State>>,
}

struct State {
    certificates: Certificates,
    directory: PathBuf,
    wanted: BTreeMap<String, HostCertificate>,
    files: HashMap<String, Files>,
    local: Option<LocalCa>,
    said: HashMap<String, Said>,
    since: Timestamp,
}

/// What is known of the files of one name.
#[derive(Default)]
struct Files {
    seen: Option<Stamp>,
    loaded: Option<Stamp>,
}

/// Changes whenever one of the two files is written, replaced or made readable.
type Stamp = [(u64, u64, i64, i64); 2];

/// What was last said of a name, so that it is said once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Valid,
    ExpiresSoon,
    Missing,
    Expired,
}

impl Keeper {
    /// Loads and makes what can be had at once, then keeps it up to date. `directory` is the state directory.
    pub fn start(
        certificates: &Certificates,
        wanted: &BTreeMap<String, HostCertificate>,
        directory: &Path,
        tasks: &Tasks,
        metrics: &Metrics,
    ) -> Keeper {
        let state = State {
            certificates: certificates.clone(),
            directory: directory.to_owned(),
            wanted: BTreeMap::new(),
            files: HashMap::new(),
            local: None,
            said: HashMap::new(),
            since: clock::now(),
        };
        let report = Report(certificates.clone());
        metrics.register(|registry| registry.register_collector(Box::new(report)));
        let keeper = Keeper {
            state: Arc::new(Mutex::new(state)),
        };
        keeper.reload(wanted);
        let (turning, cancelled) = (keeper.clone(), tasks.cancelled());
        tasks.spawn("certificates", async move {
            tokio::select! {
                () = turning.run() => {}
                () = cancelled => {}
            }
        });
        keeper
    }

    /// Follows a new configuration; files are read again, whether they seem to have changed or not.
    pub fn reload(&self, wanted: &BTreeMap<String, HostCertificate>) {
        self.with(|state, now| {
            state.follow(wanted, now);
            state.look(now);
        });
    }

    async fn run(&self) {
        loop {
            tasks::pause(TURN).await;
            let keeper = self.clone();
            let turn = tasks::blocking("certificates", move || {
                keeper.with(|state, now| {
                    state.turn(now);
                    state.look(now);
                });
            });
            if turn.await.is_err() {
                tracing::error!("certificates could not be looked at");
            }
        }
    }

    fn with(&self, act: impl FnOnce(&mut State, Timestamp)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut state, clock::now());
    }
}

impl State {
    fn follow(&mut self, wanted: &BTreeMap<String, HostCertificate>, now: Timestamp) {
        for name in self.certificates.names() {
            if wanted
                .get(&name)
                .is_none_or(|kind| *kind == HostCertificate::None)
            {
                self.certificates.remove(&name);
            }
        }
        let served = wanted
            .iter()
            .filter(|(_, kind)| **kind != HostCertificate::None);
        let served = served.map(|(name, kind)| (name.clone(), kind.clone()));
        let before = std::mem::replace(&mut self.wanted, served.collect());
        self.files.retain(|name, _| self.wanted.contains_key(name));
        self.said.retain(|name, _| self.wanted.contains_key(name));
        self.certificates
            .want(self.wanted.keys().cloned().collect());
        self.since = now;
        for (name, kind) in self.wanted.clone() {
            match kind {
                HostCertificate::Files { chain, key } => {
                    let stamp = stamp(&chain, &key);
                    self.load(&name, &chain, &key, stamp, now);
                }
                // Not what another source left in force.
                HostCertificate::Local if before.get(&name) != Some(&kind) => {
                    self.make(&name, now);
                }
                HostCertificate::Local => self.renew(&name, now),
                HostCertificate::Acme | HostCertificate::None => {}
            }
        }
    }

    fn turn(&mut self, now: Timestamp) {
        for (name, kind) in self.wanted.clone() {
            match kind {
                HostCertificate::Files { chain, key } => {
                    let stamp = stamp(&chain, &key);
                    let files = self.files.entry(name.clone()).or_default();
                    let stands = files.seen.replace(stamp) == Some(stamp);
                    if stands && files.loaded != Some(stamp) {
                        self.load(&name, &chain, &key, stamp, now);
                    }
                }
                HostCertificate::Local => self.renew(&name, now),
                HostCertificate::Acme | HostCertificate::None => {}
            }
        }
    }

    /// Puts a manual certificate in force; one that is of no use changes nothing.
    fn load(&mut self, name: &str, chain_file: &Path, key: &Path, stamp: Stamp, now: Timestamp) {
        let files = self.files.entry(name.to_owned()).or_default();
        (files.seen, files.loaded) = (Some(stamp), Some(stamp));
        match manual::load(name, chain_file, key, now) {
            Ok(certificate) => {
                self.certificates.set(name, Arc::new(certificate));
                self.certificates.set_problem(name, None);
                tracing::info!(
                    message_id = message::CERTIFICATE_LOADED,
                    host = name,
                    file = %chain_file.display(),
                    "a certificate is in force"
                );
            }
            Err(error) => self.refuse(name, chain(&error).to_string()),
        }
    }

    fn refuse(&self, name: &str, problem: String) {
        tracing::error!(
            message_id = message::CERTIFICATE_REFUSED,
            host = name,
            error = problem,
            kept = self.certificates.find(name).is_some(),
            "a certificate cannot be used; what was in force stays"
        );
        self.certificates.set_problem(name, Some(problem));
    }

    /// Replaces a local certificate that is old.
    fn renew(&mut self, name: &str, now: Timestamp) {
        let expires = self.certificates.expiry(name);
        if expires.is_none_or(|at| at.duration_since(now) <= RENEW_BEFORE) {
            self.make(name, now);
        }
    }

    /// Puts a certificate of the local CA in force. One that cannot be made is tried again each turn and told of once.
    fn make(&mut self, name: &str, now: Timestamp) {
        match self.issue(name, now) {
            Ok(certificate) => {
                self.certificates.set(name, Arc::new(certificate));
                self.certificates.set_problem(name, None);
            }
            Err(error) => {
                let problem = chain(&error).to_string();
                let mut known = self.certificates.standing().into_iter();
                let known = known.find(|standing| standing.name == name);
                if known.and_then(|standing| standing.problem).as_ref() != Some(&problem) {
                    self.refuse(name, problem);
                }
            }
        }
    }

    fn issue(
        &mut self,
        name: &str,
        now: Timestamp,
    ) -> Result<rustls::sign::CertifiedKey, LocalError> {
        let ca = match self.local.take() {
            Some(ca) => ca,
            None => LocalCa::open(&self.directory, now)?,
        };
        self.local.insert(ca).issue(name, now)
    }

    /// Says what changed in how the names stand.
    fn look(&mut self, now: Timestamp) {
        for Standing {
            name,
            expires,
            problem,
        } in self.certificates.standing()
        {
            let manual = matches!(self.wanted.get(&name), Some(HostCertificate::Files { .. }));
            let new = match expires {
                Some(at) if at <= now => Said::Expired,
                Some(at) if manual && at.duration_since(now) < WARN_BEFORE => Said::ExpiresSoon,
                Some(_) => Said::Valid,
                None if problem.is_none() && now.duration_since(self.since) < FIRST_CERTIFICATE => {
                    continue;
                }
                None => Said::Missing,
            };
            if self.said.insert(name.clone(), new) != Some(new) {
                say(&name, new, expires, problem.as_deref());
            }
        }
    }
}

fn say(name: &str, said: Said, expires: Option<Timestamp>, problem: Option<&str>) {
    let expires = expires.map(|at| at.to_string());
    match said {
        Said::Valid => tracing::info!(host = name, expires, "a host has a valid certificate"),
        Said::ExpiresSoon => tracing::warn!(
            message_id = message::CERTIFICATE_EXPIRES,
            host = name,
            expires,
            problem,
            "the certificate of a host expires soon"
        ),
        Said::Missing => tracing::error!(
            message_id = message::CERTIFICATE_MISSING,
            host = name,
            problem,
            "a host has no certificate; its connections are refused"
        ),
        Said::Expired => tracing::error!(
            message_id = message::CERTIFICATE_EXPIRED,
            host = name,
            expires,
            problem,
            "the certificate of a host has expired; browsers refuse it"
        ),
    }
}

fn stamp(chain: &Path, key: &Path) -> Stamp {
    [chain, key].map(|path| match std::fs::metadata(path) {
        Ok(file) => (file.ino(), file.size(), file.ctime(), file.ctime_nsec()),
        Err(_) => (0, 0, 0, 0), // reading it says why
    })
}
