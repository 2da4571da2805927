//! A dense tensor on the host: what inputs, outputs, constants and the reference evaluators exchange.
//!
//! Always: little-endian, row-major, `bytes.len() == element.bytes() · product(dims)`. Sub-byte types take one byte per
//! element, bool one byte of 0 or 1.

use crate::element::{Element, Overflow};

/// A dense, row-major, little-endian tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostTensor {
    /// The type of the elements.
    pub element: Element,
    /// The dims, outermost first; empty for a scalar.
    pub dims: Vec<usize>,
    /// The elements.
    pub bytes: Vec<u8>,
}

/// The number of elements of a shape, or `None` when it does not fit `usize`.
pub fn element_count(dims: &[usize]) -> Option<usize> {
    if dims.contains(&0) {
        return Some(0);
    }
    dims.iter().try_fold(1usize, |count, &dim| count.checked_mul(dim))
}

/// The row-major strides of a shape, in elements.
pub fn dense_strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(dims[axis]);
    }
    strides
}

macro_rules! constructors {
    ($($name:ident $scalar:ident $type:ty, $element:ident, $doc:literal;)*) => {$(
        #[doc = concat!("A tensor of ", $doc, " values; panics when their number does not fit the dims.")]
        pub fn $name(dims: &[usize], values: &[$type]) -> HostTensor {
            assert_eq!(element_count(dims), Some(values.len()), "values do not fill the dims {dims:?}");
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            HostTensor { element: Element::$element, dims: dims.to_vec(), bytes }
        }

        #[doc = concat!("A tensor of rank 0 holding one ", $doc, " value.")]
        pub fn $scalar(value: $type) -> HostTensor {
            HostTensor::$name(&[], &[value])
        }
    )*};
}

impl HostTensor {
    /// A tensor over existing bytes; `None` when their number is not what element and dims say.
    pub fn new(element: Element, dims: Vec<usize>, bytes: Vec<u8>) -> Option<HostTensor> {
        let want = element_count(&dims)?.checked_mul(element.bytes())?;
        (want == bytes.len()).then_some(HostTensor { element, dims, bytes })
    }

    /// A tensor of zeros; panics when the size overflows (check user-given dims with [`element_count`] first).
    pub fn zeros(element: Element, dims: &[usize]) -> HostTensor {
        let size = element_count(dims).and_then(|count| count.checked_mul(element.bytes()));
        let Some(size) = size else { panic!("the size of dims {dims:?} overflows") };
        HostTensor { element, dims: dims.to_vec(), bytes: vec![0; size] }
    }

    constructors! {
        from_f32 scalar_f32 f32, F32, "`f32`";
        from_f64 scalar_f64 f64, F64, "`f64`";
        from_i64 scalar_i64 i64, I64, "`i64`";
        from_i32 scalar_i32 i32, I32, "`i32`";
        from_u8 scalar_u8 u8, U8, "`u8`";
        from_i8 scalar_i8 i8, I8, "`i8`";
    }

    /// A tensor of bools; panics when their number does not fit the dims.
    pub fn from_bool(dims: &[usize], values: &[bool]) -> HostTensor {
        let bytes: Vec<u8> = values.iter().map(|&value| u8::from(value)).collect();
        HostTensor { element: Element::Bool, ..HostTensor::from_u8(dims, &bytes) }
    }

    /// Any element type, from `f64` values (rounded, integers truncated).
    pub fn from_f64_as(element: Element, dims: &[usize], values: &[f64]) -> HostTensor {
        HostTensor::from_f64(dims, values).convert(element, Overflow::Wrap)
    }

    /// Any element type, from `i64` values (floats rounded, integers wrapped).
    pub fn from_i64_as(element: Element, dims: &[usize], values: &[i64]) -> HostTensor {
        HostTensor::from_i64(dims, values).convert(element, Overflow::Wrap)
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.element.bytes()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The number of dims.
    pub fn rank(&self) -> usize {
        self.dims.len()
    }

    /// Row-major strides in elements.
    pub fn strides(&self) -> Vec<usize> {
        dense_strides(&self.dims)
    }

    /// The bytes of the element at a flat index.
    pub fn element_bytes(&self, index: usize) -> &[u8] {
        let size = self.element.bytes();
        &self.bytes[index * size..(index + 1) * size]
    }

    /// The bytes of the element at a flat index, to write.
    pub fn element_bytes_mut(&mut self, index: usize) -> &mut [u8] {
        let size = self.element.bytes();
        &mut self.bytes[index * size..(index + 1) * size]
    }

    /// The element at a flat index as `f64`; see [`Element::load_f64`].
    pub fn get_f64(&self, index: usize) -> f64 {
        self.element.load_f64(self.element_bytes(index))
    }

    /// The element at a flat index as `f32`; see [`Element::load_f32`].
    pub fn get_f32(&self, index: usize) -> f32 {
        self.element.load_f32(self.element_bytes(index))
    }

    /// The element at a flat index as `i64`; see [`Element::load_i64`].
    pub fn get_i64(&self, index: usize) -> i64 {
        self.element.load_i64(self.element_bytes(index))
    }

    /// Writes the element at a flat index; see [`Element::store_f64`].
    pub fn set_f64(&mut self, index: usize, value: f64) {
        let element = self.element;
        element.store_f64(value, Overflow::Wrap, self.element_bytes_mut(index));
    }

    /// Writes the element at a flat index; see [`Element::store_i64`].
    pub fn set_i64(&mut self, index: usize, value: i64) {
        let element = self.element;
        element.store_i64(value, Overflow::Wrap, self.element_bytes_mut(index));
    }

    /// All elements as `f32`.
    pub fn to_f32_vec(&self) -> Vec<f32> {
        match self.element {
            // Decided once and not for each element of the commonest type.
            Element::F32 => self.bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            element => self.bytes.chunks_exact(element.bytes()).map(|bytes| element.load_f32(bytes)).collect(),
        }
    }

    /// All elements as `f64`.
    pub fn to_f64_vec(&self) -> Vec<f64> {
        self.bytes.chunks_exact(self.element.bytes()).map(|bytes| self.element.load_f64(bytes)).collect()
    }

    /// All elements as `i64`.
    pub fn to_i64_vec(&self) -> Vec<i64> {
        self.bytes.chunks_exact(self.element.bytes()).map(|bytes| self.element.load_i64(bytes)).collect()
    }

    /// All elements as bools: whether they differ from zero.
    pub fn to_bool_vec(&self) -> Vec<bool> {
        self.to_f64_vec().into_iter().map(|value| value != 0.0).collect()
    }

    /// The same values in another type: one rounding; floats to integers truncate toward zero.
    pub fn convert(&self, element: Element, overflow: Overflow) -> HostTensor {
        if self.element == element && element.is_float() {
            return self.clone();
        }
        let mut out = HostTensor::zeros(element, &self.dims);
        let sources = self.bytes.chunks_exact(self.element.bytes());
        for (from, to) in sources.zip(out.bytes.chunks_exact_mut(element.bytes())) {
            convert_element(self.element, from, element, overflow, to);
        }
        out
    }

    /// The same elements under other dims; `None` when the number of elements differs.
    pub fn reshape(self, dims: &[usize]) -> Option<HostTensor> {
        (element_count(dims)? == self.len()).then(|| HostTensor { dims: dims.to_vec(), ..self })
    }
}

/// Converts one element between any two types with one rounding.
pub fn convert_element(from: Element, source: &[u8], to: Element, overflow: Overflow, target: &mut [u8]) {
    if to == Element::F32 && matches!(from, Element::F16 | Element::BF16) {
        // Weights are converted by the thousand million, and no finite value is rounded on this way.
        let value = from.load_f32(source);
        if value.is_finite() {
            return target[..4].copy_from_slice(&value.to_le_bytes());
        }
    }
    match from.load_i128(source) {
        Some(integer) => to.store_i128(integer, overflow, target),
        None if from == to => target[..to.bytes()].copy_from_slice(&source[..to.bytes()]),
        None => to.store_f64(from.load_f64(source), overflow, target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_a_wider_type() {
        let tensor = HostTensor::from_f32(&[2, 3], &[0.0, -1.5, 2.0, 65504.0, 1e-7, 0.25]);
        let half = tensor.convert(Element::F16, Overflow::Wrap);
        assert_eq!(half.to_f32_vec()[..4], [0.0, -1.5, 2.0, 65504.0]);
        assert_eq!(half.convert(Element::F32, Overflow::Wrap).convert(Element::F16, Overflow::Wrap), half);
    }

    /// The short ways of [`convert_element`] and [`HostTensor::convert`] give what the long one gives, for every pattern of bits.
    #[test]
    fn halves_widen_as_through_f64() {
        for element in [Element::F16, Element::BF16] {
            let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
            let all = HostTensor::new(element, vec![1 << 16], bytes).expect("two bytes each");
            for overflow in [Overflow::Wrap, Overflow::Saturate] {
                let long: Vec<u8> = (0..all.len())
                    .flat_map(|at| {
                        let mut out = [0; 4];
                        Element::F32.store_f64(all.get_f64(at), overflow, &mut out);
                        out
                    })
                    .collect();
                assert_eq!(all.convert(Element::F32, overflow).bytes, long, "{element}");
            }
            assert_eq!(all.convert(element, Overflow::Wrap), all);
        }
    }

    #[test]
    fn sizes_are_checked() {
        assert!(HostTensor::new(Element::F32, vec![2, 2], vec![0; 15]).is_none());
        assert!(HostTensor::new(Element::F32, vec![usize::MAX, 2], vec![]).is_none());
        assert!(HostTensor::new(Element::F32, vec![usize::MAX, 0, 8], vec![]).is_some());
        assert_eq!(dense_strides(&[2, 3, 4]), [12, 4, 1]);
    }

    #[test]
    fn big_integers_stay_exact() {
        let tensor = HostTensor::from_i64(&[2], &[i64::MAX, i64::MIN]);
        assert_eq!(tensor.convert(Element::U64, Overflow::Wrap).to_i64_vec(), [i64::MAX, i64::MIN]);
        assert_eq!(
            tensor.convert(Element::I32, Overflow::Saturate).to_i64_vec(),
            [i64::from(i32::MAX), i64::from(i32::MIN)]
        );
    }
}
