//! Writing the loop: the graph with one stretch replaced.

use std::collections::BTreeMap;
use std::sync::Arc;

use narae_isa::Diagnostic;

use super::order::Order;
use super::relate::{Roles, Source, Spot};
use crate::graph::names::Named;
use crate::graph::rebuild::{ValueMap, copy_node, finish, mapped};
use crate::graph::{Graph, Op, Origin, Provenance, TensorType};
use crate::ir::{Dim, Node, Symbol, SymbolDefinition, Value};

/// The new graph.
pub(super) fn build(graph: &Graph, order: &Order, roles: &Roles) -> Result<Graph, Diagnostic> {
    let stretch = roles.stretch;
    let (before, rest) = order.sequence.split_at(stretch.start);
    let (inside, after) = rest.split_at(stretch.period * stretch.count);
    let mut new = graph.rebuild();
    let mut map = ValueMap::new();
    for (old, copy) in graph.inputs().iter().zip(new.inputs()) {
        map[old.value] = Some(copy.value);
    }
    for &node in order.prologue.iter().chain(before) {
        copy_node(graph, &mut new, graph.node(node), &mut map);
    }
    write_loop(graph, inside, roles, &mut new, &mut map)?;
    for &node in after {
        copy_node(graph, &mut new, graph.node(node), &mut map);
    }
    finish(graph, &mut new, &map);
    Ok(new)
}

/// Symbols of the enclosing graph as symbols of the body.
struct Passing<'a> {
    outer: &'a Graph,
    symbols: Vec<Dim>,
    inner: BTreeMap<Symbol, Symbol>,
}

impl Passing<'_> {
    fn dim(&mut self, dim: &Dim, body: &mut Graph) -> Dim {
        for symbol in dim.symbols() {
            if !self.inner.contains_key(&symbol) {
                let row = self.outer.symbols.data(symbol);
                let index = u32::try_from(self.symbols.len()).expect("a body has fewer than 2^32 symbols");
                let definition = SymbolDefinition::Passed { index };
                let inner = body.symbols.add_bounded(&row.name, definition, row.lower, row.upper);
                self.symbols.push(symbol.into());
                self.inner.insert(symbol, inner);
            }
        }
        dim.substitute(&|symbol| self.inner.get(&symbol).map(|&inner| inner.into()))
    }

    fn ty(&mut self, ty: &TensorType, body: &mut Graph) -> TensorType {
        TensorType::new(ty.element, ty.dims.iter().map(|dim| self.dim(dim, body)).collect())
    }
}

fn write_loop(
    graph: &Graph,
    inside: &[Node],
    roles: &Roles,
    new: &mut Graph,
    map: &mut ValueMap,
) -> Result<(), Diagnostic> {
    let (period, trip) = (roles.stretch.period, roles.stretch.count);
    let (body, symbols) = write_body(graph, inside, roles);
    let mut operands: Vec<Value> = roles.carried.iter().map(|&(_, initial)| mapped(map, initial)).collect();
    operands.extend(roles.invariant.iter().map(|&value| mapped(map, value)));
    operands.extend(roles.iterated.iter().flatten().map(|&value| mapped(map, value)));
    let (carried, invariant) = (roles.carried.len(), roles.invariant.len());
    let op = Op::Loop { trip, carried, invariant, symbols, body: Arc::new(body) };
    let results = new.add(op, &operands, &Provenance::none())?;
    let old = |iteration: usize, (position, index): Spot| {
        graph.node(inside[iteration * period + position]).results[index as usize]
    };
    for (slot, &spot) in roles.results.iter().enumerate() {
        for iteration in 0..trip {
            map[old(iteration, spot)] = Some(results[carried + slot * trip + iteration]);
        }
    }
    for (slot, &(spot, _)) in roles.carried.iter().enumerate() {
        map[old(trip - 1, spot)] = Some(results[slot]);
    }
    Ok(())
}

/// One layer, and the dims that are passed into it.
fn write_body(graph: &Graph, inside: &[Node], roles: &Roles) -> (Graph, Vec<Dim>) {
    let period = roles.stretch.period;
    let mut body = Graph::new(format!("{}.layer", graph.name), graph.sources.clone());
    let mut passing = Passing { outer: graph, symbols: Vec::new(), inner: BTreeMap::new() };
    let mut input = |name: String, like: Value, body: &mut Graph| {
        let ty = passing.ty(graph.ty(like), body);
        body.add_input(name, ty)
    };
    let carried: Vec<Value> = roles
        .carried
        .iter()
        .enumerate()
        .map(|(index, &(_, initial))| input(format!("carried{index}"), initial, &mut body))
        .collect();
    let invariant: Vec<Value> = roles
        .invariant
        .iter()
        .enumerate()
        .map(|(index, &value)| input(format!("invariant{index}"), value, &mut body))
        .collect();
    let iterated: Vec<Value> = roles
        .iterated
        .iter()
        .enumerate()
        .map(|(index, values)| input(format!("iterated{index}"), values[0], &mut body))
        .collect();
    let mut inner: Vec<Vec<Value>> = Vec::with_capacity(period);
    for (position, sources) in roles.operands.iter().enumerate() {
        let data = graph.node(inside[position]);
        let operands = sources
            .iter()
            .map(|source| match *source {
                Source::Same((position, index)) => inner[position][index as usize],
                Source::Carried(slot) => carried[slot],
                Source::Invariant(slot) => invariant[slot],
                Source::Iterated(slot) => iterated[slot],
            })
            .collect();
        let mut op = data.op.clone();
        op.map_dims(&mut |dim| passing.dim(dim, &mut body));
        let types = data.results.iter().map(|&value| passing.ty(graph.ty(value), &mut body)).collect();
        // The one body node comes from the ONNX nodes of all layers.
        let origins: Vec<Origin> = (position..inside.len())
            .step_by(period)
            .flat_map(|at| graph.node(inside[at]).provenance.origins().to_vec())
            .collect();
        inner.push(body.push(op, operands, types, Provenance::from_origins(origins)));
        name_layers(graph, inside, (position, period), &mut body, &inner[position]);
    }
    let of = |(position, index): Spot| inner[position][index as usize];
    for (slot, &(spot, _)) in roles.carried.iter().enumerate() {
        body.add_output(format!("carried{slot}"), of(spot));
    }
    for (slot, &spot) in roles.results.iter().enumerate() {
        body.add_output(format!("result{slot}"), of(spot));
    }
    (body, passing.symbols)
}

/// The results of one body node are the tensors of all layers.
fn name_layers(
    graph: &Graph,
    inside: &[Node],
    (position, period): (usize, usize),
    body: &mut Graph,
    results: &[Value],
) {
    for (iteration, at) in (0u32..).zip((position..inside.len()).step_by(period)) {
        for (&old, &new) in graph.node(inside[at]).results.iter().zip(results) {
            for named in graph.names(old) {
                body.keep_names();
                body.name(new, Named { tensor: named.tensor.clone(), iteration: Some(iteration) });
            }
        }
    }
}
