//! TLS: certificates by name.

#[expect(dead_code, reason = "the listener reads what the issuers write here")]
pub mod certificates;
