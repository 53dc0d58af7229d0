//! Whether an upstream should get requests: by what became of the last ones, and by asking it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

pub struct Health {
    begun: Instant,
    max_failures: u32,
    eject: Duration,
    /// Failed requests in a row.
    failures: AtomicU32,
    /// Milliseconds after `begun`.
    ejected_until: AtomicU64,
    threshold: u32,
    /// The verdict of the checks.
    down: AtomicBool,
    /// Checks in a row against the verdict.
    against: AtomicU32,
}

impl Health {
    pub fn new(max_failures: u32, eject: Duration, threshold: u32) -> Health {
        Health {
            begun: Instant::now(),
            max_failures,
            eject,
            failures: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            threshold,
            down: AtomicBool::new(false),
            against: AtomicU32::new(0),
        }
    }

    /// A request was answered.
    pub fn succeeded(&self) {
        // Nearly always zero already: a line of memory that is only read can stay in the cache of every core.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// A request failed by the upstream's fault. True when this ejects it.
    pub fn failed(&self) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if self.max_failures == 0 || failures < self.max_failures {
            return false;
        }
        let until = self.begun.elapsed() + self.eject;
        let until = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.ejected_until.store(until, Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        true
    }

    pub fn is_ejected(&self) -> bool {
        let until = self.ejected_until.load(Ordering::Relaxed);
        until != 0 && self.begun.elapsed() < Duration::from_millis(until)
    }

    /// One check; the new verdict when it changed.
    pub fn checked(&self, good: bool) -> Option<bool> {
        if good != self.is_down() {
            self.against.store(0, Ordering::Relaxed);
            return None;
        }
        let against = self.against.fetch_add(1, Ordering::Relaxed) + 1;
        if against < self.threshold {
            return None;
        }
        self.against.store(0, Ordering::Relaxed);
        self.down.store(!good, Ordering::Relaxed);
        Some(good)
    }

    /// The checks say that it cannot answer.
    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(max_failures: u32, threshold: u32) -> Health {
        Health::new(max_failures, Duration::from_secs(60), threshold)
    }

    #[test]
    fn failures_in_a_row_eject_and_a_success_between_them_counts_anew() {
        let health = health(3, 1);
        assert!(!health.failed() && !health.failed());
        health.succeeded();
        assert!(!health.failed() && !health.failed() && !health.is_ejected());
        assert!(health.failed() && health.is_ejected());
    }

    #[test]
    fn without_a_limit_nothing_is_ejected() {
        let health = health(0, 1);
        assert!((0..100).all(|_| !health.failed()) && !health.is_ejected());
    }

    #[test]
    fn the_verdict_changes_after_so_many_checks_in_a_row() {
        let health = health(3, 2);
        assert_eq!(health.checked(false), None);
        assert_eq!(health.checked(true), None);
        assert_eq!(health.checked(false), None);
        assert_eq!(health.checked(false), Some(false));
        assert!(health.is_down());
        assert_eq!(health.checked(true), None);
        assert_eq!(health.checked(true), Some(true));
        assert!(!health.is_down());
    }
}
