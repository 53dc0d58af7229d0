//! Which of several upstreams gets a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::upstream::Upstream;
use crate::config::proxy::Balance;

pub struct Balancer {
    upstreams: Vec<Arc<Upstream>>,
    balance: Balance,
    next: AtomicUsize,
}

/// The upstreams that one request was sent to; one bit for each of at most 64.
#[derive(Clone, Copy, Default)]
pub struct Tried(u64);

impl Tried {
    pub fn add(&mut self, upstream: usize) {
        self.0 |= 1 << upstream;
    }

    pub fn has(self, upstream: usize) -> bool {
        self.0 & (1 << upstream) != 0
    }
}

impl Balancer {
    pub fn new(upstreams: Vec<Arc<Upstream>>, balance: Balance) -> Balancer {
        Balancer {
            upstreams,
            balance,
            next: AtomicUsize::new(0),
        }
    }

    /// `None` when the checks say of every one that it is down. One that was ejected for its failures, or tried before,
    /// is better than none.
    pub fn choose(&self, tried: Tried) -> Option<(usize, &Arc<Upstream>)> {
        if let [only] = &self.upstreams[..] {
            return (!only.health.is_down()).then_some((0, only));
        }
        let count = self.upstreams.len();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let up = (0..count).map(|step| first.wrapping_add(step) % count);
        let up = up.filter(|at| !self.upstreams[*at].health.is_down());
        let chosen = up.min_by_key(|at| {
            let upstream = &self.upstreams[*at];
            let load = match self.balance {
                Balance::RoundRobin => 0,
                Balance::LeastConnections => upstream.in_flight(),
            };
            // Of equal ones the first is taken.
            (tried.has(*at), upstream.health.is_ejected(), load)
        })?;
        Some((chosen, &self.upstreams[chosen]))
    }
}
