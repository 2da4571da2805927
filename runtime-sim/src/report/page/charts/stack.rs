//! Stacked horizontal bars: what a whole consists of.
//!
//! In: rows of parts, each a share of its row. Out: a chart. Always: parts follow each other without a gap; a part is labelled inside
//! where there is room for it, and by its tooltip anyway.

use super::super::markup::{Element, element};
use super::super::svg::{bar, chart, gutter};
use crate::report::units::percent;

/// A part of a bar.
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its class.
    pub class: String,
    /// Its share of the full width.
    pub share: f64,
    /// What its tooltip says.
    pub tip: String,
}

/// A bar.
pub struct Row {
    /// What stands left of it.
    pub name: String,
    /// What stands right of it.
    pub value: String,
    /// Its parts, from the left.
    pub parts: Vec<Part>,
}

const PITCH: f64 = 34.0;
const HEIGHT: f64 = 26.0;

/// Width of a letter, and of the drawing on wide and on narrow pages, in pixels: what decides whether a label has room.
const LETTER: f64 = 6.9;
const WIDE: f64 = 860.0;
const NARROW: f64 = 270.0;

/// Bars below each other.
pub fn stack(rows: &[Row], description: &str) -> Element {
    let height = PITCH * rows.len() as f64;
    let rows = rows.iter().enumerate().flat_map(|(index, row)| row_elements(row, PITCH * index as f64));
    chart(height, description).class("chart stack").children(rows)
}

fn row_elements(row: &Row, y: f64) -> Vec<Element> {
    let mut found = vec![gutter(y + 18.0, &row.name)];
    let mut x = 0.0;
    for part in &row.parts {
        found.push(bar(x, y, part.share, HEIGHT).class(&part.class).tip(&part.tip));
        found.extend(inside(part, x, y));
        x += part.share;
    }
    if !row.value.is_empty() {
        let value = element("text").set("x", "100%").set("dx", "8").at("y", y + 18.0).class("value");
        found.push(value.text(&row.value));
    }
    found
}

/// The longest label that has room in a part: name and share, or the share alone, or none.
fn inside(part: &Part, x: f64, y: f64) -> Option<Element> {
    let candidates = [format!("{} {}", part.name, percent(part.share)), percent(part.share)];
    let label = |width: f64, class: &str| {
        let fits = |text: &&String| LETTER * text.chars().count() as f64 + 14.0 <= part.share * width;
        let text = candidates.iter().find(fits)?;
        Some(element("text").set("x", "7").set("y", "18").class(class).text(text))
    };
    let labels: Vec<Element> = [label(WIDE, "wide"), label(NARROW, "narrow")].into_iter().flatten().collect();
    let frame = element("svg")
        .percent("x", x)
        .at("y", y)
        .percent("width", part.share)
        .at("height", HEIGHT)
        .class(format_args!("inside on-{}", part.class));
    (!labels.is_empty()).then(|| frame.children(labels))
}
