//! Types of sources, reductions and layout ops.

use narae_isa::{Diagnostic, Element, codes};

use super::{Context, Type};
use crate::graph::TensorType;
use crate::ir::Dim;

pub(super) fn dims(cx: &mut Context, dims: &[Dim], shape: &[usize]) -> Type {
    cx.ensure(shape.iter().product::<usize>() == dims.len(), "the shape does not hold the elements")?;
    Ok(TensorType::new(Element::I64, shape.iter().map(|&extent| extent.into()).collect()))
}

pub(super) fn iota(cx: &mut Context, element: Element, dims: &[Dim], axis: usize) -> Type {
    cx.axis(axis, dims.len())?;
    cx.not_negative(dims)?;
    Ok(TensorType::new(element, dims.to_vec()))
}

pub(super) fn reduce(cx: &mut Context, axes: &[usize]) -> Type {
    let mut ty = cx.types[0].clone();
    for (at, &axis) in axes.iter().enumerate() {
        cx.axis(axis, ty.dims.len())?;
        cx.ensure(!axes[..at].contains(&axis), "an axis is named twice")?;
        ty.dims[axis] = Dim::ONE;
    }
    Ok(ty)
}

pub(super) fn transpose(cx: &mut Context, permutation: &[usize]) -> Type {
    let rank = cx.rank(0);
    let mut seen = vec![false; rank];
    let permutes = permutation.len() == rank
        && permutation.iter().all(|&axis| axis < rank && !std::mem::replace(&mut seen[axis], true));
    cx.ensure(permutes, "the permutation does not name every axis once")?;
    let dims = permutation.iter().map(|&axis| cx.dims(0)[axis].clone()).collect();
    Ok(TensorType::new(cx.element(0), dims))
}

pub(super) fn reshape(cx: &mut Context, dims: &[Dim]) -> Type {
    cx.not_negative(dims)?;
    let (from, to) = (Dim::product(cx.dims(0)), Dim::product(dims));
    if from != to {
        cx.unify(&from, &to).map_err(|diagnostic| diagnostic.note("a reshape keeps the number of elements"))?;
    }
    let mut dims = dims.to_vec();
    cx.symbols.resolve_all(&mut dims);
    Ok(TensorType::new(cx.element(0), dims))
}

pub(super) fn broadcast(cx: &mut Context, dims: &[Dim]) -> Type {
    cx.not_negative(dims)?;
    cx.broadcasts_to(0, dims)?;
    Ok(TensorType::new(cx.element(0), dims.to_vec()))
}

pub(super) fn slice(cx: &mut Context, starts: &[Dim], steps: &[i64], dims: &[Dim]) -> Type {
    let rank = cx.rank(0);
    let fits = starts.len() == rank && steps.len() == rank && dims.len() == rank;
    cx.ensure(fits, "starts, steps and dims need one entry per axis")?;
    cx.ensure(steps.iter().all(|&step| step != 0), "a step is zero")?;
    cx.not_negative(dims)?;
    for axis in 0..rank {
        slice_axis(cx, axis, &starts[axis], steps[axis], &dims[axis])?;
    }
    Ok(TensorType::new(cx.element(0), dims.to_vec()))
}

/// Refuses a slice that certainly leaves the axis.
fn slice_axis(cx: &Context, axis: usize, start: &Dim, step: i64, count: &Dim) -> Result<(), Diagnostic> {
    let (least, most) = count.bounds(cx.symbols);
    if least.is_none_or(|least| least <= 0) {
        // There may be none, but if there are some, they do not begin in front of the axis.
        let in_front = start.bounds(cx.symbols).1.is_some_and(|start| start < 0);
        let message = format!("elements from `{}` on are outside of axis {axis}", start.display(cx.symbols));
        return if in_front && most != Some(0) { Err(cx.refuse(&codes::E0301, message)) } else { Ok(()) };
    }
    let last = start + &(&(count - &Dim::ONE) * &Dim::from(step));
    if last.is_invalid() {
        let message = format!("a step of {step} along axis {axis} leads beyond what 64 bits count");
        return Err(cx.refuse(&codes::E0301, message));
    }
    let outside = |at: &Dim| {
        let below = at.bounds(cx.symbols).1.is_some_and(|most| most < 0);
        below || (at - &cx.dims(0)[axis]).bounds(cx.symbols).0.is_some_and(|least| least >= 0)
    };
    if outside(start) || outside(&last) {
        let range = format!("`{}` to `{}`", start.display(cx.symbols), last.display(cx.symbols));
        return Err(cx.refuse(&codes::E0301, format!("elements {range} are outside of axis {axis}")));
    }
    Ok(())
}

pub(super) fn pad(cx: &mut Context, before: &[Dim], dims: &[Dim]) -> Type {
    let rank = cx.rank(0);
    cx.ensure(before.len() == rank && dims.len() == rank, "before and dims need one entry per axis")?;
    cx.not_negative(before)?;
    for axis in 0..rank {
        let after = &(&dims[axis] - &before[axis]) - &cx.dims(0)[axis];
        cx.not_negative(&[after])?;
    }
    if cx.types.len() == 2 {
        cx.same_elements()?;
        cx.ensure(cx.rank(1) == 0, "the value must be a scalar")?;
    }
    Ok(TensorType::new(cx.element(0), dims.to_vec()))
}

pub(super) fn concat(cx: &mut Context, axis: usize) -> Type {
    cx.ensure(!cx.types.is_empty(), "there is nothing to concatenate")?;
    cx.same_elements()?;
    cx.axis(axis, cx.rank(0))?;
    let mut dims = cx.types[0].dims.clone();
    for operand in 1..cx.types.len() {
        let other = cx.types[operand].dims.clone();
        cx.ensure(other.len() == dims.len(), "ranks differ")?;
        for (at, extent) in other.iter().enumerate() {
            dims[at] = if at == axis { &dims[at] + extent } else { cx.unify(&dims[at], extent)? };
        }
    }
    Ok(TensorType::new(cx.element(0), dims))
}
