//! What the numbers rest on: assumptions, what is not modelled, fingerprints.

use super::super::markup::{Element, element};
use super::super::section::{Section, heading};
use crate::report::Report;

/// The section.
pub fn section(report: &Report) -> Section {
    let lead = "Cycles and joules are a model, not measurements of silicon. This is what they rest on.";
    let list = |sentences: &[String]| {
        element("ul").class("assumptions").children(sentences.iter().map(|text| element("li").text(text)))
    };
    Section::new("foundations", "Assumptions and limits", lead)
        .with(heading("Assumed"))
        .with(list(&report.assumptions))
        .with(heading("Not modelled"))
        .with(list(&report.not_modelled))
        .with(heading("Fingerprints"))
        .with(hashes(report))
}

fn hashes(report: &Report) -> Element {
    let row = |name: &str, hash: &str| [element("dt").text(name), element("dd").text(hash)];
    let rows = [row("chip sheet", &report.chip_hash), row("events", &report.event_hash)];
    element("dl").class("hashes").children(rows.into_iter().flatten())
}
