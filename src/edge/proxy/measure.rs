//! What is counted per upstream. The labels are addresses of the configuration, so there are few.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::metrics::Metrics;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Label {
    upstream: String,
}

/// Upper bounds, seconds.
const SECONDS: [f64; 14] = [
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
];

pub struct Families {
    requests: Family<Label, Counter>,
    failures: Family<Label, Counter>,
    connections: Family<Label, Counter>,
    seconds: Family<Label, Histogram, fn() -> Histogram>,
    healthy: Family<Label, Gauge<i64, AtomicI64>>,
    in_flight: Family<Label, Gauge<i64, AtomicI64>>,
    idle: Family<Label, Gauge<i64, AtomicI64>>,
}

/// What one upstream counts.
pub struct Measures {
    pub requests: Counter,
    pub failures: Counter,
    pub connections: Counter,
    pub seconds: Histogram,
    pub healthy: Gauge<i64, AtomicI64>,
    /// This one and `idle` are looked up once a second.
    pub in_flight: Gauge<i64, AtomicI64>,
    pub idle: Gauge<i64, AtomicI64>,
}

impl Families {
    pub fn register(metrics: &Metrics) -> Families {
        let families = Families {
            requests: Family::default(),
            failures: Family::default(),
            connections: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            healthy: Family::default(),
            in_flight: Family::default(),
            idle: Family::default(),
        };
        metrics.register(|registry| {
            let help = "Requests sent to an upstream, repeated ones included";
            registry.register("proxy_requests", help, families.requests.clone());
            let help = "Requests that failed by the upstream's fault";
            registry.register("proxy_failures", help, families.failures.clone());
            let help = "Connections opened to an upstream";
            registry.register("proxy_connections", help, families.connections.clone());
            let help = "From a request to the head of its answer";
            let seconds = families.seconds.clone();
            registry.register("proxy_first_byte_seconds", help, seconds);
            let help = "Whether an upstream gets requests";
            registry.register("proxy_upstream_healthy", help, families.healthy.clone());
            let help = "Requests and tunnels at an upstream";
            registry.register("proxy_in_flight", help, families.in_flight.clone());
            let help = "HTTP/1.1 connections kept for later requests";
            registry.register("proxy_idle_connections", help, families.idle.clone());
        });
        families
    }

    pub fn of(&self, upstream: String) -> Measures {
        let label = Label { upstream };
        Measures {
            requests: self.requests.get_or_create_owned(&label),
            failures: self.failures.get_or_create_owned(&label),
            connections: self.connections.get_or_create_owned(&label),
            seconds: self.seconds.get_or_create_owned(&label),
            healthy: self.healthy.get_or_create_owned(&label),
            in_flight: self.in_flight.get_or_create_owned(&label),
            idle: self.idle.get_or_create_owned(&label),
        }
    }
}
