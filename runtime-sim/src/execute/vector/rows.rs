//! Instructions along axes: reductions, extremes, softmax, normalisation, rotary embedding, running combinations.
//!
//! A view is permuted so that the axes in question are innermost; then each instruction is a function of rows.

use super::super::number::{Number, with_arithmetic};
use super::super::{Context, Fault, Flow, require, same_dims};
use crate::state::{Arithmetic, View};
use narae_isa::functions::{CumulateFunction, ReduceFunction};
use narae_isa::instructions::*;
use narae_isa::operand::{ArgFunction, AxisSet, NormKind};
use narae_isa::{Element, Overflow, UnaryFunction};
use pulp::Arch;

/// The view with the given axes last, and the number of elements along them together.
fn axes_last(view: &View, axes: AxisSet) -> Result<(View, usize), Fault> {
    require(axes.iter().all(|axis| axis < view.rank), || format!("axes {axes} of {} axes", view.rank))?;
    let kept = (0..view.rank).filter(|axis| !axes.contains(*axis));
    let order: Vec<usize> = kept.chain(axes.iter()).collect();
    let length = axes.iter().map(|axis| view.dims[axis]).product();
    Ok((view.permuted(&order), length))
}

fn single(axis: narae_isa::operand::Axis) -> AxisSet {
    AxisSet(1 << axis.number())
}

/// out has the dims of a, with 1 at the axes.
fn check_reduced(out: &View, a: &View, axes: AxisSet) -> Result<(), Fault> {
    let fits = out.rank == a.rank
        && (0..a.rank).all(|axis| out.dims[axis] == if axes.contains(axis) { 1 } else { a.dims[axis] });
    require(fits, || format!("reducing the axes {axes} of {:?} does not give {:?}", a.dims(), out.dims()))
}

pub(crate) fn reduce(c: &mut Context<'_>, row: &Reduce) -> Result<Flow, Fault> {
    let (out, a) = (c.view(row.out)?, c.view(row.a)?);
    check_reduced(&out, &a, row.axes)?;
    let (view, length) = axes_last(&a, row.axes)?;
    let (to, _) = axes_last(&out, row.axes)?;
    let arithmetic = if out.element == Element::F64 { Arithmetic::F64 } else { Arithmetic::of(&[a.element]) };
    with_arithmetic!(arithmetic, N => {
        let values = N::load(c.memory, &view)?;
        let row_of = |i: usize| &values[i * length..(i + 1) * length];
        let result: Vec<N> = (0..out.len()).map(|i| reduce_row::<N>(c.arch, row.function, row_of(i))).collect();
        // The neutral elements of integers are the limits of the type; those of floats are infinite, as they are.
        let limits = length == 0 && !out.element.is_float();
        let overflow = if limits { Overflow::Saturate } else { Overflow::Wrap };
        N::store(c.memory, &to, &result, overflow)?;
    });
    Ok(Flow::Next)
}

fn reduce_row<N: Number>(arch: Arch, function: ReduceFunction, row: &[N]) -> N {
    let mapped = |f: fn(N) -> N| row.iter().map(|x| f(*x)).collect::<Vec<N>>();
    let truth = |value: bool| if value { N::ONE } else { N::default() };
    match function {
        ReduceFunction::Sum => N::sum(arch, row),
        ReduceFunction::Mean => N::sum(arch, row).div(N::from_count(row.len())),
        ReduceFunction::Prod => row.iter().fold(N::ONE, |product, x| product.mul(*x)),
        ReduceFunction::Min => row.iter().fold(N::GREATEST, |least, x| least.lesser(*x)),
        ReduceFunction::Max => row.iter().fold(N::LEAST, |greatest, x| greatest.greater(*x)),
        ReduceFunction::All => truth(row.iter().all(|x| *x != N::default())),
        ReduceFunction::Any => truth(row.iter().any(|x| *x != N::default())),
        ReduceFunction::SumSquare => N::sum(arch, &mapped(|x| x.mul(x))),
        ReduceFunction::SumAbs => N::sum(arch, &mapped(|x| x.apply(UnaryFunction::Abs))),
        ReduceFunction::Norm2 => N::sum(arch, &mapped(|x| x.mul(x))).apply(UnaryFunction::Sqrt),
        ReduceFunction::LogSum => N::sum(arch, row).apply(UnaryFunction::Log),
        ReduceFunction::LogSumExp => {
            let max = row.iter().fold(N::LEAST, |max, x| if *x > max { *x } else { max });
            if row.is_empty() || max == N::LEAST || max == N::GREATEST {
                // The shift would be infinite: the result is the maximum itself, or NaN if there is one.
                return row.iter().fold(max, |max, x| max.greater(*x));
            }
            let exponentials: Vec<N> = row.iter().map(|x| x.sub(max).apply(UnaryFunction::Exp)).collect();
            N::sum(arch, &exponentials).apply(UnaryFunction::Log).add(max)
        }
    }
}

pub(crate) fn argreduce(c: &mut Context<'_>, row: &ArgReduce) -> Result<Flow, Fault> {
    let (out, a) = (c.view(row.out)?, c.view(row.a)?);
    check_reduced(&out, &a, single(row.axis))?;
    let (view, length) = axes_last(&a, single(row.axis))?;
    let (to, _) = axes_last(&out, single(row.axis))?;
    if out.dims().contains(&0) {
        return Ok(Flow::Next); // no row, whatever its length
    }
    require(length > 0, || "the extreme of no elements".to_string())?;
    with_arithmetic!(Arithmetic::of(&[a.element]), N => {
        let values = N::load(c.memory, &view)?;
        let result: Vec<i128> = values.chunks_exact(length).map(|values| extreme(values, row.function, row.last) as i128).collect();
        c.memory.store_integers(&to, &result, Overflow::Wrap)?;
    });
    Ok(Flow::Next)
}

/// The index of the greatest or least; NaN is the most extreme of all.
fn extreme<N: Number>(row: &[N], function: ArgFunction, last: bool) -> usize {
    let mut best = 0;
    for (i, x) in row.iter().enumerate().skip(1) {
        let better = match function {
            ArgFunction::Max => *x > row[best],
            ArgFunction::Min => *x < row[best],
        };
        let equal = *x == row[best] || (x.is_nan() && row[best].is_nan());
        if better || (x.is_nan() && !row[best].is_nan()) || (last && equal) {
            best = i;
        }
    }
    best
}

pub(crate) fn softmax(c: &mut Context<'_>, row: &Softmax) -> Result<Flow, Fault> {
    let (out, a) = (c.view(row.out)?, c.view(row.a)?);
    same_dims(&[("out", &out), ("a", &a)])?;
    let (from, length) = axes_last(&a, row.axes)?;
    let (to, _) = axes_last(&out, row.axes)?;
    let f64_result = out.element == Element::F64 || a.element == Element::F64;
    if f64_result {
        let mut values = f64::load(c.memory, &from)?;
        values.chunks_exact_mut(length.max(1)).for_each(|values| softmax_row(c.arch, values, row.log));
        c.memory.store_f64(&to, &values, Overflow::Wrap)?;
    } else if row.log {
        let mut values = f32::load(c.memory, &from)?;
        values.chunks_exact_mut(length.max(1)).for_each(|values| softmax_row(c.arch, values, true));
        c.memory.store_f32(&to, &values, Overflow::Wrap)?;
    } else {
        let values = f32::load(c.memory, &from)?;
        let mut result = vec![0f32; values.len()];
        if length > 0 {
            crate::kernels::fast::over_rows(&mut result, length, length * 32, |first, part| {
                let rows = values[first * length..].chunks_exact(length);
                part.chunks_exact_mut(length)
                    .zip(rows)
                    .for_each(|(out, x)| crate::kernels::fast::softmax(c.arch, x, out));
            });
        }
        c.memory.store_f32(&to, &result, Overflow::Wrap)?;
    }
    Ok(Flow::Next)
}

fn softmax_row<N: Number>(arch: Arch, row: &mut [N], log: bool) {
    let max = row.iter().fold(N::LEAST, |max, x| if *x > max { *x } else { max });
    row.iter_mut().for_each(|x| *x = x.sub(max));
    let exponentials: Vec<N> = row.iter().map(|x| x.apply(UnaryFunction::Exp)).collect();
    let sum = N::sum(arch, &exponentials);
    if log {
        let log = sum.apply(UnaryFunction::Log);
        row.iter_mut().for_each(|x| *x = x.sub(log));
    } else {
        row.iter_mut().zip(exponentials).for_each(|(x, e)| *x = e.div(sum));
    }
}

pub(crate) fn norm(c: &mut Context<'_>, row: &Norm) -> Result<Flow, Fault> {
    let (out, x, gain, bias) =
        (c.view(row.out)?, c.view(row.x)?, c.optional_view(row.gain)?, c.optional_view(row.bias)?);
    same_dims(&[("out", &out), ("x", &x)])?;
    let (from, length) = axes_last(&x, row.axes)?;
    let (to, _) = axes_last(&out, row.axes)?;
    let f64_result = [&out, &x].iter().any(|view| view.element == Element::F64);
    let arithmetic = if f64_result { Arithmetic::F64 } else { Arithmetic::F32 };
    with_arithmetic!(arithmetic, N => {
        let factor = |view: Option<View>| -> Result<Option<Vec<N>>, Fault> {
            let Some(view) = view else { return Ok(None) };
            same_dims(&[("x", &x), ("gain or bias", &view)])?;
            N::load(c.memory, &axes_last(&view, row.axes)?.0).map(Some)
        };
        let (gain, bias) = (factor(gain)?, factor(bias)?);
        let mut values = N::load(c.memory, &from)?;
        // The immediate is an f32; its f64 value is the same number.
        let epsilon = N::from_f32(row.epsilon.value());
        values.chunks_exact_mut(length.max(1)).for_each(|values| norm_row(c.arch, row.kind, epsilon, values));
        if let Some(gain) = gain {
            values.iter_mut().zip(gain).for_each(|(x, g)| *x = x.mul(g));
        }
        if let Some(bias) = bias {
            values.iter_mut().zip(bias).for_each(|(x, b)| *x = x.add(b));
        }
        N::store(c.memory, &to, &values, Overflow::Wrap)?;
    });
    Ok(Flow::Next)
}

fn norm_row<N: Number>(arch: Arch, kind: NormKind, epsilon: N, row: &mut [N]) {
    let n = N::from_count(row.len());
    if kind == NormKind::Layer {
        let mean = N::sum(arch, row).div(n);
        row.iter_mut().for_each(|x| *x = x.sub(mean));
    }
    let squares = N::dot(arch, row, row);
    match kind {
        NormKind::Rms | NormKind::Layer => {
            let r = N::ONE.div(squares.div(n).add(epsilon).apply(UnaryFunction::Sqrt));
            row.iter_mut().for_each(|x| *x = x.mul(r));
        }
        NormKind::L2 => {
            let length = squares.apply(UnaryFunction::Sqrt).greater(epsilon);
            row.iter_mut().for_each(|x| *x = x.div(length));
        }
    }
}

pub(crate) fn rope(c: &mut Context<'_>, row: &Rope) -> Result<Flow, Fault> {
    let (out, x, cos, sin) = (c.view(row.out)?, c.view(row.x)?, c.view(row.cos)?, c.view(row.sin)?);
    same_dims(&[("out", &out), ("x", &x)])?;
    same_dims(&[("cos", &cos), ("sin", &sin)])?;
    let last = x.rank.wrapping_sub(1);
    let fits =
        x.rank >= 1 && cos.rank == x.rank && cos.dims[..last] == x.dims[..last] && 2 * cos.dims[last] <= x.dims[last];
    require(fits, || format!("cosines {:?} for x {:?}", cos.dims(), x.dims()))?;
    let (depth, half) = (x.dims[last], cos.dims[last]);
    let elements = [out.element, x.element, cos.element, sin.element];
    let arithmetic = if elements.contains(&Element::F64) { Arithmetic::F64 } else { Arithmetic::F32 };
    with_arithmetic!(arithmetic, N => {
        let mut values = N::load(c.memory, &x)?;
        let (cos, sin) = (N::load(c.memory, &cos)?, N::load(c.memory, &sin)?);
        if half > 0 {
            for ((row_values, cos), sin) in values.chunks_exact_mut(depth).zip(cos.chunks_exact(half)).zip(sin.chunks_exact(half)) {
                for i in 0..half {
                    let (p, q) = if row.interleaved { (2 * i, 2 * i + 1) } else { (i, i + half) };
                    let (x1, x2) = (row_values[p], row_values[q]);
                    row_values[p] = x1.mul(cos[i]).sub(x2.mul(sin[i]));
                    row_values[q] = x2.mul(cos[i]).add(x1.mul(sin[i]));
                }
            }
        }
        N::store(c.memory, &out, &values, Overflow::Wrap)?;
    });
    Ok(Flow::Next)
}

pub(crate) fn cumulate(c: &mut Context<'_>, row: &Cumulate) -> Result<Flow, Fault> {
    let (out, a) = (c.view(row.out)?, c.view(row.a)?);
    same_dims(&[("out", &out), ("a", &a)])?;
    let (from, length) = axes_last(&a, single(row.axis))?;
    let (to, _) = axes_last(&out, single(row.axis))?;
    let arithmetic = if out.element == Element::F64 { Arithmetic::F64 } else { Arithmetic::of(&[a.element]) };
    with_arithmetic!(arithmetic, N => {
        let mut values = N::load(c.memory, &from)?;
        for values in values.chunks_exact_mut(length.max(1)) {
            if row.reverse {
                values.reverse();
            }
            cumulate_row(row.function, row.exclusive, values);
            if row.reverse {
                values.reverse();
            }
        }
        N::store(c.memory, &to, &values, Overflow::Wrap)?;
    });
    Ok(Flow::Next)
}

fn cumulate_row<N: Number>(function: CumulateFunction, exclusive: bool, row: &mut [N]) {
    let (neutral, combine): (N, fn(N, N) -> N) = match function {
        CumulateFunction::Sum => (N::default(), N::add),
        CumulateFunction::Prod => (N::ONE, N::mul),
        CumulateFunction::Max => (N::LEAST, N::greater),
        CumulateFunction::Min => (N::GREATEST, N::lesser),
    };
    let mut running = neutral;
    for x in row.iter_mut() {
        let next = combine(running, *x);
        *x = if exclusive { running } else { next };
        running = next;
    }
}
