//! Where log events go: to the journal when systemd started us, else to standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::{Log, LogFilterError, LogFormat, log_filter};
use crate::edge::AccessLog;

/// Changes the filter of a running daemon.
pub struct Logging {
    filter: reload::Handle<Targets, Registry>,
    access: AccessLog,
}

#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("cannot connect to the journal")]
    Journal(#[source] std::io::Error),
    #[error("`log.filter` is not a filter")]
    Filter(#[from] LogFilterError),
    #[error("logging was set up twice")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
    #[error("cannot change the log filter")]
    Reload(#[source] reload::Error),
}

impl Logging {
    pub fn start(log: &Log, journal: bool) -> Result<Logging, LoggingError> {
        let filter = log_filter(&log.filter)?;
        let (filter, handle) = reload::Layer::new(filter);
        let terminal = std::io::stderr().is_terminal();
        let text = || {
            tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(terminal)
        };
        let output: Box<dyn Layer<_> + Send + Sync> = match log.format {
            LogFormat::Auto if journal => Box::new(journal_layer()?),
            LogFormat::Auto | LogFormat::Text => Box::new(text()),
            LogFormat::Json => Box::new(text().json().flatten_event(true)),
        };
        tracing_subscriber::registry()
            .with(filter)
            .with(output)
            .try_init()
            .map_err(LoggingError::Twice)?;
        let access = match log.format {
            LogFormat::Json => AccessLog::Json,
            LogFormat::Auto if journal => AccessLog::Events,
            LogFormat::Auto | LogFormat::Text if terminal => AccessLog::Events,
            LogFormat::Auto | LogFormat::Text => AccessLog::Text,
        };
        Ok(Logging {
            filter: handle,
            access,
        })
    }

    /// How access lines are written, if they are.
    pub fn access(&self, log: &Log) -> AccessLog {
        match log.access {
            true => self.access,
            false => AccessLog::Off,
        }
    }

    pub fn change(&self, log: &Log) -> Result<(), LoggingError> {
        let filter = log_filter(&log.filter)?;
        self.filter.reload(filter).map_err(LoggingError::Reload)
    }
}

/// Fields without the crate's `F_` prefix, and INFO as "informational", so that `journalctl -p` means what it says.
fn journal_layer() -> Result<tracing_journald::Layer, LoggingError> {
    use tracing_journald::{Priority, PriorityMappings};
    let priorities = PriorityMappings {
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
        ..PriorityMappings::new()
    };
    let layer = tracing_journald::layer().map_err(LoggingError::Journal)?;
    Ok(layer
        .with_field_prefix(None)
        .with_syslog_identifier("seance".to_owned())
        .with_priority_mappings(priorities))
}
