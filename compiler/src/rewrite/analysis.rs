//! What the e-graph knows of each class: its type, whether it is constant, and its number if it is one everywhere.
//!
//! Types come from the graph's own inference: every term is also added to a scratch graph, so that a law that makes an
//! ill-typed term is found at once (`clashes`) instead of in the simulator. Always holds: a class has one type, up to what the
//! symbols allow; `constant` means that the value can be a recipe, and nothing is read but small constants in memory.

use std::collections::BTreeMap;

use egg::{Analysis, DidMerge, EGraph, Id};
use narae_isa::{BinaryFunction, Element, HostTensor, UnaryFunction};

use super::node::{Attr, Head, Term};
use super::numbers;
use crate::compress::{Recipe, Step};
use crate::graph::attribute::Names;
use crate::graph::{Graph, Op, Provenance, Real, TensorType};
use crate::ir::{Dim, Value};

/// The e-graph of a region.
pub type Space = EGraph<Term, Region>;

/// Constants with more elements are not looked into for a single number.
const MAXIMUM_UNIFORM: usize = 256;

/// What is known of a class.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// An attribute.
    Attribute(Attr),
    /// A tensor.
    Tensor(Facts),
    /// A term that has no type: a law made a mistake, or the term's children are no tensors.
    Nothing,
}

/// What is known of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    /// The value in the scratch graph, for its type.
    pub value: Value,
    /// Whether the tensor is known when the image is written.
    pub constant: bool,
    /// The number that all elements are, compared by its bits (NaN is itself).
    pub number: Option<Real>,
}

/// A value that the region does not look into.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The value in the graph that the region is part of.
    pub value: Value,
    /// The value in the scratch graph.
    scratch: Value,
    /// Whether it is a constant for each iteration of the surrounding loop.
    constant: bool,
}

/// The state of the analysis: the leaves and constants of a region, and the scratch graph that holds the types.
#[derive(Default)]
pub struct Region {
    scratch: Graph,
    leaves: Vec<Leaf>,
    constants: Vec<(Recipe, Value)>,
    numbers: BTreeMap<Recipe, u32>,
    /// Terms that inference refused, and unions of different types: mistakes of laws.
    pub clashes: Vec<String>,
}

impl Region {
    /// An empty region with the symbols and files of a graph.
    pub fn new(graph: &Graph) -> Region {
        let mut scratch = Graph::new("scratch", graph.sources.clone());
        scratch.symbols = graph.symbols.clone();
        Region { scratch, ..Region::default() }
    }

    /// A leaf for a value of the surrounding graph.
    pub fn leaf(&mut self, value: Value, ty: TensorType, constant: bool) -> Term {
        let scratch = self.scratch.add_input(format!("{value}"), ty);
        let number = u32::try_from(self.leaves.len()).expect("a region has fewer than 2^32 leaves");
        self.leaves.push(Leaf { value, scratch, constant });
        Term { head: Head::Value(number), children: vec![] }
    }

    /// The leaf of a number.
    pub fn leaf_data(&self, number: u32) -> &Leaf {
        &self.leaves[number as usize]
    }

    /// A leaf for a constant; equal recipes are one leaf.
    pub fn constant(&mut self, recipe: &Recipe) -> Term {
        let known = self.numbers.get(recipe).copied();
        let number = known.unwrap_or_else(|| {
            let number = u32::try_from(self.constants.len()).expect("a region has fewer than 2^32 constants");
            let value = self.scratch.constant(recipe.clone(), &Provenance::none());
            self.constants.push((recipe.clone(), value.expect("a recipe that exists has a type")));
            self.numbers.insert(recipe.clone(), number);
            number
        });
        Term { head: Head::Constant(number), children: vec![] }
    }

    /// The recipe of a constant.
    pub fn recipe(&self, number: u32) -> &Recipe {
        &self.constants[number as usize].0
    }

    /// What attributes may refer to.
    pub fn names(&self) -> Names<'_> {
        Names { symbols: &self.scratch.symbols, sources: &self.scratch.sources }
    }

    /// The type of a scratch value, with all that is known about symbols put in.
    pub fn ty(&self, value: Value) -> TensorType {
        let mut ty = self.scratch.ty(value).clone();
        self.scratch.symbols.resolve_all(&mut ty.dims);
        ty
    }

    /// Whether two dims are equal.
    pub fn same(&self, left: &Dim, right: &Dim) -> bool {
        self.scratch.symbols.resolve(left) == self.scratch.symbols.resolve(right)
    }

    /// Whether two types are equal where the lengths are that the model needs to be: a program stops where they are not.
    pub fn assumed_equal(&self, left: &TensorType, right: &TensorType) -> bool {
        let assumed = |left: &Dim, right: &Dim| {
            let says = |(a, b): &(Dim, Dim)| {
                (self.same(a, left) && self.same(b, right)) || (self.same(a, right) && self.same(b, left))
            };
            self.same(left, right) || self.scratch.symbols.assumptions().any(says)
        };
        left.element == right.element
            && left.dims.len() == right.dims.len()
            && left.dims.iter().zip(&right.dims).all(|(left, right)| assumed(left, right))
    }

    /// The graph that holds the types, for what needs symbols and files.
    pub fn scratch(&self) -> &Graph {
        &self.scratch
    }

    /// The op of a term whose attributes are known.
    fn op(&self, head: &Head, attributes: &[Attr]) -> Result<Op, String> {
        Term::to_op(head, attributes, &self.names())
    }
}

/// The number that every element of a small constant in memory is.
fn uniform(recipe: &Recipe) -> Option<Real> {
    let Step::Inline(bytes) = recipe.step() else { return None };
    if recipe.count() == 0 || recipe.count() > MAXIMUM_UNIFORM || !recipe.element().is_float() {
        return None;
    }
    let tensor = HostTensor::new(recipe.element(), recipe.dims().to_vec(), bytes.to_vec())?;
    let values = tensor.to_f64_vec();
    let first = *values.first()?;
    values.iter().all(|value| value.to_bits() == first.to_bits()).then_some(Real::new(first))
}

/// The data of a class.
pub fn data(space: &Space, class: Id) -> &Data {
    &space[class].data
}

/// What is known of a class that is a tensor.
pub fn facts(space: &Space, class: Id) -> Option<Facts> {
    match data(space, class) {
        Data::Tensor(facts) => Some(*facts),
        Data::Attribute(_) | Data::Nothing => None,
    }
}

/// The number that all elements of a class are.
pub fn number(space: &Space, class: Id) -> Option<f64> {
    facts(space, class)?.number.map(Real::get)
}

/// The class of which a term is a multiple by a number.
pub fn multiple(space: &Space, term: &Term) -> Option<Id> {
    let [left, right] = term.children[..] else { return None };
    let product = term.head == Head::Binary(BinaryFunction::Mul);
    match (number(space, left), number(space, right)) {
        (None, Some(_)) if product => Some(space.find(left)),
        (Some(_), None) if product => Some(space.find(right)),
        _ => None,
    }
}

/// The type of a class that is a tensor.
pub fn ty(space: &Space, class: Id) -> Option<TensorType> {
    facts(space, class).map(|facts| space.analysis.ty(facts.value))
}

/// The attribute that a class is.
pub fn attribute(space: &Space, class: Id) -> Option<&Attr> {
    match data(space, class) {
        Data::Attribute(attr) => Some(attr),
        Data::Tensor(_) | Data::Nothing => None,
    }
}

impl Analysis<Term> for Region {
    type Data = Data;

    fn make(space: &mut Space, term: &Term, _: Id) -> Data {
        match &term.head {
            Head::Attribute(attr) => return Data::Attribute(attr.clone()),
            Head::Value(number) => {
                let leaf = space.analysis.leaf_data(*number);
                return Data::Tensor(Facts { value: leaf.scratch, constant: leaf.constant, number: None });
            }
            Head::Constant(number) => {
                let (recipe, value) = &space.analysis.constants[*number as usize];
                return Data::Tensor(Facts { value: *value, constant: true, number: uniform(recipe) });
            }
            Head::Unary(_) | Head::Binary(_) | Head::Compare(_) | Head::Reduce(_) | Head::Op(_) => {}
        }
        let split = term.head.attributes();
        let attributes: Option<Vec<Attr>> =
            term.children[..split].iter().map(|c| attribute(space, *c).cloned()).collect();
        let operands: Option<Vec<Facts>> = term.children[split..].iter().map(|c| facts(space, *c)).collect();
        let (Some(attributes), Some(operands)) = (attributes, operands) else { return Data::Nothing };
        let region = &mut space.analysis;
        let typed = region.op(&term.head, &attributes).and_then(|op| {
            let values: Vec<Value> = operands.iter().map(|facts| facts.value).collect();
            region.scratch.add1(op, &values, &Provenance::none()).map_err(|diagnostic| diagnostic.message)
        });
        match typed {
            Ok(value) => {
                let constant = !operands.is_empty() && operands.iter().all(|facts| facts.constant);
                let number = folded(&term.head, &operands, region.scratch.element(value));
                Data::Tensor(Facts { value, constant, number })
            }
            Err(message) => {
                region.clashes.push(message);
                Data::Nothing
            }
        }
    }

    fn merge(&mut self, kept: &mut Data, other: Data) -> DidMerge {
        let merged = match (&*kept, &other) {
            (Data::Nothing, _) => other.clone(),
            (Data::Tensor(left), Data::Tensor(right)) => {
                let (own, new) = (self.ty(left.value), self.ty(right.value));
                if own != new && !self.assumed_equal(&own, &new) {
                    self.clashes.push(format!("{own:?} was said to equal {new:?}"));
                }
                let constant = left.constant || right.constant;
                // The lower value of two equal types, so that the order of unions does not show.
                Data::Tensor(Facts {
                    value: left.value.min(right.value),
                    constant,
                    number: left.number.or(right.number),
                })
            }
            (Data::Tensor(_) | Data::Attribute(_), _) => kept.clone(),
        };
        let did = DidMerge(*kept != merged, other != merged);
        *kept = merged;
        did
    }
}

/// The number of a term over numbers, rounded as the type of the result rounds.
fn folded(head: &Head, operands: &[Facts], element: Element) -> Option<Real> {
    let numbers: Vec<f64> = operands.iter().map(|facts| facts.number.map(Real::get)).collect::<Option<_>>()?;
    let exact = match (head, numbers.as_slice()) {
        (Head::Op("convert" | "broadcast" | "reshape" | "transpose"), [value]) => *value,
        (Head::Unary(UnaryFunction::Sqrt), [value]) => value.sqrt(),
        (Head::Unary(UnaryFunction::Neg), [value]) => -value,
        (Head::Unary(UnaryFunction::Reciprocal), [value]) => 1.0 / value,
        (Head::Binary(BinaryFunction::Mul), [a, b]) => a * b,
        (Head::Binary(BinaryFunction::Div), [a, b]) => a / b,
        (Head::Binary(BinaryFunction::Add), [a, b]) => a + b,
        (Head::Binary(BinaryFunction::Sub), [a, b]) => a - b,
        _ => return None,
    };
    element.is_float().then(|| Real::new(numbers::rounded(element, exact)))
}
