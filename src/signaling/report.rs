//! The room's metrics, read from its plain counters when a scraper asks.

use std::fmt::{self, Debug};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::bus;
use super::end::NAMES;
use super::stats::{LATENCY_BOUNDS, Stats};
use super::{Signaling, lock};

pub struct Report {
    signaling: Signaling,
}

impl Report {
    pub fn new(signaling: Signaling) -> Report {
        Report { signaling }
    }
}

impl Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("signaling")
    }
}

impl Collector for Report {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Copied, so that a slow scraper does not hold the room up.
        let (stats, open, topics, malformed, ends, bus) = {
            let room = lock(&self.signaling.room);
            (
                room.hub.stats.clone(),
                room.open_count(),
                room.hub.topic_count(),
                room.malformed,
                room.ends,
                room.bus.as_ref().map(bus::Figures::of),
            )
        };
        let Stats {
            messages_in,
            bytes_in,
            messages_out,
            bytes_out,
            outbox_most,
            ..
        } = stats;
        let mut gauge = |name, help, value: usize| {
            let value = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            value.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        gauge("signaling_connections", "Open WebSockets", open)?;
        gauge("signaling_topics", "Topics with a subscriber", topics)?;
        gauge(
            "signaling_outbox_most_bytes",
            "The most bytes that ever waited for one peer",
            outbox_most,
        )?;
        let mut counter = |name, help, value: u64| {
            let value = ConstCounter::new(value);
            value.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
        };
        counter(
            "signaling_messages_received",
            "Messages from peers",
            messages_in,
        )?;
        counter(
            "signaling_messages_sent",
            "Deliveries to peers",
            messages_out,
        )?;
        counter(
            "signaling_received_bytes",
            "Bytes of frames from peers",
            bytes_in,
        )?;
        counter(
            "signaling_sent_bytes",
            "Bytes of deliveries to peers",
            bytes_out,
        )?;
        counter(
            "signaling_messages_malformed",
            "Messages that were dropped because they are not JSON",
            malformed,
        )?;
        let help = "Connections that ended, by why";
        let mut family =
            encoder.encode_descriptor("signaling_ends", help, None, MetricType::Counter)?;
        for (name, count) in NAMES.iter().zip(ends) {
            ConstCounter::new(count).encode(family.encode_family(&[("reason", *name)])?)?;
        }
        if let Some(bus) = bus {
            bus.encode(&mut encoder)?;
        }
        latency(&stats, encoder)
    }
}

fn latency(stats: &Stats, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
    let bounds = LATENCY_BOUNDS.into_iter().chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(stats.latency).collect();
    let help = "From the first publish of a batch to the last write to a subscriber";
    let mut metric = encoder.encode_descriptor(
        "signaling_fanout_seconds",
        help,
        None,
        MetricType::Histogram,
    )?;
    let count = stats.latency.iter().sum();
    metric.encode_histogram::<[(&str, &str); 0]>(stats.latency_sum, count, &buckets, None)
}
