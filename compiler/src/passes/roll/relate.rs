//! How operands relate to iterations, the same in every one of them.
//!
//! In: a stretch of the order. Out: for every operand of every node of the body where it comes from: the same iteration, the one
//! before (carried), one value for all (invariant), or one value each (iterated); and which results the outside uses. `None` if some
//! operand has no such role, nodes differ in more than their weights, or a length is what the stretch computes.

use std::collections::{BTreeMap, BTreeSet};

use cranelift_entity::SecondaryMap;

use super::order::{Order, lengths, needs};
use super::period::Stretch;
use crate::graph::{Definition, Graph};
use crate::ir::{Node, Value};

/// A result of the body: position of the node, and of the result.
pub(super) type Spot = (usize, u32);

/// Where an operand of the body comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// A result of the same iteration.
    Same(Spot),
    /// Carried value number so-and-so.
    Carried(usize),
    /// Invariant number so-and-so.
    Invariant(usize),
    /// Per-iteration value number so-and-so.
    Iterated(usize),
}

/// The roles of everything in a stretch.
pub(super) struct Roles {
    pub(super) stretch: Stretch,
    /// For every node of the body, its operands.
    pub(super) operands: Vec<Vec<Source>>,
    /// The result that is carried on, and the value of the first iteration.
    pub(super) carried: Vec<(Spot, Value)>,
    pub(super) invariant: Vec<Value>,
    /// One value for each iteration.
    pub(super) iterated: Vec<Vec<Value>>,
    /// Results that the outside uses, of any iteration (carried ones only if of an iteration before the last).
    pub(super) results: Vec<Spot>,
}

struct Relater<'a> {
    graph: &'a Graph,
    order: &'a Order,
    stretch: Stretch,
    /// Iteration and position of the nodes of the stretch.
    inside: SecondaryMap<Node, Option<(usize, usize)>>,
    roles: Roles,
    invariants: BTreeMap<Value, usize>,
    lists: BTreeMap<Vec<Value>, usize>,
    carried: BTreeMap<(Spot, Value), usize>,
}

pub(super) fn relate(graph: &Graph, order: &Order, stretch: Stretch) -> Option<Roles> {
    let mut inside: SecondaryMap<Node, Option<(usize, usize)>> = SecondaryMap::new();
    let end = stretch.start + stretch.period * stretch.count;
    for (at, &node) in order.sequence[stretch.start..end].iter().enumerate() {
        inside[node] = Some((at / stretch.period, at % stretch.period));
    }
    let roles = Roles {
        stretch,
        operands: Vec::with_capacity(stretch.period),
        carried: Vec::new(),
        invariant: Vec::new(),
        iterated: Vec::new(),
        results: Vec::new(),
    };
    let (invariants, lists, carried) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut relater = Relater { graph, order, stretch, inside, roles, invariants, lists, carried };
    for position in 0..stretch.period {
        relater.node(position)?;
    }
    relater.results();
    Some(relater.roles)
}

impl Relater<'_> {
    fn at(&self, iteration: usize, position: usize) -> Node {
        self.order.sequence[self.stretch.start + iteration * self.stretch.period + position]
    }

    /// Where in the stretch a value is defined.
    fn spot(&self, value: Value) -> Option<(usize, Spot)> {
        match self.graph.definition(value) {
            Definition::Input(_) => None,
            Definition::Result { node, index } => {
                self.inside[node].map(|(iteration, position)| (iteration, (position, index)))
            }
        }
    }

    fn node(&mut self, position: usize) -> Option<()> {
        let first = self.graph.node(self.at(0, position));
        for iteration in 1..self.stretch.count {
            let other = self.graph.node(self.at(iteration, position));
            let types = |values: &[Value]| values.iter().map(|&value| self.graph.ty(value).clone()).collect::<Vec<_>>();
            let alike = other.op == first.op
                && other.operands.len() == first.operands.len()
                && types(&other.results) == types(&first.results);
            if !alike {
                return None;
            }
        }
        // A length that the loop itself defines cannot be passed into it.
        if lengths(self.graph, first).into_iter().any(|value| self.spot(value).is_some()) {
            return None;
        }
        let sources: Option<Vec<Source>> =
            (0..first.operands.len()).map(|operand| self.source(position, operand)).collect();
        self.roles.operands.push(sources?);
        Some(())
    }

    fn source(&mut self, position: usize, operand: usize) -> Option<Source> {
        let count = self.stretch.count;
        let values: Vec<Value> =
            (0..count).map(|iteration| self.graph.node(self.at(iteration, position)).operands[operand]).collect();
        let spots: Vec<Option<(usize, Spot)>> = values.iter().map(|&value| self.spot(value)).collect();
        // What the first iteration is given and what is carried on are among these.
        let ty = self.graph.ty(values[0]);
        if values.iter().any(|&value| self.graph.ty(value) != ty) {
            return None;
        }
        if let Some((first, spot)) = spots[0] {
            assert!(
                first == 0,
                "an order has operands before their users, and nothing of the stretch is before its first iteration"
            );
            let same = spots.iter().enumerate().all(|(iteration, found)| *found == Some((iteration, spot)));
            return same.then_some(Source::Same(spot));
        }
        // Everything before the first iteration is defined outside and before.
        if let Some(Some((0, spot))) = spots.get(1) {
            let carried = (1..count).all(|iteration| spots[iteration] == Some((iteration - 1, *spot)));
            return carried.then(|| Source::Carried(self.carried(*spot, values[0])));
        }
        if spots.iter().any(Option::is_some) {
            return None;
        }
        if values.iter().all(|value| *value == values[0]) {
            let next = self.invariants.len();
            let index = *self.invariants.entry(values[0]).or_insert(next);
            if index == next {
                self.roles.invariant.push(values[0]);
            }
            return Some(Source::Invariant(index));
        }
        let next = self.lists.len();
        let index = *self.lists.entry(values.clone()).or_insert(next);
        if index == next {
            self.roles.iterated.push(values);
        }
        Some(Source::Iterated(index))
    }

    fn carried(&mut self, spot: Spot, initial: Value) -> usize {
        let next = self.carried.len();
        let index = *self.carried.entry((spot, initial)).or_insert(next);
        if index == next {
            self.roles.carried.push((spot, initial));
        }
        index
    }

    /// What the outside uses.
    fn results(&mut self) {
        let mut used: BTreeSet<Spot> = BTreeSet::new();
        let outside = self.graph.nodes().filter(|(node, _)| self.inside[*node].is_none());
        let needed = outside.flat_map(|(_, data)| needs(self.graph, data));
        let last = self.stretch.count - 1;
        for value in needed.chain(self.graph.outputs().iter().map(|port| port.value)) {
            if let Some((iteration, spot)) = self.spot(value) {
                let carried = self.roles.carried.iter().any(|(other, _)| *other == spot);
                if !(iteration == last && carried) {
                    used.insert(spot);
                }
            }
        }
        self.roles.results = used.into_iter().collect();
    }
}
