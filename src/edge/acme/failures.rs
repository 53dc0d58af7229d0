//! How long a name waits after a failure.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::error::AcmeError;

/// After a failure that is the CA's absence, doubled each time.
const AFTER_OUTAGE: Duration = Duration::from_secs(1);
/// The most of that: the return of the CA is seen within 15 seconds, with the time that one question may take.
const AFTER_OUTAGE_MOST: Duration = Duration::from_secs(6);
/// After a failure to keep what was obtained.
const AFTER_STORAGE: Duration = Duration::from_secs(10);
/// After a refusal, doubled each time.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);
/// The most of that.
const AFTER_REFUSAL_MOST: Duration = Duration::from_secs(3600);
/// When the CA limits us without saying for how long.
const RATE_LIMIT: Duration = Duration::from_secs(3600);

/// The failures of one name since it last went well.
#[derive(Default)]
pub struct Failures {
    /// Refusals in a row.
    refusals: u32,
    /// Tries in a row that the CA did not answer.
    outages: u32,
}

impl Failures {
    /// Counts this one; returns how long to wait before the next try.
    pub fn after(&mut self, error: &AcmeError, now: Timestamp) -> Duration {
        if let Some(asked) = error.retry_after() {
            return asked.max(AFTER_OUTAGE);
        }
        match error {
            AcmeError::Silent { again } => again.saturating_duration_since(Instant::now()),
            AcmeError::Paused { again } => until(*again, now),
            AcmeError::Validation { .. } | AcmeError::Deadline => Duration::ZERO,
            AcmeError::Store(_) => AFTER_STORAGE,
            error if error.is_outage() => {
                self.outages = self.outages.saturating_add(1);
                (AFTER_OUTAGE * 2_u32.saturating_pow(self.outages.min(10) - 1))
                    .min(AFTER_OUTAGE_MOST)
            }
            error if error.is_problem("rateLimited") => RATE_LIMIT,
            _ => {
                let pause = AFTER_REFUSAL * 2_u32.saturating_pow(self.refusals.min(10));
                self.refusals = self.refusals.saturating_add(1);
                pause.min(AFTER_REFUSAL_MOST)
            }
        }
    }
}

pub fn until(time: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(now)).unwrap_or_default() // past: now
}

#[cfg(test)]
mod tests {
    use super::super::error::Problem;
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const DAY: u64 = 24 * 3600;

    fn unavailable(retry_after: Option<u64>) -> AcmeError {
        AcmeError::Unavailable {
            action: "be there",
            status: 503,
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    fn refused(kind: &str, retry_after: Option<u64>) -> AcmeError {
        let problem = format!("{{\"type\":\"urn:ietf:params:acme:error:{kind}\"}}");
        AcmeError::Refused {
            action: "take an order",
            problem: Problem::read(problem.as_bytes()),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    fn hidden(source: AcmeError) -> AcmeError {
        let source = Box::new(source);
        AcmeError::Directory { source }
    }

    #[test]
    fn what_the_ca_asks_for_is_obeyed_within_reason() {
        for (error, seconds) in [
            (unavailable(Some(0)), 1),
            (unavailable(Some(7200)), 7200),
            (unavailable(Some(10 * DAY)), DAY),
            (unavailable(Some(u64::MAX)), DAY),
            (hidden(unavailable(Some(u64::MAX))), DAY),
            (refused("malformed", Some(10 * DAY)), DAY),
            (refused("rateLimited", Some(90)), 90),
            (refused("rateLimited", Some(3 * DAY)), 3 * DAY),
            (refused("rateLimited", Some(u64::MAX)), 7 * DAY),
            (hidden(refused("rateLimited", Some(3 * DAY))), 3 * DAY),
            (refused("rateLimited", None), 3600),
        ] {
            let pause = Failures::default().after(&error, NOW);
            assert_eq!(pause.as_secs(), seconds, "{error:?}");
        }
    }

    #[test]
    fn a_ca_that_is_away_is_looked_for_every_few_seconds_and_one_that_refuses_seldom() {
        let mut failures = Failures::default();
        let mut after = |error: &AcmeError| -> Vec<u64> {
            let pauses = (0..9).map(|_| failures.after(error, NOW).as_secs());
            pauses.collect()
        };
        assert_eq!(after(&unavailable(None)), [1, 2, 4, 6, 6, 6, 6, 6, 6]);
        let refusals = [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600];
        assert_eq!(after(&refused("malformed", None)), refusals);
    }

    #[test]
    fn a_pause_ends_when_it_was_said_to() {
        let pause = |again| Failures::default().after(&AcmeError::Paused { again }, NOW);
        let later = Timestamp::from_second(70).expect("a timestamp");
        assert_eq!(pause(later).as_secs(), 70);
        let earlier = Timestamp::from_second(-70).expect("a timestamp");
        assert_eq!(pause(earlier), Duration::ZERO);
    }
}
