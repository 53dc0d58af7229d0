//! The only place that starts concurrent work, so that every piece of it has a name, an owner and an end.
//!
//! A *service* belongs to the daemon: when it ends or panics unasked the daemon stops and names it. A *short* task
//! belongs to one connection or request: its panic is logged and its owner sees it in the `JoinHandle`.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// The tasks of one daemon.
#[derive(Clone, Default)]
pub struct Tasks {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    cancel: CancellationToken,
    tracker: TaskTracker,
    ending: AtomicBool,
    died: OnceLock<&'static str>,
    death: CancellationToken,
}

/// A service while it lives.
struct Life {
    name: &'static str,
    shared: Arc<Shared>,
}

impl Drop for Life {
    fn drop(&mut self) {
        if self.shared.ending.load(Ordering::Acquire) || self.shared.cancel.is_cancelled() {
            return;
        }
        tracing::error!(task = self.name, "a task of the daemon ended unasked");
        self.shared.died.get_or_init(|| self.name);
        self.shared.death.cancel();
    }
}

impl Tasks {
    /// Runs a service on the current runtime. It must run until [`Tasks::cancelled`], or until the daemon ends.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let life = Life {
            name,
            shared: self.shared.clone(),
        };
        start(self.shared.tracker.track_future(async move {
            // However it ends, also with the runtime of a thread that panicked: `life` notices.
            let _life = life;
            if AssertUnwindSafe(future).catch_unwind().await.is_err() {
                tracing::error!(task = name, "a service panicked");
            }
        }));
    }

    /// Runs a piece of one connection or request; the daemon's end waits for it up to the drain deadline.
    pub fn short<T: Send + 'static>(
        &self,
        name: &'static str,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        start(self.shared.tracker.track_future(async move {
            match AssertUnwindSafe(future).catch_unwind().await {
                Ok(value) => Some(value),
                Err(_) => {
                    tracing::error!(task = name, "a task panicked");
                    None
                }
            }
        }))
    }

    /// The daemon's end waits for whoever holds this, as for a task.
    pub fn hold(&self) -> TaskTrackerToken {
        self.shared.tracker.token()
    }

    /// From now on services may end: the daemon does.
    pub fn expect_end(&self) {
        self.shared.ending.store(true, Ordering::Release);
    }

    /// Resolves when the daemon goes down.
    pub fn cancelled(&self) -> WaitForCancellationFutureOwned {
        self.shared.cancel.clone().cancelled_owned()
    }

    pub fn is_cancelled(&self) -> bool {
        self.shared.cancel.is_cancelled()
    }

    /// Resolves with the name of a service that died unasked.
    pub async fn died(&self) -> &'static str {
        self.shared.death.cancelled().await;
        self.shared.died.get().copied().unwrap_or("unknown")
    }

    /// Tells every task to end and waits for them; `false` when some still ran after `deadline`.
    pub async fn end(&self, deadline: Duration) -> bool {
        self.shared.cancel.cancel();
        self.shared.tracker.close();
        tokio::time::timeout(deadline, self.shared.tracker.wait())
            .await
            .is_ok()
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
fn start<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(future)
}

/// Runs work that blocks or computes for long on the blocking pool, away from the connections. A panic is logged under
/// the name of the work and reaches the owner as an error.
#[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
pub fn blocking<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    tokio::task::spawn_blocking(move || {
        std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
            tracing::error!(task = name, "blocking work panicked");
            std::panic::resume_unwind(panic)
        })
    })
}

/// Starts an operating system thread; for a runtime of its own or work that outlives a blocking-pool slot.
#[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
pub fn thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<T>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
}

/// The only pause; always beside a cancellation or inside a bounded retry.
#[expect(clippy::disallowed_methods, reason = "the one place that sleeps")]
pub async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}
