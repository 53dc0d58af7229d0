//! `seance signaling`: room tokens by hand.

use std::path::PathBuf;

use clap::Subcommand;

use crate::clock;
use crate::config::{self, ConfigError, SecretError};
use crate::signaling::token::{Keys, OrderError, ShortKey, TokenOrder};
use crate::systemd::Environment;

#[derive(Subcommand)]
pub enum Signaling {
    /// Make a room token, signed with the first of `signaling.token_key_files`
    Token {
        /// Configuration file (TOML)
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// A topic that may be entered; may be given several times
        #[arg(long = "topic", value_name = "NAME")]
        topics: Vec<String>,
        /// The beginning of topics that may be entered; may be given several times
        #[arg(long = "prefix", value_name = "PREFIX")]
        prefixes: Vec<String>,
        /// Seconds until it expires; at most and by default `signaling.token_lifetime_seconds`
        #[arg(long, value_name = "SECONDS")]
        expires_in: Option<u64>,
        /// Only listen
        #[arg(long, conflicts_with = "no_subscribe")]
        no_publish: bool,
        /// Only speak
        #[arg(long)]
        no_subscribe: bool,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum SignalingError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot read a token key")]
    Secret(#[from] SecretError),
    #[error(transparent)]
    ShortKey(#[from] ShortKey),
    #[error(transparent)]
    Order(#[from] OrderError),
}

pub fn run(command: Signaling, environment: &Environment) -> Result<(), SignalingError> {
    let Signaling::Token {
        config,
        topics,
        prefixes,
        expires_in,
        no_publish,
        no_subscribe,
    } = command;
    let credentials = environment.credentials_directory.as_deref();
    let config = config::load(config.as_deref(), &config::environment(), credentials)?;
    let secrets = config.signaling_secrets.tokens.iter();
    let secrets = secrets.map(|(name, source)| Ok((name.clone(), source.read()?)));
    let keys = Keys::new(&secrets.collect::<Result<Vec<_>, SecretError>>()?)?;
    let order = TokenOrder {
        topics,
        prefixes,
        publish: !no_publish,
        subscribe: !no_subscribe,
        lifetime: expires_in,
    };
    let most = config.signaling.token_lifetime_seconds;
    let (token, _) = keys.issue(order, clock::now(), most)?;
    super::print(&format!("{token}\n"));
    Ok(())
}
