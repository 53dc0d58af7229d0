//! SIGHUP: reads the configuration again. A bad one changes nothing and says so.

use super::{Source, logging::Logging};
use crate::cause::chain;
use crate::config::Config;
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
    pub async fn reload(&self, store: &Store, apply: impl AsyncFnOnce(&Config)) {
        super::log_unheard(systemd::reloading());
        let loaded = self.source.load();
        let status = match loaded {
            Ok(config) => {
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
                apply(&config).await;
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
}
