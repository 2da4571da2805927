//! Resolved descriptors: a view of elements, a packed weight.
//!
//! Always: the byte extent of a view that came from a row fits into 63 bits, so that address arithmetic on its elements
//! cannot overflow.

use std::ops::Range;

use super::{MAX_RANK, Memory};
use crate::element::Element;
use crate::format::WeightFormat;

/// Why a row has no value under these registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// A dim is negative or above 2^32 − 1.
    #[error("dim {0} is negative or too large")]
    Dim(usize),
    /// A stride is too large.
    #[error("stride {0} is too large")]
    Stride(usize),
    /// A parameter does not fit 32 bits.
    #[error("parameter {0} does not fit 32 bits")]
    Parameter(usize),
    /// The base address is negative or too large.
    #[error("the base address is negative or too large")]
    Base,
    /// The view begins before address 0 or ends beyond 2^64.
    #[error("the view leaves the address space")]
    Extent,
}

/// Where the pages of a KV cache are.
///
/// Element (b, h, t, d) of a paged view lies `page · strides[0] + h · strides[1] + (t mod tokens) · strides[2] + d · strides[3]`
/// elements behind the base, where `page` is the u32 at DRAM address `table + 4 · (b · pages_per_sequence + t / tokens)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paging {
    /// DRAM address of the page table.
    pub table: u64,
    /// Tokens in one page.
    pub tokens_per_page: u32,
    /// Entries of the page table per sequence.
    pub pages_per_sequence: u32,
}

/// A strided view of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// Which memory.
    pub memory: Memory,
    /// Type of the elements.
    pub element: Element,
    /// Byte address of element 0 (of the pool of pages when paged).
    pub base: u64,
    /// Present for a paged KV cache.
    pub paging: Option<Paging>,
    /// Every innermost row of elements is followed by one f16 scale.
    pub scaled_rows: bool,
    rank: u8,
    dims: [u32; MAX_RANK],
    strides: [i64; MAX_RANK],
}

impl View {
    /// A row-major view without gaps. Panics on a rank above 8: a bug of the caller.
    pub fn dense(memory: Memory, element: Element, dims: &[u32], base: u64) -> View {
        assert!(dims.len() <= MAX_RANK, "a view has at most {MAX_RANK} dims");
        let mut view = View {
            memory,
            element,
            base,
            paging: None,
            scaled_rows: false,
            rank: dims.len() as u8,
            dims: [0; MAX_RANK],
            strides: [0; MAX_RANK],
        };
        view.dims[..dims.len()].copy_from_slice(dims);
        let mut stride = 1i64;
        for axis in (0..dims.len()).rev() {
            view.strides[axis] = stride;
            // Saturation is harmless: a view that large fails the check of its extent, or has no elements.
            stride = stride.saturating_mul(i64::from(dims[axis]));
        }
        view
    }

    /// A view with strides in elements.
    pub fn strided(memory: Memory, element: Element, dims: &[u32], strides: &[i64], base: u64) -> View {
        assert_eq!(dims.len(), strides.len(), "a view has one stride per dim");
        let mut view = View::dense(memory, element, dims, base);
        view.strides[..strides.len()].copy_from_slice(strides);
        view
    }

    /// Number of dims.
    pub fn rank(&self) -> usize {
        usize::from(self.rank)
    }

    /// The dims, outermost first.
    pub fn dims(&self) -> &[u32] {
        &self.dims[..self.rank()]
    }

    /// The strides in elements.
    pub fn strides(&self) -> &[i64] {
        &self.strides[..self.rank()]
    }

    pub(super) fn set_stride(&mut self, axis: usize, stride: i64) {
        self.strides[axis] = stride;
    }

    /// Number of elements that the dims span; `None` beyond 64 bits.
    pub fn count(&self) -> Option<u64> {
        if self.dims().contains(&0) {
            return Some(0);
        }
        self.dims().iter().try_fold(1u64, |count, &dim| count.checked_mul(u64::from(dim)))
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.dims().contains(&0)
    }

    /// Whether the elements lie row-major without gaps (axes of size 1 do not matter).
    pub fn is_dense(&self) -> bool {
        let mut stride = 1i64;
        for axis in (0..self.rank()).rev() {
            let dim = i64::from(self.dims[axis]);
            if dim != 1 && self.strides[axis] != stride {
                return false;
            }
            stride = stride.saturating_mul(dim);
        }
        !self.scaled_rows && self.paging.is_none()
    }

    /// Offset in elements of an index from element 0 (not for paged views).
    pub fn offset(&self, index: &[u32]) -> i64 {
        index.iter().zip(self.strides()).map(|(&i, &stride)| i64::from(i) * stride).sum()
    }

    /// The bytes from the lowest to the highest element; empty when there are none. For a paged view the bytes of page 0.
    pub fn byte_range(&self) -> Range<u64> {
        match self.extent() {
            Some(range) => range,
            None => unreachable!("the extent was checked when the row was resolved"),
        }
    }

    /// The same; none if the view leaves the address space, as one that came from no row may.
    pub fn checked_range(&self) -> Option<Range<u64>> {
        self.extent()
    }

    pub(super) fn check_extent(&self) -> Result<(), ResolveError> {
        self.extent().map(|_| ()).ok_or(ResolveError::Extent)
    }

    fn extent(&self) -> Option<Range<u64>> {
        if self.is_empty() {
            return Some(self.base..self.base);
        }
        let (mut low, mut high) = (0i128, 0i128);
        for axis in 0..self.rank() {
            let steps = self.steps(axis);
            let reach = i128::from(steps) * i128::from(self.strides[axis]);
            low += reach.min(0);
            high += reach.max(0);
        }
        let size = self.element.bytes() as i128;
        let scale = if self.scaled_rows { 2 } else { 0 };
        let base = i128::from(self.base);
        let first = u64::try_from(base + low * size).ok()?;
        let last = u64::try_from(base + high * size + size + scale).ok()?;
        // Offsets of elements are i64; addresses beyond 2^63 exist on no chip.
        (last <= i64::MAX as u64).then_some(first..last)
    }

    /// The highest index along an axis, inside one page where the view is paged.
    fn steps(&self, axis: usize) -> u32 {
        let last = self.dims[axis] - 1;
        match (self.paging, axis) {
            (Some(_), 0) => 0,
            (Some(paging), 2) => last.min(paging.tokens_per_page - 1),
            _ => last,
        }
    }
}

/// A packed weight in DRAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WeightView {
    /// How it is packed.
    pub format: WeightFormat,
    /// N.
    pub outputs: u32,
    /// K.
    pub inputs: u32,
    /// Byte address of the packed stream.
    pub base: u64,
}

impl WeightView {
    /// Size of the packed stream.
    pub fn packed_bytes(&self) -> u64 {
        self.format.packed_bytes(u64::from(self.outputs), u64::from(self.inputs))
    }

    /// The bytes of the packed stream.
    pub fn byte_range(&self) -> Range<u64> {
        self.base..self.base.saturating_add(self.packed_bytes())
    }
}
