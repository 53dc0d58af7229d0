//! How often a name may be validated: CAs count failed validations, and bar a name that has too many of them
//! (Let's Encrypt: 5 per hour).

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Failed validations in an hour.
const MOST: usize = 3;
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// After the second failure in a row both kinds have been tried: somebody has to repair something first.
const AFTER_SECOND: SignedDuration = SignedDuration::from_mins(1);

/// How the CA convinces itself that the name is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A handshake on port 443 (RFC 8737).
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn,
    /// A request on port 80 (RFC 8555 §8.3).
    #[serde(rename = "http-01")]
    Http,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::TlsAlpn => "tls-alpn-01",
            Kind::Http => "http-01",
        })
    }
}

/// The failed validations of one name. Kept on disk: a daemon that is restarted again and again must not exceed the
/// limit either.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attempts {
    failed: Vec<Attempt>,
    /// The kind that succeeded last.
    works: Option<Kind>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Attempt {
    at: Timestamp,
    kind: Kind,
    authorization: String,
}

impl Attempts {
    /// Counts a validation as failed before it is asked for; [`Attempts::succeeded`] takes that back. So it is counted
    /// whatever happens to us meanwhile. One that was begun before is not counted again.
    pub fn begin(&mut self, authorization: &str, kind: Kind, now: Timestamp) {
        self.forget_old(now);
        if self
            .failed
            .iter()
            .all(|failed| failed.authorization != authorization)
        {
            // A clock that was set back leaves times in the future; the limit holds the list short all the same.
            let surplus = (self.failed.len() + 1).saturating_sub(MOST);
            self.failed.drain(..surplus);
            self.failed.push(Attempt {
                at: now,
                kind,
                authorization: authorization.to_owned(),
            });
        }
    }

    pub fn succeeded(&mut self, authorization: &str) {
        let found = self
            .failed
            .iter()
            .position(|failed| failed.authorization == authorization);
        if let Some(at) = found {
            self.works = Some(self.failed.remove(at).kind);
        }
    }

    /// The kind to try for an authorization: the one that was begun, or another one than failed last, or the one that
    /// works. TLS-ALPN-01 first: port 443 is open wherever HTTPS is served.
    pub fn kind(&self, authorization: &str, offered: &[Kind]) -> Option<Kind> {
        let begun = self
            .failed
            .iter()
            .find(|failed| failed.authorization == authorization);
        let preferred = begun.map(|begun| begun.kind).or_else(|| {
            let last = self.failed.last()?;
            offered.iter().copied().find(|kind| *kind != last.kind)
        });
        let preferred = preferred.or(self.works).unwrap_or(Kind::TlsAlpn);
        let preferred = offered.iter().find(|kind| **kind == preferred);
        preferred.or(offered.first()).copied()
    }

    /// When the next validation may be asked for; `now` or earlier means at once.
    pub fn next(&self, now: Timestamp) -> Timestamp {
        let recent = self
            .failed
            .iter()
            .map(|failed| failed.at)
            .filter(|at| *at + HOUR > now);
        let recent: Vec<Timestamp> = recent.collect();
        let next = match recent.as_slice() {
            [] | [_] => now,
            [.., third_last, _, _] => *third_last + HOUR,
            [.., last] => *last + AFTER_SECOND,
        };
        // Times from before the clock was set back must not bar a name for longer.
        next.min(now + HOUR)
    }

    fn forget_old(&mut self, now: Timestamp) {
        self.failed.retain(|failed| failed.at + HOUR > now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOTH: &[Kind] = &[Kind::TlsAlpn, Kind::Http];

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a timestamp")
    }

    proptest! {
        #[test]
        fn no_hour_has_more_than_three_failures(pauses in prop::collection::vec(0i64..3000, 1..40)) {
            let mut attempts = Attempts::default();
            let mut now = 0;
            let mut failures = Vec::new();
            for (number, pause) in pauses.into_iter().enumerate() {
                now += pause;
                now = now.max(attempts.next(at(now)).as_second() - at(0).as_second());
                attempts.begin(&number.to_string(), Kind::TlsAlpn, at(now));
                failures.push(now);
            }
            for four in failures.windows(4) {
                prop_assert!(four[3] - four[0] >= 3600, "{four:?}");
            }
        }

        #[test]
        fn no_clock_bars_a_name_for_more_than_an_hour(times in prop::collection::vec(-10_000_000i64..10_000_000, 1..10)) {
            let mut attempts = Attempts::default();
            for (number, time) in times.iter().enumerate() {
                attempts.begin(&number.to_string(), Kind::Http, at(*time));
                prop_assert!(attempts.failed.len() <= MOST);
            }
            prop_assert!(attempts.next(at(0)) <= at(3600));
        }
    }

    #[test]
    fn a_failure_of_a_clock_that_was_ahead_bars_no_longer_than_the_others() {
        let mut attempts = Attempts::default();
        for (number, time) in [1_586_969, 0, 0, 0].into_iter().enumerate() {
            attempts.begin(&number.to_string(), Kind::Http, at(time));
        }
        assert!(attempts.next(at(0)) <= at(3600));
    }

    #[test]
    fn the_other_kind_is_tried_after_a_failure_and_what_works_is_kept_to() {
        let mut attempts = Attempts::default();
        assert_eq!(attempts.kind("a", BOTH), Some(Kind::TlsAlpn));
        attempts.begin("a", Kind::TlsAlpn, at(0));
        assert_eq!(
            attempts.kind("a", BOTH),
            Some(Kind::TlsAlpn),
            "it was begun"
        );
        assert_eq!(attempts.kind("b", BOTH), Some(Kind::Http));
        assert_eq!(
            attempts.kind("b", &[Kind::TlsAlpn]),
            Some(Kind::TlsAlpn),
            "nothing else is offered"
        );
        assert_eq!(attempts.kind("b", &[]), None);
        attempts.begin("b", Kind::Http, at(1));
        attempts.succeeded("b");
        attempts.begin("c", Kind::Http, at(7200));
        attempts.succeeded("c");
        assert_eq!(attempts.kind("d", BOTH), Some(Kind::Http));
    }

    #[test]
    fn a_validation_that_is_asked_for_again_counts_once() {
        let mut attempts = Attempts::default();
        for _ in 0..5 {
            attempts.begin("a", Kind::TlsAlpn, at(0));
        }
        assert_eq!(attempts.next(at(1)), at(1));
        attempts.begin("b", Kind::Http, at(1));
        assert_eq!(attempts.next(at(2)), at(61));
        attempts.begin("c", Kind::TlsAlpn, at(61));
        assert_eq!(attempts.next(at(62)), at(3600));
        attempts.succeeded("c");
        assert_eq!(attempts.next(at(62)), at(61), "a success does not count");
    }
}
