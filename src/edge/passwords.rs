//! Passwords that requests show, compared with their hashes: away from the connections, a few at the same time, not
//! again what fitted before, and not endlessly for one address.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Instant;

use aws_lc_rs::hmac;
use tokio::sync::{Mutex, Semaphore};
use zeroize::Zeroizing;

use super::policy::{Limiter, Standing};
use crate::config::{PasswordHash, RateLimit};
use crate::tasks;

/// Pairs of a hash and a password that are remembered; the one that was not asked for longest gives way.
const REMEMBERED: usize = 1024;
/// Requests that wait for a comparison; a further one is told to come again.
const WAITING: usize = 256;
/// Requests with one password wait for each other, and now and then two others do.
const LANES: usize = 64;

/// A cheap handle. It outlives reloads: else each of them would give a guesser new attempts.
#[derive(Clone)]
pub struct Passwords {
    shared: Arc<Shared>,
}

struct Shared {
    /// Of this process only, so that what is remembered says nothing about a password.
    key: hmac::Key,
    remembered: StdMutex<HashMap<[u8; 32], Instant>>,
    failures: Limiter,
    lanes: [Mutex<()>; LANES],
    /// Comparisons at the same time.
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

pub enum Verdict {
    Right,
    Wrong,
    /// The address was wrong too often; the password was not looked at.
    TooOften(Standing),
    /// Too many others are waiting.
    Busy,
}

impl Passwords {
    /// `failed_per_minute` wrong passwords of one address are looked at.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn new(failed_per_minute: u32) -> Result<Passwords, aws_lc_rs::error::Unspecified> {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let failures = RateLimit {
            requests: failed_per_minute,
            seconds: 60,
            key: None,
        };
        Ok(Passwords {
            shared: Arc::new(Shared {
                key: hmac::Key::generate(hmac::HMAC_SHA256, &random)?,
                remembered: StdMutex::default(),
                failures: Limiter::new(&failures),
                lanes: std::array::from_fn(|_| Mutex::new(())),
                // Half of the cores go on serving whatever comes.
                places: Arc::new(Semaphore::new((cores / 2).max(1))),
                waiting: AtomicUsize::new(0),
            }),
        })
    }

    /// A wrong password takes as long as with a hash of cost `dearest`.
    pub async fn check(
        &self,
        hash: &PasswordHash,
        dearest: u32,
        password: Zeroizing<Vec<u8>>,
        address: SocketAddr,
    ) -> Verdict {
        let digest = self.digest(hash, &password);
        if self.remembers(&digest) {
            return Verdict::Right;
        }
        let Some(_waiting) = Waiting::begin(&self.shared.waiting) else {
            return Verdict::Busy;
        };
        // A page asks for many things at once: the first of them finds out for all.
        let _lane = self.shared.lanes[usize::from(digest[0]) % LANES]
            .lock()
            .await;
        if self.remembers(&digest) {
            return Verdict::Right;
        }
        let Ok(place) = self.shared.places.clone().acquire_owned().await else {
            return Verdict::Busy; // it is never closed
        };
        // Taken before, given back after a right one: else many could come at the same time.
        let standing = self.shared.failures.take_for(address.ip());
        if standing.is_refused() {
            return Verdict::TooOften(standing);
        }
        let (this, hash) = (self.clone(), hash.clone());
        let compared = tasks::blocking("password", move || {
            let fits = bcrypt::verify(password.as_slice(), hash.expose()).unwrap_or(false); // it was parsed before
            if fits {
                this.shared.failures.give_back(address.ip());
                this.remember(digest);
            } else {
                // Each cost doubles the time of the one before: together they make up for what is missing.
                for cost in hash.cost()..dearest {
                    drop(bcrypt::hash_with_salt(password.as_slice(), cost, [0; 16]));
                }
            }
            drop(place);
            fits
        });
        match compared.await {
            Ok(true) => Verdict::Right,
            Ok(false) | Err(_) => Verdict::Wrong, // a panic was logged
        }
    }

    /// Of the hash too: when it is changed, what fitted the old one is worth nothing.
    fn digest(&self, hash: &PasswordHash, password: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.shared.key);
        context.update(hash.expose().as_bytes()); // always 60 bytes
        context.update(password);
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    /// Time tells nothing here: nobody but this process can know a digest.
    fn remembers(&self, digest: &[u8; 32]) -> bool {
        let remembered = self.shared.remembered.lock();
        let mut remembered = remembered.unwrap_or_else(PoisonError::into_inner);
        match remembered.get_mut(digest) {
            Some(asked) => {
                *asked = Instant::now();
                true
            }
            None => false,
        }
    }

    fn remember(&self, digest: [u8; 32]) {
        let remembered = self.shared.remembered.lock();
        let mut remembered = remembered.unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            let longest = remembered.iter().min_by_key(|(_, asked)| **asked);
            if let Some(longest) = longest.map(|(digest, _)| *digest) {
                remembered.remove(&longest);
            }
        }
        remembered.insert(digest, Instant::now());
    }
}

/// One of those that wait, or are looked at.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Option<Waiting<'a>> {
        let place = Waiting(waiting);
        (waiting.fetch_add(1, Ordering::Relaxed) < WAITING).then_some(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
