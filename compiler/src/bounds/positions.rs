//! The greatest position that a model knows, by its tables.
//!
//! In: a graph after constants are folded. Out: the rows of the shortest table that is read by position: of learned positions, of cosines
//! and sines, of a causal mask that is cut to the length of the call. Always holds: a table that token ids or other data choose from (a
//! vocabulary, token types, buckets of distances) is none. It is a hint for bounds that nobody spoke of, and decides no result.

use std::collections::BTreeSet;

use narae_isa::{BinaryFunction, Element, ReduceFunction};

use crate::graph::{Graph, NodeData, Op};
use crate::ir::{Dim, Value};

/// A table with fewer rows holds something else.
const FEWEST_ROWS: i64 = 8;

/// The greatest number of tokens for which every table of positions has a row; none if there is no such table.
pub fn positions(graph: &Graph) -> Option<i64> {
    let mut found = None;
    let named = graph.inputs().iter().filter(|port| tells_positions(graph, port.value, &port.name));
    let mut positional: BTreeSet<Value> = named.map(|port| port.value).collect();
    for (_, node) in graph.nodes() {
        let rows = match &node.op {
            Op::Gather { axis } if positional.contains(&node.operands[1]) => rows(graph, node.operands[0], *axis),
            Op::Slice { starts, dims, .. } => cut_rows(graph, node.operands[0], starts, dims),
            _ => None,
        };
        let rows = rows.into_iter().chain(node.op.regions().into_iter().filter_map(|body| positions(body))).min();
        found = [found, rows].into_iter().flatten().min();
        if moves_positions(node, &|operand| positional.contains(operand) || is_constant(graph, *operand)) {
            positional.extend(&node.results);
        }
    }
    found
}

/// Whether an input holds positions, or a mask that positions are counted from.
fn tells_positions(graph: &Graph, value: Value, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let named = ["position", "mask", "past_len", "seqlens"].iter().any(|part| name.contains(part));
    named && (graph.element(value).is_integer() || graph.element(value) == Element::Bool)
}

/// Whether the result of a node still is a position if its operands are positions or constants.
fn moves_positions(node: &NodeData, known: &dyn Fn(&Value) -> bool) -> bool {
    let moves = match &node.op {
        // Of a fixed extent they count something else: heads, windows, experts.
        Op::Iota { dims, .. } | Op::Dims { dims, .. } => return dims.iter().any(|dim| dim.as_const().is_none()),
        Op::Binary { function } => {
            matches!(function, BinaryFunction::Add | BinaryFunction::Sub | BinaryFunction::Mul)
        }
        Op::Reduce { function, .. } => matches!(function, ReduceFunction::Sum | ReduceFunction::Max),
        Op::Convert { to, .. } => to.is_integer(),
        Op::Cumulate { .. }
        | Op::Compare { .. }
        | Op::Select {}
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Broadcast { .. }
        | Op::Slice { .. }
        | Op::Concat { .. }
        | Op::Gather { .. } => true,
        _ => false,
    };
    moves && node.operands.iter().all(known)
}

fn is_constant(graph: &Graph, value: Value) -> bool {
    graph.recipe(value).is_some()
}

/// The extent of an axis of a table that is part of the file.
fn rows(graph: &Graph, table: Value, axis: usize) -> Option<i64> {
    let extent = graph.dims(table).get(axis)?.as_const()?;
    (is_constant(graph, table) && graph.rank(table) >= 2 && extent >= FEWEST_ROWS).then_some(extent)
}

/// The least extent of a table that is cut to a length that varies.
fn cut_rows(graph: &Graph, table: Value, starts: &[Dim], dims: &[Dim]) -> Option<i64> {
    let varies = |axis: &usize| starts[*axis].as_const().is_none() || dims[*axis].as_const().is_none();
    (0..dims.len()).filter(varies).filter_map(|axis| rows(graph, table, axis)).min()
}
