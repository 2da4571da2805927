//! The codes in which grouped-query attention may keep keys and values: signed numbers of 8 or 4 bits, one scale for all or one per
//! head and channel; of 4 bits, two lie in a byte, the even channel in its low half, each raised by 8.
//!
//! In: a cache and new rows `[B, G, S, D]`. Out: the present as the model declares it, and what attention reads, which is what the codes
//! stand for, also of the new rows.

use narae_isa::{BinaryFunction, Element};

use super::contrib_gqa::Cache;
use crate::graph::Op;
use crate::ir::{Dim, Value};
use crate::onnx::builder::{Built, mismatch, unsupported};
use crate::onnx::call::Call;

/// How keys or values are kept.
pub(super) enum Codes {
    /// As they are.
    None,
    /// As signed bytes.
    Bytes { scale: Value },
    /// Two in a byte.
    Nibbles { scale: Value },
}

impl Codes {
    /// From the attribute `kind` and the operand with the scale.
    pub(super) fn new(c: &mut Call, kind: &str, operand: usize) -> Built<Codes> {
        let bits = c.attributes.int_or("kv_cache_bit_width", 0)?;
        match c.attributes.text_or(kind, "NONE")? {
            "NONE" => return Ok(Codes::None),
            "PER_TENSOR" | "PER_CHANNEL" => {}
            other => return Err(unsupported(format!("{kind} = `{other}`"))),
        }
        let scale = c.input(operand)?;
        let dims = match c.dims(scale).as_slice() {
            [] | [_] => vec![Dim::ONE; 4],
            [one, heads, row, size] if one.is(1) && row.is(1) => vec![Dim::ONE, heads.clone(), Dim::ONE, size.clone()],
            dims => return Err(mismatch(format!("a scale of rank {}", dims.len()))),
        };
        let scale = c.reshape(scale, dims)?;
        match bits {
            8 => Ok(Codes::Bytes { scale }),
            4 => Ok(Codes::Nibbles { scale }),
            other => Err(unsupported(format!("kv_cache_bit_width = {other}"))),
        }
    }

    /// The present, and the numbers in it.
    pub(super) fn append(&self, c: &mut Call, cache: &Cache, past: Option<Value>, new: Value) -> Built<(Value, Value)> {
        let element = c.element(new);
        let new = match self {
            Codes::None => new,
            Codes::Bytes { scale } => quantized(c, new, *scale)?,
            Codes::Nibbles { scale } => {
                let codes = quantized(c, new, *scale)?;
                pack(c, codes)?
            }
        };
        let present = cache.append(c, past, new)?;
        let numbers = match self {
            Codes::None => return Ok((present, present)),
            Codes::Bytes { scale } => numbers(c, present, *scale)?,
            Codes::Nibbles { scale } => {
                let codes = unpack(c, present)?;
                numbers(c, codes, *scale)?
            }
        };
        Ok((present, c.convert(numbers, element)?))
    }
}

/// `i8` codes, rounded to the nearest, half to even.
fn quantized(c: &mut Call, x: Value, scale: Value) -> Built {
    let wide = c.convert(x, Element::F32)?;
    let scaled = c.div(wide, scale)?;
    let one = c.scalar(Element::F32, 1.0)?;
    let one = c.reshape(one, vec![Dim::ONE; 4])?;
    c.op(Op::Quantize { to: Element::I8, axis: 0, block: 0 }, &[scaled, one])
}

fn numbers(c: &mut Call, codes: Value, scale: Value) -> Built {
    let wide = c.convert(codes, Element::F32)?;
    c.mul(wide, scale)
}

/// `i8` codes `[…, D]` to bytes `[…, D / 2]`.
fn pack(c: &mut Call, codes: Value) -> Built {
    let wide = c.convert(codes, Element::I32)?;
    let (most, least) = (c.integer(Element::I32, 7)?, c.integer(Element::I32, -8)?);
    let clipped = c.binary(BinaryFunction::Min, wide, most)?;
    let clipped = c.binary(BinaryFunction::Max, clipped, least)?;
    let raise = c.integer(Element::I32, 8)?;
    let raised = c.add(clipped, raise)?;
    let mut dims = c.dims(raised);
    let last = dims.len() - 1;
    dims[last] = dims[last].floor_div(&Dim::from(2i64));
    dims.push(Dim::from(2i64));
    let pairs = c.reshape(raised, dims)?;
    let [low, high] = halves(c, pairs)?;
    let sixteen = c.integer(Element::I32, 16)?;
    let high = c.mul(high, sixteen)?;
    let bytes = c.add(low, high)?;
    c.convert(bytes, Element::U8)
}

/// Bytes `[…, D / 2]` to `i32` codes `[…, D]`.
fn unpack(c: &mut Call, bytes: Value) -> Built {
    let wide = c.convert(bytes, Element::I32)?;
    let sixteen = c.integer(Element::I32, 16)?;
    let high = c.binary(BinaryFunction::Div, wide, sixteen)?;
    let above = c.mul(high, sixteen)?;
    let low = c.sub(wide, above)?;
    let mut dims = c.dims(wide);
    let last = dims.len() - 1;
    let (low, high) = (c.unsqueeze(low, &[last + 1])?, c.unsqueeze(high, &[last + 1])?);
    let pairs = c.concat(&[low, high], last + 1)?;
    dims[last] = &dims[last] * &Dim::from(2i64);
    let codes = c.reshape(pairs, dims)?;
    let raise = c.integer(Element::I32, 8)?;
    c.sub(codes, raise)
}

/// The first and the second along the last axis of two.
fn halves(c: &mut Call, pairs: Value) -> Built<[Value; 2]> {
    let axis = c.last_axis(pairs)?;
    let mut half = |at: usize| -> Built {
        let part = c.narrow(pairs, axis, Dim::from(at), Dim::ONE)?;
        c.squeeze(part, &[axis])
    };
    Ok([half(0)?, half(1)?])
}
