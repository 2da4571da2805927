//! The written transcendental functions of the machine: sequences of IEEE operations, never the host's libm.
//!
//! Every function is written once, in f64, from additions, multiplications, divisions, square roots, bit moves and (only where an exact
//! product is needed) fused multiply-adds. Nothing depends on the host, its instruction set or the optimiser, because Rust never contracts or
//! reassociates. The f32 form of a function ([`f32_of`]) widens its argument exactly, runs the f64 sequence and rounds once to nearest even;
//! its error is therefore below 0.501 units in the last place. The f64 forms are good to about two units in the last place.
//!
//! A result that is not a number is the canonical NaN: positive, quiet, payload zero ([`canonical_f32`], [`canonical_f64`]).
//! The sequences without loops are `inline(always)`, so that the kernels of the simulator vectorise them.

#![allow(
    clippy::approx_constant,
    reason = "coefficients of a written sequence are written out, also where they happen to be known constants"
)]

mod erf;
mod evaluate;
mod exp;
mod gamma;
mod hyperbolic;
mod inverse_trig;
mod log;
mod pow;
mod trig;

pub use erf::{erf, erfc};
pub use evaluate::{
    binary_f32, binary_f32_slice, binary_f64, binary_integer, compare, rsqrt_f32, unary_f32, unary_f32_slice,
    unary_f64, unary_integer,
};
pub use exp::{exp, exp2, expm1};
pub use gamma::log_gamma;
pub use hyperbolic::{acosh, asinh, atanh, cosh, sinh, tanh};
pub use inverse_trig::{acos, asin, atan, atan2};
pub use log::{log, log1p, log2};
pub use pow::{pow, pow_f32};
pub use trig::{cos, sin, tan};

pub use crate::element::{canonical_f32, canonical_f64};

/// The f32 form of a written f64 function: widen, run, round once, canonical NaN.
#[inline(always)]
pub fn f32_of(function: impl Fn(f64) -> f64, x: f32) -> f32 {
    canonical_f32(function(f64::from(x)) as f32)
}

/// 1 / sqrt(x).
#[inline(always)]
pub fn rsqrt(x: f64) -> f64 {
    1.0 / x.sqrt()
}

/// 1 / (1 + exp(-x)), written without overflow and without loss for negative arguments.
#[inline(always)]
pub fn sigmoid(x: f64) -> f64 {
    let e = exp(-x.abs());
    let numerator = if x < 0.0 { e } else { 1.0 };
    numerator / (1.0 + e)
}

/// log(1 + exp(x)), written as max(x, 0) + log1p(exp(-|x|)).
#[inline(always)]
pub fn softplus(x: f64) -> f64 {
    let positive = if x > 0.0 { x } else { 0.0 };
    let sum = positive + log1p(exp(-x.abs()));
    if x.is_nan() { x } else { sum }
}

/// x · sigmoid(x).
#[inline(always)]
pub fn silu(x: f64) -> f64 {
    // At minus infinity the product would be (-inf)·0; the limit is -0.
    if x == f64::NEG_INFINITY { -0.0 } else { x * sigmoid(x) }
}

/// x · Φ(x), the exact GELU: 0.5 · x · erfc(-x / √2).
#[inline(always)]
pub fn gelu(x: f64) -> f64 {
    let tail = erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
    if x == f64::NEG_INFINITY { -0.0 } else { 0.5 * x * tail }
}

/// The tanh approximation of GELU: 0.5 · x · (1 + tanh(√(2/π) · (x + 0.044715 x³))), computed as x · sigmoid(2u).
#[inline(always)]
pub fn gelu_tanh(x: f64) -> f64 {
    const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;
    let inner = SQRT_2_OVER_PI * (x + 0.044715 * x * x * x);
    if x == f64::NEG_INFINITY { -0.0 } else { x * sigmoid(2.0 * inner) }
}

/// Evaluates c\[0\] + c\[1\]·x + c\[2\]·x² + … by Horner's rule, one multiplication and one addition a step.
#[inline(always)]
fn horner<const N: usize>(x: f64, coefficients: &[f64; N]) -> f64 {
    let mut sum = coefficients[N - 1];
    let mut i = N - 1;
    while i > 0 {
        i -= 1;
        sum = sum * x + coefficients[i];
    }
    sum
}

#[cfg(test)]
mod tests;
