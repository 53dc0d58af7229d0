//! Starts the real daemon and talks to it.

mod daemon;
pub mod wait;

pub use daemon::{Builder, Daemon};
