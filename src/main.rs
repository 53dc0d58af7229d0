//! seance: the whole back end of a small product team in one binary.
//!
//! Rooms follow what arrives, not the kind of code. A room uses only rooms below it (`tests/it/layers.rs` checks):
//!
//! ```text
//! main > cli > daemon > { edge, api } > content > { release, signaling } > store > { audit, metrics } > config > systemd > tasks > { clock, cause }
//! ```
//!
//! - `edge` accepts a connection, with its certificate, reads a request, gives it an id and a deadline, finds who answers
//!   (files, another server, the API, the signaling room), and writes its access line;
//! - `api` turns a request into a call of a room and the outcome into an answer;
//! - `content` sends files: preconditions, ranges, bodies in bounded memory;
//! - `release` owns the log of releases: what every client sees is a fold of its records;
//! - `signaling` passes messages between the browsers of one room;
//! - `store` keeps objects on disk or in a bucket;
//! - `daemon` makes each of them once, and ends them in order.

mod api;
mod audit;
mod cause;
mod cli;
mod clock;
mod config;
mod content;
mod daemon;
mod edge;
mod metrics;
mod release;
mod signaling;
mod store;
mod systemd;
mod tasks;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            cli::print_chain(&*error);
            ExitCode::FAILURE
        }
    }
}
