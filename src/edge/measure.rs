//! What the edge counts: connections, requests, bytes, time.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::watch;

use crate::metrics::Metrics;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Status {
    status: u16,
}

pub struct Measures {
    requests: Family<Status, Counter>,
    seconds: Histogram,
    sent: Counter,
    connections: Gauge<i64, AtomicI64>,
    refused: Counter,
    in_flight: Arc<watch::Sender<usize>>,
}

/// One request between its head and the last byte of its answer.
pub struct InFlight {
    count: Arc<watch::Sender<usize>>,
}

/// One open connection.
pub struct Open {
    connections: Gauge<i64, AtomicI64>,
}

impl Measures {
    pub fn register(metrics: &Metrics, listener: &'static str) -> Measures {
        let seconds = [
            0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
            60.0,
        ];
        let measures = Measures {
            requests: Family::default(),
            seconds: Histogram::new(seconds),
            sent: Counter::default(),
            connections: Gauge::default(),
            refused: Counter::default(),
            in_flight: Arc::new(watch::Sender::new(0)),
        };
        metrics.register(|registry| {
            let registry = registry.sub_registry_with_label(("listener".into(), listener.into()));
            registry.register(
                "http_requests",
                "Answered requests",
                measures.requests.clone(),
            );
            registry.register(
                "http_request_duration_seconds",
                "From the request head to the last byte of the answer",
                measures.seconds.clone(),
            );
            registry.register(
                "http_response_bytes",
                "Bytes of answer bodies",
                measures.sent.clone(),
            );
            registry.register(
                "http_connections",
                "Open connections",
                measures.connections.clone(),
            );
            registry.register(
                "http_connections_refused",
                "Over the limit of one address",
                measures.refused.clone(),
            );
        });
        measures
    }

    pub fn open(&self) -> Open {
        self.connections.inc();
        Open {
            connections: self.connections.clone(),
        }
    }

    pub fn begin(&self) -> InFlight {
        self.in_flight.send_modify(|count| *count += 1);
        InFlight {
            count: self.in_flight.clone(),
        }
    }

    pub fn answered(&self, status: u16, seconds: f64, bytes: u64) {
        self.requests.get_or_create(&Status { status }).inc();
        self.seconds.observe(seconds);
        self.sent.inc_by(bytes);
    }

    pub fn refused(&self) {
        self.refused.inc();
    }

    /// Resolves when no request is in flight.
    pub async fn idle(&self) {
        // The sender lives in `self`: the channel cannot close while this waits.
        let mut in_flight = self.in_flight.subscribe();
        let _closed = in_flight.wait_for(|count| *count == 0).await;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.count.send_modify(|count| *count -= 1);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.dec();
    }
}
