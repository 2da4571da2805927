//! Where the time goes: one bar per engine, busy and every cause of stalls.

use std::collections::BTreeSet;

use super::super::markup::Element;
use super::super::palette::{cause, legend};
use super::super::section::{Section, figure};
use super::super::table::{Cell, Column, folded, table};
use super::stack::{Part, Row, stack};
use crate::report::units::{count, percent, words};
use crate::report::{EngineReport, Report};
use crate::timing::Cause;

/// The section.
pub fn section(report: &Report) -> Section {
    let lead = "Every cycle of every engine is either work or a stall with a named cause; each bar is the whole time.";
    let rows: Vec<Row> = report.engines.iter().map(|engine| row(report, engine)).collect();
    Section::new("engines", "Where the time goes", lead)
        .with(figure("", stack(&rows, "busy and stalled time of each engine")))
        .with(legend(entries(report)))
        .with(folded("Cycles", numbers(report)))
}

/// The causes that occur, in the order of the table of causes.
fn causes(report: &Report) -> Vec<Cause> {
    let found: BTreeSet<Cause> = report
        .engines
        .iter()
        .flat_map(|engine| engine.stall.iter().filter(|(_, cycles)| **cycles > 0.0).map(|(cause, _)| *cause))
        .collect();
    // Idle last: it is what is left.
    let mut causes: Vec<Cause> = found.into_iter().collect();
    causes.sort_by_key(|cause| *cause == Cause::Idle);
    causes
}

fn entries(report: &Report) -> Vec<(String, String)> {
    let busy = [("busy".to_string(), "busy".to_string())];
    let stalls = causes(report).into_iter().map(|one| (one.name().to_string(), words(one.name())));
    busy.into_iter().chain(stalls).map(|(name, text)| (cause(&name), text)).collect()
}

fn row(report: &Report, engine: &EngineReport) -> Row {
    let share = |cycles: f64| cycles / report.cycles.max(1) as f64;
    let part = |name: &str, cycles: f64| Part {
        name: words(name),
        class: cause(name),
        share: share(cycles),
        tip: format!("{} {}: {} ({} cycles)", engine.name, words(name), percent(share(cycles)), count(cycles as i64)),
    };
    let stalls = causes(report).into_iter().filter_map(|cause| {
        engine.stall.get(&cause).filter(|cycles| **cycles > 0.0).map(|cycles| part(cause.name(), *cycles))
    });
    Row {
        name: engine.name.to_uppercase(),
        value: percent(share(engine.busy)),
        parts: std::iter::once(part("busy", engine.busy)).chain(stalls).collect(),
    }
}

fn numbers(report: &Report) -> Element {
    let names: Vec<String> = causes(report).iter().map(|cause| words(cause.name())).collect();
    let mut columns = vec![(Column::Text, "engine"), (Column::Number, "busy")];
    columns.extend(names.iter().map(|name| (Column::Number, name.as_str())));
    let cycles = |value: f64| Cell::from(if value > 0.0 { count(value.round() as i64) } else { "·".to_string() });
    let rows = report.engines.iter().map(|engine| {
        let stalls = causes(report).into_iter().map(|cause| cycles(engine.stall.get(&cause).copied().unwrap_or(0.0)));
        [engine.name.to_uppercase().into(), cycles(engine.busy)].into_iter().chain(stalls).collect()
    });
    table(&columns, rows)
}
