//! Plain counters of the signaling room. They are read, under the room's lock, when a scraper asks, so that
//! the hot path pays no atomics.

use std::time::Duration;

/// Upper bounds of the fan-out latency histogram, seconds.
pub const LATENCY_BOUNDS: [f64; 12] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
];

#[derive(Clone, Default)]
pub struct Stats {
    pub messages_in: u64,
    pub bytes_in: u64,
    pub messages_out: u64,
    pub bytes_out: u64,
    /// The most bytes that ever waited for one peer.
    pub outbox_most: usize,
    /// Batches by the time from the first publish in them to the last write, one count per bound
    /// and one for the rest.
    pub latency: [u64; LATENCY_BOUNDS.len() + 1],
    pub latency_sum: f64,
}

impl Stats {
    /// Counts one batch that was offered to `members` peers; what one of them does not take at once waits for it.
    pub fn delivered(&mut self, frames: u64, members: usize, bytes: usize, took: Duration) {
        self.messages_out += frames * members as u64;
        self.bytes_out += (bytes * members) as u64;
        let took = took.as_secs_f64();
        let bucket = LATENCY_BOUNDS
            .iter()
            .position(|bound| took <= *bound)
            .unwrap_or(LATENCY_BOUNDS.len());
        self.latency[bucket] += 1;
        self.latency_sum += took;
    }
}
