//! The elementwise functions over numbers: the one evaluation that the graph evaluator and the simulator share.
//!
//! In: a function of [`crate::functions`] and operands as f32, f64 or exact integers. Out: the value before it is stored (the store rounds
//! to the element, wraps integers and writes canonical NaN). Predicates give 1 and 0. Always: the f32 form of every function rounds exactly
//! once, but for `rsqrt` and `floor-div`, whose meaning names two rounded steps. The slice forms are loops over the scalar forms, one loop
//! for each function, so that the caller's vector instructions apply to them.

use super::{
    acos, acosh, asin, asinh, atan, atan2, atanh, canonical_f32, canonical_f64, cos, cosh, erf, exp, exp2, expm1,
    f32_of, gelu, gelu_tanh, log, log_gamma, log1p, pow, pow_f32, rsqrt, sigmoid, silu, sin, sinh, softplus, tan, tanh,
};
use crate::element::Element;
use crate::functions::{BinaryFunction, CompareFunction, UnaryFunction};

/// Runs `$body` with `$g` bound to the written f64 function, once for each function.
macro_rules! with_unary {
    ($function:expr, $g:ident => $body:expr) => {
        match $function {
            UnaryFunction::Neg => with_unary!(@ $g, |x: f64| -x, $body),
            UnaryFunction::Abs => with_unary!(@ $g, f64::abs, $body),
            UnaryFunction::Exp => with_unary!(@ $g, exp, $body),
            UnaryFunction::Log => with_unary!(@ $g, log, $body),
            UnaryFunction::Sqrt => with_unary!(@ $g, f64::sqrt, $body),
            UnaryFunction::Rsqrt => with_unary!(@ $g, rsqrt, $body),
            UnaryFunction::Reciprocal => with_unary!(@ $g, |x: f64| 1.0 / x, $body),
            UnaryFunction::Tanh => with_unary!(@ $g, tanh, $body),
            UnaryFunction::Erf => with_unary!(@ $g, erf, $body),
            UnaryFunction::Sin => with_unary!(@ $g, sin, $body),
            UnaryFunction::Cos => with_unary!(@ $g, cos, $body),
            UnaryFunction::Tan => with_unary!(@ $g, tan, $body),
            UnaryFunction::Asin => with_unary!(@ $g, asin, $body),
            UnaryFunction::Acos => with_unary!(@ $g, acos, $body),
            UnaryFunction::Atan => with_unary!(@ $g, atan, $body),
            UnaryFunction::Sinh => with_unary!(@ $g, sinh, $body),
            UnaryFunction::Cosh => with_unary!(@ $g, cosh, $body),
            UnaryFunction::Asinh => with_unary!(@ $g, asinh, $body),
            UnaryFunction::Acosh => with_unary!(@ $g, acosh, $body),
            UnaryFunction::Atanh => with_unary!(@ $g, atanh, $body),
            UnaryFunction::Floor => with_unary!(@ $g, f64::floor, $body),
            UnaryFunction::Ceil => with_unary!(@ $g, f64::ceil, $body),
            UnaryFunction::Round => with_unary!(@ $g, f64::round_ties_even, $body),
            UnaryFunction::Truncate => with_unary!(@ $g, f64::trunc, $body),
            UnaryFunction::Sign => with_unary!(@ $g, |x: f64| if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { x }, $body),
            UnaryFunction::Sigmoid => with_unary!(@ $g, sigmoid, $body),
            UnaryFunction::Softplus => with_unary!(@ $g, softplus, $body),
            UnaryFunction::Softsign => with_unary!(@ $g, softsign, $body),
            UnaryFunction::Mish => with_unary!(@ $g, mish, $body),
            UnaryFunction::Gelu => with_unary!(@ $g, gelu, $body),
            UnaryFunction::GeluTanh => with_unary!(@ $g, gelu_tanh, $body),
            UnaryFunction::Silu => with_unary!(@ $g, silu, $body),
            UnaryFunction::QuickGelu => with_unary!(@ $g, quick_gelu, $body),
            UnaryFunction::Relu => with_unary!(@ $g, |x: f64| if x <= 0.0 { 0.0 } else { x }, $body),
            UnaryFunction::HardSwish => with_unary!(@ $g, hard_swish, $body),
            UnaryFunction::Not => with_unary!(@ $g, |x: f64| f64::from(x == 0.0), $body),
            UnaryFunction::BitwiseNot => with_unary!(@ $g, |x: f64| !(x as i64) as f64, $body),
            UnaryFunction::IsNan => with_unary!(@ $g, |x: f64| f64::from(x.is_nan()), $body),
            UnaryFunction::IsInf => with_unary!(@ $g, |x: f64| f64::from(x.is_infinite()), $body),
            UnaryFunction::IsPosInf => with_unary!(@ $g, |x: f64| f64::from(x == f64::INFINITY), $body),
            UnaryFunction::IsNegInf => with_unary!(@ $g, |x: f64| f64::from(x == f64::NEG_INFINITY), $body),
            UnaryFunction::Expm1 => with_unary!(@ $g, expm1, $body),
            UnaryFunction::Log1p => with_unary!(@ $g, log1p, $body),
            UnaryFunction::Square => with_unary!(@ $g, |x: f64| x * x, $body),
            UnaryFunction::Exp2 => with_unary!(@ $g, exp2, $body),
            UnaryFunction::LogGamma => with_unary!(@ $g, log_gamma, $body),
        }
    };
    (@ $g:ident, $function:expr, $body:expr) => {{
        let $g = $function;
        $body
    }};
}

/// A function of one f32.
#[inline]
pub fn unary_f32(function: UnaryFunction, x: f32) -> f32 {
    if function == UnaryFunction::Rsqrt {
        return rsqrt_f32(x);
    }
    with_unary!(function, g => f32_of(g, x))
}

/// A function of one f64.
#[inline]
pub fn unary_f64(function: UnaryFunction, x: f64) -> f64 {
    canonical_f64(with_unary!(function, g => g(x)))
}

/// A function of every element of a slice; `out` has the length of `x`.
#[inline(always)]
pub fn unary_f32_slice(function: UnaryFunction, x: &[f32], out: &mut [f32]) {
    if function == UnaryFunction::Rsqrt {
        return map(x, out, rsqrt_f32);
    }
    with_unary!(function, g => map(x, out, |v| f32_of(g, v)));
}

#[inline(always)]
fn map(x: &[f32], out: &mut [f32], f: impl Fn(f32) -> f32) {
    for (o, v) in out.iter_mut().zip(x) {
        *o = f(*v);
    }
}

/// The square root and its reciprocal, each rounded to f32.
#[inline(always)]
pub fn rsqrt_f32(x: f32) -> f32 {
    canonical_f32(1.0 / x.sqrt())
}

/// A function of one integer or bool, before it wraps at the width of the result. A function of floats only (see
/// [`UnaryFunction::domain`]) is evaluated in f64 and truncated.
pub fn unary_integer(function: UnaryFunction, x: i128) -> i128 {
    match function {
        UnaryFunction::Neg => x.wrapping_neg(),
        UnaryFunction::Abs => x.wrapping_abs(),
        UnaryFunction::Sign => x.signum(),
        UnaryFunction::Relu => x.max(0),
        UnaryFunction::Square => x.wrapping_mul(x),
        UnaryFunction::Not => i128::from(x == 0),
        UnaryFunction::BitwiseNot => !x,
        _ => unary_f64(function, x as f64) as i128,
    }
}

/// Runs `$body` with `$g` bound to the f64 function of two operands whose rounded value is the f32 function.
macro_rules! with_binary {
    ($function:expr, $g:ident => $body:expr) => {
        match $function {
            BinaryFunction::Add => with_unary!(@ $g, |a: f64, b: f64| a + b, $body),
            BinaryFunction::Sub => with_unary!(@ $g, |a: f64, b: f64| a - b, $body),
            BinaryFunction::Mul => with_unary!(@ $g, |a: f64, b: f64| a * b, $body),
            BinaryFunction::Div => with_unary!(@ $g, |a: f64, b: f64| a / b, $body),
            BinaryFunction::Pow => with_unary!(@ $g, pow, $body),
            BinaryFunction::Min => with_unary!(@ $g, |a: f64, b: f64| if a < b || a.is_nan() { a } else { b }, $body),
            BinaryFunction::Max => with_unary!(@ $g, |a: f64, b: f64| if a > b || a.is_nan() { a } else { b }, $body),
            BinaryFunction::Mod => with_unary!(@ $g, modulo, $body),
            BinaryFunction::Fmod => with_unary!(@ $g, |a: f64, b: f64| a % b, $body),
            BinaryFunction::And => with_unary!(@ $g, |a: f64, b: f64| f64::from(a != 0.0 && b != 0.0), $body),
            BinaryFunction::Or => with_unary!(@ $g, |a: f64, b: f64| f64::from(a != 0.0 || b != 0.0), $body),
            BinaryFunction::Xor => with_unary!(@ $g, |a: f64, b: f64| f64::from((a != 0.0) != (b != 0.0)), $body),
            BinaryFunction::Shl => with_unary!(@ $g, |a: f64, b: f64| a * exp2(b), $body),
            BinaryFunction::Shr => with_unary!(@ $g, |a: f64, b: f64| (a * exp2(-b)).floor(), $body),
            BinaryFunction::Prelu => with_unary!(@ $g, |a: f64, b: f64| if a < 0.0 { a * b } else { a }, $body),
            BinaryFunction::Atan2 => with_unary!(@ $g, atan2, $body),
            BinaryFunction::MulSilu => with_unary!(@ $g, |a: f64, b: f64| a * silu(b), $body),
            BinaryFunction::FloorDiv => with_unary!(@ $g, |a: f64, b: f64| (a / b).floor(), $body),
        }
    };
}

/// A function of two f32.
#[inline]
pub fn binary_f32(function: BinaryFunction, a: f32, b: f32) -> f32 {
    match function {
        BinaryFunction::Pow => pow_f32(a, b),
        BinaryFunction::FloorDiv => floor_div_f32(a, b),
        _ => with_binary!(function, g => round_f32(g, a, b)),
    }
}

/// A function of two f64.
#[inline]
pub fn binary_f64(function: BinaryFunction, a: f64, b: f64) -> f64 {
    canonical_f64(with_binary!(function, g => g(a, b)))
}

/// A function of the elements of two slices of equal length.
#[inline(always)]
pub fn binary_f32_slice(function: BinaryFunction, a: &[f32], b: &[f32], out: &mut [f32]) {
    match function {
        // Widening changes nothing in these four: f64 has more than twice the bits of f32, so the second rounding is innocuous.
        BinaryFunction::Add => map2(a, b, out, |x, y| canonical_f32(x + y)),
        BinaryFunction::Sub => map2(a, b, out, |x, y| canonical_f32(x - y)),
        BinaryFunction::Mul => map2(a, b, out, |x, y| canonical_f32(x * y)),
        BinaryFunction::Div => map2(a, b, out, |x, y| canonical_f32(x / y)),
        BinaryFunction::Pow => map2(a, b, out, pow_f32),
        BinaryFunction::FloorDiv => map2(a, b, out, floor_div_f32),
        _ => with_binary!(function, g => map2(a, b, out, |x, y| round_f32(g, x, y))),
    }
}

#[inline(always)]
fn map2(a: &[f32], b: &[f32], out: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    for ((o, x), y) in out.iter_mut().zip(a).zip(b) {
        *o = f(*x, *y);
    }
}

#[inline(always)]
fn round_f32(function: impl Fn(f64, f64) -> f64, a: f32, b: f32) -> f32 {
    canonical_f32(function(f64::from(a), f64::from(b)) as f32)
}

/// The quotient rounded to f32, then its floor.
fn floor_div_f32(a: f32, b: f32) -> f32 {
    canonical_f32((a / b).floor())
}

/// A function of two integers or bools, before it wraps at the width of the result. `element` is the type of the operands.
pub fn binary_integer(function: BinaryFunction, a: i128, b: i128, element: Element) -> i128 {
    match function {
        BinaryFunction::Add => a.wrapping_add(b),
        BinaryFunction::Sub => a.wrapping_sub(b),
        BinaryFunction::Mul => a.wrapping_mul(b),
        BinaryFunction::Div => a.checked_div(b).unwrap_or(0),
        BinaryFunction::Pow => integer_power(a, b),
        BinaryFunction::Min => a.min(b),
        BinaryFunction::Max => a.max(b),
        BinaryFunction::Mod => a.checked_rem(b).map_or(0, |r| if r != 0 && (r < 0) != (b < 0) { r + b } else { r }),
        BinaryFunction::Fmod => a.checked_rem(b).unwrap_or(0),
        BinaryFunction::And => a & b,
        BinaryFunction::Or => a | b,
        BinaryFunction::Xor => a ^ b,
        BinaryFunction::Shl => {
            if shift_in_width(b, element) {
                a << b
            } else {
                0
            }
        }
        BinaryFunction::Shr => a >> if shift_in_width(b, element) { b } else { 127 },
        BinaryFunction::Prelu => {
            if a >= 0 {
                a
            } else {
                a.wrapping_mul(b)
            }
        }
        BinaryFunction::FloorDiv => {
            a.checked_div(b).map_or(0, |q| if a % b != 0 && (a < 0) != (b < 0) { q - 1 } else { q })
        }
        BinaryFunction::Atan2 | BinaryFunction::MulSilu => binary_f64(function, a as f64, b as f64) as i128,
    }
}

/// Whether a shift distance is below the width of the type; a negative distance counts as too large.
fn shift_in_width(distance: i128, element: Element) -> bool {
    (0..i128::from(element.bits())).contains(&distance)
}

/// Repeated squaring with wrapping; a negative exponent gives the quotient 1 / base^|exponent| truncated toward zero.
fn integer_power(base: i128, exponent: i128) -> i128 {
    if exponent < 0 {
        return match base {
            1 => 1,
            -1 => {
                if exponent % 2 == 0 {
                    1
                } else {
                    -1
                }
            }
            _ => 0,
        };
    }
    let (mut result, mut square, mut rest) = (1i128, base, exponent);
    while rest > 0 {
        if rest & 1 == 1 {
            result = result.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        rest >>= 1;
    }
    result
}

/// A comparison of numbers of one type; with NaN everything but `ne` is false.
#[inline(always)]
pub fn compare<T: PartialOrd>(function: CompareFunction, a: T, b: T) -> bool {
    match function {
        CompareFunction::Eq => a == b,
        CompareFunction::Ne => a != b,
        CompareFunction::Lt => a < b,
        CompareFunction::Le => a <= b,
        CompareFunction::Gt => a > b,
        CompareFunction::Ge => a >= b,
    }
}

/// x / (1 + |x|).
#[inline(always)]
fn softsign(x: f64) -> f64 {
    let value = x / (1.0 + x.abs());
    if x.is_infinite() { 1f64.copysign(x) } else { value }
}

/// x · tanh(softplus(x)).
#[inline(always)]
fn mish(x: f64) -> f64 {
    if x == f64::NEG_INFINITY { -0.0 } else { x * tanh(softplus(x)) }
}

/// x · sigmoid(1.702 · x).
#[inline(always)]
fn quick_gelu(x: f64) -> f64 {
    if x == f64::NEG_INFINITY { -0.0 } else { x * sigmoid(1.702 * x) }
}

/// x · clamp(x / 6 + ½, 0, 1).
#[inline(always)]
fn hard_swish(x: f64) -> f64 {
    if x == f64::NEG_INFINITY { -0.0 } else { x * (x / 6.0 + 0.5).clamp(0.0, 1.0) }
}

/// The remainder with the sign of the divisor.
#[inline(always)]
fn modulo(a: f64, b: f64) -> f64 {
    let r = a % b;
    if r == 0.0 {
        0f64.copysign(b)
    } else if (r < 0.0) != (b < 0.0) {
        r + b
    } else {
        r
    }
}
