//! All laws on an e-graph until nothing changes, with bounds that hold inside of an iteration.
//!
//! In: the e-graph of a region, the laws as rewrites, bounds. Out: the same e-graph with what the laws add, and how it ended.
//! Always holds: no bound is passed by more than what one match adds; where one is reached, the law that made the most is named. Every state
//! of the e-graph is right, whether the laws came to an end or not: what is not added is only not chosen. No clock decides.

use std::collections::BTreeMap;

use egg::{Rewrite, SearchMatches};

use super::analysis::{Region, Space};
use super::node::Term;

/// How far the laws may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Rounds of all laws.
    pub rounds: usize,
    /// Terms that the e-graph may have, per term that it had in the beginning (at least [`SMALL`]): this bounds the memory.
    pub growth: usize,
    /// Matches of one law in one round, per term of the beginning.
    pub matches: usize,
    /// Terms in one class: deep patterns look at products of these.
    pub class: usize,
}

/// A region with fewer terms grows as one with so many.
pub const SMALL: usize = 256;

impl Default for Bounds {
    /// Several times what any model of the zoos needs: their regions end within 9 rounds and 1,211 terms.
    fn default() -> Bounds {
        Bounds { rounds: 100, growth: 24, matches: 24, class: 64 }
    }
}

/// A bound that was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The law that made the most of what reached it.
    pub law: String,
    /// What it was, in words.
    pub bound: String,
}

/// What happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Rounds, the last one included, in which nothing changed.
    pub rounds: usize,
    /// How often each law added something.
    pub applied: BTreeMap<String, usize>,
    /// The bound that ended it, if the laws had not ended.
    pub reached: Option<Reached>,
    /// How many values each law added that were not there before.
    grown: BTreeMap<String, usize>,
}

/// Runs the laws.
pub fn saturate(space: &mut Space, laws: &[Rewrite<Term, Region>], bounds: &Bounds) -> Outcome {
    space.rebuild();
    let start = space.total_size().max(SMALL);
    let limits = Limits { terms: start * bounds.growth, matches: start * bounds.matches, class: bounds.class };
    let mut outcome = Outcome::default();
    while outcome.reached.is_none() {
        if outcome.rounds == bounds.rounds {
            outcome.stop(None, format!("{} rounds", bounds.rounds));
            break;
        }
        outcome.rounds += 1;
        let before = (space.total_size(), space.number_of_classes());
        let applied = outcome.applied.values().sum::<usize>();
        round(space, laws, &limits, &mut outcome);
        space.rebuild();
        let after = (space.total_size(), space.number_of_classes());
        if before == after && applied == outcome.applied.values().sum::<usize>() {
            break;
        }
        if outcome.reached.is_none() && space.classes().any(|class| class.nodes.len() > limits.class) {
            outcome.stop(None, format!("{} terms for one value", limits.class));
        }
    }
    outcome
}

/// The bounds of one e-graph in numbers.
struct Limits {
    terms: usize,
    matches: usize,
    class: usize,
}

/// Searches with all laws, then applies all that was found.
fn round(space: &mut Space, laws: &[Rewrite<Term, Region>], limits: &Limits, outcome: &mut Outcome) {
    let mut found = Vec::with_capacity(laws.len());
    for law in laws {
        let matches = law.search_with_limit(space, limits.matches + 1);
        if matches.iter().map(|class| class.substs.len()).sum::<usize>() > limits.matches {
            return outcome.stop(Some(law), format!("{} matches in one round", limits.matches));
        }
        found.push(matches);
    }
    for (law, matches) in laws.iter().zip(found) {
        if !apply(space, law, &matches, limits, outcome) {
            return outcome.stop(None, format!("{} terms", limits.terms));
        }
    }
}

/// Applies a law to its matches; whether the e-graph stayed below its bound.
fn apply(
    space: &mut Space,
    law: &Rewrite<Term, Region>,
    matches: &[SearchMatches<'_, Term>],
    limits: &Limits,
    outcome: &mut Outcome,
) -> bool {
    for class in matches {
        for subst in &class.substs {
            let values = space.number_of_classes();
            let changed = law.applier.apply_one(space, class.eclass, subst, class.ast.as_deref(), law.name).len();
            let more = space.number_of_classes().saturating_sub(values);
            for (count, counts) in [(changed, &mut outcome.applied), (more, &mut outcome.grown)] {
                if count > 0 {
                    *counts.entry(law.name.to_string()).or_default() += count;
                }
            }
            if space.total_size() > limits.terms {
                return false;
            }
        }
    }
    true
}

impl Outcome {
    /// Ends it. The law that added the most values is named, or the one that was at work.
    fn stop(&mut self, law: Option<&Rewrite<Term, Region>>, bound: String) {
        // Laws that only say the same in other words, as those that commute, have more to do where another law adds values.
        let most = |counts: &BTreeMap<String, usize>| {
            let most = counts.iter().max_by_key(|(name, count)| (**count, std::cmp::Reverse(*name)));
            most.map(|(name, _)| name.clone())
        };
        let own = || law.map(|law| law.name.to_string());
        let law = most(&self.grown).or_else(own).or_else(|| most(&self.applied)).unwrap_or_default();
        self.reached = Some(Reached { law, bound });
    }
}
