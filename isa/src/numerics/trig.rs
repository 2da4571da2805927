//! sin, cos, tan for every argument: three-part Cody–Waite reduction by π/2 up to 2^20, above it the product with 1280 bits of 2/π.
//! In: any f64. Out: the function, good to about one unit in the last place at every magnitude; infinities and NaN give NaN.

use super::{exp::nearest_integer, horner};

/// π/2 in parts of 33, 33 and 53 bits: the products of the first two with a 20-bit integer are exact.
const HALF_PI: [f64; 3] = [1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21];

/// The binary digits of 2/π after the point, most significant word first.
const TWO_OVER_PI: [u64; 20] = [
    0xa2f9836e4e441529,
    0xfc2757d1f534ddc0,
    0xdb6295993c439041,
    0xfe5163abdebbc561,
    0xb7246e3a424dd2e0,
    0x06492eea09d1921c,
    0xfe1deb1cb129a73e,
    0xe88235f52ebb4484,
    0xe99c7026b45f7e41,
    0x3991d639835339f4,
    0x9c845f8bbdf9283b,
    0x1ff897ffde05980f,
    0xef2f118b5a0a6d1f,
    0x6d367ecf27cb09b7,
    0x4f463f669e5fea2d,
    0x7527bac7ebe5f17b,
    0x3d0739f78a5292ea,
    0x6bfb5fb11f8d5d08,
    0x56033046fc7b6bab,
    0xf0cfbc209af4361d,
];

/// (−1)^k / (2k + 1)! from k = 1.
const SINE: [f64; 8] = [
    -1.0 / 6.0,
    1.0 / 120.0,
    -1.0 / 5040.0,
    1.0 / 362_880.0,
    -1.0 / 39_916_800.0,
    1.0 / 6_227_020_800.0,
    -1.0 / 1_307_674_368_000.0,
    1.0 / 355_687_428_096_000.0,
];
/// (−1)^k / (2k)! from k = 2.
const COSINE: [f64; 8] = [
    1.0 / 24.0,
    -1.0 / 720.0,
    1.0 / 40320.0,
    -1.0 / 3_628_800.0,
    1.0 / 479_001_600.0,
    -1.0 / 87_178_291_200.0,
    1.0 / 20_922_789_888_000.0,
    -1.0 / 6_402_373_705_728_000.0,
];

/// Sine.
pub fn sin(x: f64) -> f64 {
    if x == 0.0 {
        return x;
    }
    let (sine, cosine, quadrant) = parts(x);
    match quadrant & 3 {
        0 => sine,
        1 => cosine,
        2 => -sine,
        _ => -cosine,
    }
}

/// Cosine.
pub fn cos(x: f64) -> f64 {
    let (sine, cosine, quadrant) = parts(x);
    match quadrant & 3 {
        0 => cosine,
        1 => -sine,
        2 => -cosine,
        _ => sine,
    }
}

/// Tangent: the quotient of sine and cosine of the reduced argument.
pub fn tan(x: f64) -> f64 {
    if x == 0.0 {
        return x;
    }
    let (sine, cosine, quadrant) = parts(x);
    if quadrant & 1 == 0 { sine / cosine } else { -cosine / sine }
}

/// Sine and cosine of the reduced argument, and the number of quarter turns taken off (modulo 4).
fn parts(x: f64) -> (f64, f64, i64) {
    if !x.is_finite() {
        return (f64::NAN, f64::NAN, 0);
    }
    let (y, low, quadrant) = if x.abs() < 1_048_576.0 { reduce(x) } else { reduce_large(x) };
    let z = y * y;
    let sine = y + (y * z * horner(z, &SINE) + low * (1.0 - 0.5 * z));
    let half = 0.5 * z;
    let first = 1.0 - half;
    let cosine = first + (((1.0 - first) - half) + (z * z * horner(z, &COSINE) - y * low));
    (sine, cosine, quadrant)
}

/// x − k·π/2 as a double-double, and k.
fn reduce(x: f64) -> (f64, f64, i64) {
    let (n, k) = nearest_integer(x * std::f64::consts::FRAC_2_PI);
    let t = x - n * HALF_PI[0];
    let w = n * HALF_PI[1];
    let y = t - w;
    // The rounding error of t − w, whichever of the two is larger.
    let back = y - t;
    let error = (t - (y - back)) - (w + back);
    let low = error - n * HALF_PI[2];
    let sum = y + low;
    (sum, low - (sum - y), k)
}

/// The same for large arguments: x = m·2^q; of m·2^q·(2/π) only the bits below 4 matter, and 192 bits of 2/π suffice for them.
fn reduce_large(x: f64) -> (f64, f64, i64) {
    let bits = x.abs().to_bits();
    let exponent = (bits >> 52) as i64 - 1075;
    let mantissa = (bits & ((1 << 52) - 1)) | (1 << 52);
    let [high, middle, low] = [0, 64, 128].map(|offset| digits(exponent - 2 + offset));
    // The product modulo 2^192, in units of 2^-190.
    let p0 = u128::from(mantissa) * u128::from(low);
    let p1 = u128::from(mantissa) * u128::from(middle) + (p0 >> 64);
    let p2 = mantissa.wrapping_mul(high).wrapping_add((p1 >> 64) as u64);
    let mut words = [p2, p1 as u64, p0 as u64];
    let mut quadrant = (words[0] >> 62) as i64;
    words[0] &= (1 << 62) - 1;
    let negative = words[0] >> 61 == 1;
    if negative {
        // The fraction is at least one half: go to the next quadrant and count back.
        quadrant += 1;
        words = negate(words);
        words[0] &= (1 << 62) - 1;
    }
    let (fraction, fraction_low) = to_double_double(words);
    let y = fraction * std::f64::consts::FRAC_PI_2;
    let rest = fraction.mul_add(std::f64::consts::FRAC_PI_2, -y);
    let low = rest + (fraction * 6.123233995736766e-17 + fraction_low * std::f64::consts::FRAC_PI_2);
    let (y, low) = if negative { (-y, -low) } else { (y, low) };
    if x < 0.0 { (-y, -low, -quadrant) } else { (y, low, quadrant) }
}

/// 64 digits of 2/π, the first of weight 2^-(skip + 1); digits left of the point are zero.
fn digits(skip: i64) -> u64 {
    let word = |index: i64| if index < 0 { 0 } else { TWO_OVER_PI.get(index as usize).copied().unwrap_or(0) };
    let (index, shift) = (skip.div_euclid(64), skip.rem_euclid(64));
    if shift == 0 { word(index) } else { (word(index) << shift) | (word(index + 1) >> (64 - shift)) }
}

/// Two's complement of a three-word number.
fn negate(words: [u64; 3]) -> [u64; 3] {
    let (low, carry) = (!words[2]).overflowing_add(1);
    let (middle, carry) = (!words[1]).overflowing_add(u64::from(carry));
    [(!words[0]).wrapping_add(u64::from(carry)), middle, low]
}

/// A three-word number in units of 2^-190 as a double-double.
fn to_double_double(words: [u64; 3]) -> (f64, f64) {
    let (mut words, mut exponent) = (words, -62);
    if words[0] == 0 {
        words = [words[1], words[2], 0];
        exponent -= 64;
    }
    let zeros = words[0].leading_zeros();
    if zeros > 0 && zeros < 64 {
        words = [
            (words[0] << zeros) | (words[1] >> (64 - zeros)),
            (words[1] << zeros) | (words[2] >> (64 - zeros)),
            words[2] << zeros,
        ];
        exponent -= i64::from(zeros);
    }
    let unit = |power: i64| f64::from_bits(((power + 1023) as u64) << 52);
    let high = (words[0] >> 11) as f64 * unit(exponent + 11);
    let low = (((words[0] & 0x7FF) << 42) | (words[1] >> 22)) as f64 * unit(exponent + 11 - 53);
    (high, low)
}
