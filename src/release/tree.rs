//! The files of one app that are published now, and how far each manifest spreads.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::keys::Keys;
use super::path::ReleasePath;
use super::record::{ContentKey, Deployed, Event, File, Record, Rollout, SpreadOf};
use super::spread::{Spread, StagingId};
use crate::config::AppName;

/// How long the replaced assets of a web app are remembered, and how many of one prefix; the oldest go first.
pub const RETIRED_KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);
const RETIRED_MOST: usize = 10_000;

/// The files under one store prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// The app that changed it last.
    #[serde(default)]
    app: Option<AppName>,
    #[serde(with = "as_list")]
    files: BTreeMap<ReleasePath, Arc<File>>,
    /// What pages of earlier deploys may still ask for.
    #[serde(default, with = "as_list", skip_serializing_if = "BTreeMap::is_empty")]
    retired: BTreeMap<ReleasePath, Retired>,
    /// Of manifests that do not reach every client.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    spreads: BTreeMap<ReleasePath, Arc<Spread>>,
    #[serde(default, skip_serializing_if = "Keys::is_empty")]
    keys: Keys,
}

/// A file that is no longer published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    file: Arc<File>,
    /// When the deploy without it was published.
    at: Timestamp,
}

impl Tree {
    pub fn file(&self, path: &str) -> Option<&Arc<File>> {
        self.files.get(path)
    }

    /// A file that a deploy after `since` took away, for the pages that it took it from.
    pub fn retired(&self, path: &str, since: Timestamp) -> Option<&Arc<File>> {
        let retired = self.retired.get(path)?;
        (retired.at >= since).then_some(&retired.file)
    }

    fn retire(&mut self, file: Arc<File>, at: Timestamp) {
        if file.path.outlives_its_page() {
            self.retired.insert(file.path.clone(), Retired { file, at });
        }
    }

    fn forget_retired(&mut self, now: Timestamp) {
        self.retired
            .retain(|_, retired| now.duration_since(retired.at) < RETIRED_KEPT);
        let Some(over) = self.retired.len().checked_sub(RETIRED_MOST + 1) else {
            return;
        };
        let mut times: Vec<Timestamp> = self.retired.values().map(|retired| retired.at).collect();
        // Whole deploys: half of one's assets would break its pages as much as none.
        let (_, last, _) = times.select_nth_unstable(over);
        let last = *last;
        self.retired.retain(|_, retired| retired.at > last);
    }

    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// What a client of the update feed gets under `path`.
    pub fn file_for(&self, path: &str, client: Option<StagingId>) -> Option<&Arc<File>> {
        match self.spreads.get(path) {
            Some(spread) => Some(spread.file(client)),
            None => self.files.get(path),
        }
    }

    /// What a CDN gets under `path`.
    pub fn public_file(&self, path: &str) -> Option<&Arc<File>> {
        match self.spreads.get(path) {
            Some(spread) => Some(spread.public()),
            None => self.files.get(path),
        }
    }

    /// The manifests that do not reach every client.
    pub fn spreads(&self) -> impl Iterator<Item = (&ReleasePath, &Arc<Spread>)> {
        self.spreads.iter()
    }

    pub fn spread_of(&self, path: &str) -> Option<&Arc<Spread>> {
        self.spreads.get(path)
    }

    pub(super) fn apply(&mut self, record: &Record) {
        self.app = Some(record.app.clone());
        match &record.event {
            Event::Deploy(deployed) | Event::Prune { deployed } => {
                self.change(deployed, None, record.at);
            }
            Event::Rollback { deployed, .. } => {
                for file in &deployed.files {
                    self.spreads
                        .retain(|path, spread| spread.pinned || *path != file.path);
                }
                self.change(deployed, None, record.at);
            }
            Event::Staged { deployed, rollout } => {
                self.change(deployed, Some(rollout), record.at);
            }
            Event::Spread { spreads } => {
                for spread in spreads {
                    self.spread(spread);
                }
            }
            Event::KeyAdded { key } => self.keys.add(key),
            Event::KeyRevoked { hash } => self.keys.revoke(hash),
        }
    }

    /// The app that it belongs to, when one of its rollouts has a step that is due.
    pub fn due(&self, now: Timestamp) -> Option<&AppName> {
        let mut steps = self
            .spreads
            .values()
            .flat_map(|spread| &spread.rollout.steps);
        self.app
            .as_ref()
            .filter(|_| steps.any(|step| step.at <= now))
    }

    /// Removals first, then the files. A changed manifest ends its spread, unless that is pinned, or begins one.
    fn change(&mut self, deployed: &Deployed, rollout: Option<&Rollout>, at: Timestamp) {
        for path in &deployed.removed {
            self.spreads.remove(path);
            if let Some(file) = self.files.remove(path) {
                self.retire(file, at);
            }
        }
        for file in &deployed.files {
            self.retired.remove(&file.path);
            let old = self.files.insert(file.path.clone(), file.clone());
            let spread = self.spreads.get(&file.path);
            let Some(old) = old.filter(|old| old.sha256 != file.sha256) else {
                continue;
            };
            let (before, held, pinned) = match spread {
                Some(spread) => (spread.before.clone(), Some(&spread.rollout), spread.pinned),
                None => (old, None, false),
            };
            let rollout = match (pinned, rollout) {
                (true, _) => held.cloned(),
                (false, rollout) => rollout.cloned(),
            };
            let Some(rollout) = rollout.filter(|_| file.path.is_manifest()) else {
                self.spreads.remove(&file.path);
                continue;
            };
            self.spread(&SpreadOf {
                path: file.path.clone(),
                rollout,
                before: Some(before),
                pinned,
            });
        }
        self.forget_retired(at);
    }

    fn spread(&mut self, change: &SpreadOf) {
        let spread = self
            .files
            .get(&change.path)
            .and_then(|published| Spread::new(published, change));
        match spread {
            Some(spread) => {
                self.spreads.insert(change.path.clone(), Arc::new(spread));
            }
            None => {
                self.spreads.remove(&change.path);
            }
        }
    }

    pub fn files(&self) -> impl Iterator<Item = &Arc<File>> {
        self.files.values()
    }

    /// Where the content of all is that this tree may still serve.
    pub fn contents(&self) -> impl Iterator<Item = ContentKey> {
        let spreads = self.spreads.values();
        let spreads = spreads.flat_map(|spread| [&spread.before, &spread.staged]);
        let retired = self.retired.values().map(|retired| &retired.file);
        let all = self.files.values().chain(spreads).chain(retired);
        all.map(|file| file.content)
    }

    /// The files in a directory and below, in the order of their paths; `directory` without a trailing `/`.
    pub fn below<'a>(&'a self, directory: &'a str) -> impl Iterator<Item = &'a Arc<File>> {
        let from = format!("{directory}/");
        self.files
            .range::<str, _>((Bound::Included(from.as_str()), Bound::Unbounded))
            .take_while(move |(path, _)| is_below(path, directory))
            .map(|(_, file)| file)
    }
}

fn is_below(path: &ReleasePath, directory: &str) -> bool {
    path.as_str()
        .strip_prefix(directory)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// The map as the list of its values, which carry their keys.
mod as_list {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Retired;
    use crate::release::path::ReleasePath;
    use crate::release::record::File;

    pub trait Named {
        fn path(&self) -> &ReleasePath;
    }

    impl Named for Arc<File> {
        fn path(&self) -> &ReleasePath {
            &self.path
        }
    }

    impl Named for Retired {
        fn path(&self) -> &ReleasePath {
            &self.file.path
        }
    }

    pub fn serialize<V: Serialize, S: Serializer>(
        values: &BTreeMap<ReleasePath, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.values())
    }

    pub fn deserialize<'de, V: Named + Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<ReleasePath, V>, D::Error> {
        let values = Vec::<V>::deserialize(deserializer)?;
        Ok(values
            .into_iter()
            .map(|value| (value.path().clone(), value))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::record::tests::file;

    #[test]
    fn of_too_many_replaced_assets_the_oldest_deploys_go() {
        let at = |n: i64| Timestamp::from_second(1_800_000_000 + n).unwrap();
        let asset = file("web/assets/a.js", b"1");
        let mut tree = Tree::default();
        for n in 0..20_002 {
            let path = ReleasePath::parse(&format!("web/assets/{n}.js")).unwrap();
            let file = File {
                path,
                ..asset.clone()
            };
            tree.retire(Arc::new(file), at(n / 2));
        }
        tree.forget_retired(at(20_000));
        assert_eq!(tree.retired.len(), 10_000);
        assert!(tree.retired("web/assets/10001.js", at(0)).is_none());
        assert!(tree.retired("web/assets/10002.js", at(0)).is_some());
    }
}
