//! Builder keys: who may deploy, decided on the head of the request alone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, header};
use subtle::{Choice, ConstantTimeEq as _};

use super::error::ApiError;
use crate::config::BuilderKeyHash;

pub const BUILDER_KEY: HeaderName = HeaderName::from_static("x-builder-key");

const WINDOW: Duration = Duration::from_secs(60);
/// Addresses whose failures are counted one by one; all further ones share a counter.
const ADDRESSES_MOST: usize = 4096;

/// Finds the key of the request among `keys`; several are compared so that a key can be changed without a gap.
pub fn authenticate<'a>(
    headers: &HeaderMap,
    keys: &'a [BuilderKeyHash],
    guard: &Guard,
    address: IpAddr,
) -> Result<&'a BuilderKeyHash, ApiError> {
    if keys.is_empty() {
        return Err(ApiError::DeploysOff);
    }
    let key = presented(headers).ok_or(ApiError::MissingKey)?;
    // A valid key is looked at before the counter: failures of others never block it.
    match find(key, keys) {
        Some(key) => Ok(key),
        None => Err(guard.failed(address, Instant::now())),
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
fn find<'a>(key: &[u8], keys: &'a [BuilderKeyHash]) -> Option<&'a BuilderKeyHash> {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key);
    let mut found = None;
    let mut any = Choice::from(0);
    for known in keys {
        let same = digest.as_ref().ct_eq(&known.0);
        any |= same;
        if bool::from(same) {
            found = Some(known);
        }
    }
    found.filter(|_| bool::from(any))
}

/// Counts wrong keys by address.
pub struct Guard {
    most: u32,
    failures: Mutex<HashMap<Network, Failures>>,
}

/// What is counted together: an IPv4 address, an IPv6 /64 (one customer has all of it), or the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Network {
    V4([u8; 4]),
    V6([u8; 8]),
    Rest,
}

#[derive(Clone, Copy)]
struct Failures {
    since: Instant,
    count: u32,
}

impl Guard {
    /// `most` failures a minute are answered 401, further ones 429.
    pub fn new(most: u32) -> Guard {
        Guard {
            most,
            failures: Mutex::default(),
        }
    }

    fn failed(&self, address: IpAddr, now: Instant) -> ApiError {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let mut network = Network::of(address);
        if failures.len() >= ADDRESSES_MOST && !failures.contains_key(&network) {
            failures.retain(|_, failures| now.duration_since(failures.since) < WINDOW);
            if failures.len() >= ADDRESSES_MOST {
                network = Network::Rest;
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

impl Network {
    fn of(address: IpAddr) -> Network {
        match address.to_canonical() {
            IpAddr::V4(address) => Network::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Network::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn a_key_is_taken_from_either_header_and_any_hash_fits() {
        let keys = [BuilderKeyHash::of("old"), BuilderKeyHash::of("new")];
        let guard = Guard::new(1);
        let address = IpAddr::from([192, 0, 2, 1]);
        for headers in [
            headers("x-builder-key", "new"),
            headers("authorization", "bearer new"),
        ] {
            assert_eq!(
                authenticate(&headers, &keys, &guard, address).unwrap(),
                &keys[1]
            );
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
                authenticate(&headers, &keys, &guard, address)
                    .unwrap_err()
                    .to_string(),
                error
            );
        }
        assert!(authenticate(&headers("x-builder-key", "old"), &keys, &guard, address).is_ok());
    }

    #[test]
    fn failures_are_forgotten_after_a_minute_and_counted_by_network() {
        let guard = Guard::new(2);
        let start = Instant::now();
        let at = |address: &str, seconds| {
            let error = guard.failed(
                address.parse().unwrap(),
                start + Duration::from_secs(seconds),
            );
            matches!(error, ApiError::TooManyKeys { .. })
        };
        assert!(!at("2001:db8::1", 0) && !at("2001:db8::2", 1) && at("2001:db8::3", 2));
        assert!(!at("2001:db8:0:1::1", 2) && !at("192.0.2.1", 2));
        assert!(!at("2001:db8::1", 61));
    }

    #[test]
    fn the_map_of_failures_is_bounded() {
        let guard = Guard::new(2);
        let start = Instant::now();
        for number in 0..20_000u32 {
            guard.failed(IpAddr::from(number.to_be_bytes()), start);
        }
        assert!(guard.failures.lock().unwrap().len() <= ADDRESSES_MOST + 1);
    }
}
