//! Asks an upstream for its health, again and again, for as long as a route uses it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use http::header::{HOST, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use tokio::time::{Instant, timeout};

use super::dial::Connection;
use super::failure::Failure;
use super::upload::Upload;
use super::upstream::Upstream;
use super::wait::Wait;
use crate::cause::chain;
use crate::config::proxy::HealthCheck;
use crate::tasks::{self, Tasks};

#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error("the check failed")]
    Failed(#[from] Failure),
    #[error("the check cannot be sent")]
    Request(#[from] http::Error),
    #[error("the check was answered {0}")]
    Status(StatusCode),
    #[error("the check was not answered in time")]
    Timeout,
}

pub fn start(upstream: &Arc<Upstream>, tasks: &Tasks) {
    let Some(check) = upstream.identity.health.clone() else {
        return;
    };
    let asked = Arc::downgrade(upstream);
    let cancelled = tasks.cancelled();
    let ask = async move {
        tokio::select! {
            () = ask_again_and_again(asked, check) => {}
            () = cancelled => {}
        }
    };
    drop(tasks.short("health-check", ask)); // it ends with its upstream
}

async fn ask_again_and_again(upstream: Weak<Upstream>, check: HealthCheck) {
    loop {
        let Some(asked) = upstream.upgrade() else {
            return;
        };
        let within = Duration::from_secs(check.timeout_seconds);
        let outcome = match timeout(within, ask(&asked, &check)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(CheckError::Timeout),
        };
        match (asked.health.checked(outcome.is_ok()), outcome) {
            (Some(true), _) => {
                tracing::info!(upstream = %asked.identity.url, "an upstream is up again");
            }
            (Some(false), Err(error)) => {
                let error = chain(&error);
                tracing::warn!(%error, upstream = %asked.identity.url, "an upstream is down");
            }
            (Some(false) | None, _) => {}
        }
        drop(asked); // a pause must not keep alive what no route uses
        tasks::pause(Duration::from_secs(check.interval_seconds)).await;
    }
}

async fn ask(upstream: &Arc<Upstream>, check: &HealthCheck) -> Result<(), CheckError> {
    let connection = upstream.dial_apart().await?;
    let mut request = Request::new(Upload::empty());
    *request.method_mut() = Method::GET;
    let agent = HeaderValue::from_static(concat!("seance/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().insert(USER_AGENT, agent);
    let wait = Wait {
        begun: Instant::now(),
        first_byte: Duration::from_secs(check.timeout_seconds),
        idle: Duration::from_secs(check.timeout_seconds),
        latest: None,
        progress: None,
    };
    let answer = match connection {
        Connection::H1(mut connection) => {
            request.headers_mut().insert(HOST, upstream.host.clone());
            *request.uri_mut() = check.path.parse().map_err(http::Error::from)?;
            connection.send(request, &wait).await
        }
        Connection::H2(mut connection) => {
            *request.uri_mut() = Uri::builder()
                .scheme(upstream.identity.url.scheme().name())
                .authority(upstream.authority.clone())
                .path_and_query(check.path.as_str())
                .build()?;
            connection.send(request, &wait).await
        }
    };
    let status = match answer {
        None => return Err(CheckError::Timeout),
        Some(Err(error)) => return Err(Failure::Answer(error.into_error()).into()),
        Some(Ok(answer)) => answer.status(),
    };
    let good = match check.status {
        Some(wanted) => status.as_u16() == wanted,
        None => status.as_u16() < 400,
    };
    if good {
        Ok(())
    } else {
        Err(CheckError::Status(status))
    }
}
