//! The upstreams of all routes. Routes, and configurations one after the other, that want the same share it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::check;
use super::dial::RootsError;
use super::measure::Families;
use super::upstream::{Identity, Upstream};
use crate::metrics::Metrics;
use crate::tasks::{self, Tasks};

/// How often old connections are looked for.
const SWEEP: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct Upstreams {
    shared: Arc<Shared>,
}

struct Shared {
    tasks: Tasks,
    families: Families,
    known: Mutex<HashMap<Identity, Weak<Upstream>>>,
}

impl Upstreams {
    /// One per daemon. Its background work runs on the current runtime.
    pub fn start(tasks: &Tasks, metrics: &Metrics) -> Upstreams {
        let upstreams = Upstreams {
            shared: Arc::new(Shared {
                tasks: tasks.clone(),
                families: Families::register(metrics),
                known: Mutex::default(),
            }),
        };
        let sweeper = upstreams.clone();
        tasks.spawn("upstream-sweep", async move {
            loop {
                tokio::select! {
                    () = tasks::pause(SWEEP) => sweeper.sweep(),
                    () = sweeper.shared.tasks.cancelled() => return,
                }
            }
        });
        upstreams
    }

    pub fn tasks(&self) -> &Tasks {
        &self.shared.tasks
    }

    /// The one that exists, with its connections and what is known of its health, or a new one.
    pub fn get(&self, identity: Identity) -> Result<Arc<Upstream>, RootsError> {
        let mut known = self.known();
        if let Some(upstream) = known.get(&identity).and_then(Weak::upgrade) {
            return Ok(upstream);
        }
        let measures = self.shared.families.of(identity.url.to_string());
        let upstream = Upstream::new(identity.clone(), measures, &self.shared.tasks)?;
        let upstream = Arc::new(upstream);
        known.insert(identity, Arc::downgrade(&upstream));
        check::start(&upstream, &self.shared.tasks);
        Ok(upstream)
    }

    fn sweep(&self) {
        let mut alive = Vec::new();
        self.known().retain(|_, upstream| {
            let upstream = upstream.upgrade();
            alive.extend(upstream.clone());
            upstream.is_some()
        });
        for upstream in alive {
            upstream.sweep();
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Identity, Weak<Upstream>>> {
        let known = self.shared.known.lock();
        known.unwrap_or_else(PoisonError::into_inner)
    }
}
