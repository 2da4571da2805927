//! pow: small integer exponents by multiplication, all others as exp(y · log|x|) with the product kept as a double-double.
//! In: any pair. Out: the function with IEEE 754's special cases (pow(x, 0) = 1 even for NaN, a negative base with a fractional exponent is NaN).

use super::exp::exp_of_sum;
use super::log::{log_double, multiply};
use super::{canonical_f32, log};

/// `x` to the power `y` in f64.
pub fn pow(x: f64, y: f64) -> f64 {
    if let Some(value) = special(x, y) {
        return value;
    }
    let log = log_double(x.abs());
    let (high, low) = multiply(log, (y, 0.0));
    with_sign(x, y, if high.is_finite() && high.abs() < 800.0 { exp_of_sum(high, low) } else { saturated(high) })
}

/// `x` to the power `y` in f32: the f64 logarithm is precise enough, the result is rounded once.
pub fn pow_f32(x: f32, y: f32) -> f32 {
    let (x, y) = (f64::from(x), f64::from(y));
    let value = match special(x, y) {
        Some(value) => value,
        None => with_sign(x, y, super::exp(y * log(x.abs()))),
    };
    canonical_f32(value as f32)
}

/// The cases that need no logarithm.
fn special(x: f64, y: f64) -> Option<f64> {
    if y == 0.0 || x == 1.0 {
        return Some(1.0);
    }
    if x.is_nan() || y.is_nan() {
        return Some(f64::NAN);
    }
    if y.is_infinite() {
        let grows = (x.abs() > 1.0) == (y > 0.0);
        return Some(if x.abs() == 1.0 { 1.0 } else { if grows { f64::INFINITY } else { 0.0 } });
    }
    if x == 0.0 || x.is_infinite() {
        let large = x.is_infinite() == (y > 0.0);
        return Some(with_sign(x, y, if large { f64::INFINITY } else { 0.0 }));
    }
    if x < 0.0 && y != y.trunc() {
        return Some(f64::NAN);
    }
    if y.abs() <= 4.0 && y == y.trunc() {
        return Some(small_integer_power(x, y));
    }
    if y == 0.5 {
        return Some(x.sqrt());
    }
    None
}

/// x^y for an integer |y| ≤ 4: products from left to right, then one reciprocal.
fn small_integer_power(x: f64, y: f64) -> f64 {
    let square = x * x;
    let value = match y.abs() as i64 {
        1 => x,
        2 => square,
        3 => square * x,
        _ => square * square,
    };
    if y < 0.0 { 1.0 / value } else { value }
}

/// A negative base with an odd integer exponent gives a negative power.
fn with_sign(x: f64, y: f64, magnitude: f64) -> f64 {
    let odd = y == y.trunc() && (y * 0.5) != (y * 0.5).trunc();
    if x.is_sign_negative() && odd { -magnitude } else { magnitude }
}

/// The power where its logarithm is far out of range.
fn saturated(log: f64) -> f64 {
    if log > 0.0 { f64::INFINITY } else { 0.0 }
}
