//! What is published now: the fold of the log's records, nothing else.
//!
//! Pure. Two nodes that folded the same records hold equal states, whatever snapshots they began with.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::path::ReleasePath;
use super::record::{Deployed, Event, File, Record, ReleaseId, Rollout, SpreadOf};
use super::spread::{Spread, StagingId};
use crate::config::{AppName, StorePrefix};

/// How long a repeated request is recognised by its idempotency key.
pub const REPLAY_WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// How long the replaced assets of a web app are remembered, and how many of one prefix; the oldest go first.
pub const RETIRED_KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);
const RETIRED_MOST: usize = 10_000;

/// The fold of records 1 to `head`. Cloning is cheap; [`State::apply`] copies what it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    head: u64,
    /// Ids of records 1 to `head`, in order. They tell one bucket's log from another's, and staged content
    /// that became true from leftovers.
    ids: Arc<Vec<ReleaseId>>,
    trees: BTreeMap<StorePrefix, Arc<Tree>>,
    replays: Arc<Vec<Replay>>,
}

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
}

/// A file that is no longer published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    file: Arc<File>,
    /// When the deploy without it was published.
    at: Timestamp,
}

/// A successful request that may be repeated: the answer is in record `n`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    pub prefix: StorePrefix,
    #[serde(with = "super::record::hexadecimal")]
    pub key_sha256: [u8; 32],
    #[serde(with = "super::record::hexadecimal")]
    pub fingerprint: [u8; 32],
    pub n: u64,
    pub at: Timestamp,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {n} of the release log cannot follow record {head}")]
pub struct OutOfOrder {
    pub n: u64,
    pub head: u64,
}

impl State {
    /// Number of the last record in it; 0 before the first.
    pub fn head(&self) -> u64 {
        self.head
    }

    pub fn ids(&self) -> &[ReleaseId] {
        &self.ids
    }

    /// The files under `prefix`; empty for a prefix that nothing was ever published to.
    pub fn tree(&self, prefix: &StorePrefix) -> Arc<Tree> {
        self.trees.get(prefix).cloned().unwrap_or_default()
    }

    /// The apps and prefixes whose rollouts have a step that is due.
    pub fn due(&self, now: Timestamp) -> Vec<(AppName, StorePrefix)> {
        let due = |tree: &Tree| {
            let mut spreads = tree.spreads.values();
            spreads.any(|spread| spread.rollout.steps.iter().any(|step| step.at <= now))
        };
        let trees = self.trees.iter().filter(|(_, tree)| due(tree));
        trees
            .filter_map(|(prefix, tree)| Some((tree.app.clone()?, prefix.clone())))
            .collect()
    }

    /// All files of all prefixes.
    pub fn files(&self) -> impl Iterator<Item = &Arc<File>> {
        self.trees.values().flat_map(|tree| tree.files.values())
    }

    /// The success that was recorded under this idempotency key within the last 24 hours.
    pub fn replay(
        &self,
        prefix: &StorePrefix,
        key_sha256: &[u8; 32],
        now: Timestamp,
    ) -> Option<&Replay> {
        self.replays.iter().rev().find(|replay| {
            replay.prefix == *prefix && replay.key_sha256 == *key_sha256 && is_fresh(replay.at, now)
        })
    }

    /// Takes the next record in: removals first, then its files.
    pub fn apply(&mut self, record: &Record) -> Result<(), OutOfOrder> {
        if record.n != self.head + 1 {
            return Err(OutOfOrder {
                n: record.n,
                head: self.head,
            });
        }
        self.head = record.n;
        Arc::make_mut(&mut self.ids).push(record.id);
        let tree = Arc::make_mut(self.trees.entry(record.prefix.clone()).or_default());
        tree.app = Some(record.app.clone());
        match &record.event {
            Event::Deploy(deployed) => tree.change(deployed, None, record.at),
            Event::Rollback { deployed, .. } => {
                for file in &deployed.files {
                    tree.spreads
                        .retain(|path, spread| spread.pinned || *path != file.path);
                }
                tree.change(deployed, None, record.at);
            }
            Event::Staged { deployed, rollout } => {
                tree.change(deployed, Some(rollout), record.at);
            }
            Event::Spread { spreads } => {
                for spread in spreads {
                    tree.spread(spread);
                }
            }
        }
        if let Some(idempotency) = &record.idempotency {
            let replays = Arc::make_mut(&mut self.replays);
            replays.retain(|replay| is_fresh(replay.at, record.at));
            replays.push(Replay {
                prefix: record.prefix.clone(),
                key_sha256: idempotency.key_sha256,
                fingerprint: idempotency.fingerprint,
                n: record.n,
                at: record.at,
            });
        }
        Ok(())
    }
}

fn is_fresh(at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at) < REPLAY_WINDOW
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

    #[cfg(test)]
    pub fn files(&self) -> impl Iterator<Item = &Arc<File>> {
        self.files.values()
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
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::release::record::Idempotency;
    use crate::release::record::tests::{file, record};

    fn prefix(text: &str) -> StorePrefix {
        StorePrefix::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn records_are_taken_in_order_only() {
        let mut state = State::default();
        assert_eq!(
            state.apply(&record(2, "prod", vec![], &[])),
            Err(OutOfOrder { n: 2, head: 0 })
        );
        state.apply(&record(1, "prod", vec![], &[])).unwrap();
        assert_eq!(
            state.apply(&record(1, "prod", vec![], &[])),
            Err(OutOfOrder { n: 1, head: 1 })
        );
    }

    #[test]
    fn below_gives_a_directory_and_not_its_namesakes() {
        let mut state = State::default();
        let files =
            ["web", "web-old/a", "web/a", "web/b/c", "web0", "wea/x"].map(|path| file(path, b""));
        state.apply(&record(1, "prod", files.into(), &[])).unwrap();
        let tree = state.tree(&prefix("prod"));
        let below: Vec<_> = tree.below("web").map(|file| file.path.as_str()).collect();
        assert_eq!(below, ["web/a", "web/b/c"]);
    }

    #[test]
    fn a_reader_keeps_the_state_it_holds() {
        let mut state = State::default();
        state
            .apply(&record(1, "prod", vec![file("a", b"1")], &[]))
            .unwrap();
        let held = state.clone();
        state
            .apply(&record(2, "prod", vec![file("b", b"2")], &["a"]))
            .unwrap();
        assert!(held.tree(&prefix("prod")).file("a").is_some());
        assert!(state.tree(&prefix("prod")).file("a").is_none());
    }

    #[test]
    fn a_repeated_request_is_known_for_a_day() {
        let mut with_key = record(1, "prod", vec![], &[]);
        with_key.idempotency = Some(Idempotency {
            key_sha256: [1; 32],
            fingerprint: [2; 32],
        });
        let mut state = State::default();
        state.apply(&with_key).unwrap();
        let known = |key: u8, app: &str, hours: i64| {
            let now = with_key.at + SignedDuration::from_hours(hours);
            state
                .replay(&prefix(app), &[key; 32], now)
                .map(|replay| replay.n)
        };
        assert_eq!(known(1, "prod", 23), Some(1));
        assert_eq!(known(1, "prod", 24), None);
        assert_eq!(known(1, "dev", 1), None);
        assert_eq!(known(3, "prod", 1), None);
    }

    /// To `dev` or `prod`, paths with their bytes, paths that are removed.
    type Deploy = (bool, Vec<(u8, u8)>, Vec<u8>);

    fn deploys() -> impl Strategy<Value = Vec<Deploy>> {
        let files = proptest::collection::vec((0u8..12, any::<u8>()), 0..6);
        let removed = proptest::collection::vec(0u8..12, 0..3);
        proptest::collection::vec((any::<bool>(), files, removed), 0..20)
    }

    fn records(deploys: &[Deploy]) -> Vec<Record> {
        let name = |path: &u8| format!("dir{}/{path}", path % 3);
        let one = |(index, (dev, files, removed)): (usize, &Deploy)| {
            let files = files
                .iter()
                .map(|(path, byte)| file(&name(path), &[*byte]))
                .collect();
            let removed: Vec<String> = removed.iter().map(name).collect();
            let removed: Vec<&str> = removed.iter().map(String::as_str).collect();
            record(
                index as u64 + 1,
                if *dev { "dev" } else { "prod" },
                files,
                &removed,
            )
        };
        deploys.iter().enumerate().map(one).collect()
    }

    proptest! {
        #[test]
        fn the_state_is_the_last_word_on_every_path(deploys in deploys()) {
            let records = records(&deploys);
            let mut state = State::default();
            let mut oracle: BTreeMap<(String, String), File> = BTreeMap::new();
            for record in &records {
                state.apply(record).unwrap();
                for path in &record.deployed().removed {
                    oracle.remove(&(record.prefix.to_string(), path.to_string()));
                }
                for file in &record.deployed().files {
                    oracle.insert((record.prefix.to_string(), file.path.to_string()), File::clone(file));
                }
            }
            let mut seen = BTreeMap::new();
            for name in ["dev", "prod"] {
                for file in state.tree(&prefix(name)).files() {
                    seen.insert((name.to_owned(), file.path.to_string()), File::clone(file));
                }
            }
            prop_assert_eq!(seen, oracle);
            prop_assert_eq!(state.head(), records.len() as u64);
        }

        #[test]
        fn a_snapshot_in_the_middle_changes_nothing(deploys in deploys(), cut in 0usize..20) {
            let records = records(&deploys);
            let cut = cut.min(records.len());
            let mut whole = State::default();
            let mut resumed = State::default();
            for record in &records[..cut] {
                resumed.apply(record).unwrap();
            }
            let saved = serde_json::to_vec(&resumed).unwrap();
            let mut resumed: State = serde_json::from_slice(&saved).unwrap();
            for record in &records[cut..] {
                resumed.apply(record).unwrap();
            }
            for record in &records {
                whole.apply(record).unwrap();
            }
            prop_assert_eq!(resumed, whole);
        }
    }

    #[test]
    fn an_asset_outlives_the_deploy_that_replaced_it_for_a_while() {
        let day = |n: i64| Timestamp::from_second(1_800_000_000 + n * 86_400).unwrap();
        let deploy = |n: u64, at: i64, files: Vec<File>, removed: &[&str]| {
            let mut record = record(n, "prod", files, removed);
            record.at = day(at);
            record
        };
        let mut state = State::default();
        let paths = [
            "web/index.html",
            "web/sw.js",
            "web/assets/a.js",
            "releases/a/b.js",
        ];
        let first = paths.map(|path| file(path, b"1")).to_vec();
        state.apply(&deploy(1, 0, first, &[])).unwrap();
        state.apply(&deploy(2, 10, vec![], &paths)).unwrap();
        let tree = state.tree(&prefix("prod"));
        let kept = |path: &str, since: i64| tree.retired(path, day(since)).is_some();
        assert!(tree.file("web/assets/a.js").is_none());
        assert!(kept("web/assets/a.js", 3) && !kept("web/assets/a.js", 11));
        // A page and a service worker at the root would go on with the old version for ever.
        for path in ["web/index.html", "web/sw.js", "releases/a/b.js"] {
            assert!(!kept(path, 3), "{path}");
        }
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
        let again = vec![file("web/assets/a.js", b"2")];
        state.apply(&deploy(3, 11, again, &[])).unwrap();
        let tree = state.tree(&prefix("prod"));
        assert!(tree.retired("web/assets/a.js", day(0)).is_none());
    }

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
