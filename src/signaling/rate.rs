//! Rate limiting by the generic cell rate algorithm (ITU-T I.371): eight bytes of state, no timer.

/// A rate and how much may come at once.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Nanoseconds that one unit costs.
    cost: u64,
    /// How far ahead of the clock a sender may be, nanoseconds.
    burst: u64,
}

/// When a sender's past units are paid off, nanoseconds on the caller's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used(u64);

impl Rate {
    /// `per_second` units in the long run, up to `burst_seconds` of them at once.
    pub fn new(per_second: u64, burst_seconds: u64) -> Self {
        const SECOND: u64 = 1_000_000_000;
        Self {
            cost: SECOND.div_ceil(per_second.max(1)),
            burst: burst_seconds.saturating_mul(SECOND),
        }
    }

    /// Charges `units` at the time `now`; false when that is over the limit.
    pub fn charge(&self, used: &mut Used, units: u64, now: u64) -> bool {
        let until = used
            .0
            .max(now)
            .saturating_add(units.saturating_mul(self.cost));
        used.0 = until;
        until - now <= self.burst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_at_the_rate_is_never_refused_and_a_burst_ends_at_its_length() {
        let rate = Rate::new(100, 2);
        let mut steady = Used::default();
        assert!((0..100_000).all(|n| rate.charge(&mut steady, 1, n * 10_000_000)));
        let mut burst = Used::default();
        assert_eq!(
            (0..1000)
                .take_while(|_| rate.charge(&mut burst, 1, 5))
                .count(),
            200
        );
        assert!(
            rate.charge(&mut burst, 1, 2_000_000_000),
            "the burst is paid off later"
        );
    }
}
