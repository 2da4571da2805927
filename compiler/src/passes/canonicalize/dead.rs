//! Dead code: a copy of a graph without the nodes that no output needs.
//!
//! A node lives if an output, a living node, or a symbol that lives needs one of its results. Inputs always stay. Values are
//! numbered anew, in the old order.

use cranelift_entity::SecondaryMap;
use narae_isa::Diagnostic;

use crate::graph::rebuild::{ValueMap, copy_node, finish};
use crate::graph::{Definition, Graph};
use crate::ir::{Dim, SymbolDefinition, Value};

/// The pass.
pub fn remove_dead_code(graph: &mut Graph) -> Result<(), Diagnostic> {
    let live = live_values(graph);
    if graph.nodes().all(|(_, node)| node.results.iter().any(|&value| live[value])) {
        return Ok(());
    }
    let mut new = graph.rebuild();
    let mut map = ValueMap::new();
    for (old, copy) in graph.inputs().iter().zip(new.inputs()) {
        map[old.value] = Some(copy.value);
    }
    for (_, node) in graph.nodes().filter(|(_, node)| node.results.iter().any(|&value| live[value])) {
        copy_node(graph, &mut new, node, &mut map);
    }
    finish(graph, &mut new, &map);
    *graph = new;
    Ok(())
}

/// Which values are needed.
pub(super) fn live_values(graph: &Graph) -> SecondaryMap<Value, bool> {
    let mut live: SecondaryMap<Value, bool> = SecondaryMap::new();
    let mut open: Vec<Value> = graph.outputs().iter().map(|port| port.value).collect();
    let mut seen_symbols = vec![false; graph.symbols.len()];
    for (_, data) in graph.inputs().iter().map(|port| (port, graph.ty(port.value))) {
        data.dims.iter().for_each(|dim| need_symbols(graph, dim, &mut seen_symbols, &mut open));
    }
    while let Some(value) = open.pop() {
        if std::mem::replace(&mut live[value], true) {
            continue;
        }
        graph.dims(value).iter().for_each(|dim| need_symbols(graph, dim, &mut seen_symbols, &mut open));
        if let Definition::Result { node, .. } = graph.definition(value) {
            let data = graph.node(node);
            open.extend(data.operands.iter().filter(|&&operand| !live[operand]));
            data.op.visit_dims(&mut |dim| need_symbols(graph, dim, &mut seen_symbols, &mut open));
            // The other results are defined with this one, with all that their types need.
            open.extend(data.results.iter().filter(|&&result| !live[result]));
        }
    }
    live
}

fn need_symbols(graph: &Graph, dim: &Dim, seen: &mut [bool], open: &mut Vec<Value>) {
    dim.any_symbol(&mut |symbol| {
        if !std::mem::replace(&mut seen[symbol.as_u32() as usize], true) {
            match graph.symbols.data(symbol).definition {
                SymbolDefinition::Data { value, .. } | SymbolDefinition::Extent { value, .. } => open.push(value),
                SymbolDefinition::Input { .. } | SymbolDefinition::Passed { .. } | SymbolDefinition::Undefined => {}
            }
        }
        false
    });
}
