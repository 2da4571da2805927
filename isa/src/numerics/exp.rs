//! exp, exp2 and expm1: reduce to |r| ≤ ln2/2, a Taylor polynomial, scale by a power of two in two exact steps.
//! In: any f64. Out: the function, gradual underflow and overflow to infinity included; NaN stays NaN.

use super::horner;

/// Adding and subtracting 1.5·2^52 rounds to the nearest integer (ties to even) and leaves that integer in the low bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;
/// ln 2 in two parts; the upper one has 32 bits, so that its product with an 11-bit integer is exact.
const LN2_HIGH: f64 = 0.693_147_180_369_123_8;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// 1/k! for k = 2 … 13: the rest of the series after `r`.
const TAYLOR: [f64; 12] = [
    1.0 / 2.0,
    1.0 / 6.0,
    1.0 / 24.0,
    1.0 / 120.0,
    1.0 / 720.0,
    1.0 / 5040.0,
    1.0 / 40320.0,
    1.0 / 362_880.0,
    1.0 / 3_628_800.0,
    1.0 / 39_916_800.0,
    1.0 / 479_001_600.0,
    1.0 / 6_227_020_800.0,
];

/// e to the power `x`.
#[inline(always)]
pub fn exp(x: f64) -> f64 {
    exp_of_sum(x, 0.0)
}

/// e to the power `x + low`, where `low` is small against 1 (it is added after the reduction).
#[inline(always)]
pub(super) fn exp_of_sum(x: f64, low: f64) -> f64 {
    let x = x.clamp(-746.0, 710.0);
    let (n, k) = nearest_integer(x * std::f64::consts::LOG2_E);
    let r = ((x - n * LN2_HIGH) - n * LN2_LOW) + low;
    scale(1.0 + expm1_reduced(r), k)
}

/// 2 to the power `x`; exact where `x` is an integer.
#[inline(always)]
pub fn exp2(x: f64) -> f64 {
    let x = x.clamp(-1080.0, 1030.0);
    let (n, k) = nearest_integer(x);
    scale(1.0 + expm1_reduced((x - n) * std::f64::consts::LN_2), k)
}

/// e to the power `x`, minus 1, without cancellation near zero.
#[inline(always)]
pub fn expm1(x: f64) -> f64 {
    let clamped = x.clamp(-60.0, 710.0);
    let (n, k) = nearest_integer(clamped * std::f64::consts::LOG2_E);
    let r = (clamped - n * LN2_HIGH) - n * LN2_LOW;
    // Half the scale keeps 2^1024 representable; doubling at the end is exact.
    let half = power_of_two(k - 1);
    let sum = 2.0 * (half * expm1_reduced(r) + (half - 0.5));
    if x == 0.0 { x } else { sum }
}

/// exp(r) - 1 for |r| ≤ 0.35.
#[inline(always)]
fn expm1_reduced(r: f64) -> f64 {
    r + r * r * horner(r, &TAYLOR)
}

/// The nearest integer to `x` (|x| < 2^50), as a float and as an integer.
#[inline(always)]
pub(super) fn nearest_integer(x: f64) -> (f64, i64) {
    let shifted = x + ROUNDER;
    (shifted - ROUNDER, shifted.to_bits().wrapping_sub(ROUNDER.to_bits()) as i64)
}

/// 2^k for -1022 ≤ k ≤ 1023 (other k give garbage bits, which only a NaN argument can cause).
#[inline(always)]
fn power_of_two(k: i64) -> f64 {
    f64::from_bits((k.wrapping_add(1023) as u64) << 52)
}

/// `v · 2^k`, rounded once.
#[inline(always)]
pub(super) fn scale(v: f64, k: i64) -> f64 {
    let half = k >> 1;
    v * power_of_two(half) * power_of_two(k - half)
}
