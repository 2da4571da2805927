//! Named predicates of laws. Each returns a closure over a match: `None` where the law does not apply.
//!
//! Some also bind variables of the right side: a number read from a constant, a permutation composed of two. Always holds: a
//! predicate never changes a class, and what it adds to the e-graph are constants, attributes and layout terms. What is said of numbers
//! stands in `numbers.rs`. Every predicate, and every part of one, has a match that looks right and is not in `tests/refusals.rs`.

use narae_isa::{Element, HostTensor};

use super::law::Match;
use super::numbers;
use crate::graph::Real;
use crate::ir::Dim;

/// The variable is exactly this number everywhere; a zero has either sign.
pub fn is(name: &'static str, value: f64) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| (found.number(name)? == value).then_some(())
}

/// The variable is this number everywhere, as its type spells it: for numbers that no type holds.
pub fn spells(name: &'static str, value: f64) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| numbers::is_spelled(found.ty(name)?.element, found.number(name)?, value).then_some(())
}

/// The variable is some number everywhere, an infinite one or NaN too: for laws that only move it.
pub fn is_number(name: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| found.number(name).map(|_| ())
}

/// The variable has one element, and no more axes than the other.
pub fn one_element(name: &'static str, of: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (own, of) = (found.ty(name)?.dims, found.ty(of)?.dims);
        (own.len() <= of.len() && own.iter().all(|dim| dim.is(1))).then_some(())
    }
}

/// The variables are not numbers.
pub fn tensors(left: &'static str, right: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| (found.number(left).is_none() && found.number(right).is_none()).then_some(())
}

/// The variable's element type is one of these.
pub fn element(name: &'static str, elements: &'static [Element]) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| elements.contains(&found.ty(name)?.element).then_some(())
}

/// The left side has the type of the variable.
pub fn keeps_type(name: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| (found.ty(name)? == found.result()?).then_some(())
}

/// The left side has the dims of the attribute.
pub fn keeps_dims(name: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let dims: Vec<Dim> = found.field(name)?;
        found.same_all(&dims, &found.result()?.dims).then_some(())
    }
}

/// The element type named by the attribute holds every value of the variable's type.
pub fn widens(name: &'static str, to: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (from, to) = (found.ty(name)?.element, found.field::<Element>(to)?);
        let exact = match (from, to) {
            (Element::F16 | Element::BF16, Element::F32 | Element::F64) | (Element::F32, Element::F64) => true,
            (Element::I32, Element::I64) | (Element::Bool, Element::I32 | Element::I64 | Element::F32) => true,
            (left, right) => left == right,
        };
        exact.then_some(())
    }
}

/// A conversion of a narrow float to f32.
pub fn widening(name: &'static str, to: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let narrow = matches!(found.ty(name)?.element, Element::F16 | Element::BF16);
        (narrow && found.field::<Element>(to)? == Element::F32).then_some(())
    }
}

/// A conversion of an f32 to a narrow float.
pub fn narrowing(name: &'static str, to: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let narrow = matches!(found.field::<Element>(to)?, Element::F16 | Element::BF16);
        (narrow && found.ty(name)?.element == Element::F32).then_some(())
    }
}

/// The variable is known only when the program runs.
pub fn unknown(name: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| (!found.constant(name)).then_some(())
}

/// The left side has the dims of the variable.
pub fn keeps_dims_of(name: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (own, result) = (found.ty(name)?.dims, found.result()?.dims);
        found.same_all(&own, &result).then_some(())
    }
}

/// Binds the reciprocal of a number, as a constant of the same type.
pub fn inverse(name: &'static str, bound: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let element = found.ty(name)?.element;
        let inverse = numbers::inverse(element, found.number(name)?)?;
        found.bind_constant(bound, HostTensor::from_f64_as(element, &[], &[inverse]));
        Some(())
    }
}

/// Binds the product of two numbers that multiply `x`. Not where `x` is a multiple itself (the product of all is taken of what is none), and
/// not where the result is known to be one of `x`: products in other orders round differently, and there would be ever new ones.
pub fn product(
    x: &'static str,
    left: &'static str,
    right: &'static str,
    bound: &'static str,
) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (a, b) = (found.number(left)?, found.number(right)?);
        let element = found.ty(left)?.element;
        if found.is_multiple(x) || found.is_multiple_of(x) {
            return None;
        }
        let product = numbers::product(element, a, b)?;
        found.bind_constant(bound, HostTensor::from_f64_as(element, &[], &[product]));
        Some(())
    }
}

/// Binds the epsilon of a norm as an attribute: a finite number that is not negative.
pub fn epsilon(name: &'static str, bound: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let number = found.number(name)?;
        let fits = number.is_finite() && number >= 0.0;
        fits.then(|| found.bind_field(bound, &Real::new(number)))?
    }
}

/// Binds the scale of scores as an attribute: a normal number of the type that the chip multiplies in.
pub fn scale(name: &'static str, bound: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let number = found.number(name)?;
        numbers::normal(Element::F32, number)?;
        found.bind_field(bound, &Real::new(number))
    }
}

/// Binds scale and cap of capped scores `cap · tanh(x · factor)`, which is `cap · tanh((x · scale) / cap)`.
pub fn capped(
    factor: &'static str,
    cap: &'static str,
    scale: &'static str,
    softcap: &'static str,
) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (factor, cap) = (found.number(factor)?, found.number(cap)?);
        if cap.is_sign_negative() {
            return None;
        }
        numbers::product(Element::F32, factor, cap)?;
        found.bind_field(scale, &Real::new(factor * cap))?;
        found.bind_field(softcap, &Real::new(cap))
    }
}

/// The factor is one normal number that does not widen its operand; binds it with no axes in the type of the left side, so that it fits any
/// operand.
pub fn scalar_of(name: &'static str, of: &'static str, bound: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (number, own) = (found.number(name)?, found.ty(name)?);
        let (of_dims, element) = (found.ty(of)?.dims, found.result()?.element);
        if !found.broadcasts_into(&own.dims, &of_dims) || found.number(of).is_some() {
            return None;
        }
        let number = numbers::normal(own.element, number)?;
        found.bind_constant(bound, HostTensor::from_f64_as(element, &[], &[number]));
        Some(())
    }
}

/// The list of axes is just the last one.
pub fn last_axis(axes: &'static str, of: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (axes, rank) = (found.field::<Vec<usize>>(axes)?, found.ty(of)?.dims.len());
        (axes.len() == 1 && axes[0] + 1 == rank).then_some(())
    }
}

/// The axis is the last one.
pub fn last_of(axis: &'static str, of: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| (found.field::<usize>(axis)? + 1 == found.ty(of)?.dims.len()).then_some(())
}

/// The number is how many elements the axes hold, and does not widen what is left of them.
pub fn extent_of(name: &'static str, axes: &'static str, of: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (number, mut dims) = (found.number(name)?, found.ty(of)?.dims);
        let axes: Vec<usize> = found.field(axes)?;
        let extent = Dim::product(axes.iter().filter_map(|axis| dims.get(*axis)));
        axes.iter().for_each(|axis| dims[*axis] = Dim::ONE);
        (extent.as_const()? as f64 == number && found.same_all(&dims, &found.result()?.dims)).then_some(())
    }
}

/// A constant with one number per element of the last axis of `of`; binds it with one axis.
pub fn row_vector(name: &'static str, of: &'static str, bound: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (own, of) = (found.ty(name)?, found.ty(of)?);
        let last = of.dims.last()?.clone();
        let (own_last, outer) = own.dims.split_last()?;
        if !found.constant(name) || !found.same(own_last, &last) || !outer.iter().all(|dim| dim.is(1)) {
            return None;
        }
        found.bind_field("?row", &vec![last])?;
        found.bind_pattern(bound, &format!("(reshape ?row {name})"));
        Some(())
    }
}

/// The permutation leaves everything where it is.
pub fn identity(name: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| found.field::<Vec<usize>>(name)?.iter().enumerate().all(|(at, axis)| at == *axis).then_some(())
}

/// Binds the permutation that two in a row are.
pub fn composed(
    outer: &'static str,
    inner: &'static str,
    bound: &'static str,
) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (outer, inner) = (found.field::<Vec<usize>>(outer)?, found.field::<Vec<usize>>(inner)?);
        let both: Option<Vec<usize>> = outer.iter().map(|axis| inner.get(*axis).copied()).collect();
        found.bind_field(bound, &both?)
    }
}

/// `reshape d (transpose p (reshape e x))` where `p` exchanges the last two of three axes and `d` keeps these two, so that its other axes
/// are what was joined in the first of the three: binds the permutation of the last two axes, and the dims that `x` has before it.
pub fn flat_batches(
    last: &'static str,
    permutation: &'static str,
    first: &'static str,
    bound: &'static str,
    dims: &'static str,
) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (mut dims_now, first): (Vec<Dim>, Vec<Dim>) = (found.field(last)?, found.field(first)?);
        let rank = dims_now.len();
        let rows = rank.checked_sub(2)?;
        if found.field::<Vec<usize>>(permutation)? != [0, 2, 1]
            || !found.same_all(&dims_now[rows..], &[first[2].clone(), first[1].clone()])
        {
            return None;
        }
        let mut swap: Vec<usize> = (0..rank).collect();
        swap.swap(rows, rows + 1);
        dims_now.swap(rows, rows + 1);
        found.bind_field(bound, &swap)?;
        found.bind_field(dims, &dims_now)
    }
}

/// The permutation moves no axis of extent above 1 past another; binds the dims of the result.
pub fn moves_only_ones(
    permutation: &'static str,
    of: &'static str,
    bound: &'static str,
) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (permutation, ty) = (found.field::<Vec<usize>>(permutation)?, found.ty(of)?);
        let moved: Vec<usize> = permutation.into_iter().filter(|axis| !ty.dims[*axis].is(1)).collect();
        if !moved.is_sorted() {
            return None;
        }
        let dims = found.result()?.dims;
        found.bind_field(bound, &dims)
    }
}

/// The elementwise op over `x` and `y` has the type of the left side, so `y` need not be broadcast before.
pub fn broadcasts_anyway(x: &'static str, y: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (x, y, result) = (found.ty(x)?.dims, found.ty(y)?.dims, found.result()?.dims);
        let rank = x.len().max(y.len());
        if rank != result.len() {
            return None;
        }
        let extent =
            |dims: &[Dim], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(Dim::ONE, |at| dims[at].clone());
        let fits = |axis: usize| {
            let (a, b) = (extent(&x, axis), extent(&y, axis));
            let both = if a.is(1) { b } else { a };
            found.same(&both, &result[axis])
        };
        (0..rank).all(fits).then_some(())
    }
}

/// The permutation leaves the last axis where it is.
pub fn keeps_last(permutation: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let permutation: Vec<usize> = found.field(permutation)?;
        (permutation.last().copied()? + 1 == permutation.len()).then_some(())
    }
}

/// The variables have the same number of axes.
pub fn same_rank(left: &'static str, right: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| (found.ty(left)?.dims.len() == found.ty(right)?.dims.len()).then_some(())
}

/// Binds where the permutation takes the axis.
pub fn axis_through(
    permutation: &'static str,
    axis: &'static str,
    bound: &'static str,
) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (permutation, axis) = (found.field::<Vec<usize>>(permutation)?, found.field::<usize>(axis)?);
        let to = permutation.iter().position(|from| *from == axis)?;
        found.bind_field(bound, &to)
    }
}

/// `reshape d (concat a x x)` where the concatenated last axis stays the last; binds the new axis and the dims of the halves.
pub fn last_axis_kept(
    dims: &'static str,
    axis: &'static str,
    half: &'static str,
    bound: &'static str,
    halved: &'static str,
) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (mut dims, axis): (Vec<Dim>, usize) = (found.field(dims)?, found.field(axis)?);
        let half = found.ty(half)?.dims;
        let own = half.last()?.clone();
        let last = dims.len().checked_sub(1)?;
        if axis + 1 != half.len() || !found.same(&dims[last], &(&own + &own)) {
            return None;
        }
        dims[last] = own;
        found.bind_field(bound, &last)?;
        found.bind_field(halved, &dims)
    }
}

/// A permutation of four axes that does not just exchange the last two; binds what remains before that exchange.
pub fn unswapped(permutation: &'static str, bound: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let mut permutation: Vec<usize> = found.field(permutation)?;
        if permutation.len() != 4 || permutation == [0, 1, 3, 2] {
            return None;
        }
        permutation.swap(2, 3);
        found.bind_field(bound, &permutation)
    }
}

/// The two slices are the halves of the last axis of `x`, the first one first in the names, and the axis is that one.
pub fn halves(
    x: &'static str,
    first: [&'static str; 3],
    second: [&'static str; 3],
    axis: &'static str,
) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let dims = found.ty(x)?.dims;
        let last = dims.len().checked_sub(1)?;
        let half = dims[last].as_size().filter(|size| size.is_multiple_of(2))? / 2;
        let mut extents = dims;
        extents[last] = half.into();
        let part = |found: &Match<'_>, [own, starts, steps]: [&'static str; 3], start: usize| {
            let mut expected = vec![Dim::ZERO; extents.len()];
            expected[last] = start.into();
            let steps: Vec<i64> = found.field(steps)?;
            let fits = found.same_all(&found.field::<Vec<Dim>>(own)?, &extents)
                && found.same_all(&found.field::<Vec<Dim>>(starts)?, &expected)
                && steps.iter().all(|step| *step == 1);
            fits.then_some(())
        };
        part(found, first, 0)?;
        part(found, second, half)?;
        (found.field::<usize>(axis)? == last).then_some(())
    }
}

/// The constant table's rows repeat their first half; binds the half table and the axis of the gathered rows.
pub fn doubled(
    table: &'static str,
    half: &'static str,
    indices: &'static str,
    axis: &'static str,
) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let recipe = found.recipe(table)?;
        let [rows, columns] = *recipe.dims() else { return None };
        // Two further guards are no part of the law: a long table takes time to read, and one that was read need not be read again.
        if columns == 0 || !columns.is_multiple_of(2) || recipe.bytes() > MAXIMUM_TABLE || found.is_doubled() {
            return None;
        }
        let whole = recipe.evaluate(&found.space.analysis.scratch().sources).ok()?;
        let row = columns * recipe.element().bytes();
        if whole.bytes.chunks(row).any(|row| row[..row.len() / 2] != row[row.len() / 2..]) {
            return None;
        }
        let left = recipe.slice(&[0, 0], &[1, 1], vec![rows, columns / 2]).ok()?;
        let last = found.ty(indices)?.dims.len();
        found.bind_recipe(half, &left);
        found.bind_field(axis, &last)
    }
}

/// Tables of cosines with more bytes are not compared: 128k positions of 128 f32 fit.
const MAXIMUM_TABLE: usize = 64 << 20;

/// The constant is a matrix that rows of `x` are multiplied with.
pub fn weight(x: &'static str, w: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (x_ty, w_ty) = (found.ty(x)?, found.ty(w)?);
        (found.constant(w) && !found.constant(x) && w_ty.dims.len() == 2 && x_ty.element.is_float()).then_some(())
    }
}

/// The constant is a bias of the weight's outputs and does not widen the rows of `x`; binds it with one axis.
pub fn bias_of(
    bias: &'static str,
    x: &'static str,
    w: &'static str,
    bound: &'static str,
) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (own, outputs) = (found.ty(bias)?.dims, found.ty(w)?.dims.first()?.clone());
        let (last, outer) = own.split_last()?;
        let row = found.same(last, &outputs) && outer.iter().all(|dim| dim.is(1));
        if !found.constant(bias) || !row || own.len() > found.ty(x)?.dims.len() {
            return None;
        }
        found.bind_field("?outputs", &vec![outputs])?;
        found.bind_pattern(bound, &format!("(reshape ?outputs {bias})"));
        Some(())
    }
}

/// The reshape of a linear layer's result only rearranges rows; binds the dims that its operand takes.
pub fn rows_only(
    dims: &'static str,
    x: &'static str,
    w: &'static str,
    bound: &'static str,
) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let mut dims: Vec<Dim> = found.field(dims)?;
        let (x, w) = (found.ty(x)?.dims, found.ty(w)?.dims);
        let last = dims.len().checked_sub(1)?;
        if !found.same(&dims[last], &w[0]) {
            return None;
        }
        dims[last] = x.last()?.clone();
        found.bind_field(bound, &dims)
    }
}

/// Queries, keys and values with the same batch and heads, so that the matmuls broadcast nothing, nor does what is added to the scores
/// or multiplied with them.
pub fn heads(q: &'static str, k: &'static str, v: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (q, k, v) = (found.ty(q)?.dims, found.ty(k)?.dims, found.ty(v)?.dims);
        let ([batch, heads, rows, _], [.., width]) = (&q[..], &v[..]) else { return None };
        let own = [batch.clone(), heads.clone()];
        let result = [batch.clone(), heads.clone(), rows.clone(), width.clone()];
        let alike = found.same_all(&k[..2], &own) && v.len() == 4 && found.same_all(&v[..2], &own);
        (alike && found.same_all(&result, &found.result()?.dims)).then_some(())
    }
}

/// `reshape d (broadcast b (reshape a x))` repeats each of the heads of `x`: `a` puts an axis of 1 behind them, `b` widens it, and `d` joins
/// it with the heads.
pub fn repeats(x: &'static str, [with_one, wide, joined]: [&'static str; 3]) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let x = found.ty(x)?.dims;
        let [a, b, d]: [Vec<Dim>; 3] = [found.field(with_one)?, found.field(wide)?, found.field(joined)?];
        let [batch, heads, keys, width] = &x[..] else { return None };
        let (batch, heads, keys, width) = (batch.clone(), heads.clone(), keys.clone(), width.clone());
        let count = b.get(2)?.clone();
        let all = &heads * &count;
        // That `b` widens nothing else follows: it has as many elements as `d`.
        let parts = [batch.clone(), heads, Dim::ONE, keys.clone(), width.clone()];
        let fits = found.same_all(&a, &parts) && found.same_all(&d, &[batch, all, keys, width]);
        fits.then_some(())
    }
}
