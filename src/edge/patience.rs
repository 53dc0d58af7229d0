//! How long a peer may leave an answer untaken.

use std::time::{Duration, Instant};

/// A system whose large receive buffer is full asks for more only when a good part of it is free again: megabytes, and
/// minutes, apart when it is read at the pace of a song. So a peer that takes this much earns a second. What a buffer of
/// the usual 128 KiB swallows for a peer that reads nothing earns no more than the limit is by default.
const EARNS_SECOND: u64 = 12 * 1024;
/// The most that can be earned.
const EARNED_MOST: Duration = Duration::from_secs(300);
/// A limit is looked at so many times while it runs, and so kept to a fifth.
const LOOKS: u32 = 5;

/// Pure: whoever waits asks it again after the time that it says.
#[derive(Debug)]
pub struct Patience {
    limit: Duration,
    /// Least progress within it, bytes.
    progress: u64,
    /// What the peer had taken when it last made progress, bytes, and when that was.
    taken: u64,
    moved: Instant,
    /// Until when it may rest on what it has taken.
    earned: Instant,
}

impl Patience {
    /// A peer that takes less than `bytes_per_second` for `limit` is given up, unless it has earned more time.
    pub fn new(limit: Duration, bytes_per_second: u64) -> Patience {
        let now = Instant::now();
        Patience {
            limit,
            progress: bytes_per_second.saturating_mul(limit.as_secs()).max(1),
            taken: 0,
            moved: now,
            earned: now,
        }
    }

    /// What a peer takes from one look to the next that keeps to the least rate, bytes.
    pub fn between_looks(limit: Duration, bytes_per_second: u64) -> u64 {
        (bytes_per_second.saturating_mul(limit.as_secs()) / u64::from(LOOKS)).max(1)
    }

    /// From `now` on the peer is waited for, after it has taken so many bytes in all. Returns when to look, as
    /// [`Patience::look`] does.
    pub fn begin(&mut self, now: Instant, taken: u64) -> Duration {
        self.credit(now, taken);
        self.moved = now;
        self.limit / LOOKS
    }

    /// After which time to look again; `None` when the peer has had its time.
    pub fn look(&mut self, now: Instant, taken: u64) -> Option<Duration> {
        self.credit(now, taken);
        let due = self.earned.max(self.moved + self.limit);
        let left = due.saturating_duration_since(now);
        (!left.is_zero()).then(|| left.min(self.limit / LOOKS))
    }

    fn credit(&mut self, now: Instant, taken: u64) {
        let step = taken.saturating_sub(self.taken);
        if step < self.progress {
            return;
        }
        (self.taken, self.moved) = (taken, now);
        let earned = Duration::from_millis(step.saturating_mul(1000) / EARNS_SECOND);
        let earned = earned.min(EARNED_MOST);
        self.earned = (self.earned.max(now) + earned).min(now + EARNED_MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    fn patience() -> (Patience, Instant) {
        let patience = Patience::new(Duration::from_secs(10), 240);
        let begun = patience.moved;
        (patience, begun)
    }

    /// How many seconds a peer is waited for that takes so many bytes at once, every so many seconds.
    fn waited_for(bytes: u64, every: u64) -> Option<u64> {
        let (mut patience, begun) = patience();
        patience.begin(begun, 0);
        (1..3600).find(|second| {
            let now = begun + Duration::from_secs(*second);
            patience.look(now, second / every * bytes).is_none()
        })
    }

    #[test]
    fn a_peer_that_takes_nothing_or_a_trickle_has_its_limit() {
        assert_eq!(waited_for(0, 1), Some(10));
        assert_eq!(waited_for(32, 5), Some(10));
        assert_eq!(waited_for(200, 1), Some(10));
        // What a small buffer swallows at once buys nothing.
        let (mut patience, begun) = patience();
        patience.begin(begun, 64 * KIB);
        let just_before = begun + Duration::from_millis(9_999);
        assert!(patience.look(just_before, 64 * KIB).is_some());
        let then = begun + Duration::from_secs(10);
        assert_eq!(patience.look(then, 64 * KIB), None);
    }

    #[test]
    fn a_slow_peer_that_takes_in_large_steps_is_waited_for() {
        assert_eq!(waited_for(300, 1), None);
        assert_eq!(waited_for(384 * KIB, 30), Some(10), "it earned nothing yet");
        for (buffer, every) in [(384 * KIB, 32), (2048 * KIB, 170), (4096 * KIB, 290)] {
            let (mut patience, begun) = patience();
            patience.begin(begun, 16 * buffer);
            let mut now = begun;
            for second in 1..3600 {
                now = begun + Duration::from_secs(second);
                let taken = (16 + second / every) * buffer;
                assert!(patience.look(now, taken).is_some(), "after {second} s");
            }
            let end = (1..).find(|second| {
                let then = now + Duration::from_secs(*second);
                patience.look(then, (16 + 3599 / every) * buffer).is_none()
            });
            assert!(end.is_some_and(|end| end <= 300), "{end:?}");
        }
    }

    #[test]
    fn a_look_is_never_later_than_a_fifth_of_the_limit() {
        let (mut patience, begun) = patience();
        assert_eq!(patience.begin(begun, 0), Duration::from_secs(2));
        let now = begun + Duration::from_secs(9);
        assert_eq!(patience.look(now, 0), Some(Duration::from_secs(1)));
        assert_eq!(patience.look(now, 4096 * KIB), Some(Duration::from_secs(2)));
    }
}
