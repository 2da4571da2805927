//! What all charts over time share: their units, their axis, the frame in which the script zooms them together.
//!
//! In: the length of the run. Out: elements. Always: without the script the whole run is shown, with its axis.

use super::super::markup::{Element, element};
use super::super::scale::Scale;
use super::axis;
use crate::report::Report;
use crate::report::units::tick;

/// Width of a window in its own units, whatever the length of the run: browsers compute in single precision.
pub const UNITS: f64 = 100_000.0;

/// Ticks of the whole run; the script replaces them when it zooms.
pub fn time_axis(report: &Report, y: f64) -> Vec<Element> {
    let scale = Scale::from_zero(report.seconds);
    let ticks = element("g")
        .class("time-axis")
        .at("data-y", y)
        .children(axis::horizontal(&scale, y, 6, &|value| tick(value, "s")));
    vec![super::super::svg::line((0.0, y), (1.0, y)).class("axis-line"), ticks]
}

/// A chart that the script zooms, with its buttons.
pub fn zoomable(report: &Report, figure: Element) -> Element {
    let button = |action: &str, text: &str, title: &str| {
        element("button").set("type", "button").set("data-zoom", action).set("title", title).text(text)
    };
    element("div")
        .class("zoomable")
        .set("data-seconds", format_args!("{:e}", report.seconds))
        .child(
            element("div")
                .class("buttons")
                .child(button("in", "+", "zoom in"))
                .child(button("out", "−", "zoom out"))
                .child(button("all", "all", "show the whole run")),
        )
        .child(figure)
}
