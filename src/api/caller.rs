//! Who calls a route that wants a builder key, known before anything of the body is read.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use http::request::Parts;

use super::apps::App;
use super::error::ApiError;
use super::{Api, auth};
use crate::audit::{self, Deed};
use crate::config::{self, BuilderKey, REQUEST_ID, Scope, is_within};
use crate::release::path::ReleasePath;
use crate::release::{self, Order};

/// The holder of a valid key, and the product that it is about.
pub struct Caller {
    pub app: Arc<config::App>,
    pub key: BuilderKey,
    pub address: IpAddr,
    request: Option<String>,
}

impl Caller {
    pub fn may(&self, scope: Scope) -> Result<(), ApiError> {
        if self.key.may(scope) {
            Ok(())
        } else {
            Err(ApiError::Scope(scope))
        }
    }

    /// Refuses paths that the key may not publish to.
    pub fn may_publish<'a>(
        &self,
        paths: impl IntoIterator<Item = &'a ReleasePath>,
    ) -> Result<(), ApiError> {
        self.may(Scope::Publish)?;
        let places = &self.key.paths;
        let mut outside = paths
            .into_iter()
            .filter(|path| !is_within(places, path.as_str()));
        match outside.next() {
            None => Ok(()),
            Some(path) => Err(ApiError::Outside {
                path: path.clone(),
                within: places.clone(),
            }),
        }
    }

    /// What the audit is to hold of an act.
    pub fn deed(&self, action: &'static str, resource: String) -> Deed {
        Deed {
            app: self.app.name.to_string(),
            actor: audit::Actor {
                key: Some(self.key.hash.fingerprint()),
                address: Some(self.address),
            },
            action,
            resource,
            request: self.request.clone(),
        }
    }

    /// What the caller has made true for everybody at once, unless it is said otherwise.
    pub fn order(&self) -> Order {
        Order {
            app: self.app.name.clone(),
            prefix: self.app.prefix.clone(),
            actor: self.actor(),
            key: self.key.clone(),
            key_sha256: None,
            force: false,
            rollout: None,
        }
    }

    /// Who stands in the records of the release log.
    pub fn actor(&self) -> release::Actor {
        release::Actor {
            key: self.key.hash.fingerprint(),
            address: self.address.to_string(),
        }
    }
}

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Caller, ApiError> {
        let App(app) = App::from_request_parts(parts, api).await?;
        // Every listener gives its requests one; one without is nobody's.
        let Ok(ConnectInfo(peer)) = ConnectInfo::<SocketAddr>::from_request_parts(parts, api).await
        else {
            return Err(ApiError::MissingKey);
        };
        let failures = auth::Budget {
            guard: &api.guard,
            address: peer.ip(),
            most: api.deploy.failed_keys_per_minute,
        };
        let tree = api.releases.state().tree(&app.prefix);
        let configured = app.builder_keys.iter();
        let keys = configured
            .filter(|key| !tree.keys().is_revoked(&key.hash))
            .chain(tree.keys().added());
        let key = auth::authenticate(&parts.headers, keys, failures)?.clone();
        if let release::Synced::Never = api.releases.synced() {
            // It may have been revoked.
            return Err(ApiError::Unknown);
        }
        let request = parts
            .headers
            .get(REQUEST_ID)
            .and_then(|id| id.to_str().ok()); // ours, ASCII
        Ok(Caller {
            request: request.map(str::to_owned),
            address: peer.ip(),
            app,
            key,
        })
    }
}
