//! The only place that starts concurrent work, so that every piece of it has a name, an owner and an end.
//!
//! A *service* belongs to the daemon: when it ends or panics unasked the daemon stops and names it. A *short* task
//! belongs to one connection or request: its panic is logged and its owner sees it in the `JoinHandle`.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

/// The tasks of one daemon.
#[derive(Clone, Default)]
pub struct Tasks {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    cancel: CancellationToken,
    tracker: TaskTracker,
    died: OnceLock<&'static str>,
    death: CancellationToken,
}

impl Tasks {
    /// Runs a service on the current runtime. It must run until [`Tasks::cancelled`].
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let shared = self.shared.clone();
        let tracked = self.shared.tracker.track_future(async move {
            let ended = AssertUnwindSafe(future).catch_unwind().await;
            if shared.cancel.is_cancelled() {
                return;
            }
            let panicked = ended.is_err();
            tracing::error!(task = name, panicked, "a task of the daemon ended unasked");
            shared.died.get_or_init(|| name);
            shared.death.cancel();
        });
        start(tracked);
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

/// Runs work that blocks or computes for long on the blocking pool, away from the connections.
#[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
pub fn blocking<T: Send + 'static>(
    _name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    tokio::task::spawn_blocking(work)
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
