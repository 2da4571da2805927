//! The matrix engine: products with streamed weights, batched products, exact integer products, convolutions.

use super::number::{Number, with_arithmetic};
use super::{Context, Fault, Flow, require};
use crate::kernels::linear::Packed;
use crate::kernels::{linear as packed, lut};
use crate::state::{Arithmetic, Space, View};
use narae_isa::descriptor::WindowParameters;
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
fn finish<N: Number>(c: &mut Context<'_>, out: &View, mut result: Vec<N>, accumulate: bool) -> Result<Flow, Fault> {
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
    let centred = |c: &Context<'_>, view: &View, zero: Option<View>| -> Result<Vec<i128>, Fault> {
        let mut values = i128::load(c.memory, view)?;
        if let Some(zero) = zero {
            let zeros = i128::load(c.memory, &zero)?;
            require(zeros.len() == values.len(), || {
                "the zero points do not have the dims of their operand".to_string()
            })?;
            values.iter_mut().zip(zeros).for_each(|(v, z)| *v -= z);
        }
        Ok(values)
    };
    let (a_zero, b_zero) = (c.optional_view(row.a_zero)?, c.optional_view(row.b_zero)?);
    let a = centred(c, &a, a_zero)?;
    let b = centred(c, &transposed(&b), b_zero.as_ref().map(transposed))?;
    let result = batched::<i128>(c, out.len(), dims, &a, &b);
    finish(c, &out, result, row.accumulate)
}

pub(super) fn conv(c: &mut Context<'_>, row: &Convolution) -> Result<Flow, Fault> {
    let (out, x, w, bias) = (c.view(row.out)?, c.view(row.x)?, c.view(row.w)?, c.optional_view(row.bias)?);
    let (x_zero, w_zero, window) = (c.optional_view(row.x_zero)?, c.optional_view(row.w_zero)?, c.window(row.window)?);
    let spatial = x.rank.wrapping_sub(3);
    let fits = (1..=3).contains(&spatial)
        && out.rank == x.rank
        && w.rank == x.rank
        && out.dims[0] == x.dims[0]
        && out.dims[1] == x.dims[1];
    let fits = fits && w.dims[0] == x.dims[1] && w.dims[1] == out.dims[2] && w.dims[2] == x.dims[2];
    require(fits, || format!("x {:?} convolved with w {:?} does not give {:?}", x.dims(), w.dims(), out.dims()))?;
    require(window.stride.iter().chain(&window.input_dilation).all(|v| *v > 0), || {
        "strides and input dilations are at least 1".to_string()
    })?;
    with_arithmetic!(Arithmetic::of(&[x.element, w.element]), N => {
        let centred = |view: &View, zero: Option<View>| -> Result<Vec<N>, Fault> {
            let mut values = N::load(c.memory, view)?;
            if let Some(zero) = zero {
                let zeros = N::load(c.memory, &zero)?;
                values.iter_mut().zip(zeros).for_each(|(v, z)| *v = v.sub(z));
            }
            Ok(values)
        };
        let (xs, ws) = (centred(&x, x_zero)?, centred(&w, w_zero)?);
        let bias = bias.map(|bias| N::load(c.memory, &bias)).transpose()?;
        require(bias.as_ref().is_none_or(|bias| bias.len() == w.dims[0] * w.dims[1]), || "the bias has the dims [G, M]".to_string())?;
        let mut result = vec![N::default(); out.len()];
        let geometry = Geometry { x: &x, w: &w, out: &out, window: &window, spatial };
        geometry.run(c, &xs, &ws, bias.as_deref(), &mut result);
        finish(c, &out, result, row.accumulate)
    })
}

struct Geometry<'a> {
    x: &'a View,
    w: &'a View,
    out: &'a View,
    window: &'a WindowParameters<i32>,
    spatial: usize,
}

impl Geometry<'_> {
    fn run<N: Number>(&self, c: &Context<'_>, x: &[N], w: &[N], bias: Option<&[N]>, out: &mut [N]) {
        let (groups, outputs) = (self.out.dims[1], self.out.dims[2]);
        let image: usize = self.x.dims()[2..].iter().product();
        let positions: usize = self.out.dims()[3..].iter().product();
        let terms: usize = self.w.dims()[2..].iter().product();
        if terms == 0 || positions == 0 {
            return;
        }
        // Few positions at a time keep the patches in the cache.
        let chunk = 65536usize.div_ceil(terms).min(positions);
        let mut patches = vec![N::default(); chunk * terms];
        let mut products = vec![N::default(); chunk * outputs];
        for ng in 0..self.out.dims[0] * groups {
            let (x, g) = (&x[ng * image..(ng + 1) * image], ng % groups);
            for first in (0..positions).step_by(chunk) {
                let count = chunk.min(positions - first);
                for (i, patch) in patches.chunks_exact_mut(terms).take(count).enumerate() {
                    self.patch(x, first + i, patch);
                }
                N::rows_product(
                    c.arch,
                    terms,
                    &patches[..count * terms],
                    &w[g * outputs * terms..(g + 1) * outputs * terms],
                    &mut products[..count * outputs],
                    outputs,
                );
                for (i, row) in products.chunks_exact(outputs.max(1)).take(count).enumerate() {
                    for (m, value) in row.iter().enumerate() {
                        let biased = bias.map_or(*value, |bias| value.add(bias[g * outputs + m]));
                        out[(ng * outputs + m) * positions + first + i] = biased;
                    }
                }
            }
        }
    }

    /// The elements under the window at an output position, row-major over (c, q…); zeros outside.
    fn patch<N: Number>(&self, x: &[N], position: usize, patch: &mut [N]) {
        let sizes = |view: &View| -> [usize; 3] {
            std::array::from_fn(|i| if i < self.spatial { view.dims[3 + i] } else { 1 })
        };
        let (input, kernel, output) = (sizes(self.x), sizes(self.w), sizes(self.out));
        let mut rest = position;
        let mut p = [0usize; 3];
        for axis in (0..self.spatial).rev() {
            p[axis] = rest % output[axis];
            rest /= output[axis];
        }
        let place = |axis: usize, q: usize| -> Option<usize> {
            let w = self.window;
            let at = p[axis] as i64 * i64::from(w.stride[axis]) + q as i64 * i64::from(w.dilation[axis])
                - i64::from(w.pad_before[axis]);
            let step = i64::from(w.input_dilation[axis]);
            let inside = at >= 0 && at % step == 0 && at / step < input[axis] as i64;
            inside.then_some((at / step) as usize)
        };
        let (image, mut at) = (input[0] * input[1] * input[2], 0);
        for channel in 0..self.x.dims[2] {
            for q0 in 0..kernel[0] {
                for q1 in 0..kernel[1] {
                    for q2 in 0..kernel[2] {
                        patch[at] = match (
                            place(0, q0),
                            place_or_zero(self.spatial, 1, &place, q1),
                            place_or_zero(self.spatial, 2, &place, q2),
                        ) {
                            (Some(a), Some(b), Some(d)) => x[channel * image + (a * input[1] + b) * input[2] + d],
                            _ => N::default(),
                        };
                        at += 1;
                    }
                }
            }
        }
    }
}

/// Axes beyond the spatial rank have one place.
fn place_or_zero(
    spatial: usize,
    axis: usize,
    place: &impl Fn(usize, usize) -> Option<usize>,
    q: usize,
) -> Option<usize> {
    if axis < spatial { place(axis, q) } else { Some(0) }
}
