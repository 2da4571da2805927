//! Elementwise instructions: functions, comparisons, selections, conversions, fills, quantisation.

use super::super::number::{Number, with_arithmetic};
use super::super::{Context, Fault, Flow, moves, require, same_dims};
use crate::state::{Arithmetic, View};
use narae_isa::element::encode_scale;
use narae_isa::instructions::*;
use narae_isa::{Element, Overflow};

/// The arithmetic of an elementwise instruction: f64 if an operand or the result is f64; otherwise by the operands.
fn arithmetic(out: &View, operands: &[Element]) -> Arithmetic {
    if out.element == Element::F64 { Arithmetic::F64 } else { Arithmetic::of(operands) }
}

pub(crate) fn unary(c: &mut Context<'_>, row: &Unary) -> Result<Flow, Fault> {
    let (out, a) = (c.view(row.out)?, c.view(row.a)?);
    same_dims(&[("out", &out), ("a", &a)])?;
    with_arithmetic!(arithmetic(&out, &[a.element]), N => {
        let result = N::unary(c.arch, row.function, &N::load(c.memory, &a)?);
        N::store(c.memory, &out, &result, Overflow::Wrap)?;
    });
    Ok(Flow::Next)
}

pub(crate) fn binary(c: &mut Context<'_>, row: &Binary) -> Result<Flow, Fault> {
    let (out, a, b) = (c.view(row.out)?, c.view(row.a)?, c.view(row.b)?);
    same_dims(&[("out", &out), ("a", &a), ("b", &b)])?;
    with_arithmetic!(arithmetic(&out, &[a.element, b.element]), N => {
        let (x, y) = (N::load(c.memory, &a)?, N::load(c.memory, &b)?);
        let result = N::binary(c.arch, row.function, a.element, &x, &y);
        N::store(c.memory, &out, &result, Overflow::Wrap)?;
    });
    Ok(Flow::Next)
}

pub(crate) fn compare(c: &mut Context<'_>, row: &Compare) -> Result<Flow, Fault> {
    let (out, a, b) = (c.view(row.out)?, c.view(row.a)?, c.view(row.b)?);
    same_dims(&[("out", &out), ("a", &a), ("b", &b)])?;
    with_arithmetic!(Arithmetic::of(&[a.element, b.element]), N => {
        let (x, y) = (N::load(c.memory, &a)?, N::load(c.memory, &b)?);
        let result: Vec<i128> = x.iter().zip(&y).map(|(x, y)| i128::from(narae_isa::numerics::compare(row.function, *x, *y))).collect();
        c.memory.store_integers(&out, &result, Overflow::Wrap)?;
    });
    Ok(Flow::Next)
}

pub(crate) fn select(c: &mut Context<'_>, row: &Select) -> Result<Flow, Fault> {
    let (out, condition, a, b) = (c.view(row.out)?, c.view(row.c)?, c.view(row.a)?, c.view(row.b)?);
    same_dims(&[("out", &out), ("c", &condition), ("a", &a), ("b", &b)])?;
    require(a.element == b.element && a.element == out.element, || {
        format!("selecting from {} and {} to {}", a.element, b.element, out.element)
    })?;
    let (mut chosen, mut other) = (Vec::new(), Vec::new());
    c.memory.load_bits(&a, &mut chosen)?;
    c.memory.load_bits(&b, &mut other)?;
    let conditions = i128::load(c.memory, &condition)?;
    let size = a.element.bytes();
    for ((to, from), condition) in chosen.chunks_exact_mut(size).zip(other.chunks_exact(size)).zip(conditions) {
        if condition == 0 {
            to.copy_from_slice(from);
        }
    }
    c.memory.store_bits(&out, &chosen)?;
    Ok(Flow::Next)
}

pub(crate) fn convert(c: &mut Context<'_>, row: &Convert) -> Result<Flow, Fault> {
    let (out, a) = (c.view(row.out)?, c.view(row.a)?);
    same_dims(&[("out", &out), ("a", &a)])?;
    let overflow = if row.saturate { Overflow::Saturate } else { Overflow::Wrap };
    if out.element == Element::F8E8M0 {
        let codes: Vec<u8> =
            f64::load(c.memory, &a)?.into_iter().map(|v| encode_scale(v, row.rounding, overflow)).collect();
        c.memory.store_bits(&out, &codes)?;
        return Ok(Flow::Next);
    }
    // f64 holds every float exactly, so only the store rounds; f32 is the short cut for types that it holds exactly, too.
    let exact_in_f32 = a.element != Element::F64 && a.element.is_float();
    let arithmetic = if !a.element.is_float() {
        Arithmetic::Integer
    } else if exact_in_f32 {
        Arithmetic::F32
    } else {
        Arithmetic::F64
    };
    with_arithmetic!(arithmetic, N => {
        let values = N::load(c.memory, &a)?;
        N::store(c.memory, &out, &values, overflow)?;
    });
    Ok(Flow::Next)
}

pub(crate) fn fill(c: &mut Context<'_>, row: &Fill) -> Result<Flow, Fault> {
    let out = c.view(row.out)?;
    out.check(c.memory)?;
    let overflow = if out.element.is_float() { Overflow::Wrap } else { Overflow::Saturate };
    c.memory.store_f64(&out, &vec![row.value.value(); out.len()], overflow)?;
    Ok(Flow::Next)
}

pub(crate) fn fillint(c: &mut Context<'_>, row: &FillInteger) -> Result<Flow, Fault> {
    let out = c.view(row.out)?;
    out.check(c.memory)?;
    let value = row.value.wrapping_add(c.optional_scalar(row.rs).unwrap_or(0));
    c.memory.store_integers(&out, &vec![i128::from(value); out.len()], Overflow::Wrap)?;
    Ok(Flow::Next)
}

pub(crate) fn iota(c: &mut Context<'_>, row: &Iota) -> Result<Flow, Fault> {
    let out = c.view(row.out)?;
    out.check(c.memory)?;
    let axis = row.axis.index();
    require(axis < out.rank, || format!("axis {axis} of {} axes", out.rank))?;
    let (start, step) = (c.optional_scalar(row.start).unwrap_or(0), c.optional_scalar(row.step).unwrap_or(1));
    let inner: usize = out.dims()[axis + 1..].iter().product();
    let value = |i: usize| i128::from(start) + i128::from(step) * (i / inner % out.dims[axis]) as i128;
    let values: Vec<i128> = (0..out.len()).map(value).collect();
    c.memory.store_integers(&out, &values, Overflow::Wrap)?;
    Ok(Flow::Next)
}

pub(crate) fn copy(c: &mut Context<'_>, row: &Copy) -> Result<Flow, Fault> {
    let (out, a) = (c.view(row.out)?, c.view(row.a)?);
    moves::copy_bits(c, &out, &a)
}

pub(crate) fn quantize(c: &mut Context<'_>, row: &Quantize) -> Result<Flow, Fault> {
    let (out, a, scale, zero) = (c.view(row.out)?, c.view(row.a)?, c.view(row.scale)?, c.optional_view(row.zero)?);
    same_dims(&[("out", &out), ("a", &a), ("scale", &scale)])?;
    let to_integer = !out.element.is_float();
    with_arithmetic!(arithmetic(&out, &[a.element, scale.element, Element::F32]), N => {
        let (x, s) = (N::load(c.memory, &a)?, N::load(c.memory, &scale)?);
        let mut values: Vec<N> = x.iter().zip(&s).map(|(x, s)| x.div(*s)).collect();
        if to_integer {
            values.iter_mut().for_each(|v| *v = v.apply(narae_isa::UnaryFunction::Round));
            if let Some(zero) = zero {
                same_dims(&[("out", &out), ("zero", &zero)])?;
                let zeros = N::load(c.memory, &zero)?;
                values.iter_mut().zip(zeros).for_each(|(v, z)| *v = v.add(z));
            }
        }
        N::store(c.memory, &out, &values, Overflow::Saturate)?;
    });
    Ok(Flow::Next)
}

pub(crate) fn dequantize(c: &mut Context<'_>, row: &Dequantize) -> Result<Flow, Fault> {
    let (out, a, scale, zero) = (c.view(row.out)?, c.view(row.a)?, c.view(row.scale)?, c.optional_view(row.zero)?);
    same_dims(&[("out", &out), ("a", &a), ("scale", &scale)])?;
    // The difference of two elements is exact in f64 for every type that is quantised to.
    let mut differences = f64::load(c.memory, &a)?;
    if let Some(zero) = zero {
        same_dims(&[("out", &out), ("zero", &zero)])?;
        let zeros = f64::load(c.memory, &zero)?;
        differences.iter_mut().zip(zeros).for_each(|(d, z)| *d -= z);
    }
    if Arithmetic::of(&[scale.element]) == Arithmetic::F64 || out.element == Element::F64 {
        let s = f64::load(c.memory, &scale)?;
        differences.iter_mut().zip(s).for_each(|(d, s)| *d *= s);
        c.memory.store_f64(&out, &differences, Overflow::Wrap)?;
    } else {
        let s = f32::load(c.memory, &scale)?;
        let values: Vec<f32> = differences.iter().zip(s).map(|(d, s)| *d as f32 * s).collect();
        c.memory.store_f32(&out, &values, Overflow::Wrap)?;
    }
    Ok(Flow::Next)
}
