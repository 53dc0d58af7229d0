//! TLS: certificates by name, where they come from, and the handshake that shows them.

pub mod certificates;
pub mod handshake;
pub mod keeper;
pub mod local;
mod manual;
mod report;
