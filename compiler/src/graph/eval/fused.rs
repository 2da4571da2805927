//! Meaning of the fused ops, from their definitions: everything in f64, rounded once at the end.

use narae_isa::HostTensor;
use narae_isa::numerics::tanh;

use super::reduce::softmax_row;
use super::strided::Positions;
use super::{Failure, failure};

pub(super) fn rms_norm(x: &HostTensor, gain: Option<&HostTensor>, epsilon: f64) -> HostTensor {
    normalise(x, gain, None, |row| {
        let mean = row.iter().map(|value| value * value).sum::<f64>() / row.len() as f64;
        (0.0, (mean + epsilon).sqrt())
    })
}

pub(super) fn layer_norm(
    x: &HostTensor,
    gain: Option<&HostTensor>,
    bias: Option<&HostTensor>,
    epsilon: f64,
) -> HostTensor {
    normalise(x, gain, bias, |row| {
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        let variance = row.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / row.len() as f64;
        (mean, (variance + epsilon).sqrt())
    })
}

/// `(x - shift) / divisor * gain + bias` for each row along the last axis.
fn normalise(
    x: &HostTensor,
    gain: Option<&HostTensor>,
    bias: Option<&HostTensor>,
    measure: impl Fn(&[f64]) -> (f64, f64),
) -> HostTensor {
    let width = x.dims.last().copied().unwrap_or(1);
    let mut values = x.to_f64_vec();
    let (gain, bias) = (gain.map(HostTensor::to_f64_vec), bias.map(HostTensor::to_f64_vec));
    for row in values.chunks_exact_mut(width.max(1)) {
        let (shift, divisor) = measure(row);
        for (at, value) in row.iter_mut().enumerate() {
            *value = (*value - shift) / divisor;
            *value *= gain.as_ref().map_or(1.0, |gain| gain[at]);
            *value += bias.as_ref().map_or(0.0, |bias| bias[at]);
        }
    }
    HostTensor::from_f64_as(x.element, &x.dims, &values)
}

pub(super) fn rope(operands: [&HostTensor; 3], interleaved: bool) -> Result<HostTensor, Failure> {
    let [x, cos, sin] = operands;
    let width = *x.dims.last().expect("inference has checked the rank");
    let half = *cos.dims.last().expect("inference has checked the rank");
    if 2 * half > width {
        return Err(failure(format!("{half} angles do not fit a head of {width}")));
    }
    let mut table = x.dims.clone();
    *table.last_mut().expect("inference has checked the rank") = half;
    let cosines = Positions::broadcast(&cos.dims, &table);
    let sines = Positions::broadcast(&sin.dims, &table);
    let mut values = x.to_f64_vec();
    for (row, head) in values.chunks_exact_mut(width.max(1)).enumerate() {
        for pair in 0..half {
            let (first, second) = if interleaved { (2 * pair, 2 * pair + 1) } else { (pair, pair + half) };
            let at = row * half + pair;
            let (c, s) = (cos.get_f64(cosines.get(at)), sin.get_f64(sines.get(at)));
            let (a, b) = (head[first], head[second]);
            head[first] = a * c - b * s;
            head[second] = b * c + a * s;
        }
    }
    Ok(HostTensor::from_f64_as(x.element, &x.dims, &values))
}

pub(super) fn kv_append(operands: [&HostTensor; 3]) -> Result<HostTensor, Failure> {
    let [cache, new, past] = operands;
    let [_, groups, room, width] = four(&cache.dims);
    let [batches, _, count, _] = four(&new.dims);
    let mut result = cache.clone();
    for batch in 0..batches {
        let start = usize::try_from(past.get_i64(batch)).unwrap_or(usize::MAX);
        if start.saturating_add(count) > room {
            return Err(failure(format!("{count} rows after {start} do not fit a cache of {room}")));
        }
        for group in 0..groups {
            for row in 0..count {
                for at in 0..width {
                    let from = ((batch * groups + group) * count + row) * width + at;
                    let to = ((batch * groups + group) * room + start + row) * width + at;
                    result.set_f64(to, new.get_f64(from));
                }
            }
        }
    }
    Ok(result)
}

fn four(dims: &[usize]) -> [usize; 4] {
    dims.try_into().expect("inference has checked the rank")
}

/// The attributes of attention.
pub(super) struct AttentionRule {
    pub(super) scale: f64,
    pub(super) causal: bool,
    pub(super) window: usize,
    pub(super) softcap: f64,
}

/// The optional operands of attention.
#[derive(Default)]
pub(super) struct AttentionExtras<'a> {
    pub(super) bias: Option<&'a HostTensor>,
    pub(super) lengths: Option<&'a HostTensor>,
    pub(super) sinks: Option<&'a HostTensor>,
}

impl AttentionRule {
    fn sees(&self, key: i64, position: i64, end: i64) -> bool {
        key < end && (!self.causal || key <= position) && (self.window == 0 || key > position - self.window as i64)
    }
}

pub(super) fn attention(
    [q, k, v]: [&HostTensor; 3],
    extras: &AttentionExtras,
    rule: &AttentionRule,
) -> Result<HostTensor, Failure> {
    let [batch, heads, queries, width] = [0, 1, 2, 3].map(|axis| q.dims[axis]);
    let (groups, keys, value_width) = (k.dims[1], k.dims[2], v.dims[3]);
    if k.dims[3] != width || v.dims[2] != keys || groups == 0 || heads % groups != 0 {
        return Err(failure(format!("q {:?}, k {:?} and v {:?} do not fit", q.dims, k.dims, v.dims)));
    }
    let (query, key, value) = (q.to_f64_vec(), k.to_f64_vec(), v.to_f64_vec());
    let scores_dims = [batch, heads, queries, keys];
    let bias = extras.bias.map(|bias| (bias.to_f64_vec(), Positions::broadcast(&bias.dims, &scores_dims)));
    let mut out = vec![0f64; batch * heads * queries * value_width];
    for row in 0..batch * heads * queries {
        let (item, head, at) = (row / queries / heads, row / queries % heads, row % queries);
        let past = extras.lengths.map_or(keys as i64 - queries as i64, |lengths| lengths.get_i64(item));
        let (position, end) = (past + at as i64, past + queries as i64);
        let group = item * groups + head / (heads / groups);
        let own = &query[row * width..(row + 1) * width];
        let visible: Vec<usize> = (0..keys).filter(|&key| rule.sees(key as i64, position, end)).collect();
        let mut scores: Vec<f64> = Vec::with_capacity(visible.len() + 1);
        for &j in &visible {
            let other = &key[(group * keys + j) * width..(group * keys + j + 1) * width];
            let mut score = own.iter().zip(other).map(|(a, b)| a * b).sum::<f64>() * rule.scale;
            if rule.softcap > 0.0 {
                score = rule.softcap * tanh(score / rule.softcap);
            }
            scores.push(score + bias.as_ref().map_or(0.0, |(bias, at)| bias[at.get(row * keys + j)]));
        }
        scores.extend(extras.sinks.map(|sinks| sinks.get_f64(head)));
        if scores.iter().all(|&score| score == f64::NEG_INFINITY) {
            continue;
        }
        softmax_row(&mut scores);
        let target = &mut out[row * value_width..(row + 1) * value_width];
        for (&weight, &j) in scores.iter().zip(&visible) {
            let line = &value[(group * keys + j) * value_width..(group * keys + j + 1) * value_width];
            target.iter_mut().zip(line).for_each(|(sum, value)| *sum += weight * value);
        }
    }
    Ok(HostTensor::from_f64_as(q.element, &[batch, heads, queries, value_width], &out))
}
