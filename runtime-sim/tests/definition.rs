//! The simulator's products with packed weights equal the living definition in `narae_isa::format`, bit for bit: two
//! implementations that were written apart, over every uniform format and ragged shapes.

use narae_isa::format::{
    FloatKind, Group, ScaleType, UniformKind, UniformRows, WeightFormat, pack_float_slice, pack_uniform_slice, product,
};
use narae_sim::kernels::linear::{self, Packed};
use narae_sim::kernels::lut::{self, Codes};
use pulp::Arch;

/// A small generator of test numbers.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as u32
    }

    fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| (self.next() as i32 % 4096 - 2048) as f32 / 384.0).collect()
    }
}

const SHAPES: [(usize, usize); 5] = [(1, 1), (33, 172), (8, 20), (64, 256), (40, 300)];

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn packed_uniform(numbers: &mut Numbers, codes: Codes, n: usize, k: usize) -> Vec<u8> {
    let groups = codes.group.count(k as u64) as usize;
    let mut out = Vec::new();
    for first in (0..n).step_by(32) {
        let rows = n.min(first + 32) - first;
        let weights: Vec<u8> = (0..rows * k).map(|_| numbers.next() as u8 & codes.kind.greatest()).collect();
        let scales: Vec<f32> = numbers.floats(rows * groups);
        let zeros: Vec<u8> = (0..rows * groups).map(|_| numbers.next() as u8).collect();
        let rows = UniformRows { codes: &weights, scales: &scales, zeros: &zeros };
        pack_uniform_slice(codes.kind, codes.group, codes.scale, k, rows, &mut out);
    }
    out
}

#[test]
fn look_up_tables_are_the_definition() {
    let mut numbers = Numbers(7);
    for kind in UniformKind::ALL {
        for (group, scale) in Group::ALL.into_iter().zip(ScaleType::ALL.into_iter().cycle()) {
            for (n, k) in SHAPES {
                let codes = Codes { kind, group, scale };
                let format = WeightFormat::Uniform { kind, group, scale };
                let bytes = packed_uniform(&mut numbers, codes, n, k);
                let x = numbers.floats(k);
                let want = product(format, n, k, &bytes, &x).unwrap();
                let mut got = vec![f32::NAN; n];
                let weight = Packed { format, outputs: n, inputs: k, bytes: &bytes };
                lut::fast(Arch::new(), codes, weight, &x, &mut got);
                assert_eq!(bits(&got), bits(&want), "{format} {n} {k}");
            }
        }
    }
}

#[test]
fn float_weights_are_the_definition() {
    let mut numbers = Numbers(11);
    for kind in FloatKind::ALL {
        for (n, k) in SHAPES {
            let format = WeightFormat::Float(kind);
            let mut bytes = Vec::new();
            for first in (0..n).step_by(32) {
                pack_float_slice(kind, k, &numbers.floats((n.min(first + 32) - first) * k), &mut bytes);
            }
            let x = numbers.floats(k);
            let want = product(format, n, k, &bytes, &x).unwrap();
            let mut got = vec![f32::NAN; n];
            linear::fast(Arch::new(), kind, Packed { format, outputs: n, inputs: k, bytes: &bytes }, &x, &mut got);
            assert_eq!(bits(&got), bits(&want), "{format} {n} {k}");
        }
    }
}
