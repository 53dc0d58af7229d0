//! The integration tests: each file keeps one promise. They drive the real binary over real sockets.

mod harness;

mod daemon_lifecycle;
