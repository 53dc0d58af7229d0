//! From staged files to a record of the log: the checks, and the moment a deploy becomes true.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::checks::{
    check_changes, check_layout, check_places, files, fingerprint, removed, replaced,
};
use super::draft::Terms;
use super::index::Index;
use super::lint::Lintable;
use super::log::{Appended, LogError};
use super::path::ReleasePath;
use super::record::{
    Actor, Deployed, Event, FORMAT, File, Idempotency, Record, ReleaseId, Rollout, Warning,
};
use super::republish::{Again, Obstacle};
use super::staging::{StagedFile, StagingError};
use super::state::{State, Tree};
use crate::clock;
use crate::config::{AppName, BuilderKey, Lint, StorePrefix};

/// A deploy that took longer than this is refused: the collector of another node, whose clock may be ahead, is about
/// to take its content for a leftover.
const OLDEST: SignedDuration = SignedDuration::from_hours(12);

/// Races that one deploy may lose. Each means that another deploy succeeded.
const RACES: u32 = 1000;

/// What is asked of a deploy beside its files.
#[derive(Clone, Debug)]
pub struct Order {
    pub app: AppName,
    pub prefix: StorePrefix,
    pub actor: Actor,
    pub key: BuilderKey,
    /// SHA-256 of the idempotency key, if there was one.
    pub key_sha256: Option<[u8; 32]>,
    /// Accept changed bytes under a versioned name.
    pub force: bool,
    /// The share of clients that changed manifests reach at first; without one, all.
    pub rollout: Option<Rollout>,
}

/// A deploy that is true.
#[derive(Clone, Debug)]
pub struct Published {
    pub record: Arc<Record>,
    /// Whether it had been true before: the answer to a repeated request.
    pub replayed: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error(transparent)]
    Staging(#[from] StagingError),
    /// 503 or 507, see [`LogError`]; after [`LogError::Uncertain`] the deploy may yet turn out to be published.
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("`{path}` would change, and this key may publish to {}", within.join(", "))]
    Outside {
        path: ReleasePath,
        within: Vec<String>,
    },
    #[error("This builder key was revoked")]
    Revoked,
    #[error("published files would change under names that carry a version")]
    Changed(Vec<ReleasePath>),
    #[error("`{file}` is published as a file, so `{path}` cannot lie below it")]
    BelowFile {
        path: ReleasePath,
        file: ReleasePath,
    },
    #[error("`{path}` is a directory of published files, such as `{file}`")]
    IsDirectory {
        path: ReleasePath,
        file: ReleasePath,
    },
    #[error("the manifests have faults, and faults are refused here")]
    Lint(Vec<Warning>),
    #[error("another deploy was published with this idempotency key")]
    OtherDeploy,
    #[error("the deploy published with this idempotency key is a day old by now; send it again")]
    Forgotten,
    #[error("the deploy took longer than {} hours", OLDEST.as_hours())]
    Expired,
    #[error("{RACES} other deploys were published first")]
    Contended,
    #[error(transparent)]
    Again(#[from] Obstacle),
}

/// A deploy that is staged and waits to become true.
pub struct Candidate<'a> {
    pub id: ReleaseId,
    pub node: &'a str,
    pub order: &'a Order,
    pub lint: Lint,
    /// Whether the content was stored, or only hashed to compare it with a deploy published before.
    pub stored: bool,
    pub files: Vec<StagedFile>,
    pub origin: Origin,
    /// Once cancelled, no record is begun.
    pub cut: CancellationToken,
}

/// Where the files of a candidate come from.
pub enum Origin {
    Deploy,
    /// Published once, under its own id.
    Draft(Terms),
    Republish(Again),
}

impl Candidate<'_> {
    /// Appends the record, after as many lost races as it takes; each time all checks are made again, against what is
    /// true by then.
    pub async fn publish(self, index: &Index) -> Result<Published, PublishError> {
        let share = self.order.rollout.as_ref();
        let share = share.map(|rollout| rollout.percentage);
        let fingerprint = fingerprint(&self.files, self.order.force, share);
        let lintables = self.lintables();
        let mut advance = index.advance().await;
        if !advance.is_from_log() {
            advance.catch_up().await?;
        }
        for _ in 0..RACES {
            let now = clock::now();
            let state = advance.state();
            let tree = state.tree(&self.order.prefix);
            if tree.keys().is_revoked(&self.order.key.hash) {
                return Err(PublishError::Revoked);
            }
            if let Some(n) = self.replay(&state, &fingerprint, now)? {
                let record = Arc::new(index.log().read(n).await?);
                return Ok(Published {
                    record,
                    replayed: true,
                });
            }
            self.check_age(now)?;
            if !self.stored {
                return Err(PublishError::Forgotten);
            }
            let deployed = self.deployed(&state, &tree, &lintables, now)?;
            let record = self.record(state.head() + 1, now, fingerprint, deployed);
            if self.cut.is_cancelled() {
                return Err(StagingError::GivenUp.into());
            }
            match advance.append(&record).await? {
                Appended::Yes => {
                    return Ok(Published {
                        record: Arc::new(record),
                        replayed: false,
                    });
                }
                Appended::Taken => advance.catch_up().await?,
            }
        }
        Err(PublishError::Contended)
    }

    fn lintables(&self) -> Vec<Lintable> {
        let lintable =
            |file: &StagedFile| Lintable::new(&file.path, file.inline.as_deref(), file.size);
        self.files.iter().filter_map(lintable).collect()
    }

    /// The record that holds the answer to this request, when it was made before.
    fn replay(
        &self,
        state: &State,
        fingerprint: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<u64>, PublishError> {
        if let Origin::Draft(_) = self.origin {
            return Ok(state.record_of(self.id));
        }
        let Some(key) = &self.order.key_sha256 else {
            return Ok(None);
        };
        match state.replay(&self.order.prefix, key, now) {
            Some(replay) if replay.fingerprint == *fingerprint => Ok(Some(replay.n)),
            Some(_) => Err(PublishError::OtherDeploy),
            None => Ok(None),
        }
    }

    fn check_age(&self, now: Timestamp) -> Result<(), PublishError> {
        if let Origin::Draft(draft) = &self.origin {
            // Its content stays for a day beyond.
            let in_time = now < draft.expires;
            return in_time.then_some(()).ok_or(PublishError::Expired);
        }
        let began =
            Timestamp::from_millisecond(i64::try_from(self.id.began_ms()).unwrap_or(i64::MAX));
        match began {
            Ok(began) if now.duration_since(began) < OLDEST => Ok(()),
            _ => Err(PublishError::Expired),
        }
    }

    /// What would be true after this deploy, or why it must not be.
    fn deployed(
        &self,
        state: &State,
        tree: &Tree,
        lintables: &[Lintable],
        now: Timestamp,
    ) -> Result<Deployed, PublishError> {
        let removed = removed(tree, &self.files);
        let changed = self.files.iter().map(|file| &file.path);
        check_places(
            &self.order.key.paths,
            changed.chain(removed.iter().copied()),
        )?;
        check_layout(tree, &removed, &self.files)?;
        let changed = check_changes(tree, &self.files);
        let files = files(state, tree, &self.files, now, self.order.force);
        let mut warnings = self.warnings(tree, &removed, &files, lintables);
        match &self.origin {
            Origin::Draft(draft) => warnings.extend(draft.judge(tree, lintables, changed)?),
            Origin::Republish(again) => again.check(tree)?,
            Origin::Deploy if !self.order.force => changed?,
            Origin::Deploy => {}
        }
        // Each that was too large to be read has one warning, and that is no fault.
        let unread = lintables.iter().filter(|lintable| lintable.is_unread());
        let faulty = self.lint == Lint::Enforce && warnings.len() > unread.count();
        let incomplete = matches!(&self.origin, Origin::Draft(draft) if !draft.faults.is_empty());
        if faulty || incomplete {
            return Err(PublishError::Lint(warnings));
        }
        Ok(Deployed {
            replaced: replaced(tree, &files, &removed),
            files,
            removed: removed.into_iter().cloned().collect(),
            warnings,
            forced: self.order.force,
        })
    }

    /// What is wrong with the manifests of this deploy, and what it makes wrong with others.
    fn warnings(
        &self,
        tree: &Tree,
        removed: &HashSet<&ReleasePath>,
        files: &[Arc<File>],
        lintables: &[Lintable],
    ) -> Vec<Warning> {
        let new: HashMap<&str, &File> = files
            .iter()
            .map(|file| (file.path.as_str(), &**file))
            .collect();
        let file = |path: &str| {
            let old = || {
                tree.file(path)
                    .filter(|file| !removed.contains(&file.path))
                    .map(|file| &**file)
            };
            new.get(path).copied().or_else(old)
        };
        let own = lintables
            .iter()
            .flat_map(|lintable| lintable.warnings(file));
        let mut warnings: Vec<Warning> = own.collect();
        let others = takes_away(tree, removed, files)
            .then(|| tree.files())
            .into_iter()
            .flatten()
            .filter(|file| file.path.is_manifest())
            .filter(|file| !new.contains_key(file.path.as_str()) && !removed.contains(&file.path));
        for other in others {
            let lintable = Lintable::new(&other.path, other.inline.as_deref(), other.size);
            let Some(lintable) = lintable else { continue };
            let before = lintable.warnings(|path| tree.file(path).map(|file| &**file));
            let after = lintable.warnings(file).into_iter();
            warnings.extend(after.filter(|warning| !before.contains(warning)));
        }
        warnings
    }

    fn record(&self, n: u64, at: Timestamp, fingerprint: [u8; 32], deployed: Deployed) -> Record {
        Record {
            format: FORMAT,
            n,
            id: self.id,
            app: self.order.app.clone(),
            prefix: self.order.prefix.clone(),
            at,
            node: self.node.to_owned(),
            actor: self.order.actor.clone(),
            idempotency: self.order.key_sha256.map(|key_sha256| Idempotency {
                key_sha256,
                fingerprint,
            }),
            draft: matches!(self.origin, Origin::Draft(_)),
            republished: match &self.origin {
                Origin::Republish(again) => Some(again.of),
                Origin::Deploy | Origin::Draft(_) => None,
            },
            event: match self.order.rollout.clone() {
                Some(rollout) => Event::Staged { deployed, rollout },
                None => Event::Deploy(deployed),
            },
        }
    }
}

/// Whether published bytes, other than those of manifests, go or get others in their place: only then can a manifest be
/// wrong that stays as it is.
fn takes_away(tree: &Tree, removed: &HashSet<&ReleasePath>, files: &[Arc<File>]) -> bool {
    let replaces = |file: &Arc<File>| {
        let old = tree.file(file.path.as_str());
        !file.path.is_manifest() && old.is_some_and(|old| old.sha256 != file.sha256)
    };
    !removed.is_empty() || files.iter().any(replaces)
}
