//! N7: equal runs have equal cycles and equal events: again and again, and at any number of threads. In: a chip by name. Out: [`Repeated`].
//! (Debug and release builds, and other machines, are compared by a test that holds stored fingerprints.)

use super::programs::{WEIGHTS, chip, steps, time_steps};
use crate::timing::Timing;

/// Runs at each number of threads.
pub const RUNS: usize = 10;
/// Numbers of threads.
pub const THREADS: [usize; 4] = [1, 2, 3, 8];

/// A small decoder layer, eight times: moves, products, vectors, attention over a cache.
pub fn program() -> String {
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

/// A run, and those that differ from it.
#[derive(Clone, Debug)]
pub struct Repeated {
    /// The first run.
    pub first: Timing,
    /// How many runs were compared with it.
    pub runs: usize,
    /// The number of threads of each run that was not the same.
    pub different: Vec<usize>,
}

/// Times the program [`RUNS`] times at each number of [`THREADS`].
pub fn repeated(name: &str, exact: bool) -> Repeated {
    let chip = chip(name);
    let steps = steps(&chip, &program());
    let first = time_steps(&chip, &steps, exact);
    let mut different = Vec::new();
    for threads in THREADS {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("the host gives threads");
        let runs = (0..RUNS).map(|_| pool.install(|| time_steps(&chip, &steps, exact)));
        different.extend(runs.filter(|run| !same(run, &first)).map(|_| threads));
    }
    Repeated { first, runs: RUNS * THREADS.len(), different }
}

/// Whether two runs are equal in everything that a report shows.
fn same(a: &Timing, b: &Timing) -> bool {
    a.end == b.end
        && a.event_hash() == b.event_hash()
        && a.spans == b.spans
        && a.usages == b.usages
        && a.critical_path == b.critical_path
        && a.dram == b.dram
}
