//! How many connections one address may hold.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::{Network, subscriber};

pub struct Addresses {
    most: usize,
    /// Proxies hold the connections of all their clients.
    trusted: Vec<Network>,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection's place; dropping it frees it.
pub struct Place {
    address: IpAddr,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Addresses {
    pub fn new(most: usize, trusted: &[Network]) -> Addresses {
        Addresses {
            most,
            trusted: trusted.to_vec(),
            open: Arc::default(),
        }
    }

    /// `None` when the address holds as many connections as it may. Bounded by the number of connections.
    pub fn enter(&self, address: IpAddr) -> Option<Place> {
        let exempt = address.to_canonical().is_loopback()
            || self.trusted.iter().any(|network| network.contains(address));
        let address = subscriber(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_insert(0);
        if *count >= self.most && !exempt {
            return None;
        }
        *count += 1;
        Some(Place {
            address,
            open: self.open.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}
