//! Rolling: alike layers become one loop, so that everything after works on one layer.
//!
//! In: a canonical graph in which the layers of a model stand one after the other. Out: the same graph with each run of alike layers
//! as one `loop`, whose body is the layer: weights and caches that differ are per-iteration operands, what all layers share (masks, rotary
//! tables) is invariant, the residual stream is carried, and what the outside needs of every layer (new keys and values) are
//! per-iteration results. The graph's values do not change.
//!
//! How: `order.rs` puts the nodes into an order in which alike layers have equal sequences of nodes; `period.rs` finds the
//! longest periodic stretch of that sequence, by hashes of nodes without their weights; `relate.rs` checks that every operand relates
//! to its iteration in the same way in all of them; `build.rs` writes the loop. Everything is linear in the number of nodes.

mod build;
mod order;
mod period;
mod relate;

#[cfg(test)]
mod case_tests;
#[cfg(test)]
mod part_tests;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use narae_isa::Diagnostic;

use self::period::Stretch;
use crate::graph::{Graph, Op};
use crate::passes::canonicalize::dead::remove_dead_code;

/// A body of fewer nodes is not worth a loop.
const LEAST_BODY: usize = 5;
/// Encoder and decoder, several kinds of blocks: more kinds of layers than this were never seen in one model.
const MAXIMUM_LOOPS: usize = 16;

/// The pass.
pub fn roll(graph: &mut Graph) -> Result<(), Diagnostic> {
    for _ in 0..MAXIMUM_LOOPS {
        match roll_once(graph)? {
            Some(rolled) => *graph = rolled,
            None => break,
        }
    }
    remove_dead_code(graph)
}

/// The graph with its longest run of layers as a loop, if it has one.
fn roll_once(graph: &Graph) -> Result<Option<Graph>, Diagnostic> {
    let all = [order::Lookups::SharedAreInvariant, order::Lookups::BelongToLayers, order::Lookups::AreInvariant];
    let found = all.into_iter().filter_map(|lookups| {
        let order = order::order(graph, lookups);
        find(graph, &order).map(|roles| (order, roles))
    });
    // Of equal ones the first.
    let best = found.min_by_key(|(_, roles)| Reverse(roles.stretch.period * roles.stretch.count));
    best.map(|(order, roles)| build::build(graph, &order, &roles)).transpose()
}

/// The best stretch whose operands relate alike.
fn find(graph: &Graph, order: &order::Order) -> Option<relate::Roles> {
    let hashes: Vec<u64> = order.sequence.iter().map(|&node| period::node_hash(graph, node)).collect();
    for stretch in period::stretches(&hashes, LEAST_BODY) {
        if !is_layer(graph, order, &stretch) {
            continue;
        }
        // A longer run than whole periods can be cut at several places; the fewest carried values mark a layer's border.
        let starts = stretch.start..=stretch.start + stretch.slack;
        let cuts = starts.filter_map(|start| relate::relate(graph, order, Stretch { start, ..stretch }));
        if let Some(roles) = cuts.min_by_key(|roles| (roles.carried.len(), roles.results.len(), roles.stretch.start)) {
            return Some(roles);
        }
    }
    None
}

/// Whether the stretch does the work of layers, and not some repetition of small things.
fn is_layer(graph: &Graph, order: &order::Order, stretch: &Stretch) -> bool {
    let body = &order.sequence[stretch.start..stretch.start + stretch.period];
    let is_work = |op: &Op| {
        matches!(op, Op::MatMul {} | Op::MatMulInteger {} | Op::Linear {} | Op::Conv { .. } | Op::Attention { .. })
    };
    body.iter().any(|&node| is_work(&graph.node(node).op))
}
