//! The products, resolved: each with a prefix and hosts that no other one has.

use std::collections::{BTreeMap, BTreeSet};

use super::types::{AppName, BuilderKeyHash, StorePrefix};
use super::{ConfigError, address, file};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    pub name: AppName,
    pub prefix: StorePrefix,
    pub builder_keys: Vec<BuilderKeyHash>,
    /// Without a trailing `/`.
    pub cdn_endpoint: Option<String>,
    pub hosts: Vec<String>,
}

/// The default app first.
pub fn resolve(mut file: BTreeMap<AppName, file::App>) -> Result<Vec<App>, ConfigError> {
    let default = file.remove(&AppName::default_app()).unwrap_or_default();
    let named = std::iter::once((AppName::default_app(), default)).chain(file);
    let apps = named
        .map(|(name, app)| one(name, app))
        .collect::<Result<Vec<App>, ConfigError>>()?;
    let mut prefixes = BTreeMap::new();
    let mut hosts = BTreeMap::new();
    for app in &apps {
        if let Some(first) = prefixes.insert(&app.prefix, &app.name) {
            let (prefix, first, second) = (app.prefix.clone(), first.clone(), app.name.clone());
            return Err(ConfigError::SharedPrefix {
                prefix,
                first,
                second,
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

fn one(name: AppName, file: file::App) -> Result<App, ConfigError> {
    let by_name = if name.is_default() {
        "prod"
    } else {
        name.as_str()
    };
    let by_name = StorePrefix::try_from(by_name.to_owned()).ok();
    if let Some(endpoint) = &file.cdn_endpoint {
        address(&format!("apps.{name}.cdn_endpoint"), endpoint)?;
    }
    let missing = ConfigError::Required {
        variable: "SPACES_PATH_PREFIX",
        key: "apps.default.prefix",
    };
    Ok(App {
        prefix: file.prefix.or(by_name).ok_or(missing)?,
        builder_keys: file.builder_key_hashes,
        cdn_endpoint: file
            .cdn_endpoint
            .map(|endpoint| endpoint.trim_end_matches('/').to_owned()),
        hosts: file
            .hosts
            .into_iter()
            .map(|host| host.to_ascii_lowercase())
            .collect(),
        name,
    })
}
