//! Takes old versions away by itself, in apps whose configuration says so.

use std::time::Duration;

use tokio::sync::watch;

use crate::audit::{Actor, Audit, AuditError, Deed, Outcome};
use crate::cause::chain;
use crate::config::App;
use crate::release::{self, Commander, ControlError, Releases};
use crate::systemd::message;
use crate::tasks;

/// Pause after the start: a daemon that is restarted daily would never come to it otherwise.
const FIRST: Duration = Duration::from_secs(600);

#[derive(Debug, thiserror::Error)]
enum PruneError {
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// Runs until the daemon ends. Each node of several does; what one took away the others do not find.
pub async fn keep(
    releases: Releases,
    audit: Audit,
    apps: watch::Receiver<Vec<App>>,
    interval: Duration,
) {
    tasks::pause(interval.min(FIRST)).await;
    loop {
        releases.known().await;
        let configured = apps.borrow().clone();
        for app in configured.iter().filter(|app| app.retention.is_set()) {
            if let Err(error) = prune(&releases, &audit, app).await {
                tracing::warn!(app = %app.name, error = %chain(&error), "old versions stay until the next try");
            }
        }
        tasks::pause(interval).await;
    }
}

async fn prune(releases: &Releases, audit: &Audit, app: &App) -> Result<(), PruneError> {
    let by = Commander {
        key: None,
        app: app.name.clone(),
        prefix: app.prefix.clone(),
        actor: release::Actor {
            key: "retention".to_owned(),
            address: String::new(),
        },
    };
    if releases
        .prune(&app.retention, &by, true)
        .await?
        .files
        .is_empty()
    {
        return Ok(());
    }
    let deed = Deed {
        app: app.name.to_string(),
        actor: Actor {
            key: Some("retention".to_owned()),
            address: None,
        },
        action: "prune",
        resource: app.prefix.to_string(),
        request: None,
    };
    let deed = audit.begin(deed).await?;
    let done = releases.prune(&app.retention, &by, false).await;
    let (outcome, details) = match &done {
        Ok(done) => (Outcome::Success, done.to_string()),
        Err(error) => (Outcome::Failure, chain(error).to_string()),
    };
    tracing::info!(message_id = message::RELEASE_CHANGED, app = %app.name, action = "prune", details, "old versions were looked through");
    deed.record(outcome, details).await?;
    done?;
    Ok(())
}
