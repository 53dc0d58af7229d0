//! Where the account and the certificates are kept: in the state directory, or in the store for several nodes. A copy of
//! every certificate lies in the state directory in both cases, so that a node starts and serves with the store down.
//!
//! Everything is a private object: on disk a file of mode 0600, written whole and flushed.

use std::borrow::Cow;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::Uri;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::AcmeError;
use crate::clock;
use crate::config;
use crate::store::{Attributes, Created, Key, Meta, Store, StoreError, Visibility};
use crate::tasks::Tasks;

/// Certificate chains are the largest of these objects.
const OBJECT_MOST: usize = 512 * 1024;

const CERTIFICATES: &str = "certificates";

pub struct Vault {
    /// `acme/` of the state directory.
    local: Store,
    shared: Option<Store>,
    /// Accounts and certificates of another CA are none of this one: each has a place of its own.
    place: String,
}

impl Vault {
    /// Opens the vault for the CA at `directory`.
    pub async fn open(
        directory: &Uri,
        state: &Path,
        shared: Option<Store>,
        tasks: &Tasks,
    ) -> Result<Vault, StoreError> {
        let local = config::Store::Filesystem {
            directory: state.join("acme"),
        };
        let local = Store::open(&local, tasks).await?;
        // No other process writes there: what is unfinished now is of a process that was killed, and may hold a key.
        local.remove_stale(clock::now()).await?;
        let hash = digest(&SHA256, directory.to_string().as_bytes());
        let hash = hex::encode(hash.as_ref().get(..4).unwrap_or_default());
        let place = format!(
            "{}-{hash}",
            directory
                .host()
                .unwrap_or_default()
                .replace(['[', ']', ':'], "_")
        );
        Ok(Vault {
            local,
            shared,
            place,
        })
    }

    /// Other nodes use it too.
    pub fn shared(&self) -> Option<&Store> {
        self.shared.as_ref()
    }

    /// A name for this node that outlives the process.
    pub async fn node(&self) -> Result<String, AcmeError> {
        let key = Key::parse("node").map_err(|_| AcmeError::Name("node".to_owned()))?;
        let own = Bytes::from(uuid::Uuid::now_v7().to_string());
        if self
            .local
            .create(&key, own.clone(), &private("text/plain"))
            .await?
            == Created::Yes
        {
            return Ok(String::from_utf8_lossy(&own).into_owned());
        }
        let kept = self.local.read(&key, OBJECT_MOST).await?;
        Ok(String::from_utf8_lossy(&kept).into_owned())
    }

    /// The certificate of `name` that this node last had.
    pub async fn last_certificate(&self, name: &str) -> Result<Option<Bytes>, AcmeError> {
        let key = Key::parse(&format!("{}/{CERTIFICATES}/{name}.pem", self.place));
        let key = key.map_err(|_| AcmeError::Name(name.to_owned()))?;
        found(self.local.read(&key, OBJECT_MOST).await)
    }

    /// The certificate of `name` that is in force for all nodes.
    pub async fn certificate(&self, name: &str) -> Result<Option<Bytes>, AcmeError> {
        let Some(shared) = &self.shared else {
            return self.last_certificate(name).await;
        };
        let key = self.key(CERTIFICATES, &format!("{name}.pem"))?;
        let read = found(shared.read(&key, OBJECT_MOST).await)?;
        if let Some(pem) = &read {
            self.keep_copy(name, pem.clone()).await?;
        }
        Ok(read)
    }

    /// Tells a replaced certificate from the one that was read, without reading it.
    pub async fn certificate_meta(&self, name: &str) -> Result<Option<Meta>, AcmeError> {
        let key = self.key(CERTIFICATES, &format!("{name}.pem"))?;
        Ok(self.store().head(&key).await?)
    }

    pub async fn save_certificate(&self, name: &str, pem: Bytes) -> Result<(), AcmeError> {
        if let Some(shared) = &self.shared {
            let key = self.key(CERTIFICATES, &format!("{name}.pem"))?;
            shared.put(&key, pem.clone(), &private(PEM)).await?;
        }
        self.keep_copy(name, pem).await
    }

    async fn keep_copy(&self, name: &str, pem: Bytes) -> Result<(), AcmeError> {
        let key = Key::parse(&format!("{}/{CERTIFICATES}/{name}.pem", self.place));
        let key = key.map_err(|_| AcmeError::Name(name.to_owned()))?;
        Ok(self.local.put(&key, pem, &private(PEM)).await?)
    }

    /// A small JSON object; none when there is none, or none that can be read: nothing in here is worth a stop.
    pub async fn read<T: DeserializeOwned>(
        &self,
        folder: &str,
        name: &str,
    ) -> Result<Option<T>, AcmeError> {
        let key = self.key(folder, &format!("{name}.json"))?;
        let bytes = found(self.store().read(&key, OBJECT_MOST).await)?;
        let parsed = bytes.map(|bytes| serde_json::from_slice(&bytes));
        Ok(parsed.and_then(|parsed| {
            parsed
                .inspect_err(
                    |error| tracing::warn!(%key, %error, "not what was written there; ignored"),
                )
                .ok() // just said
        }))
    }

    pub async fn save(
        &self,
        folder: &str,
        name: &str,
        value: &impl Serialize,
    ) -> Result<(), AcmeError> {
        let key = self.key(folder, &format!("{name}.json"))?;
        Ok(self.store().put(&key, json(value)?, &private(JSON)).await?)
    }

    /// Writes the object unless another node was quicker.
    pub async fn create(
        &self,
        folder: &str,
        name: &str,
        value: &impl Serialize,
    ) -> Result<Created, AcmeError> {
        let key = self.key(folder, &format!("{name}.json"))?;
        Ok(self
            .store()
            .create(&key, json(value)?, &private(JSON))
            .await?)
    }

    pub async fn remove(&self, folder: &str, name: &str) -> Result<(), AcmeError> {
        let key = self.key(folder, &format!("{name}.json"))?;
        Ok(self.store().delete(&key).await?)
    }

    /// Names of the JSON objects in a folder, at most 1000, in order.
    pub async fn list(&self, folder: &str) -> Result<Vec<String>, AcmeError> {
        let prefix = format!("{}{folder}/", self.prefix());
        let listed = self.store().list(&prefix, None, 1000).await?;
        let names = listed.iter().filter_map(|meta| {
            meta.key
                .as_str()
                .strip_prefix(&prefix)?
                .strip_suffix(".json")
        });
        Ok(names.map(str::to_owned).collect())
    }

    fn store(&self) -> &Store {
        self.shared.as_ref().unwrap_or(&self.local)
    }

    /// In the store, `.seance/` is never public.
    fn prefix(&self) -> String {
        match self.shared {
            Some(_) => format!(".seance/acme/{}/", self.place),
            None => format!("{}/", self.place),
        }
    }

    fn key(&self, folder: &str, name: &str) -> Result<Key, AcmeError> {
        let key = Key::parse(&format!("{}{folder}/{name}", self.prefix()));
        key.map_err(|_| AcmeError::Name(name.to_owned()))
    }
}

const PEM: &str = "application/pem-certificate-chain";
const JSON: &str = "application/json";

fn private(content_type: &'static str) -> Attributes {
    Attributes {
        content_type: Cow::Borrowed(content_type),
        cache_control: Some(Cow::Borrowed("no-store")),
        visibility: Visibility::Private,
        sha256: None,
    }
}

fn json(value: &impl Serialize) -> Result<Bytes, AcmeError> {
    let text = serde_json::to_vec(value).map_err(AcmeError::Json)?;
    Ok(Bytes::from(text))
}

fn found(read: Result<Bytes, StoreError>) -> Result<Option<Bytes>, AcmeError> {
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
