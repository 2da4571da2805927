//! What an element of an integer, bool or mask tensor is, as an expression of its indices.
//!
//! In: a value and symbolic indices. Out: an integer expression, a number, a conjunction of inequalities, or a choice between two of
//! them. That is how a mask is proven causal whatever it was spelled with (comparisons of ranges, gathers by grids, sums of
//! masks): its element is 0 exactly where `past + i − j ≥ 0`. Always holds: what is said holds for all indices in range and all
//! lengths that the symbols allow; what cannot be followed is [`Element::Unknown`].

use narae_isa::{BinaryFunction, CompareFunction, Element as Type, Overflow, ReduceFunction, UnaryFunction};

use super::grid::Grid;
use super::roles::Roles;
use crate::graph::{Definition, Graph, Op};
use crate::ir::{Dim, Symbol, SymbolDefinition, Symbols, Value};

/// What an element is.
#[derive(Clone, Debug, PartialEq)]
pub enum Element {
    /// An integer.
    Integer(Dim),
    /// A number.
    Number(f64),
    /// A truth value: all of these are at least 0.
    All(Vec<Dim>),
    /// The first where all of these are at least 0, else the second.
    Choice(Vec<Dim>, Box<Element>, Box<Element>),
    /// Never true.
    Never,
    /// Not followed.
    Unknown,
}

use Element::{All, Choice, Integer, Never, Number, Unknown};

/// Elements of a graph's values.
pub struct Elements<'a> {
    graph: &'a Graph,
    symbols: Symbols,
    /// Extents of the index symbols that were made.
    extents: Vec<(Symbol, Dim)>,
    /// What the elements of inputs are, by their indices.
    inputs: &'a dyn Fn(Value, &[Dim]) -> Element,
    steps: usize,
    /// The values between the one that is asked about and the one that is looked at.
    depth: usize,
}

/// Elements followed for one question.
const MAXIMUM_STEPS: usize = 20_000;
/// Values behind one another that are followed: each is a call of a function, and a stack ends.
const MAXIMUM_DEPTH: usize = 512;
/// Constants with more elements are not looked at.
const MAXIMUM_CONSTANT: usize = 1 << 14;

impl<'a> Elements<'a> {
    /// Elements under what is assumed of the inputs. A call has a sequence and a new token at least: nothing is asked of others.
    pub(super) fn new(graph: &'a Graph, roles: &Roles, inputs: &'a dyn Fn(Value, &[Dim]) -> Element) -> Elements<'a> {
        let mut symbols = graph.symbols.clone();
        for symbol in [&roles.batch, &roles.sequence].into_iter().filter_map(Dim::as_symbol) {
            symbols.bound(symbol, Some(1), None);
        }
        Elements { graph, symbols, extents: vec![], inputs, steps: 0, depth: 0 }
    }

    /// A new index into an axis of this extent.
    pub fn index(&mut self, extent: &Dim) -> Dim {
        let extent = self.symbols.resolve(extent);
        if extent.is(1) {
            return Dim::ZERO;
        }
        let upper = extent.as_const().map(|extent| extent - 1);
        let symbol = self.symbols.add_bounded("index", SymbolDefinition::Undefined, Some(0), upper);
        self.extents.push((symbol, extent));
        symbol.into()
    }

    /// One index per axis.
    pub fn indices(&mut self, dims: &[Dim]) -> Vec<Dim> {
        dims.iter().map(|dim| self.index(dim)).collect()
    }

    /// The element of a value at these indices.
    pub fn at(&mut self, value: Value, indices: &[Dim]) -> Element {
        self.steps += 1;
        if self.steps > MAXIMUM_STEPS || self.depth == MAXIMUM_DEPTH {
            return Unknown;
        }
        self.depth += 1;
        let element = self.computed(value, indices);
        self.depth -= 1;
        self.stored(element, self.graph.element(value))
    }

    /// What an element is once its type holds it. Expressions are integers without end, so they are followed only in the types of
    /// positions: narrower ones wrap, floats round.
    fn stored(&self, element: Element, ty: Type) -> Element {
        match element {
            Integer(dim) => match dim.as_const() {
                Some(value) if ty.is_float() => rounded(value as f64, ty),
                Some(value) if has_room(ty, value) => Integer(dim),
                None if matches!(ty, Type::I64 | Type::I32) => Integer(dim),
                _ => Unknown,
            },
            Number(value) => rounded(value, ty),
            Choice(condition, a, b) => self.choose(&All(condition), self.stored(*a, ty), self.stored(*b, ty)),
            other => other,
        }
    }

    /// The element that a node computes, before its type holds it.
    fn computed(&mut self, value: Value, indices: &[Dim]) -> Element {
        let node = match self.graph.definition(value) {
            Definition::Input(_) => return (self.inputs)(value, indices),
            Definition::Result { index: 0, node } => self.graph.node(node),
            Definition::Result { .. } => return Unknown,
        };
        let operand = |number: usize| node.operands[number];
        match &node.op {
            Op::Constant { recipe } => self.constant(recipe, indices),
            Op::Dims { dims, shape } => self.listed(dims, shape, indices),
            Op::Iota { axis, .. } => Integer(indices[*axis].clone()),
            Op::Convert { to, saturate: false } => {
                let element = self.at(operand(0), indices);
                self.convert(element, *to)
            }
            Op::Unary { function } => {
                let element = self.at(operand(0), indices);
                self.unary(*function, element)
            }
            Op::Binary { function } => {
                let (a, b) = (self.spread(operand(0), indices), self.spread(operand(1), indices));
                self.binary(*function, &a, &b)
            }
            Op::Compare { function } => {
                let (a, b) = (self.spread(operand(0), indices), self.spread(operand(1), indices));
                self.compare(*function, &a, &b)
            }
            Op::Select {} => {
                let condition = self.spread(operand(0), indices);
                let (a, b) = (self.spread(operand(1), indices), self.spread(operand(2), indices));
                self.choose(&condition, a, b)
            }
            Op::Broadcast { .. } => self.spread(operand(0), indices),
            Op::Transpose { permutation } => {
                let mut source = vec![Dim::ZERO; indices.len()];
                permutation.iter().zip(indices).for_each(|(axis, index)| source[*axis] = index.clone());
                self.at(operand(0), &source)
            }
            Op::Reshape { .. } => self.reshaped(operand(0), value, indices),
            Op::Slice { starts, steps, .. } => {
                let source: Vec<Dim> = (starts.iter().zip(steps).zip(indices))
                    .map(|((start, step), index)| start + &(index * &Dim::from(*step)))
                    .collect();
                self.at(operand(0), &source)
            }
            Op::Concat { axis } => self.concatenated(&node.operands, *axis, indices),
            Op::Gather { axis } => self.gathered(operand(0), operand(1), *axis, indices),
            Op::GatherNd { batch } => self.gathered_grid(operand(0), operand(1), *batch, indices),
            Op::Reduce { function, axes } => self.reduced(*function, axes, operand(0), indices),
            _ => Unknown,
        }
    }

    /// The element of an operand that broadcasts to the indices.
    pub(super) fn spread(&mut self, value: Value, indices: &[Dim]) -> Element {
        let dims = self.graph.dims(value);
        let skipped = indices.len() - dims.len();
        let own: Vec<Dim> = dims
            .iter()
            .zip(&indices[skipped..])
            .map(|(dim, index)| if dim.is(1) { Dim::ZERO } else { index.clone() })
            .collect();
        self.at(value, &own)
    }

    fn constant(&self, recipe: &crate::compress::Recipe, indices: &[Dim]) -> Element {
        if recipe.count() > MAXIMUM_CONSTANT {
            return Unknown;
        }
        let Ok(tensor) = recipe.evaluate(&self.graph.sources) else { return Unknown };
        let element = |at: usize| match tensor.element {
            Type::Bool => truth(tensor.get_i64(at) != 0),
            float if float.is_float() => Number(tensor.get_f64(at)),
            _ => Integer(tensor.get_i64(at).into()),
        };
        let elements: Vec<Element> = (0..tensor.len()).map(element).collect();
        Grid { extents: &tensor.dims, indices }.element(&elements)
    }

    fn listed(&self, dims: &[Dim], shape: &[usize], indices: &[Dim]) -> Element {
        let elements: Vec<Element> = dims.iter().map(|dim| Integer(self.symbols.resolve(dim))).collect();
        Grid { extents: shape, indices }.element(&elements)
    }

    /// A reshape that only adds and drops axes of 1 keeps the indices; any other is followed only where the element does
    /// not depend on them.
    fn reshaped(&mut self, source: Value, result: Value, indices: &[Dim]) -> Element {
        let (from, to) = (self.graph.dims(source).to_vec(), self.graph.dims(result).to_vec());
        let wide = |dims: &[Dim]| -> Vec<usize> { (0..dims.len()).filter(|axis| !dims[*axis].is(1)).collect() };
        let (old, new) = (wide(&from), wide(&to));
        // Where one of them has more axes, these are 1 too, or there is no element: both have as many.
        if old.iter().zip(&new).all(|(a, b)| self.symbols.resolve(&from[*a]) == self.symbols.resolve(&to[*b])) {
            let mut own = vec![Dim::ZERO; from.len()];
            old.iter().zip(&new).for_each(|(a, b)| own[*a] = indices[*b].clone());
            return self.at(source, &own);
        }
        let first_new = self.extents.len();
        let free = self.indices(&from);
        let element = self.at(source, &free);
        let fresh: Vec<Symbol> = self.extents[first_new..].iter().map(|(symbol, _)| *symbol).collect();
        if mentions(&element, &fresh) { Unknown } else { element }
    }

    fn concatenated(&mut self, parts: &[Value], axis: usize, indices: &[Dim]) -> Element {
        let mut start = Dim::ZERO;
        for part in parts {
            let end = &start + &self.graph.dims(*part)[axis].clone();
            let before = &(&end - &indices[axis]) - &Dim::ONE;
            if self.decide(&before) == Some(true) {
                let mut own = indices.to_vec();
                own[axis] = &indices[axis] - &start;
                return self.at(*part, &own);
            }
            if self.decide(&(&indices[axis] - &end)) != Some(true) {
                return Unknown;
            }
            start = end;
        }
        Unknown
    }

    fn gathered(&mut self, table: Value, positions: Value, axis: usize, indices: &[Dim]) -> Element {
        let count = self.graph.rank(positions);
        let picked = self.at(positions, &indices[axis..axis + count]);
        let picked = self.position(picked, &self.graph.dims(table)[axis].clone());
        let source: Vec<Dim> = [&indices[..axis], &[picked], &indices[axis + count..]].concat();
        self.at(table, &source)
    }

    fn gathered_grid(&mut self, table: Value, grid: Value, batch: usize, indices: &[Dim]) -> Element {
        let outer = self.graph.rank(grid) - 1;
        let Some(depth) = self.graph.dims(grid)[outer].as_size() else { return Unknown };
        let mut source = indices[..batch].to_vec();
        for number in 0..depth {
            let place = [&indices[..outer], &[number.into()]].concat();
            let element = self.at(grid, &place);
            source.push(self.position(element, &self.graph.dims(table)[batch + number].clone()));
        }
        source.extend_from_slice(&indices[outer..]);
        self.at(table, &source)
    }

    /// An index into an axis; one that is not followed is a new one of which nothing is known but that it is in range.
    fn position(&mut self, element: Element, extent: &Dim) -> Dim {
        match element {
            Integer(dim) if self.decide(&dim) == Some(true) => dim,
            Integer(dim) if self.decide(&(&Dim::from(-1_i64) - &dim)) == Some(true) => &dim + extent,
            _ => self.index(extent),
        }
    }

    /// Sums over elements that do not depend on the summed index.
    fn reduced(&mut self, function: ReduceFunction, axes: &[usize], source: Value, indices: &[Dim]) -> Element {
        let dims = self.graph.dims(source).to_vec();
        let mut own = indices.to_vec();
        let mut count = Dim::ONE;
        let first_new = self.extents.len();
        for axis in axes {
            own[*axis] = self.index(&dims[*axis]);
            count = &count * &self.symbols.resolve(&dims[*axis]);
        }
        let own_indices = self.extents[first_new..].to_vec();
        let fresh: Vec<Symbol> = own_indices.iter().map(|(symbol, _)| *symbol).collect();
        let element = self.at(source, &own);
        let some = self.decide(&(&count - &Dim::ONE)) == Some(true);
        let element = match (function, element) {
            (ReduceFunction::Max, Integer(dim)) => Integer(extreme(dim, &own_indices, true)),
            (ReduceFunction::Min, Integer(dim)) => Integer(extreme(dim, &own_indices, false)),
            (_, element) => element,
        };
        match (function, element) {
            (_, element) if mentions(&element, &fresh) => Unknown,
            (ReduceFunction::Sum, Integer(dim)) => Integer(&dim * &count),
            // Of nothing they are something else.
            (ReduceFunction::Max | ReduceFunction::Min | ReduceFunction::All | ReduceFunction::Any, element)
                if some =>
            {
                element
            }
            _ => Unknown,
        }
    }

    /// Whether a dim is at least 0 everywhere, or nowhere.
    pub(super) fn decide(&self, dim: &Dim) -> Option<bool> {
        let dim = self.symbols.resolve(dim);
        let (lower, upper) = dim.bounds(&self.symbols);
        if lower.is_some_and(|least| least >= 0) {
            return Some(true);
        }
        if upper.is_some_and(|most| most < 0) {
            return Some(false);
        }
        // An index is below its extent: where it is subtracted, the extent bounds what remains.
        for (symbol, extent) in self.extents.iter().rev() {
            let rest = &dim + &Dim::from(*symbol);
            let subtracted = !rest.any_symbol(&mut |other| other == *symbol);
            let worst = &rest - &(extent - &Dim::ONE);
            if subtracted && worst.bounds(&self.symbols).0.is_some_and(|least| least >= 0) {
                return Some(true);
            }
        }
        None
    }

    /// A conjunction without what always holds.
    fn all(&self, parts: Vec<Dim>) -> Element {
        let mut kept = vec![];
        for part in parts {
            match self.decide(&part) {
                Some(true) => {}
                Some(false) => return Never,
                None => kept.push(self.symbols.resolve(&part)),
            }
        }
        kept.sort();
        kept.dedup();
        All(kept)
    }

    /// An element as another type has it, but for what that holds (see `stored`).
    fn convert(&self, element: Element, to: Type) -> Element {
        match (element, to) {
            (Integer(dim), Type::Bool) => match dim.as_const() {
                Some(value) => truth(value != 0),
                None if self.decide(&(&dim - &Dim::ONE)) == Some(true) => All(vec![]),
                None => Unknown,
            },
            (Number(value), Type::Bool) => truth(value != 0.0),
            (Number(value), to) if to.is_integer() => {
                exact_integer(value).map_or(Unknown, |value| Integer(value.into()))
            }
            (element @ (All(_) | Never), to) if to != Type::Bool => {
                self.choose(&element, Integer(Dim::ONE), Integer(Dim::ZERO))
            }
            (Choice(condition, a, b), to) => {
                let (a, b) = (self.convert(*a, to), self.convert(*b, to));
                self.choose(&All(condition), a, b)
            }
            (other, _) => other,
        }
    }

    fn unary(&self, function: UnaryFunction, element: Element) -> Element {
        match (function, element) {
            (UnaryFunction::Not, All(parts)) if parts.is_empty() => Never,
            (UnaryFunction::Not, Never) => All(vec![]),
            (UnaryFunction::Not, All(parts)) if parts.len() == 1 => self.all(vec![&Dim::from(-1_i64) - &parts[0]]),
            (UnaryFunction::Neg, Integer(dim)) => Integer(&Dim::ZERO - &dim),
            (UnaryFunction::Neg, Number(value)) => Number(-value),
            _ => Unknown,
        }
    }

    fn binary(&self, function: BinaryFunction, a: &Element, b: &Element) -> Element {
        use BinaryFunction::{Add, And, Div, FloorDiv, Max, Min, Mod, Mul, Or, Sub};
        match (function, a, b) {
            (And, Never, _) | (And, _, Never) => Never,
            (And, All(left), All(right)) => self.all([left.as_slice(), right].concat()),
            (Or, Never, other) | (Or, other, Never) => other.clone(),
            (Or, All(parts), _) | (Or, _, All(parts)) if parts.is_empty() => All(vec![]),
            (_, Integer(left), Integer(right)) => match function {
                Add => Integer(left + right),
                Sub => Integer(left - right),
                Mul => Integer(left * right),
                Div | FloorDiv if self.decide(left) == Some(true) && self.decide(right) == Some(true) => {
                    Integer(left.floor_div(right))
                }
                Mod if self.decide(left) == Some(true) && self.decide(right) == Some(true) => {
                    Integer(left.modulo(right))
                }
                Min => Integer(self.symbols.minimum(left, right)),
                Max => Integer(self.symbols.maximum(left, right)),
                _ => Unknown,
            },
            (_, Number(left), Number(right)) => match function {
                Add => Number(left + right),
                Sub => Number(left - right),
                Mul => Number(left * right),
                Div => Number(left / right),
                Min => Number(left.min(*right)),
                Max => Number(left.max(*right)),
                _ => Unknown,
            },
            // Sums of masks: hidden by either is hidden.
            (Add, Choice(left, shown, hidden), Choice(right, also, never))
                if **shown == Number(0.0) && **also == Number(0.0) && is_hidden(hidden) && is_hidden(never) =>
            {
                self.choose(&self.all([left.as_slice(), right].concat()), Number(0.0), (**hidden).clone())
            }
            (_, Choice(condition, x, y), other) => {
                self.choose(&All(condition.clone()), self.binary(function, x, other), self.binary(function, y, other))
            }
            (_, other, Choice(condition, x, y)) => {
                self.choose(&All(condition.clone()), self.binary(function, other, x), self.binary(function, other, y))
            }
            _ => Unknown,
        }
    }

    fn compare(&self, function: CompareFunction, a: &Element, b: &Element) -> Element {
        match (a, b) {
            (Integer(left), Integer(right)) => {
                let difference = right - left;
                match function {
                    CompareFunction::Le => self.all(vec![difference]),
                    CompareFunction::Lt => self.all(vec![&difference - &Dim::ONE]),
                    CompareFunction::Ge => self.all(vec![left - right]),
                    CompareFunction::Gt => self.all(vec![&(left - right) - &Dim::ONE]),
                    CompareFunction::Eq | CompareFunction::Ne => match difference.as_const() {
                        Some(value) => truth((value == 0) == (function == CompareFunction::Eq)),
                        None => Unknown,
                    },
                }
            }
            (Number(left), Number(right)) => truth(match function {
                CompareFunction::Eq => left == right,
                CompareFunction::Ne => left != right,
                CompareFunction::Lt => left < right,
                CompareFunction::Le => left <= right,
                CompareFunction::Gt => left > right,
                CompareFunction::Ge => left >= right,
            }),
            (Choice(condition, x, y), other) => {
                self.choose(&All(condition.clone()), self.compare(function, x, other), self.compare(function, y, other))
            }
            (other, Choice(condition, x, y)) => {
                self.choose(&All(condition.clone()), self.compare(function, other, x), self.compare(function, other, y))
            }
            _ => Unknown,
        }
    }

    /// `a` where the condition holds, else `b`.
    fn choose(&self, condition: &Element, a: Element, b: Element) -> Element {
        match condition {
            Never => b,
            All(parts) if parts.is_empty() => a,
            All(parts) => match (&a, &b) {
                _ if a == b => a,
                (All(inner), Never) => self.all([parts.as_slice(), inner].concat()),
                (Never, All(inner)) if inner.is_empty() && parts.len() == 1 => {
                    self.all(vec![&Dim::from(-1_i64) - &parts[0]])
                }
                (All(_) | Never, _) | (_, All(_) | Never) => Unknown,
                (Unknown, _) | (_, Unknown) => Unknown,
                // What is shown comes first.
                (Number(_), Number(0.0)) if parts.len() == 1 => {
                    Choice(vec![&Dim::from(-1_i64) - &parts[0]], Box::new(b), Box::new(a))
                }
                _ => Choice(parts.clone(), Box::new(a), Box::new(b)),
            },
            Integer(_) | Number(_) | Choice(..) | Unknown => Unknown,
        }
    }
}

/// A number as a float type has it.
fn rounded(value: f64, ty: Type) -> Element {
    let mut bytes = [0; 8];
    ty.store_f64(value, Overflow::Wrap, &mut bytes);
    Number(ty.load_f64(&bytes))
}

/// Whether an integer type has this value.
fn has_room(ty: Type, value: i64) -> bool {
    ty.integer_range().is_some_and(|(least, most)| (least..=most).contains(&value.into()))
}

/// The integer that a number is, if floats tell it from its neighbours.
pub(super) fn exact_integer(value: f64) -> Option<i64> {
    const EXACT: f64 = (1_i64 << 53) as f64;
    (value.fract() == 0.0 && value.abs() < EXACT).then_some(value as i64)
}

fn truth(holds: bool) -> Element {
    if holds { All(vec![]) } else { Never }
}

/// A logit that no softmax sees: exporters write −∞ or the least number of f32 or f16.
pub fn is_hidden(element: &Element) -> bool {
    matches!(element, Number(value) if *value <= -1e4)
}

/// The greatest or least value of an integer over indices that are added or subtracted once.
fn extreme(dim: Dim, indices: &[(Symbol, Dim)], greatest: bool) -> Dim {
    indices.iter().fold(dim, |dim, (symbol, extent)| {
        let free = |rest: &Dim| !rest.any_symbol(&mut |other| other == *symbol);
        let (without, with) = (&dim - &Dim::from(*symbol), &dim + &Dim::from(*symbol));
        match (free(&without), free(&with)) {
            (true, _) => {
                if greatest {
                    &without + &(extent - &Dim::ONE)
                } else {
                    without
                }
            }
            (_, true) => {
                if greatest {
                    with
                } else {
                    &with - &(extent - &Dim::ONE)
                }
            }
            _ => dim,
        }
    })
}

/// Whether an element depends on some of these indices.
pub(super) fn mentions(element: &Element, symbols: &[Symbol]) -> bool {
    let dim = |dim: &Dim| dim.any_symbol(&mut |symbol| symbols.contains(&symbol));
    match element {
        Integer(value) => dim(value),
        All(parts) => parts.iter().any(dim),
        Choice(parts, a, b) => parts.iter().any(dim) || mentions(a, symbols) || mentions(b, symbols),
        Number(_) | Never | Unknown => false,
    }
}
