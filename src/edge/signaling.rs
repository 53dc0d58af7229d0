//! The signaling port where hosts have certificates: the first byte tells TLS from plain.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::tls::handshake::{FIRST_BYTE, HandshakeError, Tls};
use crate::cause::chain;
use crate::signaling::{End, Place, Signaling, Stream};
use crate::tasks::Tasks;

pub struct Port {
    room: Signaling,
    tls: Arc<Tls>,
    tasks: Tasks,
    plain: bool,
}

impl Port {
    /// With `plain` for connections without TLS, too.
    pub fn new(room: Signaling, tls: Arc<Tls>, tasks: Tasks, plain: bool) -> Port {
        Port {
            room,
            tls,
            tasks,
            plain,
        }
    }

    /// Takes a connection to the room; without a place for it, it is dropped.
    pub fn greet(self: &Arc<Port>, stream: TcpStream, peer: SocketAddr) {
        let Some(place) = self.room.reserve(peer.ip()) else {
            return tracing::debug!(address = %peer.ip(), "no place for a signaling connection");
        };
        let port = self.clone();
        let greeting = async move { port.welcome(stream, peer, place).await };
        drop(self.tasks.short("signaling-handshake", greeting)); // bounded by the timeouts of the handshakes
    }

    async fn welcome(&self, stream: TcpStream, peer: SocketAddr, place: Place) {
        let mut first = [0];
        match tokio::time::timeout(place.timeout(), stream.peek(&mut first)).await {
            Ok(Ok(1)) => {}
            Ok(Ok(_) | Err(_)) => return place.end(End::Gone),
            Err(_) => return place.end(End::HandshakeTimeout),
        }
        if first != [FIRST_BYTE] {
            if self.plain {
                return place.enter(Stream::Tcp(stream));
            }
            tracing::debug!(address = %peer.ip(), "plain connections are refused here");
            return place.end(End::HandshakeRefused);
        }
        match self.tls.accept(stream).await {
            Ok(Some(stream)) => place.enter(Stream::Tls(stream)),
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(address = %peer.ip(), error = %chain(&error), "no TLS session");
                place.end(match error {
                    HandshakeError::Timeout(_) => End::HandshakeTimeout,
                    HandshakeError::Gone => End::Gone,
                    _ => End::HandshakeRefused,
                });
            }
        }
    }
}
