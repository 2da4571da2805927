//! Encoding and decoding of every binary floating-point type of at most 16 bits, from one description per type.
//!
//! In: an `f64` (or the bits). Out: the bits (or the exact `f64`). Always: round to nearest, ties to even, one rounding
//! only; every value of these types is exactly a `f64`, so decoding never rounds.

/// How a small type spends its highest exponent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Specials {
    /// As IEEE 754: all-ones exponent is infinity (mantissa 0) or NaN.
    Ieee,
    /// "FN": no infinity; only the all-ones pattern (either sign) is NaN.
    FiniteNan,
    /// "FNUZ": no infinity, no negative zero; the pattern of negative zero is NaN.
    FiniteUnsignedZero,
    /// Every pattern is a finite number.
    None,
}

/// One floating-point type: `sign | exponent | mantissa`, value `(-1)^s · 1.m · 2^(e - bias)`, subnormals at `e = 0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SmallFloat {
    pub exponent_bits: u32,
    pub mantissa_bits: u32,
    pub bias: i32,
    pub specials: Specials,
}

pub(crate) const F16: SmallFloat =
    SmallFloat { exponent_bits: 5, mantissa_bits: 10, bias: 15, specials: Specials::Ieee };
pub(crate) const BF16: SmallFloat =
    SmallFloat { exponent_bits: 8, mantissa_bits: 7, bias: 127, specials: Specials::Ieee };
pub(crate) const F8E4M3: SmallFloat =
    SmallFloat { exponent_bits: 4, mantissa_bits: 3, bias: 7, specials: Specials::FiniteNan };
pub(crate) const F8E4M3FNUZ: SmallFloat =
    SmallFloat { exponent_bits: 4, mantissa_bits: 3, bias: 8, specials: Specials::FiniteUnsignedZero };
pub(crate) const F8E5M2: SmallFloat =
    SmallFloat { exponent_bits: 5, mantissa_bits: 2, bias: 15, specials: Specials::Ieee };
pub(crate) const F8E5M2FNUZ: SmallFloat =
    SmallFloat { exponent_bits: 5, mantissa_bits: 2, bias: 16, specials: Specials::FiniteUnsignedZero };
pub(crate) const F4E2M1: SmallFloat =
    SmallFloat { exponent_bits: 2, mantissa_bits: 1, bias: 1, specials: Specials::None };

impl SmallFloat {
    fn sign_bit(self) -> u16 {
        1 << (self.exponent_bits + self.mantissa_bits)
    }

    /// The canonical NaN; a type without NaN gives negative zero, as numpy's `ml_dtypes` does.
    fn nan(self) -> u16 {
        let magnitude = self.sign_bit() - 1;
        match self.specials {
            Specials::Ieee => magnitude & !((1 << (self.mantissa_bits - 1)) - 1),
            Specials::FiniteNan => magnitude,
            Specials::FiniteUnsignedZero | Specials::None => self.sign_bit(),
        }
    }

    /// The largest finite magnitude.
    fn largest(self) -> u16 {
        let magnitude = self.sign_bit() - 1;
        match self.specials {
            Specials::Ieee => magnitude - (1 << self.mantissa_bits),
            Specials::FiniteNan => magnitude - 1,
            Specials::FiniteUnsignedZero | Specials::None => magnitude,
        }
    }

    /// What a magnitude beyond the largest finite one becomes when it must not saturate.
    fn overflow(self) -> u16 {
        match self.specials {
            Specials::Ieee => self.largest() + 1,
            Specials::FiniteNan | Specials::FiniteUnsignedZero => self.nan(),
            Specials::None => self.largest(),
        }
    }

    /// Nearest value, ties to even. `saturate` keeps overflow and infinities at the largest finite magnitude.
    pub fn encode(self, value: f64, saturate: bool) -> u16 {
        if value.is_nan() {
            return self.nan();
        }
        let sign = if value.is_sign_negative() { self.sign_bit() } else { 0 };
        let magnitude = self.round_magnitude(value.abs());
        if magnitude > u64::from(self.largest()) {
            let bits = if saturate { self.largest() } else { self.overflow() };
            let is_nan = bits == self.nan();
            return if is_nan { bits } else { sign | bits };
        }
        let magnitude = magnitude as u16;
        if magnitude == 0 && self.specials == Specials::FiniteUnsignedZero { 0 } else { sign | magnitude }
    }

    /// The bits of the rounded magnitude as if the exponent had no upper limit.
    fn round_magnitude(self, value: f64) -> u64 {
        if value.is_infinite() {
            return u64::MAX;
        }
        let bits = value.to_bits();
        let exponent = (bits >> 52) as i32 - 1023;
        if value == 0.0 || exponent < -1022 {
            return 0; // f64 subnormals are far below half of any small type's least value
        }
        let significand = (bits & ((1 << 52) - 1)) | (1 << 52);
        let biased = exponent + self.bias;
        // A subnormal target keeps fewer bits: shift further by the distance to exponent 1.
        let below = (1 - biased).max(0);
        let drop = 52 - self.mantissa_bits as i32 + below;
        if drop > 54 {
            return 0;
        }
        let kept = round_shift(significand, drop as u32);
        let base = if biased >= 1 { ((biased - 1) as u64) << self.mantissa_bits } else { 0 };
        base + kept
    }

    /// The exact value of a pattern.
    pub fn decode(self, bits: u16) -> f64 {
        let sign_bit = self.sign_bit();
        let magnitude = bits & (sign_bit - 1);
        let negative = bits & sign_bit != 0;
        let exponent = i32::from(magnitude >> self.mantissa_bits);
        let mantissa = f64::from(magnitude & ((1 << self.mantissa_bits) - 1));
        let top = (1 << self.exponent_bits) - 1;
        let value = match self.specials {
            Specials::Ieee if exponent == top => {
                if mantissa == 0.0 {
                    f64::INFINITY
                } else {
                    return f64::NAN;
                }
            }
            Specials::FiniteNan if magnitude == sign_bit - 1 => return f64::NAN,
            Specials::FiniteUnsignedZero if negative && magnitude == 0 => return f64::NAN,
            _ => {
                let unit = power_of_two(exponent.max(1) - self.bias - self.mantissa_bits as i32);
                let implicit = if exponent == 0 { 0.0 } else { f64::from(1u32 << self.mantissa_bits) };
                (implicit + mantissa) * unit
            }
        };
        if negative { -value } else { value }
    }
}

/// `value / 2^shift` rounded to nearest, ties to even.
fn round_shift(value: u64, shift: u32) -> u64 {
    let kept = value >> shift;
    let rest = value & ((1u64 << shift) - 1);
    let half = 1u64 << (shift - 1);
    kept + u64::from(rest > half || (rest == half && kept & 1 == 1))
}

/// 2^exponent for exponents in the normal range of `f64`.
pub(crate) fn power_of_two(exponent: i32) -> f64 {
    debug_assert!((-1022..=1023).contains(&exponent), "exponent outside of the normal range of f64");
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [SmallFloat; 7] = [F16, BF16, F8E4M3, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F4E2M1];

    #[test]
    fn every_pattern_survives_decode_and_encode() {
        for format in ALL {
            let patterns = u32::from(format.sign_bit()) * 2;
            for bits in 0..patterns as u16 {
                let value = format.decode(bits);
                if !value.is_nan() {
                    assert_eq!(format.encode(value, false), bits, "{format:?} {bits:#x} {value}");
                }
            }
        }
    }

    #[test]
    fn rounding_between_neighbours_is_to_nearest_even() {
        for format in ALL {
            for bits in 0..format.largest() {
                let (low, high) = (format.decode(bits), format.decode(bits + 1));
                let middle = low + (high - low) / 2.0;
                assert_eq!(format.encode(middle, false), bits + (bits & 1), "{format:?} {bits:#x}");
                let above = f64::from_bits(middle.to_bits() + 1);
                let below = f64::from_bits(middle.to_bits() - 1);
                assert_eq!(format.encode(above, false), bits + 1);
                assert_eq!(format.encode(below, false), bits);
            }
        }
    }

    #[test]
    fn sixteen_bit_types_agree_with_the_crate_half() {
        let mut state = 1u32;
        for _ in 0..200_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = f32::from_bits(state);
            if value.is_nan() {
                continue;
            }
            assert_eq!(F16.encode(f64::from(value), false), half::f16::from_f32(value).to_bits(), "{value}");
            assert_eq!(BF16.encode(f64::from(value), false), half::bf16::from_f32(value).to_bits(), "{value}");
        }
    }

    #[test]
    fn limits_of_the_eight_bit_types() {
        assert_eq!(F8E4M3.decode(F8E4M3.largest()), 448.0);
        assert_eq!(F8E4M3FNUZ.decode(F8E4M3FNUZ.largest()), 240.0);
        assert_eq!(F8E5M2.decode(F8E5M2.largest()), 57344.0);
        assert_eq!(F8E5M2FNUZ.decode(F8E5M2FNUZ.largest()), 57344.0);
        assert_eq!(F4E2M1.decode(F4E2M1.largest()), 6.0);
        assert_eq!(F8E4M3.encode(f64::INFINITY, true), 0x7e);
        assert_eq!(F8E4M3.encode(-1e9, false), 0x7f);
        assert_eq!(F8E5M2.encode(-1e9, false), 0xfc);
        assert_eq!(F8E4M3FNUZ.encode(-0.0, false), 0);
    }
}
