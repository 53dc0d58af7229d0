//! The command line.

mod check_config;
mod check_storage;
mod client;
mod key;
mod openapi;
mod password_hash;
mod publish;
mod releases;
mod signaling;
mod trust;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{config, daemon, systemd};

/// The whole back end of a small product team in one binary: releases, updates, signaling, and the web
/// server in front.
///
/// Without a configuration file `seance serve` listens on 127.0.0.1:3000 and keeps everything in the state directory
/// ($STATE_DIRECTORY, else $XDG_STATE_HOME/seance).
#[derive(Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon until SIGTERM; SIGHUP reloads the configuration
    Serve {
        /// Configuration file (TOML); without one the embedded defaults hold and a builder key is made
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Prove that a configuration is right, without binding or connecting to anything; secrets need not exist
    CheckConfig {
        /// Configuration file (TOML)
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
        /// Print only what is wrong
        #[arg(long, conflicts_with = "json")]
        quiet: bool,
    },
    /// Find out what the configured store really does; cleans up after itself
    ///
    /// Exit codes: 0 everything works; 3 seance works on it, with the restrictions the table names; 1 something that
    /// seance needs does not work, or the store cannot be reached; 130 interrupted.
    CheckStorage(check_storage::CheckStorage),
    /// Print every configuration option with its default
    ConfigReference,
    /// Print the description of the HTTP API (OpenAPI 3.1, JSON)
    Openapi,
    /// Builder keys: what CI shows to be allowed to deploy
    #[command(subcommand)]
    Key(key::Key),
    /// Print the bcrypt hash of a password, for `basic_auth` of a route
    ///
    /// The password is asked for on the terminal, without showing it, or is the first line of standard input.
    PasswordHash,
    /// Publish a build: what electron-builder or Tauri made, or a static site
    ///
    /// Exit codes: 0 done; 1 failed; 2 the command line, or the directory, is not right; 3 the build was refused by the
    /// checks; 4 the daemon cannot be reached; 5 it does not take the key.
    Publish(publish::Publish),
    /// What was published, and commands over it: rollback, rollout, halt, pin
    #[command(subcommand)]
    Releases(releases::Releases),
    /// The signaling room
    #[command(subcommand)]
    Signaling(signaling::Signaling),
    /// Tell how to make browsers trust the certificates of hosts with `tls = "local"`
    Trust(trust::Trust),
}

type Failure = Box<dyn Error + Send + Sync>;

pub fn run(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        Command::Serve { config } => {
            // First of all, while there is one thread: it takes inherited descriptors.
            let environment = systemd::Environment::take()?;
            daemon::run(config, environment)?;
        }
        Command::CheckConfig { file, json, quiet } => {
            return Ok(check_config::run(&file, json, quiet));
        }
        Command::CheckStorage(arguments) => {
            return Ok(check_storage::run(
                &arguments,
                systemd::Environment::take()?,
            )?);
        }
        Command::ConfigReference => print(&config::reference::reference()),
        Command::Openapi => openapi::run(),
        Command::Key(command) => key::run(&command)?,
        Command::PasswordHash => password_hash::run()?,
        Command::Publish(arguments) => return Ok(publish::run(&arguments)),
        Command::Releases(command) => releases::run(&command)?,
        Command::Signaling(command) => signaling::run(command, &systemd::Environment::take()?)?,
        Command::Trust(arguments) => trust::run(arguments, systemd::Environment::take()?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// How many files, for a person.
fn files(count: u64) -> String {
    let noun = if count == 1 { "file" } else { "files" };
    format!("{count} {noun}")
}

#[expect(clippy::print_stdout, reason = "the output of a command")]
fn print(text: &str) {
    print!("{text}");
}

/// Prints what failed and why, a line per cause.
#[expect(clippy::print_stderr, reason = "the error of a command")]
pub fn print_chain(error: &dyn Error) {
    eprintln!("seance: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
}
