//! The formulas over a grid, and small programs whose times can be worked out by hand.

use super::*;
use crate::dram::{Dram, FastDram};
use crate::session::memory_sheet;
use narae_isa::chip::Chip;
use narae_isa::{Element, Semaphore};

fn chip() -> Chip {
    Chip::built_in("narae-1").unwrap()
}

fn dram(chip: &Chip) -> FastDram {
    FastDram::new(&memory_sheet(chip).unwrap(), dram_queues(chip))
}

fn dispatch(pc: u32, agent: u8, work: Work) -> Step {
    Step { pc, agent, sync: Synchronization::default(), needs: 0, action: Action::Dispatch(work.into()) }
}

fn compute(clocks: u64) -> Work {
    Work { clocks, ..Work::default() }
}

fn end(pc: u32) -> Step {
    Step { pc, agent: 0, sync: Synchronization::default(), needs: 0, action: Action::Fence }
}

fn run(steps: &[Step]) -> Timing {
    let chip = chip();
    run_on(&chip, &mut dram(&chip), steps)
}

const PLACES: Places = Places { code: 0, rows: 0x10000 };

/// Runs steps and checks what always holds.
fn run_on(chip: &Chip, memory: &mut dyn Dram, steps: &[Step]) -> Timing {
    let timing = simulate(chip, memory, steps.iter().cloned(), PLACES).unwrap();
    for account in &timing.accounts {
        assert_eq!(account.total(), timing.end, "every picosecond is attributed");
    }
    let mut at = 0;
    for segment in &timing.critical_path {
        assert_eq!(segment.start, at, "the critical path has no gaps");
        assert_eq!(segment.account.total(), segment.end - segment.start);
        at = segment.end;
    }
    assert_eq!(at, timing.end);
    let mut sum = Usage::default();
    timing.usages.iter().for_each(|usage| sum.add(usage));
    assert_eq!(sum.counts, timing.counts);
    assert_eq!((sum.dram_bytes_read, sum.dram_bytes_written), (timing.dram_bytes_read, timing.dram_bytes_written));
    assert_eq!(sum.critical.total(), timing.end);
    let traffic = timing.traffic.bytes.iter().fold([0; 2], |sum, sample| [sum[0] + sample[0], sum[1] + sample[1]]);
    assert_eq!(traffic, [timing.dram_bytes_read, timing.dram_bytes_written]);
    timing
}

#[test]
fn the_look_up_formula_over_a_grid() {
    let chip = chip();
    for n in [32u64, 512, 544, 6656, 17920] {
        for k in [4u64, 6656, 17920, 33] {
            for (planes, tokens) in [(4u64, 1u64), (4, 16), (3, 17), (8, 40)] {
                let tile_outputs = n.div_ceil(32).div_ceil(16) * 32;
                let want = tile_outputs.div_ceil(32) * k.div_ceil(4) * planes.div_ceil(4) * tokens.div_ceil(16) + 24;
                assert_eq!(occupancy::lut_product(&chip, n, k, planes, tokens), want);
            }
        }
    }
    // 2,048 u4 weights a clock at one token.
    assert_eq!(occupancy::lut_product(&chip, 6656, 6656, 4, 1) - 24, 6656 * 6656 / 2048);
}

#[test]
fn the_plain_formulas_over_a_grid() {
    let chip = chip();
    for (element, rate) in [(Element::F16, 8192u64), (Element::BF16, 8192), (Element::F32, 2048), (Element::I8, 8192)] {
        for n in [512u64, 1024, 6656] {
            for (k, t) in [(64u64, 1u64), (6656, 4), (100, 33)] {
                assert_eq!(occupancy::plain_product(&chip, element, t, n, k), (n * k * t).div_ceil(rate) + 24);
            }
        }
    }
    assert_eq!(occupancy::vector(&chip, Element::F16, 2048 * 3, 1), 3 + 16);
    assert_eq!(occupancy::vector(&chip, Element::F32, 1024 * 3 + 1, 4), 16 + 16);
    assert_eq!(occupancy::vector(&chip, Element::F64, 64, 1), 1 + 16);
    assert_eq!(occupancy::attention(&chip, Element::F16, 16, 16, 64, 64), (64 * 128u64).div_ceil(256) + 8 + 8);
    assert_eq!(occupancy::sort_passes(1), 1);
    assert_eq!(occupancy::sort_passes(1025), 11);
}

#[test]
fn semaphores_order_engines_and_gaps_have_causes() {
    let s = |n| Semaphore::new(n).unwrap();
    let mut first = dispatch(0, 3, compute(1000));
    first.sync.signal = Some((s(1), 1));
    let mut second = dispatch(1, 5, compute(500));
    second.sync.wait = Some((s(1), 1));
    let timing = run(&[first, second, end(2)]);
    let [mxe, vpe] = [&timing.accounts[3], &timing.accounts[5]];
    assert_eq!((mxe.busy, vpe.busy), (1_000_000, 500_000));
    assert_eq!(vpe.stalls[&Cause::Semaphore], 1_000_000 - 1000);
    assert_eq!(timing.spans.iter().map(|span| span.pc).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(timing.spans[1].start, timing.spans[0].end);
    assert!(timing.accounts[0].stalls[&Cause::Fence] >= 1_490_000);
    assert!(timing.accounts[0].stalls[&Cause::Fetch] > 0);
}

#[test]
fn semaphores_are_taken_and_given_once() {
    let s = |n| Semaphore::new(n).unwrap();
    let mut steps = Vec::new();
    // Two engines that wait for each other in turn; a signal given too often would let them overlap.
    for i in 0..6 {
        let (agent, mine, other) = if i % 2 == 0 { (3, s(1), s(2)) } else { (5, s(2), s(1)) };
        let mut step = dispatch(i, agent, compute(700));
        step.sync.signal = Some((mine, 1));
        step.sync.wait = (i > 0).then_some((other, 1));
        steps.push(step);
    }
    steps.push(end(6));
    let timing = run(&steps);
    assert!(timing.spans.windows(2).all(|pair| pair[1].start == pair[0].end), "{:?}", timing.spans);
}

/// A chain of matrix-vector products of u4 weights.
fn decode(count: u32, n: u64, k: u64) -> Vec<Step> {
    let chip = chip();
    let bytes = narae_isa::WeightFormat::from_name("u4:g128").unwrap().packed_bytes(n, k);
    let mut steps = Vec::new();
    for i in 0..count {
        let address = 0x100_0000 + u64::from(i) * bytes;
        let stream = Work { clocks: 16, weight_bytes: bytes, reads: vec![(address, bytes)], ..Work::default() };
        steps.push(dispatch(2 * i, 1, stream));
        let clocks = occupancy::lut_product(&chip, n, k, 4, 1);
        steps.push(dispatch(2 * i + 1, 3, Work { clocks, weight_bytes: bytes, ..Work::default() }));
    }
    steps.push(end(2 * count));
    steps
}

#[test]
fn weight_streams_run_near_the_peak_and_the_report_says_what_is_missing() {
    let steps = decode(8, 6656, 6656);
    let timing = run(&steps);
    let seconds = timing.end as f64 * 1e-12;
    let utilization = timing.dram_bytes_read as f64 / (timing.dram_peak * seconds);
    assert!(utilization > 0.9 && utilization <= 1.0, "{utilization}");
    let mxe = &timing.accounts[3];
    let want: u64 = 8 * occupancy::lut_product(&chip(), 6656, 6656, 4, 1) * 1000;
    assert_eq!(mxe.busy, want, "occupancy is the written formula exactly");
    assert!(mxe.stalls[&Cause::DramBandwidth] > mxe.stalls.get(&Cause::DramLatency).copied().unwrap_or(0));
}

#[test]
fn times_are_the_same_every_time() {
    let steps = decode(3, 1024, 2048);
    let first = run(&steps);
    for _ in 0..3 {
        let again = run(&steps);
        assert_eq!((again.end, &again.accounts, &again.spans), (first.end, &first.accounts, &first.spans));
    }
}

#[test]
fn loads_and_moves_wait_for_the_memory() {
    let mut steps = vec![Step {
        pc: 0,
        agent: 0,
        sync: Synchronization::default(),
        needs: 0,
        action: Action::Descriptor { row: 3, register: 7 },
    }];
    steps.push(dispatch(1, 2, Work { clocks: 20, reads: vec![(0x1000, 4096)], ..Work::default() }));
    steps.push(Step {
        pc: 2,
        agent: 0,
        sync: Synchronization::default(),
        needs: 0,
        action: Action::Load(Some(0x2000)),
    });
    steps.push(end(3));
    let timing = run(&steps);
    assert_eq!(timing.dram_bytes_read, 4096 + 128 + 8 + 2 * 1024);
    assert!(timing.accounts[2].stalls[&Cause::DramLatency] > 0);
    assert!(timing.accounts[0].stalls[&Cause::Load] > 0);
}

/// The end of a run on a chip of which one number was changed.
fn end_with(steps: &[Step], change: impl FnOnce(&mut Chip)) -> u64 {
    let mut chip = chip();
    change(&mut chip);
    let mut memory = dram(&chip);
    run_on(&chip, &mut memory, steps).end
}

#[test]
fn a_dispatch_takes_its_clocks() {
    let steps = [dispatch(0, 3, compute(100)), end(1)];
    let at = |clocks| end_with(&steps, |chip| chip.scu.dispatch_clocks = clocks);
    assert_eq!(
        at(500) - at(0),
        500_000,
        "an idle engine begins so many clocks after the control unit has sent an instruction to it"
    );
    let timing = run(&steps);
    assert_eq!(timing.spans[0].start - timing.spans[0].dispatched, 4000);
    let busy = [dispatch(0, 3, compute(5000)), dispatch(1, 3, compute(100)), end(2)];
    let behind = |clocks| end_with(&busy, |chip| chip.scu.dispatch_clocks = clocks);
    assert_eq!(behind(500) - behind(0), 500_000, "the way of the second one is hidden behind the first");
}

#[test]
fn every_access_passes_the_controller() {
    let move_in =
        |pc| dispatch(pc, 2, Work { clocks: 20, reads: vec![(0x1000 * u64::from(pc + 1), 64)], ..Work::default() });
    let signal = Semaphore::new(1);
    let mut first = move_in(0);
    first.sync.signal = signal.map(|s| (s, 1));
    let mut second = move_in(1);
    second.sync.wait = signal.map(|s| (s, 1));
    // The same code is fetched before either.
    let at = |steps: &[Step], nanoseconds| end_with(steps, |chip| chip.dram.controller_ns = nanoseconds);
    let (one, two) = ([first.clone(), end(1)], [first, second, end(2)]);
    let added = |steps: &[Step]| at(steps, 300.0) - at(steps, 0.0);
    let fetch = added(&[end(0)]);
    assert!(fetch >= 300_000, "code is an access, too: {fetch}");
    assert_eq!((added(&one) - fetch, added(&two) - fetch), (300_000, 600_000));
}

#[test]
fn the_fifo_holds_no_more_than_its_bytes() {
    let mut chip = chip();
    chip.dmaw.fifo_bytes_per_tile = 4096;
    let capacity = 4096 * chip.tiles.count;
    let bytes = 4 * capacity;
    let stream = Work { clocks: 16, weight_bytes: bytes, reads: vec![(0x100_0000, bytes)], ..Work::default() };
    let signal = Semaphore::new(1).unwrap();
    let mut late = dispatch(1, 5, compute(1_000_000));
    late.sync.signal = Some((signal, 1));
    let mut product = dispatch(2, 3, Work { clocks: 1000, weight_bytes: bytes, ..Work::default() });
    product.sync.wait = Some((signal, 1));
    let mut memory = dram(&chip);
    let timing = run_on(&chip, &mut memory, &[dispatch(0, 1, stream), late, product, end(3)]);
    let span = |agent| timing.spans.iter().find(|span| span.agent == agent).unwrap();
    assert!(span(1).end > span(3).start, "the stream ends when the product has made room: {:?}", timing.spans);
    assert!(timing.accounts[1].stalls[&Cause::FifoFull] > 900_000_000);
}
