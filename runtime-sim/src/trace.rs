//! A trace that Perfetto and Chrome open: engines as tracks, instructions as slices.
//!
//! In: a [`Timing`] and the program. Out: JSON in the Trace Event Format (complete events; times in microseconds). Always: slices of one track
//! do not overlap, except those of weight streams, which are under way together.

use crate::machine::Program;
use crate::timing::Timing;
use narae_isa::Engine;
use serde_json::{Value, json};

/// The trace. `origin` names the place in the model that an instruction came from.
pub fn trace(timing: &Timing, program: &Program, origin: &dyn Fn(u32) -> Option<String>) -> Value {
    let microseconds = |picoseconds: u64| picoseconds as f64 * 1e-6;
    let tracks = Engine::ALL.iter().map(|engine| {
        json!({"ph": "M", "pid": 0, "tid": engine.code(), "name": "thread_name", "args": {"name": engine.name()}})
    });
    let slices = timing.spans.iter().map(|span| {
        let word = program.words.get(span.pc as usize);
        json!({
            "ph": "X", "pid": 0, "tid": span.agent,
            "name": word.map_or("?", |word| word.inst.mnemonic()),
            "ts": microseconds(span.start), "dur": microseconds(span.end - span.start),
            "args": {"pc": span.pc, "instruction": word.map(|word| word.to_string()), "origin": origin(span.pc)},
        })
    });
    let marks = timing.marks.iter().map(|(kind, value, at)| {
        json!({"ph": "i", "pid": 0, "tid": 0, "s": "g", "name": format!("{kind} {value}"), "ts": microseconds(*at)})
    });
    json!({"displayTimeUnit": "ns", "traceEvents": tracks.chain(slices).chain(marks).collect::<Vec<Value>>()})
}
