//! erf and erfc: the Maclaurin series below 1, exp(-x²) times a polynomial in (x − 3.75)/(x + 3.75) above.
//! In: any f64. Out: the function; both pieces are computed and one is selected, so that loops over them vectorise.

use super::{exp::exp_of_sum, horner};

/// (2/√π) · (−1)^k / (k! (2k + 1)).
const MACLAURIN: [f64; 21] = [
    1.1283791670955126,
    -0.37612638903183754,
    0.11283791670955126,
    -0.026866170645131252,
    0.005223977625442188,
    -0.0008548327023450853,
    0.00012055332981789664,
    -1.492565035840625e-05,
    1.6462114365889248e-06,
    -1.6365844691234924e-07,
    1.4807192815879218e-08,
    -1.2290555301717928e-09,
    9.422759064650411e-11,
    -6.7113668551641105e-12,
    4.4632242632864775e-13,
    -2.7835162072109215e-14,
    1.6342614095367152e-15,
    -9.063970842808673e-17,
    4.763348040515068e-18,
    -2.3784598852774293e-19,
    1.131218725924631e-20,
];

/// (x + 3.75) · exp(x²) · erfc(x) on 1 ≤ x ≤ 28 as a polynomial in u, where t = (x − 3.75)/(x + 3.75) = MIDDLE + u/INVERSE_HALF_WIDTH:
/// interpolated at the 21 Chebyshev points with 60 digits; the last Chebyshev coefficient is 4e-18 of the first.
const SCALED_TAIL: [f64; 21] = [
    1.0092408417717271,
    -0.5601710414026356,
    0.27658875283805806,
    -0.1203866789102554,
    0.045515198546500345,
    -0.014582646275637861,
    0.0037810876934816543,
    -0.0007128020110119887,
    6.257258226991242e-05,
    1.3399944890904364e-05,
    -5.933723989249668e-06,
    5.675554158665634e-07,
    2.0826575909614167e-07,
    -6.527332891640083e-08,
    -3.2166259358477523e-09,
    4.4434184139110684e-09,
    -2.3620509038675465e-10,
    -2.722194694153652e-10,
    3.314728624586764e-11,
    1.322413617207434e-11,
    -2.1800355750079434e-12,
];
const CENTRE: f64 = 3.75;
const MIDDLE: f64 = 0.092_416_079_569_001_24;
const INVERSE_HALF_WIDTH: f64 = 1.489_506_172_839_506_3;

/// The error function.
#[inline(always)]
pub fn erf(x: f64) -> f64 {
    let a = x.abs();
    let value = if a < 1.0 { series(a) } else { 1.0 - tail(a) };
    if x.is_nan() { x } else { value.copysign(x) }
}

/// 1 − erf(x) without cancellation for large `x`.
#[inline(always)]
pub fn erfc(x: f64) -> f64 {
    let a = x.abs();
    let upper = tail(a);
    let outside = if x < 0.0 { 2.0 - upper } else { upper };
    let value = if a < 1.0 { 1.0 - series(a).copysign(x) } else { outside };
    if x.is_nan() { x } else { value }
}

/// erf(a) for 0 ≤ a < 1.
#[inline(always)]
fn series(a: f64) -> f64 {
    a * horner(a * a, &MACLAURIN)
}

/// erfc(a) for a ≥ 1; above 28 it is zero in f64.
#[inline(always)]
fn tail(a: f64) -> f64 {
    let a = a.clamp(1.0, 28.0);
    let t = (a - CENTRE) / (a + CENTRE);
    let scaled = horner((t - MIDDLE) * INVERSE_HALF_WIDTH, &SCALED_TAIL) / (a + CENTRE);
    // a² is taken exactly: the upper 26 bits of `a` have an exact square, the rest enters after the reduction.
    let high = f64::from_bits(a.to_bits() & !0x07FF_FFFF);
    scaled * exp_of_sum(-(high * high), -((a - high) * (a + high)))
}
