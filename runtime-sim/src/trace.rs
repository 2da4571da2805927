//! A trace that Perfetto and Chrome open: engines as tracks, instructions as slices, counters of bandwidth and SRAM.
//!
//! In: an [`Observation`]. Out: JSON in the Trace Event Format, one event a line, times in microseconds. Always: events are in the order
//! of their times; slices of one track do not overlap: an engine with several instructions under way has several tracks.
//!
//! Counters: `LPDDR` are gigabytes per second, read and written, in windows of equal length that fit the run; `SRAM` are the bytes of buffers in use, where the
//! image names them.

use std::fmt::Write as _;

use narae_isa::Engine;
use narae_isa::operand::MarkKind;
use serde_json::{Value, json};

use crate::checker::AGENTS;
use crate::report::{MemoryReport, Observation, Places};
use crate::timing::{Picoseconds, Span};

/// Tracks of one engine at most.
const LANES: u64 = 100;

/// An event and its time.
type Event = (Picoseconds, Value);

/// The trace of a run, as text.
pub fn trace(run: &Observation<'_>) -> String {
    let places = Places::of(run);
    let (mut events, lanes) = slices(run, &places);
    events.extend(marks(run));
    events.extend(bandwidth(run));
    events.extend(sram(run, &places));
    events.sort_by_key(|event| event.0);
    let mut text = String::from("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
    let all = names(run, &lanes).into_iter().chain(events.into_iter().map(|event| event.1));
    for (index, event) in all.enumerate() {
        let _ = write!(text, "{}\n{event}", if index > 0 { "," } else { "" });
    }
    text + "\n]}\n"
}

fn microseconds(picoseconds: Picoseconds) -> f64 {
    picoseconds as f64 * 1e-6
}

fn track(agent: u8, lane: usize) -> u64 {
    u64::from(agent) * LANES + (lane as u64).min(LANES - 1)
}

/// Names and order of the tracks.
fn names(run: &Observation<'_>, lanes: &[usize; AGENTS]) -> Vec<Value> {
    let process = json!({"ph": "M", "pid": 0, "name": "process_name", "args": {"name": run.image.chip().chip.name}});
    let mut found = vec![process];
    for engine in Engine::ALL {
        for lane in 0..lanes[usize::from(engine.code())].max(1) {
            let number = if lane == 0 { String::new() } else { format!(" ({})", lane + 1) };
            let tid = track(engine.code(), lane);
            let name = format!("{}{number}", engine.name());
            found.push(json!({"ph": "M", "pid": 0, "tid": tid, "name": "thread_name", "args": {"name": name}}));
            found.push(
                json!({"ph": "M", "pid": 0, "tid": tid, "name": "thread_sort_index", "args": {"sort_index": tid}}),
            );
        }
    }
    found
}

/// Instructions, each on the first track of its engine that is free; and how many tracks each engine needs.
fn slices(run: &Observation<'_>, places: &Places) -> (Vec<Event>, [usize; AGENTS]) {
    let mut free: [Vec<Picoseconds>; AGENTS] = Default::default();
    let mut events = Vec::with_capacity(run.timing.spans.len());
    for span in &run.timing.spans {
        let lanes = &mut free[usize::from(span.agent)];
        let lane = lanes.iter().position(|free| *free <= span.start).unwrap_or_else(|| {
            lanes.push(0);
            lanes.len() - 1
        });
        lanes[lane] = span.end;
        events.push((span.start, slice(run, places, span, lane)));
    }
    (events, free.map(|lanes| lanes.len()))
}

fn slice(run: &Observation<'_>, places: &Places, span: &Span, lane: usize) -> Value {
    let word = run.image.words().get(span.pc as usize);
    let place = places.place(span);
    let node = place.node.map(|index| &places.nodes[index]);
    json!({
        "ph": "X", "pid": 0, "tid": track(span.agent, lane),
        "name": word.map_or("?", |word| word.inst.mnemonic()),
        "ts": microseconds(span.start), "dur": microseconds(span.end - span.start),
        "args": {
            "instruction": word.map(|word| word.to_string()),
            "pc": span.pc,
            "node": node.map(|node| format!("{} ({})", node.name, node.operator)),
            "part": places.groups.get(place.group),
            "busy_us": microseconds(span.busy),
            "bytes_read": span.dram_bytes[0],
            "bytes_written": span.dram_bytes[1],
        },
    })
}

fn marks(run: &Observation<'_>) -> impl Iterator<Item = Event> {
    run.timing.marks.iter().map(|(kind, value, at)| {
        let name = if *kind == MarkKind::Rest { kind.to_string() } else { format!("{kind} {value}") };
        (*at, json!({"ph": "i", "pid": 0, "tid": 0, "s": "g", "name": name, "ts": microseconds(*at)}))
    })
}

fn bandwidth(run: &Observation<'_>) -> impl Iterator<Item = Event> {
    let window = run.timing.traffic.window;
    let rate = move |bytes: u64| bytes as f64 * 1e3 / window as f64;
    run.timing.traffic.bytes.iter().enumerate().map(move |(index, [read, written])| {
        let at = index as u64 * window;
        let values = json!({"read GB/s": rate(*read), "written GB/s": rate(*written)});
        (at, json!({"ph": "C", "pid": 0, "name": "LPDDR", "ts": microseconds(at), "args": values}))
    })
}

/// Bytes of buffers in use, whenever that changes.
fn sram(run: &Observation<'_>, places: &Places) -> Vec<Event> {
    let memory = MemoryReport::new(run, places);
    let clock = run.timing.clock as f64;
    let mut changes: Vec<(Picoseconds, i64)> = Vec::new();
    for buffer in &memory.sram.buffers {
        for (from, to) in &buffer.intervals {
            let at = |cycles: f64| (cycles * clock).round() as Picoseconds;
            changes.extend([(at(*from), buffer.bytes as i64), (at(*to), -(buffer.bytes as i64))]);
        }
    }
    changes.sort_unstable();
    let mut bytes = 0;
    let together = changes.chunk_by(|a, b| a.0 == b.0);
    together
        .map(|group| {
            bytes += group.iter().map(|change| change.1).sum::<i64>();
            let at = group[0].0;
            (at, json!({"ph": "C", "pid": 0, "name": "SRAM", "ts": microseconds(at), "args": {"bytes in use": bytes}}))
        })
        .collect()
}
