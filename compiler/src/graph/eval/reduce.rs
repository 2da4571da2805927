//! Meaning of reductions, running combinations, softmax and selection by value. Float sums run in f64 and round once.

use narae_isa::numerics::{exp, log};
use narae_isa::{CumulateFunction, Element, HostTensor, Overflow, ReduceFunction};

use super::strided::walk;
use crate::graph::ops::ArgFunction;

/// The rows along an axis: for each row the position of its first element, and the stride of the axis.
fn rows(dims: &[usize], axis: usize) -> (Vec<usize>, usize) {
    let inner: usize = dims[axis + 1..].iter().product();
    let outer: usize = dims[..axis].iter().product();
    let starts = (0..outer).flat_map(|row| (0..inner).map(move |at| row * dims[axis] * inner + at)).collect();
    (starts, inner)
}

/// Reduces over axes, which stay with extent 1.
pub(super) fn reduce(function: ReduceFunction, x: &HostTensor, axes: &[usize]) -> HostTensor {
    let mut dims = x.dims.clone();
    axes.iter().for_each(|&axis| dims[axis] = 1);
    let strides: Vec<i64> = x.strides().iter().map(|&stride| stride as i64).collect();
    let pick = |keep: bool| {
        let chosen = (0..x.rank()).filter(|axis| axes.contains(axis) != keep);
        chosen.map(|axis| (x.dims[axis], strides[axis])).unzip::<usize, i64, Vec<_>, Vec<_>>()
    };
    let (kept_sizes, kept_strides) = pick(true);
    let (reduced_sizes, reduced_strides) = pick(false);
    let mut out = HostTensor::zeros(x.element, &dims);
    let mut index = 0;
    walk(&kept_sizes, &kept_strides, 0, |start| {
        if x.element.is_float() {
            let mut values = Vec::new();
            walk(&reduced_sizes, &reduced_strides, start as i64, |at| values.push(x.get_f64(at)));
            out.set_f64(index, reduce_floats(function, &values));
        } else {
            let mut values = Vec::new();
            walk(&reduced_sizes, &reduced_strides, start as i64, |at| {
                values.push(x.element.load_i128(x.element_bytes(at)).unwrap_or(0));
            });
            let value = reduce_integers(function, &values, x.element);
            x.element.store_i128(value, Overflow::Wrap, out.element_bytes_mut(index));
        }
        index += 1;
    });
    out
}

fn reduce_floats(function: ReduceFunction, values: &[f64]) -> f64 {
    let extreme = |start: f64, better: fn(f64, f64) -> bool| {
        values.iter().fold(
            start,
            |best, &value| if best.is_nan() || !(better(value, best) || value.is_nan()) { best } else { value },
        )
    };
    let maximum = || extreme(f64::NEG_INFINITY, |a, b| a > b);
    match function {
        ReduceFunction::Sum => values.iter().sum::<f64>() + 0.0,
        ReduceFunction::Mean => values.iter().sum::<f64>() / values.len() as f64,
        ReduceFunction::Prod => values.iter().product(),
        ReduceFunction::Min => extreme(f64::INFINITY, |a, b| a < b),
        ReduceFunction::Max => maximum(),
        ReduceFunction::All => f64::from(u8::from(values.iter().all(|&value| value != 0.0))),
        ReduceFunction::Any => f64::from(u8::from(values.iter().any(|&value| value != 0.0))),
        ReduceFunction::SumSquare => values.iter().map(|value| value * value).sum::<f64>() + 0.0,
        ReduceFunction::SumAbs => values.iter().map(|value| value.abs()).sum::<f64>() + 0.0,
        ReduceFunction::Norm2 => values.iter().map(|value| value * value).sum::<f64>().sqrt() + 0.0,
        ReduceFunction::LogSum => log(values.iter().sum::<f64>() + 0.0),
        ReduceFunction::LogSumExp => {
            let shift = maximum();
            if shift.is_infinite() { shift } else { shift + log(values.iter().map(|value| exp(value - shift)).sum()) }
        }
    }
}

fn reduce_integers(function: ReduceFunction, values: &[i128], element: Element) -> i128 {
    let (least, greatest) = element.integer_range().unwrap_or((0, 1));
    let sum = || values.iter().sum::<i128>();
    match function {
        ReduceFunction::Sum => sum(),
        ReduceFunction::Mean => sum().checked_div(values.len() as i128).unwrap_or(0),
        ReduceFunction::Prod => values.iter().fold(1, |product: i128, value| product.wrapping_mul(*value)),
        ReduceFunction::Min => values.iter().copied().min().unwrap_or(greatest),
        ReduceFunction::Max => values.iter().copied().max().unwrap_or(least),
        ReduceFunction::All => i128::from(values.iter().all(|&value| value != 0)),
        ReduceFunction::Any => i128::from(values.iter().any(|&value| value != 0)),
        ReduceFunction::SumSquare => values.iter().map(|value| value.wrapping_mul(*value)).sum(),
        ReduceFunction::SumAbs => values.iter().map(|value| value.abs()).sum(),
        ReduceFunction::Norm2 => (values.iter().map(|value| (value * value) as f64).sum::<f64>()).sqrt() as i128,
        ReduceFunction::LogSum => log(sum() as f64) as i128,
        ReduceFunction::LogSumExp => {
            let floats: Vec<f64> = values.iter().map(|&value| value as f64).collect();
            reduce_floats(ReduceFunction::LogSumExp, &floats) as i128
        }
    }
}

/// Whether `candidate` comes before `best` in descending order (`largest`) or ascending order. NaN counts as the greatest.
fn precedes(x: &HostTensor, candidate: usize, best: usize, largest: bool) -> bool {
    let order = match (x.element.load_i128(x.element_bytes(candidate)), x.element.load_i128(x.element_bytes(best))) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => {
            let (a, b) = (x.get_f64(candidate), x.get_f64(best));
            a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        }
    };
    if largest { order.is_gt() } else { order.is_lt() }
}

pub(super) fn arg_reduce(function: ArgFunction, x: &HostTensor, axis: usize, last: bool) -> HostTensor {
    let mut dims = x.dims.clone();
    let extent = std::mem::replace(&mut dims[axis], 1);
    let (starts, stride) = rows(&x.dims, axis);
    let largest = function == ArgFunction::Max;
    let mut out = HostTensor::zeros(Element::I64, &dims);
    for (index, start) in starts.into_iter().enumerate().take(out.len()) {
        let at = |position: usize| start + position * stride;
        let mut best = 0;
        for candidate in 1..extent {
            let equal = last && !precedes(x, at(best), at(candidate), largest);
            if equal || precedes(x, at(candidate), at(best), largest) {
                best = candidate;
            }
        }
        out.set_i64(index, best as i64);
    }
    out
}

pub(super) fn top_k(x: &HostTensor, axis: usize, largest: bool, k: usize) -> Vec<HostTensor> {
    let mut dims = x.dims.clone();
    let extent = std::mem::replace(&mut dims[axis], k);
    let (starts, stride) = rows(&x.dims, axis);
    let mut values = HostTensor::zeros(x.element, &dims);
    let mut indices = HostTensor::zeros(Element::I64, &dims);
    let (targets, target_stride) = rows(&dims, axis);
    for (start, target) in starts.into_iter().zip(targets) {
        let at = |position: usize| start + position * stride;
        let mut order: Vec<usize> = (0..extent).collect();
        order.sort_by(|&a, &b| match (precedes(x, at(a), at(b), largest), precedes(x, at(b), at(a), largest)) {
            (true, _) => std::cmp::Ordering::Less,
            (_, true) => std::cmp::Ordering::Greater,
            _ => a.cmp(&b),
        });
        for (rank, &position) in order.iter().take(k).enumerate() {
            let to = target + rank * target_stride;
            values.element_bytes_mut(to).copy_from_slice(x.element_bytes(at(position)));
            indices.set_i64(to, position as i64);
        }
    }
    vec![values, indices]
}

pub(super) fn cumulate(
    function: CumulateFunction,
    x: &HostTensor,
    axis: usize,
    exclusive: bool,
    reverse: bool,
) -> HostTensor {
    let (starts, stride) = rows(&x.dims, axis);
    let mut out = HostTensor::zeros(x.element, &x.dims);
    let extent = x.dims[axis];
    for start in starts {
        let position = |step: usize| start + (if reverse { extent - 1 - step } else { step }) * stride;
        let (mut float, mut integer) = neutral(function, x.element);
        for step in 0..extent {
            let at = position(step);
            let (before, before_integer) = (float, integer);
            if x.element.is_float() {
                float = combine_floats(function, float, x.get_f64(at));
                out.set_f64(at, if exclusive { before } else { float });
            } else {
                integer = combine_integers(function, integer, x.element.load_i128(x.element_bytes(at)).unwrap_or(0));
                let value = if exclusive { before_integer } else { integer };
                x.element.store_i128(value, Overflow::Wrap, out.element_bytes_mut(at));
            }
        }
    }
    out
}

fn neutral(function: CumulateFunction, element: Element) -> (f64, i128) {
    let (least, greatest) = element.integer_range().unwrap_or((0, 1));
    match function {
        CumulateFunction::Sum => (0.0, 0),
        CumulateFunction::Prod => (1.0, 1),
        CumulateFunction::Max => (f64::NEG_INFINITY, least),
        CumulateFunction::Min => (f64::INFINITY, greatest),
    }
}

fn combine_floats(function: CumulateFunction, a: f64, b: f64) -> f64 {
    match function {
        CumulateFunction::Sum => a + b,
        CumulateFunction::Prod => a * b,
        CumulateFunction::Max => {
            if a > b || a.is_nan() {
                a
            } else {
                b
            }
        }
        CumulateFunction::Min => {
            if a < b || a.is_nan() {
                a
            } else {
                b
            }
        }
    }
}

fn combine_integers(function: CumulateFunction, a: i128, b: i128) -> i128 {
    match function {
        CumulateFunction::Sum => a.wrapping_add(b),
        CumulateFunction::Prod => a.wrapping_mul(b),
        CumulateFunction::Max => a.max(b),
        CumulateFunction::Min => a.min(b),
    }
}

pub(super) fn softmax(x: &HostTensor, axis: usize, logarithm: bool) -> HostTensor {
    let (starts, stride) = rows(&x.dims, axis);
    let mut out = HostTensor::zeros(x.element, &x.dims);
    for start in starts {
        let mut row: Vec<f64> = (0..x.dims[axis]).map(|at| x.get_f64(start + at * stride)).collect();
        if logarithm {
            log_softmax_row(&mut row)
        } else {
            softmax_row(&mut row)
        }
        for (at, value) in row.into_iter().enumerate() {
            out.set_f64(start + at * stride, value);
        }
    }
    out
}

/// `e^x / Σ e^x`, shifted by the maximum; a row of -∞ becomes NaN.
pub(super) fn softmax_row(row: &mut [f64]) {
    let maximum = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    row.iter_mut().for_each(|value| *value = exp(*value - maximum));
    let total: f64 = row.iter().sum();
    row.iter_mut().for_each(|value| *value /= total);
}

fn log_softmax_row(row: &mut [f64]) {
    let maximum = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = row.iter().map(|value| exp(value - maximum)).sum();
    let shift = maximum + log(total);
    row.iter_mut().for_each(|value| *value -= shift);
}
