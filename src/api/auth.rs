//! Builder keys: who may deploy, decided on the head of the request alone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, header};
use subtle::{Choice, ConstantTimeEq as _};

use super::error::ApiError;
use crate::clock;
use crate::config::{self, BuilderKey};

pub const BUILDER_KEY: HeaderName = HeaderName::from_static("x-builder-key");

const WINDOW: Duration = Duration::from_secs(60);
/// Addresses whose failures are counted one by one; all further ones share a counter.
const ADDRESSES_MOST: usize = 4096;

/// Finds the key of the request among `keys`; several are compared so that a key can be changed without a gap.
pub fn authenticate<'a>(
    headers: &HeaderMap,
    keys: impl IntoIterator<Item = &'a BuilderKey>,
    failures: Budget<'_>,
) -> Result<&'a BuilderKey, ApiError> {
    let mut keys = keys.into_iter().peekable();
    if keys.peek().is_none() {
        return Err(ApiError::DeploysOff);
    }
    let key = presented(headers).ok_or(ApiError::MissingKey)?;
    // A valid key is looked at before the counter: failures of others never block it.
    match find(key, keys) {
        Some(key) if key.has_expired(clock::now()) => Err(ApiError::ExpiredKey),
        Some(key) => Ok(key),
        None => Err(failures.fail(Instant::now())),
    }
}

/// `X-Builder-Key`, else `Authorization: Bearer` (RFC 6750 §2.1).
fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    let key = match headers.get(BUILDER_KEY) {
        Some(key) => key.as_bytes(),
        None => {
            let (scheme, key) = headers
                .get(header::AUTHORIZATION)?
                .as_bytes()
                .split_at_checked(7)?;
            if !scheme.eq_ignore_ascii_case(b"bearer ") {
                return None;
            }
            key.trim_ascii()
        }
    };
    (!key.is_empty()).then_some(key)
}

/// Compares with every hash, all bytes of it, whatever the outcome: time tells nothing about any of them.
fn find<'a>(key: &[u8], keys: impl Iterator<Item = &'a BuilderKey>) -> Option<&'a BuilderKey> {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key);
    let mut found = None;
    let mut any = Choice::from(0);
    for known in keys {
        let same = digest.as_ref().ct_eq(&known.hash.0);
        any |= same;
        if bool::from(same) {
            found = Some(known);
        }
    }
    found.filter(|_| bool::from(any))
}

/// Counts wrong keys by subscriber; those over [`ADDRESSES_MOST`] together, under `None`. It outlives a reload: else
/// every reload would give a guesser new attempts.
#[derive(Default)]
pub struct Guard {
    failures: Mutex<HashMap<Option<IpAddr>, Failures>>,
}

/// How often one address may be wrong.
#[derive(Clone, Copy)]
pub struct Budget<'a> {
    pub guard: &'a Guard,
    pub address: IpAddr,
    /// Failures a minute that are answered 401; further ones get 429.
    pub most: u32,
}

#[derive(Clone, Copy)]
struct Failures {
    since: Instant,
    count: u32,
}

impl Budget<'_> {
    fn fail(self, now: Instant) -> ApiError {
        let failures = self.guard.failures.lock();
        let mut failures = failures.unwrap_or_else(PoisonError::into_inner);
        let mut network = Some(config::subscriber(self.address));
        if failures.len() >= ADDRESSES_MOST && !failures.contains_key(&network) {
            failures.retain(|_, failures| now.duration_since(failures.since) < WINDOW);
            if failures.len() >= ADDRESSES_MOST {
                network = None;
            }
        }
        let entry = failures.entry(network).or_insert(Failures {
            since: now,
            count: 0,
        });
        if now.duration_since(entry.since) >= WINDOW {
            *entry = Failures {
                since: now,
                count: 0,
            };
        }
        entry.count = entry.count.saturating_add(1);
        if entry.count <= self.most {
            return ApiError::InvalidKey;
        }
        let left = WINDOW.saturating_sub(now.duration_since(entry.since));
        ApiError::TooManyKeys {
            retry_seconds: left.as_secs() + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BuilderKeyHash;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn a_key_is_taken_from_either_header_and_any_hash_fits() {
        let keys = ["old", "new"].map(|key| BuilderKey::unrestricted(BuilderKeyHash::of(key)));
        let guard = Guard::default();
        let failures = Budget {
            guard: &guard,
            address: IpAddr::from([192, 0, 2, 1]),
            most: 1,
        };
        for headers in [
            headers("x-builder-key", "new"),
            headers("authorization", "bearer new"),
        ] {
            assert_eq!(authenticate(&headers, &keys, failures).unwrap(), &keys[1]);
        }
        for (headers, error) in [
            (HeaderMap::new(), "Missing builder key"),
            (headers("authorization", "Basic new"), "Missing builder key"),
            (headers("x-builder-key", ""), "Missing builder key"),
            (headers("x-builder-key", "ne"), "Invalid builder key"),
            (
                headers("x-builder-key", "ne"),
                "Too many invalid builder keys",
            ),
        ] {
            assert_eq!(
                authenticate(&headers, &keys, failures)
                    .unwrap_err()
                    .to_string(),
                error
            );
        }
        assert!(authenticate(&headers("x-builder-key", "old"), &keys, failures).is_ok());
    }

    #[test]
    fn failures_are_forgotten_after_a_minute_and_counted_by_network() {
        let guard = Guard::default();
        let start = Instant::now();
        let at = |address: &str, seconds| {
            let failures = Budget {
                guard: &guard,
                address: address.parse().unwrap(),
                most: 2,
            };
            let error = failures.fail(start + Duration::from_secs(seconds));
            matches!(error, ApiError::TooManyKeys { .. })
        };
        assert!(!at("2001:db8::1", 0) && !at("2001:db8::2", 1) && at("2001:db8::3", 2));
        assert!(!at("2001:db8:0:1::1", 2) && !at("192.0.2.1", 2));
        assert!(!at("2001:db8::1", 61));
    }

    #[test]
    fn the_map_of_failures_is_bounded() {
        let guard = Guard::default();
        for number in 0..20_000u32 {
            let failures = Budget {
                guard: &guard,
                address: IpAddr::from(number.to_be_bytes()),
                most: 2,
            };
            failures.fail(Instant::now());
        }
        assert!(guard.failures.lock().unwrap().len() <= ADDRESSES_MOST + 1);
    }
}
