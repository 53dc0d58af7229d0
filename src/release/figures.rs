//! What is measured about releases.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::clock;
use crate::config::AppName;
use crate::metrics::Metrics;

#[derive(Clone, Default)]
pub struct Figures {
    /// Number of the last record that is served.
    pub head: Gauge,
    /// Unix time of the last successful look at the log, seconds.
    pub seen: Gauge<f64, AtomicU64>,
    pub failures: Counter,
    pub pending: Gauge,
    pub deploys: Family<DeployLabels, Counter>,
    pub deploying: Gauge,
    pub staged_bytes: Counter,
    pub collected: Counter,
    /// Drafts that are neither published nor expired.
    pub drafts_open: Gauge,
    pub draft_part_bytes: Counter,
    pub draft_completes: Family<CompleteLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CompleteLabels {
    pub result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DeployLabels {
    pub app: String,
    pub result: &'static str,
}

impl Figures {
    pub fn register(metrics: &Metrics) -> Figures {
        let figures = Figures::default();
        metrics.register(|registry| {
            let registry = registry.sub_registry_with_prefix("release");
            registry.register(
                "log_head",
                "Number of the last record that is served",
                figures.head.clone(),
            );
            registry.register(
                "log_seen_timestamp_seconds",
                "Unix time of the last successful look at the release log",
                figures.seen.clone(),
            );
            registry.register(
                "log_failures",
                "Failed looks at the release log",
                figures.failures.clone(),
            );
            registry.register(
                "projection_pending",
                "Records whose public copies are not known to be complete",
                figures.pending.clone(),
            );
            registry.register(
                "deploys",
                "Deploys by app and result",
                figures.deploys.clone(),
            );
            registry.register(
                "deploys_running",
                "Deploys being received",
                figures.deploying.clone(),
            );
            registry.register(
                "staged_bytes",
                "Bytes of deployed files taken in",
                figures.staged_bytes.clone(),
            );
            registry.register(
                "collected_objects",
                "Leftover objects deleted",
                figures.collected.clone(),
            );
            registry.register(
                "drafts_open",
                "Drafts that are neither published nor expired, as this node last saw them",
                figures.drafts_open.clone(),
            );
            registry.register(
                "draft_part_bytes",
                "Bytes of parts taken in",
                figures.draft_part_bytes.clone(),
            );
            registry.register(
                "draft_completes",
                "Uploads put together from their parts, by result",
                figures.draft_completes.clone(),
            );
        });
        figures
    }

    pub fn seen(&self, succeeded: bool) {
        if succeeded {
            self.seen.set(clock::now().as_millisecond() as f64 / 1000.0);
        } else {
            self.failures.inc();
        }
    }

    /// Counts a deploy that ended.
    pub fn deploy(&self, app: &AppName, result: &'static str) {
        self.deploys
            .get_or_create(&DeployLabels {
                app: app.to_string(),
                result,
            })
            .inc();
    }

    /// Counts an attempt to put an upload together.
    pub fn draft_complete(&self, result: &'static str) {
        self.draft_completes
            .get_or_create(&CompleteLabels { result })
            .inc();
    }
}
