//! How far two tensors are from each other. In: what was got, what was wanted. Out: a [`Difference`], to be held against a [`Tolerance`].
//!
//! The measure is the largest |Δ| of a tensor against the tensor's own range, the largest |want|: a value near zero in a tensor of
//! hundreds is not held to its own size. Always holds: NaN where NaN is wanted is equal, and nothing is wanted where the model itself
//! gives NaN; an infinity is equal to that infinity and to nothing else; a finite number beyond the range of the other type is equal to the
//! greatest of that type, for this is what saturation makes of a mask; integers are compared exactly.

use narae_isa::{Element, HostTensor};

/// From this magnitude on a number fills a mask. Such numbers are held to their own size, and do not count for the range of the others.
const FILL: f64 = 1e30;

/// What is still alike: |Δ| ≤ relative · range + absolute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Of the largest magnitude that is wanted.
    pub relative: f64,
    /// On top of it.
    pub absolute: f64,
}

impl Tolerance {
    /// What rounding in these types explains: the bar of f32 is 1e-4 of the range; a level more or less of an 8-bit code follows
    /// from any rounding before it; wider integers are exact.
    pub fn of(elements: [Element; 2]) -> Tolerance {
        let one = |element: Element| -> (f64, f64) {
            match element {
                Element::F32 | Element::F64 => (1e-4, 1e-6),
                Element::F16 => (1e-2, 1e-4),
                Element::BF16 => (5e-2, 1e-3),
                element if element.is_float() => (0.25, 1e-2),
                element if element.is_integer() && element.bits() <= 8 => (0.0, 1.0),
                _ => (0.0, 0.0),
            }
        };
        let (a, b) = (one(elements[0]), one(elements[1]));
        Tolerance { relative: a.0.max(b.0), absolute: a.1.max(b.1) }
    }
}

/// The distance of two tensors of equal dims.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The largest |got − want|.
    pub max_abs: f64,
    /// The same against the range of what is wanted.
    pub relative: f64,
    /// Cosine of the angle between the two as vectors; 1 if both are zero.
    pub cosine: f64,
    /// Row-major position of the largest difference.
    pub worst: usize,
    /// What stands there: got and wanted.
    pub values: (f64, f64),
    /// The largest finite |want|.
    pub range: f64,
    /// The element types.
    pub elements: [Element; 2],
}

impl Difference {
    /// The difference; `None` if the dims are not the same.
    pub fn between(got: &HostTensor, want: &HostTensor) -> Option<Difference> {
        Difference::where_real(got, want, &|_| true)
    }

    /// The difference over the elements, by their indices, that count.
    pub fn where_real(got: &HostTensor, want: &HostTensor, counts: &dyn Fn(&[usize]) -> bool) -> Option<Difference> {
        if got.dims != want.dims {
            return None;
        }
        let mut found = Difference {
            max_abs: 0.0,
            relative: 0.0,
            cosine: 1.0,
            worst: 0,
            values: (0.0, 0.0),
            range: 0.0,
            elements: [got.element, want.element],
        };
        let greatest = (greatest(got.element), greatest(want.element));
        let exact = got.element.is_integer() && want.element.is_integer();
        let (mut dot, mut squares) = (0.0, (0.0, 0.0));
        let strides = want.strides();
        let mut index = vec![0; want.rank()];
        for at in 0..want.len() {
            for ((place, stride), dim) in index.iter_mut().zip(&strides).zip(&want.dims) {
                *place = at / stride % dim;
            }
            if !counts(&index) {
                continue;
            }
            let (a, b) = (got.get_f64(at), want.get_f64(at));
            if is_ordinary(b, greatest.1) {
                found.range = found.range.max(b.abs());
                if is_ordinary(a, greatest.0) {
                    dot += a * b;
                    squares = (squares.0 + a * a, squares.1 + b * b);
                }
            }
            let delta = if exact { integers(got, want, at) } else { delta((a, b), greatest) };
            if delta > found.max_abs {
                (found.max_abs, found.worst, found.values) = (delta, at, (a, b));
            }
        }
        if found.max_abs > 0.0 {
            found.relative = found.max_abs / found.range; // infinite where all that is wanted is zero
        }
        let length = (squares.0 * squares.1).sqrt();
        if length > 0.0 {
            found.cosine = (dot / length).clamp(-1.0, 1.0);
        }
        Some(found)
    }

    /// The largest |Δ| in units of what is allowed; above 1 it is too much.
    pub fn excess(&self, tolerance: Tolerance) -> f64 {
        let allowed = tolerance.relative * self.range + tolerance.absolute;
        if self.max_abs == 0.0 { 0.0 } else { self.max_abs / allowed }
    }
}

fn integers(got: &HostTensor, want: &HostTensor, at: usize) -> f64 {
    (i128::from(got.get_i64(at)) - i128::from(want.get_i64(at))).unsigned_abs() as f64
}

/// The greatest finite number of a float type that is narrower than f32; infinite where nothing saturates.
fn greatest(element: Element) -> f64 {
    match element {
        Element::F16 => 65504.0,
        Element::BF16 => 3.3895313892515355e38,
        Element::F32 => f64::from(f32::MAX),
        _ => f64::INFINITY,
    }
}

/// Whether a value says something of the size of the others: the fill of a mask does not.
fn is_ordinary(value: f64, greatest: f64) -> bool {
    value.abs() < FILL.min(greatest)
}

fn delta((got, want): (f64, f64), greatest: (f64, f64)) -> f64 {
    // What remains of a finite number in the other's type.
    let saturated = |value: f64, most: f64| if value.is_finite() { value.clamp(-most, most) } else { value };
    let (narrow_got, narrow_want) = (saturated(got, greatest.1), saturated(want, greatest.0));
    match () {
        () if got == want || want.is_nan() => 0.0,
        () if got.is_nan() => f64::INFINITY,
        () if got == narrow_want || narrow_got == want => 0.0,
        () if want.is_finite() && want.abs() >= FILL && (got - want).abs() <= 1e-2 * want.abs() => 0.0,
        () => (got - want).abs(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(values: &[f32]) -> HostTensor {
        HostTensor::from_f32(&[values.len()], values)
    }

    #[test]
    fn the_range_is_the_measure() {
        let found = Difference::between(&floats(&[100.0, 0.5]), &floats(&[100.0, 0.0])).expect("equal dims");
        assert_eq!((found.max_abs, found.relative, found.worst), (0.5, 0.005, 1));
        assert!(found.excess(Tolerance { relative: 0.01, absolute: 0.0 }) < 1.0);
        assert!(found.excess(Tolerance::of([Element::F32; 2])) > 1.0);
        assert!(found.cosine > 0.9999 && found.cosine < 1.0);
        assert!(Difference::between(&floats(&[1.0]), &floats(&[1.0, 2.0])).is_none());
    }

    #[test]
    fn masks_and_nothing() {
        let excess = |got: f32, want: f32| {
            let found = Difference::between(&floats(&[got, 1.0]), &floats(&[want, 1.0])).expect("equal dims");
            found.excess(Tolerance::of([Element::F32; 2]))
        };
        assert!(excess(f32::NEG_INFINITY, f32::MIN).is_infinite());
        assert!(excess(f32::MIN, f32::NEG_INFINITY).is_infinite());
        assert_eq!(excess(f32::NEG_INFINITY, f32::NEG_INFINITY), 0.0);
        assert_eq!(excess(f32::MIN * 0.999, f32::MIN), 0.0);
        assert!(excess(f32::MIN / 2.0, f32::MIN) > 1.0 && excess(0.0, f32::MIN) > 1.0);
        assert_eq!(excess(3.0, f32::NAN), 0.0);
        assert!(excess(f32::NAN, 3.0).is_infinite());
        assert!(excess(f32::INFINITY, f32::NEG_INFINITY) > 1.0);
        let half = HostTensor::from_f64_as(Element::F16, &[1], &[-65504.0]);
        let found = Difference::between(&half, &floats(&[f32::MIN])).expect("equal dims");
        assert_eq!(found.max_abs, 0.0);
        // The fill of a mask saturates, an infinity does not, and an ordinary number is no fill.
        for (got, want) in [(-65504.0, f32::NEG_INFINITY), (65504.0, f32::MIN), (-65504.0, -6e4)] {
            let half = HostTensor::from_f64_as(Element::F16, &[1], &[got]);
            assert!(Difference::between(&half, &floats(&[want])).expect("equal dims").max_abs > 0.0, "{got} {want}");
        }
        let big = |value: i64| HostTensor::from_i64(&[1], &[value]);
        let found = Difference::between(&big(i64::MAX), &big(i64::MAX - 1)).expect("equal dims");
        assert_eq!(found.max_abs, 1.0);
        assert!(found.excess(Tolerance::of([Element::I64; 2])).is_infinite());
    }
}
