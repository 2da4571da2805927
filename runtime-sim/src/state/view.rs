//! Views: what a descriptor describes, with every register already replaced by its value.
//!
//! In: dims, strides (elements; 0 repeats), a base address. Out: loops over the elements in row-major order, as few contiguous runs as
//! possible, and the byte ranges that are touched. Always: a view of a zero dim touches nothing.

use super::{Fault, Memory, Space};
use narae_isa::Element;

/// The most axes a view has.
pub const MAX_RANK: usize = 8;

/// More elements than this are never a tensor that an engine works on at once; the host could not hold them either.
const MAX_ELEMENTS: usize = 1 << 31;

/// A described part of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Which memory.
    pub space: Space,
    /// Type of the elements.
    pub element: Element,
    /// Number of axes.
    pub rank: usize,
    /// Sizes; 1 beyond the rank.
    pub dims: [usize; MAX_RANK],
    /// Strides in elements.
    pub strides: [i64; MAX_RANK],
    /// Address of the first element.
    pub base: u64,
}

/// The loops over a view: size-1 axes dropped, neighbouring axes merged where one stride serves both; outermost first.
#[derive(Clone, Copy, Debug)]
pub struct Nest {
    axes: [(usize, i64); MAX_RANK],
    len: usize,
}

impl View {
    /// A dense view of these dims.
    pub fn dense(space: Space, element: Element, base: u64, dims: &[usize]) -> View {
        let mut view = View { space, element, rank: dims.len(), dims: [1; MAX_RANK], strides: [0; MAX_RANK], base };
        let mut stride = 1;
        for axis in (0..dims.len()).rev() {
            view.dims[axis] = dims[axis];
            view.strides[axis] = stride;
            stride = stride.saturating_mul(dims[axis] as i64);
        }
        view
    }

    /// The view of a resolved descriptor row, pages and scales aside.
    pub fn of(row: &narae_isa::View) -> View {
        let space = match row.memory {
            narae_isa::Memory::Dram => Space::Dram,
            narae_isa::Memory::Sram => Space::Sram,
        };
        let mut view = View {
            space,
            element: row.element,
            rank: row.rank(),
            dims: [1; MAX_RANK],
            strides: [0; MAX_RANK],
            base: row.base,
        };
        for (axis, (dim, stride)) in row.dims().iter().zip(row.strides()).enumerate() {
            view.dims[axis] = *dim as usize;
            view.strides[axis] = *stride;
        }
        view
    }

    /// The same elements with the axes in another order.
    pub fn permuted(&self, order: &[usize]) -> View {
        let mut view = *self;
        for (to, from) in order.iter().enumerate() {
            view.dims[to] = self.dims[*from];
            view.strides[to] = self.strides[*from];
        }
        view
    }

    /// The dims.
    #[inline]
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.dims().iter().fold(1usize, |n, d| n.saturating_mul(*d))
    }

    /// Whether a dim is zero.
    pub fn is_empty(&self) -> bool {
        self.dims().contains(&0)
    }

    /// Whether row-major order is the order in memory, without holes.
    #[inline]
    pub fn is_dense(&self) -> bool {
        let nest = self.nest();
        match nest.axes() {
            [] => true,
            [(_, stride)] => *stride == 1,
            _ => false,
        }
    }

    /// The same memory with axis `axis` fixed at `index` and size 1.
    pub fn at(&self, axis: usize, index: usize) -> View {
        let mut view = *self;
        view.base = self.base.wrapping_add_signed(
            self.strides[axis].wrapping_mul(index as i64).wrapping_mul(self.element.bytes() as i64),
        );
        view.dims[axis] = 1;
        view
    }

    /// The axes `from ..` at an index of the axes before.
    pub fn tail(&self, from: usize, index: &[usize]) -> View {
        let mut view = *self;
        let offset =
            index.iter().zip(&self.strides).fold(0i64, |sum, (i, s)| sum.wrapping_add((*i as i64).wrapping_mul(*s)));
        view.base = self.base.wrapping_add_signed(offset.wrapping_mul(self.element.bytes() as i64));
        view.rank = self.rank - from;
        for axis in 0..MAX_RANK {
            view.dims[axis] = if axis < view.rank { self.dims[axis + from] } else { 1 };
            view.strides[axis] = if axis < view.rank { self.strides[axis + from] } else { 0 };
        }
        view
    }

    /// The loops in row-major order.
    #[inline]
    pub fn nest(&self) -> Nest {
        merge(self.dims.iter().copied().zip(self.strides).take(self.rank))
    }

    /// Byte range that contains every element, `None` for an empty view or one whose addresses overflow.
    pub fn extent(&self) -> Option<(u64, u64)> {
        if self.is_empty() {
            return None;
        }
        let size = self.element.bytes() as i64;
        let (mut low, mut high) = (0i64, 0i64);
        for (dim, stride) in self.dims().iter().zip(self.strides) {
            let span = stride.checked_mul(*dim as i64 - 1)?.checked_mul(size)?;
            if span < 0 { low = low.checked_add(span)? } else { high = high.checked_add(span)? }
        }
        let start = self.base.checked_add_signed(low)?;
        let end = self.base.checked_add_signed(high.checked_add(size)?)?;
        Some((start, end))
    }

    /// Checks that every element lies in memory; `None` if there are none.
    pub fn check(&self, memory: &Memory) -> Result<Option<(u64, u64)>, Fault> {
        if self.is_empty() {
            return Ok(None);
        }
        if self.len() > MAX_ELEMENTS {
            return Err(Fault::operands("a view of an operand has more than 2^31 elements"));
        }
        let (start, end) = self.extent().ok_or_else(|| Fault::bounds("the addresses of a view overflow"))?;
        memory.bytes(self.space, start, end - start)?;
        Ok(Some((start, end)))
    }

    /// Calls `f` with the byte ranges that the view touches, merged where they are contiguous. Beyond 65536 ranges the rest
    /// is one range that contains them.
    pub fn ranges<E>(&self, mut f: impl FnMut(u64, u64) -> Result<(), E>) -> Result<(), E> {
        let Some((start, end)) = self.extent() else { return Ok(()) };
        let size = self.element.bytes() as u64;
        if let [] | [(_, 1)] = self.nest().axes() {
            return f(start, end);
        }
        // Order does not matter here: sorted by stride, a transposed dense view is one range.
        let mut axes: Vec<(usize, i64)> =
            self.dims().iter().copied().zip(self.strides).map(|(d, s)| (d, s.abs())).filter(|a| a.1 != 0).collect();
        axes.sort_by_key(|axis| std::cmp::Reverse(axis.1));
        let nest = merge(axes.into_iter());
        let (run, outer) = match nest.axes().split_last() {
            Some(((n, 1), outer)) => (*n as u64 * size, outer),
            _ => (size, nest.axes()),
        };
        let count: usize = outer.iter().fold(1usize, |n, axis| n.saturating_mul(axis.0));
        if count > 65536 {
            return f(start, end);
        }
        let mut result = Ok(());
        each_offset(outer, |offset| {
            let at = start.wrapping_add_signed(offset * size as i64);
            if result.is_ok() {
                result = f(at, at + run);
            }
        });
        result
    }
}

impl Nest {
    /// The axes, outermost first: (size, stride in elements).
    #[inline]
    pub fn axes(&self) -> &[(usize, i64)] {
        &self.axes[..self.len]
    }

    /// Calls `f` with the offset (in elements) of the first element of each innermost row; returns size and stride of the rows.
    #[inline]
    pub fn rows(&self) -> ((usize, i64), &[(usize, i64)]) {
        match self.axes().split_last() {
            Some((inner, outer)) => (*inner, outer),
            None => ((1, 1), &[]),
        }
    }
}

/// Calls `f` with every offset of a loop nest, row-major.
#[inline]
pub fn each_offset(axes: &[(usize, i64)], mut f: impl FnMut(i64)) {
    let mut index = [0usize; MAX_RANK];
    let mut offset = 0i64;
    loop {
        f(offset);
        let mut axis = axes.len();
        loop {
            let Some(next) = axis.checked_sub(1) else { return };
            axis = next;
            index[axis] += 1;
            offset += axes[axis].1;
            if index[axis] < axes[axis].0 {
                break;
            }
            offset -= axes[axis].1 * axes[axis].0 as i64;
            index[axis] = 0;
        }
    }
}

fn merge(axes: impl Iterator<Item = (usize, i64)>) -> Nest {
    let mut nest = Nest { axes: [(1, 0); MAX_RANK], len: 0 };
    for (dim, stride) in axes {
        if dim == 1 {
            continue;
        }
        match nest.len.checked_sub(1).map(|last| &mut nest.axes[last]) {
            Some((outer, outer_stride)) if *outer_stride == stride.saturating_mul(dim as i64) => {
                *outer = outer.saturating_mul(dim);
                *outer_stride = stride;
            }
            _ => {
                nest.axes[nest.len] = (dim, stride);
                nest.len += 1;
            }
        }
    }
    nest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(view: &View) -> Vec<(u64, u64)> {
        let mut out = Vec::new();
        view.ranges(|a, b| {
            out.push((a, b));
            Ok::<(), ()>(())
        })
        .unwrap();
        out
    }

    #[test]
    fn transposed_and_broadcast_views_are_one_range() {
        let mut view = View::dense(Space::Sram, Element::F32, 64, &[3, 4, 5]);
        assert!(view.is_dense());
        assert_eq!(ranges(&view), [(64, 64 + 240)]);
        view.strides = [1, 3, 12, 0, 0, 0, 0, 0];
        assert!(!view.is_dense());
        assert_eq!(ranges(&view), [(64, 64 + 240)]);
        view.strides = [0, 0, 1, 0, 0, 0, 0, 0];
        assert_eq!(ranges(&view), [(64, 84)]);
        view.strides = [100, 10, -1, 0, 0, 0, 0, 0];
        view.base = 64 + 16;
        assert_eq!(view.extent(), Some((64, 64 + 4 * (200 + 30 + 5))));
        assert_eq!(ranges(&view).len(), 12);
        view.dims[1] = 0;
        assert_eq!(ranges(&view), []);
    }

    #[test]
    fn rows_visit_every_element_in_order() {
        let mut view = View::dense(Space::Sram, Element::F32, 0, &[2, 3, 4]);
        view.strides = [1, 8, 2, 0, 0, 0, 0, 0];
        let nest = view.nest();
        let ((n, stride), outer) = nest.rows();
        let mut seen = Vec::new();
        each_offset(outer, |offset| (0..n as i64).for_each(|i| seen.push(offset + i * stride)));
        let want: Vec<i64> = (0..2).flat_map(|a| (0..12).map(move |b| a + 2 * b)).collect();
        assert_eq!(seen, want);
    }
}
