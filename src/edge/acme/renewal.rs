//! When a certificate is renewed. Pure: every node and every start of the daemon finds the same time.

use aws_lc_rs::digest::{SHA256, digest};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

/// Certificates of a shorter life are renewed at its half; the others when a third of it is left.
const SHORT_LIFE: SignedDuration = SignedDuration::from_hours(10 * 24);

/// When the CA would like the certificate to be renewed (RFC 9773 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Window {
    pub start: Timestamp,
    pub end: Timestamp,
}

/// When to renew a certificate of `name`: at a point of the CA's `window` that is the name's own, else by remaining life.
/// The jitter spreads names that got their certificates together. Whatever the window is, a tenth of the life is left for
/// failures, and a new certificate is not renewed at once.
pub fn due(
    name: &str,
    not_before: Timestamp,
    not_after: Timestamp,
    window: Option<Window>,
) -> Timestamp {
    let life = not_after
        .duration_since(not_before)
        .max(SignedDuration::ZERO);
    let place = place(name, not_after);
    let Some(window) = window else {
        let left = life / if life < SHORT_LIFE { 2 } else { 3 };
        return before(not_after, left + share(life / 20, place));
    };
    let width = window
        .end
        .duration_since(window.start)
        .max(SignedDuration::ZERO);
    let chosen = before(window.end, width - share(width, place));
    let earliest = before(not_after, life - life / 100);
    chosen.max(earliest).min(before(not_after, life / 10))
}

/// From 0 to 999, the same for the same certificate.
fn place(name: &str, not_after: Timestamp) -> i32 {
    let seed = format!("{name} {}", not_after.as_second());
    let hash = digest(&SHA256, seed.as_bytes());
    let [high, low] = [0, 1].map(|at| hash.as_ref().get(at).copied().unwrap_or_default());
    i32::from(u16::from_be_bytes([high, low])) % 1000
}

fn share(whole: SignedDuration, place: i32) -> SignedDuration {
    whole / 1000 * place
}

fn before(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_sub(by).unwrap_or(Timestamp::MIN) // as early as can be told
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a timestamp")
    }

    proptest! {
        #[test]
        fn a_renewal_falls_into_the_life_of_the_certificate(name in "[a-z]{1,9}", begin in 0i64..4_000_000_000, life in 1i64..40_000_000) {
            let (begin, end) = (at(begin), at(begin + life));
            let due = due(&name, begin, end, None);
            prop_assert!(begin <= due && due < end);
            let left = end.duration_since(due).as_secs_f64() / end.duration_since(begin).as_secs_f64();
            let least = if life < 864_000 { 0.5 } else { 1.0 / 3.0 };
            prop_assert!((least - 1e-6..=least + 0.05).contains(&left), "{left} of the life is left");
        }

        #[test]
        fn the_ca_s_window_is_kept_to_but_for_the_ends_of_the_life(name in "[a-z]{1,9}", start in -1_000_000i64..20_000_000, width in 0i64..1_000_000) {
            let (begin, end) = (at(100_000_000), at(110_000_000));
            let window = Window { start: at(100_000_000 + start), end: at(100_000_000 + start + width) };
            let due = due(&name, begin, end, Some(window));
            let (earliest, latest) = (at(100_100_000), at(109_000_000));
            prop_assert!(earliest <= due && due <= latest);
            prop_assert!(due == earliest || due == latest || (window.start <= due && due <= window.end), "{due}");
        }
    }

    #[test]
    fn names_that_expire_together_are_renewed_apart_and_always_at_the_same_time() {
        let due = |name: &str| due(name, at(0), at(7_776_000), None);
        let names: Vec<String> = (0..50)
            .map(|number| format!("host{number}.example"))
            .collect();
        let mut times: Vec<Timestamp> = names.iter().map(|name| due(name)).collect();
        assert_eq!(
            times,
            names.iter().map(|name| due(name)).collect::<Vec<_>>()
        );
        times.sort();
        times.dedup();
        assert!(times.len() > 40, "{}", times.len());
    }

    #[test]
    fn turned_round_dates_renew_at_once() {
        assert!(due("a", at(100), at(50), None) <= at(50));
        let window = Window {
            start: at(90),
            end: at(80),
        };
        assert_eq!(due("a", at(0), at(1000), Some(window)), at(80));
    }
}
