//! Types of matrix products, convolutions and windows.

use narae_isa::{Diagnostic, Element};

use super::{Context, Type};
use crate::graph::TensorType;
use crate::ir::Dim;

/// The dims of a batched matrix product of operands 0 and 1.
fn product_dims(cx: &mut Context) -> Result<Vec<Dim>, Diagnostic> {
    cx.ensure(cx.rank(0) >= 2 && cx.rank(1) >= 2, "operands need at least two axes")?;
    let (a, b) = (cx.types[0].dims.clone(), cx.types[1].dims.clone());
    let (m, n) = (a.len(), b.len());
    cx.unify(&a[m - 1], &b[n - 2])?;
    let mut dims = cx.broadcast_dims(&a[..m - 2], &b[..n - 2])?;
    dims.extend([a[m - 2].clone(), b[n - 1].clone()]);
    Ok(dims)
}

pub(super) fn matmul(cx: &mut Context) -> Type {
    cx.same_elements()?;
    let element = cx.element(0);
    cx.accepts(element.is_float() || element == Element::I32, "a matrix product")?;
    Ok(TensorType::new(element, product_dims(cx)?))
}

pub(super) fn matmul_integer(cx: &mut Context) -> Type {
    for operand in 0..4 {
        let fits = matches!(cx.element(operand), Element::I8 | Element::U8);
        cx.ensure(fits, "operands must be 8-bit integers")?;
    }
    cx.ensure(cx.element(0) == cx.element(2) && cx.element(1) == cx.element(3), "zero points have other types")?;
    let (a, b) = (cx.types[0].dims.clone(), cx.types[1].dims.clone());
    cx.broadcasts_to(2, &a)?;
    cx.broadcasts_to(3, &b)?;
    Ok(TensorType::new(Element::I32, product_dims(cx)?))
}

fn spatial_lists(cx: &Context, lengths: [usize; 5]) -> Result<usize, Diagnostic> {
    cx.ensure(cx.rank(0) >= 2, "the operand needs a batch axis and a channel axis")?;
    let spatial = cx.rank(0) - 2;
    cx.ensure(lengths.iter().all(|&length| length == spatial), "attributes need one entry per spatial axis")?;
    Ok(spatial)
}

pub(super) fn conv(cx: &mut Context, lengths: [usize; 5], groups: usize, dims: &[Dim]) -> Type {
    spatial_lists(cx, lengths)?;
    cx.same_elements()?;
    let element = cx.element(0);
    cx.accepts(element.is_float() || element == Element::I32, "a convolution")?;
    cx.ensure(cx.rank(1) == cx.rank(0), "the weight needs as many axes as the data")?;
    cx.ensure(groups > 0, "there are no groups")?;
    cx.not_negative(dims)?;
    let per_group = &cx.dims(1)[1] * &Dim::from(groups);
    let (channels, outputs) = (cx.dims(0)[1].clone(), cx.dims(1)[0].clone());
    cx.unify(&channels, &per_group)?;
    let divides = outputs.as_size().is_none_or(|outputs| outputs.is_multiple_of(groups));
    cx.ensure(divides, "the groups do not divide the output channels")?;
    if cx.types.len() == 3 {
        cx.ensure(cx.rank(2) == 1, "the bias must have one axis")?;
        let bias = cx.dims(2)[0].clone();
        cx.unify(&bias, &outputs)?;
    }
    let batch = cx.dims(0)[0].clone();
    Ok(TensorType::new(element, [&[batch, outputs], dims].concat()))
}

pub(super) fn window(cx: &mut Context, lengths: [usize; 5], dims: &[Dim], kernel: &[usize]) -> Type {
    spatial_lists(cx, lengths)?;
    cx.not_negative(dims)?;
    if cx.types.len() == 2 {
        cx.same_elements()?;
        cx.ensure(cx.rank(1) == 0, "the value must be a scalar")?;
    }
    let mut all = [&cx.dims(0)[..2], dims].concat();
    all.extend(kernel.iter().map(|&extent| Dim::from(extent)));
    Ok(TensorType::new(cx.element(0), all))
}
