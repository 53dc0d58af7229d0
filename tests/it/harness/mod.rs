//! Starts the real daemon and talks to it.

pub mod bucket;
pub mod command;
mod daemon;
pub mod http;
pub mod kill;
pub mod release;
pub mod wait;
pub mod websocket;

pub use daemon::{Builder, Daemon};
