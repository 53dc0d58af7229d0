//! The builder keys of one app that came, or went, by records of the log: in force on every node, without a restart.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::control::ControlError;
use super::record::Event;
use super::state::Tree;
use crate::config::{BuilderKey, BuilderKeyHash};

/// Keys of one app that the log added or revoked.
pub const KEYS_MOST: usize = 1000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    #[serde(default)]
    added: Vec<BuilderKey>,
    /// For ever: the configuration of a node may still hold it.
    #[serde(default)]
    revoked: Vec<BuilderKeyHash>,
}

impl Keys {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.revoked.is_empty()
    }

    pub fn added(&self) -> &[BuilderKey] {
        &self.added
    }

    pub fn is_revoked(&self, hash: &BuilderKeyHash) -> bool {
        self.revoked.contains(hash)
    }

    pub(super) fn add(&mut self, key: &BuilderKey) {
        self.added.retain(|known| known.hash != key.hash);
        self.added.push(key.clone());
    }

    pub(super) fn revoke(&mut self, hash: &BuilderKeyHash) {
        self.added.retain(|known| known.hash != *hash);
        if !self.is_revoked(hash) {
            self.revoked.push(hash.clone());
        }
    }
}

/// The event that adds a key. A fingerprint stands for one key only, in commands, the history and the audit.
pub(super) fn addition(
    tree: &Tree,
    key: &BuilderKey,
    now: Timestamp,
) -> Result<Event, ControlError> {
    let Keys { added, revoked } = tree.keys();
    let fingerprint = key.hash.fingerprint();
    if revoked.iter().any(|hash| hash.fingerprint() == fingerprint) {
        return Err(ControlError::RevokedKey);
    }
    let mut known = added.iter().map(|known| known.hash.fingerprint());
    if known.any(|known| known == fingerprint) {
        return Err(ControlError::KnownKey);
    }
    if key.has_expired(now) {
        return Err(ControlError::Unchanged);
    }
    if added.len() + revoked.len() >= KEYS_MOST {
        return Err(ControlError::ManyKeys);
    }
    Ok(Event::KeyAdded { key: key.clone() })
}

/// The event that takes a key away, whoever gave it.
pub(super) fn revocation(tree: &Tree, hash: &BuilderKeyHash) -> Result<Event, ControlError> {
    if tree.keys().is_revoked(hash) {
        return Err(ControlError::Unchanged);
    }
    Ok(Event::KeyRevoked { hash: hash.clone() })
}
