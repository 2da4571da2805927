//! Printing of graphs; see the module above.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::graph::attribute::{Attribute, Names};
use crate::graph::{Graph, NodeData, Provenance};
use crate::ir::Value;
use crate::ir::text::symbols;
use crate::ir::text::write::{self, attribute, type_text};

/// What to print besides the graph itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// The ONNX nodes that each node comes from, as `loc`.
    pub locations: bool,
}

/// The text of a graph.
pub fn print(graph: &Graph, options: Options) -> String {
    let mut printer = Printer { out: String::new(), options, depth: 0 };
    printer.out.push_str("\"builtin.module\"() ({\n  \"narae.graph\"() ({\n");
    printer.body(graph, 2);
    let signature = attribute(&Attribute::Dictionary(signature(graph)));
    writeln!(printer.out, "  }}) {signature} : () -> ()\n}}) : () -> ()").expect("writing to a string succeeds");
    printer.out
}

/// What is said of a graph besides its nodes: its name, the names of inputs, the symbols.
fn signature(graph: &Graph) -> BTreeMap<String, Attribute> {
    let inputs = graph.inputs().iter().map(|port| Attribute::Text(port.name.clone())).collect();
    let mut map = BTreeMap::from([
        ("inputs".to_string(), Attribute::List(inputs)),
        ("name".to_string(), Attribute::Text(graph.name.clone())),
    ]);
    let states = graph.states.iter().map(|state| {
        let number = |position: usize| Attribute::Integer(i64::try_from(position).unwrap_or(i64::MAX));
        Attribute::Dictionary(BTreeMap::from([
            ("input".to_string(), number(state.input)),
            ("name".to_string(), Attribute::Text(state.name.clone())),
            ("output".to_string(), number(state.output)),
        ]))
    });
    map.insert("states".to_string(), Attribute::List(states.collect()));
    symbols::print(&graph.symbols, &mut map);
    map
}

struct Printer {
    out: String,
    options: Options,
    depth: usize,
}

impl Printer {
    fn body(&mut self, graph: &Graph, indent: usize) {
        let depth = self.depth;
        let arguments: Vec<String> = graph
            .inputs()
            .iter()
            .map(|port| format!("{}: {}", name(port.value, depth), ty(graph, port.value)))
            .collect();
        let pad = " ".repeat(indent);
        self.line(&format!("{pad}^bb0({}):\n", arguments.join(", ")));
        for (_, node) in graph.nodes() {
            self.node(graph, node, indent + 2);
        }
        let outputs: Vec<Value> = graph.outputs().iter().map(|port| port.value).collect();
        let names = graph.outputs().iter().map(|port| Attribute::Text(port.name.clone())).collect();
        let attributes = attribute(&Attribute::Dictionary(BTreeMap::from([("names".into(), Attribute::List(names))])));
        let (operands, types) = (self.values(&outputs), types(graph, &outputs));
        self.line(&format!("{pad}  \"graph.return\"({operands}) {attributes} : ({types}) -> ()\n"));
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn values(&self, values: &[Value]) -> String {
        values.iter().map(|&value| name(value, self.depth)).collect::<Vec<_>>().join(", ")
    }

    fn node(&mut self, graph: &Graph, node: &NodeData, indent: usize) {
        let names = Names { symbols: &graph.symbols, sources: &graph.sources };
        let pad = " ".repeat(indent);
        let (results, operands) = (self.values(&node.results), self.values(&node.operands));
        self.line(&format!("{pad}{results} = \"graph.{}\"({operands})", node.op.name()));
        let mut map: BTreeMap<String, Attribute> = BTreeMap::new();
        let mut regions = Vec::new();
        for (key, value) in node.op.attributes(&names) {
            match value {
                Attribute::Region(body) => {
                    map.insert(key.into(), Attribute::Dictionary(signature(&body)));
                    regions.push((key, body));
                }
                other => {
                    map.insert(key.into(), other);
                }
            }
        }
        // Regions stand in the order of the row, attributes sorted.
        let order = super::super::Op::region_fields(node.op.name());
        regions.sort_by_key(|(key, _)| order.iter().position(|field| field == key));
        for (index, (_, body)) in regions.iter().enumerate() {
            self.line(if index == 0 { " ({\n" } else { ", {\n" });
            self.depth += 1;
            self.body(body, indent);
            self.depth -= 1;
            self.line(&format!("{pad}}}"));
        }
        if !regions.is_empty() {
            self.line(")");
        }
        if !map.is_empty() {
            self.line(&format!(" {}", attribute(&Attribute::Dictionary(map))));
        }
        let (from, to) = (types(graph, &node.operands), types(graph, &node.results));
        let to = if node.results.len() == 1 { to } else { format!("({to})") };
        self.line(&format!(" : ({from}) -> {to}"));
        if self.options.locations {
            self.line(&location(&node.provenance));
        }
        self.line("\n");
    }
}

/// `%v7`; inside of bodies another letter, because names may not be defined again there.
fn name(value: Value, depth: usize) -> String {
    match depth {
        0 => format!("%{value}"),
        depth => format!("%b{depth}{value}"),
    }
}

fn types(graph: &Graph, values: &[Value]) -> String {
    values.iter().map(|&value| ty(graph, value)).collect::<Vec<_>>().join(", ")
}

fn ty(graph: &Graph, value: Value) -> String {
    let ty = graph.ty(value);
    type_text(ty.element, &ty.dims, &graph.symbols)
}

fn location(provenance: &Provenance) -> String {
    let places: Vec<(&str, &str)> =
        provenance.origins().iter().map(|origin| (origin.name.as_str(), origin.op.as_str())).collect();
    write::location(None, &places)
}
