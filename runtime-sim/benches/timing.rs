//! How fast the timing is: instructions per second on a program of small instructions, and one decode token of a model of a thousand million u4
//! weights in the fast mode (bar N5; `cargo bench -p narae-sim --bench timing`). In: the programs of the validation. Out: criterion's figures.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use narae_sim::validation::programs::{chip, steps, time_steps};
use narae_sim::validation::token::{SMALL_INSTRUCTIONS, token};
use std::hint::black_box;

fn timing_speed(criterion: &mut Criterion) {
    let chip = chip("narae-1");
    let small = steps(&chip, SMALL_INSTRUCTIONS);
    let mut group = criterion.benchmark_group("timing");
    group.sample_size(10).throughput(Throughput::Elements(small.len() as u64));
    group.bench_function("instructions: control unit", |bencher| {
        bencher.iter(|| black_box(steps(&chip, SMALL_INSTRUCTIONS)));
    });
    group
        .bench_function("instructions: timing", |bencher| bencher.iter(|| black_box(time_steps(&chip, &small, false))));
    let token = token(&chip);
    group.throughput(Throughput::Elements(1));
    group.bench_function("token of 1 G u4 weights", |bencher| {
        bencher.iter(|| black_box(time_steps(&chip, &token, false)));
    });
    group.finish();
}

criterion_group!(benches, timing_speed);
criterion_main!(benches);
