//! The `[deny]` section: what is turned away before any route is looked at.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::network::Network;

/// Each request is compared with all of them.
const ENTRIES_MOST: usize = 1000;

/// Requests that are turned away with 403 before any route is looked at: with hosts for each of them, without hosts all.
/// Challenges of a CA and redirects to https are not looked at; on the signaling port, `addresses` only: a connection from
/// there is dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Deny {
    /// What becomes of requests that `paths`, `user_agents` or `addresses` fit: `block` answers 403, `log` only logs and
    /// counts them, `off` lets them pass.
    pub mode: DenyMode,
    /// Whole paths, compared with percent-encoding decoded and repeated slashes merged; a `*` stands for anything:
    /// `/internal/*`.
    pub paths: Vec<String>,
    /// Texts within the field `User-Agent`, whatever the case.
    pub user_agents: Vec<String>,
    /// Addresses of clients, as networks: `203.0.113.0/24`.
    pub addresses: Vec<Network>,
    /// The same for requests that only scanners send (`/.env`, `/.git/config`, `/wp-login.php`, `/vendor/phpunit/…`).
    /// `log` by default: an application behind a route may have such paths.
    pub known_bad: DenyMode,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DenyMode {
    #[default]
    Off,
    Log,
    Block,
}

impl Default for Deny {
    fn default() -> Deny {
        Deny {
            mode: DenyMode::Block,
            paths: Vec::new(),
            user_agents: Vec::new(),
            addresses: Vec::new(),
            known_bad: DenyMode::Log,
        }
    }
}

impl Deny {
    /// # Errors
    /// An entry that would fit nothing, or everything by mistake, and lists that are too long.
    pub fn check(&self) -> Result<(), ConfigError> {
        let lists = [
            ("deny.paths", self.paths.len()),
            ("deny.user_agents", self.user_agents.len()),
            ("deny.addresses", self.addresses.len()),
        ];
        if let Some((key, length)) = lists.into_iter().find(|(_, n)| *n > ENTRIES_MOST) {
            return Err(ConfigError::Range {
                key,
                value: length as u64,
                least: 0,
                most: ENTRIES_MOST as u64,
            });
        }
        let mut paths = self.paths.iter();
        if let Some(path) = paths.find(|path| !path.starts_with(['/', '*'])) {
            return Err(ConfigError::DenyPath { path: path.clone() });
        }
        // It stands in every text.
        if self.user_agents.iter().any(String::is_empty) {
            return Err(ConfigError::Empty {
                key: "deny.user_agents[]",
            });
        }
        Ok(())
    }
}
