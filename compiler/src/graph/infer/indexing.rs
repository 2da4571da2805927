//! Types of gathers, scatters, selections by value.

use narae_isa::{Diagnostic, Element};

use super::{Context, Inferred, ResultSymbol, Type};
use crate::graph::TensorType;
use crate::ir::Dim;

pub(super) fn gather(cx: &mut Context, axis: usize) -> Type {
    cx.expect_index(1)?;
    cx.axis(axis, cx.rank(0))?;
    let (before, after) = (&cx.dims(0)[..axis], &cx.dims(0)[axis + 1..]);
    let dims = [before, cx.dims(1), after].concat();
    Ok(TensorType::new(cx.element(0), dims))
}

pub(super) fn gather_elements(cx: &mut Context, axis: usize) -> Type {
    cx.expect_index(1)?;
    cx.axis(axis, cx.rank(0))?;
    cx.ensure(cx.rank(0) == cx.rank(1), "ranks differ")?;
    // Other axes of the indices may be shorter than those of `x`, so nothing is unified.
    Ok(TensorType::new(cx.element(0), cx.dims(1).to_vec()))
}

/// The number of coordinates that the last axis of operand 1 holds.
fn coordinates(cx: &Context) -> Result<usize, Diagnostic> {
    let last = cx.dims(1).last().and_then(Dim::as_size);
    last.ok_or_else(|| cx.refuse(&narae_isa::codes::E0303, "the last extent of the indices must be known"))
}

pub(super) fn gather_nd(cx: &mut Context, batch: usize) -> Type {
    cx.expect_index(1)?;
    let count = coordinates(cx)?;
    cx.ensure(batch < cx.rank(1) && batch + count <= cx.rank(0), "there are more coordinates than axes")?;
    let (x, indices) = (cx.types[0].dims.clone(), cx.types[1].dims.clone());
    cx.unify_all(&x[..batch], &indices[..batch])?;
    let dims = [&indices[..indices.len() - 1], &x[batch + count..]].concat();
    Ok(TensorType::new(cx.element(0), dims))
}

pub(super) fn scatter_elements(cx: &mut Context, axis: usize) -> Type {
    cx.expect_index(1)?;
    cx.axis(axis, cx.rank(0))?;
    cx.ensure(cx.rank(0) == cx.rank(1), "ranks differ")?;
    cx.ensure(cx.element(0) == cx.element(2), "updates must have the type of the data")?;
    let (indices, updates) = (cx.types[1].dims.clone(), cx.types[2].dims.clone());
    cx.unify_all(&indices, &updates)?;
    Ok(cx.types[0].clone())
}

pub(super) fn scatter_nd(cx: &mut Context) -> Type {
    cx.expect_index(1)?;
    cx.ensure(cx.element(0) == cx.element(2), "updates must have the type of the data")?;
    let count = coordinates(cx)?;
    cx.ensure(count <= cx.rank(0), "there are more coordinates than axes")?;
    let indices = cx.types[1].dims.clone();
    let expected = [&indices[..indices.len() - 1], &cx.types[0].dims[count..]].concat();
    let updates = cx.types[2].dims.clone();
    cx.unify_all(&expected, &updates)?;
    Ok(cx.types[0].clone())
}

pub(super) fn top_k(cx: &mut Context, axis: usize, k: &Dim) -> Result<Vec<TensorType>, Diagnostic> {
    cx.axis(axis, cx.rank(0))?;
    cx.not_negative(std::slice::from_ref(k))?;
    let too_many = (k - &cx.dims(0)[axis]).bounds(cx.symbols).0.is_some_and(|least| least > 0);
    cx.ensure(!too_many, "`k` exceeds the extent of the axis")?;
    let mut dims = cx.dims(0).to_vec();
    dims[axis] = k.clone();
    Ok(vec![TensorType::new(cx.element(0), dims.clone()), TensorType::new(Element::I64, dims)])
}

pub(super) fn non_zero(cx: &mut Context) -> Inferred {
    let all = Dim::product(cx.dims(0));
    let symbol = cx.fresh("nonzero");
    cx.symbols.bound(symbol, Some(0), all.bounds(cx.symbols).1);
    let dims = vec![cx.rank(0).into(), symbol.into()];
    Inferred {
        types: vec![TensorType::new(Element::I64, dims), TensorType::scalar(Element::I64)],
        definitions: vec![(symbol, ResultSymbol::Element { result: 1, index: 0 })],
    }
}
