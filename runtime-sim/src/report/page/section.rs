//! A section of the page: a heading, a sentence that says what to see, a body.
//!
//! In: text and elements. Out: markup. Always: a section that has nothing to show says so in words instead of drawing an empty chart.

use super::markup::{Element, element};

/// A section.
pub struct Section {
    /// For links.
    pub id: &'static str,
    /// Heading.
    pub title: &'static str,
    /// What to see, in a sentence or two.
    pub lead: String,
    /// Charts and tables.
    pub body: Vec<Element>,
}

impl Section {
    /// A section.
    pub fn new(id: &'static str, title: &'static str, lead: impl Into<String>) -> Section {
        Section { id, title, lead: lead.into(), body: Vec::new() }
    }

    /// With a chart or table.
    pub fn with(mut self, element: Element) -> Section {
        self.body.push(element);
        self
    }

    /// The body as markup.
    pub fn markup(&self) -> String {
        self.body.iter().map(ToString::to_string).collect()
    }
}

/// A chart with room for the labels at its left, and a caption.
pub fn figure(caption: &str, chart: Element) -> Element {
    let plot = element("div").class("plot").child(chart);
    let figure = element("figure").child(plot);
    if caption.is_empty() { figure } else { figure.child(element("figcaption").text(caption)) }
}

/// A heading inside of a section.
pub fn heading(text: &str) -> Element {
    element("h3").text(text)
}

/// A paragraph.
pub fn note(text: &str) -> Element {
    element("p").class("note").text(text)
}
