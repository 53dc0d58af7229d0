//! What is published now: the fold of the log's records, nothing else.
//!
//! Pure. Two nodes that folded the same records hold equal states, whatever snapshots they began with.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::record::{ContentKey, Event, File, Record, ReleaseId};
pub use super::tree::Tree;
use crate::config::{AppName, StorePrefix};

/// How long a repeated request is recognised by its idempotency key.
pub const REPLAY_WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// The fold of records 1 to `head`. Cloning is cheap; [`State::apply`] copies what it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    head: u64,
    /// Ids of records 1 to `head`, in order. They tell one bucket's log from another's, and staged content
    /// that became true from leftovers.
    ids: Arc<Vec<ReleaseId>>,
    trees: BTreeMap<StorePrefix, Arc<Tree>>,
    replays: Arc<Vec<Replay>>,
    /// Numbers of the records that took old versions away.
    #[serde(default)]
    prunes: Arc<Vec<u64>>,
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

    /// The record with this id.
    pub fn record_of(&self, id: ReleaseId) -> Option<u64> {
        let at = self.ids.iter().rposition(|known| *known == id)?;
        Some(at as u64 + 1)
    }

    /// The files under `prefix`; empty for a prefix that nothing was ever published to.
    pub fn tree(&self, prefix: &StorePrefix) -> Arc<Tree> {
        self.trees.get(prefix).cloned().unwrap_or_default()
    }

    /// The apps and prefixes whose rollouts have a step that is due.
    pub fn due(&self, now: Timestamp) -> Vec<(AppName, StorePrefix)> {
        let trees = self.trees.iter();
        trees
            .filter_map(|(prefix, tree)| Some((tree.due(now)?.clone(), prefix.clone())))
            .collect()
    }

    /// Records after record `n` that took old versions away.
    pub fn prunes_after(&self, n: u64) -> impl Iterator<Item = u64> {
        let first = self.prunes.partition_point(|prune| *prune <= n);
        self.prunes.iter().skip(first).copied()
    }

    /// Where the content of all is that may still be served.
    pub fn contents(&self) -> impl Iterator<Item = ContentKey> {
        self.trees.values().flat_map(|tree| tree.contents())
    }

    /// All files of all prefixes.
    pub fn files(&self) -> impl Iterator<Item = &Arc<File>> {
        self.trees.values().flat_map(|tree| tree.files())
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
        let tree = self.trees.entry(record.prefix.clone()).or_default();
        Arc::make_mut(tree).apply(record);
        if matches!(record.event, Event::Prune { .. }) {
            Arc::make_mut(&mut self.prunes).push(record.n);
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
}
