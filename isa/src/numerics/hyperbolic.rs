//! sinh, cosh, tanh and their inverses, from expm1, exp and log1p. In: any f64. Out: the function; odd functions keep the sign of zero.

use super::{exp, expm1, log, log1p};

/// Hyperbolic sine.
#[inline(always)]
pub fn sinh(x: f64) -> f64 {
    let a = x.abs();
    let e = expm1(a);
    let near = 0.5 * (e + e / (e + 1.0));
    (if a < 700.0 { near } else { half_of_large_exp(a) }).copysign(x)
}

/// Hyperbolic cosine.
#[inline(always)]
pub fn cosh(x: f64) -> f64 {
    let a = x.abs();
    let e = exp(a);
    if a < 700.0 { 0.5 * (e + 1.0 / e) } else { half_of_large_exp(a) }
}

/// exp(a)/2 without an early overflow.
#[inline(always)]
fn half_of_large_exp(a: f64) -> f64 {
    let root = exp(0.5 * a);
    0.5 * root * root
}

/// Hyperbolic tangent.
#[inline(always)]
pub fn tanh(x: f64) -> f64 {
    let a = x.abs();
    // Above 20 the quotient is 1 to the last bit; the bound keeps infinity out of it.
    let e = expm1(2.0 * if a > 20.0 { 20.0 } else { a });
    let value = e / (e + 2.0);
    if x.is_nan() { x } else { value.copysign(x) }
}

/// Inverse hyperbolic sine.
#[inline(always)]
pub fn asinh(x: f64) -> f64 {
    let a = x.abs();
    let square = a * a;
    let near = log1p(a + square / (1.0 + (square + 1.0).sqrt()));
    let far = log(a) + std::f64::consts::LN_2;
    (if a < 1e9 { near } else { far }).copysign(x)
}

/// Inverse hyperbolic cosine; NaN below 1.
#[inline(always)]
pub fn acosh(x: f64) -> f64 {
    let t = x - 1.0;
    let near = log1p(t + (2.0 * t + t * t).sqrt());
    let far = log(x) + std::f64::consts::LN_2;
    if x < 1.0 {
        f64::NAN
    } else if x < 1e9 {
        near
    } else {
        far
    }
}

/// Inverse hyperbolic tangent; infinite at ±1, NaN outside.
#[inline(always)]
pub fn atanh(x: f64) -> f64 {
    let a = x.abs();
    let value = 0.5 * log1p(2.0 * a / (1.0 - a));
    (if a > 1.0 { f64::NAN } else { value }).copysign(x)
}
