//! The fast kernels equal the plain ones bit for bit, on every instruction set of this host.

use super::attention::{Query, Rule, Scratch, Source, attend};
use super::lanes::all_archs;
use super::*;
use std::ops::Range;

/// A small generator of test numbers; not random enough for anything else.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let x = self.0 ^ (self.0 >> 29);
        x.wrapping_mul(0xBF58_476D_1CE4_E5B9) ^ (x >> 32)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next_u64() % n as u64) as usize
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
fn linear_is_the_plain_one_for_all_shapes_and_types() {
    let mut numbers = Numbers(1);
    for (n, k, t) in
        [(1, 1, 1), (3, 17, 2), (5, 16, 1), (64, 48, 4), (33, 100, 7), (2048, 512, 1), (700, 512, 5), (2, 0, 3)]
    {
        let w = numbers.f32s(n * k);
        let half_bits: Vec<u16> = w.iter().map(|v| half::f16::from_f32(*v).to_bits()).collect();
        let brain_bits: Vec<u16> = w.iter().map(|v| half::bf16::from_f32(*v).to_bits()).collect();
        let x = numbers.f32s(t * k);
        for weight in [Rows::F32(&w), Rows::F16(&half_bits), Rows::BF16(&brain_bits)] {
            let mut want = vec![0.0; t * n];
            plain::linear(weight, k, &x, &mut want, n);
            for arch in all_archs() {
                let mut got = vec![f32::NAN; t * n];
                fast::linear(arch, weight, k, &x, &mut got, n);
                assert_eq!(bits(&got), bits(&want), "{n} {k} {t} {arch:?}");
            }
        }
    }
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
