//! Reading views as numbers and writing numbers to views: the conversions at the edge of every engine.
//!
//! In: a view and dense row-major numbers (f32, f64, exact integers or bits). Out: the same on the other side. Always: one rounding at the
//! store; NaNs are canonical; a view that leaves memory is a fault before anything is written.

use super::view::each_offset;
use super::{Fault, Memory, View};
use crate::kernels::{bf16_to_f32, f16_to_f32};
use narae_isa::numerics::canonical_f32;
use narae_isa::{Element, ElementClass, Overflow};

/// Exact integers wide enough for i64 and u64.
pub type Integers = Vec<i128>;

/// In which numbers an elementwise instruction computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// IEEE binary32.
    F32,
    /// IEEE binary64.
    F64,
    /// Exact integers.
    Integer,
}

impl Arithmetic {
    /// The rule for elementwise instructions: f64 if there is any, else f32 if there is any float, else integers.
    pub fn of(elements: &[Element]) -> Arithmetic {
        if elements.contains(&Element::F64) {
            Arithmetic::F64
        } else if elements.iter().any(|element| element.class() == ElementClass::Float) {
            Arithmetic::F32
        } else {
            Arithmetic::Integer
        }
    }
}

impl Memory {
    /// Calls `f` for each row of a view with the bytes from its first element on, or (negative stride) around it, and the position of the
    /// first element in them.
    #[inline]
    fn rows<'a>(&'a self, view: &View, mut f: impl FnMut(&'a [u8], usize, usize, i64)) -> Result<(), Fault> {
        let Some((start, end)) = view.check(self)? else { return Ok(()) };
        let bytes = self.bytes(view.space, start, end - start)?;
        let nest = view.nest();
        let ((n, stride), outer) = nest.rows();
        let (size, first) = (view.element.bytes() as i64, (view.base - start) as i64);
        each_offset(outer, |offset| f(bytes, (first + offset * size) as usize, n, stride * size));
        Ok(())
    }

    /// The elements as f32, row-major, appended to `out`.
    pub fn load_f32(&self, view: &View, out: &mut Vec<f32>) -> Result<(), Fault> {
        view.check(self)?;
        out.reserve(view.len());
        match view.element {
            Element::F32 => self.load_with::<4, f32>(view, out, f32::from_le_bytes),
            Element::F16 => self.load_with::<2, f32>(view, out, |b| f16_to_f32(u16::from_le_bytes(b))),
            Element::BF16 => self.load_with::<2, f32>(view, out, |b| bf16_to_f32(u16::from_le_bytes(b))),
            element => self.load_any(view, |bytes| out.push(element.load_f32(bytes))),
        }
    }

    /// The elements as f64, row-major, appended to `out`.
    pub fn load_f64(&self, view: &View, out: &mut Vec<f64>) -> Result<(), Fault> {
        view.check(self)?;
        out.reserve(view.len());
        match view.element {
            Element::F64 => self.load_with::<8, f64>(view, out, f64::from_le_bytes),
            element => self.load_any(view, |bytes| out.push(element.load_f64(bytes))),
        }
    }

    /// The elements as exact integers (floats truncated toward zero and clamped to 64 bits), row-major, appended to `out`.
    pub fn load_integers(&self, view: &View, out: &mut Integers) -> Result<(), Fault> {
        view.check(self)?;
        out.reserve(view.len());
        match view.element {
            Element::I64 => self.load_with::<8, i128>(view, out, |b| i128::from(i64::from_le_bytes(b))),
            Element::I32 => self.load_with::<4, i128>(view, out, |b| i128::from(i32::from_le_bytes(b))),
            Element::Bool => self.load_with::<1, i128>(view, out, |b| i128::from(b[0] != 0)),
            element => self.load_any(view, |bytes| out.push(integer(element, bytes))),
        }
    }

    /// The bits of the elements, dense, row-major, appended to `out`.
    pub fn load_bits(&self, view: &View, out: &mut Vec<u8>) -> Result<(), Fault> {
        let size = view.element.bytes();
        view.check(self)?;
        out.reserve(view.len() * size);
        self.rows(view, |bytes, first, n, step| {
            if step == size as i64 {
                out.extend_from_slice(&bytes[first..first + n * size]);
            } else {
                (0..n as i64).for_each(|i| {
                    let at = (first as i64 + i * step) as usize;
                    out.extend_from_slice(&bytes[at..at + size]);
                });
            }
        })
    }

    /// Rows of elements of `N` bytes, by a conversion that inlines.
    #[inline(always)]
    fn load_with<const N: usize, T: Copy>(
        &self,
        view: &View,
        out: &mut Vec<T>,
        convert: impl Fn([u8; N]) -> T,
    ) -> Result<(), Fault> {
        let element = |bytes: &[u8], at: usize| bytes[at..].first_chunk::<N>().map(|chunk| convert(*chunk));
        self.rows(view, |bytes, first, n, step| {
            if step == N as i64 {
                out.extend(bytes[first..first + n * N].as_chunks::<N>().0.iter().map(|chunk| convert(*chunk)));
            } else if step == 0 {
                out.extend(element(bytes, first).into_iter().flat_map(|value| std::iter::repeat_n(value, n)));
            } else {
                out.extend((0..n as i64).filter_map(|i| element(bytes, (first as i64 + i * step) as usize)));
            }
        })
    }

    fn load_any(&self, view: &View, mut f: impl FnMut(&[u8])) -> Result<(), Fault> {
        self.rows(view, |bytes, first, n, step| {
            (0..n as i64).for_each(|i| f(&bytes[(first as i64 + i * step) as usize..]))
        })
    }

    /// Calls `f` for each row of a view that is to be written with `given` values; as [`Memory::rows`] otherwise.
    #[inline(always)]
    fn rows_mut(
        &mut self,
        view: &View,
        given: usize,
        mut f: impl FnMut(&mut [u8], usize, usize, i64),
    ) -> Result<(), Fault> {
        if given != view.len() {
            return Err(Fault::operands(format!("the result has {given} elements, its view {}", view.len())));
        }
        let Some((start, end)) = view.check(self)? else { return Ok(()) };
        let bytes = self.bytes_mut(view.space, start, end - start)?;
        let nest = view.nest();
        let ((n, stride), outer) = nest.rows();
        let (size, first) = (view.element.bytes() as i64, (view.base - start) as i64);
        each_offset(outer, |offset| f(bytes, (first + offset * size) as usize, n, stride * size));
        Ok(())
    }

    /// Writes row-major f32 numbers, each rounded once to the element type.
    pub fn store_f32(&mut self, view: &View, values: &[f32], overflow: Overflow) -> Result<(), Fault> {
        match (view.element, overflow) {
            (Element::F32, Overflow::Wrap) => {
                self.store_with::<4, f32>(view, values, |v| canonical_f32(v).to_le_bytes())
            }
            (Element::F16, Overflow::Wrap) => {
                self.store_with::<2, f32>(view, values, |v| half::f16::from_f32(canonical_f32(v)).to_le_bytes())
            }
            (Element::BF16, Overflow::Wrap) => {
                self.store_with::<2, f32>(view, values, |v| half::bf16::from_f32(canonical_f32(v)).to_le_bytes())
            }
            (element, _) => self.store_any(view, values, |v, bytes| element.store_f32(v, overflow, bytes)),
        }
    }

    /// Writes row-major f64 numbers, each rounded once to the element type.
    pub fn store_f64(&mut self, view: &View, values: &[f64], overflow: Overflow) -> Result<(), Fault> {
        self.store_any(view, values, |v, bytes| view.element.store_f64(v, overflow, bytes))
    }

    /// Writes row-major integers, wrapped (or saturated) to the element type, or rounded to a float type.
    pub fn store_integers(&mut self, view: &View, values: &[i128], overflow: Overflow) -> Result<(), Fault> {
        match (view.element, overflow) {
            (Element::I64, Overflow::Wrap) => self.store_with::<8, i128>(view, values, |v| (v as i64).to_le_bytes()),
            (element, _) => self.store_any(view, values, |v, bytes| element.store_i128(v, overflow, bytes)),
        }
    }

    /// Writes dense row-major bits.
    pub fn store_bits(&mut self, view: &View, values: &[u8]) -> Result<(), Fault> {
        let size = view.element.bytes();
        let mut at = 0;
        self.rows_mut(view, values.len() / size, |bytes, first, n, step| {
            if step == size as i64 {
                bytes[first..first + n * size].copy_from_slice(&values[at..at + n * size]);
            } else {
                for i in 0..n {
                    let to = (first as i64 + i as i64 * step) as usize;
                    bytes[to..to + size].copy_from_slice(&values[at + i * size..at + (i + 1) * size]);
                }
            }
            at += n * size;
        })
    }

    #[inline(always)]
    fn store_with<const N: usize, T: Copy>(
        &mut self,
        view: &View,
        values: &[T],
        convert: impl Fn(T) -> [u8; N],
    ) -> Result<(), Fault> {
        let mut at = 0;
        self.rows_mut(view, values.len(), |bytes, first, n, step| {
            let values = &values[at..at + n];
            at += n;
            if step == N as i64 {
                for (chunk, value) in bytes[first..first + n * N].as_chunks_mut::<N>().0.iter_mut().zip(values) {
                    *chunk = convert(*value);
                }
            } else {
                for (i, value) in values.iter().enumerate() {
                    let to = (first as i64 + i as i64 * step) as usize;
                    bytes[to..to + N].copy_from_slice(&convert(*value));
                }
            }
        })
    }

    fn store_any<T: Copy>(&mut self, view: &View, values: &[T], store: impl Fn(T, &mut [u8])) -> Result<(), Fault> {
        let mut at = 0;
        self.rows_mut(view, values.len(), |bytes, first, n, step| {
            for (i, value) in values[at..at + n].iter().enumerate() {
                store(*value, &mut bytes[(first as i64 + i as i64 * step) as usize..]);
            }
            at += n;
        })
    }
}

/// An element as an exact integer.
fn integer(element: Element, bytes: &[u8]) -> i128 {
    element.load_i128(bytes).unwrap_or_else(|| i128::from(element.load_i64(bytes)))
}

#[cfg(test)]
mod tests {
    use super::super::Space;
    use super::*;

    #[test]
    fn every_element_type_survives_a_round_trip_through_strided_views() {
        for &element in Element::ALL {
            let mut memory = Memory::new(4096);
            let mut view = View::dense(Space::Sram, element, 512, &[2, 3, 2]);
            view.strides = [-40, 1, 7, 0, 0, 0, 0, 0];
            view.base = 2048;
            let values: Vec<f32> =
                (0..12).map(|i| if element == Element::F8E8M0 { (1 << i) as f32 } else { (i % 2) as f32 }).collect();
            memory.store_f32(&view, &values, Overflow::Wrap).unwrap();
            let mut back = Vec::new();
            memory.load_f32(&view, &mut back).unwrap();
            assert_eq!(back, values, "{element}");
            let mut bits = Vec::new();
            memory.load_bits(&view, &mut bits).unwrap();
            let dense = View::dense(Space::Sram, element, 0, &[2, 3, 2]);
            memory.store_bits(&dense, &bits).unwrap();
            let (mut integers, mut doubles) = (Vec::new(), Vec::new());
            memory.load_integers(&dense, &mut integers).unwrap();
            memory.load_f64(&dense, &mut doubles).unwrap();
            assert!(integers.iter().zip(&values).all(|(i, v)| *i == *v as i128), "{element}");
            assert!(doubles.iter().zip(&values).all(|(d, v)| *d == f64::from(*v)), "{element}");
            memory.store_integers(&dense, &integers, Overflow::Wrap).unwrap();
            memory.store_f64(&view, &doubles, Overflow::Wrap).unwrap();
        }
    }

    #[test]
    fn views_outside_of_memory_are_faults() {
        let mut memory = Memory::new(64);
        let view = View::dense(Space::Sram, Element::F32, 60, &[2]);
        assert!(memory.load_f32(&view, &mut Vec::new()).is_err());
        assert!(memory.store_f32(&view, &[0.0; 2], Overflow::Wrap).is_err());
        let mut empty = view;
        empty.dims[0] = 0;
        assert!(memory.store_f32(&empty, &[], Overflow::Wrap).is_ok());
    }
}
