//! The products, resolved: each with a prefix and hosts that no other one has.

use std::collections::{BTreeMap, BTreeSet};

use base64_simd::STANDARD;
use minisign_verify::PublicKey;

use super::builder_key::BuilderKey;
use super::retention::Retention;
use super::types::{AppName, StorePrefix};
use super::{ConfigError, checks, file};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    pub name: AppName,
    pub prefix: StorePrefix,
    pub builder_keys: Vec<BuilderKey>,
    /// Without a trailing `/`.
    pub cdn_endpoint: Option<String>,
    pub hosts: Vec<String>,
    /// For people.
    pub display_name: Option<String>,
    /// What signatures of a Tauri app have to be by.
    pub tauri_public_key: Option<PublicKey>,
    pub retention: Retention,
}

/// The default app first.
pub fn resolve(mut file: BTreeMap<AppName, file::App>) -> Result<Vec<App>, ConfigError> {
    let default = file.remove(&AppName::default_app()).unwrap_or_default();
    let named = std::iter::once((AppName::default_app(), default)).chain(file);
    let apps = named
        .map(|(name, app)| one(name, app))
        .collect::<Result<Vec<App>, ConfigError>>()?;
    let mut hosts = BTreeMap::new();
    for (index, app) in apps.iter().enumerate() {
        if let Some(first) = apps[..index]
            .iter()
            .find(|first| overlap(&first.prefix, &app.prefix))
        {
            return Err(ConfigError::SharedPrefix {
                prefix: app.prefix.clone(),
                first: first.name.clone(),
                second: app.name.clone(),
            });
        }
        for host in app.hosts.iter().collect::<BTreeSet<_>>() {
            if let Some(first) = hosts.insert(host, &app.name) {
                let (host, first, second) = (host.clone(), AppName::clone(first), app.name.clone());
                return Err(ConfigError::SharedHost {
                    host,
                    first,
                    second,
                });
            }
        }
    }
    Ok(apps)
}

/// One prefix below another would let one app write the other's public files. Case does not tell them apart: not every
/// file system does.
fn overlap(one: &StorePrefix, other: &StorePrefix) -> bool {
    let (one, other) = (one.as_str().to_lowercase(), other.as_str().to_lowercase());
    format!("{one}/").starts_with(&format!("{other}/"))
        || format!("{other}/").starts_with(&format!("{one}/"))
}

fn one(name: AppName, file: file::App) -> Result<App, ConfigError> {
    let by_name = if name.is_default() {
        "prod"
    } else {
        name.as_str()
    };
    let by_name = || StorePrefix::try_from(by_name.to_owned());
    if let Some(endpoint) = &file.cdn_endpoint {
        checks::address(&format!("apps.{name}.cdn_endpoint"), endpoint)?;
    }
    for host in &file.hosts {
        checks::host(&name, host)?;
    }
    if let Some(shown) = &file.display_name {
        checks::display_name(&name, shown)?;
    }
    for key in &file.keys {
        key.check().map_err(|source| ConfigError::Key {
            app: name.clone(),
            source,
        })?;
    }
    let unrestricted = file.builder_key_hashes.into_iter();
    let unrestricted = unrestricted.map(BuilderKey::unrestricted);
    let tauri_public_key = match &file.tauri_public_key {
        Some(key) => {
            let invalid = || ConfigError::TauriKey { app: name.clone() };
            Some(tauri_key(key).ok_or_else(invalid)?)
        }
        None => None,
    };
    let builder_keys: Vec<BuilderKey> = unrestricted.chain(file.keys).collect();
    let mut known = BTreeSet::new();
    for key in &builder_keys {
        let fingerprint = key.hash.fingerprint();
        if !known.insert(fingerprint.clone()) {
            return Err(ConfigError::SameKey {
                app: name,
                fingerprint,
            });
        }
    }
    Ok(App {
        tauri_public_key,
        prefix: match file.prefix {
            Some(prefix) => prefix,
            None => by_name().map_err(ConfigError::PrefixOfName)?,
        },
        builder_keys,
        cdn_endpoint: file
            .cdn_endpoint
            .map(|endpoint| endpoint.trim_end_matches('/').to_owned()),
        hosts: file
            .hosts
            .into_iter()
            .map(|host| host.to_ascii_lowercase())
            .collect(),
        retention: file.retention,
        display_name: file
            .display_name
            .or_else(|| (!name.is_default()).then(|| name.to_string())),
        name,
    })
}

/// Base64 of a minisign public key with its comment, as `tauri signer generate` prints it.
fn tauri_key(text: &str) -> Option<PublicKey> {
    // The caller tells what is wrong, and never more than that it is none.
    let text = STANDARD.decode_to_vec(text.trim()).ok()?;
    PublicKey::decode(std::str::from_utf8(&text).ok()?).ok()
}
