//! The vocabulary of the configuration: values that were checked once, when they were read.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

/// The name of a request in the log and the audit: set on the request for the handlers, on the answer for the client.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Whether the client's own connection is encrypted: set on the request for the handlers.
#[derive(Clone, Copy, Debug)]
pub struct Encrypted(pub bool);

/// App names appear in URLs and metrics.
const APP_NAME_MOST: usize = 63;
/// A prefix and a path together stay under the 1024 bytes of an S3 key.
const PREFIX_MOST: usize = 200;

/// First segments of routes: files under such a prefix would be shadowed by them.
const RESERVED: &[&str] = &[
    "api",
    "apps",
    "deploy",
    "download",
    "health",
    "openapi.json",
    "signaling",
    "ui",
    "updates",
];

/// The name of a product: lower-case letters, digits and `-`, at most 63 bytes.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String")]
pub struct AppName(#[schemars(with = "String")] String);

/// The first part of every public key of an app in the store: `prod`, `dev`, `staging`, `team/branch`. Free text in
/// Unicode normalisation form C, as far as a path of a release is; slashes around it do not belong to it.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String")]
pub struct StorePrefix(#[schemars(with = "String")] String);

/// SHA-256 of a builder key, 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct BuilderKeyHash(#[schemars(with = "String")] pub [u8; 32]);

#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    #[error("`{0}` is not an app name: 1 to {APP_NAME_MOST} lower-case letters, digits and `-`")]
    AppName(String),
    #[error(
        "`{0}` is not a store prefix: 1 to {PREFIX_MOST} bytes without `\\` and control characters, in parts separated by \
         `/`, none of them empty, `.`, `..` or `.seance`"
    )]
    StorePrefix(String),
    #[error("the store prefix `{0}` begins like a route of seance, which would hide its files ({routes})", routes = RESERVED.join(", "))]
    ReservedPrefix(String),
    #[error(
        "`{0}` is not the SHA-256 of a builder key: 64 hexadecimal digits (`seance key new` prints one)"
    )]
    BuilderKeyHash(String),
    #[error("this is the SHA-256 of the empty key, which everybody has")]
    EmptyKey,
    #[error("the name of a key has up to 255 bytes and no control characters")]
    KeyName,
    #[error("a key has up to 100 paths, each of 1 to 255 bytes")]
    KeyPaths,
}

impl AppName {
    /// The app whose routes are the ones without a name in them.
    pub fn default_app() -> AppName {
        AppName("default".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_default(&self) -> bool {
        self.0 == "default"
    }
}

impl TryFrom<String> for AppName {
    type Error = ValueError;

    fn try_from(name: String) -> Result<AppName, ValueError> {
        let fits = (1..=APP_NAME_MOST).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits {
            Ok(AppName(name))
        } else {
            Err(ValueError::AppName(name))
        }
    }
}

impl StorePrefix {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for StorePrefix {
    type Error = ValueError;

    fn try_from(text: String) -> Result<StorePrefix, ValueError> {
        let prefix: String = text.trim_matches('/').nfc().collect();
        let part_fits =
            |part: &str| !matches!(part, "" | "." | "..") && !part.eq_ignore_ascii_case(".seance");
        // XML cannot carry the two noncharacters, and an S3 listing is XML.
        let has_odd = prefix
            .contains(|c: char| c.is_control() || matches!(c, '\\' | '\u{fffe}' | '\u{ffff}'));
        let first = prefix.split('/').next().unwrap_or_default();
        if RESERVED.contains(&first) {
            return Err(ValueError::ReservedPrefix(text));
        }
        let fits = prefix.len() <= PREFIX_MOST && !has_odd && prefix.split('/').all(part_fits);
        if fits {
            Ok(StorePrefix(prefix))
        } else {
            Err(ValueError::StorePrefix(text))
        }
    }
}

impl TryFrom<String> for BuilderKeyHash {
    type Error = ValueError;

    fn try_from(text: String) -> Result<BuilderKeyHash, ValueError> {
        let mut hash = [0; 32];
        if hex::decode_to_slice(text.trim(), &mut hash).is_err() {
            return Err(ValueError::BuilderKeyHash(text));
        }
        // `echo -n "$KEY" | sha256sum` with KEY unset: everybody would hold that key.
        if hash == BuilderKeyHash::of("").0 {
            return Err(ValueError::EmptyKey);
        }
        Ok(BuilderKeyHash(hash))
    }
}

impl BuilderKeyHash {
    pub fn of(key: &str) -> BuilderKeyHash {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
        let mut hash = [0; 32];
        hash.copy_from_slice(digest.as_ref());
        BuilderKeyHash(hash)
    }

    /// Eight hexadecimal digits that name the key in logs and the audit without giving it away.
    pub fn fingerprint(&self) -> String {
        hex::encode(&self.0[..4])
    }
}

impl From<BuilderKeyHash> for String {
    fn from(hash: BuilderKeyHash) -> String {
        hex::encode(hash.0)
    }
}

impl fmt::Debug for BuilderKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuilderKeyHash({}…)", self.fingerprint())
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for StorePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What counts as one peer in limits per address: an IPv4 address, or the /64 that an IPv6 subscriber has (RFC 6177).
pub fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}
