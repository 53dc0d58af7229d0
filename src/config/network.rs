//! Ranges of addresses, as an operator writes them: `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.1`.

use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An address, or all addresses with the same first bits (RFC 4632 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Network(#[schemars(with = "String")] (IpAddr, u8));

#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is not a network: an address, or one and the number of bits that count, with the others 0"
)]
pub struct NetworkError(String);

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        let (first, bits) = self.0;
        let (first, address) = (number(first), number(address.to_canonical()));
        first.1 == address.1 && masked(address, bits) == first.0
    }
}

/// An address as a number in the highest bits, and how many bits it has.
fn number(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    }
}

fn masked((number, _): (u128, u8), bits: u8) -> u128 {
    number & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

impl TryFrom<String> for Network {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Network, NetworkError> {
        let parse = || {
            let (address, bits) = match text.split_once('/') {
                Some((address, bits)) => (address, Some(bits)),
                None => (text.as_str(), None),
            };
            let first: IpAddr = address.parse().ok()?; // the error names the text
            let number = number(first);
            let bits = match bits {
                Some(bits) if bits.starts_with('+') => return None,
                Some(bits) => bits.parse().ok()?, // likewise
                None => number.1,
            };
            let fits = bits <= number.1 && masked(number, bits) == number.0;
            fits.then_some(Network((first, bits)))
        };
        parse().ok_or_else(|| NetworkError(text.clone()))
    }
}

impl From<Network> for String {
    fn from(network: Network) -> String {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.0, self.0.1)
    }
}

#[cfg(test)]
mod tests {
    use super::Network;

    #[test]
    fn a_network_holds_the_addresses_with_its_bits() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "ff::", "10.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
        ] {
            let network = Network::try_from(network.to_owned()).expect("a network");
            assert!(
                network.contains(inside.parse().expect("an address")),
                "{network} {inside}"
            );
            assert!(
                !network.contains(outside.parse().expect("an address")),
                "{network} {outside}"
            );
        }
        for wrong in [
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "x",
            "::1/129",
        ] {
            assert!(Network::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
