//! Named predicates of laws. Each returns a closure over a match: `None` where the law does not apply.
//!
//! Some also bind variables of the right side: a number read from a constant, a permutation composed of two. Always holds: a
//! predicate never changes a class, and what it adds to the e-graph are constants, attributes and layout terms.

use narae_isa::{Element, HostTensor};

use super::law::Match;
use super::node::{Head, Term};
use crate::graph::Real;
use crate::ir::Dim;

/// Numbers of exporters are rounded to f16 at worst.
const TOLERANCE: f64 = 1e-3;

fn close(left: f64, right: f64) -> bool {
    left == right || (left - right).abs() <= TOLERANCE * left.abs().max(right.abs())
}

/// The variable is this number everywhere.
pub fn is(name: &'static str, value: f64) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| close(found.number(name)?, value).then_some(())
}

/// The variable is some number everywhere.
pub fn is_number(name: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| found.number(name).map(|_| ())
}

/// The variable has one element.
pub fn is_scalar(name: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| found.ty(name)?.dims.iter().all(|dim| dim.is(1)).then_some(())
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
            (Element::I32, Element::I64) | (Element::Bool, _) => true,
            (left, right) => left == right,
        };
        exact.then_some(())
    }
}

/// A conversion of a narrow float to the named wider type.
pub fn widening(name: &'static str, to: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let narrow = matches!(found.ty(name)?.element, Element::F16 | Element::BF16);
        (narrow && found.field::<Element>(to)? == Element::F32).then_some(())
    }
}

/// The variable is known only when the program runs.
pub fn unknown(name: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| (!found.constant(name)).then_some(())
}

/// The factor is one number; binds it with no axes in the type of the left side.
pub fn scalar_as(name: &'static str, of: &'static str, bound: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (number, element) = (found.number(name)?, found.result()?.element);
        if found.ty(name)?.dims.len() > found.ty(of)?.dims.len() || found.number(of).is_some() {
            return None;
        }
        found.bind_constant(bound, HostTensor::from_f64_as(element, &[], &[number]));
        Some(())
    }
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
        let (number, ty) = (found.number(name)?, found.ty(name)?);
        if number == 0.0 || !number.is_finite() || !ty.element.is_float() {
            return None;
        }
        found.bind_constant(bound, HostTensor::from_f64_as(ty.element, &[], &[1.0 / number]));
        Some(())
    }
}

/// Binds the product of two numbers. Not where one is 1 or 0, which other laws take.
pub fn product(left: &'static str, right: &'static str, bound: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (a, b) = (found.number(left)?, found.number(right)?);
        let element = found.ty(left)?.element;
        if a == 1.0 || b == 1.0 || a == 0.0 || b == 0.0 || !element.is_float() {
            return None;
        }
        found.bind_constant(bound, HostTensor::from_f64_as(element, &[], &[a * b]));
        Some(())
    }
}

/// Binds a number as an attribute.
pub fn real(name: &'static str, bound: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let number = found.number(name)?;
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
        if cap <= 0.0 {
            return None;
        }
        found.bind_field(scale, &Real::new(factor * cap))?;
        found.bind_field(softcap, &Real::new(cap))
    }
}

/// The factor is one number; binds it with no axes, so that it fits any operand.
pub fn scalar_of(name: &'static str, of: &'static str, bound: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (number, element) = (found.number(name)?, found.ty(of)?.element);
        // The factor must not have widened its operand.
        if found.ty(name)?.dims.len() > found.ty(of)?.dims.len() || found.number(of).is_some() {
            return None;
        }
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

/// The number is how many elements the axes hold.
pub fn extent_of(name: &'static str, axes: &'static str, of: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (number, ty) = (found.number(name)?, found.ty(of)?);
        let axes: Vec<usize> = found.field(axes)?;
        let extent = Dim::product(axes.iter().filter_map(|axis| ty.dims.get(*axis)));
        (extent.as_const()? as f64 == number).then_some(())
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
        if outer.is_empty() {
            let class = found.get(name);
            found.bind(bound, class);
            return Some(());
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

/// `reshape d (transpose p (reshape e x))` where `p` exchanges the last two of three axes and the first of them stands for
/// all leading axes of `d`: binds the permutation of the last two axes, and the dims that `x` has before it.
pub fn flat_batches(
    last: &'static str,
    permutation: &'static str,
    first: &'static str,
    bound: &'static str,
    dims: &'static str,
) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (last, first): (Vec<Dim>, Vec<Dim>) = (found.field(last)?, found.field(first)?);
        let rank = last.len();
        if found.field::<Vec<usize>>(permutation)? != [0, 2, 1] || first.len() != 3 || rank < 3 {
            return None;
        }
        let batches = Dim::product(&last[..rank - 2]);
        if !found.same(&batches, &first[0])
            || !found.same(&last[rank - 2], &first[2])
            || !found.same(&last[rank - 1], &first[1])
        {
            return None;
        }
        let mut swap: Vec<usize> = (0..rank).collect();
        swap.swap(rank - 2, rank - 1);
        let mut before = last;
        before.swap(rank - 2, rank - 1);
        found.bind_field(bound, &swap)?;
        found.bind_field(dims, &before)
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
        if !moved.is_sorted() || moved.len() == ty.dims.len() {
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

/// The two slices are the halves of the last axis of `x`, the second one first in the concatenation.
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
        let part = |found: &Match<'_>, [extents, starts, steps]: [&'static str; 3], start: usize| {
            let extents: Vec<Dim> = found.field(extents)?;
            let starts: Vec<Dim> = found.field(starts)?;
            let steps: Vec<i64> = found.field(steps)?;
            let whole = (0..last).all(|axis| starts[axis].is(0) && found.same(&extents[axis], &dims[axis]));
            let fits = whole
                && steps.iter().all(|step| *step == 1)
                && extents[last].as_size() == Some(half)
                && starts[last].as_size() == Some(start);
            fits.then_some(())
        };
        part(found, first, 0)?;
        part(found, second, half)?;
        (found.field::<usize>(axis)? == last).then_some(())
    }
}

/// The table is half as long as the last axis of `x`.
pub fn fits_table(x: &'static str, table: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (x, table) = (found.ty(x)?.dims.last()?.as_size()?, found.ty(table)?.dims.last()?.as_size()?);
        (x == 2 * table).then_some(())
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
        if !columns.is_multiple_of(2) || recipe.bytes() > MAXIMUM_TABLE {
            return None;
        }
        let class = found.space.find(found.class);
        let done = |term: &Term| term.head == Head::Op("concat") && term.children[1] == term.children[2];
        if found.space[class].nodes.iter().any(done) {
            return None;
        }
        let width = columns / 2;
        let whole = recipe.evaluate(&found.space.analysis.scratch().sources).ok()?;
        let row = columns * recipe.element().bytes();
        if whole.bytes.chunks(row.max(1)).any(|row| row[..row.len() / 2] != row[row.len() / 2..]) {
            return None;
        }
        let left = recipe.slice(&[0, 0], &[1, 1], vec![rows, width]).ok()?;
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

/// The constant is a bias of the weight's outputs; binds it with one axis.
pub fn bias_of(bias: &'static str, w: &'static str, bound: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (own, outputs) = (found.ty(bias)?.dims, found.ty(w)?.dims.first()?.clone());
        let (last, outer) = own.split_last()?;
        if !found.constant(bias)
            || !found.same(last, &outputs)
            || !outer.iter().all(|dim| dim.is(1))
            || outer.len() > found.result()?.dims.len()
        {
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

/// Queries, keys and values with the same batch and heads, so that the matmuls broadcast nothing.
pub fn heads(q: &'static str, k: &'static str, v: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (q, k, v) = (found.ty(q)?.dims, found.ty(k)?.dims, found.ty(v)?.dims);
        let alike = q.len() == 4 && found.same_all(&q[..2], &k[..2]) && found.same_all(&k[..3], &v[..3]);
        alike.then_some(())
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

/// `reshape (broadcast b (reshape a x))` repeats each of the heads of `x`: `a` puts an axis of 1 behind them and `b` widens it.
pub fn repeats(x: &'static str, with_one: &'static str, wide: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let x = found.ty(x)?.dims;
        let (a, b): (Vec<Dim>, Vec<Dim>) = (found.field(with_one)?, found.field(wide)?);
        if x.len() != 4 || a.len() != 5 || b.len() != 5 || !a[2].is(1) {
            return None;
        }
        let without = |dims: &[Dim]| [&dims[..2], &dims[3..]].concat();
        (found.same_all(&without(&a), &x) && found.same_all(&without(&b), &x)).then_some(())
    }
}

/// The broadcast only spreads leading axes of a mask of rank 4 or less.
pub fn spreads_outer(dims: &'static str, mask: &'static str) -> impl Fn(&mut Match<'_>) -> Option<()> {
    move |found| {
        let (dims, mask): (Vec<Dim>, Vec<Dim>) = (found.field(dims)?, found.ty(mask)?.dims);
        (dims.len() == 4 && mask.len() <= 4).then_some(())
    }
}
