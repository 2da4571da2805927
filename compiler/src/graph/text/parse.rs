//! Parsing of graphs; see the module above. Every error names its line.

use std::collections::BTreeMap;
use std::sync::Arc;

use narae_isa::Diagnostic;

use super::claims;
use crate::compress::Sources;
use crate::graph::attribute::{Attribute, Names};
use crate::graph::verify::could_be;
use crate::graph::{Graph, Op, Origin, Provenance, State, TensorType};
use crate::ir::text::symbols;
use crate::ir::text::syntax::{Body, Operation, Type, parse_module, refuse};
use crate::ir::{Symbols, Value};

type Map = BTreeMap<String, Attribute>;

/// The graph of a text. Files that constants name are opened in `sources`.
pub fn parse(text: &str, sources: &Sources) -> Result<Graph, Diagnostic> {
    let (signature, body) = parse_module(text, "narae.graph")?;
    let mut graph = Reader { sources: sources.clone() }.graph(&signature, body)?;
    claims::check(&mut graph).map_err(|message| refuse(0, message))?;
    Ok(graph)
}

/// Gives names their meaning.
struct Reader {
    sources: Sources,
}

impl Reader {
    fn graph(&self, signature: &Map, body: Body<Arc<Graph>>) -> Result<Graph, Diagnostic> {
        let line = body.operations.first().map_or(0, |operation| operation.line);
        let name = match signature.get("name") {
            Some(Attribute::Text(name)) => name.clone(),
            _ => return Err(refuse(line, "the graph has no name".into())),
        };
        let mut graph = Graph::new(name, self.sources.clone());
        let rows = symbols::declare(&mut graph.symbols, signature).map_err(|message| refuse(line, message))?;
        let names = match signature.get("inputs") {
            Some(Attribute::List(names)) if names.len() == body.arguments.len() => names,
            _ => return Err(refuse(line, "`inputs` must name every argument".into())),
        };
        let mut values: BTreeMap<(String, u32), Value> = BTreeMap::new();
        for ((argument, ty), name) in body.arguments.into_iter().zip(names) {
            let Attribute::Text(name) = name else { return Err(refuse(line, "`inputs` must hold strings".into())) };
            let ty = resolve_type(&ty, &graph.symbols).map_err(|message| refuse(line, message))?;
            values.insert((argument, 0), graph.add_input(name.clone(), ty));
        }
        let mut returned = false;
        let mut scratch = graph.symbols.clone();
        for operation in body.operations {
            if returned {
                return Err(refuse(operation.line, "nothing may stand behind `graph.return`".into()));
            }
            returned = operation.name == "graph.return";
            self.add(&mut graph, &mut values, &mut scratch, operation)?;
        }
        let values = Some(graph.value_count());
        symbols::define(&mut graph.symbols, &rows, values, signature).map_err(|message| refuse(line, message))?;
        graph.states = states(&graph, signature).map_err(|message| refuse(line, message))?;
        if returned { Ok(graph) } else { Err(refuse(line, "the graph does not end with `graph.return`".into())) }
    }

    fn add(
        &self,
        graph: &mut Graph,
        values: &mut BTreeMap<(String, u32), Value>,
        scratch: &mut Symbols,
        operation: Operation<Arc<Graph>>,
    ) -> Result<(), Diagnostic> {
        let line = operation.line;
        let find = |(name, number): &(String, Option<u32>)| {
            let value = values.get(&(name.clone(), number.unwrap_or(0))).copied();
            value.ok_or_else(|| refuse(line, format!("`%{name}` is not defined before its use")))
        };
        let operands: Result<Vec<Value>, Diagnostic> = operation.operands.iter().map(find).collect();
        let operands = operands?;
        if operation.name == "graph.return" {
            return add_outputs(graph, &operands, &operation.attributes).map_err(|message| refuse(line, message));
        }
        let name = operation.name.strip_prefix("graph.");
        let name = name.ok_or_else(|| refuse(line, format!("`{}` is not an op of the graph", operation.name)))?;
        let mut attributes = operation.attributes;
        let fields = Op::region_fields(name);
        if fields.len() != operation.regions.len() {
            return Err(refuse(line, format!("`{name}` has {} regions", fields.len())));
        }
        for (field, body) in fields.into_iter().zip(operation.regions) {
            let Some(Attribute::Dictionary(signature)) = attributes.get(field).cloned() else {
                return Err(refuse(line, format!("the region `{field}` has no description")));
            };
            let inner = self.graph(&signature, body)?;
            attributes.insert(field.into(), Attribute::Region(Arc::new(inner)));
        }
        let names = Names { symbols: &graph.symbols, sources: &self.sources };
        let op = Op::from_attributes(name, &attributes, &names).map_err(|message| refuse(line, message))?;
        if !op.arity().allows(operands.len()) {
            return Err(refuse(line, format!("`{name}` takes the operands ({})", op.operand_names())));
        }
        let types: Result<Vec<TensorType>, String> =
            operation.types.iter().map(|ty| resolve_type(ty, &graph.symbols)).collect();
        let types = types.map_err(|message| refuse(line, message))?;
        // Before anything is learnt from a node, its types are those of what it computes.
        let given = operands.iter().map(|&value| graph.ty(value).clone()).collect();
        could_be(&op, given, &types, scratch).map_err(|message| refuse(line, message))?;
        let origin = |(name, op)| Origin { name, op };
        let provenance = Provenance::from_origins(operation.location.places.into_iter().map(origin).collect());
        let mut results = graph.push(op, operands, types, provenance).into_iter();
        for (name, count) in operation.results {
            for number in 0..count {
                let value = results.next().ok_or_else(|| refuse(line, "there are more names than results".into()))?;
                if values.insert((name.clone(), number), value).is_some() {
                    return Err(refuse(line, format!("`%{name}` is defined twice")));
                }
            }
        }
        if results.next().is_some() { Err(refuse(line, "there are more results than names".into())) } else { Ok(()) }
    }
}

fn add_outputs(graph: &mut Graph, values: &[Value], attributes: &Map) -> Result<(), String> {
    let Some(Attribute::List(names)) = attributes.get("names") else { return Err("`names` is missing".into()) };
    if names.len() != values.len() {
        return Err("`names` must name every output".into());
    }
    for (name, &value) in names.iter().zip(values) {
        let Attribute::Text(name) = name else { return Err("`names` must hold strings".into()) };
        graph.add_output(name.clone(), value);
    }
    Ok(())
}

/// Which inputs and outputs are kept between runs.
fn states(graph: &Graph, signature: &Map) -> Result<Vec<State>, String> {
    let rows = match signature.get("states") {
        Some(Attribute::List(rows)) => rows.as_slice(),
        _ => &[],
    };
    let position = |row: &Map, key: &str, count: usize| match row.get(key) {
        Some(Attribute::Integer(number)) => usize::try_from(*number).ok().filter(|&number| number < count),
        _ => None,
    };
    let state = |row: &Attribute| {
        let Attribute::Dictionary(row) = row else { return None };
        let Some(Attribute::Text(name)) = row.get("name") else { return None };
        let input = position(row, "input", graph.inputs().len())?;
        let output = position(row, "output", graph.outputs().len())?;
        Some(State { name: name.clone(), input, output })
    };
    let states: Option<Vec<State>> = rows.iter().map(state).collect();
    states.ok_or_else(|| "a state must name itself, an input and an output".into())
}

fn resolve_type(ty: &Type, symbols: &Symbols) -> Result<TensorType, String> {
    Ok(TensorType::new(ty.element, ty.dims(symbols)?))
}
