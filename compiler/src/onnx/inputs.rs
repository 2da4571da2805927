//! The inputs of a model: their types, and the symbols that their dims name.
//!
//! In: the graph's declarations. Out: inputs of the graph. Always holds: a name of a dim is a claim of the exporter; two names
//! may turn out to be one length (later, by unification), and an expression such as `past + seq` is believed only if
//! inputs define all its names; what is believed here is checked when the program is given its inputs.

use std::collections::{BTreeMap, BTreeSet};

use narae_isa::{Diagnostic, codes};
use onnx_protobuf::tensor_shape_proto::Dimension;
use onnx_protobuf::tensor_shape_proto::dimension::Value as DimensionValue;
use onnx_protobuf::{GraphProto, ValueInfoProto};

use super::builder::{Built, mismatch};
use super::import::Importer;
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
        let value = match tensor_type(importer, &mut names, info, number) {
            Ok(ty) => Some(importer.builder.graph.add_input(info.name.as_str(), ty)),
            Err(problem) => {
                importer.problems.push(problem.at_node(&info.name, "input"));
                None
            }
        };
        importer.define(&info.name, value, "input");
    }
}

/// The names that inputs define by themselves, and the symbols made of them so far.
struct Names<'m> {
    bare: BTreeSet<&'m str>,
    symbols: BTreeMap<&'m str, Symbol>,
}

pub(super) fn dimensions(info: &ValueInfoProto) -> &[Dimension] {
    let shape = info.type_.as_ref().filter(|ty| ty.has_tensor_type()).and_then(|ty| ty.tensor_type().shape.as_ref());
    shape.map_or(&[], |shape| shape.dim.as_slice())
}

/// The name of a dim that is nothing but a name.
fn bare_name(dimension: &Dimension) -> Option<&str> {
    match &dimension.value {
        Some(DimensionValue::DimParam(name)) if !name.is_empty() && parse(name).is_none_or(|e| e.is_name()) => {
            Some(name.as_str())
        }
        _ => None,
    }
}

fn tensor_type<'m>(
    importer: &mut Importer<'m>,
    names: &mut Names<'m>,
    info: &'m ValueInfoProto,
    number: u32,
) -> Built<TensorType> {
    let ty = info.type_.as_ref().filter(|ty| ty.has_tensor_type());
    let Some(ty) = ty else {
        let message = format!("input `{}` is not a tensor: sequences, maps and optionals do not exist here", info.name);
        return Err(Diagnostic::new(&codes::E0203, message));
    };
    let element = element(ty.tensor_type().elem_type)
        .map_err(|name| Diagnostic::new(&codes::E0203, format!("input `{}` has element type {name}", info.name)))?;
    if ty.tensor_type().shape.is_none() {
        let message = format!("input `{}` does not say how many dimensions it has", info.name);
        return Err(Diagnostic::new(&codes::E0302, message).help("export the model with its input shapes"));
    }
    let declared = dimensions(info);
    if declared.len() > importer.model.limits.rank {
        let message = format!(
            "input `{}` has {} dimensions, more than {}",
            info.name,
            declared.len(),
            importer.model.limits.rank
        );
        return Err(Diagnostic::new(&codes::E0105, message));
    }
    let mut dims = Vec::with_capacity(declared.len());
    for (axis, dimension) in (0u32..).zip(declared) {
        let fallback = format!("{}.{axis}", info.name);
        dims.push(match &dimension.value {
            Some(DimensionValue::DimValue(size)) if *size >= 0 => Dim::from(*size),
            Some(DimensionValue::DimValue(size)) => {
                return Err(mismatch(format!("input `{}` has a dimension of {size}", info.name)));
            }
            Some(DimensionValue::DimParam(name)) if !name.is_empty() => names.dim(importer, name, number, axis),
            _ => symbol(importer, &fallback, number, axis).into(),
        });
    }
    Ok(TensorType::new(element, dims))
}

fn symbol(importer: &mut Importer, name: &str, input: u32, axis: u32) -> Symbol {
    importer.builder.graph.symbols.add(name, SymbolDefinition::Input { input, axis })
}

impl<'m> Names<'m> {
    fn dim(&mut self, importer: &mut Importer, name: &'m str, input: u32, axis: u32) -> Dim {
        if self.bare.contains(name) {
            let found = self.symbols.entry(name);
            return (*found.or_insert_with(|| importer.builder.graph.symbols.add(name, SymbolDefinition::Undefined)))
                .defined(importer, input, axis);
        }
        let expression = parse(name);
        match expression.and_then(|expression| self.evaluate(importer, &expression)) {
            Some(dim) => dim,
            None => symbol(importer, name, input, axis).into(),
        }
    }

    /// The dim of an expression all of whose names inputs define.
    fn evaluate(&mut self, importer: &mut Importer, expression: &Expression<'m>) -> Option<Dim> {
        Some(match expression {
            Expression::Number(value) => Dim::from(*value),
            Expression::Name(name) if self.bare.contains(name) => {
                let add = || importer.builder.graph.symbols.add(name, SymbolDefinition::Undefined);
                (*self.symbols.entry(name).or_insert_with(add)).into()
            }
            Expression::Name(_) => return None,
            Expression::Apply(operator, parts) => {
                let (a, b) = (self.evaluate(importer, &parts.0)?, self.evaluate(importer, &parts.1)?);
                let dim = match operator {
                    '+' => &a + &b,
                    '-' => &a - &b,
                    '*' => &a * &b,
                    '/' => a.floor_div(&b),
                    '%' => a.modulo(&b),
                    _ => return None,
                };
                if dim.is_invalid() {
                    return None;
                }
                dim
            }
        })
    }
}

/// A symbol at a place where it stands alone: the first such place defines it.
trait Defined {
    fn defined(self, importer: &mut Importer, input: u32, axis: u32) -> Dim;
}

impl Defined for Symbol {
    fn defined(self, importer: &mut Importer, input: u32, axis: u32) -> Dim {
        let symbols = &mut importer.builder.graph.symbols;
        if symbols.data(self).definition == SymbolDefinition::Undefined {
            symbols.define(self, SymbolDefinition::Input { input, axis });
        }
        self.into()
    }
}

/// What exporters write as the name of a dim.
enum Expression<'a> {
    Number(i64),
    Name(&'a str),
    Apply(char, Box<(Expression<'a>, Expression<'a>)>),
}

impl Expression<'_> {
    fn is_name(&self) -> bool {
        matches!(self, Expression::Name(_))
    }
}

/// Parses sums and products of names and numbers; `None` if the text is anything else (it is then just a name).
fn parse(text: &str) -> Option<Expression<'_>> {
    if text.len() > 200 {
        return None;
    }
    let mut parser = Parser { text, at: 0, depth: 0 };
    let expression = parser.sum()?;
    parser.peek().is_none().then_some(expression)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    fn take(&mut self, wanted: &str) -> Option<char> {
        let found = self.peek().filter(|&c| wanted.contains(c))?;
        self.at += found.len_utf8();
        // `//` is one operator.
        if found == '/' && self.text[self.at..].starts_with('/') {
            self.at += 1;
        }
        Some(found)
    }

    fn sum(&mut self) -> Option<Expression<'a>> {
        self.chain("+-", Parser::product)
    }

    fn product(&mut self) -> Option<Expression<'a>> {
        self.chain("*/%", Parser::atom)
    }

    fn chain(&mut self, operators: &str, part: fn(&mut Self) -> Option<Expression<'a>>) -> Option<Expression<'a>> {
        let mut left = part(self)?;
        while let Some(operator) = self.take(operators) {
            left = Expression::Apply(operator, Box::new((left, part(self)?)));
        }
        Some(left)
    }

    fn atom(&mut self) -> Option<Expression<'a>> {
        if self.take("(").is_some() {
            self.depth += 1;
            let inner = if self.depth < 20 { self.sum()? } else { return None };
            return self.take(")").map(|_| inner);
        }
        self.peek()?;
        let rest = &self.text[self.at..];
        let word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let length = rest.find(|c: char| !word(c)).unwrap_or(rest.len());
        let token = &rest[..length];
        self.at += length;
        if token.is_empty() {
            return None;
        }
        Some(token.parse().map_or(Expression::Name(token), Expression::Number))
    }
}
