//! Meaning of matrix products and convolutions: every float sum runs in f64 and rounds once.

use narae_isa::tensor::{dense_strides, element_count};
use narae_isa::{Element, HostTensor, Overflow};

use super::strided::Positions;
use super::{Failure, failure};
use crate::compress::recipe::broadcast_sizes;

/// `out[m, n] += a[m, k] * b[k, n]` in f64.
fn add_product(a: &[f64], b: &[f64], out: &mut [f64], k: usize, n: usize) {
    if n == 0 || k == 0 {
        return;
    }
    for (row, target) in a.chunks_exact(k).zip(out.chunks_exact_mut(n)) {
        for (&factor, line) in row.iter().zip(b.chunks_exact(n)) {
            for (sum, &value) in target.iter_mut().zip(line) {
                *sum += factor * value;
            }
        }
    }
}

/// The dims of a batched product, and for each of its matrices those of the operands.
struct Batch {
    dims: Vec<usize>,
    a: Positions,
    b: Positions,
    count: usize,
}

fn batches(a: &HostTensor, b: &HostTensor) -> Result<Batch, Failure> {
    let (ra, rb) = (a.rank(), b.rank());
    if a.dims[ra - 1] != b.dims[rb - 2] {
        return Err(failure(format!("the matrices {:?} and {:?} do not fit", a.dims, b.dims)));
    }
    let (outer_a, outer_b) = (&a.dims[..ra - 2], &b.dims[..rb - 2]);
    let outer = broadcast_sizes(outer_a, outer_b)
        .ok_or_else(|| failure(format!("{outer_a:?} and {outer_b:?} do not broadcast")))?;
    let dims = [outer.as_slice(), &[a.dims[ra - 2], b.dims[rb - 1]]].concat();
    let count = element_count(&outer).unwrap_or(0);
    let (a, b) = (Positions::broadcast(outer_a, &outer), Positions::broadcast(outer_b, &outer));
    Ok(Batch { dims, a, b, count })
}

pub(super) fn matmul(a: &HostTensor, b: &HostTensor) -> Result<HostTensor, Failure> {
    if a.element == Element::I32 {
        let load = |tensor: &HostTensor| tensor.to_i64_vec();
        return integer_product(a, b, &load(a), &load(b), Element::I32);
    }
    let batch = batches(a, b)?;
    let (m, n) = (batch.dims[batch.dims.len() - 2], batch.dims[batch.dims.len() - 1]);
    let k = a.dims[a.rank() - 1];
    let (left, right) = (a.to_f64_vec(), b.to_f64_vec());
    let mut sums = vec![0f64; batch.count * m * n];
    for index in 0..batch.count {
        let (x, y) = (batch.a.get(index) * m * k, batch.b.get(index) * k * n);
        let target = &mut sums[index * m * n..(index + 1) * m * n];
        add_product(&left[x..x + m * k], &right[y..y + k * n], target, k, n);
    }
    Ok(HostTensor::from_f64_as(a.element, &batch.dims, &sums))
}

fn integer_product(
    a: &HostTensor,
    b: &HostTensor,
    left: &[i64],
    right: &[i64],
    element: Element,
) -> Result<HostTensor, Failure> {
    let batch = batches(a, b)?;
    let (m, n) = (batch.dims[batch.dims.len() - 2], batch.dims[batch.dims.len() - 1]);
    let k = a.dims[a.rank() - 1];
    let mut sums = vec![0i64; batch.count * m * n];
    for index in 0..batch.count {
        let (x, y) = (batch.a.get(index) * m * k, batch.b.get(index) * k * n);
        for row in 0..m {
            for at in 0..k {
                let factor = left[x + row * k + at];
                for column in 0..n {
                    let sum = &mut sums[(index * m + row) * n + column];
                    *sum = sum.wrapping_add(factor.wrapping_mul(right[y + at * n + column]));
                }
            }
        }
    }
    Ok(HostTensor::from_i64_as(element, &batch.dims, &sums))
}

/// The values of `x` minus its zero points.
fn centred(x: &HostTensor, zero: &HostTensor) -> Vec<i64> {
    let positions = Positions::broadcast(&zero.dims, &x.dims);
    (0..x.len()).map(|at| x.get_i64(at) - zero.get_i64(positions.get(at))).collect()
}

pub(super) fn matmul_integer(operands: [&HostTensor; 4]) -> Result<HostTensor, Failure> {
    let [a, b, a_zero, b_zero] = operands;
    integer_product(a, b, &centred(a, a_zero), &centred(b, b_zero), Element::I32)
}

/// Σ a\[i\]·b\[i\] in eight interleaved partial sums.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut partial = [0f64; 8];
    let (left, right) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = left.remainder().iter().zip(right.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in left.zip(right) {
        for lane in 0..8 {
            partial[lane] += x[lane] * y[lane];
        }
    }
    partial.iter().sum::<f64>() + rest
}

pub(super) fn linear(x: &HostTensor, w: &HostTensor, bias: Option<&HostTensor>) -> Result<HostTensor, Failure> {
    let (n, k) = (w.dims[0], w.dims[1]);
    if x.dims[x.rank() - 1] != k {
        return Err(failure(format!("{:?} does not fit the weight {:?}", x.dims, w.dims)));
    }
    let mut dims = x.dims.clone();
    let rows: usize = dims[..dims.len() - 1].iter().product();
    *dims.last_mut().expect("inference has checked the rank") = n;
    let (left, right) = (x.to_f64_vec(), w.to_f64_vec());
    let bias = bias.map(HostTensor::to_f64_vec);
    let mut sums = vec![0f64; rows * n];
    for column in 0..n {
        let weights = &right[column * k..(column + 1) * k];
        let start = bias.as_ref().map_or(0.0, |bias| bias[column]);
        for row in 0..rows {
            sums[row * n + column] = start + dot(&left[row * k..(row + 1) * k], weights);
        }
    }
    Ok(HostTensor::from_f64_as(x.element, &dims, &sums))
}

/// The attributes of a convolution, with evaluated dims.
pub(super) struct Convolution<'a> {
    pub(super) strides: &'a [usize],
    pub(super) before: &'a [i64],
    pub(super) dilations: &'a [usize],
    pub(super) input_dilations: &'a [usize],
    pub(super) groups: usize,
    pub(super) sizes: &'a [usize],
}

impl Convolution<'_> {
    /// The pairs (position in an input plane, position in a kernel plane) that meet at an output position.
    fn taps(&self, at: usize, input: &[usize], kernel: &[usize]) -> Vec<(usize, usize)> {
        let (out, inner, taps) = (dense_strides(self.sizes), dense_strides(input), dense_strides(kernel));
        let mut found = Vec::new();
        'tap: for tap in 0..kernel.iter().product() {
            let mut position = 0;
            for axis in 0..input.len() {
                let index = at / out[axis] % self.sizes[axis] * self.strides[axis];
                let offset = tap / taps[axis] % kernel[axis] * self.dilations[axis];
                let spread = (index + offset) as i64 - self.before[axis];
                let dilation = self.input_dilations[axis] as i64;
                if spread < 0 || spread % dilation != 0 || spread / dilation >= input[axis] as i64 {
                    continue 'tap;
                }
                position += (spread / dilation) as usize * inner[axis];
            }
            found.push((position, tap));
        }
        found
    }
}

pub(super) fn conv(x: &HostTensor, w: &HostTensor, bias: Option<&HostTensor>, attributes: &Convolution) -> HostTensor {
    let (batch, channels, outputs) = (x.dims[0], x.dims[1], w.dims[0]);
    let (input, kernel) = (&x.dims[2..], &w.dims[2..]);
    let (plane, taps): (usize, usize) = (input.iter().product(), kernel.iter().product());
    let positions: usize = attributes.sizes.iter().product();
    let (per_group, outputs_per_group) = (channels / attributes.groups, outputs / attributes.groups);
    let (data, weights) = (x.to_f64_vec(), w.to_f64_vec());
    let bias = bias.map(HostTensor::to_f64_vec);
    let dims = [&[batch, outputs], attributes.sizes].concat();
    let mut sums = vec![0f64; batch * outputs * positions];
    for at in 0..positions {
        let pairs = attributes.taps(at, input, kernel);
        for index in 0..batch * outputs {
            let (item, output) = (index / outputs, index % outputs);
            let first = output / outputs_per_group * per_group;
            let mut sum = bias.as_ref().map_or(0.0, |bias| bias[output]);
            for channel in 0..per_group {
                let source = (item * channels + first + channel) * plane;
                let filter = (output * per_group + channel) * taps;
                sum += pairs.iter().map(|(from, tap)| data[source + from] * weights[filter + tap]).sum::<f64>();
            }
            sums[index * positions + at] = sum;
        }
    }
    let mut out = HostTensor::zeros(x.element, &dims);
    for (index, sum) in sums.into_iter().enumerate() {
        // i32 products are exact in f64 up to 2^53; larger sums wrap as the machine's do.
        x.element.store_f64(sum, Overflow::Wrap, out.element_bytes_mut(index));
    }
    out
}
