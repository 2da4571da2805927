//! Costs by node of the model: the dearest ones.

use super::super::markup::Element;
use super::super::section::Section;
use super::super::table::{Cell, Column, table};
use crate::report::units::{bytes, percent, si};
use crate::report::{Alike, Cost, Report, alike};

/// Nodes that the table shows; the JSON has all.
const SHOWN: usize = 20;

/// The section.
pub fn section(report: &Report) -> Section {
    let lead = format!(
        "The nodes of the model that the run spends its time on, {} in all. Time is a node's share of the critical path; \
         what is hidden behind other work costs nothing. Nodes of alike layers, which the same instructions implement, are one row; \
         the JSON has each.",
        report.nodes.len(),
    );
    Section::new("nodes", "The dearest nodes", lead).with(numbers(report))
}

fn numbers(report: &Report) -> Element {
    let columns = [
        (Column::Text, "node"),
        (Column::ExtraText, "operator"),
        (Column::Bar, ""),
        (Column::Number, "time"),
        (Column::Number, "read"),
        (Column::Extra, "written"),
        (Column::Extra, "rate"),
        (Column::Extra, "arithmetic"),
        (Column::Number, "energy"),
    ];
    let all = alike(&report.nodes);
    let most = all.first().map_or(1.0, |one| one.cost.share).max(1e-12);
    let (shown, rest) = all.split_at(all.iter().take(SHOWN).take_while(|one| one.cost.share > 0.0).count());
    let shown = shown.iter().map(|one| row(report, one, most));
    let others = (!rest.is_empty()).then(|| row(report, &sum(rest), most));
    table(&columns, shown.chain(others))
}

fn sum(rest: &[Alike]) -> Alike {
    let nodes: usize = rest.iter().map(|one| one.nodes).sum();
    let first = Cost { name: format!("{nodes} others"), ..Cost::default() };
    let cost = rest.iter().map(|one| &one.cost).fold(first, |sum, cost| Cost {
        cycles: sum.cycles + cost.cycles,
        share: sum.share + cost.share,
        bytes_read: sum.bytes_read + cost.bytes_read,
        bytes_written: sum.bytes_written + cost.bytes_written,
        joules: sum.joules + cost.joules,
        ..sum
    });
    Alike { cost, nodes: 1 }
}

fn row(report: &Report, Alike { cost: node, nodes }: &Alike, most: f64) -> Vec<Cell> {
    let times = if *nodes > 1 { format!(" × {nodes}") } else { String::new() };
    let fused = node.fused.filter(|fused| *fused > 0).map(|fused| format!(" +{fused} fused")).unwrap_or_default();
    let seconds = node.occupied_cycles * report.seconds / report.cycles.max(1) as f64;
    let per_second = |amount: f64, unit: &str| match seconds > 0.0 && amount > 0.0 {
        true => si(amount / seconds, unit),
        false => "·".to_string(),
    };
    let size = |value: u64| if value > 0 { bytes(value) } else { "·".to_string() };
    vec![
        Cell::Small(node.name.clone(), times + &fused),
        node.operator.as_deref().unwrap_or_default().into(),
        Cell::Bar(node.share / most, "k-time".to_string()),
        percent(node.share).into(),
        size(node.bytes_read).into(),
        size(node.bytes_written).into(),
        per_second((node.bytes_read + node.bytes_written) as f64, "B/s").into(),
        per_second(node.operations as f64, "op/s").into(),
        si(node.joules, "J").into(),
    ]
}
