//! Quantisation: the QDQ form, the integer operators of ONNX, and onnxruntime's products of them.

use narae_isa::{BinaryFunction, CompareFunction, Diagnostic, Element, ReduceFunction, UnaryFunction, codes};

use super::matrix::{integer_matmul, product};
use super::source::element_attribute;
use crate::graph::Op;
use crate::ir::{Dim, Value};
use crate::onnx::builder::{Built, mismatch};
use crate::onnx::call::{Call, NEWEST, Row, microsoft, onnx};

pub(super) const ROWS: &[Row] = &[
    onnx("QuantizeLinear", 10, NEWEST, "float, i32", quantize_linear),
    microsoft("QuantizeLinear", "float", quantize_linear),
    onnx("DequantizeLinear", 10, NEWEST, "integer, f8", dequantize_linear),
    microsoft("DequantizeLinear", "integer", dequantize_linear),
    onnx("DynamicQuantizeLinear", 11, NEWEST, "f32", dynamic_quantize_linear),
    onnx("QLinearMatMul", 10, NEWEST, "i8, u8", q_linear_matmul),
    microsoft("DynamicQuantizeMatMul", "f32", dynamic_quantize_matmul),
    microsoft("MatMulIntegerToFloat", "i8, u8", matmul_integer_to_float),
    microsoft("QGemm", "i8, u8", q_gemm),
];

/// Scale or zero point with the rank of the data: a number for all, one per index of the axis, or blocks as they are.
fn parameter(c: &mut Call, value: Value, rank: usize, axis: usize) -> Built {
    let own = c.dims(value);
    if own.len() == rank && rank != 1 {
        return Ok(value);
    }
    let mut dims = vec![Dim::ONE; rank];
    match own.as_slice() {
        [] => {}
        [one] if one.is(1) => {}
        [count] if axis < rank => dims[axis] = count.clone(),
        _ => return Err(mismatch(format!("a scale of rank {} for data of rank {rank}", own.len()))),
    }
    c.reshape(value, dims)
}

/// Elements that no axis of a tensor has.
const LONGEST_AXIS: usize = 1 << 48;

/// Axis and block size of the node.
fn layout(c: &Call, x: Value) -> Built<(usize, usize)> {
    let rank = c.rank(x);
    let axis = c.attributes.int_or("axis", 1)?;
    let block =
        usize::try_from(c.attributes.int_or("block_size", 0)?).map_err(|_| mismatch("block_size is negative"))?;
    // No axis is so long: one block has it all.
    let block = block.min(LONGEST_AXIS);
    // The axis of one number for all does not matter and may not even exist.
    Ok((c.axis(axis, rank).unwrap_or(0), block))
}

fn quantize_linear(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(3)?;
    let (x, scale, zero) = (c.input(0)?, c.input(1)?, c.optional(2));
    let (axis, block) = layout(c, x)?;
    c.attributes.ignore(&["saturate"]);
    let named = c.attributes.int_or("output_dtype", 0)?;
    let precision = c.attributes.int_or("precision", 0)?;
    let to = match zero {
        Some(zero) => c.element(zero),
        None if named != 0 => element_attribute(named)?,
        None => Element::U8,
    };
    let rank = c.rank(x);
    let scale = parameter(c, scale, rank, axis)?;
    let zero = zero.map(|zero| parameter(c, zero, rank, axis)).transpose()?;
    // The division happens in the type that `precision` names, else in the scale's.
    let wide = if precision != 0 { element_attribute(precision)? } else { c.element(scale) };
    let wide = if wide.is_float() && wide != Element::F8E8M0 { wide } else { Element::F32 };
    let (x, scale) = (c.convert(x, wide)?, c.convert(scale, wide)?);
    Ok(vec![quantize(c, x, scale, zero, to, axis, block)?])
}

fn quantize(
    c: &mut Call,
    x: Value,
    scale: Value,
    zero: Option<Value>,
    to: Element,
    axis: usize,
    block: usize,
) -> Built {
    let operands: Vec<Value> = [x, scale].into_iter().chain(zero).collect();
    c.op(Op::Quantize { to, axis, block }, &operands)
}

fn dequantize_linear(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(3)?;
    let (x, scale, zero) = (c.input(0)?, c.input(1)?, c.optional(2));
    let (axis, block) = layout(c, x)?;
    let named = c.attributes.int_or("output_dtype", 0)?;
    let to = if named != 0 { element_attribute(named)? } else { c.element(scale) };
    let rank = c.rank(x);
    let scale = parameter(c, scale, rank, axis)?;
    let scale = if c.element(scale) == Element::F8E8M0 { c.convert(scale, Element::F32)? } else { scale };
    let zero = zero.map(|zero| parameter(c, zero, rank, axis)).transpose()?;
    let operands: Vec<Value> = [x, scale].into_iter().chain(zero).collect();
    let y = c.op(Op::Dequantize { axis, block }, &operands)?;
    Ok(vec![c.convert(y, to)?])
}

/// `u8` codes of a tensor with the range that it has, its scale and its zero point.
pub(super) fn dynamically_quantized(c: &mut Call, x: Value) -> Built<(Value, Value, Value)> {
    if c.element(x) != Element::F32 {
        return Err(Diagnostic::new(&codes::E0203, "the operand must be f32"));
    }
    let axes: Vec<usize> = (0..c.rank(x)).collect();
    let most = c.reduce(ReduceFunction::Max, x, axes.clone())?;
    let least = c.op(Op::Reduce { function: ReduceFunction::Min, axes }, &[x])?;
    let (most, least) = (c.reshape(most, vec![])?, c.reshape(least, vec![])?);
    let most = c.with_number(BinaryFunction::Max, most, 0.0)?;
    let least = c.with_number(BinaryFunction::Min, least, 0.0)?;
    let span = c.sub(most, least)?;
    let scale = c.with_number(BinaryFunction::Div, span, 255.0)?;
    // Zeros have no range: any scale says them, and onnxruntime takes 1.
    let nothing = c.scalar(Element::F32, 0.0)?;
    let empty = c.compare(CompareFunction::Eq, span, nothing)?;
    let one = c.scalar(Element::F32, 1.0)?;
    let scale = c.select(empty, one, scale)?;
    let start = c.unary(UnaryFunction::Neg, least)?;
    let start = c.div(start, scale)?;
    let start = c.with_number(BinaryFunction::Max, start, 0.0)?;
    let start = c.with_number(BinaryFunction::Min, start, 255.0)?;
    let start = c.unary(UnaryFunction::Round, start)?;
    let zero = c.convert(start, Element::U8)?;
    let rank = c.rank(x);
    let (wide_scale, wide_zero) = (parameter(c, scale, rank, 0)?, parameter(c, zero, rank, 0)?);
    let codes = quantize(c, x, wide_scale, Some(wide_zero), Element::U8, 0, 0)?;
    Ok((codes, scale, zero))
}

fn dynamic_quantize_linear(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let (codes, scale, zero) = dynamically_quantized(c, x)?;
    Ok(vec![codes, scale, zero])
}

type Quantized = (Value, Value, Option<Value>);

/// `(a - a_zero) · (b - b_zero) · (a_scale · b_scale) + bias`, the product exact in integers.
pub(super) fn scaled_integer_product(
    c: &mut Call,
    (a, a_scale, a_zero): Quantized,
    (b, b_scale, b_zero): Quantized,
    bias: Option<Value>,
) -> Built {
    let sum = integer_matmul(c, a, b, a_zero, b_zero)?;
    let a_scale = row_scale(c, a_scale)?;
    let scale = c.mul(a_scale, b_scale)?;
    let element = c.element(scale);
    let wide = c.convert(sum, element)?;
    let y = c.mul(wide, scale)?;
    c.add_optional(y, bias)
}

/// One scale per row of the left operand stands beside the columns' axis.
fn row_scale(c: &mut Call, scale: Value) -> Built {
    match c.dims(scale).as_slice() {
        [count] if count.is(1) => c.reshape(scale, vec![]),
        [_] => c.unsqueeze(scale, &[1]),
        _ => Ok(scale),
    }
}

fn dynamic_quantize_matmul(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(5)?;
    let (a, b, b_scale) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let (b_zero, bias) = (c.optional(3), c.optional(4));
    let (codes, scale, zero) = dynamically_quantized(c, a)?;
    Ok(vec![scaled_integer_product(c, (codes, scale, Some(zero)), (b, b_scale, b_zero), bias)?])
}

fn matmul_integer_to_float(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(7)?;
    let (a, b, a_scale, b_scale) = (c.input(0)?, c.input(1)?, c.input(2)?, c.input(3)?);
    let (a_zero, b_zero, bias) = (c.optional(4), c.optional(5), c.optional(6));
    Ok(vec![scaled_integer_product(c, (a, a_scale, a_zero), (b, b_scale, b_zero), bias)?])
}

/// The product of codes, requantised.
fn q_linear_matmul(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(8)?;
    let a = (c.input(0)?, c.input(1)?, c.optional(2));
    let b = (c.input(3)?, c.input(4)?, c.optional(5));
    let (scale, zero) = (c.input(6)?, c.input(7)?);
    let y = if matches!(c.element(a.0), Element::I8 | Element::U8) {
        scaled_integer_product(c, a, b, None)?
    } else {
        let (x, w) = (decoded(c, a)?, decoded(c, b)?);
        product(c, x, w)?
    };
    let to = c.element(zero);
    let (rank, wide) = (c.rank(y), c.element(y));
    let axis = rank.saturating_sub(2);
    let scale = c.convert(scale, wide)?;
    let (scale, zero) = (parameter(c, scale, rank, axis)?, parameter(c, zero, rank, axis)?);
    Ok(vec![quantize(c, y, scale, Some(zero), to, axis, 0)?])
}

/// The numbers that codes stand for.
pub(super) fn decoded(c: &mut Call, (x, scale, zero): Quantized) -> Built {
    let rank = c.rank(x);
    let axis = rank.saturating_sub(1);
    let scale = parameter(c, scale, rank, axis)?;
    let zero = zero.map(|zero| parameter(c, zero, rank, axis)).transpose()?;
    let operands: Vec<Value> = [x, scale].into_iter().chain(zero).collect();
    c.op(Op::Dequantize { axis, block: 0 }, &operands)
}

/// Numbers as codes with one scale for all.
pub(super) fn encoded(c: &mut Call, x: Value, scale: Value, zero: Value) -> Built {
    let (rank, to) = (c.rank(x), c.element(zero));
    let wide = c.element(x);
    let scale = c.convert(scale, wide)?;
    let (scale, zero) = (parameter(c, scale, rank, 0)?, parameter(c, zero, rank, 0)?);
    quantize(c, x, scale, Some(zero), to, 0, 0)
}

fn q_gemm(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(9)?;
    let (a, a_scale, a_zero) = (c.input(0)?, c.input(1)?, c.optional(2));
    let (b, b_scale, b_zero) = (c.input(3)?, c.input(4)?, c.optional(5));
    let (bias, y_scale, y_zero) = (c.optional(6), c.optional(7), c.optional(8));
    let alpha = c.attributes.float_or("alpha", 1.0)?;
    let (flip_a, flip_b) = (c.attributes.flag("transA", false)?, c.attributes.flag("transB", false)?);
    let a = if flip_a { c.transpose_last(a)? } else { a };
    let b = if flip_b { c.transpose_last(b)? } else { b };
    let sum = integer_matmul(c, a, b, a_zero, b_zero)?;
    // The bias is in units of alpha · a_scale · b_scale.
    let sum = c.add_optional(sum, bias)?;
    let scale = c.mul(a_scale, b_scale)?;
    let scale = c.scale(scale, alpha.into())?;
    let element = c.element(scale);
    let wide = c.convert(sum, element)?;
    let y = c.mul(wide, scale)?;
    match (y_scale, y_zero) {
        (Some(scale), Some(zero)) => Ok(vec![encoded(c, y, scale, zero)?]),
        _ => Ok(vec![y]),
    }
}
