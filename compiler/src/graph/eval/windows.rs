//! Meaning of windows and pooling.

use narae_isa::tensor::dense_strides;
use narae_isa::{Element, HostTensor, Overflow};

use crate::graph::ops::PoolFunction;

/// The attributes that windows share, with evaluated dims.
pub(super) struct Windows<'a> {
    pub(super) kernel: &'a [usize],
    pub(super) strides: &'a [usize],
    pub(super) before: &'a [i64],
    pub(super) dilations: &'a [usize],
    pub(super) sizes: &'a [usize],
}

impl Windows<'_> {
    /// The position in a plane of `input` of kernel element `tap` at output position `at`; `None` outside.
    fn source(&self, at: usize, tap: usize, input: &[usize]) -> Option<usize> {
        let (out, inner, taps) = (dense_strides(self.sizes), dense_strides(input), dense_strides(self.kernel));
        let mut position = 0;
        for axis in 0..input.len() {
            let index = at / out[axis] % self.sizes[axis] * self.strides[axis];
            let offset = tap / taps[axis] % self.kernel[axis] * self.dilations[axis];
            let source = (index + offset) as i64 - self.before[axis];
            if source < 0 || source >= input[axis] as i64 {
                return None;
            }
            position += source as usize * inner[axis];
        }
        Some(position)
    }

    fn counts(&self, x: &HostTensor) -> (usize, usize, usize, usize) {
        let planes = x.dims[0] * x.dims[1];
        let plane: usize = x.dims[2..].iter().product();
        (planes, plane, self.sizes.iter().product(), self.kernel.iter().product())
    }
}

pub(super) fn window(x: &HostTensor, value: Option<&HostTensor>, windows: &Windows) -> HostTensor {
    let (planes, plane, positions, taps) = windows.counts(x);
    let fill = value.map_or(vec![0; x.element.bytes()], |value| value.bytes.clone());
    let dims = [&x.dims[..2], windows.sizes, windows.kernel].concat();
    let mut bytes = Vec::with_capacity(planes * positions * taps * x.element.bytes());
    for index in 0..planes {
        for at in 0..positions {
            for tap in 0..taps {
                let source = windows.source(at, tap, &x.dims[2..]);
                bytes.extend_from_slice(source.map_or(fill.as_slice(), |from| x.element_bytes(index * plane + from)));
            }
        }
    }
    HostTensor { element: x.element, dims, bytes }
}

pub(super) fn pool(function: PoolFunction, x: &HostTensor, windows: &Windows) -> HostTensor {
    let (planes, plane, positions, taps) = windows.counts(x);
    let dims = [&x.dims[..2], windows.sizes].concat();
    let mut out = HostTensor::zeros(x.element, &dims);
    for at in 0..positions {
        let sources: Vec<usize> = (0..taps).filter_map(|tap| windows.source(at, tap, &x.dims[2..])).collect();
        for index in 0..planes {
            let target = index * positions + at;
            combine(function, x, index * plane, &sources, &mut out, target);
        }
    }
    out
}

fn combine(
    function: PoolFunction,
    x: &HostTensor,
    plane: usize,
    sources: &[usize],
    out: &mut HostTensor,
    target: usize,
) {
    let element = x.element;
    if element.is_float() {
        let values = sources.iter().map(|from| x.get_f64(plane + from));
        let value = match function {
            PoolFunction::Sum => values.sum::<f64>() + 0.0,
            PoolFunction::Max => {
                values.fold(f64::NEG_INFINITY, |best, value| if value > best || value.is_nan() { value } else { best })
            }
        };
        out.set_f64(target, value);
    } else {
        let values = sources.iter().map(|from| element.load_i128(x.element_bytes(plane + from)).unwrap_or(0));
        let value = match function {
            PoolFunction::Sum => values.sum(),
            PoolFunction::Max => values.max().unwrap_or(least(element)),
        };
        element.store_i128(value, Overflow::Wrap, out.element_bytes_mut(target));
    }
}

fn least(element: Element) -> i128 {
    element.integer_range().map_or(0, |range| range.0)
}
