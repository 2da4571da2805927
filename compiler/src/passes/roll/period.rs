//! The longest periodic stretches of a sequence of hashes.
//!
//! In: one hash per node. Out: stretches `h[i] == h[i + period]`, those that cover most first; among equals the shortest period.
//! Candidate periods are the distances between neighbours of one hash; only the most frequent are tried, so the work is linear.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::graph::Graph;
use crate::ir::Node;

/// `count` repetitions of `period` nodes from `start`; `slack` further nodes go on in the same way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stretch {
    pub(super) start: usize,
    pub(super) period: usize,
    pub(super) count: usize,
    pub(super) slack: usize,
}

/// Periods tried.
const CANDIDATES: usize = 48;

/// What a node is without its weights: the op, and the types around it. Hashes decide nothing alone: `relate` compares.
pub(super) fn node_hash(graph: &Graph, node: Node) -> u64 {
    let data = graph.node(node);
    // The default hasher has fixed keys.
    let mut hasher = DefaultHasher::new();
    data.op.hash(&mut hasher);
    for &value in &data.operands {
        graph.ty(value).hash(&mut hasher);
        // A cache is an input in one model and computed in another, but alike in all layers; constants differ from both.
        graph.recipe(value).is_some().hash(&mut hasher);
    }
    for &value in &data.results {
        graph.ty(value).hash(&mut hasher);
    }
    hasher.finish()
}

/// Stretches with bodies of at least `least` nodes and at least two repetitions, the best first.
pub(super) fn stretches(hashes: &[u64], least: usize) -> Vec<Stretch> {
    let mut last: HashMap<u64, usize> = HashMap::new();
    let mut distances: BTreeMap<usize, usize> = BTreeMap::new();
    for (at, &hash) in hashes.iter().enumerate() {
        if let Some(before) = last.insert(hash, at) {
            *distances.entry(at - before).or_default() += 1;
        }
    }
    let mut candidates: Vec<(usize, usize)> = distances.into_iter().filter(|(period, _)| *period >= least).collect();
    candidates.sort_by_key(|&(period, frequency)| (std::cmp::Reverse(frequency * period.min(64)), period));
    let mut found: Vec<Stretch> = Vec::new();
    for (period, _) in candidates.into_iter().take(CANDIDATES) {
        found.extend(longest(hashes, period));
    }
    found.sort_by_key(|stretch| (std::cmp::Reverse(stretch.period * stretch.count), stretch.period, stretch.start));
    found
}

/// The longest stretch of one period.
fn longest(hashes: &[u64], period: usize) -> Option<Stretch> {
    let (mut best, mut run) = ((0, 0), 0);
    for at in 0..hashes.len().saturating_sub(period) {
        run = if hashes[at] == hashes[at + period] { run + 1 } else { 0 };
        if run > best.1 {
            best = (at + 1 - run, run);
        }
    }
    let (start, run) = best;
    let count = run / period + 1;
    (count >= 2).then(|| Stretch { start, period, count, slack: run % period })
}
