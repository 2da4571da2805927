//! In which range the elements of a tensor are, as far as lengths decide it: a length that is computed as the root of another.
//!
//! In: a node and the ranges of its operands. Out: for every result one range per element if it is small, else one for all of them.
//! Always holds: no element that a run can compute lies outside; floats are allowed the rounding of their type. Nothing is
//! known of inputs.

use std::rc::Rc;

use narae_isa::tensor::element_count;
use narae_isa::{BinaryFunction, CompareFunction, Element, ReduceFunction, UnaryFunction};

use crate::compress::Step;
use crate::graph::{Graph, NodeData, Op};
use crate::ir::{Dim, Value};

/// Tensors of more elements have one range for all.
const MAXIMUM_ELEMENTS: usize = 128;

/// The least and the greatest value.
pub(super) type Range = (f64, f64);

const ANYTHING: Range = (f64::NEG_INFINITY, f64::INFINITY);

/// The ranges of the elements: one each, or one for all.
pub(super) type Ranges = Rc<[Range]>;

/// The ranges of the results of a node.
pub(super) fn of_node(graph: &Graph, node: &NodeData, known: &dyn Fn(Value) -> Option<Ranges>) -> Vec<Option<Ranges>> {
    let cx = Context { graph, node, known };
    match &node.op {
        // Indices and values; coordinates and their number.
        Op::TopK { axis, .. } => vec![cx.hull(0), cx.below(&graph.dims(node.operands[0])[*axis])],
        Op::NonZero {} => {
            let count = upper(graph, &Dim::product(graph.dims(node.operands[0])));
            let extents: Option<Vec<f64>> = graph.dims(node.operands[0]).iter().map(|dim| upper(graph, dim)).collect();
            let greatest = extents.map(|extents| extents.into_iter().fold(0.0, f64::max));
            vec![greatest.map(|most| one((0.0, most))), count.map(|most| one((0.0, most)))]
        }
        _ if node.results.len() == 1 => vec![cx.result().map(|found| cx.rounded(found))],
        _ => vec![None; node.results.len()],
    }
}

fn one(range: Range) -> Ranges {
    Rc::from([range])
}

fn upper(graph: &Graph, dim: &Dim) -> Option<f64> {
    graph.symbols.resolve(dim).bounds(&graph.symbols).1.map(|most| most as f64)
}

/// The bounds of a dim as a range; unlimited ends are infinite.
pub(super) fn of_dim(graph: &Graph, dim: &Dim) -> Range {
    let (lower, upper) = graph.symbols.resolve(dim).bounds(&graph.symbols);
    (lower.map_or(f64::NEG_INFINITY, |least| least as f64), upper.map_or(f64::INFINITY, |most| most as f64))
}

fn hull(ranges: &[Range]) -> Option<Range> {
    ranges.iter().copied().reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}

struct Context<'a> {
    graph: &'a Graph,
    node: &'a NodeData,
    known: &'a dyn Fn(Value) -> Option<Ranges>,
}

impl Context<'_> {
    /// The ranges of an operand; what is not known may be anything.
    fn operand(&self, index: usize) -> Option<Ranges> {
        Some((self.known)(self.node.operands[index]).unwrap_or_else(|| one(ANYTHING)))
    }

    /// One range for all elements of an operand.
    fn hull(&self, index: usize) -> Option<Ranges> {
        hull(&self.operand(index)?).map(one)
    }

    /// Indices into an axis.
    fn below(&self, extent: &Dim) -> Option<Ranges> {
        upper(self.graph, extent).map(|most| one((0.0, (most - 1.0).max(0.0))))
    }

    /// How many elements the result has, if they are few.
    fn count(&self) -> Option<usize> {
        let sizes = self.graph.ty(self.node.results[0]).sizes()?;
        element_count(&sizes).filter(|&count| count <= MAXIMUM_ELEMENTS)
    }

    /// The ranges of the only result, computed exactly.
    fn result(&self) -> Option<Ranges> {
        let graph = self.graph;
        match &self.node.op {
            Op::Constant { recipe } => constant(recipe),
            Op::Dims { dims, .. } => Some(dims.iter().map(|dim| of_dim(graph, dim)).collect()),
            Op::Iota { dims, axis, .. } => self.below(&dims[*axis]),
            Op::ArgReduce { axis, .. } => self.below(&graph.dims(self.node.operands[0])[*axis]),
            Op::Compare { function } => {
                Some(self.pairs(|a, b| Some(compare(*function, a, b))).unwrap_or_else(|| one((0.0, 1.0))))
            }
            Op::Convert { to, .. } => self.each(|x| convert(x, *to)),
            Op::Unary { function } => self.each(|x| unary(*function, x)),
            Op::Binary { function } => self.pairs(|a, b| binary(*function, a, b)),
            Op::Reshape { .. } => self.operand(0),
            Op::Select {} => self.select(),
            Op::Reduce { function: ReduceFunction::Min | ReduceFunction::Max | ReduceFunction::Mean, .. }
            | Op::Transpose { .. }
            | Op::Broadcast { .. }
            | Op::GatherElements { .. }
            | Op::GatherNd { .. } => self.hull(0),
            Op::Slice { starts, steps, .. } => self.slice(starts, steps),
            Op::Gather { .. } => self.gather(),
            Op::Concat { .. } => self.concat(),
            _ => None,
        }
    }

    fn each(&self, f: impl Fn(Range) -> Option<Range>) -> Option<Ranges> {
        Some(self.operand(0)?.iter().map(|&range| certain(f(range))).collect())
    }

    /// Elementwise where both have equally many ranges, or one has one for all.
    fn pairs(&self, f: impl Fn(Range, Range) -> Option<Range>) -> Option<Ranges> {
        let (a, b) = (self.operand(0)?, self.operand(1)?);
        let aligned = a.len() == b.len() && self.count() == Some(a.len());
        if aligned {
            return Some(a.iter().zip(b.iter()).map(|(&a, &b)| certain(f(a, b))).collect());
        }
        match (&a[..], &b[..]) {
            (all, &[b]) if self.count() == Some(all.len()) => Some(all.iter().map(|&a| certain(f(a, b))).collect()),
            (&[a], all) if self.count() == Some(all.len()) => Some(all.iter().map(|&b| certain(f(a, b))).collect()),
            _ => Some(one(certain(f(hull(&a)?, hull(&b)?)))),
        }
    }

    /// The ranges of an operand, one for each of `count` elements.
    fn spread(&self, index: usize, count: usize) -> Option<Vec<Range>> {
        match &self.operand(index)?[..] {
            &[range] => Some(vec![range; count]),
            all if all.len() == count => Some(all.to_vec()),
            _ => None,
        }
    }

    /// Element by element where conditions are decided or the sides are, else all of both sides.
    fn select(&self) -> Option<Ranges> {
        let all = || hull(&[hull(&self.operand(1)?)?, hull(&self.operand(2)?)?]).map(one);
        let Some(count) = self.count() else { return all() };
        let unknown = || vec![(0.0, 1.0); count];
        let conditions = self.spread(0, count).unwrap_or_else(unknown);
        let (Some(yes), Some(no)) = (self.spread(1, count), self.spread(2, count)) else { return all() };
        let chosen = |at: usize| match conditions[at] {
            (low, _) if low > 0.0 => yes[at],
            (_, high) if high <= 0.0 => no[at],
            _ => (yes[at].0.min(no[at].0), yes[at].1.max(no[at].1)),
        };
        Some((0..count).map(chosen).collect())
    }

    /// A slice of a list.
    fn slice(&self, starts: &[Dim], steps: &[i64]) -> Option<Ranges> {
        let source = self.operand(0)?;
        let (Some(count), [start], [step]) = (self.count(), starts, steps) else { return self.hull(0) };
        let Some(start) = start.as_const() else { return self.hull(0) };
        let at =
            |index: usize| usize::try_from(start + index as i64 * step).ok().and_then(|at| source.get(at)).copied();
        (0..count).map(at).collect::<Option<_>>().or_else(|| self.hull(0))
    }

    /// One element of a list.
    fn gather(&self) -> Option<Ranges> {
        let source = self.operand(0)?;
        let index = self.graph.known_dims(self.node.operands[1]).filter(|known| known.len() == 1);
        let index = index.and_then(|known| known[0].as_const());
        let list = self.graph.rank(self.node.operands[0]) == 1;
        match index.filter(|_| list) {
            Some(index) => {
                let index = if index < 0 { index + source.len() as i64 } else { index };
                usize::try_from(index)
                    .ok()
                    .and_then(|at| source.get(at))
                    .map(|&range| one(range))
                    .or_else(|| self.hull(0))
            }
            None => self.hull(0),
        }
    }

    fn concat(&self) -> Option<Ranges> {
        let parts: Option<Vec<Ranges>> = (0..self.node.operands.len()).map(|index| self.operand(index)).collect();
        let parts = parts?;
        let sizes = |value: &Value| self.graph.ty(*value).sizes().and_then(|sizes| element_count(&sizes));
        let lists = self.graph.rank(self.node.results[0]) == 1 && self.count().is_some();
        let complete =
            lists && parts.iter().zip(&self.node.operands).all(|(part, value)| sizes(value) == Some(part.len()));
        let all: Vec<Range> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        if complete { Some(all.into()) } else { hull(&all).map(one) }
    }

    /// The ranges with room for the rounding of a float type.
    fn rounded(&self, ranges: Ranges) -> Ranges {
        let part = match self.graph.element(self.node.results[0]) {
            Element::F64 => 1e-12,
            Element::F32 => 1e-6,
            element if element.is_float() => 1e-2,
            _ => return ranges,
        };
        ranges.iter().map(|&(low, high)| (low - low.abs() * part, high + high.abs() * part)).collect()
    }
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
    let ranges: Vec<Range> = numbers.iter().map(|&number| (number, number)).collect();
    if ranges.len() <= MAXIMUM_ELEMENTS { Some(ranges.into()) } else { hull(&ranges).map(one) }
}

fn convert((low, high): Range, to: Element) -> Option<Range> {
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
        UnaryFunction::Abs if low >= 0.0 => Some((low, high)),
        UnaryFunction::Abs => Some((0.0, high.max(-low))),
        UnaryFunction::Floor => monotone(f64::floor),
        UnaryFunction::Ceil => monotone(f64::ceil),
        UnaryFunction::Round => monotone(f64::round_ties_even),
        UnaryFunction::Relu => Some((low.max(0.0), high.max(0.0))),
        UnaryFunction::Sqrt if low >= 0.0 => monotone(f64::sqrt),
        UnaryFunction::Square => binary(BinaryFunction::Mul, (low, high), (low, high)),
        UnaryFunction::Not => Some((0.0, 1.0)),
        _ => None,
    }
}

fn binary(function: BinaryFunction, a: Range, b: Range) -> Option<Range> {
    let corners = |f: &dyn Fn(f64, f64) -> f64| {
        let all = [f(a.0, b.0), f(a.0, b.1), f(a.1, b.0), f(a.1, b.1)];
        let known = all.iter().all(|value| !value.is_nan());
        known.then(|| {
            (all.iter().copied().fold(f64::INFINITY, f64::min), all.iter().copied().fold(f64::NEG_INFINITY, f64::max))
        })
    };
    match function {
        BinaryFunction::Add => Some((a.0 + b.0, a.1 + b.1)),
        BinaryFunction::Sub => Some((a.0 - b.1, a.1 - b.0)),
        BinaryFunction::Mul => corners(&|x, y| x * y),
        BinaryFunction::Min => Some((a.0.min(b.0), a.1.min(b.1))),
        BinaryFunction::Max => Some((a.0.max(b.0), a.1.max(b.1))),
        // Integers are rounded towards zero.
        BinaryFunction::Div if b.0 > 0.0 => corners(&|x, y| x / y).map(|(low, high)| (low.floor(), high.ceil())),
        BinaryFunction::FloorDiv if b.0 > 0.0 => corners(&|x, y| (x / y).floor()),
        BinaryFunction::Mod if b.0 > 0.0 => Some((0.0, b.1)),
        BinaryFunction::Pow if a.0 >= 0.0 && b.0 >= 0.0 => {
            let (low, high) = corners(&f64::powf)?;
            // Between the corners lies 1, where the base passes it.
            Some((if a.0 <= 1.0 && a.1 >= 1.0 { low.min(1.0) } else { low }, high))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_at_their_corners_and_between() {
        assert_eq!(binary(BinaryFunction::Mul, (-2.0, 3.0), (-5.0, 1.0)), Some((-15.0, 10.0)));
        assert_eq!(binary(BinaryFunction::Div, (7.0, 9.0), (2.0, 2.0)), Some((3.0, 5.0)));
        assert_eq!(binary(BinaryFunction::Div, (7.0, 9.0), (0.0, 2.0)), None);
        assert_eq!(binary(BinaryFunction::Pow, (0.0, 49.0), (0.5, 0.5)), Some((0.0, 7.0)));
        assert_eq!(unary(UnaryFunction::Abs, (-3.0, 2.0)), Some((0.0, 3.0)));
        assert_eq!(convert((0.0, 7.9), Element::I64), Some((0.0, 7.0)));
        assert_eq!(convert((0.0, 300.0), Element::U8), None);
        assert_eq!(compare(CompareFunction::Eq, (4.0, 4.0), (-1.0, -1.0)), (0.0, 0.0));
        assert_eq!(compare(CompareFunction::Le, (0.0, 4.0), (4.0, 5.0)), (1.0, 1.0));
        assert_eq!(compare(CompareFunction::Lt, (0.0, 4.0), (4.0, 5.0)), (0.0, 1.0));
    }
}
