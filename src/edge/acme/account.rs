//! Our account at the CA. Its key is saved before the CA hears of it, so that there is one account, whatever happens;
//! an account that the CA lost is made again with the same key.

use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64_simd::URL_SAFE_NO_PAD;
use rustls_acme::acme::Account;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::ca::{Ca, Directory, Signer};
use super::error::AcmeError;
use super::jws;
use super::vault::Vault;
use crate::store::Created;

const FOLDER: &str = "account";
const NAME: &str = "account";

pub struct Accounts {
    contact: Option<String>,
    binding: Option<Binding>,
    /// Locked while an account is made: names that begin together get one.
    current: tokio::sync::Mutex<Option<Arc<Account>>>,
}

/// External account binding (RFC 8555 §7.3.4).
pub struct Binding {
    pub key_id: String,
    pub secret: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    /// PKCS #8 in base64url.
    key: String,
    /// The address that the CA gave the account.
    kid: Option<String>,
}

impl Accounts {
    pub fn new(contact: Option<String>, binding: Option<Binding>) -> Accounts {
        Accounts {
            contact,
            binding,
            current: tokio::sync::Mutex::default(),
        }
    }

    /// The account, made if there is none.
    pub async fn get(
        &self,
        ca: &Ca,
        directory: &Directory,
        vault: &Vault,
    ) -> Result<Arc<Account>, AcmeError> {
        let mut current = self.current.lock().await;
        if let Some(account) = current.as_ref() {
            return Ok(account.clone());
        }
        let saved = match vault.read::<Saved>(FOLDER, NAME).await? {
            Some(saved) => saved,
            None => self.new_key(vault).await?,
        };
        let key_pair = read_key(&saved.key)?;
        let kid = match saved.kid {
            Some(kid) => kid,
            None => {
                let kid = self.register(ca, directory, &key_pair).await?;
                let kid_too = Some(kid.clone());
                let key = saved.key;
                vault
                    .save(FOLDER, NAME, &Saved { key, kid: kid_too })
                    .await?;
                kid
            }
        };
        let account = Arc::new(Account {
            key_pair,
            directory: directory.acme.clone(),
            kid,
        });
        *current = Some(account.clone());
        Ok(account)
    }

    /// The CA does not know the account `kid`: the next [`Accounts::get`] makes it again.
    pub async fn lost(&self, kid: &str, vault: &Vault) -> Result<(), AcmeError> {
        let mut current = self.current.lock().await;
        if current.as_ref().is_none_or(|account| account.kid != kid) {
            return Ok(());
        }
        *current = None;
        let saved = vault.read::<Saved>(FOLDER, NAME).await?;
        let Some(saved) = saved.filter(|saved| saved.kid.as_deref() == Some(kid)) else {
            return Ok(());
        };
        tracing::warn!(account = kid, "the CA lost our account; a new one is made");
        let key = saved.key;
        vault.save(FOLDER, NAME, &Saved { key, kid: None }).await
    }

    async fn new_key(&self, vault: &Vault) -> Result<Saved, AcmeError> {
        let key = URL_SAFE_NO_PAD.encode_to_string(Account::generate_key_pair());
        let saved = Saved { key, kid: None };
        match vault.create(FOLDER, NAME, &saved).await? {
            Created::Yes => Ok(saved),
            // Another node was quicker, or what stands there could not be read.
            Created::AlreadyExists => match vault.read(FOLDER, NAME).await? {
                Some(theirs) => Ok(theirs),
                None => {
                    vault.save(FOLDER, NAME, &saved).await?;
                    Ok(saved)
                }
            },
        }
    }

    /// RFC 8555 §7.3: for a key that has an account the CA answers with that account.
    async fn register(
        &self,
        ca: &Ca,
        directory: &Directory,
        key: &EcdsaKeyPair,
    ) -> Result<String, AcmeError> {
        const ACTION: &str = "make an account";
        let url = &directory.acme.new_account;
        let mut payload = json!({ "termsOfServiceAgreed": true });
        if let Some(contact) = &self.contact {
            payload["contact"] = json!([format!("mailto:{contact}")]);
        }
        match &self.binding {
            Some(binding) => {
                let proof = jws::binding(key, &binding.key_id, &binding.secret, url);
                let proof = proof.map_err(|error| AcmeError::Crypto(error.into()))?;
                payload["externalAccountBinding"] = proof;
            }
            None if directory.meta.external_account_required => {
                return Err(AcmeError::BindingRequired);
            }
            None => {}
        }
        let signer = Signer { key, account: None };
        let payload = payload.to_string();
        let made = ca.post(ACTION, &signer, directory, url, &payload).await?;
        let kid = made.location(ACTION)?;
        tracing::info!(account = kid, "the CA knows our account");
        Ok(kid)
    }
}

fn read_key(text: &str) -> Result<EcdsaKeyPair, AcmeError> {
    let pkcs8 = URL_SAFE_NO_PAD.decode_to_vec(text);
    let pkcs8 = pkcs8.map_err(|error| AcmeError::AccountKey(error.into()))?;
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8);
    key.map_err(|error| AcmeError::AccountKey(error.into()))
}

/// Whether an error means that the CA has no account of ours any more.
pub fn is_lost(error: &AcmeError) -> bool {
    error.is_problem("accountDoesNotExist")
}

/// The account as a signer.
pub fn signer(account: &Account) -> Signer<'_> {
    Signer {
        key: &account.key_pair,
        account: Some(&account.kid),
    }
}
