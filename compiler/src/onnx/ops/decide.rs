//! Conditions that only lengths decide.
//!
//! In: a boolean value of a graph under construction. Out: the lengths that it follows from, and its truth once they are what the calls that
//! will be made say. Always holds: a length is fixed here only where its call is known and nothing else would do; a note says so.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::{Graph, Op};
use crate::ir::{Symbol, SymbolDefinition, Value};
use crate::onnx::builder::{Builder, Built};

/// What a value follows from.
pub(super) enum Cause {
    /// These lengths of inputs alone.
    Lengths(BTreeSet<Symbol>),
    /// The data of inputs as well, or what a body cannot see.
    Data,
}

/// What decides a value.
pub(super) fn cause(graph: &Graph, value: Value) -> Cause {
    let (mut seen, mut open, mut symbols) = (BTreeSet::new(), vec![value], BTreeSet::new());
    while let Some(value) = open.pop() {
        if !seen.insert(value) {
            continue;
        }
        let Some((_, node)) = graph.defining(value) else { return Cause::Data };
        if !node.op.regions().is_empty() {
            return Cause::Data;
        }
        let mut note = |dim: &crate::ir::Dim| symbols.extend(graph.symbols.resolve(dim).symbols());
        node.op.visit_dims(&mut note);
        graph.dims(value).iter().for_each(&mut note);
        open.extend(&node.operands);
    }
    let input = |symbol: &Symbol| matches!(graph.symbols.data(*symbol).definition, SymbolDefinition::Input { .. });
    if symbols.iter().all(input) { Cause::Lengths(symbols) } else { Cause::Data }
}

/// Whether a condition holds, once the lengths that it follows from are what the calls that will be made say; `None` if they do not.
pub(super) fn by_given_lengths(b: &mut Builder, condition: Value, lengths: &BTreeSet<Symbol>) -> Built<Option<bool>> {
    let given = lengths.iter().map(|&symbol| Some((symbol, b.graph.symbols.data(symbol).given?)));
    let Some(given) = given.collect::<Option<Vec<(Symbol, i64)>>>() else { return Ok(None) };
    for (symbol, value) in given {
        b.must_equal(&symbol.into(), &value.into(), "a length that decides a branch")?;
    }
    let condition = again(b, condition, &mut BTreeMap::new())?;
    Ok(b.known_ints(condition).and_then(|known| known.first().map(|&truth| truth != 0)))
}

/// The same value, computed once more with what was learnt of lengths.
fn again(b: &mut Builder, value: Value, done: &mut BTreeMap<Value, Value>) -> Built {
    if let Some(&found) = done.get(&value) {
        return Ok(found);
    }
    let Some((_, node)) = b.graph.defining(value) else { return Ok(value) };
    if matches!(node.op, Op::Constant { .. }) {
        return Ok(value);
    }
    let (mut op, operands, results) = (node.op.clone(), node.operands.clone(), node.results.clone());
    op.map_dims(&mut |dim| b.graph.symbols.resolve(dim));
    let operands = operands.into_iter().map(|operand| again(b, operand, done)).collect::<Built<Vec<Value>>>()?;
    let made = b.ops(op, &operands)?;
    done.extend(results.into_iter().zip(made));
    Ok(done[&value])
}
