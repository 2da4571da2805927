//! The requests of a run, in the trace format of the memory model, and their replay.

use narae_sim::dram::trace::Trace;
use narae_sim::dram::{Dram, ExactDram, Mode, Recorder, run_trace};
use narae_sim::session::memory_sheet;
use narae_sim::timing::{Places, dram_queues, simulate};
use narae_sim::validation::programs::{WEIGHTS, chip, steps};

#[test]
fn bytes_in_are_bytes_out_in_every_channel() {
    let chip = chip("narae-edge");
    let text = format!(
        ".row in tensor dram f16 [1, 1024] at 0x100000\n.row out tensor dram f16 [1, 512] at 0x200000
         .row x tensor sram f16 [1, 1024] at 0x0\n.row y tensor sram f16 [1, 512] at 0x40000
         .row w weight u4:g128 [512, 1024] at {WEIGHTS}
         ldd d0, in, _\nldd d1, x, _\nldd d2, w, _\nldd d3, y, _\nldd d4, out, _
         transfer d1, d0 @signal(s0, 1)\nldw d2\nlinear d3, d1, d2, _ @wait(s0, 1) @signal(s1, 1)\ntransfer d4, d3 @wait(s1, 1)\nhalt"
    );
    let sheet = memory_sheet(&chip).unwrap();
    let mut memory = Recorder::new(ExactDram::new(&sheet, dram_queues(&chip)), &sheet);
    let places = Places { code: 0, rows: 0x8_0000 };
    let timing = simulate(&chip, &mut memory, steps(&chip, &text), places).unwrap();
    let channels = memory.report(timing.end).channel_bytes;
    let written = memory.into_trace().to_text("a run");
    let trace = Trace::parse("run.csv", &written).unwrap();
    trace.check("run.csv", &sheet).expect("every address is aligned and inside the memory");
    let reads: u64 = trace.requests.iter().filter(|r| !r.write).map(|r| r.bytes).sum();
    let writes: u64 = trace.requests.iter().filter(|r| r.write).map(|r| r.bytes).sum();
    assert_eq!((reads, writes), (timing.dram_bytes_read, timing.dram_bytes_written));
    // The replay moves the same bytes in the same channels.
    let mut replayed = vec![0u64; channels.len()];
    for request in &trace.requests {
        let (first, end) = (request.address / 32, (request.address + request.bytes).div_ceil(32));
        sheet.mapping.for_each_channel(first, end, |channel, bursts| {
            replayed[channel as usize] += 32 * (bursts.end - bursts.start);
        });
    }
    assert_eq!(replayed, channels);
    let report = run_trace(&sheet, "run.csv", &trace, Mode::Exact).unwrap();
    assert_eq!(report.bytes, reads + writes);
    assert_eq!(32 * report.counts.reads_moved() + 32 * report.counts.forwarded, channels.iter().sum::<u64>() - 1024);
    // One first-in first-out list a channel instead of several queues: about as long.
    let ratio = (report.clocks * sheet.timing.clock_ps) as f64 / timing.end as f64;
    assert!((0.95..1.05).contains(&ratio), "{ratio}");
}
