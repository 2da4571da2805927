//! Axes of charts.
//!
//! In: a scale, the area of the drawing. Out: lines and labels. Always: labels carry their unit; horizontal ones stay inside of the
//! drawing's width at both ends.

use super::super::markup::Element;
use super::super::scale::Scale;
use super::super::svg::{gutter, label, line};

/// Grid lines with labels at the left, from `bottom` up to `top` (pixels).
pub fn vertical(scale: &Scale, (top, bottom): (f64, f64), wanted: usize, text: &dyn Fn(f64) -> String) -> Vec<Element> {
    let at = |value: f64| bottom - (bottom - top) * scale.position(value);
    let ticks = scale.ticks(wanted);
    let lines = ticks.iter().map(|tick| line((0.0, at(*tick)), (1.0, at(*tick))).class("grid"));
    let labels = ticks.iter().map(|tick| gutter(at(*tick) + 4.0, &text(*tick)));
    lines.chain(labels).collect()
}

/// Ticks with labels below `y` (pixels).
pub fn horizontal(scale: &Scale, y: f64, wanted: usize, text: &dyn Fn(f64) -> String) -> Vec<Element> {
    let tick = |value: f64| {
        let x = scale.position(value);
        [line((x, y), (x, y + 5.0)).class("tick"), label(x, y + 18.0, &text(value)).class(anchor(x))]
    };
    scale.ticks(wanted).into_iter().flat_map(tick).collect()
}

/// How a label at this share of the width is anchored, so that it stays inside.
pub fn anchor(x: f64) -> &'static str {
    match x {
        x if x < 0.04 => "axis from",
        x if x > 0.96 => "axis to",
        _ => "axis",
    }
}
