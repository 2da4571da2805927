//! The memory map: regions and buffers of LPDDR and SRAM, and when each of them was in use.
//!
//! In: the image's metadata and debug info, the spans and moves of a run. Out: [`MemoryReport`]. Always: an interval of a buffer lies inside of
//! the run; in SRAM it lasts from the start of the first instruction that touches the buffer to the end of the last one, once for
//! every pass of a loop; in LPDDR it is the time in which bytes of the buffer were moved.

use std::collections::BTreeMap;

use narae_isa::descriptor::Memory;
use narae_isa::image::{BufferInfo, BufferKind, RegionKind};
use schemars::JsonSchema;
use serde::Serialize;

use super::observe::{Observation, Places};
use crate::timing::{Picoseconds, Span};

/// A region of the memory map.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct RegionReport {
    /// Its name.
    pub name: String,
    /// What it is for: `weights`, `state`, `io`, `code`, `descriptors` or `scratch`.
    pub kind: String,
    /// First byte.
    pub address: u64,
    /// Its size.
    pub bytes: u64,
}

/// A buffer.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct BufferReport {
    /// The value or tensor that it holds.
    pub name: String,
    /// `weight`, `constant`, `state`, `input`, `output` or `scratch`.
    pub kind: String,
    /// First byte.
    pub address: u64,
    /// Its size.
    pub bytes: u64,
    /// Bytes that instructions moved from and to it; LPDDR only.
    pub moved_bytes: u64,
    /// When it was in use: start and end in clock cycles.
    pub intervals: Vec<(f64, f64)>,
}

/// One memory.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct MemoryMap {
    /// Its size; of SRAM without the weight FIFO.
    pub capacity_bytes: u64,
    /// Bytes in use: of LPDDR all regions, of SRAM the highest byte of any buffer of this entry.
    pub used_bytes: u64,
    /// The most bytes of buffers that were in use at the same time.
    pub peak_bytes: u64,
    /// Regions by address; none in SRAM.
    pub regions: Vec<RegionReport>,
    /// Buffers of this entry by address.
    pub buffers: Vec<BufferReport>,
}

/// Both memories.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct MemoryReport {
    /// LPDDR.
    pub dram: MemoryMap,
    /// SRAM.
    pub sram: MemoryMap,
}

impl MemoryReport {
    /// The memory map of a run.
    pub fn new(run: &Observation<'_>, places: &Places) -> MemoryReport {
        let (chip, clock) = (run.image.chip(), run.timing.clock as f64);
        let own: Vec<&BufferInfo> = own_buffers(run).collect();
        let by_pc = times_by_pc(&run.timing.spans);
        let moves = Moved::new(run, &own, places);
        let report = |buffer: &BufferInfo, intervals: Vec<(Picoseconds, Picoseconds)>, moved_bytes| BufferReport {
            name: buffer.name.clone(),
            kind: kind_name(buffer.kind).to_string(),
            address: buffer.address,
            bytes: buffer.bytes,
            moved_bytes,
            intervals: intervals.into_iter().map(|(from, to)| (from as f64 / clock, to as f64 / clock)).collect(),
        };
        let sram = own.iter().filter(|buffer| buffer.memory == Memory::Sram);
        let sram = sram.map(|buffer| report(buffer, lives(buffer.used, &by_pc), 0)).collect();
        let dram = own.iter().enumerate().filter(|(_, buffer)| buffer.memory == Memory::Dram);
        let dram = dram.map(|(index, buffer)| report(buffer, moves.intervals(index), moves.bytes[index])).collect();
        MemoryReport {
            dram: map(chip.dram_bytes(), regions(run), dram),
            sram: map(chip.sram_bytes(), Vec::new(), sram),
        }
    }
}

fn kind_name(kind: BufferKind) -> &'static str {
    match kind {
        BufferKind::Weight => "weight",
        BufferKind::Constant => "constant",
        BufferKind::State => "state",
        BufferKind::Input => "input",
        BufferKind::Output => "output",
        BufferKind::Scratch => "scratch",
    }
}

fn map(capacity_bytes: u64, regions: Vec<RegionReport>, mut buffers: Vec<BufferReport>) -> MemoryMap {
    buffers.sort_by(|a, b| (a.address, a.bytes, &a.name).cmp(&(b.address, b.bytes, &b.name)));
    let ends = regions.iter().map(|region| region.bytes);
    let highest = buffers.iter().map(|buffer| buffer.address + buffer.bytes).max().unwrap_or(0);
    let used_bytes = if regions.is_empty() { highest } else { ends.sum() };
    let peak_bytes = peak(&buffers);
    MemoryMap { capacity_bytes, used_bytes, peak_bytes, regions, buffers }
}

/// The most bytes of buffers whose intervals meet.
fn peak(buffers: &[BufferReport]) -> u64 {
    let mut events: Vec<(f64, i64)> = Vec::new();
    for buffer in buffers {
        for (from, to) in &buffer.intervals {
            events.extend([(*from, buffer.bytes as i64), (*to, -(buffer.bytes as i64))]);
        }
    }
    // What ends makes room for what begins at the same time.
    events.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let (mut now, mut most) = (0i64, 0i64);
    for (_, change) in events {
        now += change;
        most = most.max(now);
    }
    most as u64
}

/// The buffers of the entry that ran: those whose instructions lie in its code.
fn own_buffers<'a>(run: &Observation<'a>) -> impl Iterator<Item = &'a BufferInfo> {
    let first = run.entry.pc;
    let next = run.image.metadata().entries.iter().map(|entry| entry.pc).filter(|pc| *pc > first).min();
    let next = next.unwrap_or(u32::MAX);
    run.image.debug_info().buffers.iter().filter(move |buffer| (first..next).contains(&buffer.used.0))
}

fn regions(run: &Observation<'_>) -> Vec<RegionReport> {
    let regions = run.image.metadata().regions.iter();
    let dram = regions.filter(|region| region.memory == Memory::Dram && region.bytes > 0);
    let mut found: Vec<RegionReport> = dram
        .map(|region| RegionReport {
            name: match region.kind {
                RegionKind::Weights => "weights and constants".to_string(),
                _ => region.name.clone(),
            },
            kind: region_kind(region.kind).to_string(),
            address: region.address,
            bytes: region.bytes,
        })
        .collect();
    found.sort_by_key(|region| region.address);
    found
}

fn region_kind(kind: RegionKind) -> &'static str {
    match kind {
        RegionKind::Code => "code",
        RegionKind::Descriptors => "descriptors",
        RegionKind::Weights => "weights",
        RegionKind::Io => "io",
        RegionKind::State => "state",
        RegionKind::Scratch => "scratch",
    }
}

type Intervals = Vec<(Picoseconds, Picoseconds)>;

/// For each instruction, when it ran, in the order of time.
fn times_by_pc(spans: &[Span]) -> BTreeMap<u32, Intervals> {
    let mut found: BTreeMap<u32, Intervals> = BTreeMap::new();
    spans.iter().for_each(|span| found.entry(span.pc).or_default().push((span.start, span.end)));
    found
}

/// A life begins each time the first instruction runs, and ends with the last run of the last one before that.
fn lives(used: (u32, u32), by_pc: &BTreeMap<u32, Intervals>) -> Intervals {
    // Scalar instructions have no time of their own; the next instruction of an engine stands for them.
    let runs = |pc: Option<u32>| pc.and_then(|pc| by_pc.get(&pc)).map_or(&[][..], Vec::as_slice);
    let inside = || by_pc.range(used.0..=used.1).map(|(pc, _)| *pc);
    let (firsts, lasts) = (runs(inside().next()), runs(inside().next_back()));
    let life = |(index, (start, end)): (usize, &(Picoseconds, Picoseconds))| {
        let next = firsts.get(index + 1).map_or(Picoseconds::MAX, |next| next.0);
        let own = &lasts[lasts.partition_point(|last| last.0 < *start)..lasts.partition_point(|last| last.0 < next)];
        (*start, own.iter().map(|last| last.1).fold(*end, Picoseconds::max))
    };
    merged(firsts.iter().enumerate().map(life).collect())
}

/// Intervals that meet become one.
fn merged(mut list: Intervals) -> Intervals {
    list.sort_unstable();
    let mut merged: Intervals = Vec::new();
    for (from, to) in list {
        match merged.last_mut() {
            Some(last) if last.1 >= from => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}

/// Which instructions moved bytes of which buffers of LPDDR.
struct Moved {
    intervals: Vec<Intervals>,
    bytes: Vec<u64>,
}

impl Moved {
    fn new(run: &Observation<'_>, buffers: &[&BufferInfo], places: &Places) -> Moved {
        let in_dram = buffers.iter().enumerate().filter(|(_, buffer)| buffer.memory == Memory::Dram);
        let mut by_address: Vec<(u64, usize)> = in_dram.map(|(index, buffer)| (buffer.address, index)).collect();
        by_address.sort_unstable();
        let mut moved = Moved { intervals: vec![Vec::new(); buffers.len()], bytes: vec![0; buffers.len()] };
        let spans = spans_by_engine(run);
        for one in &run.moves.list {
            let index = spans[usize::from(one.agent)].get(one.ordinal as usize).copied();
            let Some(index) = index else { continue };
            let span = &run.timing.spans[index];
            let time = (span.end - places.own[index], span.end);
            moved.range(buffers, &by_address, span.pc, time, (one.start, one.start + one.bytes));
        }
        moved
    }

    fn range(
        &mut self,
        buffers: &[&BufferInfo],
        by_address: &[(u64, usize)],
        pc: u32,
        time: (Picoseconds, Picoseconds),
        (start, end): (u64, u64),
    ) {
        let before = by_address.partition_point(|(address, _)| *address < end);
        for (_, index) in by_address[..before].iter().rev() {
            let buffer = buffers[*index];
            let bytes = end.min(buffer.address + buffer.bytes).saturating_sub(start.max(buffer.address));
            if bytes > 0 && (buffer.used.0..=buffer.used.1).contains(&pc) {
                self.bytes[*index] += bytes;
                self.intervals[*index].push(time);
            }
            // Only scratch shares its place with other buffers.
            if buffer.address <= start && buffer.kind != BufferKind::Scratch {
                break;
            }
        }
    }

    fn intervals(&self, index: usize) -> Intervals {
        merged(self.intervals[index].clone())
    }
}

/// The spans of each engine in the order in which they start, as indices.
fn spans_by_engine(run: &Observation<'_>) -> [Vec<usize>; crate::checker::AGENTS] {
    let mut found: [Vec<usize>; crate::checker::AGENTS] = Default::default();
    run.timing.spans.iter().enumerate().for_each(|(index, span)| found[usize::from(span.agent)].push(index));
    found
}
