//! One renewer at a time, where several nodes share the store.
//!
//! A lease is the object with the highest number in the name's folder. Whoever finds it expired creates the next number,
//! which only one node can. The highest is never removed, so that two nodes that looked at different times cannot create
//! two different ones.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::error::AcmeError;
use super::vault::Vault;
use crate::clock;
use crate::store::Created;

/// Longer than an order may take ([`super::name::ORDER`]), with some room for clocks that differ.
const LENGTH: SignedDuration = SignedDuration::from_mins(5);

/// The right to renew one name.
pub struct Lease {
    folder: String,
    number: u64,
    node: String,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    node: String,
    expires: Timestamp,
}

impl Lease {
    /// `None` while another node has it. A node that died takes up its own again at once.
    pub async fn take(vault: &Vault, name: &str, node: &str) -> Result<Option<Lease>, AcmeError> {
        let folder = format!("leases/{name}");
        let numbers = vault.list(&folder).await?;
        let highest = numbers
            .iter()
            .filter_map(|number| number.parse::<u64>().ok())
            .max(); // foreign objects are none
        let now = clock::now();
        if let Some(highest) = highest {
            let saved: Option<Saved> = vault.read(&folder, &file(highest)).await?;
            if saved.is_some_and(|saved| saved.node != node && saved.expires > now) {
                return Ok(None);
            }
        }
        let lease = Lease {
            folder,
            number: highest.map_or(0, |highest| highest.saturating_add(1)),
            node: node.to_owned(),
        };
        let saved = lease.until(now + LENGTH);
        match vault
            .create(&lease.folder, &file(lease.number), &saved)
            .await?
        {
            Created::AlreadyExists => Ok(None),
            Created::Yes => {
                for old in numbers {
                    vault.remove(&lease.folder, &old).await?;
                }
                Ok(Some(lease))
            }
        }
    }

    /// Lets other nodes have it before it expires.
    pub async fn release(self, vault: &Vault) -> Result<(), AcmeError> {
        let saved = self.until(Timestamp::UNIX_EPOCH);
        vault.save(&self.folder, &file(self.number), &saved).await
    }

    fn until(&self, expires: Timestamp) -> Saved {
        Saved {
            node: self.node.clone(),
            expires,
        }
    }
}

fn file(number: u64) -> String {
    format!("{number:012}")
}
