//! Meaning of gathers and scatters. Negative indices count from the end; an index out of range is a failure.

use narae_isa::numerics::{binary_f64, binary_integer};
use narae_isa::tensor::dense_strides;
use narae_isa::{BinaryFunction, Element, HostTensor, Overflow, ScatterFunction};

use super::{Failure, failure};

fn wrapped(index: i64, extent: usize) -> Result<usize, Failure> {
    let from_start = if index < 0 { index.saturating_add(extent as i64) } else { index };
    match usize::try_from(from_start) {
        Ok(at) if at < extent => Ok(at),
        _ => Err(failure(format!("index {index} is out of range for an axis of {extent} elements"))),
    }
}

pub(crate) fn gather(x: &HostTensor, indices: &HostTensor, axis: usize) -> Result<HostTensor, Failure> {
    let outer: usize = x.dims[..axis].iter().product();
    let inner = x.dims[axis + 1..].iter().product::<usize>() * x.element.bytes();
    let positions: Result<Vec<usize>, Failure> =
        indices.to_i64_vec().into_iter().map(|index| wrapped(index, x.dims[axis])).collect();
    let positions = positions?;
    let dims = [&x.dims[..axis], &indices.dims, &x.dims[axis + 1..]].concat();
    let mut bytes = Vec::with_capacity(outer * positions.len() * inner);
    for row in 0..outer {
        for position in &positions {
            let start = (row * x.dims[axis] + position) * inner;
            bytes.extend_from_slice(&x.bytes[start..start + inner]);
        }
    }
    Ok(HostTensor { element: x.element, dims, bytes })
}

/// For each element of `indices`, the flat position in a tensor of dims `data` where the coordinate `axis` is replaced.
fn element_positions(data: &[usize], indices: &HostTensor, axis: usize) -> Result<Vec<usize>, Failure> {
    let (own, dense) = (dense_strides(data), indices.strides());
    let position = |at: usize| {
        let mut target = wrapped(indices.get_i64(at), data[axis])? * own[axis];
        for other in (0..data.len()).filter(|&other| other != axis) {
            let coordinate = at / dense[other] % indices.dims[other];
            if coordinate >= data[other] {
                return Err(failure(format!("indices {:?} are longer than the data {data:?}", indices.dims)));
            }
            target += coordinate * own[other];
        }
        Ok(target)
    };
    (0..indices.len()).map(position).collect()
}

pub(super) fn gather_elements(x: &HostTensor, indices: &HostTensor, axis: usize) -> Result<HostTensor, Failure> {
    let positions = element_positions(&x.dims, indices, axis)?;
    let bytes = positions.into_iter().flat_map(|at| x.element_bytes(at).iter().copied()).collect();
    Ok(HostTensor { element: x.element, dims: indices.dims.clone(), bytes })
}

/// For each coordinate vector, the flat position of the part of `data` that it names.
fn part_positions(data: &[usize], indices: &HostTensor, batch: usize) -> Result<Vec<usize>, Failure> {
    let width = indices.dims[indices.rank() - 1];
    let strides = dense_strides(data);
    let parts: usize = indices.dims[..indices.rank() - 1].iter().product();
    let shared: usize = indices.dims[batch..indices.rank() - 1].iter().product();
    let batch_size: usize = data[batch..].iter().product();
    let position = |part: usize| {
        let mut at = part.checked_div(shared).unwrap_or(0) * batch_size;
        for coordinate in 0..width {
            let axis = batch + coordinate;
            at += wrapped(indices.get_i64(part * width + coordinate), data[axis])? * strides[axis];
        }
        Ok(at)
    };
    (0..parts).map(position).collect()
}

pub(super) fn gather_nd(x: &HostTensor, indices: &HostTensor, batch: usize) -> Result<HostTensor, Failure> {
    let width = indices.dims[indices.rank() - 1];
    let rest = &x.dims[batch + width..];
    let run = rest.iter().product::<usize>() * x.element.bytes();
    let size = x.element.bytes();
    let mut bytes = Vec::new();
    for at in part_positions(&x.dims, indices, batch)? {
        bytes.extend_from_slice(&x.bytes[at * size..at * size + run]);
    }
    let dims = [&indices.dims[..indices.rank() - 1], rest].concat();
    Ok(HostTensor { element: x.element, dims, bytes })
}

/// Combines one element with an update.
fn combine(function: ScatterFunction, target: &mut HostTensor, at: usize, updates: &HostTensor, from: usize) {
    let element = target.element;
    let binary = match function {
        ScatterFunction::Replace => {
            target.element_bytes_mut(at).copy_from_slice(updates.element_bytes(from));
            return;
        }
        ScatterFunction::Add => BinaryFunction::Add,
        ScatterFunction::Mul => BinaryFunction::Mul,
        ScatterFunction::Min => BinaryFunction::Min,
        ScatterFunction::Max => BinaryFunction::Max,
    };
    let load = |tensor: &HostTensor, at: usize| element.load_i128(tensor.element_bytes(at)).unwrap_or(0);
    if element.is_float() {
        // One rounding of an exact f64 result equals the f32 operation for these functions.
        let value = binary_f64(binary, target.get_f64(at), updates.get_f64(from));
        target.set_f64(at, value);
    } else {
        let value = binary_integer(binary, load(target, at), load(updates, from), element);
        element.store_i128(value, Overflow::Wrap, target.element_bytes_mut(at));
    }
}

pub(super) fn scatter_elements(
    operands: [&HostTensor; 3],
    axis: usize,
    function: ScatterFunction,
) -> Result<HostTensor, Failure> {
    let [x, indices, updates] = operands;
    let mut out = x.clone();
    for (from, at) in element_positions(&x.dims, indices, axis)?.into_iter().enumerate() {
        combine(function, &mut out, at, updates, from);
    }
    Ok(out)
}

pub(super) fn scatter_nd(operands: [&HostTensor; 3], function: ScatterFunction) -> Result<HostTensor, Failure> {
    let [x, indices, updates] = operands;
    let width = indices.dims[indices.rank() - 1];
    let run: usize = x.dims[width..].iter().product();
    let mut out = x.clone();
    for (part, at) in part_positions(&x.dims, indices, 0)?.into_iter().enumerate() {
        for offset in 0..run {
            combine(function, &mut out, at + offset, updates, part * run + offset);
        }
    }
    Ok(out)
}

pub(super) fn non_zero(x: &HostTensor) -> Vec<HostTensor> {
    let found: Vec<usize> = x.to_bool_vec().iter().enumerate().filter(|(_, holds)| **holds).map(|(at, _)| at).collect();
    let strides = x.strides();
    let coordinate = |axis: usize, at: usize| (at / strides[axis] % x.dims[axis]) as i64;
    let found = &found;
    let values: Vec<i64> = (0..x.rank()).flat_map(|axis| found.iter().map(move |&at| coordinate(axis, at))).collect();
    let indices = HostTensor::from_i64(&[x.rank(), found.len()], &values);
    vec![indices, HostTensor::from_i64_as(Element::I64, &[], &[found.len() as i64])]
}
