//! What the edge counts: connections, requests, bytes, time.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::Notify;

use crate::metrics::Metrics;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Listener {
    listener: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    listener: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Denied {
    listener: &'static str,
    rule: &'static str,
    action: &'static str,
}

/// Upper bounds, seconds.
const SECONDS: [f64; 15] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
];

/// The metrics of all listeners; each is registered once, for a name may stand only once in what a scraper reads.
pub struct Families {
    requests: Family<Answered, Counter>,
    seconds: Family<Listener, Histogram, fn() -> Histogram>,
    sent: Family<Listener, Counter>,
    connections: Family<Listener, Gauge<i64, AtomicI64>>,
    resting: Family<Listener, Gauge<i64, AtomicI64>>,
    refused: Family<Listener, Counter>,
    denied: Family<Denied, Counter>,
}

/// What one set of listeners counts.
pub struct Measures {
    listener: &'static str,
    requests: Family<Answered, Counter>,
    seconds: Histogram,
    sent: Counter,
    connections: Gauge<i64, AtomicI64>,
    resting: Gauge<i64, AtomicI64>,
    refused: Counter,
    denied: DenialCounter,
    in_flight: Arc<Count>,
    open: Arc<Count>,
}

/// What the deny list fits on one set of listeners.
#[derive(Clone)]
pub struct DenialCounter {
    listener: &'static str,
    denied: Family<Denied, Counter>,
}

/// How many there are of something that comes and goes with every request, and a word when there are none.
#[derive(Default)]
struct Count {
    number: AtomicUsize,
    none: Notify,
}

/// One request between its head and the last byte of its answer.
pub struct InFlight {
    count: Arc<Count>,
}

/// A connection while it keeps only its session.
pub struct Resting {
    resting: Gauge<i64, AtomicI64>,
}

/// One open connection.
pub struct Open {
    connections: Gauge<i64, AtomicI64>,
    count: Arc<Count>,
}

impl Families {
    pub fn register(metrics: &Metrics) -> Families {
        let families = Families {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            sent: Family::default(),
            connections: Family::default(),
            resting: Family::default(),
            refused: Family::default(),
            denied: Family::default(),
        };
        metrics.register(|registry| {
            let help = "Answered requests";
            registry.register("http_requests", help, families.requests.clone());
            let help = "From the request head to the last byte of the answer";
            let seconds = families.seconds.clone();
            registry.register("http_request_duration_seconds", help, seconds);
            let help = "Bytes of answer bodies";
            registry.register("http_response_bytes", help, families.sent.clone());
            let help = "Open connections";
            registry.register("http_connections", help, families.connections.clone());
            let help =
                "Open connections of HTTP/1.1 over TLS that are idle and keep only their session";
            registry.register("http_connections_resting", help, families.resting.clone());
            let help = "Over the limit of one address";
            registry.register("http_connections_refused", help, families.refused.clone());
            let help = "Requests, and connections of signaling, that the deny list fits";
            registry.register("http_requests_denied", help, families.denied.clone());
        });
        families
    }

    pub fn of(&self, listener: &'static str) -> Measures {
        let label = Listener { listener };
        Measures {
            listener,
            requests: self.requests.clone(),
            seconds: self.seconds.get_or_create_owned(&label),
            sent: self.sent.get_or_create_owned(&label),
            connections: self.connections.get_or_create_owned(&label),
            resting: self.resting.get_or_create_owned(&label),
            refused: self.refused.get_or_create_owned(&label),
            denied: self.denials_of(listener),
            in_flight: Arc::default(),
            open: Arc::default(),
        }
    }

    pub fn denials_of(&self, listener: &'static str) -> DenialCounter {
        DenialCounter {
            listener,
            denied: self.denied.clone(),
        }
    }
}

impl DenialCounter {
    /// `action` is `block` or `log`.
    pub fn count(&self, rule: &'static str, action: &'static str) {
        let listener = self.listener;
        let denied = Denied {
            listener,
            rule,
            action,
        };
        self.denied.get_or_create(&denied).inc();
    }
}

impl Measures {
    pub fn open(&self) -> Open {
        self.connections.inc();
        self.open.enter();
        Open {
            connections: self.connections.clone(),
            count: self.open.clone(),
        }
    }

    pub fn rest(&self) -> Resting {
        self.resting.inc();
        Resting {
            resting: self.resting.clone(),
        }
    }

    pub fn begin(&self) -> InFlight {
        self.in_flight.enter();
        InFlight {
            count: self.in_flight.clone(),
        }
    }

    pub fn answered(&self, status: u16, seconds: f64, bytes: u64) {
        let listener = self.listener;
        let answered = Answered { listener, status };
        self.requests.get_or_create(&answered).inc();
        self.seconds.observe(seconds);
        self.sent.inc_by(bytes);
    }

    /// By the deny list; `action` is `block` or `log`.
    pub fn denied(&self, rule: &'static str, action: &'static str) {
        self.denied.count(rule, action);
    }

    pub fn refused(&self) {
        self.refused.inc();
    }

    /// Resolves when no request is in flight.
    pub async fn idle(&self) {
        self.in_flight.none().await;
    }

    /// Resolves when no connection is open.
    pub async fn empty(&self) {
        self.open.none().await;
    }
}

impl Count {
    fn enter(&self) {
        self.number.fetch_add(1, Ordering::SeqCst);
    }

    fn leave(&self) {
        if self.number.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.none.notify_waiters();
        }
    }

    async fn none(&self) {
        loop {
            let mut none = pin!(self.none.notified());
            none.as_mut().enable(); // before the look: the last one may leave in between
            if self.number.load(Ordering::SeqCst) == 0 {
                return;
            }
            none.await;
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.count.leave();
    }
}

impl Drop for Resting {
    fn drop(&mut self) {
        self.resting.dec();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.dec();
        self.count.leave();
    }
}
