//! Which product a request is about: the one it names, else the one its host belongs to, else the default.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use http::header;
use http::request::Parts;

use super::Api;
use super::error::ApiError;
use crate::config::{self, HostName};

pub struct Apps {
    /// The default app first.
    all: Vec<Arc<config::App>>,
    by_host: HashMap<String, Arc<config::App>>,
}

impl Apps {
    pub fn new(apps: Vec<config::App>) -> Apps {
        let all: Vec<Arc<config::App>> = apps.into_iter().map(Arc::new).collect();
        let hosts = all
            .iter()
            .flat_map(|app| app.hosts.iter().map(|host| (host.clone(), app.clone())));
        Apps {
            by_host: hosts.collect(),
            all,
        }
    }

    fn named(&self, name: &str) -> Option<&Arc<config::App>> {
        self.all.iter().find(|app| app.name.as_str() == name)
    }

    /// The app of a host, in any of its spellings, port or not.
    fn on_host(&self, host: &str) -> Option<&Arc<config::App>> {
        let name = HostName::parse(host);
        name.and_then(|name| self.by_host.get(name.as_str()))
            .or_else(|| self.all.first())
    }

    /// The app whose public names begin with the same directory as `path`, and the rest of `path`.
    pub fn by_public_path<'a>(&self, path: &'a str) -> Option<(&Arc<config::App>, &'a str)> {
        self.all.iter().find_map(|app| {
            let rest = path.strip_prefix(app.prefix.as_str())?.strip_prefix('/')?;
            Some((app, rest))
        })
    }
}

/// The product that a request is about.
pub struct App(pub Arc<config::App>);

impl FromRequestParts<Arc<Api>> for App {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<App, ApiError> {
        let named = match RawPathParams::from_request_parts(parts, api).await {
            Ok(params) => params
                .iter()
                .find(|(key, _)| *key == "app")
                .map(|(_, name)| name.to_owned()),
            Err(_) => return Err(ApiError::NotFound),
        };
        let app = match named {
            Some(name) => api.apps.named(&name),
            None => api.apps.on_host(host(parts)),
        };
        app.cloned().map(App).ok_or(ApiError::NotFound)
    }
}

/// RFC 9110 §7.2: HTTP/2 sends `:authority` in place of Host.
pub fn host(parts: &Parts) -> &str {
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    authority
        .or_else(|| parts.headers.get(header::HOST)?.to_str().ok())
        .unwrap_or_default()
}
