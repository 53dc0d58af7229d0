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

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(most: usize, trusted: &[&str]) -> Addresses {
        let network = |text: &&str| Network::try_from((*text).to_owned()).expect("a network");
        let trusted: Vec<Network> = trusted.iter().map(network).collect();
        Addresses::new(most, &trusted)
    }

    fn enter(addresses: &Addresses, address: &str) -> Option<Place> {
        addresses.enter(address.parse().expect("an address"))
    }

    #[test]
    fn an_address_holds_as_many_places_as_it_may_until_one_is_freed() {
        let addresses = addresses(2, &[]);
        let first = enter(&addresses, "192.0.2.1");
        let second = enter(&addresses, "::ffff:192.0.2.1");
        assert!(first.is_some() && second.is_some());
        assert!(enter(&addresses, "192.0.2.1").is_none());
        let other = enter(&addresses, "192.0.2.2");
        assert!(other.is_some(), "another address");
        drop(first);
        let third = enter(&addresses, "192.0.2.1");
        assert!(third.is_some(), "a freed place");
        assert!(enter(&addresses, "192.0.2.1").is_none());
        drop((second, other, third));
        assert!(addresses.open.lock().expect("the counts").is_empty());
    }

    #[test]
    fn a_64_of_ipv6_is_one_address() {
        let addresses = addresses(1, &[]);
        let held = enter(&addresses, "2001:db8::1");
        assert!(held.is_some());
        assert!(enter(&addresses, "2001:db8::ffff:ffff:ffff:ffff").is_none());
        assert!(enter(&addresses, "2001:db8:0:1::1").is_some());
    }

    #[test]
    fn proxies_and_loopback_hold_as_many_as_they_want() {
        let addresses = addresses(1, &["10.0.0.0/8"]);
        for exempt in ["10.1.2.3", "::ffff:10.1.2.3", "127.0.0.1", "::1"] {
            let places: Vec<_> = (0..3).map(|_| enter(&addresses, exempt)).collect();
            assert!(places.iter().all(Option::is_some), "{exempt}");
        }
        let held = enter(&addresses, "11.0.0.1");
        assert!(held.is_some() && enter(&addresses, "11.0.0.1").is_none());
    }
}
