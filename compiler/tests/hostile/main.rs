//! The hostile corpus: files made here, byte by byte, none of which may get further than a coded refusal.
//!
//! Every case is refused with the expected code, with a byte offset, a file or a node, quickly, and without a panic.

mod wire;
mod write;

use narae_compiler::onnx::{Limits, Model};
use narae_isa::{Diagnostics, Place};
use std::time::{Duration, Instant};

/// How long a refusal may take in a debug build on a busy machine; release builds are held to 100 ms by the benchmark.
const PATIENCE: Duration = Duration::from_millis(1500);

fn check(name: &str, code: &str, result: Result<Model, Diagnostics>, started: Instant) -> Result<(), String> {
    let took = started.elapsed();
    let Err(found) = result else { return Err(format!("{name}: accepted")) };
    let Some(first) = found.0.first() else { return Err(format!("{name}: refused without a reason")) };
    if first.code.id != code {
        return Err(format!("{name}: expected {code}, found {first}"));
    }
    if !matches!(first.place, Some(Place::Byte { .. } | Place::Node { .. } | Place::File { .. })) {
        return Err(format!("{name}: no place in {first}"));
    }
    if took > PATIENCE {
        return Err(format!("{name}: took {took:?}"));
    }
    Ok(())
}

#[test]
fn damaged_bytes_are_refused_with_an_offset() {
    let cases = wire::cases();
    let mut problems = Vec::new();
    let mut slowest = Duration::ZERO;
    let count = cases.len();
    for (name, code, bytes) in cases {
        let started = Instant::now();
        let result = Model::from_bytes(bytes, &Limits::default());
        slowest = slowest.max(started.elapsed());
        problems.extend(check(name, code, result, started).err());
    }
    println!("{count} damaged files refused, the slowest in {slowest:?}");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
