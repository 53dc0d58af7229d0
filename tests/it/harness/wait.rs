//! Waiting for a condition, with a ceiling that tells what was seen last.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Long enough for a loaded machine; a test that meets it has failed.
pub const CEILING: Duration = Duration::from_secs(60);

/// Polls `probe` until `enough` likes what it sees.
#[expect(
    clippy::disallowed_methods,
    reason = "the pause between two looks at the condition"
)]
pub fn wait_until<T: Debug>(
    what: &str,
    mut probe: impl FnMut() -> T,
    enough: impl Fn(&T) -> bool,
) -> T {
    let started = Instant::now();
    loop {
        let seen = probe();
        if enough(&seen) {
            return seen;
        }
        assert!(
            started.elapsed() < CEILING,
            "waited in vain until {what}; seen last: {seen:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
