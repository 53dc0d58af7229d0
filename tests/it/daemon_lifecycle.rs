//! Start, ready, drain, reload, exit.

use crate::harness::Builder;

#[test]
fn it_becomes_ready_on_embedded_defaults_and_ends_on_sigterm() {
    let daemon = Builder::new().start();
    let key = daemon.builder_key();
    assert!(key.len() >= 64);
    let (status, log) = daemon.stop();
    assert!(status.success(), "{log}");
    assert!(!log.contains(&key), "the key must not be in a log:\n{log}");
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused() {
    let first = Builder::new().start();
    let Err((status, log)) = Builder::at(first.home()).try_start() else {
        panic!("a second daemon started")
    };
    assert!(!status.success());
    assert!(
        log.contains("another seance uses the state directory"),
        "{log}"
    );
}
