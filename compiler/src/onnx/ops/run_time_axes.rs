//! Axes that are only seen when the program runs.
//!
//! In: a tensor whose rank is known and an `i64` list of axes of known length. Out: the result of a reduction, squeeze or unsqueeze,
//! whose dims are read back by the program. Nothing is specialised on the axes.

use narae_isa::{
    BinaryFunction, CompareFunction, CumulateFunction, Element, ReduceFunction, ScatterFunction, UnaryFunction,
};

use crate::graph::Op;
use crate::ir::{Dim, Value};
use crate::onnx::builder::{Built, mismatch, unsupported};
use crate::onnx::call::Call;

/// One for the axes in the list, zero for the others: `i64 [rank]`.
fn mask(c: &mut Call, axes: Value, rank: usize) -> Built {
    let axes = c.convert(axes, Element::I64)?;
    let count = c.dims(axes);
    let (zero, one) = (c.integer(Element::I64, 0)?, c.integer(Element::I64, 1)?);
    let zeros = c.broadcast(zero, vec![Dim::from(rank)])?;
    let ones = c.broadcast(one, count)?;
    c.op(Op::ScatterElements { axis: 0, function: ScatterFunction::Replace }, &[zeros, axes, ones])
}

/// How many axes the list has.
fn length(c: &Call, axes: Value) -> Built<usize> {
    match c.rank(axes) {
        1 => c.list_length(axes, "axes"),
        rank => Err(unsupported(format!("axes of rank {rank}"))),
    }
}

/// The dims that are kept, in order, as symbols.
fn kept_dims(c: &mut Call, dims: Value, mask: Value, rank: usize, removed: usize) -> Built<Vec<Dim>> {
    let kept = rank.checked_sub(removed).ok_or_else(|| mismatch("more axes than the operand has"))?;
    let positions = c.iota(Element::I64, vec![Dim::from(rank)], 0)?;
    let behind = c.with_number(BinaryFunction::Mul, mask, 1000.0)?;
    let keys = c.add(positions, behind)?;
    let order = c.ops(Op::TopK { axis: 0, largest: false, sorted: true, k: Dim::from(kept) }, &[keys])?[1];
    let found = c.gather(dims, order, 0)?;
    c.shape_operand(found, "kept", Some(0))
}

/// `Squeeze` of axes in a list.
pub(super) fn squeeze(c: &mut Call, x: Value, axes: Value) -> Built {
    let rank = c.rank(x);
    let removed = length(c, axes)?;
    let mask = mask(c, axes, rank)?;
    let dims = c.dims(x);
    let dims = c.dims_tensor(dims, vec![rank])?;
    let kept = kept_dims(c, dims, mask, rank, removed)?;
    c.reshape(x, kept)
}

/// `Unsqueeze` at the places in a list.
pub(super) fn unsqueeze(c: &mut Call, x: Value, axes: Value) -> Built {
    let rank = c.rank(x) + length(c, axes)?;
    let mask = mask(c, axes, rank)?;
    let one = c.integer(Element::I64, 1)?;
    let own = c.sub(one, mask)?;
    let sum =
        c.op(Op::Cumulate { function: CumulateFunction::Sum, axis: 0, exclusive: true, reverse: false }, &[own])?;
    let mut dims = c.dims(x);
    let count = dims.len() + 1;
    // A list in front of nothing still has an element to gather.
    dims.push(Dim::ONE);
    let dims = c.dims_tensor(dims, vec![count])?;
    let found = c.gather(dims, sum, 0)?;
    let zero = c.integer(Element::I64, 0)?;
    let new = c.compare(CompareFunction::Ne, mask, zero)?;
    let found = c.select(new, one, found)?;
    let dims = c.shape_operand(found, "unsqueezed", Some(0))?;
    c.reshape(x, dims)
}

/// A reduction: every element is scattered to the place of its result.
pub(super) fn reduce(c: &mut Call, x: Value, axes: Value, function: ReduceFunction, keep: bool) -> Built {
    let rank = c.rank(x);
    let removed = length(c, axes)?;
    let mask = mask(c, axes, rank)?;
    let dims = c.dims(x);
    let extents = c.dims_tensor(dims.clone(), vec![rank])?;
    let (zero, one) = (c.integer(Element::I64, 0)?, c.integer(Element::I64, 1)?);
    let reduced = c.compare(CompareFunction::Ne, mask, zero)?;
    let results = c.select(reduced, one, extents)?;
    let strides =
        c.op(Op::Cumulate { function: CumulateFunction::Prod, axis: 0, exclusive: true, reverse: true }, &[results])?;
    let strides = c.select(reduced, zero, strides)?;
    let mut target = zero;
    for axis in 0..rank {
        let mut line = vec![Dim::ONE; rank];
        line[axis] = dims[axis].clone();
        let positions = c.iota(Element::I64, line, axis)?;
        let stride = c.narrow(strides, 0, Dim::from(axis), Dim::ONE)?;
        let stride = c.reshape(stride, vec![])?;
        let part = c.mul(positions, stride)?;
        target = c.add(target, part)?;
    }
    let target = c.broadcast(target, dims.clone())?;
    let total = super::shape::product(&dims);
    let target = c.reshape(target, vec![total.clone()])?;
    let flat = c.reshape(x, vec![total])?;
    let result_dims =
        if keep { c.shape_operand(results, "reduced", Some(0))? } else { kept_dims(c, extents, mask, rank, removed)? };
    let count = super::shape::product(&result_dims);
    let y = combine(c, function, flat, target, &count)?;
    c.reshape(y, result_dims)
}

fn scatter(c: &mut Call, function: ScatterFunction, start: f64, x: Value, target: Value, count: &Dim) -> Built {
    let element = c.element(x);
    let start = if element == Element::Bool {
        c.integer(element, i64::from(start > 0.0))?
    } else if start.is_infinite() && element.is_integer() {
        let (low, high) = element.integer_range().unwrap_or((0, 0));
        let edge = if start < 0.0 { low } else { high };
        c.integer(element, i64::try_from(edge).unwrap_or(i64::MAX))?
    } else {
        c.scalar(element, start)?
    };
    let start = c.broadcast(start, vec![count.clone()])?;
    c.op(Op::ScatterElements { axis: 0, function }, &[start, target, x])
}

fn combine(c: &mut Call, function: ReduceFunction, x: Value, target: Value, count: &Dim) -> Built {
    let sum = |c: &mut Call, x: Value| scatter(c, ScatterFunction::Add, 0.0, x, target, count);
    match function {
        ReduceFunction::Sum => sum(c, x),
        ReduceFunction::Prod => scatter(c, ScatterFunction::Mul, 1.0, x, target, count),
        ReduceFunction::Max => scatter(c, ScatterFunction::Max, f64::NEG_INFINITY, x, target, count),
        ReduceFunction::Min => scatter(c, ScatterFunction::Min, f64::INFINITY, x, target, count),
        ReduceFunction::Mean => {
            let total = sum(c, x)?;
            let element = c.element(x);
            let ones = c.integer(element, 1)?;
            let dims = c.dims(x);
            let ones = c.broadcast(ones, dims)?;
            let number = sum(c, ones)?;
            c.div(total, number)
        }
        ReduceFunction::SumSquare => {
            let squares = c.mul(x, x)?;
            sum(c, squares)
        }
        ReduceFunction::SumAbs => {
            let sizes = c.unary(UnaryFunction::Abs, x)?;
            sum(c, sizes)
        }
        ReduceFunction::Norm2 => {
            let squares = c.mul(x, x)?;
            let total = sum(c, squares)?;
            let element = c.element(total);
            let wide = if element.is_float() { total } else { c.convert(total, Element::F64)? };
            let root = c.unary(UnaryFunction::Sqrt, wide)?;
            c.convert(root, element)
        }
        ReduceFunction::LogSum => {
            let total = sum(c, x)?;
            c.unary(UnaryFunction::Log, total)
        }
        ReduceFunction::LogSumExp => {
            let most = scatter(c, ScatterFunction::Max, f64::NEG_INFINITY, x, target, count)?;
            // A shift that is infinite is none: the logarithm of the sum is infinite as well.
            let finite = c.unary(UnaryFunction::Abs, most)?;
            let element = c.element(x);
            let far = c.scalar(element, f64::INFINITY)?;
            let finite = c.compare(CompareFunction::Lt, finite, far)?;
            let zero = c.scalar(element, 0.0)?;
            let most = c.select(finite, most, zero)?;
            let own = c.gather(most, target, 0)?;
            let shifted = c.sub(x, own)?;
            let powers = c.unary(UnaryFunction::Exp, shifted)?;
            let total = sum(c, powers)?;
            let log = c.unary(UnaryFunction::Log, total)?;
            c.add(log, most)
        }
        ReduceFunction::All | ReduceFunction::Any => {
            Err(unsupported("a logical reduction over axes that are not known"))
        }
    }
}
