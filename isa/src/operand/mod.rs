//! The kinds of operand that an instruction can have, each with its bits and its spelling in assembly.
//!
//! In: a value, its bits, or a token of text. Out: the same in another form. Always, for every kind:
//! `from_bits(to_bits(v)) == v`, and parsing what was printed gives `v` again. Table rows in
//! [`crate::instructions`] are made of these and of nothing else.

mod words;

pub use words::{ArgFunction, Condition, Engine, MarkKind, NormKind, PoolKind, ScalarFunction};

use std::fmt;

/// The operands of one instruction in text form, still to be taken from the left.
pub struct Tokens<'a> {
    tokens: std::collections::VecDeque<&'a str>,
    symbols: Option<&'a dyn Symbols>,
}

/// What names mean in an assembly file; without it, only numbers are understood.
pub trait Symbols {
    /// The instruction index of a label.
    fn label(&self, name: &str) -> Option<u32>;
    /// The index of a named descriptor row.
    fn row(&self, name: &str) -> Option<u32>;
}

impl<'a> Tokens<'a> {
    /// Splits at commas; blanks around a token do not matter.
    pub fn new(text: &'a str) -> Tokens<'a> {
        let text = text.trim();
        let tokens = if text.is_empty() { Default::default() } else { text.split(',').map(str::trim).collect() };
        Tokens { tokens, symbols: None }
    }

    /// The same, with names.
    pub fn with_symbols(self, symbols: &'a dyn Symbols) -> Tokens<'a> {
        Tokens { symbols: Some(symbols), ..self }
    }

    /// The next token, if there is one.
    pub fn peek(&self) -> Option<&'a str> {
        self.tokens.front().copied()
    }

    /// Takes the next token; `name` is the operand that is expected.
    pub fn take(&mut self, name: &str) -> Result<&'a str, String> {
        self.tokens.pop_front().ok_or_else(|| format!("operand `{name}` is missing"))
    }

    /// Takes `name=value` and gives `value`.
    pub fn take_named(&mut self, name: &str) -> Result<&'a str, String> {
        let token = self.take(name)?;
        let value = token.strip_prefix(name).and_then(|rest| rest.trim_start().strip_prefix('='));
        value.map(str::trim).ok_or_else(|| format!("expected `{name}=…`, found `{token}`"))
    }

    /// Whether nothing is left; the leftover otherwise.
    pub fn finish(mut self) -> Result<(), String> {
        match self.tokens.pop_front() {
            None => Ok(()),
            Some(token) => Err(format!("`{token}` is one operand too many")),
        }
    }
}

/// One kind of operand.
pub trait Field: Sized {
    /// Bits that it takes in the instruction.
    const WIDTH: u32;
    /// How the manual calls it.
    const KIND: &'static str;

    /// The bits, right-aligned.
    fn to_bits(&self) -> u128;
    /// The value of a pattern of [`Field::WIDTH`] bits, or `None` when the pattern means nothing.
    fn from_bits(bits: u128) -> Option<Self>;
    /// Appends the tokens of the value.
    fn print(&self, name: &str, out: &mut Vec<String>);
    /// Takes the tokens of a value.
    fn parse(name: &str, tokens: &mut Tokens<'_>) -> Result<Self, String>;

    /// The descriptor register that it names, if it is one.
    fn descriptor(&self) -> Option<DescriptorRegister> {
        None
    }
    /// The same, to rename it.
    fn descriptor_mut(&mut self) -> Option<&mut DescriptorRegister> {
        None
    }
    /// The scalar register that it names, if it is one.
    fn register(&self) -> Option<ScalarRegister> {
        None
    }
    /// The same, to rename it.
    fn register_mut(&mut self) -> Option<&mut ScalarRegister> {
        None
    }
    /// The instruction index that it names, if it is a branch target.
    fn target(&self) -> Option<Target> {
        None
    }
}

/// A numbered thing with a printable prefix and an upper limit.
macro_rules! numbered {
    ($(#[$meta:meta])* $name:ident $prefix:literal $width:literal $count:literal $kind:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u8);

        impl $name {
            /// How many there are.
            pub const COUNT: usize = $count;

            /// The one with this number, or `None` when there are fewer.
            pub const fn new(number: u8) -> Option<$name> {
                if number < $count { Some($name(number)) } else { None }
            }

            /// The number.
            pub const fn number(self) -> u8 {
                self.0
            }

            /// The number as an index.
            pub const fn index(self) -> usize {
                self.0 as usize
            }

            /// Reads the printed form.
            pub fn parse_token(token: &str) -> Result<$name, String> {
                let number = token.strip_prefix($prefix).and_then(|digits| digits.parse().ok());
                number.and_then($name::new).ok_or_else(|| {
                    format!("expected {} (`{}0` … `{}{}`), found `{token}`", $kind, $prefix, $prefix, $count - 1)
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

numbered! {
    /// A 64-bit scalar register `r0` … `r31` of the control unit.
    ScalarRegister "r" 5 32 "a scalar register"
}
numbered! {
    /// A descriptor register `d0` … `d62` of the control unit; number 63 means "none" where an operand is optional.
    DescriptorRegister "d" 6 63 "a descriptor register"
}
numbered! {
    /// A counting semaphore `s0` … `s31`.
    Semaphore "s" 5 32 "a semaphore"
}
numbered! {
    /// An axis of a tensor, outermost first.
    Axis "a" 3 8 "an axis"
}

macro_rules! register_field {
    ($type:ty, $width:literal, $none:literal, $kind:literal, $get:ident, $get_mut:ident) => {
        impl Field for $type {
            const WIDTH: u32 = $width;
            const KIND: &'static str = $kind;

            fn to_bits(&self) -> u128 {
                u128::from(self.number())
            }
            fn from_bits(bits: u128) -> Option<Self> {
                u8::try_from(bits).ok().and_then(<$type>::new)
            }
            fn print(&self, _name: &str, out: &mut Vec<String>) {
                out.push(self.to_string());
            }
            fn parse(name: &str, tokens: &mut Tokens<'_>) -> Result<Self, String> {
                <$type>::parse_token(tokens.take(name)?)
            }
            fn $get(&self) -> Option<$type> {
                Some(*self)
            }
            fn $get_mut(&mut self) -> Option<&mut $type> {
                Some(self)
            }
        }

        impl Field for Option<$type> {
            const WIDTH: u32 = 6;
            const KIND: &'static str = concat!($kind, " or _");

            fn to_bits(&self) -> u128 {
                self.map_or($none, |register| u128::from(register.number()))
            }
            fn from_bits(bits: u128) -> Option<Self> {
                if bits == $none { Some(None) } else { u8::try_from(bits).ok().and_then(<$type>::new).map(Some) }
            }
            fn print(&self, _name: &str, out: &mut Vec<String>) {
                out.push(self.map_or("_".to_string(), |register| register.to_string()));
            }
            fn parse(name: &str, tokens: &mut Tokens<'_>) -> Result<Self, String> {
                match tokens.take(name)? {
                    "_" => Ok(None),
                    token => <$type>::parse_token(token).map(Some),
                }
            }
            fn $get(&self) -> Option<$type> {
                *self
            }
            fn $get_mut(&mut self) -> Option<&mut $type> {
                self.as_mut()
            }
        }
    };
}

register_field!(DescriptorRegister, 6, 63, "descriptor", descriptor, descriptor_mut);
register_field!(ScalarRegister, 5, 63, "register", register, register_mut);

/// A field printed as `name=value`.
macro_rules! named_field {
    ($type:ty, $width:expr, $kind:literal, |$value:ident| $to:expr, |$bits:ident| $from:expr, |$text:ident| $parse:expr) => {
        impl Field for $type {
            const WIDTH: u32 = $width;
            const KIND: &'static str = $kind;

            fn to_bits(&self) -> u128 {
                let $value = *self;
                $to
            }
            fn from_bits($bits: u128) -> Option<Self> {
                $from
            }
            fn print(&self, name: &str, out: &mut Vec<String>) {
                out.push(format!("{name}={self}"));
            }
            fn parse(name: &str, tokens: &mut Tokens<'_>) -> Result<Self, String> {
                let $text = tokens.take_named(name)?;
                let parsed: Option<Self> = $parse;
                parsed.ok_or_else(|| format!("`{}` is not a valid value of `{name}` ({})", $text, $kind))
            }
        }
    };
}

named_field!(i64, 64, "64-bit integer", |v| u128::from(v as u64), |bits| Some(bits as u64 as i64), |t| parse_integer(
    t
)
.and_then(|wide| i64::try_from(wide).ok()));
named_field!(i32, 32, "32-bit integer", |v| u128::from(v as u32), |bits| Some(bits as u32 as i32), |t| parse_integer(
    t
)
.and_then(|wide| i32::try_from(wide).ok()));
named_field!(u32, 32, "32-bit unsigned", |v| u128::from(v), |bits| Some(bits as u32), |t| parse_integer(t)
    .and_then(|wide| u32::try_from(wide).ok()));
named_field!(Axis, 3, "axis", |v| u128::from(v.0), |bits| Axis::new(bits as u8), |t| Axis::parse_token(t).ok());
named_field!(AxisSet, 8, "set of axes", |v| u128::from(v.0), |bits| Some(AxisSet(bits as u8)), |t| AxisSet::parse_set(
    t
));
named_field!(Float32, 32, "f32", |v| u128::from(v.0), |bits| Some(Float32(bits as u32)), |t| Float32::parse_text(t));
named_field!(Float64, 64, "f64", |v| u128::from(v.0), |bits| Some(Float64(bits as u64)), |t| Float64::parse_text(t));

/// Decimal or `0x` hexadecimal, with an optional minus and `_` between digits.
pub fn parse_integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let digits = digits.replace('_', "");
    let value = match digits.strip_prefix("0x") {
        Some(hex) => i128::from(u64::from_str_radix(hex, 16).ok()?),
        None => i128::from(digits.parse::<u64>().ok()?),
    };
    Some(if negative { -value } else { value })
}

/// A flag: one bit, printed as its name when set and not at all otherwise.
impl Field for bool {
    const WIDTH: u32 = 1;
    const KIND: &'static str = "flag";

    fn to_bits(&self) -> u128 {
        u128::from(*self)
    }
    fn from_bits(bits: u128) -> Option<Self> {
        Some(bits == 1)
    }
    fn print(&self, name: &str, out: &mut Vec<String>) {
        if *self {
            out.push(name.to_string());
        }
    }
    fn parse(name: &str, tokens: &mut Tokens<'_>) -> Result<Self, String> {
        let present = tokens.peek() == Some(name);
        if present {
            tokens.take(name)?;
        }
        Ok(present)
    }
}

/// The index of an instruction in the code section. Assembly may use a label instead of the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(pub u32);

impl Field for Target {
    const WIDTH: u32 = 32;
    const KIND: &'static str = "target";

    fn to_bits(&self) -> u128 {
        u128::from(self.0)
    }
    fn from_bits(bits: u128) -> Option<Self> {
        Some(Target(bits as u32))
    }
    fn print(&self, _name: &str, out: &mut Vec<String>) {
        out.push(self.0.to_string());
    }
    fn parse(name: &str, tokens: &mut Tokens<'_>) -> Result<Self, String> {
        let token = tokens.take(name)?;
        let label = || tokens.symbols.and_then(|symbols| symbols.label(token));
        let index = token.parse().ok().or_else(label);
        index.map(Target).ok_or_else(|| format!("`{token}` is neither an instruction number nor a label"))
    }
    fn target(&self) -> Option<Target> {
        Some(*self)
    }
}

/// The index of a row in the descriptor section. Assembly may use the row's name instead of the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowIndex(pub u32);

impl Field for RowIndex {
    const WIDTH: u32 = 32;
    const KIND: &'static str = "row";

    fn to_bits(&self) -> u128 {
        u128::from(self.0)
    }
    fn from_bits(bits: u128) -> Option<Self> {
        Some(RowIndex(bits as u32))
    }
    fn print(&self, _name: &str, out: &mut Vec<String>) {
        out.push(self.0.to_string());
    }
    fn parse(name: &str, tokens: &mut Tokens<'_>) -> Result<Self, String> {
        let token = tokens.take(name)?;
        let named = || tokens.symbols.and_then(|symbols| symbols.row(token));
        let index = token.parse().ok().or_else(named);
        index.map(RowIndex).ok_or_else(|| format!("`{token}` is neither a row number nor the name of a descriptor row"))
    }
}

/// A set of axes, one bit each; printed as `{0 2}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AxisSet(pub u8);

impl AxisSet {
    /// The set of these axes; `None` when one of them is beyond the highest rank.
    pub fn of(axes: &[usize]) -> Option<AxisSet> {
        axes.iter().try_fold(AxisSet(0), |set, &axis| (axis < 8).then(|| AxisSet(set.0 | 1 << axis)))
    }

    /// Whether the axis belongs to the set.
    pub fn contains(self, axis: usize) -> bool {
        axis < 8 && self.0 >> axis & 1 == 1
    }

    /// The axes, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..8).filter(move |&axis| self.contains(axis))
    }

    fn parse_set(text: &str) -> Option<AxisSet> {
        let inner = text.strip_prefix('{')?.strip_suffix('}')?;
        let axes: Option<Vec<usize>> = inner.split_whitespace().map(|axis| axis.parse().ok()).collect();
        AxisSet::of(&axes?)
    }
}

impl fmt::Display for AxisSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let axes: Vec<String> = self.iter().map(|axis| axis.to_string()).collect();
        write!(f, "{{{}}}", axes.join(" "))
    }
}

/// A float immediate that compares and prints by its bits, so that NaNs and zeros survive.
macro_rules! float_immediate {
    ($name:ident $float:ident $bits:ident $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name($bits);

        impl $name {
            /// From a number.
            pub fn new(value: $float) -> $name {
                $name(value.to_bits())
            }

            /// The number.
            pub fn value(self) -> $float {
                $float::from_bits(self.0)
            }

            fn parse_text(text: &str) -> Option<$name> {
                match text.strip_prefix("nan:") {
                    Some(hex) => {
                        $bits::from_str_radix(hex, 16).ok().filter(|&bits| $float::from_bits(bits).is_nan()).map($name)
                    }
                    None => text.parse::<$float>().ok().filter(|value| !value.is_nan()).map($name::new),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let value = self.value();
                if value.is_nan() { write!(f, "nan:{:x}", self.0) } else { write!(f, "{value:?}") }
            }
        }
    };
}

float_immediate!(Float32 f32 u32 "An immediate `f32`.");
float_immediate!(Float64 f64 u64 "An immediate `f64`.");
