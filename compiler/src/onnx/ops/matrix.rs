//! Matrix products.

use narae_isa::Element;

use super::activation;
use super::einsum::einsum;
use crate::graph::Op;
use crate::ir::Value;
use crate::onnx::builder::{Built, mismatch};
use crate::onnx::call::{Call, NEWEST, Row, microsoft, onnx};

pub(super) const ROWS: &[Row] = &[
    onnx("MatMul", 1, NEWEST, "float, integer", matmul),
    onnx("Gemm", 6, NEWEST, "float, integer", gemm),
    onnx("MatMulInteger", 10, NEWEST, "i8, u8", matmul_integer),
    onnx("Einsum", 12, NEWEST, "float, integer", einsum),
    microsoft("FusedMatMul", "float", fused_matmul),
    microsoft("TransposeMatMul", "float", fused_matmul),
    microsoft("FusedGemm", "float", fused_gemm),
    microsoft("GemmFastGelu", "float", gemm_fast_gelu),
];

fn matmul(c: &mut Call) -> Built<Vec<Value>> {
    let (a, b) = c.pair()?;
    Ok(vec![product(c, a, b)?])
}

/// numpy's product: a vector on the left is a row, on the right a column, and that axis vanishes. Integers that the graph's
/// product does not have are multiplied in `i32` or summed elementwise, exactly.
pub(super) fn product(c: &mut Call, a: Value, b: Value) -> Built {
    let (ranks, element) = ((c.rank(a), c.rank(b)), c.element(a));
    if ranks.0 == 0 || ranks.1 == 0 {
        return Err(mismatch("a scalar has no matrix product"));
    }
    let left = if ranks.0 == 1 { c.unsqueeze(a, &[0])? } else { a };
    let right = if ranks.1 == 1 { c.unsqueeze(b, &[1])? } else { b };
    let mut y = if element.is_float() || element == Element::I32 {
        c.matmul(left, right)?
    } else {
        integer_product(c, left, right)?
    };
    let rank = c.rank(y);
    if ranks.1 == 1 {
        y = c.squeeze(y, &[rank - 1])?;
    }
    if ranks.0 == 1 {
        let axis = c.rank(y) - if ranks.1 == 1 { 1 } else { 2 };
        y = c.squeeze(y, &[axis])?;
    }
    Ok(y)
}

/// `Σ_k a[.., m, k] · b[.., k, n]` by broadcasting.
fn integer_product(c: &mut Call, a: Value, b: Value) -> Built {
    let a_axis = c.rank(a);
    let left = c.unsqueeze(a, &[a_axis])?;
    let right_axis = c.rank(b) - 2;
    let right = c.unsqueeze(b, &[right_axis])?;
    let products = c.mul(left, right)?;
    let axis = c.rank(products) - 2;
    let sum = c.reduce(narae_isa::ReduceFunction::Sum, products, vec![axis])?;
    c.squeeze(sum, &[axis])
}

fn gemm(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(3)?;
    let (a, b, bias) = (c.input(0)?, c.input(1)?, c.optional(2));
    let (alpha, beta) = (c.attributes.float_or("alpha", 1.0)?, c.attributes.float_or("beta", 1.0)?);
    let (flip_a, flip_b) = (c.attributes.flag("transA", false)?, c.attributes.flag("transB", false)?);
    c.attributes.ignore(&["broadcast"]);
    if c.rank(a) != 2 || c.rank(b) != 2 {
        return Err(mismatch("both operands must be matrices"));
    }
    let a = if flip_a { c.transpose_last(a)? } else { a };
    let b = if flip_b { c.transpose_last(b)? } else { b };
    let y = product(c, a, b)?;
    let y = scaled(c, y, alpha)?;
    // Nought times C is no C: what is not finite in it does not count, as in BLAS and onnxruntime.
    let Some(bias) = bias.filter(|_| beta != 0.0) else { return Ok(vec![y]) };
    let bias = scaled(c, bias, beta)?;
    Ok(vec![c.add(y, bias)?])
}

fn scaled(c: &mut Call, x: Value, factor: f32) -> Built {
    let element = c.element(x);
    if element.is_float() || factor == 1.0 {
        return c.scale(x, factor.into());
    }
    let wide = c.convert(x, Element::F64)?;
    let wide = c.scale(wide, factor.into())?;
    c.convert(wide, element)
}

fn matmul_integer(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(4)?;
    let (a, b) = (c.input(0)?, c.input(1)?);
    let (a_zero, b_zero) = (c.optional(2), c.optional(3));
    Ok(vec![integer_matmul(c, a, b, a_zero, b_zero)?])
}

/// The exact `i32` product; a zero point of `a` may be one per row, one of `b` one per column.
pub(super) fn integer_matmul(c: &mut Call, a: Value, b: Value, a_zero: Option<Value>, b_zero: Option<Value>) -> Built {
    let a_zero = zero_point(c, a, a_zero, true)?;
    let b_zero = zero_point(c, b, b_zero, false)?;
    let (ranks, left, right) = ((c.rank(a), c.rank(b)), a, b);
    let left = if ranks.0 == 1 { c.unsqueeze(left, &[0])? } else { left };
    let right = if ranks.1 == 1 { c.unsqueeze(right, &[1])? } else { right };
    let mut y = c.op(Op::MatMulInteger {}, &[left, right, a_zero, b_zero])?;
    if ranks.1 == 1 {
        let axis = c.last_axis(y)?;
        y = c.squeeze(y, &[axis])?;
    }
    if ranks.0 == 1 {
        let axis = c.rank(y) - if ranks.1 == 1 { 1 } else { 2 };
        y = c.squeeze(y, &[axis])?;
    }
    Ok(y)
}

fn zero_point(c: &mut Call, x: Value, zero: Option<Value>, rows: bool) -> Built {
    let element = c.element(x);
    let Some(zero) = zero else { return c.integer(element, 0) };
    match c.rank(zero) {
        1 if c.dim(zero, 0).is(1) => c.reshape(zero, vec![]),
        // One per row stands beside the columns' axis.
        1 if rows => c.unsqueeze(zero, &[1]),
        _ => Ok(zero),
    }
}

fn fused_matmul(c: &mut Call) -> Built<Vec<Value>> {
    let (a, b) = c.pair()?;
    let alpha = c.attributes.float_or("alpha", 1.0)?;
    let flag = |name: &str| c.attributes.flag(name, false);
    let (flip_a, flip_b) = (flag("transA")?, flag("transB")?);
    let (batch_a, batch_b) = (flag("transBatchA")?, flag("transBatchB")?);
    let a = if batch_a { batch_last(c, a)? } else { a };
    let b = if batch_b { batch_last(c, b)? } else { b };
    let a = if flip_a && c.rank(a) > 1 { c.transpose_last(a)? } else { a };
    let b = if flip_b && c.rank(b) > 1 { c.transpose_last(b)? } else { b };
    let y = product(c, a, b)?;
    Ok(vec![c.scale(y, alpha.into())?])
}

/// `[m, batch…, k]` to `[batch…, m, k]`.
fn batch_last(c: &mut Call, x: Value) -> Built {
    let rank = c.rank(x);
    if rank < 2 {
        return Err(mismatch(format!("an operand with a batch has at least 2 axes, but this has {rank}")));
    }
    let mut permutation: Vec<usize> = (1..rank - 1).collect();
    permutation.extend([0, rank - 1]);
    c.transpose(x, &permutation)
}

fn fused_gemm(c: &mut Call) -> Built<Vec<Value>> {
    let name = c.attributes.text_or("activation", "")?.to_string();
    let (alpha, beta) = (c.attributes.float("activation_alpha")?, c.attributes.float("activation_beta")?);
    let y = gemm(c)?;
    Ok(vec![activation::named(c, y[0], &name, alpha, beta)?])
}

fn gemm_fast_gelu(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(3)?;
    let (x, w, bias) = (c.input(0)?, c.input(1)?, c.optional(2));
    let y = product(c, x, w)?;
    let y = c.add_optional(y, bias)?;
    Ok(vec![c.unary(narae_isa::UnaryFunction::GeluTanh, y)?])
}
