//! Both memories keep the protocol of [`Dram`], and the fast one agrees with the exact one.

use super::super::sheet::Sheet;
use super::super::{Dram, ExactDram, FastDram, Mode, Recorder, Request, run_trace};
use super::scatter;

fn sheet(channels: u32) -> Sheet {
    Sheet::built_in("lpddr5x-8533").unwrap().with_channels(channels, 512).unwrap()
}

fn both(channels: u32, queues: usize) -> [Box<dyn Dram>; 2] {
    [Box::new(ExactDram::new(&sheet(channels), queues)), Box::new(FastDram::new(&sheet(channels), queues))]
}

/// Submits everything, then takes every completion: (submission index, time).
fn finish(dram: &mut dyn Dram, requests: &[Request]) -> Vec<u64> {
    let mut at = vec![0; requests.len()];
    for request in requests {
        dram.submit(*request);
    }
    let mut last = 0;
    while let Some(done) = dram.next_completion(u64::MAX) {
        assert!(done.at >= last, "completions come in order");
        last = done.at;
        assert_eq!(done.spent.total(), done.at - requests[done.id.0 as usize].time);
        at[done.id.0 as usize] = done.at;
    }
    assert_eq!(dram.outstanding(), 0);
    at
}

fn read(queue: usize, time: u64, address: u64, bytes: u64) -> Request {
    Request { queue, time, write: false, address, bytes }
}

fn compare(channels: u32, queues: usize, requests: &[Request], tolerance: f64) {
    let [mut exact, mut fast] = both(channels, queues);
    let (a, b) = (finish(exact.as_mut(), requests), finish(fast.as_mut(), requests));
    let (end_exact, end_fast) = (*a.iter().max().unwrap() as f64, *b.iter().max().unwrap() as f64);
    assert!((end_fast / end_exact - 1.0).abs() <= tolerance, "exact {end_exact}, fast {end_fast}");
    let bytes: u64 = requests.iter().map(|r| r.bytes).sum();
    for dram in [&exact, &fast] {
        let report = dram.report(*a.iter().max().unwrap());
        assert!(report.channel_bytes.iter().sum::<u64>() >= bytes);
    }
}

#[test]
fn one_stream() {
    compare(4, 1, &[read(0, 0, 0, 8 << 20)], 0.01);
}

#[test]
fn two_streams() {
    compare(2, 2, &[read(0, 0, 0, 2 << 20), read(1, 0, 1 << 28, 2 << 20)], 0.05);
}

#[test]
fn a_copy() {
    let write = Request { queue: 1, time: 0, write: true, address: 1 << 28, bytes: 2 << 20 };
    compare(2, 2, &[read(0, 0, 0, 2 << 20), write], 0.1);
}

#[test]
fn a_weight_in_pieces() {
    let pieces: Vec<Request> = (0..64).map(|i| read(0, 0, i << 16, 1 << 16)).collect();
    compare(4, 1, &pieces, 0.02);
}

#[test]
fn an_isolated_read_takes_the_latency_of_an_access() {
    for mut dram in both(4, 1) {
        let at = finish(dram.as_mut(), &[read(0, 10_000, 64, 32)])[0] - 10_000;
        // ACT + tRCD 20 + RL 23 + BL 2 clocks of 938 ps, plus command slots and leaving power-down.
        assert!((42_000..56_000).contains(&at), "{at} ps");
    }
}

#[test]
fn a_small_read_does_not_wait_for_a_long_stream() {
    for mut dram in both(4, 2) {
        dram.submit(read(0, 0, 0, 64 << 20));
        assert_eq!(dram.next_completion(5_000_000), None);
        let small = dram.submit(read(1, 5_000_000, 1 << 29, 256));
        let done = dram.next_completion(u64::MAX).unwrap();
        assert_eq!(done.id, small);
        assert!(done.at < 6_000_000, "{} ps", done.at);
        assert!(done.at > 5_040_000, "{} ps", done.at);
    }
}

#[test]
fn time_may_stop_anywhere() {
    for mut dram in both(2, 1) {
        let id = dram.submit(read(0, 0, 0, 1 << 16));
        let mut until = 0;
        let done = loop {
            until += 100_000;
            if let Some(done) = dram.next_completion(until) {
                break done;
            }
        };
        assert_eq!(done.id, id);
        let mut again = both(2, 1);
        let whole: Vec<u64> = again.iter_mut().map(|d| finish(d.as_mut(), &[read(0, 0, 0, 1 << 16)])[0]).collect();
        assert!(whole.contains(&done.at), "{} is none of {whole:?}", done.at);
    }
}

#[test]
fn large_weights_load_all_channels_alike() {
    let mut dram = FastDram::new(&sheet(32), 1);
    let mut address = 4096;
    for i in 0..50 {
        let bytes = (4 << 20) + scatter(i) % (1 << 20) / 64 * 64;
        dram.submit(read(0, 0, address, bytes));
        address += bytes;
    }
    assert!(dram.report(0).imbalance() < 0.02);
}

#[test]
fn overlapping_reads_after_writes_are_served() {
    for mut dram in both(1, 2) {
        let write = Request { queue: 0, time: 0, write: true, address: 0, bytes: 4096 };
        finish(dram.as_mut(), &[write, read(1, 0, 0, 4096), read(1, 0, 2048, 64)]);
    }
}

#[test]
fn what_was_recorded_can_be_replayed() {
    let sheet = sheet(2);
    let mut dram = Recorder::new(ExactDram::new(&sheet, 1), &sheet);
    let requests: Vec<Request> = (0..40).map(|i| read(0, 0, scatter(i) % (1 << 28), 3000)).collect();
    let end = *finish(&mut dram, &requests).iter().max().unwrap();
    let text = dram.trace().to_text("recorded");
    let trace = super::super::trace::Trace::parse("recorded", &text).unwrap();
    let report = run_trace(&sheet, "recorded", &trace, Mode::Exact).unwrap();
    assert_eq!(report.clocks * sheet.timing.clock_ps, end);
}

#[test]
fn threads_do_not_matter_to_the_exact_memory() {
    let run_on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut dram = ExactDram::new(&sheet(8), 2);
        let requests = [read(0, 0, 0, 1 << 20), read(1, 0, 1 << 28, 300_000), read(0, 5_000, 1 << 26, 4096)];
        let at = pool.install(|| finish(&mut dram, &requests));
        (at, dram.report(100_000_000))
    };
    assert_eq!(run_on(1), run_on(4));
}
