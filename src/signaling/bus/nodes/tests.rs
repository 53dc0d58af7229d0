use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    nodes: 3,
    topics: 10,
    topic_bytes: 4,
};
const NAMES: [&str; 5] = ["a", "b", "c", "d", "long!"];

fn id(node: u8) -> NodeId {
    [node; 16]
}

/// What a node may say, or what may happen to it.
#[derive(Debug, Clone)]
enum Step {
    Set(u8, usize, u32),
    /// In one part or in two.
    State(u8, Vec<(usize, u32)>, bool),
    /// The first part was lost.
    Rest(u8, usize),
    Forget(u8),
    /// Its next envelope is lost.
    Lose(u8),
    Silence,
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0..4u8;
    let entry = (0..NAMES.len(), 0..4u32);
    prop_oneof![
        6 => (node.clone(), entry.clone()).prop_map(|(n, (t, c))| Step::Set(n, t, c)),
        3 => (node.clone(), prop::collection::vec(entry, 0..5), any::<bool>()).prop_map(|(n, e, p)| Step::State(n, e, p)),
        1 => (node.clone(), 0..NAMES.len()).prop_map(|(n, t)| Step::Rest(n, t)),
        1 => node.clone().prop_map(Step::Forget),
        1 => node.prop_map(Step::Lose),
        1 => Just(Step::Silence),
    ]
}

/// The nodes as a plain table, with the numbers that they count.
#[derive(Default)]
struct Model {
    counts: BTreeMap<u8, BTreeMap<&'static str, u32>>,
    in_step: BTreeSet<u8>,
    numbers: [u64; 4],
}

impl Model {
    /// Has the node say something; whether it is listened to.
    fn hear(&mut self, nodes: &mut Nodes, node: u8, now: Nanos) -> bool {
        let number = self.numbers[usize::from(node)];
        self.numbers[usize::from(node)] += 1;
        let known = self.counts.contains_key(&node);
        let heard = nodes.heard(id(node), number, now).is_some();
        assert_eq!(heard, known || self.counts.len() < LIMITS.nodes);
        if heard {
            self.counts.entry(node).or_default();
        }
        heard
    }

    fn forget(&mut self, node: u8) {
        self.counts.remove(&node);
        self.in_step.remove(&node);
    }

    fn assert_same(&self, nodes: &Nodes) {
        assert_eq!(nodes.count(), self.counts.len());
        for name in NAMES {
            let counts = self.counts.values().filter_map(|counts| counts.get(name));
            assert_eq!(nodes.total(name), counts.sum::<u32>(), "{name}");
        }
        let entries: usize = self.counts.values().map(BTreeMap::len).sum();
        assert_eq!(nodes.entries, entries);
        assert_eq!(nodes.out_of_step(), self.in_step.len() < self.counts.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn totals_are_the_sums_of_what_the_nodes_said_last(steps in prop::collection::vec(step(), 1..80)) {
        let mut nodes = Nodes::new(Limits { topics: 1000, ..LIMITS });
        let mut model = Model::default();
        let fits = |topic: usize| NAMES[topic].len() <= LIMITS.topic_bytes;
        for (now, step) in steps.into_iter().enumerate() {
            let now = now as Nanos + 1;
            match step {
                Step::Set(node, topic, count) if model.hear(&mut nodes, node, now) => {
                    nodes.set(id(node), &[(NAMES[topic], count)]);
                    let counts = model.counts.entry(node).or_default();
                    if count == 0 { counts.remove(NAMES[topic]); } else if fits(topic) { counts.insert(NAMES[topic], count); }
                }
                Step::State(node, entries, parted) if model.hear(&mut nodes, node, now) => {
                    let named: Vec<_> = entries.iter().map(|&(topic, count)| (NAMES[topic], count)).collect();
                    if parted {
                        let (head, tail) = named.split_at(named.len() / 2);
                        nodes.state(id(node), true, false, head);
                        model.hear(&mut nodes, node, now);
                        nodes.state(id(node), false, true, tail);
                    } else {
                        nodes.state(id(node), true, true, &named);
                    }
                    let counts = model.counts.entry(node).or_default();
                    counts.clear();
                    counts.extend(entries.iter().filter(|(topic, _)| fits(*topic)).map(|&(topic, count)| (NAMES[topic], count)));
                    counts.retain(|_, count| *count > 0);
                    model.in_step.insert(node);
                }
                Step::Rest(node, topic) if model.hear(&mut nodes, node, now) => {
                    nodes.state(id(node), false, true, &[(NAMES[topic], 9)]);
                }
                Step::Forget(node) => {
                    nodes.forget(id(node));
                    model.forget(node);
                }
                Step::Lose(node) => {
                    model.numbers[usize::from(node)] += 1;
                    if model.hear(&mut nodes, node, now) { model.in_step.remove(&node); }
                }
                Step::Silence => {
                    nodes.forget_silent(now);
                    (0..4).for_each(|node| model.forget(node));
                }
                _ => {}
            }
            model.assert_same(&nodes);
        }
        nodes.clear();
        prop_assert_eq!((nodes.count(), nodes.totals().count(), nodes.entries), (0, 0, 0));
    }

    #[test]
    fn tables_stay_within_their_bound(steps in prop::collection::vec((0..3u8, 0..40u8, 0..3u32, any::<bool>()), 1..200)) {
        let mut nodes = Nodes::new(LIMITS);
        for (node, topic, count, state) in steps {
            nodes.heard(id(node), 0, 1);
            let entry = [(&*topic.to_string(), count)];
            if state { nodes.state(id(node), true, false, &entry) } else { nodes.set(id(node), &entry) }
            let kept: usize = nodes.nodes.values().map(|node| node.counts.len()).sum();
            prop_assert_eq!(nodes.entries, kept);
            prop_assert!(kept <= LIMITS.topics && nodes.totals.len() <= kept);
        }
    }
}

#[test]
fn a_node_that_fills_the_table_may_say_its_state_again() {
    let mut nodes = Nodes::new(LIMITS);
    let names: Vec<String> = (0..LIMITS.topics).map(|n| n.to_string()).collect();
    for number in 0..2 {
        let counts: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
        assert_eq!(nodes.heard(id(1), number, 1), Some(0));
        nodes.state(id(1), true, true, &counts);
        assert_eq!((nodes.entries, nodes.refused), (LIMITS.topics, 0));
    }
    assert!(names.iter().all(|name| nodes.total(name) == 1));
}
