//! Speed of the hot kernels: products at one token, and attention over a cache.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use narae_isa::format::{FloatKind, Group, ScaleType, UniformKind, WeightFormat};
use narae_sim::kernels::attention::{Query, Rule, Scratch, Source, attend};
use narae_sim::kernels::linear::{self, Packed};
use narae_sim::kernels::lut;
use std::ops::Range;

fn products(c: &mut Criterion) {
    let arch = pulp::Arch::new();
    let (n, k) = (2048, 1024);
    let mut group = c.benchmark_group("product 2048x1024");
    for tokens in [1, 16] {
        let x: Vec<f32> = (0..k * tokens).map(|i| (i % 13) as f32 * 0.1).collect();
        let mut out = vec![0f32; n * tokens];
        for kind in [FloatKind::F32, FloatKind::F16] {
            let format = WeightFormat::Float(kind);
            let bytes = vec![0x11u8; format.packed_bytes(n as u64, k as u64) as usize];
            group.throughput(Throughput::Bytes(bytes.len() as u64));
            let weight = Packed { format, outputs: n, inputs: k, bytes: &bytes };
            group.bench_function(format!("{format} T={tokens}"), |b| {
                b.iter(|| linear::fast(arch, kind, weight, &x, &mut out))
            });
        }
        let codes = lut::Codes { kind: UniformKind::U4, group: Group::G64, scale: ScaleType::F16 };
        let format = WeightFormat::Uniform { kind: codes.kind, group: codes.group, scale: codes.scale };
        let bytes = vec![0x11u8; format.packed_bytes(n as u64, k as u64) as usize];
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let weight = Packed { format, outputs: n, inputs: k, bytes: &bytes };
        group.bench_function(format!("{format} T={tokens}"), |b| {
            b.iter(|| lut::fast(arch, codes, weight, &x, &mut out))
        });
    }
}

struct Cache(Vec<f32>);

impl Source for Cache {
    fn block(&self, keys: Range<usize>, k: &mut [f32], v: &mut [f32]) {
        k.copy_from_slice(&self.0[keys.start * 64..keys.end * 64]);
        v.copy_from_slice(&self.0[keys.start * 64..keys.end * 64]);
    }
    fn bias(&self, _: usize, _: Range<usize>, _: &mut [f32]) {}
}

fn attention(c: &mut Criterion) {
    let cache = Cache((0..512 * 64).map(|i| (i % 29) as f32 * 0.01).collect());
    let rule = Rule { depth: 64, value_depth: 64, scale: 0.125, softcap: None, bias_first: false };
    for queries in [1usize, 64] {
        let q = vec![0.1f32; queries * 64];
        let list = vec![Query { visible: 0..512, sink: None }; queries];
        let (mut out, mut scratch) = (vec![0f32; queries * 64], Scratch::default());
        c.bench_function(&format!("attention 512 keys, {queries} queries"), |b| {
            b.iter(|| attend(pulp::Arch::new(), rule, &q, &list, &cache, &mut out, &mut scratch));
        });
    }
}

criterion_group!(benches, products, attention);
criterion_main!(benches);
