//! The living definition of the product with a packed weight, number by number.
//!
//! In: a packed weight and one row of activations. Out: one number per output. This is what the instruction `linear` says in
//! words; simulators are tested against it bit for bit. Always: f32, every operation rounded, nothing fused; the result of an
//! output depends on its own row alone.

use super::pack::{Unpacked, unpack};
use super::{Group, UniformKind, WeightFormat};
use crate::element::canonical_f32;

/// Σ_k x\[k\] · w\[n, k\] for every output; `None` when there are too few bytes.
pub fn product(format: WeightFormat, outputs: usize, inputs: usize, bytes: &[u8], x: &[f32]) -> Option<Vec<f32>> {
    assert_eq!(x.len(), inputs, "there is one activation per input");
    let weight = unpack(format, outputs, inputs, bytes)?;
    let rows = (0..outputs).map(|n| match (&weight, format) {
        (Unpacked::Float(values), _) => strided_dot(x, &values[n * inputs..(n + 1) * inputs]),
        (Unpacked::Uniform { codes, scales, zeros }, WeightFormat::Uniform { kind, group, .. }) => {
            let groups = group.count(inputs as u64) as usize;
            let row = UniformRow {
                codes: &codes[n * inputs..(n + 1) * inputs],
                scales: &scales[n * groups..(n + 1) * groups],
                zeros: &zeros[n * groups..(n + 1) * groups],
            };
            uniform_dot(kind, group, row, x)
        }
        (Unpacked::Uniform { .. }, WeightFormat::Float(_)) => unreachable!("codes come from uniform formats only"),
    });
    Some(rows.map(canonical_f32).collect())
}

/// The strided sum of products: 16 partial sums, then one fixed tree.
pub fn strided_dot(a: &[f32], b: &[f32]) -> f32 {
    let mut partial = [0f32; 16];
    for (k, (a, b)) in a.iter().zip(b).enumerate() {
        partial[k % 16] += a * b;
    }
    for step in [8, 4, 2, 1] {
        for lane in 0..step {
            partial[lane] += partial[lane + step];
        }
    }
    partial[0]
}

struct UniformRow<'a> {
    codes: &'a [u8],
    scales: &'a [f32],
    zeros: &'a [u8],
}

fn uniform_dot(kind: UniformKind, group: Group, row: UniformRow<'_>, x: &[f32]) -> f32 {
    let length = group.length(x.len() as u64) as usize;
    let mut sum = 0f32;
    for (g, (x, codes)) in x.chunks(length).zip(row.codes.chunks(length)).enumerate() {
        let plane = |plane: u32| quads(x, |k| codes[k] >> plane & 1 == 1);
        let mut t = 0.5 * plane(0);
        for b in 1..kind.bits() {
            t += 0.5 * (1u32 << b) as f32 * plane(b);
        }
        let centre = 0.5 * f32::from(kind.greatest()) - f32::from(row.zeros[g]);
        t += centre * quads(x, |_| true);
        sum += row.scales[g] * t;
    }
    sum
}

/// The sum over quads, ascending from +0, of (±x0 ± x1) + (±x2 ± x3); inputs beyond the end are +0 with the sign of a 0 bit.
fn quads(x: &[f32], plus: impl Fn(usize) -> bool) -> f32 {
    let signed = |k: usize| match x.get(k) {
        Some(&value) if plus(k) => value,
        Some(&value) => -value,
        None => 0.0,
    };
    let table_entry = |k: usize| (signed(k) + signed(k + 1)) + (signed(k + 2) + signed(k + 3));
    (0..x.len()).step_by(4).fold(0.0, |sum, k| sum + table_entry(k))
}

#[cfg(test)]
mod tests {
    use super::super::pack::{UniformRows, pack_float_slice, pack_uniform_slice, values};
    use super::super::{FloatKind, ScaleType};
    use super::*;

    #[test]
    fn the_lut_path_computes_the_product_of_the_exact_values() {
        let (n, k) = (3, 172);
        let x: Vec<f32> = (0..k).map(|i| ((i * 37 % 101) as f32 - 50.0) / 64.0).collect();
        for kind in UniformKind::ALL {
            for group in Group::ALL {
                let groups = group.count(k as u64) as usize;
                let codes: Vec<u8> = (0..n * k).map(|i| (i * 7 % 256) as u8 & kind.greatest()).collect();
                let scales: Vec<f32> = (0..n * groups).map(|i| 1.0 + i as f32 / 16.0).collect();
                let zeros: Vec<u8> = (0..n * groups).map(|i| i as u8 & kind.greatest()).collect();
                let format = WeightFormat::Uniform { kind, group, scale: ScaleType::F16 };
                let mut bytes = Vec::new();
                let rows = UniformRows { codes: &codes, scales: &scales, zeros: &zeros };
                pack_uniform_slice(kind, group, ScaleType::F16, k, rows, &mut bytes);
                let exact = values(format, n, k, &bytes).unwrap();
                let got = product(format, n, k, &bytes, &x).unwrap();
                for (row, got) in exact.chunks(k).zip(got) {
                    let want: f64 = row.iter().zip(&x).map(|(w, x)| w * f64::from(*x)).sum();
                    let size: f64 = row.iter().zip(&x).map(|(w, x)| (w * f64::from(*x)).abs()).sum();
                    assert!((want - f64::from(got)).abs() <= 1e-5 * size, "{format}: {got} instead of {want}");
                }
            }
        }
    }

    #[test]
    fn plain_weights_use_the_strided_sum() {
        let x: Vec<f32> = (0..20).map(|i| 1.0 + i as f32).collect();
        let mut bytes = Vec::new();
        pack_float_slice(FloatKind::F16, 20, &[0.5; 40], &mut bytes);
        let got = product(WeightFormat::Float(FloatKind::F16), 2, 20, &bytes, &x);
        assert_eq!(got, Some(vec![105.0, 105.0]));
    }
}
