//! The timeline: engines as tracks, bandwidth above them; one part of the run at a time, chosen with the mouse.

use super::super::markup::{Element, element};
use super::super::palette::{cause, engine, legend};
use super::super::scale::Scale;
use super::super::section::{Section, figure};
use super::super::svg::{chart, gutter, line, stretched};
use super::axis;
use super::time::{UNITS, time_axis, zoomable};
use crate::report::units::{count, percent, tick, words};
use crate::report::{CriticalSlice, Report, Slice, Track};

const BANDWIDTH: (f64, f64) = (6.0, 76.0);
const LAYERS: f64 = 88.0;
const CRITICAL: f64 = 108.0;
const TRACKS: f64 = 130.0;
const PITCH: f64 = 28.0;

/// The section.
pub fn section(report: &Report) -> Section {
    let timeline = &report.timeline;
    let merged = match timeline.merged {
        true => {
            " There are more instructions than fit; neighbours are drawn as one, and the JSON trace (--trace) has them all."
        }
        false => "",
    };
    let lead = format!(
        "What each engine did when. Point at an instruction to see it, drag to move, hold Ctrl and turn the wheel to zoom.{merged}"
    );
    let engines = timeline.tracks.iter().map(|track| (engine(&track.engine), track.engine.to_uppercase()));
    let traffic = [("k-read", "LPDDR reads"), ("k-write", "LPDDR writes")].map(|(c, n)| (c.to_string(), n.to_string()));
    Section::new("timeline", "Timeline", lead)
        .with(zoomable(report, figure("", draw(report))))
        .with(legend(traffic.into_iter().chain(engines)))
}

fn draw(report: &Report) -> Element {
    let tracks = &report.timeline.tracks;
    let bottom = TRACKS + PITCH * tracks.len() as f64;
    let names = tracks
        .iter()
        .enumerate()
        .map(|(index, track)| gutter(TRACKS + PITCH * index as f64 + 16.0, &track.engine.to_uppercase()));
    let slices = tracks.iter().enumerate().flat_map(|(index, track)| slices(report, track, PITCH * index as f64));
    chart(bottom + 26.0, "engines over time")
        .class("chart timeline")
        .children(bandwidth_axis(report))
        .child(gutter(LAYERS + 11.0, "layer"))
        .children(names)
        .child(window(BANDWIDTH.0, BANDWIDTH.1 - BANDWIDTH.0).children(traffic(report)))
        .child(window(LAYERS, 14.0).children(layers(report)))
        .child(gutter(CRITICAL + 11.0, "critical"))
        .child(window(CRITICAL, 14.0).children(critical(report)))
        .child(window(TRACKS, bottom - TRACKS).children(slices))
        .children(time_axis(report, bottom))
}

/// A drawing that zooms.
fn window(y: f64, height: f64) -> Element {
    stretched(y, height, (UNITS, height)).class("window")
}

/// Cycles to units of a window.
fn at(report: &Report, cycles: f64) -> f64 {
    (UNITS * cycles / report.cycles.max(1) as f64).clamp(0.0, UNITS)
}

fn bandwidth_scale(report: &Report) -> Scale {
    Scale::from_zero(1.02 * report.roofline.bytes_per_s)
}

fn bandwidth_axis(report: &Report) -> Vec<Element> {
    let scale = bandwidth_scale(report);
    let peak = BANDWIDTH.1 - (BANDWIDTH.1 - BANDWIDTH.0) * scale.position(report.roofline.bytes_per_s);
    let mut found = axis::vertical(&scale, BANDWIDTH, 2, &|value| tick(value, "B/s"));
    found.push(line((0.0, peak), (1.0, peak)).class("peak").tip("greatest data rate of the LPDDR"));
    found
}

/// Reads as an area, writes on top of them.
fn traffic(report: &Report) -> Vec<Element> {
    let traffic = &report.timeline.traffic;
    let height = BANDWIDTH.1 - BANDWIDTH.0;
    let scale = bandwidth_scale(report);
    let area = |values: &dyn Fn(usize) -> f64, class: &str| {
        let mut path = format!("M0 {height:.1}");
        for index in 0..traffic.read.len() {
            let (from, to) = (index as f64 * traffic.window_cycles, (index + 1) as f64 * traffic.window_cycles);
            let y = height * (1.0 - scale.position(values(index)));
            path += &format!("L{:.0} {y:.1}H{:.0}", at(report, from), at(report, to));
        }
        path += &format!("V{height:.1}Z");
        element("path").set("d", path).class(class)
    };
    let both = |index: usize| traffic.read[index] + traffic.written[index];
    vec![area(&both, "k-write"), area(&|index| traffic.read[index], "k-read")]
}

/// Layers by the time at which they end.
fn layers(report: &Report) -> Vec<Element> {
    let mut start = 0.0;
    let draw = |(index, (cost, end)): (usize, (&crate::report::Cost, &f64))| {
        let from = at(report, start);
        start = *end;
        let class = if index % 2 == 0 { "layer even" } else { "layer odd" };
        let tip = format!(
            "{}, done at cycle {}\n{} of the critical path",
            cost.name,
            count(*end as i64),
            percent(cost.share)
        );
        let strip =
            element("rect").at("x", from).set("y", "0").at("width", at(report, *end) - from).set("height", "14");
        strip.class(class).set("data-tip", tip)
    };
    report.layers.iter().zip(&report.timeline.layer_ends).enumerate().map(draw).collect()
}

/// The critical path in the colours of engines at work and of causes.
fn critical(report: &Report) -> Vec<Element> {
    let draw = |slice: &CriticalSlice| {
        let busy = slice.what == "busy";
        let class = if busy { engine(&slice.engine) } else { cause(&slice.what) };
        let what = if busy { "at work".to_string() } else { words(&slice.what) };
        let tip = format!(
            "{}: {what}\ncycles {} … {}",
            slice.engine.to_uppercase(),
            count(slice.start as i64),
            count(slice.end as i64)
        );
        let (x, end) = (at(report, slice.start), at(report, slice.end));
        let strip = element("rect").at("x", x).set("y", "0").at("width", end - x).set("height", "14");
        strip.class(class).set("data-tip", tip)
    };
    report.timeline.critical.iter().map(draw).collect()
}

fn slices(report: &Report, track: &Track, y: f64) -> Vec<Element> {
    let class = engine(&track.engine);
    let draw = |(index, slice): (usize, &Slice)| {
        let x = at(report, slice.start);
        // Weight streams overlap: every second one is drawn a little lower, so that both ends can be seen.
        let shade = if index % 2 == 0 { "even" } else { "odd" };
        element("rect")
            .at("x", x)
            .at("y", y)
            .at("width", (at(report, slice.end) - x).max(UNITS / 20_000.0))
            .at("height", PITCH - 6.0)
            .class(format_args!("{class} {shade}"))
            .set("data-s", format_args!("{},{:.0},{:.0},{}", slice.instruction, slice.start, slice.end, slice.count))
    };
    track.slices.iter().enumerate().map(draw).collect()
}
