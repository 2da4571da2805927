//! How fast the timing is, and what it says: `cargo run --release --example timing -- IMAGE [ENTRY [PAST]]`.
//!
//! In: an image whose entry takes ids `[1, n]` and a past. Out: seconds of CPU per run in the fast and the exact mode, and where time went.
#![expect(clippy::print_stdout, reason = "a program that reports what it does")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use narae_isa::{DimExpr, Engine, HostTensor, Image};
use narae_sim::report::Report;
use narae_sim::session::{DramModel, TimingOptions};
use narae_sim::timing::{Account, Timing};
use narae_sim::{Limits, Machine, Tensors};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let image = Arc::new(Image::open(Path::new(&arguments[0])).expect("an image that opens"));
    let name =
        arguments.get(1).cloned().unwrap_or(image.metadata().entries.last().expect("there is an entry").name.clone());
    let past: i64 = arguments.get(2).map_or(0, |past| past.parse().expect("a number of tokens"));
    let entry = image.entry(&name).expect("the entry exists").clone();
    let mut inputs = Tensors::new();
    for info in &entry.inputs {
        let dims: Vec<usize> = info
            .dims
            .iter()
            .map(|d| match d {
                DimExpr::Const(n) => *n as usize,
                _ => 1,
            })
            .collect();
        let len = dims.iter().product();
        let tensor = if info.element.is_float() {
            HostTensor::zeros(info.element, &dims)
        } else {
            HostTensor::from_i64_as(info.element, &dims, &vec![past; len])
        };
        inputs.insert(info.name.clone(), tensor);
    }
    let mut machine = Machine::new(image.clone(), Limits::default()).expect("a machine");
    for dram in [DramModel::Fast, DramModel::Exact] {
        let before = cpu();
        let options = TimingOptions { dram, ..TimingOptions::default() };
        let timed = machine.run_timing_only(&name, &inputs, &options).expect("it runs");
        let t = &timed.timing;
        println!(
            "{dram:?}: {:.3} CPU s, {} cycles, {} instructions, {} spans",
            cpu() - before,
            t.end / t.clock,
            t.counts.instructions,
            t.spans.len()
        );
        show(t);
        let run = machine.observation(&timed, Some(1)).expect("it ran here");
        println!("{}", Report::new(&run).to_text());
    }
}

fn show(t: &Timing) {
    let mut by: BTreeMap<(u8, &str), u64> = BTreeMap::new();
    let mut add = |agent: u8, account: &Account| {
        *by.entry((agent, "busy")).or_default() += account.busy;
        for (cause, time) in &account.stalls {
            *by.entry((agent, cause.name())).or_default() += time;
        }
    };
    t.critical_path.iter().for_each(|s| add(s.agent, &s.account));
    for s in t.critical_path.iter().filter(|s| s.end - s.start > 500_000) {
        println!("   {s:?}");
        for x in t.spans.iter().filter(|x| x.agent == s.agent && x.start <= s.end && x.end >= s.end) {
            println!("      {x:?}");
        }
    }
    for ((agent, cause), time) in by {
        println!(
            "   critical {:5} {cause:16} {:6.2} %",
            Engine::from_code(agent).map_or("?", |e| e.name()),
            100.0 * time as f64 / t.end as f64
        );
    }
}

fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
