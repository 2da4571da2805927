//! What a text claims beyond what its nodes prove.
//!
//! In: a graph as it was written down. Out: the same, where a slice or a pad that is not known to fit its operand, or operands that are not
//! known to have equal extents, do so by an assumption, which the run checks, and where a length that a node finds has no bounds
//! beyond those of the node. Always holds: a graph that we printed ourselves is not changed, since importing and the passes say all of it.

use crate::graph::{Graph, NodeData, Op, infer};
use crate::ir::{Dim, Symbol, Symbols};

/// Adds what the run has to check, and bounds what nodes find; an error where these bounds contradict the text's.
pub(in crate::graph) fn check(graph: &mut Graph) -> Result<(), String> {
    let mut scratch = graph.symbols.clone();
    let (mut conditions, mut bounds) = (Vec::new(), Vec::new());
    for (_, data) in graph.nodes() {
        conditions.extend(not_negative(graph, data));
        bounds.extend(found(graph, data, &mut scratch));
    }
    for (left, right) in equal(&graph.symbols, &scratch) {
        graph.symbols.assume(&left, &right);
    }
    for condition in conditions {
        graph.symbols.assume_at_least(&condition, &Dim::ZERO);
    }
    for (symbol, lower, upper) in bounds {
        graph.symbols.bound(symbol, lower, upper);
        if let (Some(lower), Some(upper)) = graph.symbols.interval(symbol)
            && lower > upper
        {
            let name = graph.symbols.name(symbol);
            return Err(format!(
                "the length `{name}` is at most {upper} by what finds it, and claimed to be at least {lower}"
            ));
        }
    }
    Ok(())
}

/// The lengths that inference had to take for equal, and the text does not say that they are.
fn equal(own: &Symbols, learnt: &Symbols) -> Vec<(Dim, Dim)> {
    let known = |dim: &Dim| dim.symbols().iter().all(|&symbol| own.contains(symbol));
    let replaced = own.iter().filter(|(_, row)| row.replacement.is_none()).filter_map(|(symbol, _)| {
        let dim = Dim::from(symbol);
        let value = learnt.resolve(&dim);
        (value != dim).then_some((dim, value))
    });
    let assumed = learnt.assumptions().cloned();
    replaced.chain(assumed).filter(|(left, right)| known(left) && known(right)).collect()
}

/// What must not be negative for a slice or a pad to stay within its operand.
fn not_negative(graph: &Graph, data: &NodeData) -> Vec<Dim> {
    let extents = |data: &NodeData| graph.dims(data.operands[0]).to_vec();
    match &data.op {
        Op::Slice { starts, steps, dims } => {
            let axis = |(((start, &step), count), extent): (((&Dim, &i64), &Dim), Dim)| {
                let last = start + &(&(count - &Dim::ONE) * &Dim::from(step));
                let (least, most) = if step > 0 { (start.clone(), last) } else { (last, start.clone()) };
                [least, &(&extent - &most) - &Dim::ONE]
            };
            starts.iter().zip(steps).zip(dims).zip(extents(data)).flat_map(axis).collect()
        }
        Op::Pad { before, dims, .. } => {
            let after = |((before, all), extent): ((&Dim, &Dim), Dim)| &(all - before) - &extent;
            before.iter().zip(dims).zip(extents(data)).map(after).collect()
        }
        _ => Vec::new(),
    }
}

type Bound = (Symbol, Option<i64>, Option<i64>);

/// The bounds that a node gives the lengths that it finds.
fn found(graph: &Graph, data: &NodeData, scratch: &mut Symbols) -> Vec<Bound> {
    let operands = data.operands.iter().map(|&value| graph.ty(value).clone()).collect();
    let Ok(inferred) = infer::infer(&data.op, operands, scratch) else { return Vec::new() };
    let own = data.results.iter().flat_map(|&value| graph.dims(value));
    let pairs = own.zip(inferred.types.iter().flat_map(|ty| &ty.dims));
    let bound = |(own, fresh): (&Dim, &Dim)| {
        let (symbol, fresh) = (own.as_symbol()?, fresh.as_symbol()?);
        let (lower, upper) = scratch.interval(fresh);
        (!graph.symbols.contains(fresh)).then_some((symbol, lower, upper))
    };
    pairs.filter_map(bound).collect()
}
