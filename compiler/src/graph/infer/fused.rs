//! Types of quantisation and of the ops that the chip has as one instruction.

use narae_isa::{Diagnostic, Element};

use super::{Context, Real, Type};
use crate::graph::TensorType;
use crate::ir::Dim;

/// Scale and zero point have the rank of the data and broadcast, blocked along one axis.
fn scales(cx: &mut Context, axis: usize, block: usize) -> Result<(), Diagnostic> {
    let data = cx.types[0].dims.clone();
    cx.ensure(block == 0 || axis < data.len(), "there is no axis to lie in blocks along")?;
    for operand in 1..cx.types.len() {
        let own = cx.types[operand].dims.clone();
        cx.ensure(own.len() == data.len(), "scale and zero point need the rank of the data")?;
        for (at, (own, all)) in own.iter().zip(&data).enumerate() {
            if own.is(1) {
                continue;
            }
            let blocked = block > 0 && at == axis;
            let expected = if blocked { all.ceil_div(&block.into()) } else { all.clone() };
            cx.unify(own, &expected)?;
        }
    }
    Ok(())
}

pub(super) fn quantize(cx: &mut Context, to: Element, axis: usize, block: usize) -> Type {
    cx.ensure(is_code(to), "codes are integers or floats of at most 8 bits")?;
    cx.expect_float(1)?;
    cx.ensure(cx.types.len() < 3 || cx.element(2) == to, "the zero point must have the result's type")?;
    scales(cx, axis, block)?;
    Ok(TensorType::new(to, cx.types[0].dims.clone()))
}

/// What numbers are rounded to when they are quantised.
fn is_code(element: Element) -> bool {
    element != Element::Bool && (!element.is_float() || element.bits() <= 8)
}

pub(super) fn dequantize(cx: &mut Context, axis: usize, block: usize) -> Type {
    cx.expect_float(1)?;
    cx.ensure(cx.types.len() < 3 || cx.element(2) == cx.element(0), "the zero point must have the data's type")?;
    scales(cx, axis, block)?;
    Ok(TensorType::new(cx.element(1), cx.types[0].dims.clone()))
}

pub(super) fn linear(cx: &mut Context) -> Type {
    cx.expect_float(0)?;
    cx.expect_float(1)?;
    cx.ensure(cx.rank(0) >= 1 && cx.rank(1) == 2, "`x` needs an axis, the weight two")?;
    let mut dims = cx.types[0].dims.clone();
    let (n, k) = (cx.dims(1)[0].clone(), cx.dims(1)[1].clone());
    let last = dims.len() - 1;
    cx.unify(&dims[last], &k)?;
    if cx.types.len() == 3 {
        cx.ensure(cx.rank(2) == 1, "the bias must have one axis")?;
        let bias = cx.dims(2)[0].clone();
        cx.unify(&bias, &n)?;
    }
    dims[last] = n;
    Ok(TensorType::new(cx.element(0), dims))
}

pub(super) fn norm(cx: &mut Context, _epsilon: Real) -> Type {
    cx.expect_float(0)?;
    let Some(last) = cx.dims(0).last().cloned() else {
        return Err(cx.refuse(&narae_isa::codes::E0303, "a scalar has no axis to normalise"));
    };
    for operand in 1..cx.types.len() {
        cx.expect_float(operand)?;
        cx.ensure(cx.rank(operand) == 1, "gain and bias must have one axis")?;
        let own = cx.dims(operand)[0].clone();
        cx.unify(&own, &last)?;
    }
    Ok(cx.types[0].clone())
}

pub(super) fn rope(cx: &mut Context) -> Type {
    cx.expect_float(0)?;
    let mut table = cx.types[0].dims.clone();
    cx.ensure(!table.is_empty() && cx.rank(1) >= 1, "operands need an axis")?;
    let half = cx.dims(1)[cx.rank(1) - 1].clone();
    let too_long = (&(&half * &Dim::from(2i64)) - &table[table.len() - 1]).bounds(cx.symbols).0;
    cx.ensure(too_long.is_none_or(|least| least <= 0), "`cos` is longer than half of the last axis")?;
    // Each turns one pair of elements: a sine for all of them is no table.
    cx.ensure(cx.rank(2) >= 1, "operands need an axis")?;
    let sines = cx.dims(2)[cx.rank(2) - 1].clone();
    cx.unify(&sines, &half)?;
    if let Some(last) = table.last_mut() {
        *last = half;
    }
    cx.broadcasts_to(1, &table)?;
    cx.broadcasts_to(2, &table)?;
    Ok(cx.types[0].clone())
}

pub(super) fn attention(cx: &mut Context, flags: [bool; 3]) -> Type {
    let rest = flags.iter().filter(|&&given| given).count();
    cx.ensure(cx.types.len() == 3 + rest, "the flags name another number of operands")?;
    for operand in 0..3 {
        cx.expect_float(operand)?;
        cx.ensure(cx.rank(operand) == 4, "q, k and v need four axes")?;
    }
    let [q, k, v] = [0, 1, 2].map(|operand| cx.types[operand].dims.clone());
    cx.unify(&q[0], &k[0])?;
    cx.unify(&q[0], &v[0])?;
    cx.unify(&k[1], &v[1])?;
    cx.unify(&k[2], &v[2])?;
    cx.unify(&q[3], &k[3])?;
    let divides = match (q[1].as_size(), k[1].as_size()) {
        (Some(heads), Some(groups)) => groups > 0 && heads.is_multiple_of(groups),
        _ => true,
    };
    cx.ensure(divides, "the number of key heads does not divide the number of query heads")?;
    let mut operand = 3;
    let [bias, lengths, sinks] = flags;
    if bias {
        cx.broadcasts_to(operand, &[q[0].clone(), q[1].clone(), q[2].clone(), k[2].clone()])?;
        operand += 1;
    }
    if lengths {
        cx.expect_element(operand, Element::I64)?;
        cx.ensure(cx.rank(operand) == 1, "lengths need one axis")?;
        let own = cx.dims(operand)[0].clone();
        cx.unify(&own, &q[0])?;
        operand += 1;
    }
    if sinks {
        cx.ensure(cx.rank(operand) == 1, "sinks need one axis")?;
        let own = cx.dims(operand)[0].clone();
        cx.unify(&own, &q[1])?;
    }
    let [batch, heads, sequence, _]: [Dim; 4] =
        q.try_into().map_err(|_| cx.refuse(&narae_isa::codes::E0303, "rank"))?;
    Ok(TensorType::new(cx.element(0), vec![batch, heads, sequence, v[3].clone()]))
}

/// A cache with rows replaced keeps its type.
pub(super) fn kv_append(cx: &mut Context) -> Type {
    // Rows are numbers, or codes of one kind.
    if cx.element(0).is_float() {
        cx.expect_float(1)?;
    } else {
        cx.expect_element(1, cx.element(0))?;
    }
    cx.ensure(cx.rank(0) == 4 && cx.rank(1) == 4, "cache and new rows need four axes")?;
    cx.expect_element(2, Element::I64)?;
    cx.ensure(cx.rank(2) == 1, "past lengths need one axis")?;
    let [cache, new] = [0, 1].map(|operand| cx.types[operand].dims.clone());
    for axis in [0, 1, 3] {
        cx.unify(&cache[axis], &new[axis])?;
    }
    let past = cx.dims(2)[0].clone();
    cx.unify(&past, &cache[0])?;
    Ok(TensorType::new(cx.element(0), cache))
}
