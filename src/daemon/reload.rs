//! SIGHUP: reads the configuration again. A bad one changes nothing and says so.

use super::{Source, logging::Logging};
use crate::cause::chain;
use crate::config::Config;
use crate::store::Store;
use crate::systemd::{self, SystemdError};

pub struct Reloader {
    source: Source,
    config: Config,
    logging: Logging,
}

impl Reloader {
    pub fn new(source: Source, config: Config, logging: Logging) -> Reloader {
        Reloader {
            source,
            config,
            logging,
        }
    }

    /// Puts the new configuration in force by `apply`, or leaves the old one.
    pub async fn reload(
        &mut self,
        store: &Store,
        apply: impl FnOnce(&Config),
    ) -> Result<(), SystemdError> {
        systemd::reloading()?;
        let loaded = self.source.load();
        let status = match loaded {
            Ok(config) => {
                if let Err(error) = self.logging.change(&config.log) {
                    tracing::error!(
                        error = %chain(&error),
                        "the log filter stays as it was"
                    );
                }
                for section in self.config.needs_restart(&config) {
                    tracing::warn!(
                        section,
                        "this section changed; it takes effect with the next restart"
                    );
                }
                if let Err(error) = store.reload(&config.store).await {
                    tracing::error!(
                        error = %chain(&error),
                        "the store keeps its credentials"
                    );
                }
                self.config = config;
                apply(&self.config);
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
        // Last: whoever waits for READY=1 finds the new configuration in force.
        systemd::ready(status, &[])
    }
}
