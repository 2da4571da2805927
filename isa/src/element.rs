//! The element types that the machine can hold in memory, and the exact conversion of one element.
//!
//! In and out: little-endian bytes of one element, and `f32`, `f64` or `i64`. Always: a conversion rounds once, to
//! nearest with ties to even; loads into `f64` are exact for every type but the 64-bit integers. In activation tensors a
//! type of less than 8 bits takes one byte per element (sign-extended); only packed weight formats go below a byte.

use crate::small_float::{self, SmallFloat};

/// What kind of arithmetic a type takes part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ElementClass {
    /// Binary floating point.
    Float,
    /// Two's complement or unsigned integers.
    Integer,
    /// One byte, 0 or 1.
    Bool,
}

/// What happens to a value that the target type cannot represent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Overflow {
    /// Integers keep their low bits; floats become infinity (or NaN in types without infinity).
    Wrap,
    /// The nearest finite value of the target type.
    Saturate,
}

/// Rounding of a magnitude to a power of two, for [`Element::F8E8M0`] (ONNX `Cast`, attribute `round_mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScaleRounding {
    /// To the nearer power, a tie (×1.5) to the larger one.
    Nearest,
    /// To the next larger power.
    Up,
    /// To the next smaller power.
    Down,
}

macro_rules! elements {
    ($($(#[$doc:meta])* $variant:ident = $code:literal $name:literal $bits:literal $class:ident $signed:literal;)*) => {
        /// An element type in memory. The discriminant is the code in descriptor rows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "lowercase")]
        #[repr(u8)]
        pub enum Element { $($(#[$doc])* $variant = $code,)* }

        impl Element {
            /// Every element type, in the order of the codes.
            pub const ALL: &[Element] = &[$(Element::$variant,)*];

            /// The name used in every text form (`f32`, `i64`, `f8e4m3` …).
            pub fn name(self) -> &'static str {
                match self { $(Element::$variant => $name,)* }
            }

            /// Significant bits of one element; what a packed format would store.
            pub fn bits(self) -> u32 {
                match self { $(Element::$variant => $bits,)* }
            }

            /// Float, integer or bool.
            pub fn class(self) -> ElementClass {
                match self { $(Element::$variant => ElementClass::$class,)* }
            }

            /// Whether negative numbers exist in the type.
            pub fn is_signed(self) -> bool {
                match self { $(Element::$variant => $signed,)* }
            }

            /// The type with this code in a descriptor row.
            pub fn from_code(code: u8) -> Option<Element> {
                match code { $($code => Some(Element::$variant),)* _ => None }
            }

            /// The type with this name.
            pub fn from_name(name: &str) -> Option<Element> {
                match name { $($name => Some(Element::$variant),)* _ => None }
            }
        }
    };
}

elements! {
    /// IEEE 754 binary32.
    F32 = 0 "f32" 32 Float true;
    /// IEEE 754 binary16.
    F16 = 1 "f16" 16 Float true;
    /// The upper half of binary32.
    BF16 = 2 "bf16" 16 Float true;
    /// IEEE 754 binary64.
    F64 = 3 "f64" 64 Float true;
    /// OCP FP8 E4M3: no infinity, largest 448.
    F8E4M3 = 4 "f8e4m3" 8 Float true;
    /// E4M3 with bias 8, no infinity, no negative zero, largest 240.
    F8E4M3FNUZ = 5 "f8e4m3fnuz" 8 Float true;
    /// OCP FP8 E5M2: with infinities, largest 57344.
    F8E5M2 = 6 "f8e5m2" 8 Float true;
    /// E5M2 with bias 16, no infinity, no negative zero, largest 57344.
    F8E5M2FNUZ = 7 "f8e5m2fnuz" 8 Float true;
    /// A power of two 2^(code − 127); code 255 is NaN. Only used for scales.
    F8E8M0 = 8 "f8e8m0" 8 Float false;
    /// OCP FP4: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives.
    F4E2M1 = 9 "f4e2m1" 4 Float true;
    /// −2 … 1.
    I2 = 10 "i2" 2 Integer true;
    /// 0 … 3.
    U2 = 11 "u2" 2 Integer false;
    /// −8 … 7.
    I4 = 12 "i4" 4 Integer true;
    /// 0 … 15.
    U4 = 13 "u4" 4 Integer false;
    /// −128 … 127.
    I8 = 14 "i8" 8 Integer true;
    /// 0 … 255.
    U8 = 15 "u8" 8 Integer false;
    /// 16-bit two's complement.
    I16 = 16 "i16" 16 Integer true;
    /// 16-bit unsigned.
    U16 = 17 "u16" 16 Integer false;
    /// 32-bit two's complement.
    I32 = 18 "i32" 32 Integer true;
    /// 32-bit unsigned.
    U32 = 19 "u32" 32 Integer false;
    /// 64-bit two's complement.
    I64 = 20 "i64" 64 Integer true;
    /// 64-bit unsigned.
    U64 = 21 "u64" 64 Integer false;
    /// One byte: 0 is false, anything else is true; stores write 0 or 1.
    Bool = 22 "bool" 8 Bool false;
}

impl std::fmt::Display for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Element {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Element::from_name(text).ok_or_else(|| format!("`{text}` is not an element type"))
    }
}

impl Element {
    /// The code in descriptor rows.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Size of one element in an activation tensor, in bytes.
    pub fn bytes(self) -> usize {
        (self.bits() as usize).div_ceil(8)
    }

    /// Whether the type is floating point.
    pub fn is_float(self) -> bool {
        self.class() == ElementClass::Float
    }

    /// Whether the type is an integer (bool is not).
    pub fn is_integer(self) -> bool {
        self.class() == ElementClass::Integer
    }

    /// The least and greatest value of an integer type or bool.
    pub fn integer_range(self) -> Option<(i128, i128)> {
        match self.class() {
            ElementClass::Float => None,
            ElementClass::Bool => Some((0, 1)),
            ElementClass::Integer if self.is_signed() => {
                Some((-(1i128 << (self.bits() - 1)), (1i128 << (self.bits() - 1)) - 1))
            }
            ElementClass::Integer => Some((0, (1i128 << self.bits()) - 1)),
        }
    }

    fn small_float(self) -> Option<SmallFloat> {
        match self {
            Element::F16 => Some(small_float::F16),
            Element::BF16 => Some(small_float::BF16),
            Element::F8E4M3 => Some(small_float::F8E4M3),
            Element::F8E4M3FNUZ => Some(small_float::F8E4M3FNUZ),
            Element::F8E5M2 => Some(small_float::F8E5M2),
            Element::F8E5M2FNUZ => Some(small_float::F8E5M2FNUZ),
            Element::F4E2M1 => Some(small_float::F4E2M1),
            Element::F32
            | Element::F64
            | Element::F8E8M0
            | Element::I2
            | Element::U2
            | Element::I4
            | Element::U4
            | Element::I8
            | Element::U8
            | Element::I16
            | Element::U16
            | Element::I32
            | Element::U32
            | Element::I64
            | Element::U64
            | Element::Bool => None,
        }
    }

    /// The value of an integer or bool element, exactly; `None` for floats.
    ///
    /// `bytes` holds at least [`Element::bytes`] bytes; more are ignored.
    pub fn load_i128(self, bytes: &[u8]) -> Option<i128> {
        Some(match self {
            Element::I64 => i128::from(i64::from_le_bytes(array(bytes))),
            Element::U64 => i128::from(u64::from_le_bytes(array(bytes))),
            Element::I32 => i128::from(i32::from_le_bytes(array(bytes))),
            Element::U32 => i128::from(u32::from_le_bytes(array(bytes))),
            Element::I16 => i128::from(i16::from_le_bytes(array(bytes))),
            Element::U16 => i128::from(u16::from_le_bytes(array(bytes))),
            Element::I8 => i128::from(bytes[0] as i8),
            Element::U8 => i128::from(bytes[0]),
            Element::I4 => i128::from((bytes[0] << 4) as i8 >> 4),
            Element::U4 => i128::from(bytes[0] & 15),
            Element::I2 => i128::from((bytes[0] << 6) as i8 >> 6),
            Element::U2 => i128::from(bytes[0] & 3),
            Element::Bool => i128::from(bytes[0] != 0),
            _ => return None,
        })
    }

    /// The value as `f64`: exact, except that 64-bit integers beyond 2^53 round to nearest even.
    pub fn load_f64(self, bytes: &[u8]) -> f64 {
        if let Some(integer) = self.load_i128(bytes) {
            return integer as f64;
        }
        match self {
            Element::F32 => f64::from(f32::from_le_bytes(array(bytes))),
            Element::F64 => f64::from_le_bytes(array(bytes)),
            Element::F16 => f64::from(half::f16::from_le_bytes(array(bytes)).to_f32()),
            Element::BF16 => f64::from(half::bf16::from_le_bytes(array(bytes)).to_f32()),
            Element::F8E8M0 if bytes[0] == 255 => f64::NAN,
            Element::F8E8M0 => small_float::power_of_two(i32::from(bytes[0]) - 127),
            _ => match self.small_float() {
                Some(format) => format.decode(u16::from(bytes[0])),
                None => unreachable!("every other type was handled above"),
            },
        }
    }

    /// The value as `f32`, rounded once.
    pub fn load_f32(self, bytes: &[u8]) -> f32 {
        match self {
            Element::F32 => f32::from_le_bytes(array(bytes)),
            Element::F16 => half::f16::from_le_bytes(array(bytes)).to_f32(),
            Element::BF16 => half::bf16::from_le_bytes(array(bytes)).to_f32(),
            _ => match self.load_i128(bytes) {
                Some(integer) => integer as f32,
                None => self.load_f64(bytes) as f32,
            },
        }
    }

    /// The value as `i64`: integers exactly (`u64` by its bit pattern), floats truncated toward zero and clamped, NaN 0.
    pub fn load_i64(self, bytes: &[u8]) -> i64 {
        match self.load_i128(bytes) {
            Some(integer) => integer as i64,
            None => self.load_f64(bytes) as i64,
        }
    }

    /// Writes an integer. Integer types wrap or saturate, float types round to nearest even, bool is `value != 0`.
    pub fn store_i128(self, value: i128, overflow: Overflow, out: &mut [u8]) {
        if self.is_float() {
            return self.store_rounded_integer(value, overflow, out);
        }
        let value = match (self.integer_range(), overflow) {
            (Some(_), _) if self == Element::Bool => i128::from(value != 0),
            (Some((low, high)), Overflow::Saturate) => value.clamp(low, high),
            (_, Overflow::Wrap) | (None, _) => value,
        };
        let bytes = self.bytes();
        match self {
            Element::I4 => out[0] = ((value as i8) << 4 >> 4) as u8,
            Element::I2 => out[0] = ((value as i8) << 6 >> 6) as u8,
            Element::U4 => out[0] = value as u8 & 15,
            Element::U2 => out[0] = value as u8 & 3,
            _ => out[..bytes].copy_from_slice(&value.to_le_bytes()[..bytes]),
        }
    }

    /// Float targets of an integer: one rounding even where the integer has more bits than `f64`.
    fn store_rounded_integer(self, value: i128, overflow: Overflow, out: &mut [u8]) {
        match self {
            Element::F32 => out[..4].copy_from_slice(&(value as f32).to_le_bytes()),
            Element::F64 => out[..8].copy_from_slice(&(value as f64).to_le_bytes()),
            _ => self.store_f64(to_odd_f64(value), overflow, out),
        }
    }

    /// Writes an `i64`; see [`Element::store_i128`].
    pub fn store_i64(self, value: i64, overflow: Overflow, out: &mut [u8]) {
        self.store_i128(i128::from(value), overflow, out);
    }

    /// Writes an `f64`. Float types round once to nearest even; integer types truncate toward zero (NaN gives 0), clamp
    /// to 64 bits and then wrap or saturate; bool is `value != 0`, so NaN is true.
    pub fn store_f64(self, value: f64, overflow: Overflow, out: &mut [u8]) {
        match self {
            Element::F64 => out[..8].copy_from_slice(&canonical_f64(value).to_le_bytes()),
            Element::F32 => out[..4].copy_from_slice(&saturated_f32(value, overflow).to_le_bytes()),
            Element::F8E8M0 => out[0] = encode_scale(value, ScaleRounding::Up, overflow),
            Element::Bool => out[0] = u8::from(value != 0.0),
            Element::U64 if value > 0.0 => self.store_i128(i128::from(value as u64), overflow, out),
            _ => match self.small_float() {
                Some(format) => {
                    let bits = format.encode(value, overflow == Overflow::Saturate);
                    out[..self.bytes()].copy_from_slice(&bits.to_le_bytes()[..self.bytes()]);
                }
                None => self.store_i128(i128::from(value as i64), overflow, out),
            },
        }
    }

    /// Writes an `f32`; see [`Element::store_f64`].
    pub fn store_f32(self, value: f32, overflow: Overflow, out: &mut [u8]) {
        match (self, overflow) {
            (Element::F32, Overflow::Wrap) => out[..4].copy_from_slice(&canonical_f32(value).to_le_bytes()),
            (Element::F16, Overflow::Wrap) if !value.is_nan() => {
                out[..2].copy_from_slice(&half::f16::from_f32(value).to_le_bytes());
            }
            (Element::BF16, Overflow::Wrap) if !value.is_nan() => {
                out[..2].copy_from_slice(&half::bf16::from_f32(value).to_le_bytes());
            }
            _ => self.store_f64(f64::from(value), overflow, out),
        }
    }
}

/// A power-of-two scale ([`Element::F8E8M0`]) of the magnitude of `value`; NaN and infinities give the NaN code.
pub fn encode_scale(value: f64, rounding: ScaleRounding, overflow: Overflow) -> u8 {
    let bits = (value as f32).to_bits();
    let exponent = (bits >> 23) & 0xff;
    if exponent == 0xff {
        return 0xff;
    }
    let fraction = bits & 0x7f_ffff;
    let up = match rounding {
        ScaleRounding::Nearest => fraction >= 0x40_0000 && (exponent > 0 || fraction > 0x40_0000),
        ScaleRounding::Up => fraction != 0,
        ScaleRounding::Down => false,
    };
    let rounded = exponent + u32::from(up);
    if rounded == 0xff && overflow == Overflow::Saturate { 0xfe } else { rounded as u8 }
}

/// The one NaN that the machine produces: quiet, positive, no payload.
pub fn canonical_f32(value: f32) -> f32 {
    if value.is_nan() { f32::from_bits(0x7fc0_0000) } else { value }
}

/// The one NaN that the machine produces: quiet, positive, no payload.
pub fn canonical_f64(value: f64) -> f64 {
    if value.is_nan() { f64::from_bits(0x7ff8_0000_0000_0000) } else { value }
}

fn saturated_f32(value: f64, overflow: Overflow) -> f32 {
    let rounded = canonical_f32(value as f32);
    match overflow {
        Overflow::Saturate if rounded.is_infinite() => f32::MAX.copysign(rounded),
        Overflow::Saturate | Overflow::Wrap => rounded,
    }
}

/// Round-to-odd keeps the information that a later rounding to fewer bits needs, so that rounding twice is exact.
fn to_odd_f64(value: i128) -> f64 {
    let rounded = value as f64;
    let back = rounded as i128;
    if back == value || rounded.to_bits() & 1 == 1 {
        return rounded;
    }
    let toward_zero = back.unsigned_abs() > value.unsigned_abs();
    f64::from_bits(if toward_zero { rounded.to_bits() - 1 } else { rounded.to_bits() + 1 })
}

/// The first `N` bytes; the caller guarantees the length (an element never straddles the end of a checked view).
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[..N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store_f64(element: Element, value: f64, overflow: Overflow) -> f64 {
        let mut bytes = [0u8; 8];
        element.store_f64(value, overflow, &mut bytes);
        element.load_f64(&bytes)
    }

    #[test]
    fn codes_and_names_are_bijections() {
        for &element in Element::ALL {
            assert_eq!(Element::from_code(element.code()), Some(element));
            assert_eq!(Element::from_name(element.name()), Some(element));
            assert!(element.code() < 64, "codes from 64 on are weight formats");
        }
    }

    #[test]
    fn integers_wrap_or_saturate() {
        assert_eq!(store_f64(Element::I4, -9.0, Overflow::Wrap), 7.0);
        assert_eq!(store_f64(Element::I4, -9.7, Overflow::Saturate), -8.0);
        assert_eq!(store_f64(Element::U4, 17.0, Overflow::Wrap), 1.0);
        assert_eq!(store_f64(Element::I2, -2.0, Overflow::Wrap), -2.0);
        assert_eq!(store_f64(Element::I8, 200.0, Overflow::Wrap), -56.0);
        assert_eq!(store_f64(Element::U64, 1.8e19, Overflow::Wrap), 1.8e19);
        assert_eq!(store_f64(Element::I32, f64::NAN, Overflow::Wrap), 0.0);
    }

    #[test]
    fn integer_to_small_float_rounds_once() {
        // 2^60 + 2^52 is a tie for bf16 (8 significant bits); one more unit must round up, through f64 it would not.
        let value = (1i128 << 60) + (1 << 52) + 1;
        let mut bytes = [0u8; 8];
        Element::BF16.store_i128(value, Overflow::Wrap, &mut bytes);
        assert_eq!(Element::BF16.load_f64(&bytes), (1u64 << 60) as f64 + (1u64 << 53) as f64);
    }

    #[test]
    fn powers_of_two() {
        assert_eq!(encode_scale(1.0, ScaleRounding::Up, Overflow::Saturate), 127);
        assert_eq!(encode_scale(1.1, ScaleRounding::Up, Overflow::Saturate), 128);
        assert_eq!(encode_scale(1.4, ScaleRounding::Nearest, Overflow::Saturate), 127);
        assert_eq!(encode_scale(3.0, ScaleRounding::Nearest, Overflow::Saturate), 129);
        assert_eq!(Element::F8E8M0.load_f64(&[0]), 2f64.powi(-127));
    }
}
