//! Packed streams against the description at the head of [`super`], written down a second time: as a stream from front to back, where
//! [`super::pack`] computes places.

use super::*;
use crate::element::{Element, Overflow};

/// A generator of numbers.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as u32
    }
}

struct Weight {
    outputs: usize,
    inputs: usize,
    groups: usize,
    codes: Vec<u8>,
    scales: Vec<f32>,
    zeros: Vec<u8>,
}

impl Weight {
    fn new(kind: UniformKind, group: Group, outputs: usize, inputs: usize, seed: u64) -> Weight {
        let (groups, mut numbers) = (group.count(inputs as u64) as usize, Numbers(seed));
        let mut list =
            |count: usize, most: u32| (0..count).map(|_| (numbers.next() % (most + 1)) as u8).collect::<Vec<u8>>();
        let codes = list(outputs * inputs, u32::from(kind.greatest()));
        let zeros = list(outputs * groups, 255);
        let scales = list(outputs * groups, 255).into_iter().map(|number| f32::from(number) / 64.0 - 1.0).collect();
        Weight { outputs, inputs, groups, codes, scales, zeros }
    }

    fn rows(&self, from: usize, to: usize) -> UniformRows<'_> {
        UniformRows {
            codes: &self.codes[from * self.inputs..to * self.inputs],
            scales: &self.scales[from * self.groups..to * self.groups],
            zeros: &self.zeros[from * self.groups..to * self.groups],
        }
    }

    fn packed(&self, kind: UniformKind, group: Group, scale: ScaleType) -> Vec<u8> {
        let mut out = vec![];
        for from in (0..self.outputs).step_by(32) {
            pack_uniform_slice(kind, group, scale, self.inputs, self.rows(from, self.outputs.min(from + 32)), &mut out);
        }
        out
    }

    /// The stream as the description says it.
    fn described(&self, kind: UniformKind, group: Group, scale: ScaleType) -> Vec<u8> {
        let bits = match kind {
            UniformKind::U8 => 8,
            UniformKind::U4 => 4,
            UniformKind::U3 => 3,
            UniformKind::U2 => 2,
        };
        let length = group.inputs().map_or(self.inputs, |inputs| inputs as usize);
        let tile = length.max(32);
        let mut out = vec![];
        for slice in 0..self.outputs.div_ceil(32) {
            let output = |lane: usize| Some(slice * 32 + lane).filter(|&n| n < self.outputs);
            let mut first = 0;
            while first < self.inputs {
                let inside = tile.min(self.inputs - first);
                let groups: Vec<usize> = (first / length..(first + inside).div_ceil(length)).collect();
                for &g in &groups {
                    for lane in 0..32 {
                        let value = output(lane).map_or(0.0, |n| self.scales[n * self.groups + g]);
                        match scale {
                            ScaleType::F16 => out.extend(half::f16::from_f32(value).to_le_bytes()),
                            ScaleType::BF16 => out.extend(half::bf16::from_f32(value).to_le_bytes()),
                            ScaleType::F32 => out.extend(value.to_le_bytes()),
                        }
                    }
                }
                for &g in &groups {
                    out.extend((0..32).map(|lane| output(lane).map_or(0, |n| self.zeros[n * self.groups + g])));
                }
                for block in (first..first + inside).step_by(32) {
                    for plane in 0..bits {
                        for lane in 0..32 {
                            let bit = |i: usize| match output(lane) {
                                Some(n) if block + i < self.inputs => {
                                    u32::from(self.codes[n * self.inputs + block + i] >> plane & 1) << i
                                }
                                _ => 0,
                            };
                            out.extend((0..32).map(bit).sum::<u32>().to_le_bytes());
                        }
                    }
                }
                first += tile;
            }
            out.resize(out.len().next_multiple_of(64), 0);
        }
        out
    }
}

#[test]
fn uniform_streams_are_as_described() {
    for kind in UniformKind::ALL {
        for group in Group::ALL {
            for scale in ScaleType::ALL {
                for (outputs, inputs) in [(1, 1), (33, 40), (5, 96), (64, 300), (32, 256), (40, 513)] {
                    let weight = Weight::new(kind, group, outputs, inputs, (outputs * inputs) as u64);
                    let what = format!("{kind:?} {group:?} {scale:?} [{outputs}, {inputs}]");
                    let packed = weight.packed(kind, group, scale);
                    assert!(packed == weight.described(kind, group, scale), "{what}");
                    let format = WeightFormat::Uniform { kind, group, scale };
                    assert_eq!(packed.len() as u64, format.packed_bytes(outputs as u64, inputs as u64), "{what}");
                    let found = unpack(format, outputs, inputs, &packed);
                    let scales = weight.scales.clone();
                    let want = Unpacked::Uniform { codes: weight.codes.clone(), scales, zeros: weight.zeros.clone() };
                    assert!(found == Some(want), "{what}");
                    assert_eq!(unpack(format, outputs, inputs, &packed[..packed.len() - 1]), None, "{what}");
                }
            }
        }
    }
}

#[test]
fn values_are_scale_times_distance_from_the_zero_point() {
    for (group, outputs, inputs) in [(Group::G16, 34, 50), (Group::Row, 3, 70), (Group::G64, 33, 130)] {
        let (kind, scale) = (UniformKind::U4, ScaleType::F32);
        let weight = Weight::new(kind, group, outputs, inputs, 5);
        let found =
            values(WeightFormat::Uniform { kind, group, scale }, outputs, inputs, &weight.packed(kind, group, scale));
        let length = group.inputs().map_or(inputs, |inputs| inputs as usize);
        let want = |at: usize| {
            let g = at / inputs * weight.groups + at % inputs / length;
            f64::from(weight.scales[g]) * (f64::from(weight.codes[at]) - f64::from(weight.zeros[g]))
        };
        assert_eq!(found.unwrap(), (0..outputs * inputs).map(want).collect::<Vec<f64>>());
    }
    let floats: Vec<f32> = (0..40 * 3).map(|i| i as f32 / 8.0).collect();
    let mut bytes = vec![];
    floats.chunks(32 * 3).for_each(|rows| pack_float_slice(FloatKind::BF16, 3, rows, &mut bytes));
    let found = values(WeightFormat::Float(FloatKind::BF16), 40, 3, &bytes).unwrap();
    assert_eq!(found, floats.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>());
    assert_eq!(values(WeightFormat::Float(FloatKind::BF16), 40, 3, &bytes[1..]), None);
}

#[test]
fn float_streams_are_as_described() {
    for (kind, element) in
        [(FloatKind::F32, Element::F32), (FloatKind::F16, Element::F16), (FloatKind::BF16, Element::BF16)]
    {
        assert_eq!(element_of(kind), element);
        for (outputs, inputs) in [(1usize, 1usize), (32, 32), (33, 70), (7, 65)] {
            let values: Vec<f32> = (0..outputs * inputs).map(|i| i as f32 * 0.5 - 9.0).collect();
            let (mut packed, mut described) = (vec![], vec![]);
            for rows in values.chunks(32 * inputs) {
                pack_float_slice(kind, inputs, rows, &mut packed);
                for k in 0..inputs {
                    for lane in 0..32 {
                        let value = rows.get(lane * inputs + k).copied().unwrap_or(0.0);
                        let mut bytes = vec![0; element.bytes()];
                        element.store_f32(value, Overflow::Wrap, &mut bytes);
                        described.extend(bytes);
                    }
                }
                described.resize(described.len().next_multiple_of(64), 0);
            }
            assert!(packed == described, "{kind:?} [{outputs}, {inputs}]");
        }
    }
    // What stands in the stream before is kept; a NaN is the machine's own.
    let mut out = vec![1; 64];
    pack_float_slice(FloatKind::F32, 1, &[f32::from_bits(0xffc0_1234)], &mut out);
    assert_eq!(out[..64], [1; 64]);
    assert_eq!(out[64..68], 0x7fc0_0000u32.to_le_bytes());
}

/// Whether packing refuses these rows.
fn refuses(rows: UniformRows<'_>, inputs: usize) -> bool {
    let pack = || pack_uniform_slice(UniformKind::U3, Group::G16, ScaleType::F16, inputs, rows, &mut vec![]);
    std::panic::catch_unwind(pack).is_err()
}

#[test]
fn rows_that_are_no_slice_are_refused() {
    let (codes, scales, zeros) = ([7u8; 33 * 20], [1f32; 33 * 2], [0u8; 33 * 2]);
    let rows = |n: usize| UniformRows { codes: &codes[..n * 20], scales: &scales[..n * 2], zeros: &zeros[..n * 2] };
    assert!(!refuses(rows(32), 20) && !refuses(rows(1), 20));
    assert!(refuses(rows(33), 20), "a slice has at most 32 rows");
    assert!(refuses(UniformRows { codes: &codes[..39], ..rows(2) }, 20), "whole rows");
    assert!(refuses(UniformRows { scales: &scales[..3], ..rows(2) }, 20), "a scale per row and group");
    assert!(refuses(UniformRows { scales: &scales[..5], ..rows(2) }, 20));
    assert!(refuses(UniformRows { zeros: &zeros[..3], ..rows(2) }, 20), "a zero point per row and group");
    assert!(refuses(UniformRows { zeros: &zeros[..5], ..rows(2) }, 20));
    assert!(refuses(UniformRows { codes: &[8; 40], ..rows(2) }, 20), "eight needs four bits");
    let floats =
        |count: usize| std::panic::catch_unwind(|| pack_float_slice(FloatKind::F16, 3, &vec![0.0; count], &mut vec![]));
    assert!(floats(96).is_ok() && floats(99).is_err() && floats(95).is_err() && floats(0).is_ok());
}
