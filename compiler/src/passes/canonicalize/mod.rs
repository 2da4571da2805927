//! Canonicalisation: exporters' shape arithmetic, constants, no-ops and repetitions disappear; what is left has one spelling.
//!
//! In: any verified graph. Out: a graph that computes the same values, rebuilt node by node in order, so that everything is
//! linear in the number of nodes: when a node is looked at, its operands are already simple. Each node goes through the rules
//! (`rules.rs`, each a law of one line), then the table of what was computed before, then folding: small integer tensors whose
//! contents are known become `dims` or constants, ops on constants become constants (small ones at once, weights as recipes that run
//! later). Data symbols whose tensors turn out to be known are replaced. Bodies are canonicalised as graphs of their own.
//! What is not done here: anything that needs a choice or a pattern of several ops; that is the laws' part.

pub mod dead;
mod fold;
mod rules;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use narae_isa::{Diagnostic, codes};

use self::dead::live_values;
use crate::graph::rebuild::{ValueMap, finish, mapped};
use crate::graph::{Graph, NodeData, Op, Provenance};
use crate::ir::{Dim, Symbol, SymbolDefinition, Value};

/// Learning that a data symbol is known can make more known; more rounds than this were never useful.
const MAXIMUM_ROUNDS: usize = 4;

/// The pass.
pub fn canonicalize(graph: &mut Graph) -> Result<(), Diagnostic> {
    for _ in 0..MAXIMUM_ROUNDS {
        learn_data_symbols(graph)?;
        *graph = round(graph)?;
        if !learn_data_symbols(graph)? {
            break;
        }
    }
    dead::remove_dead_code(graph)
}

/// Replaces data symbols whose elements are known; whether any was.
fn learn_data_symbols(graph: &mut Graph) -> Result<bool, Diagnostic> {
    let mut known: Vec<(Symbol, Dim)> = Vec::new();
    for (symbol, row) in graph.symbols.iter().filter(|(_, row)| row.replacement.is_none()) {
        if let SymbolDefinition::Data { value, index } = row.definition {
            let contents = graph.known_dims(value);
            known.extend(
                contents.and_then(|dims| dims.get(usize::try_from(index).ok()?).cloned()).map(|dim| (symbol, dim)),
            );
        }
    }
    let learnt = !known.is_empty();
    for (symbol, dim) in known {
        graph.symbols.replace(symbol, &dim).map_err(|clash| {
            let (left, right) = (clash.left.display(&graph.symbols), clash.right.display(&graph.symbols));
            Diagnostic::new(&codes::E0301, format!("the lengths `{left}` and `{right}` must be equal"))
        })?;
    }
    graph.resolve_symbols();
    Ok(learnt)
}

/// One rebuild.
fn round(old: &Graph) -> Result<Graph, Diagnostic> {
    let live = live_values(old);
    let mut builder = Builder { graph: old.rebuild(), seen: HashMap::new() };
    let mut map = ValueMap::new();
    for (port, copy) in old.inputs().iter().zip(builder.graph.inputs()) {
        map[port.value] = Some(copy.value);
    }
    for (_, node) in old.nodes().filter(|(_, node)| node.results.iter().any(|&value| live[value])) {
        let operands: Vec<Value> = node.operands.iter().map(|&value| mapped(&map, value)).collect();
        let results = builder.copy(old, node, operands)?;
        for (&value, result) in node.results.iter().zip(results) {
            map[value] = Some(result);
        }
    }
    let mut new = builder.graph;
    finish(old, &mut new, &map);
    new.resolve_symbols();
    Ok(new)
}

/// A graph under construction that never computes anything twice.
pub(super) struct Builder {
    graph: Graph,
    /// What was computed before. Only looked up, never iterated.
    seen: HashMap<(Op, Vec<Value>), Vec<Value>>,
}

impl Builder {
    fn copy(&mut self, old: &Graph, node: &NodeData, operands: Vec<Value>) -> Result<Vec<Value>, Diagnostic> {
        let mut op = node.op.clone();
        for body in op.regions_mut() {
            let mut inner = Graph::clone(body);
            canonicalize(&mut inner)?;
            *body = Arc::new(inner);
        }
        if op.defines_symbols() {
            // Dims elsewhere name the symbols that this node defines, so its results keep their types.
            let types = node.results.iter().map(|&value| old.ty(value).clone()).collect();
            return Ok(self.graph.push(op, operands, types, node.provenance.clone()));
        }
        self.emit(op, operands, &node.provenance)
    }

    /// The results of an op, simplified, shared and folded.
    fn emit(&mut self, op: Op, operands: Vec<Value>, provenance: &Provenance) -> Result<Vec<Value>, Diagnostic> {
        if let Some(value) = rules::simplify(self, &op, &operands, provenance)? {
            return Ok(vec![value]);
        }
        let key = (op, operands);
        let weight = fold::is_weight(&key.0);
        if let Some(results) = self.seen.get(&key).filter(|_| !weight) {
            return Ok(results.clone());
        }
        let results = match fold::as_recipe(&self.graph, &key.0, &key.1, provenance)? {
            Some(recipe) => self.emit(Op::Constant { recipe }, vec![], provenance)?,
            None => {
                let added = self.graph.add(key.0.clone(), &key.1, provenance)?;
                self.known(&key, added, provenance)?
            }
        };
        self.seen.insert(key, results.clone());
        Ok(results)
    }

    /// One result of an op.
    fn emit1(&mut self, op: Op, operands: Vec<Value>, provenance: &Provenance) -> Result<Value, Diagnostic> {
        let results = self.emit(op, operands, provenance)?;
        assert!(results.len() == 1, "`emit1` is for ops with one result");
        Ok(results[0])
    }

    /// The results of a node that was just added, or what they are known to be. The node is dead then.
    fn known(
        &mut self,
        (op, operands): &(Op, Vec<Value>),
        results: Vec<Value>,
        provenance: &Provenance,
    ) -> Result<Vec<Value>, Diagnostic> {
        if matches!(op, Op::Constant { .. } | Op::Iota { .. }) {
            return Ok(results);
        }
        if let [value] = results[..]
            && let Some((op, convert)) = fold::contents(&self.graph, op, value)
        {
            let mut known = self.emit1(op, vec![], provenance)?;
            if let Some(to) = convert {
                known = self.emit1(Op::Convert { to, saturate: false }, vec![known], provenance)?;
            }
            return Ok(vec![known]);
        }
        match fold::evaluated(&self.graph, op, operands, &results, provenance)? {
            Some(recipes) => {
                let mut constants = Vec::with_capacity(recipes.len());
                for recipe in recipes {
                    constants.push(self.emit1(Op::Constant { recipe }, vec![], provenance)?);
                }
                Ok(constants)
            }
            None => Ok(results),
        }
    }
}
