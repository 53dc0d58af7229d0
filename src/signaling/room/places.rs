//! How many connections there are, in all and from each address.

use std::collections::HashMap;
use std::net::IpAddr;

use super::End;
use crate::config::Signaling as Settings;

/// Connections beyond the limit that may be there while they are told so. Of one address far fewer: in their handshakes,
/// too, its connections must not take the places of all others.
const SPARE: usize = 256;
const SPARE_OF_ADDRESS: usize = 16;

#[derive(Default)]
pub struct Places {
    all: Count,
    addresses: HashMap<IpAddr, Count>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    /// In every phase, from the accept on.
    taken: usize,
    open: usize,
}

impl Places {
    /// Takes a place.
    ///
    /// # Errors
    /// There are so many that it cannot even be told why not.
    pub fn take(&mut self, address: IpAddr, limits: &Settings) -> Result<(), End> {
        if self.all.taken >= limits.max_connections + SPARE {
            return Err(End::TooManyConnections);
        }
        let here = self.addresses.entry(address).or_default();
        if here.taken >= limits.max_connections_per_address + SPARE_OF_ADDRESS {
            return Err(End::TooManyFromAddress);
        }
        here.taken += 1;
        self.all.taken += 1;
        Ok(())
    }

    pub fn free(&mut self, address: IpAddr) {
        self.all.taken -= 1;
        if let Some(here) = self.addresses.get_mut(&address) {
            here.taken -= 1;
            if here.taken == 0 {
                self.addresses.remove(&address);
            }
        }
    }

    /// The connection on a place is open, until [`Self::shut`].
    ///
    /// # Errors
    /// The limit that it is beyond; it counts in any case.
    pub fn open(&mut self, address: IpAddr, limits: &Settings) -> Result<(), End> {
        self.all.open += 1;
        let here = self.addresses.entry(address).or_default();
        here.open += 1;
        if here.open > limits.max_connections_per_address {
            return Err(End::TooManyFromAddress);
        }
        if self.all.open > limits.max_connections {
            return Err(End::TooManyConnections);
        }
        Ok(())
    }

    pub fn shut(&mut self, address: IpAddr) {
        self.all.open -= 1;
        if let Some(here) = self.addresses.get_mut(&address) {
            here.open -= 1;
        }
    }

    pub fn open_count(&self) -> usize {
        self.all.open
    }
}
