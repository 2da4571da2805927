//! The report as one page for a browser: inline SVG, light and dark, no network.
//!
//! In: a [`Report`]. Out: HTML that is well-formed XML, too. Always: the page needs nothing but itself; without its script everything
//! is shown (the script zooms, and shows tooltips of instructions); every number follows from the report; a page of a long run stays
//! small, because what it draws is bounded.

mod charts;
mod markup;
mod palette;
mod scale;
mod section;
mod svg;
mod table;

use askama::Template;

use self::section::Section;
use super::Report;
use super::units::{count, plural};

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    title: String,
    subtitle: String,
    report: &'a Report,
    sections: Vec<Section>,
    style: &'static str,
    script: &'static str,
    instructions: String,
}

/// The page of a report.
pub fn page(report: &Report) -> String {
    let page = Page {
        title: if report.model.is_empty() { "model without a name".to_string() } else { report.model.clone() },
        subtitle: subtitle(report),
        report,
        sections: sections(report),
        style: include_str!("page.css"),
        script: include_str!("page.js"),
        instructions: instructions(report),
    };
    page.render().unwrap_or_else(|error| unreachable!("the template is complete: {error}"))
}

/// The sections in reading order: what, why, where, then details.
fn sections(report: &Report) -> Vec<Section> {
    let always =
        [charts::summary::section(report), charts::engines::section(report), charts::critical::section(report)];
    let details = [
        charts::timeline::section(report),
        charts::layers::section(report),
        charts::nodes::section(report),
        charts::energy::section(report),
        charts::roofline::section(report),
        charts::memory::section(report),
        charts::channels::section(report),
        charts::formats::section(report),
    ];
    let asked = [charts::generation::section(report), charts::baseline::section(report)].into_iter().flatten();
    always.into_iter().chain(asked).chain(details).chain([charts::foundations::section(report)]).collect()
}

fn subtitle(report: &Report) -> String {
    let what = match (report.past, report.tokens) {
        (Some(past), 1) => format!("one token after {}", count(past as i64)),
        (Some(past), tokens) => format!("{} after {}", plural(tokens, "token"), count(past as i64)),
        (None, 1) => "one call".to_string(),
        (None, tokens) => format!("one call of {}", plural(tokens, "token")),
    };
    let lengths: Vec<String> = report.lengths.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let lengths = if lengths.is_empty() { String::new() } else { format!(" ({})", lengths.join(", ")) };
    format!("{what} of entry {}{lengths}", report.entry)
}

/// The texts of instructions for tooltips, as JSON that cannot end the script element.
fn instructions(report: &Report) -> String {
    let texts: Vec<[&str; 3]> =
        report.timeline.instructions.iter().map(|one| [&*one.text, &*one.node, &*one.layer]).collect();
    let json = serde_json::to_string(&texts).unwrap_or_else(|error| unreachable!("texts are JSON: {error}"));
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}
