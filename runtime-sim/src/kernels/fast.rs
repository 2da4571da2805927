//! The kernels over vector lanes and threads, bit-equal to [`super::plain`].
//!
//! In: dense slices and the instruction set to use. Out: dense slices. Rows of outputs are independent, so blocking and threads only
//! decide when a sum is computed, never its order.

use super::lanes::{Kernel, Lanes, dispatch, tree};
use narae_isa::numerics::{canonical_f32, exp, f32_of};
use pulp::Arch;
use rayon::prelude::*;

/// Work below this many multiply-adds stays on the calling thread: waking another one costs more.
const PARALLEL_WORK: usize = 1_000_000;

/// Splits rows among threads: calls `body(first row, rows)` for chunks of `out`, `width` numbers a row.
pub fn over_rows<T: Send>(out: &mut [T], width: usize, work_per_row: usize, body: impl Fn(usize, &mut [T]) + Sync) {
    let rows = out.len().checked_div(width).unwrap_or(0);
    let threads = rayon::current_num_threads();
    if threads < 2 || rows.saturating_mul(work_per_row) < 2 * PARALLEL_WORK {
        return body(0, out);
    }
    let chunk = rows.div_ceil(threads * 2).max(PARALLEL_WORK / work_per_row.max(1)).max(1);
    // Single numbers are dealt out in whole vectors.
    let chunk = if width == 1 { chunk.next_multiple_of(16) } else { chunk };
    out.par_chunks_mut(chunk * width).enumerate().for_each(|(i, part)| body(i * chunk, part));
}

/// out[t, n] = Σ_k x[t, k]·w[n, k] over rows of `k` numbers; see [`super::plain::matmul`].
pub fn matmul(arch: Arch, w: &[f32], k: usize, x: &[f32], out: &mut [f32], n: usize) {
    over_rows(out, n, k * n, |first, part| {
        let tokens = part.len().checked_div(n).unwrap_or(0);
        dispatch(arch, Matmul { w, k, x: &x[first * k..(first + tokens) * k], out: part, n });
    });
}

struct Matmul<'a> {
    w: &'a [f32],
    k: usize,
    x: &'a [f32],
    out: &'a mut [f32],
    n: usize,
}

impl Kernel for Matmul<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Matmul { w, k, x, out, n } = self;
        let tokens = out.len().checked_div(n).unwrap_or(0);
        // Four rows of w stay in the first-level cache while all tokens pass.
        for row in (0..n).step_by(4) {
            for token in (0..tokens).step_by(4) {
                let at = Block { k, row, token, n };
                match (n - row >= 4, tokens - token >= 4) {
                    (true, true) => block::<L, 4, 4>(lanes, w, x, out, at),
                    (true, false) => {
                        (token..tokens).for_each(|token| block::<L, 4, 1>(lanes, w, x, out, Block { token, ..at }))
                    }
                    (false, _) => {
                        for row in row..n {
                            (token..tokens.min(token + 4))
                                .for_each(|token| block::<L, 1, 1>(lanes, w, x, out, Block { row, token, ..at }));
                        }
                    }
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Block {
    k: usize,
    row: usize,
    token: usize,
    n: usize,
}

/// `R` rows of w × `T` tokens: each of the R·T sums has its own sixteen lanes.
#[inline(always)]
fn block<L: Lanes, const R: usize, const T: usize>(lanes: L, w: &[f32], x: &[f32], out: &mut [f32], at: Block) {
    let weights: [(&[[f32; 16]], &[f32]); R] =
        std::array::from_fn(|r| w[(at.row + r) * at.k..(at.row + r + 1) * at.k].as_chunks());
    let inputs: [(&[[f32; 16]], &[f32]); T] =
        std::array::from_fn(|t| x[(at.token + t) * at.k..(at.token + t + 1) * at.k].as_chunks());
    let mut sums = [[lanes.splat(0.0); T]; R];
    for i in 0..at.k / 16 {
        let xs: [L::V; T] = std::array::from_fn(|t| lanes.load(&inputs[t].0[i]));
        for r in 0..R {
            let wv = lanes.load(&weights[r].0[i]);
            for t in 0..T {
                sums[r][t] = lanes.mul_add(xs[t], wv, sums[r][t]);
            }
        }
    }
    for r in 0..R {
        for t in 0..T {
            let mut partial = lanes.array(sums[r][t]);
            // The ragged end only reaches its own lanes: adding 0·w elsewhere could meet a NaN.
            for (l, (wv, xv)) in weights[r].1.iter().zip(inputs[t].1).enumerate() {
                partial[l] += xv * wv;
            }
            out[(at.token + t) * at.n + at.row + r] = canonical_f32(tree(partial));
        }
    }
}

/// Σ a\[i\]·b\[i\].
#[inline(always)]
pub fn dot<L: Lanes>(lanes: L, a: &[f32], b: &[f32]) -> f32 {
    let (a, a_tail) = a.as_chunks();
    let (b, b_tail) = b.as_chunks();
    let mut sum = lanes.splat(0.0);
    for (x, y) in a.iter().zip(b) {
        sum = lanes.mul_add(lanes.load(x), lanes.load(y), sum);
    }
    let mut partial = lanes.array(sum);
    for (l, (x, y)) in a_tail.iter().zip(b_tail).enumerate() {
        partial[l] += x * y;
    }
    tree(partial)
}

/// Σ a\[i\].
#[inline(always)]
pub fn sum<L: Lanes>(lanes: L, a: &[f32]) -> f32 {
    let (a, tail) = a.as_chunks();
    let mut sum = lanes.splat(0.0);
    for x in a {
        sum = lanes.add(sum, lanes.load(x));
    }
    let mut partial = lanes.array(sum);
    for (l, x) in tail.iter().enumerate() {
        partial[l] += x;
    }
    tree(partial)
}

/// The greatest element; see [`super::plain::maximum`]. The order does not matter, so sixteen lanes run side by side.
#[inline(always)]
pub fn maximum(x: &[f32]) -> f32 {
    let (chunks, tail) = x.as_chunks::<16>();
    let mut lanes = [f32::NEG_INFINITY; 16];
    for chunk in chunks {
        for (max, v) in lanes.iter_mut().zip(chunk) {
            *max = if *v > *max { *v } else { *max };
        }
    }
    tail.iter().chain(&lanes).fold(f32::NEG_INFINITY, |max, v| if *v > max { *v } else { max })
}

/// Softmax of one row; see [`super::plain::softmax`].
pub fn softmax(arch: Arch, x: &[f32], out: &mut [f32]) {
    dispatch(arch, Softmax { x, out });
}

struct Softmax<'a> {
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Softmax<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let max = maximum(self.x);
        for (o, v) in self.out.iter_mut().zip(self.x) {
            *o = f32_of(exp, *v - max);
        }
        let total = sum(lanes, self.out);
        for o in self.out.iter_mut() {
            *o = canonical_f32(*o / total);
        }
    }
}
