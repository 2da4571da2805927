//! What the happens-before checker costs in functional mode (bar N6: at most 30 %): `cargo run --release --example checker_cost [MODEL.onnx]`.
//!
//! In: a decoder (examples/tinylm). Out: CPU seconds of a thread per token with and without the checker, alternating, so that a busy machine disturbs both alike.
#![expect(clippy::print_stdout, reason = "a program that reports what it does")]

use std::path::{Path, PathBuf};

use narae::language::LanguageModel;
use narae_compiler::compile::{KvCache, Options};
use narae_isa::Chip;
use narae_sim::Limits;

fn main() {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tinylm/model.onnx");
    let model = std::env::args_os().nth(1).map_or_else(own, PathBuf::from);
    let mut options = Options::new(Chip::built_in("narae-1").expect("a built-in chip"));
    options.kv_cache = KvCache::State;
    options.maxima.batch = Some(1);
    options.maxima.sequence = Some(16);
    options.maxima.past = Some(512);
    let mut language = LanguageModel::compile(&model, &options).expect("the model compiles");
    let mut seconds = [f64::INFINITY; 2];
    for _ in 0..7 {
        for check in [true, false] {
            language.session().machine().set_limits(Limits { check, ..Limits::default() });
            language.reset();
            let before = cpu_seconds();
            for token in 0..400 {
                language.feed(&[token % 500]).expect("a token");
            }
            let best = &mut seconds[usize::from(check)];
            *best = best.min((cpu_seconds() - before) / 400.0);
        }
    }
    let [without, with] = seconds;
    println!(
        "{:.1} µs a token with the checker, {:.1} without: {:+.1} %",
        with * 1e6,
        without * 1e6,
        (with / without - 1.0) * 100.0
    );
}

/// User and system time of this process, from /proc.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|nanoseconds| nanoseconds.parse::<f64>().ok()).map_or(0.0, |ns| ns * 1e-9)
}
