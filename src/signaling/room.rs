//! The room: the hub, the sockets and the clocks, moved one turn at a time by the connections' tasks.
//!
//! Everything here is synchronous and runs under one lock, which only the signaling thread takes often: nobody
//! waits for it, and it is never held across an await.

mod places;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use self::places::Places;
use super::bus::Bus;
use super::end::{self, End};
use super::frame::{self, Opcode};
use super::handshake::Admission;
use super::hub::{Hub, Limits, PeerId};
use super::peer::{Nanos, Peer, Phase};
use super::rate::Rate;
use super::stream::Stream;
use super::token::{Claims, Keys, ShortKey};
use super::turn::Turn;
use crate::clock;
use crate::config::{self, SecretError, SecretSource, Signaling as Settings, SignalingSecrets};

/// What one read may bring; all connections share the buffer.
const READ: usize = 64 * 1024;
/// Seconds' worth of messages and bytes that may come at once.
const BURST_SECONDS: u64 = 10;
/// How long a peer may take to read a close frame and go.
const CLOSE: Nanos = 2 * SECOND;
const SECOND: Nanos = 1_000_000_000;
/// The longest turn: what has been published goes out although there is still more to read.
const TURN: Nanos = SECOND / 1000;

pub struct Room {
    pub hub: Hub,
    pub rules: Rules,
    /// The other nodes, where there may be some.
    pub bus: Option<Bus>,
    pub ends: [u64; end::NAMES.len()],
    /// Messages that changed nothing because they could not be read.
    pub malformed: u64,
    /// Whoever comes now is sent away: the daemon ends.
    pub draining: bool,
    pub(super) peers: Vec<Option<Peer>>,
    pub(super) buffer: Box<[u8]>,
    places: Places,
    /// When the first publish came that has not gone out.
    turn: Option<Nanos>,
    began: Instant,
}

/// The settings in the form that the room uses; a reload replaces them whole.
pub struct Rules {
    pub settings: Settings,
    pub admission: Admission,
    pub turn: Option<Turn>,
    pub messages: Rate,
    pub bytes: Rate,
}

#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    #[error("cannot read a signaling secret")]
    Secret(#[from] SecretError),
    #[error(transparent)]
    ShortKey(#[from] ShortKey),
}

impl Rules {
    /// Reads the secrets, so that a reload follows rotated files.
    pub fn new(settings: &Settings, secrets: &SignalingSecrets) -> Result<Self, RulesError> {
        let read = |(name, source): &(String, SecretSource)| Ok((name.clone(), source.read()?));
        let keys = secrets
            .tokens
            .iter()
            .map(read)
            .collect::<Result<Vec<_>, SecretError>>()?;
        let turn = match &secrets.turn {
            Some(secret) if !settings.turn.urls.is_empty() => Some(Turn::new(
                &settings.turn.urls,
                settings.turn.lifetime_seconds,
                &secret.read()?,
            )),
            _ => None,
        };
        Ok(Self {
            admission: Admission {
                origins: settings.allowed_origins.clone(),
                keys: Keys::new(&keys)?,
                require_token: settings.require_token,
            },
            turn,
            messages: Rate::new(settings.messages_per_second, BURST_SECONDS),
            bytes: Rate::new(settings.bytes_per_second, BURST_SECONDS),
            settings: settings.clone(),
        })
    }

    pub fn limits(&self) -> Limits {
        Limits {
            topics_per_connection: self.settings.max_topics_per_connection,
            subscribers_per_topic: self.settings.max_subscribers_per_topic,
            topic_bytes: self.settings.max_topic_bytes,
            outbox_bytes: self.settings.max_outbox_bytes,
        }
    }
}

impl Room {
    pub fn new(rules: Rules) -> Self {
        let settings = &rules.settings;
        let bus = match settings.bus {
            config::Bus::None => None,
            config::Bus::Nats => Some(Bus::new(&settings.nats, settings.max_topic_bytes)),
        };
        Self {
            hub: Hub::new(rules.limits()),
            bus,
            rules,
            ends: [0; end::NAMES.len()],
            malformed: 0,
            draining: false,
            peers: Vec::new(),
            buffer: read_buffer(),
            places: Places::default(),
            turn: None,
            began: Instant::now(),
        }
    }

    pub fn now(&self) -> Nanos {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(Nanos::MAX)
    }

    /// Follows new settings; what is open stays.
    pub fn set_rules(&mut self, rules: Rules) {
        self.hub.set_limits(rules.limits());
        if let Some(bus) = &mut self.bus {
            bus.nodes.set_topic_bytes(rules.settings.max_topic_bytes);
        }
        self.rules = rules;
    }

    /// Connections in every phase.
    pub fn sockets(&self) -> usize {
        self.hub.peer_count()
    }

    pub fn open_count(&self) -> usize {
        self.places.open_count()
    }

    pub fn handshake_timeout(&self) -> Duration {
        Duration::from_secs(self.rules.settings.handshake_timeout_seconds)
    }

    pub fn all_peers(&self) -> Vec<PeerId> {
        let taken = |(id, peer): (PeerId, &Option<Peer>)| peer.is_some().then_some(id);
        self.peers.iter().enumerate().filter_map(taken).collect()
    }

    pub(super) fn peer(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.peers.get_mut(id).and_then(Option::as_mut)
    }

    /// Takes a place for a connection of this address, as [`config::subscriber`] gives it; false when there are so many that
    /// it cannot even be told why not.
    pub fn reserve(&mut self, address: IpAddr) -> bool {
        match self.places.take(address, &self.rules.settings) {
            Ok(()) => true,
            Err(end) => {
                self.count(end);
                false
            }
        }
    }

    /// Frees a place on which no connection came to sit.
    pub fn release(&mut self, address: IpAddr) {
        self.places.free(address);
    }

    /// Takes a connection in, when there is a place for it.
    pub fn enter(&mut self, stream: Stream, address: IpAddr) -> Option<PeerId> {
        let address = config::subscriber(address);
        self.reserve(address).then(|| self.seat(stream, address))
    }

    /// Takes a connection in that has a place.
    pub fn seat(&mut self, stream: Stream, address: IpAddr) -> PeerId {
        let now = self.now();
        let deadline = now + self.rules.settings.handshake_timeout_seconds * SECOND;
        let id = self.hub.join();
        if self.peers.len() <= id {
            self.peers.resize_with(id + 1, || None);
        }
        self.peers[id] = Some(Peer::new(stream, address, now, deadline));
        id
    }

    /// Takes a connection in whose handshake is done.
    pub fn enter_open(
        &mut self,
        stream: Stream,
        address: IpAddr,
        grant: Option<Box<Claims>>,
    ) -> Option<PeerId> {
        let id = self.enter(stream, address)?;
        self.open(id, grant, self.now());
        Some(id)
    }

    /// The handshake is done: from here on the connection counts against the limits.
    pub fn open(&mut self, id: PeerId, grant: Option<Box<Claims>>, now: Nanos) {
        let ping = now + self.rules.settings.ping_interval_seconds * SECOND;
        let Some(peer) = self.peer(id) else { return };
        peer.phase = Phase::Open;
        peer.grant = grant;
        peer.deadline = ping;
        peer.heard = now;
        let address = peer.address;
        let placed = self.places.open(address, &self.rules.settings);
        if self.draining {
            self.close(id, End::Restart);
        } else if let Err(end) = placed {
            self.close(id, end);
        }
    }

    /// Begins the end of a connection: out of its topics at once, then the close frame, then silence.
    pub fn close(&mut self, id: PeerId, end: End) {
        let now = self.now();
        let Some(peer) = self.peer(id).filter(|peer| peer.phase != Phase::Closing) else {
            return;
        };
        let was = peer.phase;
        peer.phase = Phase::Closing;
        peer.deadline = now + CLOSE;
        peer.partial = Vec::new();
        peer.fragments = None;
        peer.wake();
        let address = peer.address;
        tracing::debug!(peer = id, %address, end = end::NAMES[end.count_as()], "signaling peer closed");
        if was == Phase::Open {
            self.places.shut(address);
        }
        self.count(end);
        self.hub.leave_topics(id);
        self.tell_bus();
        if end == End::Stalled {
            self.hub.drop_backlog(id);
        }
        if let Some((code, reason)) = end.close().filter(|_| was == Phase::Open) {
            self.send(id, frame::close(code, reason), now);
        }
    }

    /// Ends a connection of which nothing more is to come.
    pub fn remove(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(id).and_then(Option::take) else {
            return;
        };
        self.hub.leave(id);
        self.tell_bus();
        if peer.phase == Phase::Open {
            self.places.shut(peer.address);
        }
        self.places.free(peer.address);
        if peer.phase != Phase::Closing {
            self.count(End::Gone);
            tracing::debug!(peer = id, address = %peer.address, "signaling peer gone");
        }
    }

    /// Sends one peer a frame that is not a delivery.
    pub fn send(&mut self, id: PeerId, frame: Vec<u8>, now: Nanos) {
        let peers = &mut self.peers;
        self.hub
            .send(id, frame, |to, bytes| offer(peers, to, bytes, now));
    }

    /// Ends the turn: everything that was published goes out. To be called once all that was readable has been read.
    pub fn flush(&mut self) {
        let Some(began) = self.turn.take() else {
            return;
        };
        let peers = &mut self.peers;
        self.hub.flush(|to, bytes| offer(peers, to, bytes, began));
        self.close_overflowed();
    }

    /// To be called when something may have been published or queued.
    pub(super) fn acted(&mut self, now: Nanos) {
        self.close_overflowed();
        self.tell_bus();
        if self.hub.is_dirty() && now >= *self.turn.get_or_insert(now) + TURN {
            self.flush();
        }
    }

    fn close_overflowed(&mut self) {
        for id in self.hub.take_overflowed() {
            self.close(id, End::Stalled);
        }
    }

    /// Acts on every deadline that has passed; to be called a few times per second.
    pub fn sweep(&mut self) {
        self.flush(); // whatever keeps the thread from sleeping
        let now = self.now();
        let today = clock::now().as_second();
        let settings = &self.rules.settings;
        let stall = settings.stall_timeout_seconds * SECOND;
        let idle = settings.idle_timeout_seconds * SECOND;
        let ping = settings.ping_interval_seconds * SECOND;
        for id in 0..self.peers.len() {
            let waiting = self.hub.queued(id) > 0;
            let Some(peer) = self.peer(id) else { continue };
            let late = now >= peer.deadline;
            match peer.phase {
                Phase::Handshake if late => self.abandon(id, End::HandshakeTimeout),
                Phase::Closing if late => self.abandon(id, End::Gone),
                Phase::Open if waiting && now >= peer.blocked + stall => {
                    self.close(id, End::Stalled)
                }
                Phase::Open if now >= peer.heard + idle => self.close(id, End::Idle),
                // Its pings would find a frame that is not finished: no pong can stand inside of one.
                Phase::Open
                    if peer
                        .fragments
                        .as_ref()
                        .is_some_and(|fragments| now >= fragments.since + ping) =>
                {
                    self.close(id, End::Unfinished);
                }
                Phase::Open if peer.grant.as_ref().is_some_and(|grant| today >= grant.exp) => {
                    self.close(id, End::TokenExpired);
                }
                Phase::Open if late && peer.ping_unanswered => self.close(id, End::NoPong),
                Phase::Open if late => {
                    peer.deadline = now + ping;
                    peer.ping_unanswered = true;
                    self.send(id, frame::encode(Opcode::Ping, b""), now);
                }
                Phase::Handshake | Phase::Open | Phase::Closing => {}
            }
        }
        self.close_overflowed();
    }

    /// Has the connection's task end at once, and the kernel drop what it still holds for the peer.
    fn abandon(&mut self, id: PeerId, end: End) {
        self.close(id, end);
        let Some(peer) = self.peer(id) else { return };
        peer.failed = true;
        if let Err(error) = peer.stream.reset_on_close() {
            tracing::debug!(peer = id, %error, "cannot reset a connection");
        }
        peer.wake();
    }

    pub fn count(&mut self, end: End) {
        self.ends[end.count_as()] += 1;
    }
}

pub(super) fn read_buffer() -> Box<[u8]> {
    vec![0; READ].into()
}

/// Offers bytes to one peer's socket.
pub(super) fn offer(peers: &mut [Option<Peer>], id: PeerId, bytes: &[u8], now: Nanos) -> usize {
    match peers.get_mut(id) {
        Some(Some(peer)) => peer.offer(bytes, now),
        // Gone: nothing waits for it.
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests;
