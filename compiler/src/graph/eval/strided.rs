//! Strided walks over dense tensors: the index arithmetic that layout ops and broadcasting share.
//!
//! In: sizes and strides in elements. Out: positions, or copied bytes. Nothing here knows an element's meaning.

use narae_isa::HostTensor;
use narae_isa::tensor::{dense_strides, element_count};

/// Calls `visit` with the position `start + Σ index[a] * strides[a]` of every index in row-major order.
pub fn walk(sizes: &[usize], strides: &[i64], start: i64, mut visit: impl FnMut(usize)) {
    let count = element_count(sizes).unwrap_or(0);
    if count == 0 {
        return;
    }
    let mut index = vec![0usize; sizes.len()];
    let mut at = start;
    for _ in 0..count {
        visit(usize::try_from(at).expect("strided positions are checked before the walk"));
        for axis in (0..sizes.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < sizes[axis] {
                break;
            }
            at -= strides[axis] * sizes[axis] as i64;
            index[axis] = 0;
        }
    }
}

/// The elements at strided positions as a dense tensor.
pub fn take(tensor: &HostTensor, sizes: &[usize], strides: &[i64], start: i64) -> HostTensor {
    let mut out = HostTensor { element: tensor.element, dims: sizes.to_vec(), bytes: Vec::new() };
    let count = element_count(sizes).unwrap_or(0);
    let size = tensor.element.bytes();
    out.bytes.reserve_exact(count * size);
    // A dense innermost axis is copied as a whole.
    let (run, outer) = match strides.last() {
        Some(1) if count > 0 => (sizes[sizes.len() - 1], sizes.len() - 1),
        _ => (1, sizes.len()),
    };
    walk(&sizes[..outer], &strides[..outer], start, |at| {
        out.bytes.extend_from_slice(&tensor.bytes[at * size..(at + run) * size]);
    });
    if count == 0 {
        out.bytes.clear();
    }
    out
}

/// Strides with which a tensor of these dims repeats to fill `sizes` (aligned at the last axis).
pub fn broadcast_strides(dims: &[usize], sizes: &[usize]) -> Vec<i64> {
    let own = dense_strides(dims);
    let new = sizes.len() - dims.len();
    let stride = |axis: usize| match axis.checked_sub(new) {
        Some(at) if dims[at] != 1 => own[at] as i64,
        _ => 0,
    };
    (0..sizes.len()).map(stride).collect()
}

/// Where each element of a broadcast tensor comes from.
pub enum Positions {
    /// The same position.
    Same,
    /// Always the first element.
    First,
    /// A position per element.
    Table(Vec<usize>),
}

impl Positions {
    /// The positions with which a tensor of `dims` fills `sizes`.
    pub fn broadcast(dims: &[usize], sizes: &[usize]) -> Positions {
        if dims == sizes {
            return Positions::Same;
        }
        if dims.iter().all(|&extent| extent == 1) {
            return Positions::First;
        }
        let mut table = Vec::with_capacity(element_count(sizes).unwrap_or(0));
        walk(sizes, &broadcast_strides(dims, sizes), 0, |at| table.push(at));
        Positions::Table(table)
    }

    /// Where element `index` comes from.
    #[inline]
    pub fn get(&self, index: usize) -> usize {
        match self {
            Positions::Same => index,
            Positions::First => 0,
            Positions::Table(table) => table[index],
        }
    }
}
