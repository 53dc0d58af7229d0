//! One accepted connection: deadlines, HTTP, one request id, one access line; the answers come from a router.

mod access;
pub mod acme;
mod batch;
mod client;
mod compress;
mod connection;
mod deadline;
mod deny;
mod encoding;
mod files;
mod frames;
mod framing;
pub mod gate;
mod id;
mod intake;
mod io;
pub mod limits;
pub mod listener;
pub mod measure;
mod pace;
pub mod passwords;
mod patience;
mod policy;
mod proxy;
mod recorded;
mod request;
pub mod signaling;
mod site;
mod streams;
pub mod tls;
mod websocket;
mod wire;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::tls::handshake::Tls;
use crate::config;
use crate::tasks::{self, Tasks};

pub use self::access::AccessLog;
pub use self::deny::DeniedAddresses;
pub use self::files::Cabinet;
pub use self::proxy::Upstreams;
pub use self::site::{Means, Site};

/// At the end, for answers on their way and for requests that connections taken in just before are still sending.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Connections and what they share. One per set of listeners.
#[derive(Clone)]
pub struct Edge {
    shared: Arc<Shared>,
}

struct Shared {
    site: ArcSwap<Site>,
    http: config::Http,
    access_log: AccessLog,
    tasks: Tasks,
    permits: Arc<Semaphore>,
    addresses: limits::Addresses,
    measures: measure::Measures,
    /// From SIGTERM on: answers close their connections.
    draining: CancellationToken,
    /// Nobody is let in any more; who is in is served.
    closing: CancellationToken,
    /// The end: what is still open is cut.
    stop: CancellationToken,
}

/// Where connections come from. `private` is for the daemon itself: it answers also while the public listeners hold all
/// the connections that they may, and writes no access lines.
pub struct Listeners {
    pub plain: Vec<TcpListener>,
    pub secure: Vec<TcpListener>,
    pub private: TcpListener,
}

/// Through which listener a connection came.
#[derive(Clone)]
enum Door {
    Plain,
    Secure(Arc<Tls>),
    Private,
}

#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    #[error("cannot start a connection worker")]
    Worker(#[source] std::io::Error),
    #[error("cannot share a listener with a connection worker")]
    Listener(#[source] std::io::Error),
}

impl Edge {
    pub fn new(
        site: Site,
        http: &config::Http,
        access_log: AccessLog,
        tasks: &Tasks,
        measures: measure::Measures,
        draining: CancellationToken,
    ) -> Edge {
        let shared = Shared {
            site: ArcSwap::from_pointee(site),
            http: http.clone(),
            access_log,
            tasks: tasks.clone(),
            permits: Arc::new(Semaphore::new(http.max_connections)),
            addresses: limits::Addresses::new(
                http.max_connections_per_address,
                &http.trusted_proxies,
            ),
            measures,
            draining,
            closing: CancellationToken::new(),
            stop: CancellationToken::new(),
        };
        Edge {
            shared: Arc::new(shared),
        }
    }

    /// Answers from now on come from `site`.
    pub fn swap(&self, mut site: Site) {
        site.keep_counts(&self.shared.site.load());
        self.shared.site.store(Arc::new(site));
    }

    /// Serves on threads of its own, each with a single-threaded runtime: connections never move between cores.
    pub fn serve_on_workers(&self, listeners: &Listeners, tls: &Arc<Tls>) -> Result<(), EdgeError> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers = if self.shared.http.workers == 0 {
            cores
        } else {
            self.shared.http.workers
        };
        for number in 0..workers {
            let own = listeners.try_clone().map_err(EdgeError::Listener)?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .on_thread_park(access::write_out)
                .build();
            let runtime = runtime.map_err(EdgeError::Worker)?;
            let (edge, tls) = (self.clone(), tls.clone());
            let held = self.shared.tasks.hold();
            let work = move || {
                access::gather();
                runtime.block_on(async {
                    edge.serve(own.plain);
                    for listener in own.secure {
                        edge.spawn(listener, Door::Secure(tls.clone()));
                    }
                    edge.spawn(own.private, Door::Private);
                    edge.shared.stop.cancelled().await;
                });
                // Blocking work of a cut request ends on its own; the process does not wait for it here.
                runtime.shutdown_background();
                access::write_out();
                drop(held);
            };
            tasks::thread(&format!("edge-{number}"), work).map_err(EdgeError::Worker)?;
        }
        Ok(())
    }

    /// Serves plain HTTP on the current runtime.
    pub fn serve(&self, listeners: Vec<TcpListener>) {
        for listener in listeners {
            self.spawn(listener, Door::Plain);
        }
    }

    fn spawn(&self, listener: TcpListener, door: Door) {
        let accepting = accept_loop(self.shared.clone(), listener, door);
        self.shared.tasks.spawn("accept", accepting);
    }

    /// Waits until no request is in flight, at most for `window`; `false` when some still was. New ones are answered
    /// meanwhile.
    pub async fn settle(&self, window: Duration) -> bool {
        tokio::time::timeout(window, self.shared.measures.idle())
            .await
            .is_ok()
    }

    /// Takes no connection from now on: those that come wait in the sockets that systemd holds for the next process.
    /// Those that are in get a moment to be answered.
    pub async fn close(&self) {
        self.shared.closing.cancel();
        let empty = self.shared.measures.empty();
        let _in_time = tokio::time::timeout(LAST_ANSWERS, empty).await; // a peer that is idle or slow may lose
    }

    /// Cuts what is left, and ends the workers; with them end the sockets of connections that were upgraded.
    pub fn stop(&self) {
        self.shared.stop.cancel();
    }
}

impl Listeners {
    fn try_clone(&self) -> std::io::Result<Listeners> {
        let all = |listeners: &[TcpListener]| -> std::io::Result<Vec<_>> {
            listeners.iter().map(TcpListener::try_clone).collect()
        };
        Ok(Listeners {
            plain: all(&self.plain)?,
            secure: all(&self.secure)?,
            private: self.private.try_clone()?,
        })
    }
}

async fn accept_loop(shared: Arc<Shared>, listener: TcpListener, door: Door) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(error = %error, "cannot watch a listener");
            return;
        }
    };
    // The daemon asks itself whether it is alive as long as it lives.
    let closed = match door {
        Door::Plain | Door::Secure(_) => &shared.closing,
        Door::Private => &shared.stop,
    };
    loop {
        let accepted = async {
            let connection = listener::accept(&listener).await;
            // Only now: a loop with nothing to accept must not hold a place that another listener could use.
            let permit = match door {
                Door::Plain | Door::Secure(_) => shared.permits.clone().acquire_owned().await.ok(),
                Door::Private => None,
            };
            (permit, connection)
        };
        let (permit, (stream, peer)) = tokio::select! {
            accepted = accepted => accepted,
            () = closed.cancelled() => return,
            () = shared.tasks.cancelled() => return,
        };
        let Some(place) = shared.addresses.enter(peer.ip()) else {
            shared.measures.refused();
            continue;
        };
        let (shared_here, door) = (shared.clone(), door.clone());
        let connection = async move {
            connection::serve(&shared_here, stream, peer, &door).await;
            drop((permit, place));
        };
        drop(shared.tasks.short("connection", connection)); // it ends with its peer, its deadlines or `stop`
    }
}
