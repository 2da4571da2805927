//! Instructions that move elements by computed indices: gathers, scatters, top-k, non-zeros.

use super::super::moves::position;
use super::super::number::{Number, with_arithmetic};
use super::super::{Context, Fault, Flow, require, same_dims};
use crate::state::{Arithmetic, View};
use narae_isa::functions::ScatterFunction;
use narae_isa::instructions::*;
use narae_isa::operand::Axis;
use narae_isa::{BinaryFunction, Overflow};
use std::cmp::Ordering;

fn product(dims: &[usize]) -> usize {
    dims.iter().product()
}

/// The elements of a view as dense bits, with the size of one.
fn bits_of(c: &Context<'_>, view: &View) -> Result<(Vec<u8>, usize), Fault> {
    let mut bits = Vec::new();
    c.memory.load_bits(view, &mut bits)?;
    Ok((bits, view.element.bytes()))
}

fn check_size(out: &View, a: &View) -> Result<(), Fault> {
    require(out.element.bytes() == a.element.bytes(), || {
        format!("moving {} to {}: elements of different size", a.element, out.element)
    })
}

pub(crate) fn gather(c: &mut Context<'_>, row: &Gather) -> Result<Flow, Fault> {
    let (out, a, index) = (c.view(row.out)?, c.view(row.a)?, c.view(row.index)?);
    let axis = row.axis.index();
    check_size(&out, &a)?;
    let dims = || [&a.dims()[..axis], index.dims(), &a.dims()[axis + 1..]].concat();
    require(axis < a.rank && dims() == out.dims(), || {
        format!("gathering {:?} along axis {axis} of {:?} does not give {:?}", index.dims(), a.dims(), out.dims())
    })?;
    let (outer, n, inner) = (product(&a.dims()[..axis]), a.dims[axis], product(&a.dims()[axis + 1..]));
    let ((bits, size), indices) = (bits_of(c, &a)?, i128::load(c.memory, &index)?);
    let places = indices.into_iter().map(|i| position(i, n)).collect::<Result<Vec<usize>, Fault>>()?;
    let bytes = inner * size;
    let mut result = Vec::with_capacity(out.len() * size);
    for o in 0..outer {
        for place in &places {
            let from = (o * n + place) * bytes;
            result.extend_from_slice(&bits[from..from + bytes]);
        }
    }
    c.memory.store_bits(&out, &result)?;
    Ok(Flow::Next)
}

/// Row-major strides of dims.
fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis];
    }
    strides
}

/// For each element of `index` (row-major) the flat position in `target` when the coordinate along the axis is replaced by the index.
fn element_positions(c: &Context<'_>, index: &View, target: &View, axis: Axis) -> Result<Vec<usize>, Fault> {
    let axis = axis.index();
    let fits = axis < target.rank && index.rank == target.rank;
    let fits = fits && (0..target.rank).all(|other| other == axis || index.dims[other] <= target.dims[other]);
    require(fits, || format!("indices {:?} into {:?} along axis {axis}", index.dims(), target.dims()))?;
    let (to, dims) = (strides(target.dims()), index.dims());
    let indices = i128::load(c.memory, index)?;
    let from = strides(dims);
    let mut positions = Vec::with_capacity(indices.len());
    for (flat, value) in indices.into_iter().enumerate() {
        let coordinate = |d: usize| flat / from[d] % dims[d];
        let others: usize = (0..dims.len()).filter(|d| *d != axis).map(|d| coordinate(d) * to[d]).sum();
        positions.push(others + position(value, target.dims[axis])? * to[axis]);
    }
    Ok(positions)
}

pub(crate) fn gatherelements(c: &mut Context<'_>, row: &GatherElements) -> Result<Flow, Fault> {
    let (out, a, index) = (c.view(row.out)?, c.view(row.a)?, c.view(row.index)?);
    same_dims(&[("out", &out), ("index", &index)])?;
    check_size(&out, &a)?;
    let positions = element_positions(c, &index, &a, row.axis)?;
    let (bits, size) = bits_of(c, &a)?;
    let result: Vec<u8> =
        positions.into_iter().flat_map(|at| bits[at * size..(at + 1) * size].iter().copied()).collect();
    c.memory.store_bits(&out, &result)?;
    Ok(Flow::Next)
}

/// For each index tuple the number of the slice of `target` that it names; also the length of a slice.
fn tuple_positions(c: &Context<'_>, index: &View, target: &View, batch: usize) -> Result<(Vec<usize>, usize), Fault> {
    let depth = if index.rank == 0 { 0 } else { index.dims[index.rank - 1] };
    let fits = index.rank > batch && batch + depth <= target.rank && index.dims[..batch] == target.dims[..batch];
    require(fits, || format!("index tuples {:?} into {:?} with {batch} batch axes", index.dims(), target.dims()))?;
    let indices = i128::load(c.memory, index)?;
    let addressed = &target.dims()[batch..batch + depth];
    let per_batch = product(&index.dims()[batch..index.rank - 1]);
    let slices = product(addressed);
    let tuples = product(&index.dims()[..index.rank - 1]);
    let mut positions = Vec::with_capacity(tuples);
    for tuple in 0..tuples {
        let mut at = 0;
        for (d, n) in addressed.iter().enumerate() {
            at = at * n + position(indices[tuple * depth + d], *n)?;
        }
        positions.push(tuple.checked_div(per_batch).unwrap_or(0) * slices + at);
    }
    Ok((positions, product(&target.dims()[batch + depth..])))
}

pub(crate) fn gathernd(c: &mut Context<'_>, row: &GatherNd) -> Result<Flow, Fault> {
    let (out, a, index) = (c.view(row.out)?, c.view(row.a)?, c.view(row.index)?);
    check_size(&out, &a)?;
    let (positions, length) = tuple_positions(c, &index, &a, row.batch.index())?;
    let (bits, size) = bits_of(c, &a)?;
    let bytes = length * size;
    let result: Vec<u8> =
        positions.into_iter().flat_map(|at| bits[at * bytes..(at + 1) * bytes].iter().copied()).collect();
    c.memory.store_bits(&out, &result)?;
    Ok(Flow::Next)
}

pub(crate) fn scatterelements(c: &mut Context<'_>, row: &ScatterElements) -> Result<Flow, Fault> {
    let (out, index, updates) = (c.view(row.out)?, c.view(row.index)?, c.view(row.updates)?);
    same_dims(&[("index", &index), ("updates", &updates)])?;
    let positions = element_positions(c, &index, &out, row.axis)?;
    scatter(c, row.function, &out, &updates, &positions, 1)
}

pub(crate) fn scatternd(c: &mut Context<'_>, row: &ScatterNd) -> Result<Flow, Fault> {
    let (out, index, updates) = (c.view(row.out)?, c.view(row.index)?, c.view(row.updates)?);
    let (positions, length) = tuple_positions(c, &index, &out, 0)?;
    scatter(c, row.function, &out, &updates, &positions, length)
}

/// Combines slices of `length` elements of the updates, in order, with those of `out` at the positions.
fn scatter(
    c: &mut Context<'_>,
    function: ScatterFunction,
    out: &View,
    updates: &View,
    positions: &[usize],
    length: usize,
) -> Result<Flow, Fault> {
    require(updates.len() == positions.len() * length, || {
        format!("updates {:?} for {} places of {length} elements", updates.dims(), positions.len())
    })?;
    let binary = match function {
        ScatterFunction::Replace => return replace(c, out, updates, positions, length),
        ScatterFunction::Add => BinaryFunction::Add,
        ScatterFunction::Mul => BinaryFunction::Mul,
        ScatterFunction::Min => BinaryFunction::Min,
        ScatterFunction::Max => BinaryFunction::Max,
    };
    with_arithmetic!(Arithmetic::of(&[out.element, updates.element]), N => {
        let (mut values, new) = (N::load(c.memory, out)?, N::load(c.memory, updates)?);
        for (i, at) in positions.iter().enumerate() {
            let (old, new) = (&mut values[at * length..(at + 1) * length], &new[i * length..(i + 1) * length]);
            let combined = N::binary(c.arch, binary, out.element, old, new);
            old.copy_from_slice(&combined);
        }
        N::store(c.memory, out, &values, Overflow::Wrap)?;
    });
    Ok(Flow::Next)
}

fn replace(c: &mut Context<'_>, out: &View, updates: &View, positions: &[usize], length: usize) -> Result<Flow, Fault> {
    check_size(out, updates)?;
    let ((mut bits, size), (new, _)) = (bits_of(c, out)?, bits_of(c, updates)?);
    let bytes = length * size;
    for (i, at) in positions.iter().enumerate() {
        bits[at * bytes..(at + 1) * bytes].copy_from_slice(&new[i * bytes..(i + 1) * bytes]);
    }
    c.memory.store_bits(out, &bits)?;
    Ok(Flow::Next)
}

/// The view with one axis moved to the end.
fn axis_last(view: &View, axis: usize) -> View {
    let order: Vec<usize> = (0..view.rank).filter(|other| *other != axis).chain([axis]).collect();
    view.permuted(&order)
}

pub(crate) fn topk(c: &mut Context<'_>, row: &TopK) -> Result<Flow, Fault> {
    let (values, indices, a) = (c.optional_view(row.values)?, c.optional_view(row.indices)?, c.view(row.a)?);
    let axis = row.axis.index();
    let Some(result) = values.or(indices) else { return Ok(Flow::Next) };
    let fits = |view: &View| {
        view.rank == a.rank
            && axis < a.rank
            && (0..a.rank).all(|d| view.dims[d] == a.dims[d] || d == axis && view.dims[d] <= a.dims[d])
    };
    require(fits(&result) && indices.is_none_or(|view| view.dims() == result.dims()), || {
        format!("the best of {:?} along axis {axis} do not have the dims {:?}", a.dims(), result.dims())
    })?;
    let (k, n) = (result.dims[axis], a.dims[axis]);
    let from = axis_last(&a, axis);
    let order = with_arithmetic!(Arithmetic::of(&[a.element]), N => {
        let all = N::load(c.memory, &from)?;
        let rows = if n == 0 { 0 } else { all.len() / n };
        (0..rows).flat_map(|r| best::<N>(&all[r * n..(r + 1) * n], k, row.smallest)).collect::<Vec<usize>>()
    });
    if let Some(view) = values {
        check_size(&view, &a)?;
        let (bits, size) = bits_of(c, &from)?;
        let chosen = order.iter().enumerate().flat_map(|(i, at)| {
            let from = (i / k.max(1) * n + at) * size;
            bits[from..from + size].iter().copied()
        });
        let chosen: Vec<u8> = chosen.collect();
        c.memory.store_bits(&axis_last(&view, axis), &chosen)?;
    }
    if let Some(view) = indices {
        let numbers: Vec<i128> = order.iter().map(|i| *i as i128).collect();
        c.memory.store_integers(&axis_last(&view, axis), &numbers, Overflow::Wrap)?;
    }
    Ok(Flow::Next)
}

/// The indices of the k greatest (or least), best first; of equals the lower index first; NaN is greater than everything.
fn best<N: Number>(row: &[N], k: usize, smallest: bool) -> Vec<usize> {
    let rank = |a: &N, b: &N| a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()));
    let before = |i: &usize, j: &usize| -> Ordering {
        let order = if smallest { rank(&row[*i], &row[*j]) } else { rank(&row[*j], &row[*i]) };
        order.then(i.cmp(j))
    };
    let mut indices: Vec<usize> = (0..row.len()).collect();
    if k < row.len() && k > 0 {
        indices.select_nth_unstable_by(k - 1, before);
    }
    indices.truncate(k);
    indices.sort_unstable_by(before);
    indices
}

pub(crate) fn nonzero(c: &mut Context<'_>, row: &NonZero) -> Result<Flow, Fault> {
    let (indices, count, a) = (c.view(row.indices)?, c.view(row.count)?, c.view(row.a)?);
    require(indices.rank == 2 && indices.dims[0] == a.rank && count.len() == 1, || {
        format!("indices {:?} and a count {:?} of the elements of {:?}", indices.dims(), count.dims(), a.dims())
    })?;
    let found: Vec<usize> = with_arithmetic!(Arithmetic::of(&[a.element]), N => {
        N::load(c.memory, &a)?.into_iter().enumerate().filter(|(_, x)| *x != N::default()).map(|(i, _)| i).collect()
    });
    require(found.len() <= indices.dims[1], || {
        format!("{} elements are not zero, there is room for {}", found.len(), indices.dims[1])
    })?;
    let steps = strides(a.dims());
    let numbers: Vec<i128> = (0..a.rank)
        .flat_map(|d| found.iter().map(move |i| (d, *i)))
        .map(|(d, i)| (i / steps[d] % a.dims[d]) as i128)
        .collect();
    let mut filled = indices;
    filled.dims[1] = found.len();
    c.memory.store_integers(&filled, &numbers, Overflow::Wrap)?;
    c.memory.store_integers(&count, &[found.len() as i128], Overflow::Wrap)?;
    Ok(Flow::Next)
}
