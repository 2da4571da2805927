//! The fast kernels equal the plain ones bit for bit, on every instruction set of this host.

use super::attention::{Query, Rule, Scratch, Source, attend};
use super::lanes::all_archs;
use super::linear::Packed;
use super::*;
use narae_isa::format::{FloatKind, Group, ScaleType, UniformKind, WeightFormat};
use std::ops::Range;

/// A small generator of test numbers; not random enough for anything else.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let x = self.0 ^ (self.0 >> 29);
        x.wrapping_mul(0xBF58_476D_1CE4_E5B9) ^ (x >> 32)
    }

    pub fn f32s(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| (self.next_u64() as i32 as f32) * (1.0 / 1e9)).collect()
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn half_conversion_is_exact() {
    for h in 0..=u16::MAX {
        let (got, want) = (f16_to_f32(h), half::f16::from_bits(h).to_f32());
        assert!(
            got == want && got.is_sign_negative() == want.is_sign_negative() || got.is_nan() && want.is_nan(),
            "{h:x}"
        );
    }
}

#[test]
fn matmul_is_the_plain_one_for_all_shapes() {
    let mut numbers = Numbers(1);
    for (n, k, t) in [(1, 1, 1), (3, 17, 2), (5, 16, 1), (64, 48, 4), (33, 100, 7), (700, 512, 5), (2, 0, 3)] {
        let (w, x) = (numbers.f32s(n * k), numbers.f32s(t * k));
        let mut want = vec![0.0; t * n];
        plain::matmul(&w, k, &x, &mut want, n);
        for arch in all_archs() {
            let mut got = vec![f32::NAN; t * n];
            fast::matmul(arch, &w, k, &x, &mut got, n);
            assert_eq!(bits(&got), bits(&want), "{n} {k} {t} {arch:?}");
        }
    }
}

#[test]
fn packed_floats_are_the_plain_ones() {
    let mut numbers = Numbers(4);
    for kind in FloatKind::ALL {
        let format = WeightFormat::Float(kind);
        for (n, k, t) in [(1, 1, 1), (40, 17, 1), (32, 16, 2), (64, 100, 7), (2048, 256, 1), (100, 3, 5)] {
            let mut bytes: Vec<u8> =
                (0..format.packed_bytes(n as u64, k as u64)).map(|_| numbers.next_u64() as u8).collect();
            // Keep the exponents small: sums of random bit patterns are infinite.
            let size = kind.bytes() as usize;
            bytes.chunks_exact_mut(size).for_each(|number| number[size - 1] &= 0xBF);
            let weight = Packed { format, outputs: n, inputs: k, bytes: &bytes };
            let x = numbers.f32s(t * k);
            let mut want = vec![0.0; t * n];
            linear::plain(kind, weight, &x, &mut want);
            for arch in all_archs() {
                let mut got = vec![f32::NAN; t * n];
                linear::fast(arch, kind, weight, &x, &mut got);
                assert_eq!(bits(&got), bits(&want), "{kind:?} {n} {k} {t} {arch:?}");
            }
        }
    }
}

#[test]
fn look_up_tables_are_the_plain_sums() {
    let mut numbers = Numbers(5);
    for kind in UniformKind::ALL {
        for group in Group::ALL {
            for (scale, n, k, t) in [
                (ScaleType::F32, 40, 48, 1),
                (ScaleType::F16, 64, 70, 3),
                (ScaleType::BF16, 5, 300, 2),
                (ScaleType::F16, 700, 512, 1),
            ] {
                let format = WeightFormat::Uniform { kind, group, scale };
                let mut bytes: Vec<u8> =
                    (0..format.packed_bytes(n as u64, k as u64)).map(|_| numbers.next_u64() as u8).collect();
                bytes.iter_mut().for_each(|b| *b &= 0xBF);
                let weight = Packed { format, outputs: n, inputs: k, bytes: &bytes };
                let x = numbers.f32s(t * k);
                let codes = lut::Codes { kind, group, scale };
                let mut want = vec![0.0; t * n];
                lut::plain(codes, weight, &x, &mut want);
                for arch in all_archs() {
                    let mut got = vec![f32::NAN; t * n];
                    lut::fast(arch, codes, weight, &x, &mut got);
                    assert_eq!(bits(&got), bits(&want), "{format} {n} {k} {t} {arch:?}");
                }
            }
        }
    }
}

#[test]
fn look_up_tables_give_the_value_of_the_format() {
    // w = s · (q − z) with s = 2, z = 3 and q = 5 everywhere: every output is 4 · Σ x.
    let format = WeightFormat::Uniform { kind: UniformKind::U4, group: Group::G32, scale: ScaleType::F16 };
    let mut bytes = Vec::new();
    for _tile in 0..2 {
        bytes.extend(std::iter::repeat_n(half::f16::from_f32(2.0).to_le_bytes(), 32).flatten());
        bytes.extend([3u8; 32]);
        for plane in 0..4 {
            bytes.extend([if 5 >> plane & 1 == 1 { 0xFF } else { 0 }; 128]);
        }
    }
    let weight = Packed { format, outputs: 32, inputs: 64, bytes: &bytes };
    let x: Vec<f32> = (0..64).map(|i| i as f32).collect();
    let mut out = vec![0.0; 32];
    let codes = lut::Codes { kind: UniformKind::U4, group: Group::G32, scale: ScaleType::F16 };
    lut::fast(pulp::Arch::new(), codes, weight, &x, &mut out);
    assert_eq!(out, [4.0 * 63.0 * 32.0; 32]);
}

#[test]
fn softmax_is_the_plain_one() {
    let mut numbers = Numbers(2);
    for n in [1, 5, 16, 63, 1000] {
        let mut x = numbers.f32s(n);
        x[n / 2] = if n % 2 == 0 { f32::NEG_INFINITY } else { 3.0 };
        let mut want = vec![0.0; n];
        plain::softmax(&x, &mut want);
        for arch in all_archs() {
            let mut got = vec![0.0; n];
            fast::softmax(arch, &x, &mut got);
            assert_eq!(bits(&got), bits(&want));
        }
    }
}

struct Dense<'a> {
    k: &'a [f32],
    v: &'a [f32],
    bias: &'a [f32],
    rule: Rule,
}

impl Source for Dense<'_> {
    fn block(&self, keys: Range<usize>, k: &mut [f32], v: &mut [f32]) {
        k.copy_from_slice(&self.k[keys.start * self.rule.depth..keys.end * self.rule.depth]);
        v.copy_from_slice(&self.v[keys.start * self.rule.value_depth..keys.end * self.rule.value_depth]);
    }

    fn bias(&self, query: usize, keys: Range<usize>, scores: &mut [f32]) {
        for (s, key) in scores.iter_mut().zip(keys) {
            *s += self.bias[(query * 31 + key) % self.bias.len()];
        }
    }
}

#[test]
fn attention_is_the_plain_one_and_prefill_is_decode() {
    let mut numbers = Numbers(3);
    for (depth, value_depth, keys, softcap) in [(64, 64, 200, None), (48, 20, 65, Some(3.0)), (5, 33, 130, None)] {
        let rule = Rule { depth, value_depth, scale: 0.3, softcap, bias_first: depth == 48 };
        let (k, v) = (numbers.f32s(keys * depth), numbers.f32s(keys * value_depth));
        let mut bias = numbers.f32s(997);
        bias.iter_mut().step_by(7).for_each(|b| *b = f32::NEG_INFINITY);
        let source = Dense { k: &k, v: &v, bias: &bias, rule };
        let queries: Vec<Query> = (0..9)
            .map(|i| Query {
                visible: if i > 5 { (i * 8).min(keys)..(i * 8 + 60).min(keys) } else { 0..keys - 8 + i },
                sink: (i % 2 == 1).then_some(0.7),
            })
            .chain([Query { visible: 0..0, sink: None }])
            .collect();
        let q = numbers.f32s(queries.len() * depth);
        let mut want = vec![0.0; queries.len() * value_depth];
        attention::plain(rule, &q, &queries, &source, &mut want);
        for arch in all_archs() {
            let mut got = vec![f32::NAN; want.len()];
            attend(arch, rule, &q, &queries, &source, &mut got, &mut Scratch::default());
            assert_eq!(bits(&got), bits(&want), "{depth} {arch:?}");
        }
    }
}
