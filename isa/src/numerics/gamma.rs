//! The logarithm of the magnitude of the gamma function: Stirling's series above 10, reached by the recurrence, and the reflection formula
//! below one half. In: any f64. Out: log|Γ(x)|, infinite at the poles; absolute error about 1e-14.

use super::{horner, log, sin};

/// B(2k) / (2k (2k − 1)), k = 1 …: Stirling's series in 1/x².
const STIRLING: [f64; 8] = [
    1.0 / 12.0,
    -1.0 / 360.0,
    1.0 / 1260.0,
    -1.0 / 1680.0,
    1.0 / 1188.0,
    -691.0 / 360_360.0,
    1.0 / 156.0,
    -3617.0 / 122_400.0,
];
/// log(2π) / 2.
const HALF_LOG_TWO_PI: f64 = 0.918_938_533_204_672_7;

/// log|Γ(x)|.
pub fn log_gamma(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x.is_infinite() || (x <= 0.0 && x == x.floor()) {
        return f64::INFINITY;
    }
    if x < 0.5 {
        // Γ(x)·Γ(1 − x) = π / sin(πx); the argument is reduced modulo 2 first, where π·x is still exact enough.
        let sine = sin(std::f64::consts::PI * (x % 2.0)).abs();
        return log(std::f64::consts::PI / sine) - log_gamma(1.0 - x);
    }
    let (mut product, mut shifted) = (1.0, x);
    while shifted < 10.0 {
        product *= shifted;
        shifted += 1.0;
    }
    let inverse = 1.0 / shifted;
    let series = inverse * horner(inverse * inverse, &STIRLING);
    (shifted - 0.5) * log(shifted) - shifted + HALF_LOG_TWO_PI + series - log(product)
}
