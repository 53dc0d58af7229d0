//! SIGHUP: reads the configuration again. A bad one changes nothing and says so.

use super::{DaemonError, Source, logging::Logging};
use crate::cause::chain;
use crate::config::Config;
use crate::signaling::{Rules, SignalingError};
use crate::store::Store;
use crate::systemd;

pub struct Reloader {
    source: Source,
    /// What is in force of all that is read only at start.
    started: Config,
    logging: Logging,
}

impl Reloader {
    pub fn new(source: Source, started: Config, logging: Logging) -> Reloader {
        Reloader {
            source,
            started,
            logging,
        }
    }

    /// Puts the new configuration in force by `apply`, or leaves the old one.
    pub async fn reload(&self, store: &Store, apply: impl AsyncFnOnce(&Config, Rules)) {
        super::log_unheard(systemd::reloading());
        let status = match self.load() {
            Ok((config, rules)) => {
                if let Err(error) = self.logging.change(&config.log) {
                    tracing::error!(
                        error = %chain(&error),
                        "the log filter stays as it was"
                    );
                }
                for key in self.started.needs_restart(&config) {
                    tracing::warn!(
                        key,
                        "this option changed; it takes effect with the next restart"
                    );
                }
                super::greeting::name_keyless(&config.apps);
                if let Err(error) = store.reload(&config.store).await {
                    tracing::error!(
                        error = %chain(&error),
                        "the store keeps its credentials"
                    );
                }
                apply(&config, rules).await;
                tracing::info!(
                    message_id = systemd::message::RELOADED,
                    "configuration reloaded"
                );
                "reloaded"
            }
            Err(error) => {
                tracing::error!(
                    message_id = systemd::message::RELOAD_FAILED,
                    error = %chain(&error),
                    "the configuration is not valid; the old one stays in force"
                );
                "reload failed; the old configuration holds"
            }
        };
        super::memory::give_back_heap();
        // Last: whoever waits for READY=1 finds the new configuration in force.
        super::log_unheard(systemd::ready(status, &[]));
    }

    /// The new configuration, with what the signaling room makes of it and of its secrets: a room that needs tokens must not
    /// stay open to everybody because a key cannot be read.
    fn load(&self) -> Result<(Config, Rules), DaemonError> {
        let config = self.source.load()?;
        let rules = Rules::new(&config.signaling, &config.signaling_secrets)
            .map_err(SignalingError::Rules)?;
        Ok((config, rules))
    }
}
