//! atan, asin, acos: atan on [0, 1] from the nearest of nine table points k/8 and a short series; asin and acos through atan.
//! In: any f64. Out: the function; asin and acos are NaN outside [-1, 1].

use super::{exp::nearest_integer, horner};
use std::f64::consts::FRAC_PI_2;

/// What π/2 as f64 lacks.
const HALF_PI_LOW: f64 = 6.123_233_995_736_766e-17;

/// atan(k/8) in two parts.
const TABLE: [(f64, f64); 9] = [
    (0.0, 0.0),
    (0.12435499454676144, -3.1253241424539383e-18),
    (0.24497866312686414, 1.0698755618734451e-17),
    (0.35877067027057225, -2.4623815582638635e-17),
    (0.4636476090008061, 2.2698777452961687e-17),
    (0.5585993153435624, -5.4556305485916264e-18),
    (0.6435011087932844, 1.5834785051444286e-17),
    (0.7188299996216245, -2.1478388444456983e-17),
    (std::f64::consts::FRAC_PI_4, 3.061616997868383e-17),
];

/// (−1)^k / (2k + 1) from k = 1.
const SERIES: [f64; 7] = [-1.0 / 3.0, 1.0 / 5.0, -1.0 / 7.0, 1.0 / 9.0, -1.0 / 11.0, 1.0 / 13.0, -1.0 / 15.0];

/// Inverse tangent.
pub fn atan(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    let a = x.abs();
    let value = if a > 1.0 { FRAC_PI_2 - (atan_unit(1.0 / a) - HALF_PI_LOW) } else { atan_unit(a) };
    value.copysign(x)
}

/// atan for 0 ≤ a ≤ 1.
fn atan_unit(a: f64) -> f64 {
    let (c, k) = nearest_integer(8.0 * a);
    let c = c / 8.0;
    let r = (a - c) / (1.0 + a * c);
    let z = r * r;
    let (high, low) = TABLE[k.clamp(0, 8) as usize];
    high + (r + (r * z * horner(z, &SERIES) + low))
}

/// The angle of the point (x, y), in (−π, π], with IEEE 754's rules for zeros and infinities.
pub fn atan2(y: f64, x: f64) -> f64 {
    if x.is_nan() || y.is_nan() {
        return f64::NAN;
    }
    let (a, b) = (y.abs(), x.abs());
    // The angle to the x axis, in the first quadrant.
    let angle = if a == 0.0 {
        0.0
    } else if b.is_infinite() {
        if a.is_infinite() { std::f64::consts::FRAC_PI_4 } else { 0.0 }
    } else if a <= b {
        atan_unit(a / b)
    } else {
        FRAC_PI_2 - (atan_unit(b / a) - HALF_PI_LOW)
    };
    let turned = if x.is_sign_negative() { std::f64::consts::PI - (angle - 2.0 * HALF_PI_LOW) } else { angle };
    turned.copysign(y)
}

/// Inverse sine.
pub fn asin(x: f64) -> f64 {
    let a = x.abs();
    if a > 1.0 || a.is_nan() {
        return f64::NAN;
    }
    atan(a / ((1.0 - a) * (1.0 + a)).sqrt()).copysign(x)
}

/// Inverse cosine.
pub fn acos(x: f64) -> f64 {
    if x.abs() > 1.0 || x.is_nan() {
        return f64::NAN;
    }
    2.0 * atan(((1.0 - x) / (1.0 + x)).sqrt())
}
