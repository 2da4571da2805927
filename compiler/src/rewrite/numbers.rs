//! What a law may say of a constant: which numbers it recognises, and which it may make.
//!
//! In: numbers that constants are everywhere, with the element types that they stand in. Out: whether one is the number that a law
//! names, and numbers that a law makes, as their type rounds them. Always holds: a number is close to nothing. It is the named one exactly, or,
//! where no file can say the named one (1/√2), the one that its type rounds it to; what a law makes is finite, not zero and not
//! subnormal, so that nothing is lost that the file's own order of operations would have kept.

use narae_isa::{Element, HostTensor};

/// Factors whose product is taken differ from 1 by at most this, where one is above and the other below: a tensor that overflows between
/// them in the file does so only within a millionth of the end of its type's range.
const MAXIMUM_SWING: f64 = 1_048_576.0;

/// Bits behind the point of a significand, and the least normal number; `None` for types that laws compute nothing in.
fn precision(element: Element) -> Option<(i32, f64)> {
    match element {
        Element::F16 => Some((10, 2_f64.powi(-14))),
        Element::BF16 => Some((7, f64::from(f32::MIN_POSITIVE))),
        Element::F32 => Some((23, f64::from(f32::MIN_POSITIVE))),
        Element::F64 => Some((52, f64::MIN_POSITIVE)),
        _ => None,
    }
}

/// A number as its type rounds it.
pub fn rounded(element: Element, number: f64) -> f64 {
    HostTensor::from_f64_as(element, &[], &[number]).get_f64(0)
}

/// Whether a number of this type is `named` as an exporter writes it: rounded to the type, or one step beside that where the exporter
/// computed it in the type (√2 as 1/0.70710677).
pub fn is_spelled(element: Element, number: f64, named: f64) -> bool {
    let Some((bits, _)) = precision(element) else { return false };
    let step = 2_f64.powi(named.abs().log2().floor() as i32 - bits);
    number.is_finite() && (number - rounded(element, named)).abs() <= step
}

/// A number as its type rounds it, if that is neither infinite nor NaN, zero or subnormal.
pub fn normal(element: Element, number: f64) -> Option<f64> {
    let (_, least) = precision(element)?;
    let rounded = rounded(element, number);
    (rounded.is_finite() && rounded.abs() >= least).then_some(rounded)
}

/// The reciprocal of a normal number, if it is one too.
pub fn inverse(element: Element, number: f64) -> Option<f64> {
    normal(element, 1.0 / normal(element, number)?)
}

/// Whether dividing by a number and multiplying by its reciprocal are the same to the last bit.
pub fn has_exact_inverse(number: f64) -> bool {
    let significand = number.to_bits() & ((1 << 52) - 1);
    number.is_normal() && significand == 0
}

/// The product of two factors that follow each other, if all three are normal numbers and what lies between the two overflows and
/// underflows only where the result does.
pub fn product(element: Element, first: f64, second: f64) -> Option<f64> {
    let (first, second) = (normal(element, first)?, normal(element, second)?);
    let wide = element != Element::F16;
    let (one, other) = (first.abs(), second.abs());
    let turns = (one > 1.0 && other < 1.0) || (one < 1.0 && other > 1.0);
    let gentle = |factor: f64| (MAXIMUM_SWING.recip()..=MAXIMUM_SWING).contains(&factor);
    if turns && !(wide && gentle(one) && gentle(other)) {
        return None;
    }
    normal(element, first * second)
}

#[cfg(test)]
mod tests {
    use std::f64::consts::FRAC_1_SQRT_2;

    use super::*;

    const FLOATS: [Element; 4] = [Element::F16, Element::BF16, Element::F32, Element::F64];

    #[test]
    fn a_spelled_number_is_within_a_step_of_its_type() {
        for (element, step) in
            FLOATS.into_iter().zip([2_f64.powi(-11), 2_f64.powi(-8), 2_f64.powi(-24), 2_f64.powi(-53)])
        {
            let named = rounded(element, FRAC_1_SQRT_2);
            for (number, expected) in [
                (named, true),
                (named + step, true),
                (named - step, true),
                (named + 2.0 * step, false),
                (named - 2.0 * step, false),
                (-named, false),
                (f64::INFINITY, false),
                (f64::NAN, false),
                (0.0, false),
            ] {
                assert_eq!(is_spelled(element, number, FRAC_1_SQRT_2), expected, "{number} in {element}");
            }
        }
        assert!(!is_spelled(Element::F8E4M3, 0.6875, FRAC_1_SQRT_2), "laws compute nothing in 8 bits");
    }

    #[test]
    fn what_a_law_makes_is_normal() {
        let subnormal = f64::from(f32::MIN_POSITIVE) / 2.0;
        for bad in [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, subnormal, 1e39, 1e-46] {
            assert_eq!(normal(Element::F32, bad), None, "{bad}");
            assert_eq!(inverse(Element::F32, bad), None, "{bad}");
            assert_eq!(product(Element::F32, bad, 1.5), None, "{bad}");
            assert_eq!(product(Element::F32, 1.5, bad), None, "{bad}");
        }
        assert_eq!(normal(Element::F32, f64::from(f32::MIN_POSITIVE)), Some(f64::from(f32::MIN_POSITIVE)));
        assert_eq!(normal(Element::F32, -2.0), Some(-2.0));
        // The least normal f16 and the greatest; beside them nothing.
        for (number, expected) in [(6.2e-5, true), (6.0e-5, false), (65504.0, true), (65536.0, false), (-65504.0, true)]
        {
            assert_eq!(normal(Element::F16, number).is_some(), expected, "{number}");
        }
        assert_eq!(normal(Element::F8E4M3, 1.0), None);
        assert!(normal(Element::F64, 1e300).is_some() && normal(Element::F64, 1e-310).is_none());
        assert!(normal(Element::BF16, 1e38).is_some() && normal(Element::BF16, 1e-39).is_none());
    }

    #[test]
    fn reciprocals_stay_normal() {
        assert_eq!(inverse(Element::F32, 4.0), Some(0.25));
        assert_eq!(inverse(Element::F32, 3e38), None, "the reciprocal is subnormal");
        assert_eq!(inverse(Element::F16, 60000.0), None, "the reciprocal is subnormal");
        assert_eq!(inverse(Element::F16, 3.0), Some(rounded(Element::F16, 1.0 / 3.0)));
    }

    #[test]
    fn only_powers_of_two_have_exact_inverses() {
        for (number, expected) in [
            (1.0, true),
            (-4.0, true),
            (0.125, true),
            (3.0, false),
            (49.0, false),
            (0.0, false),
            (f64::INFINITY, false),
        ] {
            assert_eq!(has_exact_inverse(number), expected, "{number}");
        }
    }

    #[test]
    fn products_hide_no_overflow_and_no_underflow() {
        let taken = |element, first, second| product(element, first, second).is_some();
        assert_eq!(product(Element::F32, 0.5, 3.0), Some(1.5));
        assert!(taken(Element::F32, 1e6, 1e-6) && taken(Element::F32, 1e-6, 1e6));
        assert!(taken(Element::F32, 1e20, 1e10) && taken(Element::F32, 1e-20, -1e-10), "both go one way");
        assert!(!taken(Element::F32, 1e20, 1e20), "the product overflows");
        assert!(!taken(Element::F32, 1e-20, 1e-20), "the product underflows");
        for (first, second) in [(1e7, 1e-3), (1e-3, 1e7), (1e3, 1e-7), (1e-7, 1e3), (-1e7, 1e-3)] {
            assert!(!taken(Element::F32, first, second), "{first} and {second} swing too far");
        }
        assert!(!taken(Element::F16, 100.0, 0.01) && !taken(Element::F16, 0.01, 100.0), "f16 ends at 65504");
        assert!(taken(Element::F16, 0.25, 0.5) && taken(Element::F16, 4.0, 2.0) && taken(Element::F16, 1.0, 2.0));
        assert!(taken(Element::F16, 0.5, 1.0) && taken(Element::F16, 2.0, 1.0) && taken(Element::F16, 1.0, 0.5));
    }
}
