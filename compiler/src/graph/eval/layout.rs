//! Meaning of the layout ops: the same elements elsewhere.

use narae_isa::tensor::{dense_strides, element_count};
use narae_isa::{Element, HostTensor, Overflow};

use super::strided::{broadcast_strides, take};
use super::{Failure, failure};
use crate::graph::ops::PadMode;

pub(super) fn iota(element: Element, sizes: &[usize], axis: usize) -> HostTensor {
    let mut out = HostTensor::zeros(element, sizes);
    let stride = dense_strides(sizes)[axis];
    for index in 0..out.len() {
        element.store_i64((index / stride % sizes[axis]) as i64, Overflow::Wrap, out.element_bytes_mut(index));
    }
    out
}

pub(crate) fn transpose(x: &HostTensor, permutation: &[usize]) -> HostTensor {
    if let ([rows, columns], [1, 0]) = (x.dims.as_slice(), permutation) {
        let bytes = match x.element.bytes() {
            1 => transposed::<1>(&x.bytes, *rows, *columns),
            2 => transposed::<2>(&x.bytes, *rows, *columns),
            4 => transposed::<4>(&x.bytes, *rows, *columns),
            _ => transposed::<8>(&x.bytes, *rows, *columns),
        };
        return HostTensor { element: x.element, dims: vec![*columns, *rows], bytes };
    }
    let strides = x.strides();
    let sizes: Vec<usize> = permutation.iter().map(|&axis| x.dims[axis]).collect();
    let strides: Vec<i64> = permutation.iter().map(|&axis| strides[axis] as i64).collect();
    take(x, &sizes, &strides, 0)
}

/// The elements of a matrix column by column, a square at a time so that both sides stay in the cache.
fn transposed<const B: usize>(bytes: &[u8], rows: usize, columns: usize) -> Vec<u8> {
    const SIDE: usize = 32;
    let elements = bytes.as_chunks::<B>().0;
    let mut out = vec![[0; B]; elements.len()];
    for (first_row, first_column) in
        (0..rows).step_by(SIDE).flat_map(|row| (0..columns).step_by(SIDE).map(move |c| (row, c)))
    {
        for column in first_column..columns.min(first_column + SIDE) {
            for row in first_row..rows.min(first_row + SIDE) {
                out[column * rows + row] = elements[row * columns + column];
            }
        }
    }
    out.into_flattened()
}

pub(crate) fn broadcast(x: &HostTensor, sizes: &[usize]) -> Result<HostTensor, Failure> {
    let new = sizes.len().checked_sub(x.rank());
    let fits = new.is_some_and(|new| x.dims.iter().zip(&sizes[new..]).all(|(&own, &all)| own == all || own == 1));
    if !fits {
        return Err(failure(format!("{:?} does not broadcast to {sizes:?}", x.dims)));
    }
    Ok(take(x, sizes, &broadcast_strides(&x.dims, sizes), 0))
}

pub(crate) fn slice(x: &HostTensor, starts: &[i64], steps: &[i64], sizes: &[usize]) -> Result<HostTensor, Failure> {
    let strides = x.strides();
    for axis in 0..x.rank() {
        let last = starts[axis] + (sizes[axis] as i64 - 1) * steps[axis];
        let inside = |at: i64| (0..x.dims[axis] as i64).contains(&at);
        if sizes[axis] > 0 && !(inside(starts[axis]) && inside(last)) {
            return Err(failure(format!(
                "elements {} to {last} are outside of axis {axis} of {:?}",
                starts[axis], x.dims
            )));
        }
    }
    let start = if sizes.contains(&0) { 0 } else { starts.iter().zip(&strides).map(|(s, &d)| s * d as i64).sum() };
    let strides: Vec<i64> = steps.iter().zip(&strides).map(|(step, &stride)| step * stride as i64).collect();
    Ok(take(x, sizes, &strides, start))
}

/// One after the other along an axis; all other extents are equal.
pub(crate) fn concat(parts: &[&HostTensor], axis: usize) -> HostTensor {
    let agree = |part: &&HostTensor| {
        part.rank() == parts[0].rank() && (0..part.rank()).all(|at| at == axis || part.dims[at] == parts[0].dims[at])
    };
    assert!(parts.iter().all(agree), "extents of concatenated tensors were checked against the symbols");
    let mut dims = parts[0].dims.clone();
    dims[axis] = parts.iter().map(|part| part.dims[axis]).sum();
    let outer: usize = dims[..axis].iter().product();
    let element = parts[0].element;
    let run = |part: &HostTensor| part.dims[axis..].iter().product::<usize>() * element.bytes();
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.bytes.len()).sum());
    for row in 0..outer {
        for part in parts {
            bytes.extend_from_slice(&part.bytes[row * run(part)..(row + 1) * run(part)]);
        }
    }
    HostTensor { element, dims, bytes }
}

/// The position along an axis of extent `extent` that stands at `at`, which may be outside.
fn source_index(at: i64, extent: i64, mode: PadMode) -> Option<i64> {
    if (0..extent).contains(&at) {
        return Some(at);
    }
    match mode {
        PadMode::Constant => None,
        _ if extent == 0 => None,
        PadMode::Edge => Some(at.clamp(0, extent - 1)),
        PadMode::Wrap => Some(at.rem_euclid(extent)),
        PadMode::Reflect if extent == 1 => Some(0),
        PadMode::Reflect => {
            let period = 2 * (extent - 1);
            let folded = at.rem_euclid(period);
            Some(if folded < extent { folded } else { period - folded })
        }
    }
}

pub(super) fn pad(
    x: &HostTensor,
    value: Option<&HostTensor>,
    before: &[i64],
    sizes: &[usize],
    mode: PadMode,
) -> Result<HostTensor, Failure> {
    let size = x.element.bytes();
    let fill = value.map_or(vec![0; size], |value| value.bytes.clone());
    let sources: Vec<Vec<Option<i64>>> = (0..x.rank())
        .map(|axis| {
            let extent = x.dims[axis] as i64;
            (0..sizes[axis] as i64).map(|at| source_index(at - before[axis], extent, mode)).collect()
        })
        .collect();
    if mode != PadMode::Constant && x.is_empty() && !sizes.contains(&0) {
        return Err(failure("an empty tensor has no border to continue".into()));
    }
    let strides = x.strides();
    let dense = dense_strides(sizes);
    let mut out = HostTensor::zeros(x.element, sizes);
    for index in 0..element_count(sizes).unwrap_or(0) {
        let mut at = Some(0usize);
        for axis in 0..x.rank() {
            let source = sources[axis][index / dense[axis] % sizes[axis]];
            at = at.zip(source).map(|(at, source)| at + source as usize * strides[axis]);
        }
        let bytes = at.map_or(fill.as_slice(), |at| x.element_bytes(at));
        out.element_bytes_mut(index).copy_from_slice(bytes);
    }
    Ok(out)
}
