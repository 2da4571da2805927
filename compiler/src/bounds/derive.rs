//! Bounds that follow from the model itself.
//!
//! In: a graph whose inputs have bounds. Out: bounds of the lengths that the program computes, as far as they follow: from the ranges of
//! the integers that they are read from, and from the ops that they fit (`k` is at most the extent of its axis, a slice at most what it
//! is cut from, an extent of a reshape at most the number of elements). Bodies of loops and conditionals included.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::narrow::narrow;
use super::ranges::{self, Ranges};
use crate::graph::{Graph, NodeData, Op};
use crate::ir::interval::{self, Interval};
use crate::ir::{Dim, Node, Symbol, SymbolDefinition, Symbols, Value};

/// Bounds what can be bounded.
pub(super) fn derive(graph: &mut Graph) {
    if has_open(graph) {
        body(graph, &[]);
    }
}

/// Bounds what the program computes once more, by lengths that are known better since.
pub(super) fn tighten(graph: &mut Graph) {
    body(graph, &[]);
}

/// Whether some length of the graph or of a body in it has no bound.
pub(super) fn has_open(graph: &Graph) -> bool {
    open(&graph.symbols).next().is_some()
        || graph.nodes().any(|(_, node)| node.op.regions().into_iter().any(|body| has_open(body)))
}

/// The names of the lengths without a bound, of bodies included.
pub(super) fn open_names(graph: &Graph) -> Vec<String> {
    let mut names: Vec<String> =
        open(&graph.symbols).map(|symbol| format!("`{}`", graph.symbols.name(symbol))).collect();
    let bodies = graph.nodes().flat_map(|(_, node)| node.op.regions());
    names.extend(bodies.flat_map(|body| open_names(body)));
    names.sort_unstable();
    names.dedup();
    names
}

/// The symbols without an upper bound.
pub(super) fn open(symbols: &Symbols) -> impl Iterator<Item = Symbol> {
    symbols.iter().filter(|(_, row)| row.replacement.is_none() && row.upper.is_none()).map(|(symbol, _)| symbol)
}

/// Bounds the symbols of one graph; the ranges of its outputs. `inputs` are the ranges of its inputs, where known.
fn body(graph: &mut Graph, inputs: &[Option<Ranges>]) -> Vec<Option<Ranges>> {
    let mut flow = Flow { ranges: BTreeMap::new(), defines: defines(&graph.symbols) };
    let ports: Vec<Value> = graph.inputs().iter().map(|port| port.value).collect();
    for (&value, ranges) in ports.iter().zip(inputs) {
        flow.found(graph, value, ranges.clone());
    }
    let nodes: Vec<Node> = graph.nodes().map(|(node, _)| node).collect();
    for node in nodes {
        flow.node(graph, node);
    }
    graph.outputs().iter().map(|port| flow.ranges.get(&port.value).cloned()).collect()
}

/// The symbols that are elements of a value, by the value.
fn defines(symbols: &Symbols) -> BTreeMap<Value, Vec<(Symbol, usize)>> {
    let mut found: BTreeMap<Value, Vec<(Symbol, usize)>> = BTreeMap::new();
    for (symbol, row) in symbols.iter() {
        if let SymbolDefinition::Data { value, index } = row.definition
            && row.replacement.is_none()
        {
            found.entry(value).or_default().push((symbol, usize::try_from(index).unwrap_or(usize::MAX)));
        }
    }
    found
}

/// The state of one pass over a graph.
struct Flow {
    ranges: BTreeMap<Value, Ranges>,
    defines: BTreeMap<Value, Vec<(Symbol, usize)>>,
}

impl Flow {
    fn found(&mut self, graph: &mut Graph, value: Value, ranges: Option<Ranges>) {
        let Some(ranges) = ranges else { return };
        for &(symbol, index) in self.defines.get(&value).map_or(&[][..], Vec::as_slice) {
            let (low, high) = ranges.at(index);
            graph.symbols.bound(symbol, low, high);
        }
        self.ranges.insert(value, ranges);
    }

    fn of(&self, value: Value) -> Ranges {
        self.ranges.get(&value).cloned().unwrap_or_else(Ranges::unknown)
    }

    fn node(&mut self, graph: &mut Graph, node: Node) {
        let data = graph.node(node);
        let results = data.results.clone();
        let found = if data.op.regions().is_empty() {
            let fits = fits(graph, data);
            let data = graph.node(node);
            let found = ranges::of_node(graph, data, &|index| self.of(data.operands[index]));
            fits.iter().for_each(|(dim, most)| narrow(&mut graph.symbols, dim, *most));
            found
        } else {
            self.control(graph, node)
        };
        for (value, ranges) in results.into_iter().zip(found) {
            self.found(graph, value, ranges);
        }
    }

    /// Bounds what bodies compute, then the extents of the results.
    fn control(&self, graph: &mut Graph, node: Node) -> Vec<Option<Ranges>> {
        let data = graph.node(node).clone();
        let mut op = data.op.clone();
        let operands: Vec<Option<Ranges>> = data.operands.iter().map(|value| self.ranges.get(value).cloned()).collect();
        let passed =
            |symbols: &[Dim]| -> Vec<Interval> { symbols.iter().map(|dim| dim.bounds(&graph.symbols)).collect() };
        let mut ranges = vec![None; data.results.len()];
        let mut extents: Vec<Vec<Interval>> = Vec::new();
        match &mut op {
            Op::Loop { symbols, body, .. } => {
                // Its results have no lengths of their own.
                enter(body, &passed(symbols), &[]);
            }
            Op::While { trip, conditional, carried, symbols, body } => {
                let first = usize::from(*conditional);
                let trip = trip.bounds(&graph.symbols);
                let initial = extents_of(graph, &data.operands[first..]);
                let mut inputs = vec![None; 1 + *carried];
                inputs.extend_from_slice(&operands[first + *carried..]);
                let symbols = passed(symbols);
                enter(body, &symbols, &inputs);
                let inner = Arc::make_mut(body);
                carried_extents(inner, first, &initial[..*carried], trip);
                stacked_extents(inner, first + *carried, &extents_of(graph, &data.results[*carried..]));
                enter(body, &symbols, &inputs);
                // Carried values live where the body takes them from; what is stacked gets an axis in front.
                let homes: Vec<Value> = body.inputs()[1..=*carried].iter().map(|port| port.value).collect();
                extents = extents_of(body, &homes);
                extents.extend(output_extents(body).into_iter().skip(first + *carried).map(|mut dims| {
                    dims.insert(0, trip);
                    dims
                }));
            }
            Op::If { symbols, then_body, else_body } => {
                let symbols = passed(symbols);
                let taken = extents_of(graph, &data.operands[1..]);
                [&mut *then_body, &mut *else_body]
                    .into_iter()
                    .for_each(|body| take_extents(Arc::make_mut(body), &taken));
                let yes = enter(then_body, &symbols, &operands[1..]);
                let no = enter(else_body, &symbols, &operands[1..]);
                let both = |(a, b): (Option<Ranges>, Option<Ranges>)| Some(a?.either(&b?));
                ranges = yes.into_iter().zip(no).map(both).collect();
                extents = output_extents(then_body);
                for (dims, others) in extents.iter_mut().zip(output_extents(else_body)) {
                    dims.iter_mut().zip(others).for_each(|(a, b)| *a = interval::either(*a, b));
                }
            }
            other => unreachable!("`{}` has no body", other.name()),
        }
        graph.replace_op(node, op);
        for (&value, extents) in data.results.iter().zip(&extents) {
            bound_extents(graph, value, extents);
        }
        ranges
    }
}

/// Bounds a body whose passed symbols and inputs have these ranges; the ranges of its outputs.
fn enter(graph: &mut Arc<Graph>, passed: &[Interval], inputs: &[Option<Ranges>]) -> Vec<Option<Ranges>> {
    let graph = Arc::make_mut(graph);
    let rows: Vec<(Symbol, u32)> = graph
        .symbols
        .iter()
        .filter_map(|(symbol, row)| match row.definition {
            SymbolDefinition::Passed { index } if row.replacement.is_none() => Some((symbol, index)),
            _ => None,
        })
        .collect();
    for (symbol, index) in rows {
        let (low, high) = passed.get(index as usize).copied().unwrap_or(interval::ANY);
        graph.symbols.bound(symbol, low, high);
    }
    body(graph, inputs)
}

/// The bounds of the extents of values.
fn extents_of(graph: &Graph, values: &[Value]) -> Vec<Vec<Interval>> {
    let of = |dim: &Dim| graph.symbols.resolve(dim).bounds(&graph.symbols);
    values.iter().map(|&value| graph.dims(value).iter().map(of).collect()).collect()
}

/// The symbols that inputs of a body define by their extents: symbol, input and axis.
fn own_extents(body: &Graph) -> Vec<(Symbol, usize, usize)> {
    let rows = body.symbols.iter().filter(|(_, row)| row.replacement.is_none());
    let own = rows.filter_map(|(symbol, row)| match row.definition {
        SymbolDefinition::Input { input, axis } => Some((symbol, input as usize, axis as usize)),
        _ => None,
    });
    own.collect()
}

/// Bounds the symbols that the inputs of a branch define by their extents.
fn take_extents(body: &mut Graph, inputs: &[Vec<Interval>]) {
    for (symbol, input, axis) in own_extents(body) {
        let found = inputs.get(input).and_then(|extents| extents.get(axis));
        body.symbols.bound(symbol, None, found.and_then(|extent| extent.1));
    }
}

/// What an extent of a carried value grows to: by the same number in every iteration, if that has a bound.
fn carried_extents(body: &mut Graph, first: usize, initial: &[Vec<Interval>], trip: Interval) {
    for (symbol, input, axis) in own_extents(body) {
        let Some(index) = input.checked_sub(1) else { continue };
        let Some(initial) = initial.get(index).and_then(|dims| dims.get(axis)) else { continue };
        let after = body.symbols.resolve(&body.dims(body.outputs()[first + index].value)[axis]);
        let growth = (&after - &symbol.into()).bounds(&body.symbols);
        let times = (Some(0), trip.1);
        let grown = interval::add(*initial, interval::multiply(interval::maximum(growth, interval::point(0)), times));
        // A body that does not look at the old extent gives the same one every time.
        let depends = after.any_symbol(&mut |other| other == symbol);
        let fixed = interval::either(*initial, after.bounds(&body.symbols));
        body.symbols.bound(symbol, None, if depends { grown.1 } else { fixed.1 });
    }
}

/// What is stacked is as long in every iteration as it is in the result.
fn stacked_extents(body: &mut Graph, first: usize, results: &[Vec<Interval>]) {
    for (port, extents) in body.outputs()[first..].to_vec().iter().zip(results) {
        for (dim, extent) in body.dims(port.value).to_vec().iter().zip(&extents[1..]) {
            if let Some(most) = extent.1 {
                narrow(&mut body.symbols, dim, most);
            }
        }
    }
}

/// The bounds of the extents of a body's outputs.
fn output_extents(body: &Graph) -> Vec<Vec<Interval>> {
    extents_of(body, &body.outputs().iter().map(|port| port.value).collect::<Vec<Value>>())
}

/// Bounds the symbols that are the extents of a value.
fn bound_extents(graph: &mut Graph, value: Value, extents: &[Interval]) {
    for (axis, &(_, high)) in extents.iter().enumerate() {
        let Some(symbol) = graph.symbols.resolve(&graph.dims(value)[axis]).as_symbol() else { continue };
        if matches!(graph.symbols.data(symbol).definition, SymbolDefinition::Extent { value: of, .. } if of == value) {
            graph.symbols.bound(symbol, None, high);
        }
    }
}

/// Lengths that an op limits, with the limits.
fn fits(graph: &Graph, node: &NodeData) -> Vec<(Dim, i64)> {
    let most = |dim: &Dim| dim.bounds(&graph.symbols).1;
    let operand = |index: usize| graph.dims(node.operands[index]);
    let mut found = Vec::new();
    let mut limit = |dim: &Dim, most: Option<i64>| found.extend(most.map(|most| (dim.clone(), most)));
    match &node.op {
        Op::TopK { axis, k, .. } => limit(k, most(&operand(0)[*axis])),
        Op::Slice { starts, dims, .. } => {
            for ((start, dim), whole) in starts.iter().zip(dims).zip(operand(0)) {
                limit(start, most(whole));
                limit(dim, most(whole));
            }
        }
        Op::Reshape { dims } => {
            // With no elements at all, extents beside the zero are as long as they like.
            let whole = most(&Dim::product(operand(0))).filter(|&whole| whole > 0);
            dims.iter().for_each(|dim| limit(dim, whole));
        }
        _ => {}
    }
    found.retain(|(dim, _)| dim.any_symbol(&mut |symbol| graph.symbols.interval(symbol).1.is_none()));
    found
}
