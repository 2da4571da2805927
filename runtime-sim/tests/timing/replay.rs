//! The requests of a run, in the trace format of the memory model, and their replay.

use narae_sim::session::memory_sheet;
use narae_sim::validation::programs::{CHIPS, WEIGHTS, chip};
use narae_sim::validation::replay::replay;
use narae_sim::validation::streams::program;

#[test]
fn bytes_in_are_bytes_out_in_every_channel() {
    let text = format!(
        ".row in tensor dram f16 [1, 1024] at 0x100000\n.row out tensor dram f16 [1, 512] at 0x200000
         .row x tensor sram f16 [1, 1024] at 0x0\n.row y tensor sram f16 [1, 512] at 0x40000
         .row w weight u4:g128 [512, 1024] at {WEIGHTS}
         ldd d0, in, _\nldd d1, x, _\nldd d2, w, _\nldd d3, y, _\nldd d4, out, _
         transfer d1, d0 @signal(s0, 1)\nldw d2\nlinear d3, d1, d2, _ @wait(s0, 1) @signal(s1, 1)\ntransfer d4, d3 @wait(s1, 1)\nhalt"
    );
    let found = replay("narae-edge", &text);
    let sheet = memory_sheet(&chip("narae-edge")).unwrap();
    let (trace, channels) = (&found.trace, &found.channel_bytes);
    trace.check("run.csv", &sheet).expect("every address is aligned and inside the memory");
    let reads: u64 = trace.requests.iter().filter(|r| !r.write).map(|r| r.bytes).sum();
    let writes: u64 = trace.requests.iter().filter(|r| r.write).map(|r| r.bytes).sum();
    assert_eq!((reads, writes), (found.timing.dram_bytes_read, found.timing.dram_bytes_written));
    // The replay moves the same bytes in the same channels.
    let mut replayed = vec![0u64; channels.len()];
    for request in &trace.requests {
        let (first, end) = (request.address / 32, (request.address + request.bytes).div_ceil(32));
        sheet.mapping.for_each_channel(first, end, |channel, bursts| {
            replayed[channel as usize] += 32 * (bursts.end - bursts.start);
        });
    }
    assert_eq!(replayed, *channels);
    let report = &found.replayed;
    assert_eq!(report.bytes, reads + writes);
    assert_eq!(32 * report.counts.reads_moved() + 32 * report.counts.forwarded, channels.iter().sum::<u64>() - 1024);
    assert!(found.difference().abs() < 0.05, "{}", found.difference());
}

#[test]
fn a_replay_takes_as_long_as_the_run() {
    for name in CHIPS {
        let difference = replay(name, &program("u4:g128", (4096, 4096))).difference();
        assert!(difference.abs() < 0.01, "{name}: {difference}");
    }
}
