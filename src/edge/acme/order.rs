//! One order, from the first request to the certificate (RFC 8555 §7.4), so that it can be cut at any point: the order's
//! address and private key are saved before anything follows from them, and the next try goes on where this one ended.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls_acme::acme::{self, Account, AuthStatus, OrderStatus};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::account::{self, Accounts};
use super::attempts::Attempts;
use super::ca::{Answer, Ca, Directory};
use super::certificate;
use super::challenge;
use super::error::{AcmeError, Problem};
use super::jws;
use super::vault::Vault;
use crate::clock;
use crate::edge::tls::certificates::Certificates;
use crate::tasks;

const ORDERS: &str = "orders";
const ATTEMPTS: &str = "attempts";
/// Before the first look at something that the CA works on, and the most between two looks of our own accord.
const LOOK_FIRST: Duration = Duration::from_millis(100);
const LOOK_LAST: Duration = Duration::from_secs(5);
/// The longest Retry-After that is obeyed while an order is open.
const LOOK_MOST: Duration = Duration::from_secs(60);

/// What an order for one name needs.
pub struct Desk<'a> {
    pub ca: &'a Ca,
    pub accounts: &'a Accounts,
    pub vault: &'a Vault,
    pub certificates: &'a Certificates,
    pub name: &'a str,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    url: String,
    account: String,
    /// PKCS #8, PEM.
    key: String,
}

/// One order with the account that it belongs to.
struct Open<'a> {
    desk: &'a Desk<'a>,
    directory: Arc<Directory>,
    account: Arc<Account>,
}

impl Desk<'_> {
    /// The new certificate with its key, saved. `replaces` is the one that it stands in for (RFC 9773 §5).
    pub async fn obtain(&self, replaces: Option<&str>) -> Result<Bytes, AcmeError> {
        match self.try_obtain(replaces).await {
            Err(error) if account::is_lost(&error) => self.try_obtain(replaces).await,
            done => done,
        }
    }

    async fn try_obtain(&self, replaces: Option<&str>) -> Result<Bytes, AcmeError> {
        let directory = self.ca.directory().await?;
        let account = self.accounts.get(self.ca, &directory, self.vault).await?;
        let kid = account.kid.clone();
        let open = Open {
            desk: self,
            directory,
            account,
        };
        let done = open.run(replaces).await;
        if let Err(error) = &done
            && account::is_lost(error)
        {
            self.accounts.lost(&kid, self.vault).await?;
        }
        done
    }
}

impl Open<'_> {
    async fn run(&self, replaces: Option<&str>) -> Result<Bytes, AcmeError> {
        let (saved, mut order) = match self.resumed().await? {
            Some(open) => open,
            None => self.begin(replaces).await?,
        };
        let mut pace = Pace::default();
        loop {
            let answer = match &order.status {
                OrderStatus::Pending => {
                    for authorization in &order.authorizations {
                        self.authorize(authorization).await?;
                    }
                    self.look(&saved.url).await?
                }
                OrderStatus::Ready => self.finalize(&order.finalize, &saved.key).await?,
                OrderStatus::Processing => self.look(&saved.url).await?,
                OrderStatus::Valid { certificate } => {
                    return self.download(certificate, &saved.key).await;
                }
                OrderStatus::Invalid => {
                    let problem = Problem::from(order.error.as_ref());
                    self.desk.vault.remove(ORDERS, self.desk.name).await?;
                    return Err(AcmeError::Order { problem });
                }
            };
            order = answer.json(LOOK)?;
            if matches!(order.status, OrderStatus::Pending | OrderStatus::Processing) {
                pace.wait(answer.retry_after()).await;
            }
        }
    }

    /// The order that an earlier try left, if the CA still knows it.
    async fn resumed(&self) -> Result<Option<(Saved, acme::Order)>, AcmeError> {
        let desk = self.desk;
        let Some(saved) = desk.vault.read::<Saved>(ORDERS, desk.name).await? else {
            return Ok(None);
        };
        // Cut between saving the certificate and forgetting its order: a renewal would get the old one again.
        let current = desk.vault.certificate(desk.name).await?;
        let done = current.is_some_and(|pem| pem.starts_with(saved.key.trim_end().as_bytes()));
        if saved.account == self.account.kid && !done {
            match self.look(&saved.url).await {
                Ok(answer) => {
                    let order: acme::Order = answer.json(LOOK)?;
                    if order.status != OrderStatus::Invalid {
                        tracing::info!(host = desk.name, "going on with an order");
                        return Ok(Some((saved, order)));
                    }
                }
                Err(error) if account::is_lost(&error) || error.is_problem("rateLimited") => {
                    return Err(error);
                }
                Err(AcmeError::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        desk.vault.remove(ORDERS, desk.name).await?;
        Ok(None)
    }

    async fn begin(&self, replaces: Option<&str>) -> Result<(Saved, acme::Order), AcmeError> {
        let desk = self.desk;
        let now = clock::now();
        let again = self.attempts().await?.next(now);
        if again > now {
            return Err(AcmeError::Paused { again });
        }
        let mut payload = json!({ "identifiers": [{ "type": "dns", "value": desk.name }] });
        if let Some(replaces) = replaces.filter(|_| self.directory.renewal_info.is_some()) {
            payload["replaces"] = json!(replaces);
        }
        let url = &self.directory.acme.new_order;
        let mut made = self.post(NEW_ORDER, url, &payload.to_string()).await;
        if replaces.is_some()
            && let Err(AcmeError::Refused { problem, .. }) = &made
            && (problem.is("alreadyReplaced") || problem.is("malformed"))
        {
            // Another order has replaced it, or the CA knows it no more: that is no reason to go without.
            if let Some(fields) = payload.as_object_mut() {
                fields.shift_remove("replaces");
            }
            made = self.post(NEW_ORDER, url, &payload.to_string()).await;
        }
        let answer = made?;
        let key = KeyPair::generate().map_err(|error| AcmeError::Crypto(error.into()))?;
        let saved = Saved {
            url: answer.location(NEW_ORDER)?,
            account: self.account.kid.clone(),
            key: key.serialize_pem(),
        };
        let order = answer.json(NEW_ORDER)?;
        desk.vault.save(ORDERS, desk.name, &saved).await?;
        Ok((saved, order))
    }

    /// Has the CA convince itself that the name is ours.
    async fn authorize(&self, url: &str) -> Result<(), AcmeError> {
        let desk = self.desk;
        let authorization: acme::Auth = self
            .post(READ_AUTHORIZATION, url, "")
            .await?
            .json(READ_AUTHORIZATION)?;
        match authorization.status {
            AuthStatus::Valid => return Ok(()),
            AuthStatus::Pending => {}
            _ => return self.failed(url, &authorization).await,
        }
        let mut attempts = self.attempts().await?;
        let offered = challenge::offered(&authorization.challenges);
        let kind = attempts.kind(url, &offered).ok_or(AcmeError::NoChallenge)?;
        let challenges = &authorization.challenges;
        let answering = challenge::answer(
            desk.certificates,
            desk.vault,
            &self.account,
            desk.name,
            challenges,
            kind,
        );
        let answering = answering.await?;
        attempts.begin(url, kind, clock::now());
        desk.vault.save(ATTEMPTS, desk.name, &attempts).await?;
        match self.post(ASK_VALIDATION, &answering.url, "{}").await {
            // Asked for before we were cut: the CA is at it, or done.
            Err(AcmeError::Refused { problem, .. }) if problem.is("malformed") => {}
            asked => drop(asked?),
        }
        let done = self.wait_for(url).await?;
        challenge::withdraw(desk.vault, desk.name).await;
        if !matches!(done.status, AuthStatus::Valid) {
            return self.failed(url, &done).await;
        }
        attempts.succeeded(url);
        desk.vault.save(ATTEMPTS, desk.name, &attempts).await
    }

    async fn wait_for(&self, url: &str) -> Result<acme::Auth, AcmeError> {
        let mut pace = Pace::default();
        let mut asked = None;
        loop {
            pace.wait(asked).await;
            let answer = self.post(READ_AUTHORIZATION, url, "").await?;
            let authorization: acme::Auth = answer.json(READ_AUTHORIZATION)?;
            if !matches!(authorization.status, AuthStatus::Pending) {
                return Ok(authorization);
            }
            asked = answer.retry_after();
        }
    }

    /// An authorization that is not valid takes its order with it (RFC 8555 §7.1.6).
    async fn failed(&self, url: &str, authorization: &acme::Auth) -> Result<(), AcmeError> {
        let desk = self.desk;
        desk.vault.remove(ORDERS, desk.name).await?;
        let challenges = &authorization.challenges;
        let at_fault = challenges
            .iter()
            .find(|challenge| challenge.error.is_some());
        let problem = Problem::from(at_fault.and_then(|challenge| challenge.error.as_ref()));
        let offered = challenge::offered(challenges);
        match self.attempts().await?.kind(url, &offered) {
            Some(kind) => Err(AcmeError::Validation { kind, problem }),
            None => Err(AcmeError::Order { problem }),
        }
    }

    async fn finalize(&self, url: &str, key: &str) -> Result<Answer, AcmeError> {
        let request = signing_request(self.desk.name, key)?;
        let payload = json!({ "csr": jws::encode(&request) });
        self.post(FINALIZE, url, &payload.to_string()).await
    }

    async fn download(&self, url: &str, key: &str) -> Result<Bytes, AcmeError> {
        let desk = self.desk;
        let chain = self.post("hand out the certificate", url, "").await?.body;
        let pem = Bytes::from(certificate::join(key, &chain));
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let read = certificate::Certificate::read(desk.name, &pem, &provider);
        if let Err(error) = read {
            // The next order is no better off with this one.
            desk.vault.remove(ORDERS, desk.name).await?;
            return Err(AcmeError::Certificate(error));
        }
        desk.vault.save_certificate(desk.name, pem.clone()).await?;
        desk.vault.remove(ORDERS, desk.name).await?;
        Ok(pem)
    }

    async fn attempts(&self) -> Result<Attempts, AcmeError> {
        let attempts = self.desk.vault.read(ATTEMPTS, self.desk.name).await?;
        Ok(attempts.unwrap_or_default())
    }

    async fn look(&self, url: &str) -> Result<Answer, AcmeError> {
        self.post(LOOK, url, "").await
    }

    async fn post(
        &self,
        action: &'static str,
        url: &str,
        payload: &str,
    ) -> Result<Answer, AcmeError> {
        let signer = account::signer(&self.account);
        let ca = self.desk.ca;
        ca.post(action, &signer, &self.directory, url, payload)
            .await
    }
}

const LOOK: &str = "show the order";
const NEW_ORDER: &str = "take an order";
const READ_AUTHORIZATION: &str = "show the authorization";
const ASK_VALIDATION: &str = "validate the name";
const FINALIZE: &str = "issue the certificate";

/// PKCS #10 (RFC 8555 §7.4) for `name` alone. CAs ignore the subject, and some refuse a common name.
fn signing_request(name: &str, key: &str) -> Result<Vec<u8>, AcmeError> {
    let failed = |error: rcgen::Error| AcmeError::Crypto(error.into());
    let key = KeyPair::from_pem(key).map_err(failed)?;
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(failed)?;
    Ok(request.der().to_vec())
}

/// How often to look: as the CA asks for, else at growing distances.
struct Pace {
    next: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { next: LOOK_FIRST }
    }
}

impl Pace {
    async fn wait(&mut self, asked: Option<Duration>) {
        let pause = asked.map_or(self.next, |asked| asked.clamp(LOOK_FIRST, LOOK_MOST));
        self.next = (self.next * 2).min(LOOK_LAST);
        tasks::pause(pause).await;
    }
}
