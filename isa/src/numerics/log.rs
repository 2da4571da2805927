//! log, log2, log1p: split off the exponent so that the mantissa lies in [√½, √2), then the series of 2·atanh(f / (2 + f)).
//! In: any f64. Out: the function; log of zero is minus infinity, of a negative number NaN.

use super::horner;

/// ln 2 in two parts; the upper one has 42 bits, so that its product with an exponent is exact.
const LN2_HIGH: f64 = 0.693_147_180_559_890_3;
const LN2_LOW: f64 = 5.497_923_018_708_371e-14;

/// 2/(2k+3), k = 0 …: the series of 2·atanh(s)/s − 2, divided by s².
const ATANH: [f64; 10] = [
    2.0 / 3.0,
    2.0 / 5.0,
    2.0 / 7.0,
    2.0 / 9.0,
    2.0 / 11.0,
    2.0 / 13.0,
    2.0 / 15.0,
    2.0 / 17.0,
    2.0 / 19.0,
    2.0 / 21.0,
];

/// Natural logarithm.
#[inline(always)]
pub fn log(x: f64) -> f64 {
    let (m, e) = split(x);
    let (f, correction) = log_mantissa(m);
    special(x, e * LN2_HIGH - ((correction - e * LN2_LOW) - f))
}

/// Logarithm to base 2; exact for powers of two.
#[inline(always)]
pub fn log2(x: f64) -> f64 {
    let (m, e) = split(x);
    let (f, correction) = log_mantissa(m);
    special(x, e + (f - correction) * std::f64::consts::LOG2_E)
}

/// log(1 + x) without cancellation near zero: the rounding error of 1 + x is put back to first order.
#[inline(always)]
pub fn log1p(x: f64) -> f64 {
    let u = 1.0 + x;
    let value = log(u) + (x - (u - 1.0)) / u;
    // Zero keeps its sign; at -1 and at infinity the correction would be NaN.
    if x == 0.0 || x == f64::INFINITY {
        x
    } else if x == -1.0 {
        f64::NEG_INFINITY
    } else {
        value
    }
}

/// `x = m · 2^e` with m in [√½, √2). Meaningless for zero, negatives, infinities and NaN: [`special`] replaces those.
#[inline(always)]
pub(super) fn split(x: f64) -> (f64, f64) {
    const SQRT_HALF: u64 = 0x3FE6_A09E_667F_3BCD;
    let subnormal = x < f64::MIN_POSITIVE;
    let scaled = if subnormal { x * 18_014_398_509_481_984.0 } else { x };
    let bits = scaled.to_bits();
    let exponent = (bits.wrapping_sub(SQRT_HALF) as i64) >> 52;
    let m = f64::from_bits(bits.wrapping_sub((exponent as u64) << 52));
    (m, exponent as f64 - if subnormal { 54.0 } else { 0.0 })
}

/// log(m) = f − correction, with f = m − 1 exact and the correction of order f².
#[inline(always)]
fn log_mantissa(m: f64) -> (f64, f64) {
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let half_square = 0.5 * f * f;
    (f, half_square - s * (half_square + z * horner(z, &ATANH)))
}

#[inline(always)]
fn special(x: f64, value: f64) -> f64 {
    if x > 0.0 && x < f64::INFINITY {
        value
    } else if x == 0.0 {
        f64::NEG_INFINITY
    } else if x > 0.0 {
        x
    } else {
        f64::NAN
    }
}

/// log(x) as an unevaluated sum (high, low) with a relative error near 2^-64, for a positive finite `x`.
pub(super) fn log_double(x: f64) -> (f64, f64) {
    /// 2/3 and ln 2 as double-doubles.
    const TWO_THIRDS: (f64, f64) = (0.666_666_666_666_666_6, 3.700_743_415_417_188e-17);
    const LN2: (f64, f64) = (0.693_147_180_559_945_3, 2.319_046_813_846_299_6e-17);
    let (m, e) = split(x);
    let f = m - 1.0;
    let d = 2.0 + f;
    let d_low = f - (d - 2.0);
    let s = f / d;
    let s_low = (s.mul_add(-d, f) - s * d_low) / d;
    let (z, z_low) = multiply((s, s_low), (s, s_low));
    let cubic = multiply(multiply((z, z_low), (s, s_low)), TWO_THIRDS);
    let rest = s * z * z * (horner(z, &ATANH) - ATANH[0]) / z.max(f64::MIN_POSITIVE);
    let mantissa = add(add((2.0 * s, 2.0 * s_low), cubic), (rest, 0.0));
    add(multiply((e, 0.0), LN2), mantissa)
}

/// Product of two double-doubles.
pub(super) fn multiply(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    let high = a.0 * b.0;
    let low = a.0.mul_add(b.0, -high) + (a.0 * b.1 + a.1 * b.0);
    let sum = high + low;
    (sum, low - (sum - high))
}

/// Sum of two double-doubles.
fn add(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    let high = a.0 + b.0;
    let back = high - a.0;
    let low = (a.0 - (high - back)) + (b.0 - back) + (a.1 + b.1);
    let sum = high + low;
    (sum, low - (sum - high))
}
