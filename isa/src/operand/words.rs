//! Operands that are one of a few words: engines, functions, conditions, kinds.
//!
//! Each is a table of variants with code, word in assembly and meaning; the bits and the spelling follow from it.
//! Always: codes and words are unique, and a code without a variant does not decode.

use std::fmt;

use super::{Field, Tokens};
use crate::element::{Element, ScaleRounding};
use crate::functions::{
    BinaryFunction, CompareFunction, CumulateFunction, ReduceFunction, ScatterFunction, UnaryFunction,
};

/// An enumeration that is an operand: a code, a word in assembly, a meaning.
macro_rules! operand_enum {
    ($(#[$meta:meta])* $name:ident $width:literal $kind:literal:
        $($(#[doc = $doc:literal])* $variant:ident = $code:literal $word:literal;)*) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[doc = $doc])* $variant = $code,)* }

        impl $name {
            /// All of them, in the order of the codes.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// The word in assembly.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }

            /// The meaning in words.
            pub fn doc(self) -> &'static str {
                match self { $($name::$variant => concat!($($doc),*).trim_ascii(),)* }
            }

            /// The one with this name.
            pub fn from_name(name: &str) -> Option<$name> {
                match name { $($word => Some($name::$variant),)* _ => None }
            }

            /// The one with this code.
            pub fn from_code(code: u8) -> Option<$name> {
                match code { $($code => Some($name::$variant),)* _ => None }
            }

            /// The code.
            pub fn code(self) -> u8 {
                self as u8
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        word_field!($name, $width, $kind);
    };
}

/// A field printed as a bare word.
macro_rules! word_field {
    ($name:ident, $width:literal, $kind:literal) => {
        impl Field for $name {
            const WIDTH: u32 = $width;
            const KIND: &'static str = $kind;

            fn to_bits(&self) -> u128 {
                u128::from(self.code())
            }
            fn from_bits(bits: u128) -> Option<Self> {
                u8::try_from(bits).ok().and_then($name::from_code)
            }
            fn print(&self, _name: &str, out: &mut Vec<String>) {
                out.push(self.to_string());
            }
            fn parse(name: &str, tokens: &mut Tokens<'_>) -> Result<Self, String> {
                let token = tokens.take(name)?;
                $name::from_name(token).ok_or_else(|| format!("`{token}` is not a valid `{name}` ({})", $kind))
            }
        }
    };
}

word_field!(UnaryFunction, 8, "unary function");
word_field!(BinaryFunction, 8, "binary function");
word_field!(CompareFunction, 4, "comparison");
word_field!(ReduceFunction, 4, "reduction");
word_field!(CumulateFunction, 4, "cumulation");
word_field!(ScatterFunction, 4, "scatter function");
word_field!(Element, 6, "element type");

operand_enum! {
    /// An engine with its own in-order queue.
    Engine 3 "engine":
    /// Control unit: fetches, executes scalar instructions in order, dispatches all others to the engines' queues.
    Scu = 0 "scu";
    /// Weight streams: DRAM to the weight FIFO of the matrix engine.
    Dmaw = 1 "dmaw";
    /// Activations, KV cache, rows: strided moves between and within the memories.
    Dmaa = 2 "dmaa";
    /// Matrix products.
    Mxe = 3 "mxe";
    /// Attention.
    Ate = 4 "ate";
    /// Vectors: everything elementwise, reductions, normalisation, indexing.
    Vpe = 5 "vpe";
}

operand_enum! {
    /// Arithmetic of the control unit on 64-bit two's complement integers; results wrap.
    ScalarFunction 4 "scalar function":
    /// a + b.
    Add = 0 "add";
    /// a − b.
    Sub = 1 "sub";
    /// a · b.
    Mul = 2 "mul";
    /// Quotient rounded toward minus infinity; a division by zero stops the program.
    Div = 3 "div";
    /// a − b · (a div b); a division by zero stops the program.
    Mod = 4 "mod";
    /// The smaller one.
    Min = 5 "min";
    /// The greater one.
    Max = 6 "max";
    /// Bitwise and.
    And = 7 "and";
    /// Bitwise or.
    Or = 8 "or";
    /// Bitwise exclusive or.
    Xor = 9 "xor";
    /// a · 2^(b mod 64).
    Shl = 10 "shl";
    /// a / 2^(b mod 64), rounded toward minus infinity.
    Shr = 11 "shr";
    /// Quotient rounded toward plus infinity; a division by zero stops the program.
    CeilDiv = 12 "ceildiv";
    /// 1 if a = b, else 0.
    Equal = 13 "eq";
    /// 1 if a < b, else 0.
    Less = 14 "lt";
}

operand_enum! {
    /// When a branch is taken; signed comparison of two scalars.
    Condition 3 "condition":
    /// a = b.
    Eq = 0 "eq";
    /// a ≠ b.
    Ne = 1 "ne";
    /// a < b.
    Lt = 2 "lt";
    /// a ≥ b.
    Ge = 3 "ge";
    /// a ≤ b.
    Le = 4 "le";
    /// a > b.
    Gt = 5 "gt";
}

operand_enum! {
    /// What a `mark` says about the instructions that follow; for reports only.
    MarkKind 3 "marker":
    /// A token or inference step begins.
    Token = 0 "token";
    /// A layer begins.
    Layer = 1 "layer";
    /// A graph node begins.
    Node = 2 "node";
    /// Anything else.
    User = 3 "user";
    /// The layers are over; what follows belongs to none.
    Rest = 4 "rest";
}

operand_enum! {
    /// Which extreme an index reduction looks for.
    ArgFunction 1 "extreme":
    /// The index of the greatest; NaN counts as greatest.
    Max = 0 "max";
    /// The index of the least; NaN counts as least.
    Min = 1 "min";
}

operand_enum! {
    /// A normalisation.
    NormKind 2 "normalisation":
    /// x / √(mean(x²) + ε).
    Rms = 0 "rms";
    /// (x − mean(x)) / √(mean((x − mean(x))²) + ε).
    Layer = 1 "layer";
    /// x / max(√(Σ x²), ε).
    L2 = 2 "l2";
}

operand_enum! {
    /// What pooling does with a window.
    PoolKind 2 "pooling":
    /// The greatest element that is not padding; NaN wins.
    Max = 0 "max";
    /// The sum divided by the number of elements that are not padding.
    Average = 1 "average";
    /// The sum divided by the number of elements of the window, padding included (but not what lies beyond it).
    AverageWithPadding = 2 "average-with-padding";
    /// The sum.
    Sum = 3 "sum";
}

impl ScaleRounding {
    /// The word in assembly.
    pub fn name(self) -> &'static str {
        match self {
            ScaleRounding::Nearest => "nearest",
            ScaleRounding::Up => "up",
            ScaleRounding::Down => "down",
        }
    }

    /// The one with this name.
    pub fn from_name(name: &str) -> Option<ScaleRounding> {
        [ScaleRounding::Nearest, ScaleRounding::Up, ScaleRounding::Down].into_iter().find(|it| it.name() == name)
    }

    /// The code in instructions.
    pub fn code(self) -> u8 {
        match self {
            ScaleRounding::Up => 0,
            ScaleRounding::Nearest => 1,
            ScaleRounding::Down => 2,
        }
    }

    /// The one with this code.
    pub fn from_code(code: u8) -> Option<ScaleRounding> {
        [ScaleRounding::Up, ScaleRounding::Nearest, ScaleRounding::Down].get(usize::from(code)).copied()
    }
}

impl fmt::Display for ScaleRounding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

word_field!(ScaleRounding, 2, "rounding of scales");
