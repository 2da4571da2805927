//! Reductions along axes.

use narae_isa::{BinaryFunction, Element, ReduceFunction, UnaryFunction};

use crate::graph::Op;
use crate::graph::ops::ArgFunction;
use crate::ir::{Dim, Value};
use crate::onnx::builder::{Built, mismatch};
use crate::onnx::call::{Call, NEWEST, Row, onnx};

macro_rules! row {
    ($name:literal, $function:ident) => {
        onnx($name, 1, NEWEST, "float, integer", |c| reduce(c, ReduceFunction::$function))
    };
}

pub(super) const ROWS: &[Row] = &[
    row!("ReduceSum", Sum),
    row!("ReduceMean", Mean),
    row!("ReduceMax", Max),
    row!("ReduceMin", Min),
    row!("ReduceProd", Prod),
    row!("ReduceSumSquare", SumSquare),
    row!("ReduceL1", SumAbs),
    row!("ReduceL2", Norm2),
    row!("ReduceLogSum", LogSum),
    row!("ReduceLogSumExp", LogSumExp),
    onnx("ArgMax", 1, NEWEST, "float, integer", |c| extreme(c, ArgFunction::Max)),
    onnx("ArgMin", 1, NEWEST, "float, integer", |c| extreme(c, ArgFunction::Min)),
];

pub(super) fn reduce(c: &mut Call, function: ReduceFunction) -> Built<Vec<Value>> {
    c.at_most(2)?;
    let x = c.input(0)?;
    let rank = c.rank(x);
    let keep = c.attributes.flag("keepdims", true)?;
    let nothing = c.attributes.flag("noop_with_empty_axes", false)?;
    let given = match c.attributes.ints("axes")? {
        Some(axes) => Some(axes.to_vec()),
        None => match c.optional(1) {
            Some(axes) => match known_axes(c, axes) {
                Some(axes) => Some(axes),
                None => return Ok(vec![super::run_time_axes::reduce(c, x, axes, function, keep)?]),
            },
            None => None,
        },
    };
    let axes = match given.as_deref() {
        Some(axes) if !axes.is_empty() => c.axes(axes, rank)?,
        _ if nothing => return Ok(vec![elementwise(c, function, x)?]),
        _ => (0..rank).collect(),
    };
    let y = c.reduce(function, x, axes.clone())?;
    Ok(vec![if keep { y } else { c.squeeze(y, &axes)? }])
}

/// Axes that are known, if only because there are none.
fn known_axes(c: &Call, axes: Value) -> Option<Vec<i64>> {
    if c.dims(axes).first().is_some_and(|count| count.is(0)) { Some(Vec::new()) } else { c.known_ints(axes) }
}

/// The reduction of each element alone: what no axes mean.
fn elementwise(c: &mut Call, function: ReduceFunction, x: Value) -> Built {
    match function {
        ReduceFunction::SumSquare => c.binary(BinaryFunction::Mul, x, x),
        ReduceFunction::SumAbs | ReduceFunction::Norm2 => c.unary(UnaryFunction::Abs, x),
        ReduceFunction::LogSum => c.unary(UnaryFunction::Log, x),
        ReduceFunction::Sum
        | ReduceFunction::Mean
        | ReduceFunction::Max
        | ReduceFunction::Min
        | ReduceFunction::Prod
        | ReduceFunction::LogSumExp
        | ReduceFunction::All
        | ReduceFunction::Any => Ok(x),
    }
}

fn extreme(c: &mut Call, function: ArgFunction) -> Built<Vec<Value>> {
    let x = c.single()?;
    let axis = c.attributes.int_or("axis", 0)?;
    let axis = c.axis(axis, c.rank(x))?;
    let keep = c.attributes.flag("keepdims", true)?;
    let last = c.attributes.flag("select_last_index", false)?;
    if c.element(x) == Element::Bool {
        return Err(mismatch("the operand must be numbers"));
    }
    // There is none among no elements, but for a result that is empty as well.
    let symbols = &c.graph.symbols;
    let some = |dim: &Dim| symbols.minimum(dim, &Dim::ONE);
    let dims = c.dims(x);
    let others = dims.iter().enumerate().filter(|(at, _)| *at != axis).map(|(_, dim)| some(dim));
    let wanted = others.fold(&Dim::ONE - &some(&dims[axis]), |all, other| &all * &other);
    if !wanted.is(0) {
        c.graph.symbols.assume(&wanted, &Dim::ZERO);
    }
    let y = c.op(Op::ArgReduce { function, axis, last }, &[x])?;
    Ok(vec![if keep { y } else { c.squeeze(y, &[axis])? }])
}
