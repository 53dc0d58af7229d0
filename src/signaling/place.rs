//! A connection's place in the room while it is not there yet: during the handshake of TLS.

use std::net::IpAddr;
use std::time::Duration;

use super::end::End;
use super::stream::Stream;
use super::{Signaling, lock};
use crate::config;

/// Dropping it frees it.
pub struct Place {
    signaling: Signaling,
    address: IpAddr,
    held: bool,
}

impl Signaling {
    /// A place for a connection that has just been accepted. Without one, which is counted, it is to be dropped.
    pub fn reserve(&self, address: IpAddr) -> Option<Place> {
        let address = config::subscriber(address);
        lock(&self.room).reserve(address).then(|| Place {
            signaling: self.clone(),
            address,
            held: true,
        })
    }
}

impl Place {
    /// How long the peer may be silent.
    pub fn timeout(&self) -> Duration {
        lock(&self.signaling.room).handshake_timeout()
    }

    /// Takes the connection in and runs it on the signaling thread.
    pub fn enter(mut self, stream: Stream) {
        self.held = false; // it is the connection's from here on
        let id = lock(&self.signaling.room).seat(stream, self.address);
        self.signaling.run(id);
    }

    /// Counts why there will be no connection.
    pub fn end(mut self, end: End) {
        self.held = false;
        let mut room = lock(&self.signaling.room);
        room.count(end);
        room.release(self.address);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.held {
            lock(&self.signaling.room).release(self.address);
        }
    }
}
