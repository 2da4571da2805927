//! The elementwise functions of the machine: ONE definition for graph operations and for instructions.
//!
//! Each variant says exactly what it computes. Types: on `f32` (and narrower floats) the function of the exact operands is rounded once to
//! `f32`, by the written sequences of [`crate::numerics`]; on `f64` the same sequence gives an `f64`; integers are exact and wrap at the
//! width of the result; bool operands are 0 and 1. Always: NaN results are canonical; subnormals are not flushed.

use crate::element::{Element, ElementClass};

/// Which classes of elements a function accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Accepts floats.
    pub float: bool,
    /// Accepts integers.
    pub integer: bool,
    /// Accepts bools.
    pub bool: bool,
}

impl Domain {
    /// Whether an element type is accepted.
    pub fn accepts(self, element: Element) -> bool {
        match element.class() {
            ElementClass::Float => self.float,
            ElementClass::Integer => self.integer,
            ElementClass::Bool => self.bool,
        }
    }
}

/// `F` float, `I` integer, `B` bool.
macro_rules! domain {
    (F) => {
        Domain { float: true, integer: false, bool: false }
    };
    (I) => {
        Domain { float: false, integer: true, bool: false }
    };
    (B) => {
        Domain { float: false, integer: false, bool: true }
    };
    (FI) => {
        Domain { float: true, integer: true, bool: false }
    };
    (IB) => {
        Domain { float: false, integer: true, bool: true }
    };
    (FIB) => {
        Domain { float: true, integer: true, bool: true }
    };
}

macro_rules! functions {
    ($(#[$meta:meta])* $type:ident: $($(#[doc = $doc:literal])* $variant:ident = $code:literal $name:literal $domain:ident;)*) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $type { $($(#[doc = $doc])* $variant = $code,)* }

        impl $type {
            /// Every function, in the order of the codes.
            pub const ALL: &[$type] = &[$($type::$variant,)*];

            /// The name used in every text form.
            pub fn name(self) -> &'static str {
                match self { $($type::$variant => $name,)* }
            }

            /// The function with this name.
            pub fn from_name(name: &str) -> Option<$type> {
                match name { $($name => Some($type::$variant),)* _ => None }
            }

            /// The code in instructions.
            pub fn code(self) -> u8 {
                self as u8
            }

            /// The function with this code.
            pub fn from_code(code: u8) -> Option<$type> {
                match code { $($code => Some($type::$variant),)* _ => None }
            }

            /// The classes of elements that it accepts.
            pub fn domain(self) -> Domain {
                match self { $($type::$variant => domain!($domain),)* }
            }

            /// The meaning in words, for the printed manual.
            pub fn doc(self) -> &'static str {
                match self { $($type::$variant => concat!($($doc),*).trim_ascii(),)* }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

functions! {
    /// Functions of one operand.
    UnaryFunction:
    /// −x; integers wrap.
    Neg = 0 "neg" FI;
    /// |x|; integers wrap, so that the least value maps to itself.
    Abs = 1 "abs" FI;
    /// e^x.
    Exp = 2 "exp" F;
    /// Natural logarithm; NaN below 0, −∞ at 0.
    Log = 3 "log" F;
    /// Square root, correctly rounded; NaN below 0.
    Sqrt = 4 "sqrt" F;
    /// 1 / sqrt(x), as the two correctly rounded operations in sequence (in f32 for f32).
    Rsqrt = 5 "rsqrt" F;
    /// 1 / x, correctly rounded.
    Reciprocal = 6 "reciprocal" F;
    /// Hyperbolic tangent.
    Tanh = 7 "tanh" F;
    /// Error function.
    Erf = 8 "erf" F;
    /// Sine, x in radians.
    Sin = 9 "sin" F;
    /// Cosine, x in radians.
    Cos = 10 "cos" F;
    /// Tangent, x in radians.
    Tan = 11 "tan" F;
    /// Arc sine; NaN outside of [−1, 1].
    Asin = 12 "asin" F;
    /// Arc cosine; NaN outside of [−1, 1].
    Acos = 13 "acos" F;
    /// Arc tangent.
    Atan = 14 "atan" F;
    /// Hyperbolic sine.
    Sinh = 15 "sinh" F;
    /// Hyperbolic cosine.
    Cosh = 16 "cosh" F;
    /// Inverse hyperbolic sine.
    Asinh = 17 "asinh" F;
    /// Inverse hyperbolic cosine; NaN below 1.
    Acosh = 18 "acosh" F;
    /// Inverse hyperbolic tangent; NaN outside of [−1, 1].
    Atanh = 19 "atanh" F;
    /// The greatest integer not above x.
    Floor = 20 "floor" F;
    /// The least integer not below x.
    Ceil = 21 "ceil" F;
    /// The nearest integer, ties to even.
    Round = 22 "round" F;
    /// Toward zero.
    Truncate = 23 "truncate" F;
    /// −1, 0 or 1; NaN stays NaN; zeros keep their sign.
    Sign = 24 "sign" FI;
    /// 1 / (1 + e^−x).
    Sigmoid = 25 "sigmoid" F;
    /// log(1 + e^x), as max(x, 0) + log1p(e^−|x|).
    Softplus = 26 "softplus" F;
    /// x / (1 + |x|).
    Softsign = 27 "softsign" F;
    /// x · tanh(softplus(x)).
    Mish = 28 "mish" F;
    /// x · ½ · (1 + erf(x / √2)).
    Gelu = 29 "gelu" F;
    /// x · ½ · (1 + tanh(√(2/π) · (x + 0.044715 · x³))).
    GeluTanh = 30 "gelu-tanh" F;
    /// x · sigmoid(x).
    Silu = 31 "silu" F;
    /// x · sigmoid(1.702 · x).
    QuickGelu = 32 "quick-gelu" F;
    /// x > 0 ? x : 0; NaN stays NaN.
    Relu = 33 "relu" FI;
    /// x · clamp(x / 6 + ½, 0, 1).
    HardSwish = 34 "hard-swish" F;
    /// Logical negation: x == 0.
    Not = 35 "not" B;
    /// All bits inverted at the width of the type.
    BitwiseNot = 36 "bitwise-not" I;
    /// Whether x is NaN; the result is bool.
    IsNan = 37 "isnan" F;
    /// Whether x is +∞ or −∞; the result is bool.
    IsInf = 38 "isinf" F;
    /// Whether x is +∞; the result is bool.
    IsPosInf = 39 "isposinf" F;
    /// Whether x is −∞; the result is bool.
    IsNegInf = 40 "isneginf" F;
    /// e^x − 1 without cancellation near 0.
    Expm1 = 41 "expm1" F;
    /// log(1 + x) without cancellation near 0.
    Log1p = 42 "log1p" F;
    /// x · x, one rounding.
    Square = 43 "square" FI;
    /// 2^x.
    Exp2 = 44 "exp2" F;
    /// log(Γ(x)), the logarithm of the gamma function's magnitude.
    LogGamma = 45 "log-gamma" F;
}

functions! {
    /// Functions of two operands.
    BinaryFunction:
    /// a + b.
    Add = 0 "add" FI;
    /// a − b.
    Sub = 1 "sub" FI;
    /// a · b.
    Mul = 2 "mul" FI;
    /// a / b; integers truncate toward zero, and a division by zero gives 0.
    Div = 3 "div" FI;
    /// a^b; integers by repeated squaring with wrapping (a negative exponent gives the truncated quotient: 1, ±1 or 0).
    Pow = 4 "pow" FI;
    /// The smaller one; NaN if either is NaN.
    Min = 5 "min" FIB;
    /// The greater one; NaN if either is NaN.
    Max = 6 "max" FIB;
    /// Remainder with the sign of b (Python's %); integers modulo 0 give 0.
    Mod = 7 "mod" FI;
    /// Remainder with the sign of a (C's fmod), exact; integers modulo 0 give 0.
    Fmod = 8 "fmod" FI;
    /// Logical and of bools, bitwise and of integers.
    And = 9 "and" IB;
    /// Logical or of bools, bitwise or of integers.
    Or = 10 "or" IB;
    /// Logical exclusive or of bools, bitwise of integers.
    Xor = 11 "xor" IB;
    /// a shifted left by b bits; 0 when b is not below the width of the type.
    Shl = 12 "shl" I;
    /// a shifted right by b bits (arithmetic for signed types); all sign bits when b is not below the width.
    Shr = 13 "shr" I;
    /// a ≥ 0 ? a : a · b (PRelu, and leaky ReLU with a constant slope).
    Prelu = 14 "prelu" FI;
    /// The angle of the point (x = b, y = a).
    Atan2 = 15 "atan2" F;
    /// a · silu(b) = a · b · sigmoid(b): the gate of a gated MLP.
    MulSilu = 16 "mul-silu" F;
    /// Quotient rounded toward minus infinity: of floats the rounded quotient and then its floor; integers by zero give 0.
    FloorDiv = 17 "floor-div" FI;
}

functions! {
    /// Comparisons of two operands; the result is bool. Comparisons with NaN are false, except `ne`.
    CompareFunction:
    /// a = b.
    Eq = 0 "eq" FIB;
    /// a ≠ b.
    Ne = 1 "ne" FIB;
    /// a < b.
    Lt = 2 "lt" FIB;
    /// a ≤ b.
    Le = 3 "le" FIB;
    /// a > b.
    Gt = 4 "gt" FIB;
    /// a ≥ b.
    Ge = 5 "ge" FIB;
}

functions! {
    /// Reductions along axes. Float sums use 16 strided partial sums and one fixed tree over the flattened reduced
    /// axes. The result over no elements is the neutral element named with each.
    ReduceFunction:
    /// Σ x; of nothing: 0.
    Sum = 0 "sum" FI;
    /// (Σ x) / n, one division at the end; of nothing: NaN (integers 0).
    Mean = 1 "mean" FI;
    /// Π x; of nothing: 1.
    Prod = 2 "prod" FI;
    /// The least; NaN if any is NaN; of nothing: +∞ or the greatest integer.
    Min = 3 "min" FIB;
    /// The greatest; NaN if any is NaN; of nothing: −∞ or the least integer.
    Max = 4 "max" FIB;
    /// Whether all are nonzero; of nothing: true.
    All = 5 "all" IB;
    /// Whether any is nonzero; of nothing: false.
    Any = 6 "any" IB;
    /// Σ x²; of nothing: 0.
    SumSquare = 7 "sum-square" FI;
    /// Σ |x|; of nothing: 0.
    SumAbs = 8 "sum-abs" FI;
    /// √(Σ x²); of nothing: 0.
    Norm2 = 9 "norm2" FI;
    /// log(Σ x), as sum and then log; of nothing: −∞.
    LogSum = 10 "log-sum" FI;
    /// log(Σ e^x), shifted by the maximum; of nothing: −∞.
    LogSumExp = 11 "log-sum-exp" FI;
}

functions! {
    /// Running combinations along an axis.
    CumulateFunction:
    /// Running sum, added in index order.
    Sum = 0 "sum" FI;
    /// Running product, multiplied in index order.
    Prod = 1 "prod" FI;
    /// Running maximum.
    Max = 2 "max" FI;
    /// Running minimum.
    Min = 3 "min" FI;
}

functions! {
    /// How a scattered update combines with what is there; updates are applied in row-major order of the updates.
    ScatterFunction:
    /// The update replaces the element; the last one wins.
    Replace = 0 "replace" FIB;
    /// old + update.
    Add = 1 "add" FI;
    /// old · update.
    Mul = 2 "mul" FI;
    /// The smaller one.
    Min = 3 "min" FIB;
    /// The greater one.
    Max = 4 "max" FIB;
}

impl UnaryFunction {
    /// The element type of the result for an operand type, or `None` when the function does not accept it.
    pub fn result(self, operand: Element) -> Option<Element> {
        use UnaryFunction::*;
        if !self.domain().accepts(operand) {
            return None;
        }
        match self {
            IsNan | IsInf | IsPosInf | IsNegInf => Some(Element::Bool),
            Neg | Abs | Exp | Log | Sqrt | Rsqrt | Reciprocal | Tanh | Erf | Sin | Cos | Tan | Asin | Acos | Atan
            | Sinh | Cosh | Asinh | Acosh | Atanh | Floor | Ceil | Round | Truncate | Sign | Sigmoid | Softplus
            | Softsign | Mish | Gelu | GeluTanh | Silu | QuickGelu | Relu | HardSwish | Not | BitwiseNot | Expm1
            | Log1p | Square | Exp2 | LogGamma => Some(operand),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_codes_are_bijections() {
        for &function in UnaryFunction::ALL {
            assert_eq!(UnaryFunction::from_name(function.name()), Some(function));
            assert_eq!(UnaryFunction::from_code(function.code()), Some(function));
            assert!(!function.doc().is_empty());
        }
        for &function in BinaryFunction::ALL {
            assert_eq!(BinaryFunction::from_name(function.name()), Some(function));
            assert_eq!(BinaryFunction::from_code(function.code()), Some(function));
        }
        assert_eq!(UnaryFunction::IsNan.result(Element::F16), Some(Element::Bool));
        assert_eq!(UnaryFunction::Exp.result(Element::I32), None);
    }
}
