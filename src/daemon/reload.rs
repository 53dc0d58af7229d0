//! SIGHUP: reads the configuration again. A bad one changes nothing and says so.

use super::{Source, logging::Logging};
use crate::config::Config;
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

    /// The new configuration, or `None` when the old one stays in force.
    pub fn reload(&mut self) -> Result<Option<&Config>, SystemdError> {
        systemd::reloading()?;
        let loaded = self.source.load();
        let outcome = match loaded {
            Ok(config) => {
                if let Err(error) = self.logging.change(&config.log) {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the log filter stays as it was"
                    );
                }
                for section in self.config.needs_restart(&config) {
                    tracing::warn!(
                        section,
                        "this section changed; it takes effect with the next restart"
                    );
                }
                self.config = config;
                tracing::info!(
                    message_id = systemd::message::RELOADED,
                    "configuration reloaded"
                );
                Some(&self.config)
            }
            Err(error) => {
                tracing::error!(
                    message_id = systemd::message::RELOAD_FAILED,
                    error = &error as &dyn std::error::Error,
                    "the configuration is not valid; the old one stays in force"
                );
                None
            }
        };
        systemd::ready(
            if outcome.is_some() {
                "reloaded"
            } else {
                "reload failed; the old configuration holds"
            },
            &[],
        )?;
        Ok(outcome)
    }
}
