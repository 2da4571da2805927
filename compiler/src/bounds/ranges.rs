//! Ranges of the elements of tensors, as far as lengths decide them: how the bound of a length is found that the program computes, even
//! as the root of another.
//!
//! In: a node, the ranges of its operands. Out: the ranges of its results, nothing where nothing is known. Always holds: whatever the inputs
//! are, an element is within its range; floats are allowed the rounding of their type.

use std::rc::Rc;

use narae_isa::tensor::element_count;
use narae_isa::{
    BinaryFunction, CompareFunction, CumulateFunction, Element, ReduceFunction, ScatterFunction, UnaryFunction,
};

use crate::compress::Step;
use crate::graph::{Graph, NodeData, Op};
use crate::ir::interval::Interval;
use crate::ir::{Dim, Value};

/// Tensors of more elements have one range for all.
const MAXIMUM_ELEMENTS: usize = 128;
/// From 2^53 on a float no longer tells integers apart.
const EXACT: f64 = (1u64 << 53) as f64;

/// The least and the greatest value.
type Range = (f64, f64);

const ANYTHING: Range = (f64::NEG_INFINITY, f64::INFINITY);

/// The ranges of the elements: one each, or one for all.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ranges(Rc<[Range]>);

/// The ranges of operands by position.
type Operands<'a> = dyn Fn(usize) -> Ranges + 'a;

impl Ranges {
    /// Nothing is known.
    pub(super) fn unknown() -> Ranges {
        Ranges::all(ANYTHING)
    }

    fn all(range: Range) -> Ranges {
        Ranges(Rc::from([range]))
    }

    /// The range of the integer at a row-major position.
    pub(super) fn at(&self, index: usize) -> Interval {
        let (low, high) = self.get(index);
        let limit = |value: f64| (value.abs() < EXACT).then_some(value as i64);
        (limit(low.ceil()), limit(high.floor()))
    }

    fn get(&self, index: usize) -> Range {
        if self.0.len() == 1 { self.0[0] } else { self.0.get(index).copied().unwrap_or(ANYTHING) }
    }

    /// One range that holds all elements.
    fn hull(&self) -> Range {
        self.0.iter().copied().reduce(either).unwrap_or(ANYTHING)
    }

    /// What is either this or that.
    pub(super) fn either(&self, other: &Ranges) -> Ranges {
        if self.0.len() == other.0.len() {
            self.0.iter().zip(other.0.iter()).map(|(&a, &b)| either(a, b)).collect()
        } else {
            Ranges::all(either(self.hull(), other.hull()))
        }
    }
}

impl FromIterator<Range> for Ranges {
    fn from_iter<T: IntoIterator<Item = Range>>(ranges: T) -> Ranges {
        Ranges(ranges.into_iter().collect())
    }
}

fn either(a: Range, b: Range) -> Range {
    (a.0.min(b.0), a.1.max(b.1))
}

/// The bounds of a dim as a range; unlimited ends are infinite.
fn of_dim(graph: &Graph, dim: &Dim) -> Range {
    let (lower, upper) = graph.symbols.resolve(dim).bounds(&graph.symbols);
    (lower.map_or(f64::NEG_INFINITY, |least| least as f64), upper.map_or(f64::INFINITY, |most| most as f64))
}

/// The ranges of the results of a node without bodies.
pub(super) fn of_node(graph: &Graph, node: &NodeData, operand: &Operands<'_>) -> Vec<Option<Ranges>> {
    let cx = Context { graph, node, operand };
    let one = |(index, &value): (usize, &Value)| {
        if let Some(known) = graph.known_dims(value).filter(|known| !known.is_empty()) {
            return Some(known.iter().map(|dim| of_dim(graph, dim)).collect());
        }
        cx.result(index).map(|found| cx.rounded(value, found))
    };
    node.results.iter().enumerate().map(one).collect()
}

struct Context<'a> {
    graph: &'a Graph,
    node: &'a NodeData,
    operand: &'a Operands<'a>,
}

impl Context<'_> {
    fn operand(&self, index: usize) -> Ranges {
        (self.operand)(index)
    }

    fn dims(&self, index: usize) -> &[Dim] {
        self.graph.dims(self.node.operands[index])
    }

    /// One range for all elements of an operand.
    fn hull(&self, index: usize) -> Option<Ranges> {
        Some(Ranges::all(self.operand(index).hull()))
    }

    /// From none to this many.
    fn up_to(&self, count: &Dim) -> Range {
        (0.0, of_dim(self.graph, count).1)
    }

    /// Indices into an axis.
    fn below(&self, extent: &Dim) -> Range {
        (0.0, (of_dim(self.graph, extent).1 - 1.0).max(0.0))
    }

    /// How many elements the result has, if they are few.
    fn count(&self) -> Option<usize> {
        let sizes = self.graph.ty(self.node.results[0]).sizes()?;
        element_count(&sizes).filter(|&count| count <= MAXIMUM_ELEMENTS)
    }

    /// Whether an operand has one range for all elements, or one for each element of the result.
    fn fits(&self, operand: &Ranges) -> bool {
        operand.0.len() == 1 || Some(operand.0.len()) == self.count()
    }

    /// The ranges of a result, computed exactly.
    fn result(&self, index: usize) -> Option<Ranges> {
        let graph = self.graph;
        Some(match &self.node.op {
            Op::Constant { recipe } => return constant(recipe),
            Op::Iota { dims, axis, .. } => Ranges::all(self.below(&dims[*axis])),
            Op::ArgReduce { axis, .. } => Ranges::all(self.below(&self.dims(0)[*axis])),
            Op::Compare { function } => self.pairs(|a, b| Some(compare(*function, a, b))),
            Op::Convert { to, .. } => self.each(|x| convert(x, *to)),
            Op::Unary { function } => self.each(|x| unary(*function, x)),
            Op::Binary { function } => {
                let integers = graph.element(self.node.results[0]).is_integer();
                self.pairs(|a, b| binary(*function, a, b, integers))
            }
            Op::Reshape { .. } => self.operand(0),
            Op::Transpose { permutation } if permutation.len() == 1 => self.operand(0),
            Op::Select {} => self.select(),
            Op::Reduce { function, .. } => return self.reduce(*function),
            Op::Cumulate { axis, function: CumulateFunction::Sum, .. } => {
                Ranges::all(certain(times(self.operand(0).hull(), self.up_to(&self.dims(0)[*axis]))))
            }
            Op::Transpose { .. } | Op::Broadcast { .. } | Op::GatherElements { .. } | Op::GatherNd { .. } => {
                return self.hull(0);
            }
            Op::Slice { starts, steps, .. } => return self.slice(starts, steps),
            Op::Gather { .. } => return self.gather(),
            Op::Concat { .. } => return self.concat(),
            Op::ScatterElements { function: ScatterFunction::Replace, .. }
            | Op::ScatterNd { function: ScatterFunction::Replace } => {
                self.operand(0).either(&Ranges::all(self.operand(2).hull()))
            }
            Op::TopK { .. } if index == 0 => return self.hull(0),
            Op::TopK { axis, .. } => Ranges::all(self.below(&self.dims(0)[*axis])),
            Op::NonZero {} if index == 1 => Ranges::all(self.up_to(&Dim::product(self.dims(0)))),
            Op::NonZero {} => Ranges::all(self.dims(0).iter().map(|dim| self.below(dim)).reduce(either)?),
            _ => return None,
        })
    }

    fn each(&self, f: impl Fn(Range) -> Option<Range>) -> Ranges {
        self.operand(0).0.iter().map(|&range| certain(f(range))).collect()
    }

    /// Elementwise where both have as many ranges as the result has elements, or one for all.
    fn pairs(&self, f: impl Fn(Range, Range) -> Option<Range>) -> Ranges {
        let (a, b) = (self.operand(0), self.operand(1));
        let most = a.0.len().max(b.0.len());
        if self.fits(&a) && self.fits(&b) {
            (0..most).map(|index| certain(f(a.get(index), b.get(index)))).collect()
        } else {
            Ranges::all(certain(f(a.hull(), b.hull())))
        }
    }

    /// The ranges of an operand, one for each of its elements.
    fn spread(&self, index: usize) -> Option<Vec<Range>> {
        let sizes = self.graph.ty(self.node.operands[index]).sizes()?;
        let count = element_count(&sizes).filter(|&count| count <= MAXIMUM_ELEMENTS)?;
        let ranges = self.operand(index);
        Some((0..count).map(|at| ranges.get(at)).collect())
    }

    /// Element by element where conditions are decided or the sides are, else all of both sides.
    fn select(&self) -> Ranges {
        let (conditions, yes, no) = (self.operand(0), self.operand(1), self.operand(2));
        let most = [&conditions, &yes, &no].map(|ranges| ranges.0.len()).into_iter().max().unwrap_or(1);
        if ![&conditions, &yes, &no].into_iter().all(|ranges| self.fits(ranges)) {
            return Ranges::all(either(yes.hull(), no.hull()));
        }
        let chosen = |at: usize| match conditions.get(at) {
            (low, _) if low > 0.0 => yes.get(at),
            (_, high) if high <= 0.0 => no.get(at),
            _ => either(yes.get(at), no.get(at)),
        };
        (0..most).map(chosen).collect()
    }

    fn reduce(&self, function: ReduceFunction) -> Option<Ranges> {
        let hull = self.operand(0).hull();
        let all = if self.dims(0).len() == 1 { self.spread(0) } else { None };
        let range = match (function, all) {
            (ReduceFunction::Min, Some(all)) => all.into_iter().reduce(|a, b| (a.0.min(b.0), a.1.min(b.1)))?,
            (ReduceFunction::Max, Some(all)) => all.into_iter().reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))?,
            (ReduceFunction::Min | ReduceFunction::Max | ReduceFunction::Mean, _) => hull,
            (ReduceFunction::Sum, Some(all)) => all.into_iter().fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1)),
            (ReduceFunction::Sum, None) => times(hull, self.up_to(&Dim::product(self.dims(0))))?,
            (ReduceFunction::Prod, Some(all)) => all.into_iter().try_fold((1.0, 1.0), times)?,
            (ReduceFunction::All | ReduceFunction::Any, _) => (0.0, 1.0),
            _ => return None,
        };
        Some(Ranges::all(certain(Some(range))))
    }

    /// Evenly spaced elements of a list.
    fn slice(&self, starts: &[Dim], steps: &[i64]) -> Option<Ranges> {
        let picked = || {
            let ([start], [step]) = (starts, steps) else { return None };
            let (all, start, count) = (self.spread(0)?, start.as_const()?, self.count()?);
            let at = |index: usize| all.get(usize::try_from(start + index as i64 * step).ok()?).copied();
            (0..count).map(at).collect::<Option<Ranges>>()
        };
        picked().or_else(|| self.hull(0))
    }

    /// Some elements of a list.
    fn gather(&self) -> Option<Ranges> {
        let picked = || {
            let all = self.spread(0).filter(|_| self.dims(0).len() == 1)?;
            let wrapped = |index: i64| if index < 0 { index + all.len() as i64 } else { index };
            let one = |dim: &Dim| all.get(usize::try_from(wrapped(dim.as_const()?)).ok()?).copied();
            let indices = self.graph.known_dims(self.node.operands[1]).filter(|known| !known.is_empty())?;
            indices.iter().map(one).collect::<Option<Ranges>>()
        };
        picked().or_else(|| self.hull(0))
    }

    fn concat(&self) -> Option<Ranges> {
        let parts = 0..self.node.operands.len();
        let list = self.dims(0).len() == 1 && self.count().is_some();
        let apart = || parts.clone().map(|index| self.spread(index)).collect::<Option<Vec<_>>>();
        match apart().filter(|_| list) {
            Some(lists) => Some(lists.into_iter().flatten().collect()),
            None => parts.clone().map(|index| self.operand(index).hull()).reduce(either).map(Ranges::all),
        }
    }

    /// The ranges with room for the rounding of a float type; an integer that wraps may be anything.
    fn rounded(&self, value: Value, ranges: Ranges) -> Ranges {
        let element = self.graph.element(value);
        let part = match element {
            Element::F64 => 1e-12,
            Element::F32 => 1e-6,
            element if element.is_float() => 1e-2,
            _ => return ranges.0.iter().map(|&range| certain(wrapped(range, element))).collect(),
        };
        ranges.0.iter().map(|&(low, high)| (low - low.abs() * part, high + high.abs() * part)).collect()
    }
}

/// What of a range an integer type holds; `None` if a known end of it does not fit.
fn wrapped(range: Range, element: Element) -> Option<Range> {
    let Some((least, most)) = element.integer_range() else { return Some(range) };
    let fits = |end: f64| end.is_infinite() || (least as f64..=most as f64).contains(&end);
    (fits(range.0) && fits(range.1)).then_some(range)
}

/// What is not known, or is no number, may be anything.
fn certain(range: Option<Range>) -> Range {
    range.filter(|(low, high)| !low.is_nan() && !high.is_nan()).unwrap_or(ANYTHING)
}

/// A small constant that is in memory.
fn constant(recipe: &crate::compress::Recipe) -> Option<Ranges> {
    let Step::Inline(bytes) = recipe.step() else { return None };
    let element = recipe.element();
    let numbers: Vec<f64> = bytes.chunks_exact(element.bytes()).map(|bytes| element.load_f64(bytes)).collect();
    let ranges: Ranges = numbers.iter().map(|&number| (number, number)).collect();
    (!numbers.is_empty()).then(|| if numbers.len() <= MAXIMUM_ELEMENTS { ranges } else { Ranges::all(ranges.hull()) })
}

fn convert((low, high): Range, to: Element) -> Option<Range> {
    if to == Element::Bool {
        // Everything but zero is true.
        let (may, may_not) = (low != 0.0 || high != 0.0, low <= 0.0 && high >= 0.0);
        return Some((f64::from(u8::from(!may_not)), f64::from(u8::from(may))));
    }
    match to.integer_range() {
        None => Some((low, high)),
        Some((least, most)) => {
            // What wraps may be anything.
            let inside = low >= least as f64 && high <= most as f64;
            inside.then(|| (low.trunc(), high.trunc()))
        }
    }
}

/// Whether a comparison holds: always, never, or sometimes.
fn compare(function: CompareFunction, a: Range, b: Range) -> Range {
    let decide = |always: bool, never: bool| (f64::from(u8::from(always)), f64::from(u8::from(!never)));
    let (apart, same) = (a.1 < b.0 || b.1 < a.0, a.0 == a.1 && a == b);
    match function {
        CompareFunction::Eq => decide(same, apart),
        CompareFunction::Ne => decide(apart, same),
        CompareFunction::Lt => decide(a.1 < b.0, a.0 >= b.1),
        CompareFunction::Le => decide(a.1 <= b.0, a.0 > b.1),
        CompareFunction::Gt => decide(a.0 > b.1, a.1 <= b.0),
        CompareFunction::Ge => decide(a.0 >= b.1, a.1 < b.0),
    }
}

fn unary(function: UnaryFunction, (low, high): Range) -> Option<Range> {
    let monotone = |f: fn(f64) -> f64| Some((f(low), f(high)));
    match function {
        UnaryFunction::Neg => Some((-high, -low)),
        UnaryFunction::Abs => Some((low.max(-high).max(0.0), high.max(-low))),
        UnaryFunction::Floor => monotone(f64::floor),
        UnaryFunction::Ceil => monotone(f64::ceil),
        UnaryFunction::Round => monotone(f64::round_ties_even),
        UnaryFunction::Relu => Some((low.max(0.0), high.max(0.0))),
        UnaryFunction::Sqrt if low >= 0.0 => monotone(f64::sqrt),
        UnaryFunction::Square => times((low, high), (low, high)),
        UnaryFunction::Not => Some((0.0, 1.0)),
        _ => None,
    }
}

/// Of what a function of two numbers is at the corners of their ranges.
fn corners(a: Range, b: Range, f: impl Fn(f64, f64) -> f64) -> Option<Range> {
    let all = [f(a.0, b.0), f(a.0, b.1), f(a.1, b.0), f(a.1, b.1)];
    let known = all.iter().all(|value| !value.is_nan());
    known.then(|| (all.into_iter().fold(f64::INFINITY, f64::min), all.into_iter().fold(f64::NEG_INFINITY, f64::max)))
}

/// Of a product.
fn times(a: Range, b: Range) -> Option<Range> {
    // Ends that are infinite stand for any number, and a number times zero is zero.
    corners(a, b, |x, y| if x == 0.0 || y == 0.0 { 0.0 } else { x * y })
}

/// Of a quotient of integers, rounded down or towards zero; the divisor is not zero.
fn quotient(a: Range, b: Range, round: fn(f64) -> f64) -> Option<Range> {
    if b.0 > 0.0 {
        return corners(a, b, |x, y| round(x / y));
    }
    // A positive divisor brings the quotient towards zero, any other leaves its size at most as it was.
    let size = a.0.abs().max(a.1.abs());
    Some(if a.0 >= 0.0 && b.0 >= 0.0 { (0.0, a.1) } else { (-size, size) })
}

fn binary(function: BinaryFunction, a: Range, b: Range, integers: bool) -> Option<Range> {
    match function {
        BinaryFunction::Add => Some((a.0 + b.0, a.1 + b.1)),
        BinaryFunction::Sub => Some((a.0 - b.1, a.1 - b.0)),
        BinaryFunction::Mul => times(a, b),
        BinaryFunction::Min => Some((a.0.min(b.0), a.1.min(b.1))),
        BinaryFunction::Max => Some((a.0.max(b.0), a.1.max(b.1))),
        BinaryFunction::Div if integers => quotient(a, b, f64::trunc),
        BinaryFunction::FloorDiv if integers => quotient(a, b, f64::floor),
        BinaryFunction::Div if b.0 > 0.0 => corners(a, b, |x, y| x / y),
        BinaryFunction::FloorDiv if b.0 > 0.0 => corners(a, b, |x, y| (x / y).floor()),
        BinaryFunction::Mod if b.0 >= 0.0 => Some((0.0, if integers { (b.1 - 1.0).max(0.0) } else { b.1 })),
        // It only rises with the base, and with the exponent it only rises or only falls.
        BinaryFunction::Pow if a.0 >= 0.0 && b.0 >= 0.0 => corners(a, b, f64::powf),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
