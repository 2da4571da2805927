//! Attribution: layers that do the same are charged with the same time, although their weights are streamed ahead of them, several layers deep. In:
//! models of alike layers, larger and smaller than the weight FIFO. Out: time on the critical path by layer; it adds up to the run.

use narae_sim::timing::Timing;
use narae_sim::validation::programs::{WEIGHTS, chip, steps, time_steps};

const LAYERS: usize = 12;

/// Layers of two products of `width` × `width` u4 weights, with vector work that the second one waits for.
fn program(width: u64) -> String {
    format!(
        ".row x tensor sram f16 [1, {width}] at 0x0
         .row y tensor sram f16 [1, {width}] at 0x10000
         .row up weight u4:g128 [{width}, {width}] at {WEIGHTS} + r1
         .row down weight u4:g128 [{width}, {width}] at {} + r1
             li r0, value=0
             li r1, value=0
             ldd d0, x, _\nldd d1, y, _
             sync vpe @signal(s0, 1)
         again:
             mark layer, value=0, r0
             ldd d2, up, _\nldd d3, down, _
             ldw d2
             linear d1, d0, d2, _ @wait(s0, 1) @signal(s1, 1)
             unary exp, d1, d1 @wait(s1, 1) @signal(s2, 1)
             ldw d3
             linear d0, d1, d3, _ @wait(s2, 1) @signal(s3, 1)
             binary add, d0, d0, d0 @wait(s3, 1) @signal(s0, 1)
             alui add, r1, r1, value={}
             alui add, r0, r0, value=1
             branchi lt, r0, value={LAYERS}, again
             mark rest, value=0, _
             sync vpe @wait(s0, 1)
             halt",
        WEIGHTS + width * width,
        2 * width * width,
    )
}

/// Picoseconds of the critical path by layer; what lies outside of them comes last.
fn by_layer(timing: &Timing) -> Vec<u64> {
    let mut sums = vec![0; LAYERS + 1];
    for usage in &timing.usages {
        let layer = timing.parts[usage.part as usize].layer;
        sums[layer.map_or(LAYERS, |layer| layer as usize)] += usage.critical.total();
    }
    sums
}

#[test]
fn alike_layers_are_charged_alike() {
    for (name, width) in
        [("narae-1", 1024), ("narae-1", 2048), ("narae-1", 4096), ("narae-edge", 768), ("narae-fpga", 512)]
    {
        let chip = chip(name);
        let steps = steps(&chip, &program(width));
        for exact in [false, true] {
            let timing = time_steps(&chip, &steps, exact);
            let sums = by_layer(&timing);
            assert_eq!(sums.iter().sum::<u64>(), timing.end, "every picosecond is charged to somebody");
            // The first layers share LPDDR with the fetch of what is prefetched, the last ones wait for nobody behind them.
            let middle = &sums[LAYERS / 4..LAYERS * 3 / 4];
            let mean = middle.iter().sum::<u64>() as f64 / middle.len() as f64;
            for (layer, time) in middle.iter().enumerate() {
                let off = *time as f64 / mean - 1.0;
                assert!(
                    off.abs() < 0.05,
                    "{name}, {width} wide, exact {exact}: layer {} is {off:+.3} off: {sums:?}",
                    layer + LAYERS / 4
                );
            }
        }
    }
}
