//! The timeline: what each engine did when, and how fast the memory moved.
//!
//! In: the spans of a run. Out: [`Timeline`], small enough to draw whatever the length of the run. Always: slices of one track are in
//! the order and do not overlap: an instruction's slice begins when its engine is free for it, though weight streams and moves start
//! while others are under way (the trace shows that), and it has no length where it ends before an earlier one; where neighbours are merged the slice says how many they are.

use std::collections::BTreeMap;

use narae_isa::Engine;
use schemars::JsonSchema;
use serde::Serialize;

use super::observe::{Observation, Places};
use crate::timing::{Account, Picoseconds, Segment, Span};

/// More slices than this on one track are merged.
const MOST_SLICES: usize = 1200;
/// At most so many windows of the bandwidth over time.
const MOST_WINDOWS: usize = 400;

/// An instruction of the program that appears on the timeline.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct InstructionText {
    /// Program counter.
    pub pc: u32,
    /// Assembly.
    pub text: String,
    /// The node of the model that it implements; empty for moves that none asks for.
    pub node: String,
    /// The part of the model in whose pass of the loop it ran.
    pub layer: String,
}

/// One instruction of an engine, or several neighbours.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Slice {
    /// When its engine was free for it, in clock cycles.
    pub start: f64,
    /// End, in clock cycles.
    pub end: f64,
    /// Index into `instructions`: the instruction, or the longest of several.
    pub instruction: usize,
    /// How many instructions it stands for.
    pub count: u64,
}

/// What one engine did.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Track {
    /// The engine.
    pub engine: String,
    /// Slices by start.
    pub slices: Vec<Slice>,
}

/// Bytes per second that LPDDR moved in windows of equal length. The bytes of a request lie in front of its completion, no faster than the peak.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Traffic {
    /// Length of a window, in clock cycles.
    pub window_cycles: f64,
    /// Bytes per second read in each window.
    pub read: Vec<f64>,
    /// Bytes per second written in each window.
    pub written: Vec<f64>,
}

/// A stretch of the critical path.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct CriticalSlice {
    /// Start, in clock cycles.
    pub start: f64,
    /// End, in clock cycles.
    pub end: f64,
    /// The engine that the run waited for.
    pub engine: String,
    /// What it did most of the time: `busy`, or the cause of a stall.
    pub what: String,
}

/// The timeline.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Timeline {
    /// Whether neighbours were merged to keep it small.
    pub merged: bool,
    /// The instructions that appear.
    pub instructions: Vec<InstructionText>,
    /// Engines that did something.
    pub tracks: Vec<Track>,
    /// The critical path.
    pub critical: Vec<CriticalSlice>,
    /// When each layer (index into `layers` of the report) had retired its last instruction, in clock cycles.
    pub layer_ends: Vec<f64>,
    /// The memory.
    pub traffic: Traffic,
}

impl Timeline {
    /// The timeline of a run.
    pub fn new(run: &Observation<'_>, places: &Places) -> Timeline {
        let mut texts = Texts { run, places, found: BTreeMap::new(), list: Vec::new() };
        let mut merged = false;
        let mut tracks = Vec::new();
        for engine in Engine::ALL {
            let spans = run.timing.spans.iter().zip(&places.own);
            let own: Vec<Own<'_>> = spans.filter(|(span, _)| span.agent == engine.code()).map(Own::new).collect();
            let groups = merge(&own, run.timing.end);
            merged |= groups.len() < own.len();
            let slices: Vec<Slice> = groups.iter().map(|group| texts.slice(group)).collect();
            if !slices.is_empty() {
                tracks.push(Track { engine: engine.name().to_string(), slices });
            }
        }
        Timeline {
            merged,
            instructions: texts.list,
            tracks,
            critical: critical(run),
            layer_ends: layer_ends(run, places),
            traffic: traffic(run),
        }
    }
}

/// Part of the run, of [`MOST_SLICES`], in which a time lies.
fn part(time: Picoseconds, end: Picoseconds) -> u64 {
    (u128::from(time) * MOST_SLICES as u128 / u128::from(end.max(1))) as u64
}

/// An instruction, and when its engine was free for it.
#[derive(Clone, Copy)]
struct Own<'a> {
    span: &'a Span,
    start: Picoseconds,
}

impl<'a> Own<'a> {
    fn new((span, own): (&'a Span, &Picoseconds)) -> Own<'a> {
        Own { span, start: span.end - own }
    }
}

/// Neighbours of one engine that are drawn as one, if there are too many: those that start in the same part of the run.
fn merge<'a>(own: &[Own<'a>], end: Picoseconds) -> Vec<Vec<Own<'a>>> {
    if own.len() <= MOST_SLICES {
        return own.iter().map(|one| vec![*one]).collect();
    }
    own.chunk_by(|a, b| part(a.start, end) == part(b.start, end)).map(<[_]>::to_vec).collect()
}

struct Texts<'a, 'b> {
    run: &'b Observation<'a>,
    places: &'b Places,
    found: BTreeMap<(u32, usize), usize>,
    list: Vec<InstructionText>,
}

impl Texts<'_, '_> {
    fn slice(&mut self, group: &[Own<'_>]) -> Slice {
        let cycles = |time: Picoseconds| time as f64 / self.run.timing.clock as f64;
        let start = cycles(group.iter().map(|one| one.start).min().unwrap_or(0));
        let end = cycles(group.iter().map(|one| one.span.end).max().unwrap_or(0));
        let longest = group.iter().max_by_key(|one| one.span.end - one.start);
        let instruction = longest.map_or(0, |one| self.text(one.span));
        Slice { start, end, instruction, count: group.len() as u64 }
    }

    fn text(&mut self, span: &Span) -> usize {
        let Texts { run, places, found, list } = self;
        let place = places.place(span);
        *found.entry((span.pc, place.group)).or_insert_with(|| {
            let word = run.image.words().get(span.pc as usize);
            let node = place.node.map(|index| &places.nodes[index]);
            list.push(InstructionText {
                pc: span.pc,
                text: word.map(ToString::to_string).unwrap_or_default(),
                node: node.map(|node| format!("{} ({})", node.name, node.operator)).unwrap_or_default(),
                layer: places.groups.get(place.group).cloned().unwrap_or_default(),
            });
            list.len() - 1
        })
    }
}

/// Layers overlap: one ends when its last instruction retires, and not before the one ahead of it.
fn layer_ends(run: &Observation<'_>, places: &Places) -> Vec<f64> {
    let mut ends = vec![0; places.groups.len()];
    for span in &run.timing.spans {
        let end = &mut ends[places.place(span).group];
        *end = span.end.max(*end);
    }
    let mut latest = 0;
    let mut cycles = |end: Picoseconds| {
        latest = end.max(latest);
        latest as f64 / run.timing.clock as f64
    };
    ends.into_iter().map(&mut cycles).collect()
}

/// What most of an account went into.
fn most(account: &Account) -> &'static str {
    let stalls = account.stalls.iter().map(|(cause, time)| (*time, cause.name()));
    stalls.fold((account.busy, "busy"), |most, stall| if stall.0 > most.0 { stall } else { most }).1
}

/// The critical path; neighbours that say the same, or begin in the same part of a long run, are one.
fn critical(run: &Observation<'_>) -> Vec<CriticalSlice> {
    let path = &run.timing.critical_path;
    let many = path.len() > MOST_SLICES;
    let same = |a: &Segment, b: &Segment| {
        (a.agent == b.agent && most(&a.account) == most(&b.account))
            || (many && part(a.start, run.timing.end) == part(b.start, run.timing.end))
    };
    let cycles = |time: Picoseconds| time as f64 / run.timing.clock as f64;
    let slice = |group: &[Segment]| {
        let longest = group.iter().max_by_key(|segment| segment.end - segment.start)?;
        Some(CriticalSlice {
            start: cycles(group.first()?.start),
            end: cycles(group.last()?.end),
            engine: Engine::from_code(longest.agent).map_or("", Engine::name).to_string(),
            what: most(&longest.account).to_string(),
        })
    };
    path.chunk_by(same).filter_map(slice).collect()
}

/// The windows of the timing, several together if there are many; the last window is as long as the run lasts.
fn traffic(run: &Observation<'_>) -> Traffic {
    let samples = &run.timing.traffic;
    let together = samples.bytes.len().div_ceil(MOST_WINDOWS).max(1);
    let window = together as u64 * samples.window;
    let sum = |direction: usize| {
        let rate = |(index, group): (usize, &[[u64; 2]])| {
            let length = run.timing.end.saturating_sub(index as u64 * window).clamp(1, window);
            group.iter().map(|sample| sample[direction]).sum::<u64>() as f64 / (length as f64 * 1e-12)
        };
        samples.bytes.chunks(together).enumerate().map(rate).collect()
    };
    Traffic { window_cycles: window as f64 / run.timing.clock as f64, read: sum(0), written: sum(1) }
}
