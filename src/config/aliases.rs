//! The names that existing deployments have for what is about their bucket.

use std::collections::BTreeSet;

use super::keys::Kind;
use super::layers::{Environment, LayerError, Layers, set, wrong};

/// Each with the key that it stands for.
const ALIASES: [(&str, &str); 7] = [
    ("SPACES_ACCESS_KEY_ID", "store.s3.access_key_id"),
    ("SPACES_SECRET_ACCESS_KEY", "store.s3.secret_access_key"),
    (BUCKET, "store.s3.bucket"),
    ("SPACES_REGION", "store.s3.region"),
    ("SPACES_ENDPOINT", "store.s3.endpoint"),
    (CDN_ENDPOINT, "apps.default.cdn_endpoint"),
    ("SPACES_PATH_PREFIX", "apps.default.prefix"),
];

const BUCKET: &str = "SPACES_BUCKET";
const CDN_ENDPOINT: &str = "SPACES_CDN_ENDPOINT";

/// Any of these means that the deployment wants the bucket, so that a missing one is an error, never the disk. An empty
/// one means it too: it is what becomes of a secret that a CI does not have.
const WANT_S3: [&str; 5] = [
    "SPACES_ACCESS_KEY_ID",
    "SPACES_SECRET_ACCESS_KEY",
    BUCKET,
    "SPACES_REGION",
    "SPACES_ENDPOINT",
];

pub fn is_variable(name: &str) -> bool {
    ALIASES.iter().any(|(alias, _)| *alias == name)
}

/// Adds what the environment says by these names, and the keys that it says it of to `given`. Empty ones say nothing.
///
/// # Errors
/// A value that does not fit, and an empty name of the bucket.
pub fn add(
    mut layers: Layers,
    environment: &Environment,
    given: &mut BTreeSet<String>,
) -> Result<Layers, LayerError> {
    let value = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    for (alias, key) in ALIASES {
        if let Some(value) = value(alias) {
            layers = set(layers, key, alias, value, Kind::Text)?;
            given.insert(key.to_owned());
        }
    }
    let empty = environment.get(BUCKET).is_some_and(String::is_empty);
    if empty && !given.contains("store.s3.bucket") {
        return Err(wrong(BUCKET, "", "the name of a bucket"));
    }
    // The CDN of a bucket does not have what is on our disk. One that fetches from us is `cdn_endpoint` of the app.
    let cdn = value(CDN_ENDPOINT).is_some();
    if cdn || WANT_S3.iter().any(|name| environment.contains_key(*name)) {
        layers = set(layers, "store.kind", BUCKET, "s3", Kind::Text)?;
    }
    Ok(layers)
}
