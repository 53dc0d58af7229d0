//! The bus's metrics, kept as plain counters under the room's lock like those of the room itself.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Bus;

/// Upper bounds of the lag histogram, seconds.
const LAG_BOUNDS: [f64; 11] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0,
];

/// Why a message was lost on its way.
#[derive(Clone, Copy)]
pub enum Drop {
    /// More waits to be sent than `max_outgoing_bytes`, or the connection was lost before it was sent.
    Outgoing,
    /// Another node sent it and it did not come, mostly because more waited than `max_incoming_messages`.
    Incoming,
    /// The NATS server does not take messages of this size.
    TooLarge,
    /// It is nothing that a node says.
    Malformed,
}

const DROPS: [&str; 4] = ["outgoing", "incoming", "too_large", "malformed"];

#[derive(Clone, Default)]
pub struct Stats {
    pub sent: u64,
    pub received: u64,
    drops: [u64; DROPS.len()],
    lag: [u64; LAG_BOUNDS.len() + 1],
    lag_sum: f64,
}

impl Stats {
    pub fn dropped(&mut self, why: Drop, messages: u64) {
        // Whoever is on the bus may skip any number of messages.
        let drops = &mut self.drops[why as usize];
        *drops = drops.saturating_add(messages);
    }

    /// Counts a message that was published `seconds` ago by the sender's clock.
    pub fn delivered(&mut self, seconds: f64) {
        // Clocks differ; a message does not arrive before it was sent.
        let seconds = seconds.max(0.0);
        self.received += 1;
        let bucket = LAG_BOUNDS.iter().position(|bound| seconds <= *bound);
        self.lag[bucket.unwrap_or(LAG_BOUNDS.len())] += 1;
        self.lag_sum += seconds;
    }
}

/// What a scraper is told, copied out of the room.
pub struct Figures {
    stats: Stats,
    up: bool,
    nodes: usize,
    refused: u64,
}

impl Figures {
    pub fn of(bus: &Bus) -> Figures {
        Figures {
            stats: bus.stats.clone(),
            up: bus.up,
            nodes: bus.nodes.count(),
            refused: bus.nodes.refused,
        }
    }

    pub fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Stats {
            sent,
            received,
            drops,
            lag,
            lag_sum,
        } = &self.stats;
        let mut gauge = |name, help, value: usize| {
            let value = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            value.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        gauge(
            "signaling_bus_connected",
            "Whether the other nodes can be reached",
            usize::from(self.up),
        )?;
        gauge(
            "signaling_bus_nodes",
            "Other nodes that were heard lately",
            self.nodes,
        )?;
        let mut counter = |name, help, value: u64| {
            let value = ConstCounter::new(value);
            value.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
        };
        counter(
            "signaling_bus_messages_sent",
            "Publishes sent to the other nodes",
            *sent,
        )?;
        counter(
            "signaling_bus_messages_received",
            "Publishes from other nodes",
            *received,
        )?;
        counter(
            "signaling_bus_refused",
            "Nodes and topics of nodes that were ignored because there are too many",
            self.refused,
        )?;
        let help = "Messages of the bus that were lost, by why";
        let mut family =
            encoder.encode_descriptor("signaling_bus_dropped", help, None, MetricType::Counter)?;
        for (name, count) in DROPS.iter().zip(drops) {
            ConstCounter::new(*count).encode(family.encode_family(&[("reason", *name)])?)?;
        }
        let bounds = LAG_BOUNDS.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(*lag).collect();
        let help = "From a publish on one node to its delivery on this one, by the nodes' clocks";
        let name = "signaling_bus_lag_seconds";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        let count = lag.iter().sum();
        metric.encode_histogram::<[(&str, &str); 0]>(*lag_sum, count, &buckets, None)
    }
}
