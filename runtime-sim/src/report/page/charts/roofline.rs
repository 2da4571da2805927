//! The roofline: operations per second over operations per byte.

use super::super::markup::{Element, element};
use super::super::palette::legend;
use super::super::scale::Scale;
use super::super::section::{Section, figure};
use super::super::svg::{chart, label, line};
use super::axis;
use crate::report::units::{bytes, count, percent, si, tick};
use crate::report::{Ceiling, Point, Report};

const TOP: f64 = 16.0;
const BOTTOM: f64 = 380.0;

/// The plane of the chart.
struct Plane {
    x: Scale,
    y: Scale,
}

impl Plane {
    fn at(&self, intensity: f64, rate: f64) -> (f64, f64) {
        (self.x.position(intensity), BOTTOM - (BOTTOM - TOP) * self.y.position(rate))
    }
}

fn intensity(point: &Point) -> f64 {
    point.operations as f64 / point.bytes.max(1) as f64
}

fn rate(point: &Point) -> f64 {
    point.operations as f64 / point.seconds.max(1e-15)
}

/// The section.
pub fn section(report: &Report) -> Section {
    let roofline = &report.roofline;
    let by = match roofline.bound_by.as_str() {
        "LPDDR" => "the bytes that it moves over LPDDR".to_string(),
        engine => format!("the work of {}", engine.to_uppercase()),
    };
    let lead = format!(
        "No schedule could do this in less than {}, which follows from {by}; the run took {}, so it reaches {} of its roof.",
        si(roofline.bound_seconds, "s"),
        si(report.seconds, "s"),
        percent(roofline.reached),
    );
    let section = Section::new("roofline", "Roofline", lead);
    match plane(report) {
        Some(plane) => section
            .with(figure(
                "Each circle is a node of the model, as large as the time in which its engine worked on it; \
                 the diamond is the whole run. Rates count that time only, so that overlap does not flatter them.",
                draw(report, &plane),
            ))
            .with(legend([
                ("k-memory-roof".to_string(), format!("LPDDR, {}", si(roofline.bytes_per_s, "B/s"))),
                ("k-compute-roof".to_string(), "arithmetic".to_string()),
                ("k-node".to_string(), "node".to_string()),
                ("k-run".to_string(), "whole run".to_string()),
            ])),
        None => section.with(super::super::section::note("The run did no arithmetic, or moved no bytes.")),
    }
}

fn plane(report: &Report) -> Option<Plane> {
    let roofline = &report.roofline;
    let points = || roofline.points.iter().filter(|point| point.operations > 0);
    let ridges = roofline.ceilings.iter().map(|ceiling| ceiling.operations_per_s / roofline.bytes_per_s);
    points().next()?;
    let x = Scale::log_around(points().map(intensity).chain(ridges.map(|ridge| 3.0 * ridge)))?;
    let tops = roofline.ceilings.iter().map(|ceiling| ceiling.operations_per_s);
    let y = Scale::log_around(points().map(rate).chain(tops))?;
    Some(Plane { x, y })
}

fn draw(report: &Report, plane: &Plane) -> Element {
    let roofline = &report.roofline;
    let rates = axis::vertical(&plane.y, (TOP, BOTTOM), 6, &|value| tick(value, "op/s"));
    let intensities = axis::horizontal(&plane.x, BOTTOM, 7, &plain);
    let title = label(0.5, BOTTOM + 38.0, "operations per byte of LPDDR traffic").class("axis title");
    let longest = roofline.points.iter().skip(1).map(|point| point.seconds).fold(0.0, f64::max);
    chart(BOTTOM + 44.0, "roofline: operations per second over operations per byte")
        .class("chart roofline")
        .children(rates)
        .children(intensities)
        .child(title)
        .children(memory_roof(report, plane))
        .children(ceilings(report, plane))
        .children(roofline.points.iter().skip(1).map(|point| circle(plane, point, longest)))
        .children(roofline.points.first().filter(|point| point.operations > 0).map(|point| diamond(plane, point)))
}

fn plain(value: f64) -> String {
    if value >= 1.0 { count(value as i64) } else { format!("{value}") }
}

/// The slope of the memory, as far as it stays inside of the plane.
fn memory_roof(report: &Report, plane: &Plane) -> Vec<Element> {
    let bandwidth = report.roofline.bytes_per_s;
    let ((left, right), (low, high)) = (plane.x.range(), plane.y.range());
    let (from, to) = ((low / bandwidth).max(left), (high / bandwidth).min(right));
    vec![line(plane.at(from, from * bandwidth), plane.at(to, to * bandwidth)).class("memory-roof")]
}

/// Flat roofs from the ridge to the right; roofs of equal height share a label.
fn ceilings(report: &Report, plane: &Plane) -> Vec<Element> {
    let mut sorted: Vec<&Ceiling> = report.roofline.ceilings.iter().collect();
    sorted.sort_by(|a, b| a.operations_per_s.total_cmp(&b.operations_per_s).then(a.name.cmp(&b.name)));
    let groups = sorted.chunk_by(|a, b| b.operations_per_s < 1.05 * a.operations_per_s);
    let mut found = Vec::new();
    let mut free = f64::INFINITY;
    for group in groups {
        let rate = group[0].operations_per_s;
        let (x, y) = plane.at(rate / report.roofline.bytes_per_s, rate);
        found.push(line((x, y), (1.0, y)).class("compute-roof"));
        let names: Vec<&str> = group.iter().map(|ceiling| ceiling.name.as_str()).collect();
        // Roofs go up, so labels do: one that would touch the one below moves further up.
        let at = (y - 5.0).min(free);
        free = at - 14.0;
        let text = format!("{} · {}", names.join(", "), si(rate, "op/s"));
        found.push(label(1.0, at, &text).class("roof-name"));
    }
    found
}

fn tip(point: &Point) -> String {
    let operator = if point.operator.is_empty() { String::new() } else { format!(" ({})", point.operator) };
    format!(
        "{}{operator}\n{} operations, {}, {}\n{} at {:.2} op/B",
        point.name,
        si(point.operations as f64, "").trim_end(),
        bytes(point.bytes),
        si(point.seconds, "s"),
        si(rate(point), "op/s"),
        intensity(point),
    )
}

fn circle(plane: &Plane, point: &Point, longest: f64) -> Element {
    let (x, y) = plane.at(intensity(point), rate(point));
    let radius = 3.0 + 6.0 * (point.seconds / longest.max(1e-15)).sqrt();
    element("circle").percent("cx", x).at("cy", y).at("r", radius).class("k-node").tip(&tip(point))
}

fn diamond(plane: &Plane, point: &Point) -> Element {
    let (x, y) = plane.at(intensity(point), rate(point));
    let shape = element("path").set("d", "M0-9 9 0 0 9-9 0Z").class("k-run").tip(&tip(point));
    element("svg")
        .percent("x", x)
        .at("y", y)
        .set("overflow", "visible")
        .set("width", "1")
        .set("height", "1")
        .child(shape)
}
