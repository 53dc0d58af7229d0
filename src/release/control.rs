//! Commands over what is published: back to an earlier release, and how far manifests spread.
//!
//! A command is one record of the log that moves no content, so it holds at once for everything this node serves. Like
//! a deploy it may lose the race for a record's number, and is then worked out again against what is true by then.

mod error;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

pub use self::error::ControlError;
use super::channels::{channel_of, is_meant};
use super::index::Index;
use super::keys::{addition, revocation};
use super::log::Appended;
use super::past::{Past, predecessor, rollback};
use super::path::ReleasePath;
use super::record::{
    Actor, Deployed, Event, FORMAT, File, Record, ReleaseId, Rollout, SpreadOf, Step,
};
use super::retention;
use super::spread::Spread;
use super::state::{State, Tree};
use crate::cause::chain;
use crate::clock;
use crate::config::{AppName, BuilderKey, BuilderKeyHash, Retention, StorePrefix};
use crate::systemd;
use crate::tasks;

/// Steps of one rollout.
const STEPS_MOST: usize = 100;
/// Races that one command may lose. Each means that somebody else's succeeded.
const RACES: u32 = 100;

/// Who commands, and over which product.
#[derive(Clone, Debug)]
pub struct Commander {
    pub app: AppName,
    pub prefix: StorePrefix,
    pub actor: Actor,
    /// What makes it refused should the key be revoked meanwhile; none for what the daemon does by itself.
    pub key: Option<BuilderKeyHash>,
}

#[derive(Clone, Debug)]
pub enum Command {
    /// Publish again what was published after record `to`. Artefacts that came later stay: clients may be fetching them.
    Rollback {
        to: u64,
    },
    /// Change the share of clients that the selected manifests reach. It may only grow; a halted one may take any.
    Rollout {
        which: Selection,
        rollout: Rollout,
    },
    /// No further client gets the selected manifests, until the share is raised or another version is published.
    Halt {
        which: Selection,
    },
    /// The selected manifests are those of record `to`, whatever is published, until they are unpinned. Then everybody
    /// gets what is published: a rollout that was deployed meanwhile is not resumed.
    Pin {
        which: Selection,
        to: u64,
    },
    Unpin {
        which: Selection,
    },
    /// From now on this key may do what it says.
    AddKey(BuilderKey),
    /// This key may do nothing any more, also where a configuration has it.
    RevokeKey(BuilderKeyHash),
    /// Take the steps of all rollouts that are due.
    Advance,
    /// Take old versions away.
    Prune {
        rules: Retention,
    },
}

/// Some manifests of a product; what is not named does not narrow them.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// `latest`, `beta`: the first part of a manifest's name; `any` for all.
    pub channel: Option<String>,
    /// A directory of `releases/`, or what electron-builder puts behind the channel: `mac`, `linux`, `linux-arm64`.
    pub platform: Option<String>,
}

/// A command that is true.
#[derive(Debug)]
pub struct Executed {
    pub record: Arc<Record>,
    /// Why others of the selected manifests are as they were.
    pub left: Vec<ControlError>,
}

impl Command {
    /// Makes the command true.
    pub async fn execute(
        &self,
        index: &Index,
        node: &str,
        by: &Commander,
    ) -> Result<Executed, ControlError> {
        let mut advance = index.advance().await;
        for _ in 0..RACES {
            advance.catch_up().await?;
            let state = advance.state();
            let revoked = |key| state.tree(&by.prefix).keys().is_revoked(key);
            if by.key.as_ref().is_some_and(revoked) {
                return Err(ControlError::OwnKeyRevoked);
            }
            let at = clock::now();
            let (event, left) = self.event(index, &state, &by.prefix, at).await?;
            let record = Record {
                format: FORMAT,
                n: state.head() + 1,
                id: ReleaseId::generate(),
                app: by.app.clone(),
                prefix: by.prefix.clone(),
                at,
                node: node.to_owned(),
                actor: by.actor.clone(),
                idempotency: None,
                draft: false,
                republished: None,
                event,
            };
            if let Appended::Yes = advance.append(&record).await? {
                let record = Arc::new(record);
                return Ok(Executed { record, left });
            }
        }
        Err(ControlError::Contended)
    }

    async fn event(
        &self,
        index: &Index,
        state: &State,
        prefix: &StorePrefix,
        now: Timestamp,
    ) -> Result<(Event, Vec<ControlError>), ControlError> {
        let tree = state.tree(prefix);
        let past = |to| Past::read(index, state, prefix, to);
        let changes = match self {
            Command::Rollback { to } => {
                let past = past(*to).await?;
                let deployed = rollback(&tree, &past, now)?;
                past.taken.check(state, &tree, &deployed.files)?;
                return Ok((Event::Rollback { to: *to, deployed }, Vec::new()));
            }
            Command::AddKey(key) => return Ok((addition(&tree, key, now)?, Vec::new())),
            Command::RevokeKey(hash) => return Ok((revocation(&tree, hash)?, Vec::new())),
            Command::Rollout { which, rollout } => {
                check_steps(rollout)?;
                each(&which.of(&tree)?, |path| raise(&tree, path, rollout))
            }
            Command::Halt { which } => {
                let mut changes = Vec::new();
                for path in which.of(&tree)? {
                    changes.push(halt(index, state, prefix, &tree, &path).await);
                }
                changes
            }
            Command::Pin { which, to } => {
                let past = past(*to).await?;
                each(&which.of(&tree)?, |path| pin(state, &tree, &past, path))
            }
            Command::Unpin { which } => {
                let pinned = |path: &ReleasePath| {
                    tree.spread_of(path.as_str())
                        .is_some_and(|spread| spread.pinned)
                };
                let paths = which.of(&tree)?.into_iter().filter(pinned);
                paths.map(|path| Ok(everybody(path))).collect()
            }
            Command::Prune { rules } => {
                let files = retention::plan_aside(tree, rules.clone(), now).await?;
                let deployed = taken_away(files)?;
                return Ok((Event::Prune { deployed }, Vec::new()));
            }
            Command::Advance => advance(&tree, now).into_iter().map(Ok).collect(),
        };
        let (spreads, left) = settle(changes)?;
        Ok((Event::Spread { spreads }, left))
    }
}

/// The changes that can be made, and why the others cannot. A command that changes nothing is refused, and one that
/// the log fails is none.
fn settle(
    changes: Vec<Result<SpreadOf, ControlError>>,
) -> Result<(Vec<SpreadOf>, Vec<ControlError>), ControlError> {
    let (mut spreads, mut left) = (Vec::new(), Vec::new());
    for change in changes {
        match change {
            Ok(spread) => spreads.push(spread),
            Err(error @ ControlError::Log(_)) => return Err(error),
            Err(error) => left.push(error),
        }
    }
    if spreads.is_empty() {
        return Err(left.pop().unwrap_or(ControlError::Unchanged));
    }
    Ok((spreads, left))
}

/// Takes the steps of rollouts when they are due, until the daemon ends. Any node does, and the log decides who did.
pub async fn keep_schedules(index: &Index, node: &str, interval: Duration) {
    loop {
        tasks::pause(interval).await;
        for (app, prefix) in index.state().due(clock::now()) {
            let actor = Actor {
                key: "schedule".to_owned(),
                address: String::new(),
            };
            let by = Commander {
                app,
                prefix,
                actor,
                key: None,
            };
            match Command::Advance.execute(index, node, &by).await {
                Ok(done) => tracing::info!(
                    message_id = systemd::message::ROLLOUT_ADVANCED,
                    app = %by.app,
                    record = done.record.n,
                    "a rollout took its next step"
                ),
                // Another node was here first; or the store is away, which the reader of the log says.
                Err(ControlError::Unchanged | ControlError::Log(_)) => {}
                Err(error) => {
                    tracing::warn!(app = %by.app, error = %chain(&error), "a rollout cannot take its next step; trying again");
                }
            }
        }
    }
}

fn each(
    paths: &[ReleasePath],
    change: impl Fn(&ReleasePath) -> Result<SpreadOf, ControlError>,
) -> Vec<Result<SpreadOf, ControlError>> {
    paths.iter().map(change).collect()
}

impl Selection {
    /// The published manifests that are meant, at least one.
    pub(super) fn of(&self, tree: &Tree) -> Result<Vec<ReleasePath>, ControlError> {
        let paths: Vec<ReleasePath> = tree
            .below("releases")
            .map(|file| &file.path)
            .filter(|path| path.is_manifest() && self.holds(path))
            .cloned()
            .collect();
        if paths.is_empty() {
            return Err(ControlError::NothingSelected);
        }
        Ok(paths)
    }

    fn holds(&self, path: &ReleasePath) -> bool {
        let (channel, _) = channel_of(path);
        let wanted = self.channel.as_deref();
        wanted.is_none_or(|wanted| is_meant(wanted, channel)) && self.holds_place(path)
    }

    /// Whether a platform is meant that the file is for.
    pub(super) fn holds_place(&self, path: &ReleasePath) -> bool {
        let directory = path.parents().next().unwrap_or_default();
        let directory = directory.strip_prefix("releases/").unwrap_or_default();
        let (_, rest) = channel_of(path);
        let suffix = rest.split('.').next().unwrap_or_default();
        let suffix = suffix.strip_prefix('-').unwrap_or_default();
        let platform = self.platform.as_deref();
        platform.is_none_or(|wanted| wanted == directory || wanted == suffix)
    }
}

fn check_steps(rollout: &Rollout) -> Result<(), ControlError> {
    if rollout.steps.len() > STEPS_MOST {
        return Err(ControlError::ManySteps);
    }
    let mut last = (Timestamp::MIN, rollout.percentage);
    for step in &rollout.steps {
        if step.at <= last.0 || step.percentage <= last.1 {
            return Err(ControlError::Steps);
        }
        last = (step.at, step.percentage);
    }
    if last.1 > 100 {
        return Err(ControlError::Steps);
    }
    Ok(())
}

fn raise(tree: &Tree, path: &ReleasePath, rollout: &Rollout) -> Result<SpreadOf, ControlError> {
    let spread = tree
        .spread_of(path.as_str())
        .ok_or_else(|| ControlError::Complete(path.clone()))?;
    if spread.pinned {
        return Err(ControlError::Pinned(path.clone()));
    }
    let reached = spread.rollout.percentage;
    if rollout.percentage < reached {
        return Err(ControlError::Shrinks {
            path: path.clone(),
            percentage: reached,
        });
    }
    Ok(shared(path, rollout.clone(), &spread.before))
}

fn shared(path: &ReleasePath, rollout: Rollout, before: &Arc<File>) -> SpreadOf {
    if rollout.percentage == 100 {
        return everybody(path.clone());
    }
    SpreadOf {
        path: path.clone(),
        rollout,
        before: Some(before.clone()),
        pinned: false,
    }
}

fn everybody(path: ReleasePath) -> SpreadOf {
    SpreadOf {
        path,
        rollout: Rollout {
            percentage: 100,
            steps: Vec::new(),
        },
        before: None,
        pinned: false,
    }
}

async fn halt(
    index: &Index,
    state: &State,
    prefix: &StorePrefix,
    tree: &Tree,
    path: &ReleasePath,
) -> Result<SpreadOf, ControlError> {
    let nothing = || ControlError::Nothing(path.clone());
    let before = match tree.spread_of(path.as_str()) {
        Some(spread) if spread.pinned => return Err(ControlError::Pinned(path.clone())),
        Some(spread) => spread.before.clone(),
        None => predecessor(index, state, prefix, path)
            .await?
            .ok_or_else(nothing)?,
    };
    Ok(SpreadOf {
        path: path.clone(),
        rollout: Rollout::default(),
        before: Some(before),
        pinned: false,
    })
}

/// The record of files that go.
fn taken_away(files: Vec<Arc<File>>) -> Result<Deployed, ControlError> {
    if files.is_empty() {
        return Err(ControlError::Unchanged);
    }
    Ok(Deployed {
        files: Vec::new(),
        removed: files.iter().map(|file| file.path.clone()).collect(),
        replaced: files,
        warnings: Vec::new(),
        forced: false,
    })
}

fn pin(
    state: &State,
    tree: &Tree,
    past: &Past,
    path: &ReleasePath,
) -> Result<SpreadOf, ControlError> {
    let before = past
        .file(tree, path)
        .ok_or_else(|| ControlError::NotThen(path.clone()))?;
    past.taken
        .check(state, tree, std::slice::from_ref(&before))?;
    Ok(SpreadOf {
        path: path.clone(),
        rollout: Rollout::default(),
        before: Some(before),
        pinned: true,
    })
}

/// Rollouts whose next step is due.
fn advance(tree: &Tree, now: Timestamp) -> Vec<SpreadOf> {
    let due = |(path, spread): (&ReleasePath, &Arc<Spread>)| {
        let (past, next): (Vec<Step>, Vec<Step>) =
            spread.rollout.steps.iter().partition(|step| step.at <= now);
        let rollout = Rollout {
            percentage: past.last()?.percentage,
            steps: next,
        };
        Some(shared(path, rollout, &spread.before))
    };
    tree.spreads().filter_map(due).collect()
}
