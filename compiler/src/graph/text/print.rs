//! Printing of graphs; see the module above.

use std::collections::BTreeMap;
use std::fmt::Write;

use narae_isa::Element;

use crate::graph::attribute::{Attribute, Names};
use crate::graph::{Graph, NodeData, Provenance, TensorType};
use crate::ir::{Dim, SymbolDefinition, Symbols, Value};

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
    let symbols = graph.symbols.iter().map(|(_, row)| {
        let mut map = BTreeMap::from([("name".to_string(), Attribute::Text(row.name.clone()))]);
        let mut put = |key: &str, value: i64| map.insert(key.to_string(), Attribute::Integer(value));
        match row.definition {
            SymbolDefinition::Input { input, axis } => {
                put("input", input.into());
                put("axis", axis.into());
            }
            SymbolDefinition::Data { value, index } => {
                put("element", i64::try_from(index).unwrap_or(i64::MAX));
                put("value", value.as_u32().into());
            }
            SymbolDefinition::Extent { value, axis } => {
                put("axis", axis.into());
                put("value", value.as_u32().into());
            }
            SymbolDefinition::Passed { index } => {
                put("passed", index.into());
            }
            SymbolDefinition::Undefined => {}
        }
        if let Some(lower) = row.lower {
            put("lower", lower);
        }
        if let Some(upper) = row.upper {
            put("upper", upper);
        }
        if let Some(dim) = &row.replacement {
            map.insert("is".into(), Attribute::Text(dim.display(&graph.symbols).to_string()));
        }
        Attribute::Dictionary(map)
    });
    let sides = |dim: &Dim| Attribute::Text(dim.display(&graph.symbols).to_string());
    let equations = graph.symbols.assumptions().map(|(left, right)| Attribute::List(vec![sides(left), sides(right)]));
    let index = |at: usize| Attribute::Integer(i64::try_from(at).unwrap_or(i64::MAX));
    let states = graph.states.iter().map(|state| {
        Attribute::Dictionary(BTreeMap::from([
            ("input".to_string(), index(state.input)),
            ("name".to_string(), Attribute::Text(state.name.clone())),
            ("output".to_string(), index(state.output)),
        ]))
    });
    BTreeMap::from([
        ("states".to_string(), Attribute::List(states.collect())),
        ("assumptions".to_string(), Attribute::List(equations.collect())),
        ("inputs".to_string(), Attribute::List(inputs)),
        ("name".to_string(), Attribute::Text(graph.name.clone())),
        ("symbols".to_string(), Attribute::List(symbols.collect())),
    ])
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
            .map(|port| format!("{}: {}", name(port.value, depth), type_text(graph.ty(port.value), &graph.symbols)))
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
    values.iter().map(|&value| type_text(graph.ty(value), &graph.symbols)).collect::<Vec<_>>().join(", ")
}

/// The names of element types in MLIR. Types that mlir-19 cannot spell are types of our dialect.
pub(super) const ELEMENTS: &[(Element, &str)] = &[
    (Element::F32, "f32"),
    (Element::F16, "f16"),
    (Element::BF16, "bf16"),
    (Element::F64, "f64"),
    (Element::F8E4M3, "f8E4M3FN"),
    (Element::F8E4M3FNUZ, "f8E4M3FNUZ"),
    (Element::F8E5M2, "f8E5M2"),
    (Element::F8E5M2FNUZ, "f8E5M2FNUZ"),
    (Element::F8E8M0, "!narae.f8e8m0"),
    (Element::F4E2M1, "!narae.f4e2m1"),
    (Element::I2, "i2"),
    (Element::U2, "ui2"),
    (Element::I4, "i4"),
    (Element::U4, "ui4"),
    (Element::I8, "i8"),
    (Element::U8, "ui8"),
    (Element::I16, "i16"),
    (Element::U16, "ui16"),
    (Element::I32, "i32"),
    (Element::U32, "ui32"),
    (Element::I64, "i64"),
    (Element::U64, "ui64"),
    (Element::Bool, "i1"),
];

fn type_text(ty: &TensorType, symbols: &Symbols) -> String {
    let element = ELEMENTS.iter().find(|(element, _)| *element == ty.element).map_or("?", |(_, name)| name);
    let mut text = String::from("tensor<");
    for dim in &ty.dims {
        match dim.as_const() {
            Some(extent) => text += &format!("{extent}x"),
            None => text += "?x",
        }
    }
    text += element;
    if ty.dims.iter().any(|dim| dim.as_const().is_none()) {
        let dims: Vec<String> = ty.dims.iter().map(|dim| dim.display(symbols).to_string()).collect();
        text += &format!(", {}", quoted(&dims.join(", ")));
    }
    text + ">"
}

fn location(provenance: &Provenance) -> String {
    let one = |origin: &crate::graph::Origin| format!("{}({})", quoted(&origin.name), quoted(&origin.op));
    match provenance.origins() {
        [] => " loc(unknown)".into(),
        [origin] => format!(" loc({})", one(origin)),
        several => format!(" loc(fused[{}])", several.iter().map(one).collect::<Vec<_>>().join(", ")),
    }
}

/// A string with everything that is not plain ASCII as `\XX`.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' | 0..=31 | 127.. => write!(out, "\\{byte:02X}").expect("writing to a string succeeds"),
            _ => out.push(char::from(byte)),
        }
    }
    out + "\""
}

fn attribute(value: &Attribute) -> String {
    let joined = |items: Vec<String>| items.join(", ");
    match value {
        Attribute::Integer(value) => value.to_string(),
        Attribute::Bool(value) => value.to_string(),
        Attribute::Float(value) => float(*value),
        Attribute::Text(text) => quoted(text),
        Attribute::List(items) => format!("[{}]", joined(items.iter().map(attribute).collect())),
        Attribute::Dictionary(map) => {
            format!("{{{}}}", joined(map.iter().map(|(key, value)| format!("{key} = {}", attribute(value))).collect()))
        }
        Attribute::Region(_) => unreachable!("regions are printed apart"),
    }
}

/// The shortest decimal that reads back as the same double, in the form that MLIR wants; bits for NaN and infinities.
fn float(value: f64) -> String {
    if !value.is_finite() {
        return format!("0x{:016X} : f64", value.to_bits());
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = if mantissa.contains('.') { "" } else { ".0" };
    format!("{mantissa}{point}e{exponent}")
}
