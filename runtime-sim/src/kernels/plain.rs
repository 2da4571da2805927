//! What the kernels compute, in the plainest form: loops over single numbers.
//!
//! In: dense slices. Out: dense slices. This is the definition that `fast` and `attention` are tested against, bit for bit.

use super::lanes;
use narae_isa::numerics::{canonical_f32, exp, f32_of};

/// Σ a\[i\]·b\[i\]: partial sum i mod 16 takes the rounded product of each i, ascending, from +0; then the binary tree.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut partial = [0f32; 16];
    for (i, (x, y)) in a.iter().zip(b).enumerate() {
        partial[i % 16] += x * y;
    }
    lanes::tree(partial)
}

/// Σ a\[i\]: sixteen strided partial sums from +0, then the binary tree.
pub fn sum(a: &[f32]) -> f32 {
    let mut partial = [0f32; 16];
    for (i, x) in a.iter().enumerate() {
        partial[i % 16] += x;
    }
    lanes::tree(partial)
}

/// out[t, n] = Σ_k x[t, k]·w[n, k] over rows of `k` numbers.
pub fn matmul(w: &[f32], k: usize, x: &[f32], out: &mut [f32], n: usize) {
    for (t, row) in out.chunks_exact_mut(n).enumerate() {
        for (i, o) in row.iter_mut().enumerate() {
            *o = canonical_f32(dot(&x[t * k..(t + 1) * k], &w[i * k..(i + 1) * k]));
        }
    }
}

/// exp(x − max) / Σ exp(x − max), each step rounded to f32.
pub fn softmax(x: &[f32], out: &mut [f32]) {
    let max = maximum(x);
    for (o, v) in out.iter_mut().zip(x) {
        *o = f32_of(exp, *v - max);
    }
    let total = sum(out);
    for o in out.iter_mut() {
        *o = canonical_f32(*o / total);
    }
}

/// The greatest element, −∞ of nothing; a NaN is passed over (it reaches the result through the exponential).
pub fn maximum(x: &[f32]) -> f32 {
    x.iter().fold(f32::NEG_INFINITY, |max, v| if *v > max { *v } else { max })
}
