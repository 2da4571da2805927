//! Rebuilding: how passes write a graph anew, node by node, without losing what symbols mean.
//!
//! In: an old graph. Out: a new one that started as [`Graph::rebuild`], got copies of nodes or others in their place, and was
//! closed by [`finish`]. Always holds: symbols keep their numbers and bounds; those that a value defines follow it.

use cranelift_entity::SecondaryMap;

use super::{Graph, NodeData};
use crate::ir::{SymbolDefinition, Value};

/// The new value of each old one that has been copied.
pub(crate) type ValueMap = SecondaryMap<Value, Option<Value>>;

impl Graph {
    /// An empty graph with the same name, symbols, files, inputs (as the same values); what a pass rebuilds into.
    pub fn rebuild(&self) -> Graph {
        let mut graph = Graph::new(self.name.clone(), self.sources.clone());
        graph.symbols = self.symbols.clone();
        graph.states = self.states.clone();
        for port in &self.inputs {
            graph.add_input(port.name.clone(), self.values[port.value].ty.clone());
        }
        graph
    }
}

/// The new value of an old one.
pub(crate) fn mapped(map: &ValueMap, value: Value) -> Value {
    map[value].expect("operands point backwards, and what a living node needs lives")
}

/// Appends a node as it is.
pub(crate) fn copy_node(old: &Graph, new: &mut Graph, node: &NodeData, map: &mut ValueMap) {
    let operands = node.operands.iter().map(|&value| mapped(map, value)).collect();
    let types = node.results.iter().map(|&value| old.ty(value).clone()).collect();
    let results = new.push(node.op.clone(), operands, types, node.provenance.clone());
    node.results.iter().zip(results).for_each(|(&value, copy)| map[value] = Some(copy));
}

/// Outputs, the definitions of symbols and names, in the values of the copy.
pub(crate) fn finish(old: &Graph, new: &mut Graph, map: &ValueMap) {
    for port in old.outputs() {
        new.add_output(port.name.clone(), mapped(map, port.value));
    }
    let definitions: Vec<_> = new.symbols.iter().map(|(symbol, row)| (symbol, row.definition)).collect();
    for (symbol, definition) in definitions {
        let moved = match definition {
            SymbolDefinition::Data { value, index } => map[value].map(|value| SymbolDefinition::Data { value, index }),
            SymbolDefinition::Extent { value, axis } => {
                map[value].map(|value| SymbolDefinition::Extent { value, axis })
            }
            SymbolDefinition::Input { .. } | SymbolDefinition::Passed { .. } | SymbolDefinition::Undefined => continue,
        };
        // A symbol whose tensor died is used nowhere.
        new.symbols.define(symbol, moved.unwrap_or(SymbolDefinition::Undefined));
    }
    new.carry_names(old, |value| map[value]);
}
