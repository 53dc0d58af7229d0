//! A deploy from its head to its record: received, staged, and made true by a task of its own.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::figures::Figures;
use super::intake::Intake;
use super::log::LogError;
use super::publish::{Candidate, Order, Origin, PublishError, Published};
use super::record::ReleaseId;
use super::staging::{Staging, StagingError};
use super::{Releases, RunningKey};
use crate::clock;
use crate::config::{AppName, StorePrefix};

#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    #[error("too many deploys are being received")]
    Busy,
    #[error("a deploy with this idempotency key is still being received")]
    Running,
}

/// A deploy being received. Dropped, it never was.
pub struct Deploy {
    staging: Staging,
    order: Order,
    stored: bool,
    app: AppName,
    figures: Figures,
    counted: bool,
    cut: CancellationToken,
    _running: Option<Running>,
    _permit: OwnedSemaphorePermit,
}

/// An idempotency key in use.
struct Running {
    all: Arc<Mutex<HashSet<RunningKey>>>,
    key: RunningKey,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.all
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
    }
}

impl Releases {
    /// Begins a deploy. The intake goes to the thread that reads the body, and comes back with it to
    /// [`Releases::publish`]. While too many others are received it waits: nobody reads its body, so its sender does
    /// too, for as long as a sender may make us wait.
    pub async fn begin(&self, order: Order) -> Result<(Deploy, Intake), BeginError> {
        let shared = &self.shared;
        // Before the wait: a sender that repeats itself learns so at once.
        let running = match order.key_sha256 {
            Some(key) => Some(self.run(order.prefix.clone(), key)?),
            None => None,
        };
        let turn = shared.concurrent.clone().acquire_owned();
        let Ok(Ok(permit)) = tokio::time::timeout(shared.patience, turn).await else {
            return Err(BeginError::Busy);
        };
        // What was published under this key needs only to be compared with.
        let replay = |key: &[u8; 32]| {
            self.state()
                .replay(&order.prefix, key, clock::now())
                .is_some()
        };
        let stored = !order.key_sha256.as_ref().is_some_and(replay);
        let (staging, intake) = Staging::begin(shared.room.clone(), ReleaseId::generate(), stored);
        shared.figures.deploying.inc();
        let deploy = Deploy {
            staging,
            stored,
            app: order.app.clone(),
            order,
            figures: shared.figures.clone(),
            counted: false,
            cut: CancellationToken::new(),
            _running: running,
            _permit: permit,
        };
        Ok((deploy, intake))
    }

    fn run(&self, prefix: StorePrefix, key: [u8; 32]) -> Result<Running, BeginError> {
        let all = self.shared.running.clone();
        let key = (prefix, key);
        if !all
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.clone())
        {
            return Err(BeginError::Running);
        }
        Ok(Running { all, key })
    }

    /// Makes a deploy true, once all of its body was read into the intake.
    pub async fn publish(&self, deploy: Deploy, intake: Intake) -> Result<Published, PublishError> {
        self.make_true(deploy, intake, Origin::Deploy).await
    }

    pub(super) async fn make_true(
        &self,
        mut deploy: Deploy,
        intake: Intake,
        origin: Origin,
    ) -> Result<Published, PublishError> {
        let files = deploy.staging.finish(intake).await?;
        let shared = self.shared.clone();
        // A task of its own: a sender that goes away now must not leave it open whether a record was written.
        let publishing = shared
            .room
            .tasks
            .clone()
            .short("deploy-publish", async move {
                // However this ends unforeseen, a record may be there that names the content.
                deploy.staging.keep_all();
                let candidate = Candidate {
                    id: deploy.staging.id(),
                    node: &shared.node,
                    order: &deploy.order,
                    lint: shared.lint,
                    stored: deploy.stored,
                    files,
                    origin,
                    cut: deploy.cut.clone(),
                };
                let published = candidate.publish(&shared.index).await;
                deploy.end(&published);
                published
            });
        match publishing.await {
            Ok(Some(published)) => published,
            Ok(None) | Err(_) => Err(PublishError::Staging(StagingError::Lost)),
        }
    }
}

impl Deploy {
    pub fn id(&self) -> ReleaseId {
        self.staging.id()
    }

    /// Cancelled, it lets the deploy become true only if its record is being written by then.
    pub fn cut(&self) -> CancellationToken {
        self.cut.clone()
    }

    fn end(mut self, published: &Result<Published, PublishError>) {
        self.counted = true;
        let result = match published {
            Ok(published) if published.replayed => "replayed",
            Ok(_) => "published",
            Err(PublishError::Staging(_) | PublishError::Log(_)) => "failed",
            Err(_) => "refused",
        };
        self.figures.deploy(&self.app, result);
        match published {
            Ok(published) => {
                let named = published
                    .record
                    .deployed()
                    .files
                    .iter()
                    .map(|file| file.content)
                    .collect();
                self.staging.publish_only(&named);
            }
            Err(PublishError::Log(LogError::Uncertain { .. })) => {}
            Err(_) => self.staging.undo(),
        }
    }
}

impl Drop for Deploy {
    fn drop(&mut self) {
        self.figures.deploying.dec();
        if !self.counted {
            self.figures.deploy(&self.app, "abandoned");
        }
    }
}
