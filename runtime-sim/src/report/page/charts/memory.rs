//! The memory map: SRAM and LPDDR over time, regions and the largest buffers.

use super::super::markup::{Element, element};
use super::super::palette::{any, kind, legend};
use super::super::scale::Scale;
use super::super::section::{Section, figure, heading, note};
use super::super::svg::{bar, chart, stretched};
use super::super::table::{Cell, Column, folded, table};
use super::axis;
use super::time::{UNITS, time_axis, zoomable};
use crate::report::units::{bytes, count, percent};
use crate::report::{BufferReport, MemoryMap, Report};

const TOP: f64 = 8.0;
const BOTTOM: f64 = 228.0;
/// Buffers that the tables show; the JSON has all.
const SHOWN: usize = 25;
/// Kinds of buffers in the order of legends.
const KINDS: [&str; 6] = ["weight", "constant", "state", "input", "output", "scratch"];

/// The section.
pub fn section(report: &Report) -> Section {
    let (sram, dram) = (&report.memory.sram, &report.memory.dram);
    let part = |map: &MemoryMap| percent(map.used_bytes as f64 / map.capacity_bytes.max(1) as f64);
    let lead = format!(
        "{} of {} LPDDR are in use ({}), and {} of {} SRAM ({}). Buffers whose lives do not meet share their place.",
        bytes(dram.used_bytes),
        bytes(dram.capacity_bytes),
        part(dram),
        bytes(sram.used_bytes),
        bytes(sram.capacity_bytes),
        part(sram),
    );
    Section::new("memory", "Memory map", lead)
        .with(heading("SRAM over time"))
        .with(sram_map(report))
        .with(heading("LPDDR over time"))
        .with(dram_map(report))
        .with(heading("LPDDR by region"))
        .with(regions(dram))
        .with(folded("Largest buffers in SRAM", buffers(sram)))
        .with(folded("Largest buffers in LPDDR", buffers(dram)))
}

fn sram_map(report: &Report) -> Element {
    let map = &report.memory.sram;
    if map.buffers.is_empty() {
        return note(
            "The image does not say which buffers lie in SRAM (assembled by hand, or written by an older version).",
        );
    }
    let caption = format!(
        "A rectangle is a buffer: its bytes from bottom to top, its life from left to right. At most {} of buffers are alive at a time.",
        bytes(map.peak_bytes)
    );
    zoomable(report, figure(&caption, over_time(report, map, "SRAM", &|index, _| any(index))))
}

fn dram_map(report: &Report) -> Element {
    let map = &report.memory.dram;
    if map.buffers.iter().all(|buffer| buffer.intervals.is_empty()) {
        return note("No instruction of an engine moved bytes of a named buffer of LPDDR.");
    }
    let present = KINDS.iter().filter(|kind| map.buffers.iter().any(|buffer| buffer.kind == **kind));
    let names = present.map(|name| (kind(name), name.to_string()));
    let chart = figure("When bytes of each buffer were moved.", over_time(report, map, "LPDDR", &|_, b| kind(&b.kind)));
    element("div").child(zoomable(report, chart)).child(legend(names))
}

/// Addresses over time.
fn over_time(report: &Report, map: &MemoryMap, name: &str, class: &dyn Fn(usize, &BufferReport) -> String) -> Element {
    let highest = map.buffers.iter().map(|buffer| buffer.address + buffer.bytes).max().unwrap_or(1);
    let (scale, height) = (addresses(highest), BOTTOM - TOP);
    let draw = |(index, buffer): (usize, &BufferReport)| {
        let (low, high) =
            (scale.position(buffer.address as f64), scale.position((buffer.address + buffer.bytes) as f64));
        let (y, tall) = (height * (1.0 - high), (height * (high - low)).max(0.75));
        let (class, tip) = (class(index, buffer), tip(buffer));
        let rectangle = move |(from, to): &(f64, f64)| {
            let at = |cycles: f64| (UNITS * cycles / report.cycles.max(1) as f64).clamp(0.0, UNITS);
            element("rect")
                .at("x", at(*from))
                .at("y", y)
                .at("width", (at(*to) - at(*from)).max(UNITS / 5000.0))
                .at("height", tall)
                .class(&class)
                .set("data-tip", &tip)
        };
        buffer.intervals.iter().map(rectangle).collect::<Vec<_>>()
    };
    let rectangles = map.buffers.iter().enumerate().flat_map(draw);
    chart(BOTTOM + 26.0, &format!("{name} addresses over time"))
        .class("chart memory")
        .children(axis::vertical(&scale, (TOP, BOTTOM), 4, &|value| bytes(value as u64)))
        .child(stretched(TOP, height, (UNITS, height)).class("window").children(rectangles))
        .children(time_axis(report, BOTTOM))
}

/// From 0 to the highest byte, up to a power of two so that ticks are round in binary.
fn addresses(highest: u64) -> Scale {
    Scale::Binary(highest.max(1024) as f64)
}

fn tip(buffer: &BufferReport) -> String {
    let moved = if buffer.moved_bytes > 0 { format!("\n{} moved", bytes(buffer.moved_bytes)) } else { String::new() };
    format!("{}\n{} at {:#x}, {}{moved}", buffer.name, buffer.kind, buffer.address, bytes(buffer.bytes))
}

/// Regions as one bar, not to scale for the smallest ones, and their table.
fn regions(map: &MemoryMap) -> Element {
    let total = map.used_bytes.max(1) as f64;
    let mut x = 0.0;
    let mut bars = Vec::new();
    for region in &map.regions {
        let share = region.bytes as f64 / total;
        let tip = format!("{}: {}", region.name, bytes(region.bytes));
        bars.push(bar(x, 0.0, share, 26.0).class(kind(&region.kind)).tip(&tip));
        x += share;
    }
    let columns = [
        (Column::Text, "region"),
        (Column::Number, "first byte"),
        (Column::Number, "size"),
        (Column::Extra, "share of what is used"),
    ];
    let rows = map.regions.iter().map(|region| {
        vec![
            region.name.as_str().into(),
            format!("{:#x}", region.address).into(),
            bytes(region.bytes).into(),
            percent(region.bytes as f64 / total).into(),
        ]
    });
    element("div")
        .child(figure("", chart(30.0, "regions of LPDDR").class("chart").children(bars)))
        .child(legend(map.regions.iter().map(|region| (kind(&region.kind), region.name.clone()))))
        .child(table(&columns, rows))
}

fn buffers(map: &MemoryMap) -> Element {
    let columns = [
        (Column::Text, "buffer"),
        (Column::Text, "kind"),
        (Column::Number, "first byte"),
        (Column::Number, "size"),
        (Column::Extra, "moved"),
        (Column::Number, "lives"),
    ];
    let mut sorted: Vec<&BufferReport> = map.buffers.iter().collect();
    sorted.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.address.cmp(&b.address)));
    let rest = sorted.len().saturating_sub(SHOWN);
    let row = |buffer: &&BufferReport| -> Vec<Cell> {
        let moved = if buffer.moved_bytes > 0 { bytes(buffer.moved_bytes) } else { "·".to_string() };
        vec![
            buffer.name.as_str().into(),
            buffer.kind.as_str().into(),
            format!("{:#x}", buffer.address).into(),
            bytes(buffer.bytes).into(),
            moved.into(),
            count(buffer.intervals.len() as i64).into(),
        ]
    };
    let rows = sorted.iter().take(SHOWN).map(row);
    let more = (rest > 0).then(|| vec![Cell::from(format!("{rest} smaller ones"))]);
    table(&columns, rows.chain(more))
}
