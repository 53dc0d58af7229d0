//! Starts the real daemon and talks to it.

pub mod acme;
pub mod browser;
pub mod bucket;
pub mod chromium;
pub mod command;
mod daemon;
pub mod draft;
pub mod faked_ca;
pub mod frames;
pub mod gate;
pub mod http;
pub mod kill;
pub mod link;
pub mod nats;
pub mod nginx;
pub mod pebble;
pub mod pki;
pub mod probe;
pub mod probe_http1;
pub mod probe_http2;
pub mod publish;
pub mod release;
pub mod sieve;
pub mod site;
pub mod strace;
pub mod tls;
pub mod upstream;
pub mod vite;
pub mod wait;
pub mod websocket;

pub use daemon::{Builder, Daemon};

/// What a configuration holds of a builder key.
pub fn key_hash(key: &str) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
    hex::encode(hash)
}
