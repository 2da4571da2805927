//! Operators that pick and place elements by index.

use narae_isa::{BinaryFunction, CompareFunction, CumulateFunction, Element, ScatterFunction};

use crate::graph::Op;
use crate::ir::{Dim, Value};
use crate::onnx::builder::{Built, mismatch, unsupported};
use crate::onnx::call::{Call, NEWEST, Row, onnx};

pub(super) const ROWS: &[Row] = &[
    onnx("Gather", 1, NEWEST, "any", gather),
    onnx("GatherElements", 11, NEWEST, "any", gather_elements),
    onnx("GatherND", 11, NEWEST, "any", gather_nd),
    onnx("Scatter", 9, 10, "any", scatter_elements),
    onnx("ScatterElements", 11, NEWEST, "any", scatter_elements),
    onnx("ScatterND", 11, NEWEST, "any", scatter_nd),
    onnx("TensorScatter", 24, NEWEST, "any", tensor_scatter),
    onnx("TopK", 1, NEWEST, "float, integer", top_k),
    onnx("NonZero", 9, NEWEST, "any", |c| {
        let x = c.single()?;
        let results = c.ops(Op::NonZero {}, &[x])?;
        Ok(vec![results[0]])
    }),
    onnx("Compress", 9, NEWEST, "any", compress),
    onnx("CumSum", 11, NEWEST, "float, integer", |c| cumulate(c, CumulateFunction::Sum)),
    onnx("CumProd", 26, NEWEST, "float, integer", |c| cumulate(c, CumulateFunction::Prod)),
];

/// Indices are `i64` in the graph.
fn indices(c: &mut Call, index: usize) -> Built {
    let value = c.input(index)?;
    if !c.element(value).is_integer() {
        return Err(mismatch(format!("operand {index} must be integers")));
    }
    c.convert(value, Element::I64)
}

fn gather(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(2)?;
    let x = c.input(0)?;
    let at = indices(c, 1)?;
    let axis = c.attributes.int_or("axis", 0)?;
    let axis = c.axis(axis, c.rank(x))?;
    Ok(vec![c.gather(x, at, axis)?])
}

fn gather_elements(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(2)?;
    let x = c.input(0)?;
    let at = indices(c, 1)?;
    let axis = c.attributes.int_or("axis", 0)?;
    let axis = c.axis(axis, c.rank(x))?;
    lies_within(c, at, x, axis)?;
    Ok(vec![c.op(Op::GatherElements { axis }, &[x, at])?])
}

/// Beside the axis along which they choose, indices have at most the extents of what they choose from.
fn lies_within(c: &mut Call, at: Value, x: Value, axis: usize) -> Built<()> {
    let (inner, outer) = (c.dims(at), c.dims(x));
    if inner.len() != outer.len() {
        return Err(mismatch(format!("indices have rank {}, the operand has {}", inner.len(), outer.len())));
    }
    for (other, (inner, outer)) in inner.iter().zip(&outer).enumerate().filter(|(other, _)| *other != axis) {
        if let (Some(inner), Some(outer)) = (inner.as_const(), outer.as_const())
            && inner > outer
        {
            return Err(mismatch(format!("axis {other} has {inner} indices for an extent of {outer}")));
        }
        c.at_least(outer, inner);
    }
    Ok(())
}

fn gather_nd(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(2)?;
    let x = c.input(0)?;
    let at = indices(c, 1)?;
    let batch =
        usize::try_from(c.attributes.int_or("batch_dims", 0)?).map_err(|_| mismatch("batch_dims is negative"))?;
    Ok(vec![c.op(Op::GatherNd { batch }, &[x, at])?])
}

fn combination(c: &Call) -> Built<ScatterFunction> {
    Ok(match c.attributes.text_or("reduction", "none")? {
        "none" => ScatterFunction::Replace,
        "add" => ScatterFunction::Add,
        "mul" => ScatterFunction::Mul,
        "min" => ScatterFunction::Min,
        "max" => ScatterFunction::Max,
        other => return Err(unsupported(format!("reduction `{other}`"))),
    })
}

fn scatter_elements(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(3)?;
    let (x, updates) = (c.input(0)?, c.input(2)?);
    let at = indices(c, 1)?;
    let axis = c.attributes.int_or("axis", 0)?;
    let axis = c.axis(axis, c.rank(x))?;
    let function = combination(c)?;
    lies_within(c, at, x, axis)?;
    Ok(vec![c.op(Op::ScatterElements { axis, function }, &[x, at, updates])?])
}

fn scatter_nd(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(3)?;
    let (x, updates) = (c.input(0)?, c.input(2)?);
    let at = indices(c, 1)?;
    let function = combination(c)?;
    Ok(vec![c.op(Op::ScatterNd { function }, &[x, at, updates])?])
}

/// Writes `update` into a cache along an axis, at the place that `write_indices` names for each batch.
fn tensor_scatter(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(3)?;
    let (cache, update) = (c.input(0)?, c.input(1)?);
    let axis = c.attributes.int_or("axis", -2)?;
    let axis = c.axis(axis, c.rank(cache))?;
    let circular = match c.attributes.text_or("mode", "linear")? {
        "linear" => false,
        "circular" => true,
        other => return Err(unsupported(format!("mode `{other}`"))),
    };
    let rank = c.rank(cache);
    lies_within(c, update, cache, axis)?;
    let mut line = vec![Dim::ONE; rank];
    line[axis] = c.dim(update, axis);
    let mut at = c.iota(Element::I64, line, axis)?;
    if let Some(start) = c.optional(2) {
        let start = c.convert(start, Element::I64)?;
        let mut column = vec![Dim::ONE; rank];
        column[0] = c.dim(cache, 0);
        let start = c.reshape(start, column)?;
        at = c.add(at, start)?;
    }
    if circular {
        let extent = c.dim(cache, axis);
        let extent = c.dim_scalar(extent)?;
        at = c.binary(BinaryFunction::Mod, at, extent)?;
    }
    let dims = c.dims(update);
    let at = c.broadcast(at, dims)?;
    Ok(vec![c.op(Op::ScatterElements { axis, function: ScatterFunction::Replace }, &[cache, at, update])?])
}

fn top_k(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(2)?;
    let x = c.input(0)?;
    let axis = c.attributes.int_or("axis", -1)?;
    let axis = c.axis(axis, c.rank(x))?;
    let (largest, sorted) = (c.attributes.flag("largest", true)?, c.attributes.flag("sorted", true)?);
    let k = match (c.attributes.int("k")?, c.optional(1)) {
        (Some(k), _) => Dim::from(k),
        (None, Some(k)) => c.scalar_operand(k, "k", Some(0))?,
        (None, None) => return Err(mismatch("k is missing")),
    };
    // More than there are cannot be had: the run ends with a code then, and computes with what there is until it does.
    let extent = c.dim(x, axis);
    c.at_least(&extent, &k);
    let k = c.graph.symbols.minimum(&k, &c.dim(x, axis));
    c.ops(Op::TopK { axis, largest, sorted, k }, &[x])
}

fn compress(c: &mut Call) -> Built<Vec<Value>> {
    let (x, condition) = c.pair()?;
    let (x, axis) = match c.attributes.int("axis")? {
        Some(axis) => (x, c.axis(axis, c.rank(x))?),
        None => {
            let count = super::shape::product(&c.dims(x));
            (c.reshape(x, vec![count])?, 0)
        }
    };
    let found = c.ops(Op::NonZero {}, &[condition])?[0];
    let count = c.dim(found, 1);
    let at = c.reshape(found, vec![count])?;
    Ok(vec![c.gather(x, at, axis)?])
}

fn cumulate(c: &mut Call, function: CumulateFunction) -> Built<Vec<Value>> {
    let (x, axis) = c.pair()?;
    let (exclusive, reverse) = (c.attributes.flag("exclusive", false)?, c.attributes.flag("reverse", false)?);
    let rank = c.rank(x);
    if let Some(known) = c.known_ints(axis) {
        let Some(&axis) = known.first() else { return Err(mismatch("the axis is missing")) };
        let axis = c.axis(axis, rank)?;
        return Ok(vec![c.op(Op::Cumulate { function, axis, exclusive, reverse }, &[x])?]);
    }
    // The axis is only seen when the program runs: every axis is tried and the right one chosen.
    let axis = c.reshape(axis, vec![])?;
    let axis = c.convert(axis, Element::I64)?;
    let count = c.integer(Element::I64, rank as i64)?;
    let axis = c.binary(BinaryFunction::Mod, axis, count)?;
    let mut result = x;
    for candidate in 0..rank {
        let sum = c.op(Op::Cumulate { function, axis: candidate, exclusive, reverse }, &[x])?;
        let number = c.integer(Element::I64, candidate as i64)?;
        let hit = c.compare(CompareFunction::Eq, axis, number)?;
        result = c.select(hit, sum, result)?;
    }
    Ok(vec![result])
}
