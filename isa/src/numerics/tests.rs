//! The written functions against f64 std, against mpmath's values where std has none, and at their special points.

use super::*;
use crate::element::Element;
use crate::functions::{BinaryFunction, UnaryFunction};

/// Distance in units of the last place; equal values and two NaNs are at distance 0.
fn ulps(a: f64, b: f64) -> u64 {
    if a.is_nan() && b.is_nan() || a == b {
        return 0;
    }
    if a.is_nan() || b.is_nan() || a.is_sign_negative() != b.is_sign_negative() {
        return u64::MAX;
    }
    a.to_bits().abs_diff(b.to_bits())
}

fn ulps_f32(a: f32, b: f32) -> u32 {
    if a.is_nan() && b.is_nan() || a == b {
        return 0;
    }
    if a.is_nan() || b.is_nan() || a.is_sign_negative() != b.is_sign_negative() {
        return u32::MAX;
    }
    a.to_bits().abs_diff(b.to_bits())
}

/// Every f32 with a stride that is prime to the mantissa, plus special values.
fn sample_f32() -> impl Iterator<Item = f32> {
    (0..=u32::MAX).step_by(40_009).map(f32::from_bits).chain([
        0.0,
        -0.0,
        1.0,
        -1.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        0.5,
        2.0,
    ])
}

#[test]
fn f32_forms_round_the_true_value() {
    type Pair = (&'static str, fn(f64) -> f64, fn(f64) -> f64);
    let pairs: [Pair; 17] = [
        ("exp", exp, f64::exp),
        ("exp2", exp2, f64::exp2),
        ("expm1", expm1, f64::exp_m1),
        ("log", log, f64::ln),
        ("log2", log2, f64::log2),
        ("log1p", log1p, f64::ln_1p),
        ("sin", sin, f64::sin),
        ("cos", cos, f64::cos),
        ("tan", tan, f64::tan),
        ("asin", asin, f64::asin),
        ("acos", acos, f64::acos),
        ("atan", atan, f64::atan),
        ("sinh", sinh, f64::sinh),
        ("cosh", cosh, f64::cosh),
        ("tanh", tanh, f64::tanh),
        ("asinh", asinh, |x| if x.abs() < 1e-3 { x - x * x * x / 6.0 + x.powi(5) * 0.075 } else { x.asinh() }),
        ("atanh", atanh, f64::atanh),
    ];
    for (name, ours, reference) in pairs {
        for x in sample_f32() {
            let (got, want) = (f32_of(ours, x), reference(f64::from(x)) as f32);
            assert!(ulps_f32(got, want) <= 1, "{name}({x:e}) = {got:e}, expected {want:e}");
        }
    }
}

#[test]
fn f64_forms_are_good_to_a_few_units_in_the_last_place() {
    type Row = (&'static str, fn(f64) -> f64, fn(f64) -> f64, f64, f64, u64);
    let rows: [Row; 16] = [
        ("exp", exp, f64::exp, -745.0, 709.7, 2),
        ("exp2", exp2, f64::exp2, -1074.0, 1023.9, 2),
        ("expm1", expm1, f64::exp_m1, -3.0, 3.0, 3),
        ("expm1", expm1, f64::exp_m1, -40.0, 709.7, 3),
        ("log", log, f64::ln, 1e-9, 3.0, 2),
        ("log2", log2, f64::log2, 1e-9, 1e9, 3),
        ("log1p", log1p, f64::ln_1p, -0.99, 3.0, 3),
        ("sin", sin, f64::sin, -10.0, 2e6, 2),
        ("cos", cos, f64::cos, -10.0, 2e6, 2),
        ("tan", tan, f64::tan, -10.0, 1e9, 3),
        ("atan", atan, f64::atan, -10.0, 10.0, 2),
        ("asin", asin, f64::asin, -1.0, 1.0, 4),
        ("acos", acos, f64::acos, -1.0, 1.0, 4),
        ("sinh", sinh, f64::sinh, -710.0, 710.0, 8),
        ("cosh", cosh, f64::cosh, -710.0, 710.0, 8),
        ("tanh", tanh, f64::tanh, -22.0, 22.0, 4),
    ];
    for (name, ours, reference, from, to, allowed) in rows {
        for i in 0..50_000 {
            let x = from + (to - from) * (f64::from(i) / 50_000.0).powi(1 + i % 3);
            let (got, want) = (ours(x), reference(x));
            assert!(ulps(got, want) <= allowed, "{name}({x:e}) = {got:e}, expected {want:e}: {} ulps", ulps(got, want));
        }
    }
}

/// Values computed with mpmath at 40 digits: (x, erf x, erfc x).
const ERF: [(f64, f64, f64); 27] = [
    (1e-300, 1.1283791670955126e-300, 1.0),
    (1e-08, 1.1283791670955126e-08, 0.9999999887162083),
    (0.01, 0.011283415555849618, 0.9887165844441503),
    (0.1, 0.1124629160182849, 0.887537083981715),
    (0.3, 0.3286267594591274, 0.6713732405408726),
    (0.5, 0.5204998778130465, 0.4795001221869535),
    (0.7, 0.6778011938374184, 0.32219880616258156),
    (0.84375, 0.7672256612323416, 0.23277433876765838),
    (0.99, 0.8385080695553698, 0.1614919304446302),
    (1.0, 0.8427007929497149, 0.15729920705028513),
    (1.0001, 0.8427422995485203, 0.1572577004514797),
    (1.1, 0.8802050695740817, 0.11979493042591827),
    (1.25, 0.9229001282564583, 0.07709987174354177),
    (1.5, 0.9661051464753108, 0.033894853524689274),
    (2.0, 0.9953222650189527, 0.004677734981047266),
    (2.5, 0.999593047982555, 0.0004069520174449589),
    (3.0, 0.9999779095030014, 2.209049699858544e-05),
    (3.5, 0.9999992569016276, 7.430983723414128e-07),
    (4.0, 0.9999999845827421, 1.541725790028002e-08),
    (5.0, 0.9999999999984626, 1.537459794428035e-12),
    (6.0, 1.0, 2.1519736712498913e-17),
    (8.0, 1.0, 1.1224297172982926e-29),
    (10.0, 1.0, 2.088487583762545e-45),
    (15.0, 1.0, 7.212994172451207e-100),
    (20.0, 1.0, 5.395865611607901e-176),
    (26.0, 1.0, 5.663192408856143e-296),
    (27.0, 1.0, 5.23705e-319),
];

#[test]
fn erf_and_erfc_agree_with_mpmath() {
    for (x, want, complement) in ERF {
        assert!(ulps(erf(x), want) <= 2, "erf({x}) = {:e}, expected {want:e}", erf(x));
        assert!(ulps(erf(-x), -want) <= 2, "erf(-{x})");
        assert!(ulps(erfc(x), complement) <= 6, "erfc({x}) = {:e}, expected {complement:e}", erfc(x));
        let gelu_want = 0.5 * -x * erfc(x * std::f64::consts::FRAC_1_SQRT_2);
        assert_eq!(gelu(-x).to_bits(), gelu_want.to_bits());
    }
    assert_eq!(erf(f64::INFINITY), 1.0);
    assert_eq!(erfc(f64::NEG_INFINITY), 2.0);
    assert!(erf(f64::NAN).is_nan() && erfc(f64::NAN).is_nan());
}

/// Values computed with mpmath: (x, sin x, cos x), among them the argument nearest to a multiple of π/2.
const SIN: [(f64, f64, f64); 9] = [
    (std::f64::consts::PI, 1.2246467991473532e-16, -1.0),
    (355.0, -3.014435335948845e-05, -0.999999999545659),
    (131072.0, -0.9991137889507709, 0.04209081525029623),
    (1048576.0, 0.3304931400217347, 0.943808393901312),
    (10000000000.0, -0.4875060250875107, 0.873119622676856),
    (5.319372648326541e+255, 1.0, -4.687165924254628e-19),
    (1e+22, -0.8522008497671888, 0.523214785395139),
    (3.4028234663852886e+38, -0.5218765233336585, 0.8530210398303042),
    (1.7976931348623157e+308, 0.004961954789184062, -0.9999876894265599),
];

#[test]
fn sine_and_cosine_are_exact_at_every_magnitude() {
    for (x, sine, cosine) in SIN {
        assert!(ulps(sin(x), sine) <= 1 && ulps(cos(x), cosine) <= 1, "{x:e}: {:e} {:e}", sin(x), cos(x));
        assert!(ulps(sin(-x), -sine) <= 1 && ulps(cos(-x), cosine) <= 1, "-{x:e}");
    }
    assert!(sin(f64::INFINITY).is_nan() && cos(f64::NAN).is_nan());
    assert!(sin(-0.0).is_sign_negative());
}

#[test]
fn pow_agrees_with_std() {
    for i in 0..200u32 {
        for j in 0..200u32 {
            let x = 1.3f64.powi(i as i32 - 100) * (1.0 + f64::from(j) * 0.003);
            let y = (f64::from(j) - 100.0) * 0.37 + f64::from(i) * 0.01;
            assert!(ulps(pow(x, y), x.powf(y)) <= 2, "pow({x:e}, {y}) = {:e} {:e}", pow(x, y), x.powf(y));
            let (xf, yf) = (x as f32, y as f32);
            let want = f64::from(xf).powf(f64::from(yf)) as f32;
            assert!(ulps_f32(pow_f32(xf, yf), want) <= 1, "pow_f32({xf}, {yf})");
        }
    }
}

#[test]
fn pow_has_the_special_cases_of_ieee_754() {
    let points = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 7.0, -7.0, 1e300, -1e300];
    let points = points.into_iter().chain([f64::INFINITY, f64::NEG_INFINITY, f64::NAN]);
    for x in points.clone() {
        for y in points.clone() {
            assert!(ulps(pow(x, y), x.powf(y)) <= 1, "pow({x}, {y}) = {}, expected {}", pow(x, y), x.powf(y));
        }
    }
}

#[test]
fn special_points() {
    assert_eq!(sigmoid(f64::NEG_INFINITY), 0.0);
    assert_eq!(sigmoid(f64::INFINITY), 1.0);
    assert_eq!(sigmoid(0.0), 0.5);
    assert_eq!(silu(f64::NEG_INFINITY), 0.0);
    assert_eq!(gelu_tanh(f64::NEG_INFINITY), 0.0);
    assert_eq!(gelu(f64::INFINITY), f64::INFINITY);
    assert_eq!(softplus(f64::INFINITY), f64::INFINITY);
    assert_eq!(softplus(f64::NEG_INFINITY), 0.0);
    assert!(sigmoid(f64::NAN).is_nan() && softplus(f64::NAN).is_nan() && gelu(f64::NAN).is_nan());
    assert_eq!(log1p(-1.0), f64::NEG_INFINITY);
    assert!(expm1(-0.0).is_sign_negative() && log1p(-0.0).is_sign_negative() && tanh(-0.0).is_sign_negative());
    assert_eq!(f32_of(|_| -f64::NAN, 0.0).to_bits(), 0x7FC0_0000);
}

#[test]
fn atan2_agrees_with_std() {
    let points = [0.0, -0.0, 1.0, -1.0, 0.3, -0.7, 12.5, -1e300, 1e-300, f64::INFINITY, f64::NEG_INFINITY];
    for y in points {
        for x in points {
            assert!(ulps(atan2(y, x), y.atan2(x)) <= 2, "atan2({y}, {x}) = {}, expected {}", atan2(y, x), y.atan2(x));
        }
    }
}

#[test]
fn log_gamma_at_known_points() {
    for (x, want) in [
        (0.5, 0.5723649429247001),
        (1.0, 0.0),
        (2.0, 0.0),
        (3.5, 1.2009736023470743),
        (-1.5, 0.860047015376481),
        (100.0, 359.1342053695754),
    ] {
        assert!((log_gamma(x) - want).abs() <= 1e-13 * (1.0 + want.abs()), "log_gamma({x}) = {}", log_gamma(x));
    }
    assert_eq!(log_gamma(-3.0), f64::INFINITY);
}

#[test]
fn slices_equal_scalars() {
    let a: Vec<f32> = sample_f32().step_by(97).collect();
    let b: Vec<f32> = a.iter().rev().copied().collect();
    let mut out = vec![0.0; a.len()];
    for &function in UnaryFunction::ALL {
        unary_f32_slice(function, &a, &mut out);
        assert!(a.iter().zip(&out).all(|(x, o)| unary_f32(function, *x).to_bits() == o.to_bits()), "{function}");
    }
    for &function in BinaryFunction::ALL {
        binary_f32_slice(function, &a, &b, &mut out);
        for ((x, y), o) in a.iter().zip(&b).zip(&out) {
            assert_eq!(binary_f32(function, *x, *y).to_bits(), o.to_bits(), "{function} {x} {y}");
        }
    }
}

#[test]
fn integers_follow_the_written_rules() {
    let binary = |f, a, b| binary_integer(f, a, b, Element::I32);
    assert_eq!(binary(BinaryFunction::Div, -7, 2), -3);
    assert_eq!(binary(BinaryFunction::Div, 7, 0), 0);
    assert_eq!(binary(BinaryFunction::FloorDiv, -7, 2), -4);
    assert_eq!(binary(BinaryFunction::Mod, -7, 3), 2);
    assert_eq!(binary(BinaryFunction::Mod, 7, -3), -2);
    assert_eq!(binary(BinaryFunction::Fmod, -7, 3), -1);
    assert_eq!(binary(BinaryFunction::Pow, 3, 4), 81);
    assert_eq!(binary(BinaryFunction::Pow, 2, -1), 0);
    assert_eq!(binary(BinaryFunction::Shl, 1, 32), 0);
    assert_eq!(binary(BinaryFunction::Shr, -8, 1), -4);
    assert_eq!(binary(BinaryFunction::Shr, -8, 40), -1);
    assert_eq!(unary_integer(UnaryFunction::Sign, -5), -1);
    assert_eq!(unary_integer(UnaryFunction::BitwiseNot, 5), -6);
}
