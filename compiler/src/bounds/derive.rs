//! The greatest value of every length that the run decides, as it follows from the lengths that inputs decide.
//!
//! In: a graph whose input lengths have bounds. Out: the same graph in which the lengths that `non_zero`, `if`, `while`, `top_k`
//! and run-time shapes bring have theirs, inside of bodies too: by what the op says, and by the range of the elements that are read. Always holds: a bound is never too low for a right run; a length of
//! which nothing follows gets the usual bound, which is noted.

use std::collections::BTreeMap;
use std::sync::Arc;

use cranelift_entity::SecondaryMap;

use super::ranges::{self, Ranges};
use crate::graph::{Graph, NodeData, Op};
use crate::ir::{Dim, Symbol, SymbolDefinition, Value};

/// Bounds all lengths of a graph, in the order in which they come to be. A length of which nothing follows gets `usual`, and a note.
pub(super) fn derive(graph: &mut Graph, usual: Option<i64>) {
    let nodes: Vec<_> = graph.nodes().map(|(node, _)| node).collect();
    let readers = readers(graph);
    let mut known: SecondaryMap<Value, Option<Ranges>> = SecondaryMap::new();
    let given: Vec<Value> = graph.inputs().iter().map(|port| port.value).collect();
    given.into_iter().for_each(|value| assume(graph, &readers, value, usual));
    for node in nodes {
        let mut data = graph.node(node).clone();
        let has_bodies = !data.op.regions().is_empty();
        let limits = limits(graph, &mut data, usual);
        for (dim, limit) in limits {
            bound(graph, &dim, limit);
        }
        let found = ranges::of_node(graph, &data, &|value| known[value].clone());
        for (&value, found) in data.results.iter().zip(found) {
            let Some(found) = found else {
                assume(graph, &readers, value, usual);
                continue;
            };
            for &(symbol, index) in readers.get(&value).into_iter().flatten() {
                read(graph, symbol, *found.get(index as usize).unwrap_or(&found[0]));
            }
            known[value] = Some(found);
            assume(graph, &readers, value, usual);
        }
        if has_bodies {
            graph.replace_op(node, data.op);
        }
    }
}

/// Gives what a tensor decides, and nothing else limits, the usual bound.
fn assume(graph: &mut Graph, readers: &Readers, value: Value, usual: Option<i64>) {
    let Some(usual) = usual else { return };
    let mut decided: Vec<Symbol> = readers.get(&value).into_iter().flatten().map(|&(symbol, _)| symbol).collect();
    for (axis, dim) in graph.dims(value).iter().enumerate() {
        let Some(symbol) = dim.as_symbol() else { continue };
        let own = SymbolDefinition::Extent { value, axis: axis as u32 };
        decided.extend((graph.symbols.data(symbol).definition == own).then_some(symbol));
    }
    for symbol in decided.into_iter().filter(|&symbol| graph.symbols.data(symbol).upper.is_none()).collect::<Vec<_>>() {
        let name = graph.symbols.name(symbol).to_string();
        graph.symbols.note(format!("`{name}`, which data decides, is taken to be at most {usual} (--dim '{name}<=N')"));
        graph.symbols.bound(symbol, None, Some(usual));
    }
}

type Readers = BTreeMap<Value, Vec<(Symbol, u64)>>;

/// The symbols whose values are elements of a tensor, with the element.
fn readers(graph: &Graph) -> Readers {
    let mut readers = Readers::new();
    for (symbol, row) in graph.symbols.iter().filter(|(_, row)| row.replacement.is_none()) {
        if let SymbolDefinition::Data { value, index } = row.definition {
            readers.entry(value).or_default().push((symbol, index));
        }
    }
    readers
}

/// A symbol is an element of this range.
fn read(graph: &mut Graph, symbol: Symbol, (low, high): (f64, f64)) {
    // Beyond 2^53 a float no longer tells integers apart.
    let limit = |value: f64| (value.abs() < 9e15).then_some(value as i64);
    graph.symbols.bound(symbol, limit(low.ceil()), limit(high.floor()));
}

/// Limits a dim that is one length which the run decides.
fn bound(graph: &mut Graph, dim: &Dim, limit: i64) {
    let Some(symbol) = graph.symbols.resolve(dim).as_symbol() else { return };
    let decided = graph.symbols.data(symbol).definition;
    if matches!(decided, SymbolDefinition::Data { .. } | SymbolDefinition::Extent { .. }) {
        graph.symbols.bound(symbol, None, Some(limit.max(0)));
    }
}

fn upper(graph: &Graph, dim: &Dim) -> Option<i64> {
    graph.symbols.resolve(dim).bounds(&graph.symbols).1
}

/// Dims of a node's results, and what they cannot exceed. Bodies of the node get their own bounds on the way.
fn limits(graph: &Graph, data: &mut NodeData, usual: Option<i64>) -> Vec<(Dim, i64)> {
    let NodeData { op, operands, results, .. } = data;
    let dim = |value: Value, axis: usize| graph.dims(value)[axis].clone();
    let count = |value: Value| upper(graph, &Dim::product(graph.dims(value)));
    match op {
        Op::NonZero {} => count(operands[0]).map(|limit| (dim(results[0], 1), limit)).into_iter().collect(),
        Op::TopK { axis, k, .. } => {
            upper(graph, &dim(operands[0], *axis)).map(|limit| (k.clone(), limit)).into_iter().collect()
        }
        // The product of the new extents is the number of elements, so none of them exceeds it.
        Op::Reshape { dims } => {
            count(operands[0]).map_or(vec![], |limit| dims.iter().map(|dim| (dim.clone(), limit)).collect())
        }
        Op::Loop { symbols, body, .. } => {
            let inner = Arc::make_mut(body);
            pass(graph, symbols, inner);
            derive(inner, usual);
            vec![]
        }
        Op::If { symbols, then_body, else_body } => {
            for body in [&mut *then_body, &mut *else_body] {
                let inner = Arc::make_mut(body);
                pass(graph, symbols, inner);
                take_extents(graph, &operands[1..], inner);
                derive(inner, usual);
            }
            either(graph, results, [then_body, else_body])
        }
        Op::While { trip, conditional, carried, symbols, body } => {
            let inner = Arc::make_mut(body);
            pass(graph, symbols, inner);
            let operands = &operands[usize::from(*conditional)..];
            let frame = Frame { trip: upper(graph, trip), carried: *carried, skipped: usize::from(*conditional), usual };
            frame.limits(graph, operands, results, inner)
        }
        _ => vec![],
    }
}

/// Bounds of the symbols that the enclosing op passes in.
fn pass(graph: &Graph, symbols: &[Dim], body: &mut Graph) {
    let passed: Vec<(Symbol, u32)> = body
        .symbols
        .iter()
        .filter_map(|(symbol, row)| match row.definition {
            SymbolDefinition::Passed { index } => Some((symbol, index)),
            _ => None,
        })
        .collect();
    for (symbol, index) in passed {
        let (lower, upper) = graph.symbols.resolve(&symbols[index as usize]).bounds(&graph.symbols);
        body.symbols.bound(symbol, lower, upper);
    }
}

/// Bounds of the symbols that a branch's inputs define by their own extents.
fn take_extents(graph: &Graph, operands: &[Value], body: &mut Graph) {
    for (input, &operand) in operands.iter().enumerate() {
        let value = body.inputs()[input].value;
        for axis in 0..body.rank(value) {
            if let (Some(symbol), Some(limit)) = (own(body, value, axis), upper(graph, &graph.dims(operand)[axis])) {
                body.symbols.bound(symbol, None, Some(limit));
            }
        }
    }
}

/// The symbol that an extent of a body's input defines.
fn own(body: &Graph, value: Value, axis: usize) -> Option<Symbol> {
    let symbol = body.symbols.resolve(&body.dims(value)[axis]).as_symbol()?;
    matches!(body.symbols.data(symbol).definition, SymbolDefinition::Input { .. }).then_some(symbol)
}

/// The results of a conditional are as long as those of the longer branch.
fn either(graph: &Graph, results: &[Value], bodies: [&Graph; 2]) -> Vec<(Dim, i64)> {
    let mut limits = Vec::new();
    for (index, &result) in results.iter().enumerate() {
        for (axis, dim) in graph.dims(result).iter().enumerate() {
            let found = bodies.map(|body| upper(body, &body.dims(body.outputs()[index].value)[axis]));
            if let [Some(yes), Some(no)] = found {
                limits.push((dim.clone(), yes.max(no)));
            }
        }
    }
    limits
}

/// A loop with state.
struct Frame {
    /// It runs at most so often, if that is limited.
    trip: Option<i64>,
    carried: usize,
    /// The number of the body's outputs before the carried ones.
    skipped: usize,
    usual: Option<i64>,
}

impl Frame {
    fn limits(&self, graph: &Graph, operands: &[Value], results: &[Value], body: &mut Graph) -> Vec<(Dim, i64)> {
        // Growth per iteration follows from lengths inside, and these from how long carried values get.
        derive(body, None);
        let mut limits = Vec::new();
        for index in 0..self.carried {
            for axis in 0..graph.rank(results[index]) {
                let start = upper(graph, &graph.dims(operands[index])[axis]);
                let most = start.and_then(|start| self.longest(body, index, axis, start));
                let Some(most) = most else { continue };
                limits.push((graph.dims(results[index])[axis].clone(), most));
                if let Some(symbol) = own(body, body.inputs()[1 + index].value, axis) {
                    body.symbols.bound(symbol, None, Some(most));
                }
            }
        }
        derive(body, self.usual);
        limits.extend(self.stacked(graph, results, body));
        limits
    }

    /// The greatest extent of a carried value that starts with `start`: it grows by the same number in every iteration, or is set
    /// anew.
    fn longest(&self, body: &Graph, index: usize, axis: usize, start: i64) -> Option<i64> {
        let after = body.outputs()[self.skipped + index].value;
        let after = body.symbols.resolve(&body.dims(after)[axis]);
        let Some(symbol) = own(body, body.inputs()[1 + index].value, axis) else { return Some(start) };
        if !after.any_symbol(&mut |other| other == symbol) {
            return Some(upper(body, &after)?.max(start));
        }
        let growth = upper(body, &(&after - &symbol.into()))?.max(0);
        start.checked_add(if growth == 0 { 0 } else { growth.checked_mul(self.trip?)? })
    }

    /// Results that are stacked are as long as the loop runs.
    fn stacked(&self, graph: &Graph, results: &[Value], body: &Graph) -> Vec<(Dim, i64)> {
        let mut limits = Vec::new();
        for (index, &result) in results.iter().enumerate().skip(self.carried) {
            let inner = body.outputs()[self.skipped + index].value;
            for (axis, dim) in graph.dims(result).iter().enumerate() {
                let limit = if axis == 0 { self.trip } else { upper(body, &body.dims(inner)[axis - 1]) };
                limits.extend(limit.map(|limit| (dim.clone(), limit)));
            }
        }
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Provenance, TensorType};
    use narae_isa::Element;

    fn bounded(graph: &mut Graph, name: &str, axis: u32, most: i64) -> Dim {
        let definition = SymbolDefinition::Input { input: 0, axis };
        graph.symbols.add_bounded(name, definition, Some(0), Some(most)).into()
    }

    #[test]
    fn coordinates_are_as_many_as_elements() {
        let mut graph = Graph::default();
        let dims = vec![bounded(&mut graph, "a", 0, 5), bounded(&mut graph, "b", 1, 7)];
        let x = graph.add_input("x", TensorType::new(Element::Bool, dims));
        let found = graph.add(Op::NonZero {}, &[x], &Provenance::none()).expect("types fit");
        graph.add_output("y", found[0]);
        derive(&mut graph, Some(1000));
        assert_eq!(upper(&graph, &graph.dims(found[0])[1]), Some(35));
    }

    /// `carried = concat(carried, step)` for a given number of iterations.
    fn growing(trip: Dim, mut graph: Graph) -> (Graph, Value) {
        let scalar = |element| TensorType::new(element, vec![]);
        let mut body = Graph::default();
        body.add_input("i", scalar(Element::I64));
        let length = body.symbols.add("n", SymbolDefinition::Input { input: 1, axis: 0 });
        let carried = body.add_input("c", TensorType::new(Element::F32, vec![length.into()]));
        let step = body.add_input("s", TensorType::new(Element::F32, vec![Dim::from(3)]));
        let longer = body.add1(Op::Concat { axis: 0 }, &[carried, step], &Provenance::none()).expect("types fit");
        body.add_output("c", longer);
        let start = bounded(&mut graph, "start", 0, 4);
        let start = graph.add_input("start", TensorType::new(Element::F32, vec![start]));
        let step = graph.add_input("step", TensorType::new(Element::F32, vec![Dim::from(3)]));
        let op = Op::While { trip, conditional: false, carried: 1, symbols: vec![], body: Arc::new(body) };
        let result = graph.add1(op, &[start, step], &Provenance::none()).expect("types fit");
        graph.add_output("y", result);
        (graph, result)
    }

    #[test]
    fn a_carried_value_grows_once_per_iteration() {
        let (mut graph, result) = growing(Dim::from(10), Graph::default());
        derive(&mut graph, Some(1000));
        assert_eq!(upper(&graph, &graph.dims(result)[0]), Some(4 + 10 * 3));
    }

    #[test]
    fn what_may_grow_for_ever_has_the_usual_bound() {
        let mut graph = Graph::default();
        let trip = graph.symbols.add("trip", SymbolDefinition::Undefined);
        let (mut graph, result) = growing(trip.into(), graph);
        derive(&mut graph, Some(1000));
        assert_eq!(upper(&graph, &graph.dims(result)[0]), Some(1000));
        assert!(graph.symbols.notes().iter().any(|note| note.contains("at most 1000")), "{:?}", graph.symbols.notes());
    }
}
