//! The signaling port where hosts have certificates: the first byte tells TLS from plain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::limits::Addresses;
use super::tls::handshake::{FIRST_BYTE, Tls};
use crate::cause::chain;
use crate::config;
use crate::signaling::{Signaling, Stream};
use crate::tasks::Tasks;

pub struct Port {
    room: Signaling,
    tls: Arc<Tls>,
    tasks: Tasks,
    plain: bool,
    timeout: Duration,
    /// The room counts connections whose handshake is done; until then they are counted here.
    permits: Arc<Semaphore>,
    addresses: Addresses,
}

impl Port {
    pub fn new(settings: &config::Signaling, room: Signaling, tls: Arc<Tls>, tasks: Tasks) -> Port {
        Port {
            room,
            tls,
            tasks,
            plain: settings.plain,
            timeout: Duration::from_secs(settings.handshake_timeout_seconds),
            permits: Arc::new(Semaphore::new(settings.max_connections)),
            addresses: Addresses::new(settings.max_connections_per_address, &[]),
        }
    }

    /// Takes a connection to the room; without a place for it, it is dropped.
    pub fn greet(self: &Arc<Port>, stream: TcpStream, peer: SocketAddr) {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            return tracing::debug!(address = %peer.ip(), "too many handshakes at the same time");
        };
        let Some(place) = self.addresses.enter(peer.ip()) else {
            return tracing::debug!(address = %peer.ip(), "too many handshakes of one address");
        };
        let port = self.clone();
        let greeting = async move {
            port.welcome(stream, peer).await;
            drop((permit, place));
        };
        drop(self.tasks.short("signaling-handshake", greeting)); // bounded by the timeouts of the handshakes
    }

    async fn welcome(&self, stream: TcpStream, peer: SocketAddr) {
        let mut first = [0];
        match tokio::time::timeout(self.timeout, stream.peek(&mut first)).await {
            Ok(Ok(1)) => {}
            Ok(Ok(_) | Err(_)) | Err(_) => return, // gone, or silent: nothing to tell it
        }
        if first != [FIRST_BYTE] {
            if self.plain {
                self.room.enter(Stream::Tcp(stream), peer.ip());
            } else {
                tracing::debug!(address = %peer.ip(), "plain connections are refused here");
            }
            return;
        }
        match self.tls.accept(stream).await {
            Ok(Some(stream)) => self.room.enter(Stream::Tls(stream), peer.ip()),
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(address = %peer.ip(), error = %chain(&error), "no TLS session");
            }
        }
    }
}
