//! How often one client may come to a route.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::config::{self, subscriber};
use crate::edge::client::Client;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Clients that one limit remembers: 16 bytes each, allocated once, so that a flood of addresses costs no memory.
const SETS: usize = 16 * 1024;
/// Places that a client may be remembered at; the one that is nearest to forgotten gives way.
const WAYS: usize = 4;

/// Buckets by the generic cell rate algorithm: a client is one number, the time at which its bucket is full again.
pub struct Limiter {
    requests: u64,
    /// Between two tokens, microseconds.
    interval: u64,
    key: Option<HeaderName>,
    limit: HeaderValue,
    hasher: RandomState,
    begun: Instant,
    buckets: Mutex<Vec<[Bucket; WAYS]>>,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    client: u64,
    /// Microseconds since `begun`.
    full_at: u64,
}

/// How a client stands.
pub struct Standing {
    limit: HeaderValue,
    remaining: u64,
    /// Seconds until the bucket is full.
    reset: u64,
    /// Seconds until the next request may come, when this one may not.
    retry: Option<u64>,
}

impl Limiter {
    pub fn new(limit: &config::RateLimit) -> Limiter {
        let requests = u64::from(limit.requests);
        Limiter {
            requests,
            interval: (u64::from(limit.seconds) * 1_000_000 / requests).max(1),
            key: limit
                .key
                .as_ref()
                .and_then(|key| HeaderName::try_from(key).ok()), // checked with the table
            limit: HeaderValue::from(requests),
            hasher: RandomState::new(),
            begun: Instant::now(),
            buckets: Mutex::new(vec![[Bucket::default(); WAYS]; SETS]),
        }
    }

    pub fn is_like(&self, other: &Limiter) -> bool {
        let parts = |limiter: &Limiter| (limiter.requests, limiter.interval, limiter.key.clone());
        parts(self) == parts(other)
    }

    /// Takes a token from the client's bucket.
    pub fn take(&self, client: &Client, headers: &HeaderMap) -> Standing {
        let key = self.key.as_ref().and_then(|key| headers.get(key));
        match key {
            Some(key) => self.take_at(self.hasher.hash_one(key), self.now()),
            None => self.take_for(client.address.ip()),
        }
    }

    /// Takes a token from the bucket of an address.
    pub fn take_for(&self, address: IpAddr) -> Standing {
        let client = self.hasher.hash_one(subscriber(address));
        self.take_at(client, self.now())
    }

    /// Undoes a [`Limiter::take_for`].
    pub fn give_back(&self, address: IpAddr) {
        let client = self.hasher.hash_one(subscriber(address));
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let set = set(&mut buckets, client);
        if let Some(bucket) = set.iter_mut().find(|bucket| bucket.client == client) {
            bucket.full_at = bucket.full_at.saturating_sub(self.interval);
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn take_at(&self, client: u64, now: u64) -> Standing {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let set = set(&mut buckets, client);
        let at = set.iter().position(|bucket| bucket.client == client);
        let at = at.or_else(|| (0..WAYS).min_by_key(|at| set[*at].full_at));
        let bucket = &mut set[at.unwrap_or(0)];
        if bucket.client != client {
            *bucket = Bucket { client, full_at: 0 };
        }
        let room = self.requests * self.interval;
        let after = bucket.full_at.max(now) + self.interval;
        let allowed = after - now <= room;
        if allowed {
            bucket.full_at = after;
        }
        let owed = bucket.full_at.saturating_sub(now);
        Standing {
            limit: self.limit.clone(),
            remaining: (room - owed.min(room)) / self.interval,
            reset: owed.div_ceil(1_000_000),
            retry: (!allowed).then(|| (after - now - room).div_ceil(1_000_000).max(1)),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the lowest bits are as good as any"
)]
fn set(buckets: &mut [[Bucket; WAYS]], client: u64) -> &mut [Bucket; WAYS] {
    &mut buckets[client as usize % SETS]
}

impl Standing {
    pub fn is_refused(&self) -> bool {
        self.retry.is_some()
    }

    /// Seconds until the next request may come.
    pub fn seconds_to_wait(&self) -> u64 {
        self.retry.unwrap_or(0)
    }

    pub fn is_stricter(&self, other: &Standing) -> bool {
        self.remaining < other.remaining
    }

    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert(LIMIT, self.limit.clone());
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        headers.insert(RESET, HeaderValue::from(self.reset));
        if let Some(seconds) = self.retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn limiter(requests: u32, seconds: u32) -> Limiter {
        Limiter::new(&config::RateLimit {
            requests,
            seconds,
            key: None,
        })
    }

    #[test]
    fn a_bucket_empties_and_fills_again() {
        let limiter = limiter(3, 30);
        let now = SECOND;
        for left in [2, 1, 0] {
            let standing = limiter.take_at(7, now);
            assert_eq!((standing.is_refused(), standing.remaining), (false, left));
        }
        let refused = limiter.take_at(7, now);
        assert_eq!(
            (refused.retry, refused.reset, refused.remaining),
            (Some(10), 30, 0)
        );
        assert!(!limiter.take_at(8, now).is_refused(), "another client");
        assert!(limiter.take_at(7, now + 9 * SECOND).is_refused());
        assert!(!limiter.take_at(7, now + 10 * SECOND).is_refused());
        assert!(limiter.take_at(7, now + 10 * SECOND).is_refused());
        assert_eq!(
            limiter.take_at(7, now + 100 * SECOND).remaining,
            2,
            "never more than full"
        );
    }

    #[test]
    fn a_flood_of_clients_takes_no_memory() {
        let limiter = limiter(1, 1000);
        for client in 0..200_000_u64 {
            limiter.take_at(client.wrapping_mul(0x9e37_79b9_7f4a_7c15), client);
        }
        assert_eq!(limiter.buckets.lock().expect("a lock").len(), SETS);
    }
}
