//! The inputs of a model: their types, and the symbols that their dims name.
//!
//! In: the graph's declarations, what the user said of lengths, and the names that are doubted (`claims`). Out: inputs of the graph. Always
//! holds: a name of a dim is a claim of the exporter; two names may turn out to be one length (later, by unification), one name that is
//! doubted is another length at each place, and an expression such as `past + seq` is believed only if inputs define all its
//! names; what is believed here is checked when the program is given its inputs.

use std::collections::{BTreeMap, BTreeSet};

use narae_isa::{Diagnostic, codes};
use onnx_protobuf::tensor_shape_proto::Dimension;
use onnx_protobuf::tensor_shape_proto::dimension::Value as DimensionValue;
use onnx_protobuf::{GraphProto, TensorShapeProto, ValueInfoProto};

use super::builder::Built;
use super::dim_names::parse;
use super::import::Importer;
use super::ranks::implied_rank;
use super::tensor::element;
use crate::graph::TensorType;
use crate::ir::{Dim, Symbol, SymbolDefinition};

/// Adds the graph's inputs (those that are not initializers) to the importer's graph and scope.
pub fn declare_inputs<'m>(importer: &mut Importer<'m>, graph: &'m GraphProto) {
    let inputs: Vec<&ValueInfoProto> =
        graph.input.iter().filter(|input| importer.lookup(&input.name).is_none()).collect();
    let bare: BTreeSet<&str> = inputs.iter().flat_map(|input| dimensions(input)).filter_map(bare_name).collect();
    let mut names = Names { bare, symbols: BTreeMap::new() };
    let mut seen = BTreeSet::new();
    for info in inputs {
        if !seen.insert(info.name.as_str()) {
            let problem = Diagnostic::new(&codes::E0109, format!("input `{}` is declared twice", info.name));
            importer.problems.push(problem.at_node(&info.name, "input"));
            continue;
        }
        let number = importer.builder.graph.inputs().len() as u32;
        let value = match tensor_type(importer, &mut names, info, number, graph) {
            Ok(ty) => Some(importer.builder.graph.add_input(info.name.as_str(), ty)),
            Err(problem) => {
                importer.problems.push(problem.at_node(&info.name, "input"));
                None
            }
        };
        importer.define(&info.name, value, "input");
    }
    say(importer);
}

/// Tells the symbols what was said of them: lengths that are fixed or limited, and the extents of inputs that will be given.
fn say(importer: &mut Importer<'_>) {
    let said = importer.said;
    let graph = &mut importer.builder.graph;
    let places: Vec<(String, Vec<Dim>)> =
        graph.inputs().iter().map(|port| (port.name.clone(), graph.dims(port.value).to_vec())).collect();
    for (name, dims) in &places {
        for (axis, symbol) in dims.iter().enumerate().filter_map(|(axis, dim)| Some((axis, dim.as_symbol()?))) {
            let mut extents = said.given.iter().filter_map(|shapes| shapes.get(name)?.get(axis));
            if let Some(first) = extents.next().filter(|first| extents.all(|other| other == *first)) {
                graph.symbols.give(symbol, i64::try_from(*first).unwrap_or(i64::MAX));
            }
        }
    }
    // Whether the names exist, and whether this contradicts the model, is reported when the lengths get their bounds.
    for (name, value) in &said.fixed {
        for place in importer.places.iter().filter(|place| place.text == *name) {
            let _ = graph.symbols.unify(&place.dim, &(*value).into());
        }
    }
    for (name, most) in &said.lengths {
        for symbol in
            importer.places.iter().filter(|place| place.text == *name).filter_map(|place| place.dim.as_symbol())
        {
            graph.symbols.bound(symbol, None, Some(*most));
        }
    }
    importer.places.retain(|place| graph.symbols.resolve(&place.dim).as_const().is_none());
}

/// The names that inputs define by themselves, and the symbols made of them so far.
struct Names<'m> {
    bare: BTreeSet<&'m str>,
    symbols: BTreeMap<&'m str, Symbol>,
}

/// A dim of an input that has a name.
pub(super) struct Place<'m> {
    /// What the exporter wrote.
    pub text: &'m str,
    /// What was made of it.
    pub dim: Dim,
}

pub(super) fn dimensions(info: &ValueInfoProto) -> &[Dimension] {
    shape(info).map_or(&[], |shape| shape.dim.as_slice())
}

/// The declared shape, if there is one.
pub(super) fn shape(info: &ValueInfoProto) -> Option<&TensorShapeProto> {
    info.type_.as_ref().filter(|ty| ty.has_tensor_type()).and_then(|ty| ty.tensor_type().shape.as_ref())
}

/// The text of a dim that is named.
pub(super) fn name_of(dimension: &Dimension) -> Option<&str> {
    match &dimension.value {
        Some(DimensionValue::DimParam(name)) if !name.is_empty() => Some(name.as_str()),
        _ => None,
    }
}

/// The name of a dim that is nothing but a name.
pub(super) fn bare_name(dimension: &Dimension) -> Option<&str> {
    name_of(dimension).filter(|name| parse(name).is_none_or(|expression| expression.is_name()))
}

fn tensor_type<'m>(
    importer: &mut Importer<'m>,
    names: &mut Names<'m>,
    info: &'m ValueInfoProto,
    number: u32,
    graph: &GraphProto,
) -> Built<TensorType> {
    let ty = info.type_.as_ref().filter(|ty| ty.has_tensor_type());
    let Some(ty) = ty else {
        let message = format!("input `{}` is not a tensor: sequences, maps and optionals do not exist here", info.name);
        return Err(Diagnostic::new(&codes::E0203, message));
    };
    let element = element(ty.tensor_type().elem_type)
        .map_err(|name| Diagnostic::new(&codes::E0203, format!("input `{}` has element type {name}", info.name)))?;
    let rank = rank(importer, info, graph)?;
    if rank > importer.model.limits.rank {
        let message = format!("input `{}` has {rank} dimensions, more than {}", info.name, importer.model.limits.rank);
        return Err(Diagnostic::new(&codes::E0105, message));
    }
    let declared = dimensions(info);
    let mut dims = Vec::with_capacity(rank);
    for axis in 0..rank {
        let number = (number, u32::try_from(axis).unwrap_or(u32::MAX));
        dims.push(match declared.get(axis).and_then(|dimension| dimension.value.as_ref()) {
            // -1 is how some exporters spell a length that they do not know; nothing is meant by other negative numbers.
            Some(DimensionValue::DimValue(size)) if *size < -1 => {
                let message = format!("input `{}` has {size} elements along axis {axis}", info.name);
                return Err(Diagnostic::new(&codes::E0303, message));
            }
            Some(DimensionValue::DimValue(size)) if *size >= 0 => Dim::from(*size),
            Some(DimensionValue::DimParam(name)) if !name.is_empty() => {
                let dim = names.dim(importer, name, number);
                importer.places.push(Place { text: name, dim: dim.clone() });
                dim
            }
            _ => symbol(importer, &format!("{}.{axis}", info.name), number).into(),
        });
    }
    Ok(TensorType::new(element, dims))
}

/// How many dimensions an input has: as declared, else as given, else as the nodes that take it imply.
fn rank(importer: &Importer<'_>, info: &ValueInfoProto, graph: &GraphProto) -> Built<usize> {
    if let Some(shape) = shape(info) {
        return Ok(shape.dim.len());
    }
    let given = importer.said.given.iter().find_map(|shapes| shapes.get(&info.name)).map(Vec::len);
    given.or_else(|| implied_rank(graph, &info.name)).ok_or_else(|| {
        let message = format!("input `{}` does not say how many dimensions it has, and no node implies it", info.name);
        Diagnostic::new(&codes::E0302, message).help("export the model with its input shapes, or give inputs")
    })
}

fn symbol(importer: &mut Importer, name: &str, (input, axis): (u32, u32)) -> Symbol {
    importer.builder.graph.symbols.add(name, SymbolDefinition::Input { input, axis })
}

impl<'m> Names<'m> {
    fn dim(&mut self, importer: &mut Importer, name: &'m str, place: (u32, u32)) -> Dim {
        if importer.doubts.contains(name) {
            return symbol(importer, name, place).into();
        }
        if self.bare.contains(name) {
            let symbol = self.symbol(importer, name);
            let symbols = &mut importer.builder.graph.symbols;
            // The first place where a name stands alone defines it.
            if symbols.data(symbol).definition == SymbolDefinition::Undefined {
                symbols.define(symbol, SymbolDefinition::Input { input: place.0, axis: place.1 });
            }
            return symbol.into();
        }
        let dim = parse(name).and_then(|expression| expression.dim(&mut |name| self.named(importer, name)));
        dim.unwrap_or_else(|| symbol(importer, name, place).into())
    }

    /// The length of a name that inputs define and that is believed.
    fn named(&mut self, importer: &mut Importer, name: &'m str) -> Option<Dim> {
        let known = self.bare.contains(name) && !importer.doubts.contains(name);
        known.then(|| self.symbol(importer, name).into())
    }

    fn symbol(&mut self, importer: &mut Importer, name: &'m str) -> Symbol {
        let add = || importer.builder.graph.symbols.add(name, SymbolDefinition::Undefined);
        *self.symbols.entry(name).or_insert_with(add)
    }
}
