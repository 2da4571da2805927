//! How fast the timing is: instructions per second on a program of small instructions, and one decode token of a model of a thousand million u4
//! weights in the fast mode (bar N5; `cargo bench -p narae-sim --bench timing`). In: synthetic programs. Out: criterion's figures.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use narae_isa::chip::Chip;
use narae_isa::format::WeightFormat;
use narae_isa::text::{assemble_program, split_lines};
use narae_isa::{Semaphore, Synchronization};
use narae_sim::dram::FastDram;
use narae_sim::dram::sheet::Sheet;
use narae_sim::machine::{Core, Limits, Program};
use narae_sim::session::memory_sheet;
use narae_sim::state::{Memory, Region};
use narae_sim::timing::{self, Action, Places, Step, StepRecorder, Work, dram_queues, occupancy};
use std::hint::black_box;

/// A third engine instructions that wait for each other, a quarter descriptor loads, the rest scalars: the mixture of compiled decoders.
const SMALL: &str = "
.row in tensor dram f32 [1, 64] at 0x1000 + r1
.row a tensor sram f32 [1, 64] at 0x0
.row b tensor sram f32 [1, 64] at 0x1000
.row out tensor dram f32 [1, 64] at 0x2000 + r1
    li r0, value=20000
    li r1, value=0
again:
    ldd d0, in, _
    ldd d1, a, _
    transfer d1, d0 @signal(s1, 1)
    alui add, r2, r1, value=256
    alui add, r3, r2, value=256
    ldd d2, b, _
    unary relu, d2, d1 @wait(s1, 1)
    binary add, d2, d2, d2
    alu add, r4, r2, r3
    alui mul, r4, r4, value=4
    binary mul, d2, d2, d2 @signal(s3, 1)
    ldd d3, out, _
    transfer d3, d2 @wait(s3, 1)
    alui sub, r0, r0, value=1
    branchi gt, r0, value=0, again
    halt
";

fn small_program() -> Program {
    let program = assemble_program("small.s", &split_lines(SMALL), &|row| Ok(row.to_string()), &mut |_, name, _| {
        Err(format!("no directive {name}"))
    });
    let program = program.expect("the program is well-formed");
    Program { words: program.words, rows: program.rows.into_iter().map(|(_, row)| row).collect() }
}

/// The steps of the control unit.
fn steps_of(chip: &Chip, program: &Program, memory: &mut Memory) -> Vec<Step> {
    let limits = Limits { compute: false, check: false, ..Limits::default() };
    let mut steps = Vec::new();
    let mut recorder = StepRecorder::new(chip, |step| steps.push(step));
    Core::new(program, memory, limits, &mut recorder).run(0).expect("it runs");
    steps
}

/// The time of steps in the fast mode.
fn time(chip: &Chip, sheet: &Sheet, steps: &[Step]) -> u64 {
    let mut dram = FastDram::new(sheet, dram_queues(chip));
    let places = Places { code: 0x8000, rows: 0x9000 };
    timing::simulate(chip, &mut dram, steps.iter().cloned(), places).expect("it ends").end
}

/// The products of one token: 16 layers of a model with 2048 wide activations, and its head.
fn token(chip: &Chip) -> Vec<Step> {
    let format = WeightFormat::from_name("u4:g128").expect("a format");
    let layer = [(2048, 2048), (1024, 2048), (2048, 2048), (16384, 2048), (2048, 8192)];
    let shapes = (0..16).flat_map(|_| layer).chain([(32000u64, 2048u64)]);
    let (mut steps, mut address) = (Vec::new(), 1 << 20);
    for (i, (n, k)) in shapes.enumerate() {
        let bytes = format.packed_bytes(n, k);
        let stream = Work { clocks: 16, weight_bytes: bytes, reads: vec![(address, bytes)], ..Work::default() };
        let clocks = occupancy::lut_product(chip, n, k, 4, 1);
        let product = Work { clocks, weight_bytes: bytes, ..Work::default() };
        let signal = Semaphore::new(1).map(|semaphore| (semaphore, 1));
        let product_sync = Synchronization { wait: None, signal };
        let step = |agent, sync, work: Work| {
            let action = Action::Dispatch(work.into());
            Step { pc: 2 * i as u32 + u32::from(agent == 3), agent, sync, needs: 0, action }
        };
        steps.push(step(1, Synchronization::default(), stream));
        steps.push(step(3, product_sync, product));
        // What follows a product waits for it.
        let vector = Work { clocks: 20, ..Work::default() };
        steps.push(step(5, Synchronization { wait: signal, signal: None }, vector));
        address += bytes;
    }
    steps
}

fn timing_speed(criterion: &mut Criterion) {
    let chip = Chip::built_in("narae-1").expect("a built-in chip");
    let program = small_program();
    let mut memory = Memory::new(0x4000);
    memory.map(Region::zeros("io", 0x1000, 0x2000)).expect("one region");
    let sheet = memory_sheet(&chip).expect("a sheet");
    let steps = steps_of(&chip, &program, &mut memory);
    let mut group = criterion.benchmark_group("timing");
    group.sample_size(10).throughput(Throughput::Elements(steps.len() as u64));
    group.bench_function("instructions: control unit", |bencher| {
        bencher.iter(|| black_box(steps_of(&chip, &program, &mut memory)));
    });
    group.bench_function("instructions: timing", |bencher| bencher.iter(|| black_box(time(&chip, &sheet, &steps))));
    let steps = token(&chip);
    group.throughput(Throughput::Elements(1));
    group.bench_function("token of 1 G u4 weights", |bencher| bencher.iter(|| black_box(time(&chip, &sheet, &steps))));
    group.finish();
}

criterion_group!(benches, timing_speed);
criterion_main!(benches);
