//! Meaning of the elementwise ops, by the written functions of `narae_isa::numerics`.
//!
//! Floats are computed in f32 (f64 for f64) and rounded once to the element type; integers are exact and wrap.

use narae_isa::numerics::{
    binary_f32, binary_f32_slice, binary_f64, binary_integer, compare, unary_f32_slice, unary_f64, unary_integer,
};
use narae_isa::{BinaryFunction, CompareFunction, Element, HostTensor, Overflow, UnaryFunction};

use super::strided::Positions;
use super::{Failure, broadcast_sizes, f32_tensor};

pub(crate) fn unary(function: UnaryFunction, x: &HostTensor) -> HostTensor {
    let result = function.result(x.element).expect("inference has checked the type");
    let mut out = HostTensor::zeros(result, &x.dims);
    match x.element {
        Element::F64 => {
            for index in 0..x.len() {
                out.set_f64(index, unary_f64(function, x.get_f64(index)));
            }
        }
        _ if x.element.is_float() => {
            let values = x.to_f32_vec();
            let mut results = vec![0f32; values.len()];
            unary_f32_slice(function, &values, &mut results);
            return f32_tensor(result, &x.dims, &results);
        }
        _ => {
            for index in 0..x.len() {
                let value = x.element.load_i128(x.element_bytes(index)).unwrap_or(0);
                let value = unary_integer(function, value);
                result.store_i128(value, Overflow::Wrap, out.element_bytes_mut(index));
            }
        }
    }
    out
}

pub(crate) fn binary(function: BinaryFunction, a: &HostTensor, b: &HostTensor) -> Result<HostTensor, Failure> {
    let sizes = broadcast_sizes(&[a, b])?;
    let (left, right) = (Positions::broadcast(&a.dims, &sizes), Positions::broadcast(&b.dims, &sizes));
    let mut out = HostTensor::zeros(a.element, &sizes);
    let element = a.element;
    match element {
        Element::F64 => {
            for index in 0..out.len() {
                let value = binary_f64(function, a.get_f64(left.get(index)), b.get_f64(right.get(index)));
                out.set_f64(index, value);
            }
        }
        _ if element.is_float() => {
            let (x, y) = (a.to_f32_vec(), b.to_f32_vec());
            let mut results = vec![0f32; out.len()];
            if let (Positions::Same, Positions::Same) = (&left, &right) {
                binary_f32_slice(function, &x, &y, &mut results);
            } else {
                for (index, result) in results.iter_mut().enumerate() {
                    *result = binary_f32(function, x[left.get(index)], y[right.get(index)]);
                }
            }
            return Ok(f32_tensor(element, &sizes, &results));
        }
        _ => {
            let load = |tensor: &HostTensor, at: usize| element.load_i128(tensor.element_bytes(at)).unwrap_or(0);
            for index in 0..out.len() {
                let value = binary_integer(function, load(a, left.get(index)), load(b, right.get(index)), element);
                element.store_i128(value, Overflow::Wrap, out.element_bytes_mut(index));
            }
        }
    }
    Ok(out)
}

pub(super) fn comparison(function: CompareFunction, a: &HostTensor, b: &HostTensor) -> Result<HostTensor, Failure> {
    let sizes = broadcast_sizes(&[a, b])?;
    let (left, right) = (Positions::broadcast(&a.dims, &sizes), Positions::broadcast(&b.dims, &sizes));
    let mut out = HostTensor::zeros(Element::Bool, &sizes);
    let element = a.element;
    let load = |tensor: &HostTensor, at: usize| element.load_i128(tensor.element_bytes(at));
    for (index, byte) in out.bytes.iter_mut().enumerate() {
        let (left, right) = (left.get(index), right.get(index));
        let holds = match (load(a, left), load(b, right)) {
            (Some(a), Some(b)) => compare(function, a, b),
            _ => compare(function, a.get_f64(left), b.get_f64(right)),
        };
        *byte = u8::from(holds);
    }
    Ok(out)
}

pub(super) fn select(condition: &HostTensor, a: &HostTensor, b: &HostTensor) -> Result<HostTensor, Failure> {
    let sizes = broadcast_sizes(&[condition, a, b])?;
    let [when, yes, no] = [condition, a, b].map(|tensor| Positions::broadcast(&tensor.dims, &sizes));
    let mut out = HostTensor::zeros(a.element, &sizes);
    for index in 0..out.len() {
        let holds = condition.bytes[when.get(index)] != 0;
        let bytes = if holds { a.element_bytes(yes.get(index)) } else { b.element_bytes(no.get(index)) };
        out.element_bytes_mut(index).copy_from_slice(bytes);
    }
    Ok(out)
}

pub(crate) fn convert(x: &HostTensor, to: Element, saturate: bool) -> HostTensor {
    x.convert(to, if saturate { Overflow::Saturate } else { Overflow::Wrap })
}

pub(super) fn bits(x: &HostTensor, (from, to): (Element, Element), element: Element) -> HostTensor {
    let number = HostTensor { element: to, ..convert(x, from, false) };
    convert(&number, element, false)
}

/// The parameter that serves each element of the data: broadcast, and blocked along one axis.
fn blocked(parameter: &HostTensor, data: &[usize], axis: usize, block: usize) -> Positions {
    let strides = parameter.strides();
    let dense = narae_isa::tensor::dense_strides(data);
    let count: usize = data.iter().product();
    let position = |index: usize| -> usize {
        (0..data.len())
            .filter(|&at| parameter.dims[at] != 1)
            .map(|at| {
                let own = index / dense[at] % data[at];
                (if at == axis && block > 0 { own / block } else { own }) * strides[at]
            })
            .sum()
    };
    Positions::Table((0..count).map(position).collect())
}

pub(super) fn quantize(
    x: &HostTensor,
    scale: &HostTensor,
    zero: Option<&HostTensor>,
    to: Element,
    (axis, block): (usize, usize),
) -> HostTensor {
    let scales = blocked(scale, &x.dims, axis, block);
    let zeros = zero.map(|zero| (zero, blocked(zero, &x.dims, axis, block)));
    let mut out = HostTensor::zeros(to, &x.dims);
    for index in 0..x.len() {
        let offset = zeros.as_ref().map_or(0.0, |(zero, at)| zero.get_f64(at.get(index)));
        let quotient = x.get_f32(index) / scale.get_f32(scales.get(index));
        let value = match to.is_float() {
            true => f64::from(quotient) + offset,
            false => f64::from(quotient.round_ties_even()) + offset,
        };
        to.store_f64(value, Overflow::Saturate, out.element_bytes_mut(index));
    }
    out
}

pub(crate) fn dequantize(
    x: &HostTensor,
    scale: &HostTensor,
    zero: Option<&HostTensor>,
    (axis, block): (usize, usize),
) -> HostTensor {
    let scales = blocked(scale, &x.dims, axis, block);
    let zeros = zero.map(|zero| (zero, blocked(zero, &x.dims, axis, block)));
    let mut out = HostTensor::zeros(scale.element, &x.dims);
    for index in 0..x.len() {
        let offset = zeros.as_ref().map_or(0.0, |(zero, at)| zero.get_f64(at.get(index)));
        let difference = (x.get_f64(index) - offset) as f32;
        let value = difference * scale.get_f32(scales.get(index));
        scale.element.store_f32(value, Overflow::Wrap, out.element_bytes_mut(index));
    }
    out
}
