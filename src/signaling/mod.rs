//! The y-webrtc signaling room: peers meet in topics and pass messages to one another.
//!
//! One thread runs one room. Its connections are accepted on the room's own port, or handed over by the HTTP listener.

mod bus;
mod cut;
mod end;
mod frame;
mod handshake;
mod hub;
mod json;
mod message;
mod office;
mod outbox;
mod peer;
mod place;
mod rate;
mod report;
mod room;
mod session;
mod stats;
mod stream;
pub mod token;
mod turn;
mod upgrade;

use std::future::Future;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::config::{Signaling as Settings, SignalingSecrets};
use crate::metrics::Metrics;
use crate::tasks::{self, Tasks};
use bus::link::Link;
pub use cut::Cut;
pub use end::End;
use hub::PeerId;
pub use office::{BusState, Occupancy};
pub use place::Place;
use room::Room;
pub use room::{Rules, RulesError};
pub use stream::Stream;
use token::Claims;

/// How often deadlines are looked at; the shortest that can be configured is a second.
const SWEEP: Duration = Duration::from_millis(250);
/// Pause after an accept that failed for want of descriptors or memory: the connection stays in the queue.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// On shutdown the peers are told to go in this many portions.
const DRAIN_PORTIONS: u32 = 20;
/// How long the last peers may take to go.
const DRAIN_END: Duration = Duration::from_secs(2);

/// The room, for whoever hands it connections or asks how it does.
#[derive(Clone)]
pub struct Signaling {
    room: Arc<Mutex<Room>>,
    tasks: Tasks,
    /// The runtime of the signaling thread: every connection's task runs there, wherever it was accepted.
    runtime: Handle,
    draining: CancellationToken,
    /// The other nodes are to be told that this one goes; and they were.
    leaving: CancellationToken,
    left: CancellationToken,
}

#[derive(Debug, thiserror::Error)]
pub enum SignalingError {
    #[error("cannot start the signaling thread")]
    Thread(#[source] std::io::Error),
    #[error(transparent)]
    Rules(#[from] RulesError),
    #[error("cannot watch a signaling listener")]
    Listener(#[source] std::io::Error),
}

impl Signaling {
    /// Opens the room on a thread of its own.
    pub fn start(
        settings: &Settings,
        secrets: &SignalingSecrets,
        tasks: &Tasks,
        metrics: &Metrics,
    ) -> Result<Signaling, SignalingError> {
        let room = Arc::new(Mutex::new(Room::new(Rules::new(settings, secrets)?)));
        let turn = room.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // The thread parks when no task is left to run: all that was readable has been read.
            .on_thread_park(move || lock(&turn).flush())
            .build()
            .map_err(SignalingError::Thread)?;
        let signaling = Signaling {
            room,
            tasks: tasks.clone(),
            runtime: runtime.handle().clone(),
            draining: CancellationToken::new(),
            leaving: CancellationToken::new(),
            left: CancellationToken::new(),
        };
        metrics.register(|registry| {
            registry.register_collector(Box::new(report::Report::new(signaling.clone())));
        });
        let cancelled = tasks.cancelled();
        signaling.begin(Link::new(&signaling.room, &settings.nats, &secrets.nats));
        tasks::thread("signaling", move || runtime.block_on(cancelled))
            .map_err(SignalingError::Thread)?;
        Ok(signaling)
    }

    /// Accepts connections from `listeners` on the room's thread and gives each to `greet`, there.
    pub fn listen(
        &self,
        listeners: Vec<TcpListener>,
        greet: impl Fn(TcpStream, SocketAddr) + Clone + Send + Sync + 'static,
    ) -> Result<(), SignalingError> {
        let _entered = self.runtime.enter();
        for listener in listeners {
            self.accept(listener, greet.clone())
                .map_err(SignalingError::Listener)?;
        }
        Ok(())
    }

    /// Starts the services of the room on its runtime.
    fn begin(&self, link: Option<Link>) {
        let _entered = self.runtime.enter();
        let sweep = sweep(self.room.clone());
        let end = || self.tasks.cancelled();
        self.tasks.spawn("signaling-clock", until_end(end(), sweep));
        let left = self.left.clone().drop_guard();
        if let Some(link) = link {
            let leaving = self.leaving.clone();
            let run = async move {
                link.run(leaving.cancelled_owned()).await;
                drop(left);
            };
            self.tasks.spawn("signaling-bus", until_end(end(), run));
        }
    }

    fn accept(
        &self,
        listener: TcpListener,
        greet: impl Fn(TcpStream, SocketAddr) + Send + Sync + 'static,
    ) -> std::io::Result<()> {
        // Inherited by every accepted connection, which saves each a system call.
        socket2::SockRef::from(&listener).set_tcp_nodelay(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let signaling = self.clone();
        let accept = async move {
            tokio::select! {
                () = signaling.draining.cancelled() => {}
                () = accept_all(&listener, greet) => {}
            }
            // Closed at once: a socket of our own refuses who comes now, so that they try again soon instead of waiting
            // for a process that ends; one that systemd holds keeps them for the next process.
            drop(listener);
            std::future::pending().await
        };
        self.tasks.spawn(
            "signaling-accept",
            until_end(self.tasks.cancelled(), accept),
        );
        Ok(())
    }

    /// Takes a connection in and runs it on the signaling thread. Without a place for it, it is dropped.
    pub fn enter(&self, stream: Stream, address: IpAddr) {
        let id = lock(&self.room).enter(stream, address);
        id.into_iter().for_each(|id| self.run(id));
    }

    /// The same for a connection whose handshake is done.
    fn enter_open(&self, stream: Stream, address: IpAddr, grant: Option<Box<Claims>>) {
        let id = lock(&self.room).enter_open(stream, address, grant);
        id.into_iter().for_each(|id| self.run(id));
    }

    fn run(&self, id: PeerId) {
        let connection = Connection {
            room: self.room.clone(),
            id,
        };
        let _entered = self.runtime.enter();
        // What a peer reads bounds its turn; at the end of a turn it writes to all the others.
        let connection = tokio::task::unconstrained(connection);
        drop(self.tasks.short("signaling-peer", connection)); // it ends with its peer or with the room
    }

    /// Tells every peer to reconnect (1012), spread over a short time so that they do not all come back at once, and
    /// waits until they are gone.
    pub async fn drain(&self) {
        self.draining.cancel();
        let (peers, window) = {
            let mut room = lock(&self.room);
            room.draining = true;
            (
                room.all_peers(),
                Duration::from_millis(room.rules.settings.drain_milliseconds),
            )
        };
        tracing::info!(peers = peers.len(), "signaling peers are told to reconnect");
        for portion in peers.chunks(peers.len().div_ceil(DRAIN_PORTIONS as usize).max(1)) {
            {
                let mut room = lock(&self.room);
                portion
                    .iter()
                    .for_each(|peer| room.close(*peer, End::Restart));
            }
            tasks::pause(window / DRAIN_PORTIONS).await;
        }
        let gone = async {
            while lock(&self.room).sockets() > 0 {
                tasks::pause(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(DRAIN_END, gone).await.is_err() {
            tracing::warn!(
                peers = lock(&self.room).sockets(),
                "signaling peers are cut"
            );
        }
        self.leaving.cancel();
        self.left.cancelled().await;
    }

    /// Follows a new configuration; nobody is dropped, new limits hold from the next message on.
    pub fn reload(&self, rules: Rules) {
        lock(&self.room).set_rules(rules);
    }
}

async fn accept_all(
    listener: &tokio::net::TcpListener,
    greet: impl Fn(TcpStream, SocketAddr) + Send + Sync,
) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => greet(stream, peer),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a signaling connection");
                tasks::pause(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The room's lock. A panic under it concerned one connection; the others go on.
fn lock(room: &Mutex<Room>) -> MutexGuard<'_, Room> {
    room.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn until_end(cancelled: impl Future<Output = ()>, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        () = cancelled => {}
    }
}

async fn sweep(room: Arc<Mutex<Room>>) {
    let mut interval = tokio::time::interval(SWEEP);
    loop {
        interval.tick().await;
        lock(&room).sweep();
    }
}

/// The task of one connection; when it ends in any way the room forgets the connection.
struct Connection {
    room: Arc<Mutex<Room>>,
    id: PeerId,
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        lock(&self.room).poll_peer(self.id, cx)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        lock(&self.room).remove(self.id);
    }
}
