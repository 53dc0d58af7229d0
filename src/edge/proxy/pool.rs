//! Connections that wait for the next request, apart for each thread: what one thread opened it uses, and no request
//! crosses cores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::MutexGuard as AsyncGuard;
use tokio::time::Instant;

use super::h1::H1;
use super::h2::H2;

/// Threads with connections; more than these share.
const SHARDS: usize = 64;
/// Requests at the same time on one HTTP/2 connection; RFC 9113 §6.5.2 asks servers to allow as many.
const STREAMS: usize = 100;

pub struct Pool {
    shards: Box<[Shard]>,
    /// HTTP/1.1 connections in all shards.
    idle: AtomicUsize,
    max_idle: usize,
}

#[derive(Default)]
struct Shard {
    idle: Mutex<Vec<Idle>>,
    shared: Mutex<Vec<Shared>>,
    /// Held while an HTTP/2 connection is opened: those who come meanwhile will share it.
    opening: tokio::sync::Mutex<()>,
}

struct Idle {
    connection: H1,
    until: Instant,
}

struct Shared {
    connection: H2,
    used: Instant,
}

impl Pool {
    pub fn new(max_idle: usize) -> Pool {
        Pool {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            idle: AtomicUsize::new(0),
            max_idle,
        }
    }

    fn shard(&self) -> &Shard {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed);
        }
        &self.shards[NUMBER.with(|number| *number) % SHARDS]
    }

    /// The connection that was used last, so that those beyond need grow old.
    pub fn take_h1(&self) -> Option<H1> {
        let now = Instant::now();
        loop {
            let Idle {
                mut connection,
                until,
            } = lock(&self.shard().idle).pop()?;
            self.idle.fetch_sub(1, Ordering::Relaxed);
            if now < until && connection.is_alive() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose last answer is through.
    pub fn give_h1(&self, connection: H1, until: Instant) {
        if self.idle.fetch_add(1, Ordering::Relaxed) >= self.max_idle {
            self.idle.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        lock(&self.shard().idle).push(Idle { connection, until });
    }

    pub fn share_h2(&self) -> Option<H2> {
        let mut shared = lock(&self.shard().shared);
        shared.retain(|shared| !shared.connection.is_closed());
        // The pool's own share is one.
        let free = |shared: &&mut Shared| shared.connection.shares() <= STREAMS;
        let shared = shared.iter_mut().find(free)?;
        shared.used = Instant::now();
        Some(shared.connection.share())
    }

    pub fn keep_h2(&self, connection: &H2) {
        lock(&self.shard().shared).push(Shared {
            connection: connection.share(),
            used: Instant::now(),
        });
    }

    pub async fn opening(&self) -> AsyncGuard<'_, ()> {
        self.shard().opening.lock().await
    }

    /// Closes what has ended or was not used for too long.
    pub fn sweep(&self, now: Instant, keep: std::time::Duration) {
        for shard in &self.shards {
            let mut idle = lock(&shard.idle);
            let before = idle.len();
            idle.retain_mut(|idle| now < idle.until && idle.connection.is_alive());
            self.idle.fetch_sub(before - idle.len(), Ordering::Relaxed);
            drop(idle);
            lock(&shard.shared).retain(|shared| {
                let unused = shared.connection.shares() == 1 && now >= shared.used + keep;
                !unused && !shared.connection.is_closed()
            });
        }
    }

    pub fn idle(&self) -> usize {
        self.idle.load(Ordering::Relaxed)
    }
}

fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
