//! Who calls a route that wants a builder key, known before anything of the body is read.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use http::request::Parts;

use super::apps::App;
use super::error::ApiError;
use super::{Api, auth};
use crate::audit::{self, Deed};
use crate::config::{self, BuilderKeyHash, REQUEST_ID};
use crate::release;

/// The holder of a valid key, and the product that it is about.
pub struct Caller {
    pub app: Arc<config::App>,
    pub key: BuilderKeyHash,
    pub address: IpAddr,
    request: Option<String>,
}

impl Caller {
    /// What the audit is to hold of an act on the app.
    pub fn deed(&self, action: &'static str) -> Deed {
        Deed {
            app: self.app.name.to_string(),
            actor: audit::Actor {
                key: Some(self.key.fingerprint()),
                address: Some(self.address),
            },
            action,
            resource: self.app.prefix.to_string(),
            request: self.request.clone(),
        }
    }

    /// Who stands in the records of the release log.
    pub fn actor(&self) -> release::Actor {
        release::Actor {
            key: self.key.fingerprint(),
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
        let key = auth::authenticate(&parts.headers, &app.builder_keys, failures)?.clone();
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
