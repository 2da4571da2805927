//! Where the energy goes: parts of the chip, classes of the memory, each with its band.

use super::super::markup::Element;
use super::super::palette::{kind, legend};
use super::super::section::{Section, figure};
use super::super::table::{Cell, Column, table};
use super::stack::{Part, Row, stack};
use crate::energy::Joules;
use crate::report::Report;
use crate::report::units::{percent, si, words};

/// The parts of the chip with their names in words.
fn parts(report: &Report) -> [(&'static str, String, Joules); 6] {
    report.energy.parts.named().map(|(name, joules)| (name, words(name), joules))
}

/// The section.
pub fn section(report: &Report) -> Section {
    let total = report.energy.parts.total;
    let watts = |joules: f64| si(joules / report.seconds.max(1e-30), "W");
    let lead = format!(
        "{} in all ({} to {}), {} on average. The band follows from the bands of the constants in the chip sheet.",
        si(total.typical, "J"),
        si(total.low, "J"),
        si(total.high, "J"),
        watts(total.typical),
    );
    let [chip, memory] = rows(report);
    let (parts, classes) = entries(report);
    Section::new("energy", "Where the energy goes", lead)
        .with(figure("", stack(&[chip], "energy by part of the chip")))
        .with(legend(parts))
        .with(figure("", stack(&[memory], "energy of the memory by class")))
        .with(legend(classes))
        .with(numbers(report))
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn rows(report: &Report) -> [Row; 2] {
    let total = report.energy.parts.total.typical;
    let part = |name: &str, text: &str, joules: f64, whole: f64| Part {
        name: text.to_string(),
        class: kind(name),
        share: share(joules, whole),
        tip: format!("{text}: {} ({})", si(joules, "J"), percent(share(joules, whole))),
    };
    let chip = parts(report).iter().map(|(name, text, joules)| part(name, text, joules.typical, total)).collect();
    let memory = report.energy.parts.dram.typical;
    let classes = dram_classes(report)
        .into_iter()
        .map(|(name, joules)| part(&format!("dram-{name}"), &words(name), joules, memory));
    [
        Row { name: "chip".to_string(), value: String::new(), parts: chip },
        Row { name: "LPDDR".to_string(), value: String::new(), parts: classes.collect() },
    ]
}

/// Classes of the memory's energy, the greatest first.
fn dram_classes(report: &Report) -> Vec<(&'static str, f64)> {
    let classes = report.energy.dram_classes.iter().map(|class| (class.name, class.joules.typical));
    let mut classes: Vec<(&str, f64)> = classes.filter(|class| class.1 > 0.0).collect();
    classes.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    classes
}

type Legend = Vec<(String, String)>;

fn entries(report: &Report) -> (Legend, Legend) {
    let chip = parts(report).map(|(name, text, _)| (kind(name), text));
    let memory = dram_classes(report).into_iter().map(|(name, _)| (kind(&format!("dram-{name}")), words(name)));
    (chip.into(), memory.collect())
}

fn numbers(report: &Report) -> Element {
    let total = report.energy.parts.total;
    let per_unit = format!("per {}", report.unit);
    let columns = [
        (Column::Text, "part"),
        (Column::Number, "typical"),
        (Column::Extra, "low"),
        (Column::Extra, "high"),
        (Column::Number, "share"),
        (Column::Number, &*per_unit),
    ];
    let per_token = |joules: f64| si(joules / report.tokens.max(1) as f64, "J");
    let row = |text: &str, joules: &Joules| -> Vec<Cell> {
        vec![
            text.into(),
            si(joules.typical, "J").into(),
            si(joules.low, "J").into(),
            si(joules.high, "J").into(),
            percent(share(joules.typical, total.typical)).into(),
            per_token(joules.typical).into(),
        ]
    };
    let parts = parts(report);
    let rows = parts.iter().map(|(_, text, joules)| row(text, joules)).chain([row("total", &total)]);
    table(&columns, rows)
}
