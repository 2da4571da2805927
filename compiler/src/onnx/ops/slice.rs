//! `Slice`, with bounds that are numbers, lengths, or only known when the program runs.

use narae_isa::{BinaryFunction, CompareFunction, Element, ScatterFunction};

use crate::graph::Op;
use crate::ir::{Dim, Symbols, Value};
use crate::onnx::builder::{Built, mismatch};
use crate::onnx::call::Call;

pub(super) fn slice(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(5)?;
    let x = c.input(0)?;
    if c.opset < 10 {
        let list = |c: &Call, name: &str| Ok::<_, narae_isa::Diagnostic>(c.attributes.ints(name)?.map(<[i64]>::to_vec));
        let (starts, ends, axes) = (list(c, "starts")?, list(c, "ends")?, list(c, "axes")?);
        let (Some(starts), Some(ends)) = (starts, ends) else { return Err(mismatch("starts or ends are missing")) };
        let dims = |list: Vec<i64>| list.into_iter().map(Dim::from).collect::<Vec<Dim>>();
        let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = vec![1; starts.len()];
        return Ok(vec![known(c, x, &dims(starts), &dims(ends), &axes, &steps)?]);
    }
    let (starts, ends) = (c.input(1)?, c.input(2)?);
    let count = c.list_length(starts, "starts")?;
    let axes = match c.optional(3) {
        Some(axes) => c.known_ints(axes),
        None => Some((0..count as i64).collect()),
    };
    let steps = match c.optional(4) {
        Some(steps) => c.known_ints(steps),
        None => Some(vec![1; count]),
    };
    if let (Some(axes), Some(steps), Some(starts), Some(ends)) = (&axes, &steps, c.known(starts), c.known(ends)) {
        return Ok(vec![known(c, x, &starts, &ends, axes, steps)?]);
    }
    Ok(vec![at_run_time(c, x, axes, steps)?])
}

fn known(c: &mut Call, x: Value, from: &[Dim], to: &[Dim], axes: &[i64], by: &[i64]) -> Built {
    if [to.len(), axes.len(), by.len()].iter().any(|&count| count != from.len()) {
        return Err(mismatch("starts, ends, axes and steps differ in number"));
    }
    let mut dims = c.dims(x);
    let rank = dims.len();
    let (mut starts, mut steps) = (vec![Dim::ZERO; rank], vec![1; rank]);
    for (index, &axis) in axes.iter().enumerate() {
        let axis = c.axis(axis, rank)?;
        let step = by[index];
        let extent = dims[axis].clone();
        let (start, count) = bounds(c, &extent, &from[index], &to[index], step)?;
        (starts[axis], steps[axis], dims[axis]) = (start, step, count);
    }
    if dims == c.dims(x) && steps.iter().all(|&step| step == 1) {
        return Ok(x);
    }
    c.op(Op::Slice { starts, steps, dims }, &[x])
}

/// Bounds beyond this reach past every axis: exporters write the greatest integers, of 32 bits as well, for "to the end".
const FAR: i64 = i32::MAX as i64 - 1;

/// The first index and the number of elements, clamped as ONNX says, for every extent that a run may have, none included.
fn bounds(c: &Call, extent: &Dim, from: &Dim, to: &Dim, step: i64) -> Built<(Dim, Dim)> {
    let symbols = &c.graph.symbols;
    let limits = |least: i64, most: &Dim| (Dim::from(least), most.clone());
    let last = extent - &Dim::ONE;
    let (start, way): (Dim, Dim) = match step {
        0 => return Err(mismatch("a step is 0")),
        1.. => {
            let start = clamped(symbols, from, extent, limits(0, extent));
            let end = clamped(symbols, to, extent, limits(0, extent));
            let way = &end - &start;
            (start, way)
        }
        _ => {
            // The upper limit is the stronger one: of an empty axis it is -1, and nothing is taken.
            let start = clamped(symbols, from, extent, limits(0, &last));
            let end = clamped(symbols, to, extent, limits(-1, &last));
            let way = &start - &end;
            (symbols.maximum(&start, &Dim::ZERO), way)
        }
    };
    let count = symbols.maximum(&way, &Dim::ZERO).ceil_div(&Dim::from(step.saturating_abs()));
    Ok((start, count))
}

/// A bound within limits; one below zero counts from the end of the axis.
fn clamped(symbols: &Symbols, at: &Dim, extent: &Dim, (low, high): (Dim, Dim)) -> Dim {
    match at.as_const() {
        Some(value) if value > FAR => return high,
        Some(value) if value < -FAR => return symbols.minimum(&low, &high),
        _ => {}
    }
    // What is counted from the end and reaches the start is the start, and so is a count of nothing, which is no count from the end.
    if low.is(0)
        && at.bounds(symbols).1.is_some_and(|most| most <= 0)
        && symbols.compare(&(at + extent), &low) == Some(true)
    {
        return symbols.minimum(&low, &high);
    }
    symbols.minimum(&symbols.maximum(&wrapped(symbols, at, extent), &low), &high)
}

/// `at`, or `at + extent` where it is below zero. Where only the run can tell, so does the expression.
fn wrapped(symbols: &Symbols, at: &Dim, extent: &Dim) -> Dim {
    match at.bounds(symbols) {
        (Some(0..), _) => at.clone(),
        (_, Some(..0)) => at + extent,
        _ => {
            let below = symbols.maximum(&(&Dim::ZERO - at), &Dim::ZERO);
            at + &(extent * &symbols.minimum(&below, &Dim::ONE))
        }
    }
}

/// Bounds, axes or steps are tensors that the program computes: every axis is gathered by an index that is computed as well.
fn at_run_time(c: &mut Call, x: Value, axes: Option<Vec<i64>>, steps: Option<Vec<i64>>) -> Built {
    let rank = c.rank(x);
    let dims = c.dims(x);
    let extents = c.dims_tensor(dims, vec![rank])?;
    let zero = c.integer(Element::I64, 0)?;
    let one = c.integer(Element::I64, 1)?;
    let axes_value = match (&axes, c.optional(3)) {
        (Some(axes), _) => {
            let axes =
                axes.iter().map(|&axis| c.axis(axis, rank).map(|axis| axis as i64)).collect::<Built<Vec<i64>>>()?;
            c.dims_tensor(axes.iter().copied().map(Dim::from).collect(), vec![axes.len()])?
        }
        (None, Some(axes)) => c.convert(axes, Element::I64)?,
        (None, None) => return Err(mismatch("axes are missing")),
    };
    let whole = |c: &mut Call, fill: Value| c.broadcast(fill, vec![Dim::from(rank)]);
    let full = |c: &mut Call, operand: Option<Value>, fill: Value| -> Built {
        let all = whole(c, fill)?;
        match operand {
            None => Ok(all),
            Some(operand) => {
                let operand = c.convert(operand, Element::I64)?;
                c.op(Op::ScatterElements { axis: 0, function: ScatterFunction::Replace }, &[all, axes_value, operand])
            }
        }
    };
    let (starts, ends) = (c.input(1)?, c.input(2)?);
    let far = c.integer(Element::I64, i64::MAX)?;
    let starts = full(c, Some(starts), zero)?;
    let ends = full(c, Some(ends), far)?;
    let step_operand = c.optional(4);
    let steps_value = full(c, step_operand, one)?;
    let forward = c.compare(CompareFunction::Gt, steps_value, zero)?;
    let last = c.sub(extents, one)?;
    let minus = c.integer(Element::I64, -1)?;
    // Limits of the clamps: 0..extent forwards; 0..last for the start and -1..last for the end backwards.
    let upper = c.select(forward, extents, last)?;
    let lower_end = c.select(forward, zero, minus)?;
    let starts = wrap_and_clamp(c, starts, extents, zero, upper)?;
    let ends = wrap_and_clamp(c, ends, extents, lower_end, upper)?;
    let way = c.sub(ends, starts)?;
    let back = c.unary(narae_isa::UnaryFunction::Neg, way)?;
    let counts = c.binary(BinaryFunction::FloorDiv, back, steps_value)?;
    let counts = c.unary(narae_isa::UnaryFunction::Neg, counts)?;
    let counts = c.binary(BinaryFunction::Max, counts, zero)?;
    let counts = c.shape_operand(counts, "sliced", Some(0))?;
    let mut y = x;
    for (axis, count) in counts.into_iter().enumerate() {
        let known_axis = axes
            .as_ref()
            .is_some_and(|axes| !axes.iter().any(|&other| c.axis(other, rank).is_ok_and(|other| other == axis)));
        if known_axis {
            continue;
        }
        let start = c.narrow(starts, 0, Dim::from(axis), Dim::ONE)?;
        let positions = c.iota(Element::I64, vec![count], 0)?;
        let by_one = steps.as_ref().is_some_and(|steps| steps.iter().all(|&step| step == 1));
        let scaled = if by_one {
            positions
        } else {
            let step = c.narrow(steps_value, 0, Dim::from(axis), Dim::ONE)?;
            c.mul(positions, step)?
        };
        let indices = c.add(scaled, start)?;
        y = c.gather(y, indices, axis)?;
    }
    Ok(y)
}

fn wrap_and_clamp(c: &mut Call, at: Value, extents: Value, low: Value, high: Value) -> Built {
    let zero = c.integer(Element::I64, 0)?;
    let negative = c.compare(CompareFunction::Lt, at, zero)?;
    let wrapped = c.add(at, extents)?;
    let at = c.select(negative, wrapped, at)?;
    let at = c.binary(BinaryFunction::Max, at, low)?;
    c.binary(BinaryFunction::Min, at, high)
}
