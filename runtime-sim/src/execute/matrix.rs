//! The matrix engine: products with streamed weights, batched products, exact integer products. Convolutions have a file of their own.

use super::number::{Number, with_arithmetic};
use super::{Context, Fault, Flow, require};
use crate::kernels::linear::Packed;
use crate::kernels::{linear as packed, lut};
use crate::state::{Arithmetic, Space, View};
use narae_isa::instructions::*;
use narae_isa::{Overflow, WeightFormat};

/// out = x · wᵀ for every token, on f32 rows.
pub(super) fn product(c: &Context<'_>, weight: Packed<'_>, x: &[f32], out: &mut [f32]) {
    match weight.format {
        WeightFormat::Float(kind) => packed::fast(c.arch, kind, weight, x, out),
        WeightFormat::Uniform { kind, group, scale } => {
            lut::fast(c.arch, lut::Codes { kind, group, scale }, weight, x, out)
        }
    }
}

pub(super) fn linear(c: &mut Context<'_>, row: &Linear) -> Result<Flow, Fault> {
    let (out, x, weight, bias) = (c.view(row.out)?, c.view(row.x)?, c.weight(row.weight)?, c.optional_view(row.bias)?);
    let (n, k) = (weight.outputs as usize, weight.inputs as usize);
    let leading = x.rank.saturating_sub(1);
    let fits = out.rank == x.rank
        && x.rank >= 1
        && out.dims[..leading] == x.dims[..leading]
        && x.dims[leading] == k
        && out.dims[leading] == n;
    require(fits, || format!("x {:?} times a weight [{n}, {k}] does not give {:?}", x.dims(), out.dims()))?;
    let streamed = c.weights.pop_front();
    require(streamed.is_some_and(|s| s == weight), || match streamed {
        Some(s) => format!(
            "the FIFO holds the weight at {:#x} ({}), this instruction wants the one at {:#x} ({})",
            s.base, s.format, weight.base, weight.format
        ),
        None => "the weight FIFO is empty".to_string(),
    })?;
    let x = f32::load(c.memory, &x)?;
    let mut result = vec![0f32; x.len().checked_div(k).unwrap_or_else(|| out.len().checked_div(n).unwrap_or(0)) * n];
    let bytes = c.memory.bytes(Space::Dram, weight.base, weight.packed_bytes())?;
    product(c, Packed { format: weight.format, outputs: n, inputs: k, bytes }, &x, &mut result);
    if let Some(bias) = bias {
        require(bias.rank == 1 && bias.dims[0] == n, || format!("a bias {:?} for {n} outputs", bias.dims()))?;
        let bias = f32::load(c.memory, &bias)?;
        result.chunks_exact_mut(n.max(1)).for_each(|row| row.iter_mut().zip(&bias).for_each(|(o, b)| *o += b));
    }
    finish(c, &out, result, row.accumulate)
}

/// Adds what was there, if asked to, and stores.
pub(super) fn finish<N: Number>(
    c: &mut Context<'_>,
    out: &View,
    mut result: Vec<N>,
    accumulate: bool,
) -> Result<Flow, Fault> {
    if accumulate {
        let old = N::load(c.memory, out)?;
        result.iter_mut().zip(old).for_each(|(o, old)| *o = old.add(*o));
    }
    N::store(c.memory, out, &result, Overflow::Wrap)?;
    Ok(Flow::Next)
}

/// The views of a batched product: leading dims agree, [M, K] × [K, N] = [M, N].
fn check_product(out: &View, a: &View, b: &View) -> Result<(usize, usize, usize), Fault> {
    let r = out.rank;
    let fits = r >= 2
        && a.rank == r
        && b.rank == r
        && out.dims[..r - 2] == a.dims[..r - 2]
        && out.dims[..r - 2] == b.dims[..r - 2];
    let fits =
        fits && a.dims[r - 2] == out.dims[r - 2] && b.dims[r - 1] == out.dims[r - 1] && a.dims[r - 1] == b.dims[r - 2];
    require(fits, || format!("a {:?} times b {:?} does not give {:?}", a.dims(), b.dims(), out.dims()))?;
    Ok((out.dims[r - 2], out.dims[r - 1], a.dims[r - 1]))
}

/// The view with its last two axes exchanged.
fn transposed(view: &View) -> View {
    let mut order: Vec<usize> = (0..view.rank).collect();
    order.swap(view.rank - 2, view.rank - 1);
    view.permuted(&order)
}

pub(super) fn matmul(c: &mut Context<'_>, row: &Matmul) -> Result<Flow, Fault> {
    let (out, a, b, bias) = (c.view(row.out)?, c.view(row.a)?, c.view(row.b)?, c.optional_view(row.bias)?);
    with_arithmetic!(Arithmetic::of(&[a.element, b.element]), N => {
        let dims = check_product(&out, &a, &b)?;
        let mut result = batched::<N>(c, out.len(), dims, &N::load(c.memory, &a)?, &N::load(c.memory, &transposed(&b))?);
        if let Some(bias) = bias {
            super::same_dims(&[("out", &out), ("bias", &bias)])?;
            let bias = N::load(c.memory, &bias)?;
            result.iter_mut().zip(bias).for_each(|(o, b)| *o = o.add(b));
        }
        finish(c, &out, result, row.accumulate)
    })
}

/// Products of matrices [M, K] and [N, K] for every batch, `count` elements in all; sums over no terms are 0.
fn batched<N: Number>(c: &Context<'_>, count: usize, (m, n, k): (usize, usize, usize), a: &[N], b: &[N]) -> Vec<N> {
    let batches = a.len().checked_div(m * k).unwrap_or(0);
    let mut result = vec![N::default(); count];
    for batch in 0..batches {
        let (a, b) = (&a[batch * m * k..(batch + 1) * m * k], &b[batch * n * k..(batch + 1) * n * k]);
        N::rows_product(c.arch, k, a, b, &mut result[batch * m * n..(batch + 1) * m * n], n);
    }
    result
}

pub(super) fn matmulint(c: &mut Context<'_>, row: &MatmulInteger) -> Result<Flow, Fault> {
    let (out, a, b) = (c.view(row.out)?, c.view(row.a)?, c.view(row.b)?);
    let dims = check_product(&out, &a, &b)?;
    let (a_zero, b_zero) = (c.optional_view(row.a_zero)?, c.optional_view(row.b_zero)?);
    for (operand, zero) in [(("a", &a), &a_zero), (("b", &b), &b_zero)] {
        if let Some(zero) = zero {
            super::same_dims(&[operand, ("its zero points", zero)])?;
        }
    }
    let centred = |c: &Context<'_>, view: &View, zero: Option<View>| -> Result<Vec<i128>, Fault> {
        let mut values = i128::load(c.memory, view)?;
        if let Some(zero) = zero {
            let zeros = i128::load(c.memory, &zero)?;
            values.iter_mut().zip(zeros).for_each(|(v, z)| *v -= z);
        }
        Ok(values)
    };
    let a = centred(c, &a, a_zero)?;
    let b = centred(c, &transposed(&b), b_zero.as_ref().map(transposed))?;
    let result = batched::<i128>(c, out.len(), dims, &a, &b);
    finish(c, &out, result, row.accumulate)
}
