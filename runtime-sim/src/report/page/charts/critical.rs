//! The critical path: what the run would have to do faster to be shorter.

use super::super::markup::Element;
use super::super::palette::{cause, engine};
use super::super::section::{Section, figure, note};
use super::super::table::{Cell, Column, table};
use super::stack::{Part, Row, stack};
use crate::report::units::{count, percent, words};
use crate::report::{CriticalShare, Report};

/// Reasons that the table shows; the JSON has all.
const SHOWN: usize = 8;

/// The section.
pub fn section(report: &Report) -> Section {
    let shares = &report.critical_path.shares;
    let lead = match shares.first() {
        Some(most) => format!(
            "From the first fetch to the end without a gap, each stretch charged to what the run was waiting for: {} of it is {}.",
            percent(most.share),
            text(most),
        ),
        None => "What determined the length of the run.".to_string(),
    };
    let section = Section::new("critical-path", "Critical path", lead);
    if shares.is_empty() {
        return section.with(note("The timing of this run did not record it."));
    }
    let part = |share: &CriticalShare| Part {
        name: text(share),
        class: if share.what == "busy" { engine(&share.engine) } else { cause(&share.what) },
        share: share.share,
        tip: format!("{}: {} ({} cycles)", text(share), percent(share.share), count(share.cycles as i64)),
    };
    let row = Row { name: "run".to_string(), value: String::new(), parts: shares.iter().map(part).collect() };
    section.with(figure("", stack(&[row], "critical path"))).with(numbers(report))
}

/// A reason in words.
pub fn text(share: &CriticalShare) -> String {
    match share.what.as_str() {
        "busy" => format!("{} working", share.engine.to_uppercase()),
        what => format!("{}: {}", share.engine.to_uppercase(), words(what)),
    }
}

/// The greatest shares, and the sum of the others.
fn numbers(report: &Report) -> Element {
    let shares = &report.critical_path.shares;
    let (shown, rest) = shares.split_at(shares.len().min(SHOWN));
    let row = |what: String, cycles: f64, share: f64| -> Vec<Cell> {
        vec![
            what.into(),
            Cell::Bar(share / shares[0].share.max(1e-12), "k-time".to_string()),
            count(cycles.round() as i64).into(),
            percent(share).into(),
        ]
    };
    let others = (!rest.is_empty()).then(|| {
        let sum = |value: &dyn Fn(&CriticalShare) -> f64| rest.iter().map(value).sum::<f64>();
        row(format!("{} others", rest.len()), sum(&|share| share.cycles), sum(&|share| share.share))
    });
    let rows = shown.iter().map(|share| row(text(share), share.cycles, share.share)).chain(others);
    table(&[(Column::Text, "what"), (Column::Bar, ""), (Column::Number, "cycles"), (Column::Number, "share")], rows)
}
