//! The pieces of charts.
//!
//! In: shares of the width, pixels of height. Out: elements. Always: charts are as wide as the page lets them be, while their text keeps
//! its size: horizontal positions are percents, vertical ones pixels. Where a shape needs more than rectangles and lines between
//! percents, a nested [`stretched`] drawing carries it.

use super::markup::{Element, element, number};

/// The outermost element of a chart: full width, `height` pixels, with a description for those who cannot see it.
pub fn chart(height: f64, description: &str) -> Element {
    element("svg").set("width", "100%").at("height", height).set("role", "img").set("aria-label", description)
}

/// A rectangle: horizontally in shares of the width, vertically in pixels.
pub fn bar(x: f64, y: f64, width: f64, height: f64) -> Element {
    element("rect").percent("x", x).at("y", y).percent("width", width.max(0.0)).at("height", height.max(0.0))
}

/// A line: horizontally in shares of the width, vertically in pixels.
pub fn line((x1, y1): (f64, f64), (x2, y2): (f64, f64)) -> Element {
    element("line").percent("x1", x1).at("y1", y1).percent("x2", x2).at("y2", y2)
}

/// Text at a share of the width.
pub fn label(x: f64, y: f64, text: &str) -> Element {
    element("text").percent("x", x).at("y", y).text(text)
}

/// Text left of the drawing area, in its gutter.
pub fn gutter(y: f64, text: &str) -> Element {
    element("text").at("x", -8.0).at("y", y).class("gutter").text(text)
}

/// A nested drawing whose own coordinates are stretched to the full width and to `height` pixels.
pub fn stretched(y: f64, height: f64, own: (f64, f64)) -> Element {
    element("svg")
        .set("x", "0")
        .at("y", y)
        .set("width", "100%")
        .at("height", height)
        .set("preserveAspectRatio", "none")
        .set("viewBox", format_args!("0 0 {} {}", number(own.0), number(own.1)))
}
