//! N7: equal runs have equal cycles and equal events: again and again, at any number of threads, in debug and release builds (the fingerprints
//! below are checked by both), on any machine.

use super::support::{WEIGHTS, chip, steps, time_steps};

/// A small decoder layer, eight times: moves, products, vectors, attention over a cache.
fn program() -> String {
    format!(
        ".row in tensor dram f16 [1, 1024] at 0x100000
         .row out tensor dram f16 [1, 1024] at 0x200000
         .row x tensor sram f16 [1, 1024] at 0x0
         .row y tensor sram f16 [1, 1024] at 0x10000
         .row q tensor sram f16 [1, 16, 1, 64] at 0x10000
         .row k tensor dram f16 [1, 4, 200, 64] at 0x300000
         .row a tensor sram f16 [1, 16, 1, 64] at 0x20000
         .row flat tensor sram f16 [1, 1024] at 0x20000
         .row w weight u4:g128 [1024, 1024] at {WEIGHTS} + r1
             li r0, value=0
             li r1, value=0
             ldd d0, in, _\nldd d1, x, _\nldd d2, y, _\nldd d3, q, _\nldd d4, k, _\nldd d5, a, _\nldd d6, flat, _
             transfer d1, d0 @signal(s0, 1)
         again:
             mark layer, value=0, r0
             ldd d7, w, _
             ldw d7
             linear d2, d1, d7, _ @wait(s0, 1) @signal(s1, 1)
             attend d5, d3, d4, d4, _, _, _, _, scale=0.125, _, _, causal @wait(s1, 1) @signal(s2, 1)
             binary add, d1, d1, d6 @wait(s2, 1) @signal(s0, 1)
             alui add, r1, r1, value=1048576
             alui add, r0, r0, value=1
             branchi lt, r0, value=8, again
             mark rest, value=0, _
             sync mxe @wait(s0, 1)
             fence
             ldd d8, out, _
             transfer d8, d1
             halt"
    )
}

/// Cycles and the first digits of the fingerprint, fast and exact.
const GOLDEN: [(&str, [(u64, &str); 2]); 3] = [
    ("narae-1", [(10434, "10ce89b7db6e03ef"), (10440, "066d067b9e6217b7")]),
    ("narae-edge", [(77767, "5a075f3e79a2e052"), (77682, "384484f4c2761960")]),
    ("narae-fpga", [(43579, "2f6fd8317a8d6901"), (42937, "0d95d2008d22e3f4")]),
];

#[test]
fn events_are_the_stored_ones() {
    let mut found = Vec::new();
    for (name, _) in GOLDEN {
        let chip = chip(name);
        let steps = steps(&chip, &program());
        let of = |exact| {
            let timing = time_steps(&chip, &steps, exact);
            (timing.end / timing.clock, timing.event_hash()[..16].to_string())
        };
        found.push((name, [of(false), of(true)]));
    }
    let same = found.iter().zip(GOLDEN).all(|((_, found), (_, want))| {
        found.iter().zip(want).all(|((cycles, hash), want)| (*cycles, hash.as_str()) == want)
    });
    assert!(same, "if the model of time was changed deliberately, store these: {found:#?}");
}

#[test]
fn ten_runs_and_any_number_of_threads_are_equal() {
    let chip = chip("narae-1");
    let steps = steps(&chip, &program());
    for exact in [false, true] {
        let first = time_steps(&chip, &steps, exact);
        let same = |other: &narae_sim::timing::Timing| {
            assert_eq!((other.end, other.event_hash()), (first.end, first.event_hash()));
            assert_eq!((&other.spans, &other.usages), (&first.spans, &first.usages));
            assert_eq!(other.critical_path, first.critical_path);
            assert_eq!(other.dram, first.dram);
        };
        (0..10).for_each(|_| same(&time_steps(&chip, &steps, exact)));
        for threads in [1, 2, 3, 8] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            same(&pool.install(|| time_steps(&chip, &steps, exact)));
        }
    }
}
