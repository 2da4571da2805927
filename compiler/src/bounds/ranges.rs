//! Ranges of the elements of integer tensors: how the bound of a length is found that is only computed when the program runs.
//!
//! In: a node, the ranges of its operands. Out: the ranges of its results, nothing where nothing is known. Always holds: whatever the inputs
//! are, an element is within its range.

use narae_isa::tensor::element_count;
use narae_isa::{BinaryFunction, ReduceFunction, ScatterFunction, UnaryFunction};

use crate::graph::{Graph, NodeData, Op};
use crate::ir::interval::{self, ANY, Interval};
use crate::ir::{Dim, Value};

/// Tensors with more elements get one range for all.
const MAXIMUM_ELEMENTS: usize = 64;

/// One range per element, row-major, or one for all.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ranges(Vec<Interval>);

/// The ranges of operands by position.
type Operands<'a> = dyn Fn(usize) -> Ranges + 'a;

impl Ranges {
    /// Nothing is known.
    pub(super) fn unknown() -> Ranges {
        Ranges::all(ANY)
    }

    fn all(interval: Interval) -> Ranges {
        Ranges(vec![interval])
    }

    /// The range of the element at a row-major position.
    pub(super) fn at(&self, index: usize) -> Interval {
        if self.0.len() == 1 { self.0[0] } else { self.0.get(index).copied().unwrap_or(ANY) }
    }

    /// One range that holds all elements.
    pub(super) fn hull(&self) -> Interval {
        self.0.iter().copied().reduce(interval::either).unwrap_or(ANY)
    }

    /// What is either this or that.
    pub(super) fn either(&self, other: &Ranges) -> Ranges {
        combine(&[self.clone(), other.clone()], self.0.len().max(other.0.len()), |of| interval::either(of[0], of[1]))
    }
}

/// Applies a function element by element where the operands are given so, else to all at once.
fn combine(operands: &[Ranges], count: usize, function: impl Fn(&[Interval]) -> Interval) -> Ranges {
    let uniform = operands.iter().all(|ranges| ranges.0.len() == 1);
    let aligned = operands.iter().all(|ranges| ranges.0.len() == 1 || ranges.0.len() == count);
    if uniform || !aligned {
        let hulls: Vec<Interval> = operands.iter().map(Ranges::hull).collect();
        return Ranges::all(function(&hulls));
    }
    let at = |index: usize| operands.iter().map(|ranges| ranges.at(index)).collect::<Vec<Interval>>();
    Ranges((0..count).map(|index| function(&at(index))).collect())
}

/// The number of elements of a value, if it is known and small.
fn count(graph: &Graph, value: Value) -> Option<usize> {
    element_count(&graph.ty(value).sizes()?).filter(|&count| count <= MAXIMUM_ELEMENTS)
}

/// Every element on its own.
fn spread(graph: &Graph, value: Value, ranges: &Ranges) -> Option<Vec<Interval>> {
    Some((0..count(graph, value)?).map(|index| ranges.at(index)).collect())
}

/// The ranges of the results of a node without bodies.
pub(super) fn of_node(graph: &Graph, node: &NodeData, operand: &Operands<'_>) -> Vec<Option<Ranges>> {
    let results = node.results.iter().enumerate();
    let one = |(index, &value): (usize, &Value)| {
        let element = graph.element(value);
        if !element.is_integer() && element != narae_isa::Element::Bool {
            return None;
        }
        if let Some(known) = graph.known_dims(value).filter(|known| !known.is_empty()) {
            return Some(Ranges(known.iter().map(|dim| dim.bounds(&graph.symbols)).collect()));
        }
        of_result(graph, node, index, operand)
    };
    results.map(one).collect()
}

fn of_result(graph: &Graph, node: &NodeData, index: usize, operand: &Operands<'_>) -> Option<Ranges> {
    let symbols = &graph.symbols;
    let result = node.results[index];
    let elements = || count(graph, result).unwrap_or(0);
    let below = |dim: &Dim| Ranges::all((Some(0), dim.bounds(symbols).1.map(|most| most.saturating_sub(1).max(0))));
    let dims = |index: usize| graph.dims(node.operands[index]);
    match &node.op {
        Op::Iota { dims, axis, .. } => Some(below(&dims[*axis])),
        Op::Unary { function: UnaryFunction::Neg } => {
            Some(combine(&[operand(0)], elements(), |of| interval::negate(of[0])))
        }
        Op::Unary { function: UnaryFunction::Abs } => {
            let size = |of: &[Interval]| interval::maximum(of[0], interval::negate(of[0]));
            Some(combine(&[operand(0)], elements(), size))
        }
        Op::Binary { function } => {
            let function = binary(*function)?;
            Some(combine(&[operand(0), operand(1)], elements(), |of| function(of[0], of[1])))
        }
        Op::Compare { .. } => Some(Ranges::all((Some(0), Some(1)))),
        Op::Select {} => Some(combine(&[operand(1), operand(2)], elements(), |of| interval::either(of[0], of[1]))),
        Op::Convert { to, .. } => convert(operand(0), *to),
        Op::Reduce { function, .. } => reduce(graph, node, *function, &operand(0)),
        Op::Cumulate { axis, function: narae_isa::CumulateFunction::Sum, .. } => {
            let times = (Some(0), dims(0)[*axis].bounds(symbols).1);
            Some(Ranges::all(interval::multiply(operand(0).hull(), times)))
        }
        Op::Reshape { .. } => Some(operand(0)),
        Op::Transpose { permutation } if permutation.len() == 1 => Some(operand(0)),
        Op::Broadcast { .. } | Op::Transpose { .. } => Some(Ranges::all(operand(0).hull())),
        Op::Slice { starts, steps, .. } => {
            let ranges = operand(0);
            let picked = match (starts.as_slice(), steps.as_slice()) {
                ([start], [step]) => pick(graph, node, &ranges, start.as_const(), *step),
                _ => None,
            };
            Some(picked.unwrap_or_else(|| Ranges::all(ranges.hull())))
        }
        Op::Concat { .. } => concat(graph, node, operand),
        Op::Gather { .. } => {
            let ranges = operand(0);
            let picked = gather(graph, node, &ranges);
            Some(picked.unwrap_or_else(|| Ranges::all(ranges.hull())))
        }
        Op::GatherElements { .. } | Op::GatherNd { .. } => Some(Ranges::all(operand(0).hull())),
        Op::ScatterElements { function: ScatterFunction::Replace, .. }
        | Op::ScatterNd { function: ScatterFunction::Replace } => {
            let updates = Ranges::all(operand(2).hull());
            Some(operand(0).either(&updates))
        }
        Op::TopK { .. } if index == 0 => Some(Ranges::all(operand(0).hull())),
        Op::TopK { axis, .. } | Op::ArgReduce { axis, .. } => Some(below(&dims(0)[*axis])),
        Op::NonZero {} if index == 1 => Some(Ranges::all((Some(0), Dim::product(dims(0)).bounds(symbols).1))),
        Op::NonZero {} => Some(dims(0).iter().map(below).reduce(|a, b| a.either(&b)).unwrap_or(Ranges::all(ANY))),
        _ => None,
    }
}

fn binary(function: BinaryFunction) -> Option<fn(Interval, Interval) -> Interval> {
    Some(match function {
        BinaryFunction::Add => interval::add,
        BinaryFunction::Sub => |a, b| interval::add(a, interval::negate(b)),
        BinaryFunction::Mul => interval::multiply,
        BinaryFunction::Div => interval::divide_to_zero,
        BinaryFunction::FloorDiv => interval::divide_down,
        BinaryFunction::Mod => |_, b| interval::remainder(b),
        BinaryFunction::Min => interval::minimum,
        BinaryFunction::Max => interval::maximum,
        _ => return None,
    })
}

/// Integers to integers: the same number where it fits.
fn convert(ranges: Ranges, to: narae_isa::Element) -> Option<Ranges> {
    if to == narae_isa::Element::Bool {
        return Some(Ranges::all((Some(0), Some(1))));
    }
    let (least, most) = to.integer_range()?;
    let fits = |&(low, high): &Interval| {
        low.is_some_and(|low| i128::from(low) >= least) && high.is_some_and(|high| i128::from(high) <= most)
    };
    (to == narae_isa::Element::I64 || ranges.0.iter().all(fits)).then_some(ranges)
}

fn reduce(graph: &Graph, node: &NodeData, function: ReduceFunction, ranges: &Ranges) -> Option<Ranges> {
    let x = node.operands[0];
    let whole = graph.rank(x) == 1;
    let all = if whole { spread(graph, x, ranges) } else { None };
    Some(Ranges::all(match (function, all) {
        (ReduceFunction::Min, Some(all)) => all.into_iter().reduce(interval::minimum)?,
        (ReduceFunction::Max, Some(all)) => all.into_iter().reduce(interval::maximum)?,
        (ReduceFunction::Min | ReduceFunction::Max, None) => ranges.hull(),
        (ReduceFunction::Sum, Some(all)) => all.into_iter().fold(interval::point(0), interval::add),
        (ReduceFunction::Sum, None) => {
            let (_, most) = Dim::product(graph.dims(x)).bounds(&graph.symbols);
            interval::multiply(ranges.hull(), (Some(0), most))
        }
        (ReduceFunction::Prod, Some(all)) => all.into_iter().fold(interval::point(1), interval::multiply),
        (ReduceFunction::All | ReduceFunction::Any, _) => (Some(0), Some(1)),
        _ => return None,
    }))
}

/// Evenly spaced elements of a list.
fn pick(graph: &Graph, node: &NodeData, ranges: &Ranges, start: Option<i64>, step: i64) -> Option<Ranges> {
    let all = spread(graph, node.operands[0], ranges)?;
    let (start, count) = (start?, count(graph, node.results[0])?);
    let index = |at: usize| usize::try_from(start + at as i64 * step).ok();
    (0..count).map(|at| all.get(index(at)?).copied()).collect::<Option<Vec<Interval>>>().map(Ranges)
}

fn gather(graph: &Graph, node: &NodeData, ranges: &Ranges) -> Option<Ranges> {
    let (x, indices) = (node.operands[0], node.operands[1]);
    if graph.rank(x) != 1 {
        return None;
    }
    let all = spread(graph, x, ranges)?;
    let wrapped = |index: i64| if index < 0 { index + all.len() as i64 } else { index };
    let one = |dim: &Dim| all.get(usize::try_from(wrapped(dim.as_const()?)).ok()?).copied();
    let found: Vec<Interval> = graph.known_dims(indices)?.iter().map(one).collect::<Option<_>>()?;
    (!found.is_empty()).then_some(Ranges(found))
}

fn concat(graph: &Graph, node: &NodeData, operand: &Operands<'_>) -> Option<Ranges> {
    let parts: Vec<Ranges> = (0..node.operands.len()).map(operand).collect();
    let list = graph.rank(node.results[0]) == 1;
    let apart = || {
        let lists = node.operands.iter().zip(&parts).map(|(&value, part)| spread(graph, value, part));
        lists.collect::<Option<Vec<_>>>().map(|lists| Ranges(lists.concat()))
    };
    let together = || parts.iter().cloned().reduce(|a, b| Ranges::all(interval::either(a.hull(), b.hull())));
    if list { apart().or_else(together) } else { together() }
}
