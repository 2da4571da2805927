//! The comparison with a GPU: two ratios with their bands on one axis, and the numbers behind them.

use super::super::markup::{Element, element};
use super::super::scale::Scale;
use super::super::section::{Section, figure};
use super::super::svg::{chart, gutter, label, line};
use super::super::table::{Column, table};
use super::axis;
use crate::report::units::si;
use crate::report::{Band, BaselineReport, Report};

const ROW: f64 = 40.0;

/// The section, if a comparison was asked for.
pub fn section(report: &Report) -> Option<Section> {
    let baseline = report.baseline.as_ref()?;
    let lead = format!(
        "Against {}: {}. A bound from documented figures and assumptions, not a measurement.",
        baseline.title,
        baseline.words(),
    );
    let assumed = baseline.assumptions.iter().map(|text| element("li").text(text));
    Some(
        Section::new("baseline", "Compared with a GPU", lead)
            .with(figure("Above 1× is in favour of this chip. Bars are bands.", ratios(baseline)))
            .with(numbers(report, baseline))
            .with(element("ul").class("assumptions").children(assumed)),
    )
}

fn ratios(baseline: &BaselineReport) -> Element {
    let rows = [("speed", &baseline.speed_ratio), ("energy", &baseline.energy_ratio)];
    let ends = rows.iter().flat_map(|(_, band)| [band.low, band.high]).chain([0.5, 2.0]);
    let scale = Scale::log_around(ends).unwrap_or(Scale::Log(0.1, 10.0));
    let bottom = ROW * rows.len() as f64;
    let one = scale.position(1.0);
    let draw = |(index, (name, band)): (usize, &(&str, &Band))| {
        let y = ROW * index as f64 + 24.0;
        let at = |value: f64| scale.position(value);
        vec![
            gutter(y + 4.0, name),
            line((at(band.low), y), (at(band.high), y))
                .class("band")
                .tip(&format!("{:.2}× to {:.2}×", band.low, band.high)),
            element("circle").percent("cx", at(band.typical)).at("cy", y).set("r", "6").class("k-run"),
            label(at(band.typical), y - 11.0, &format!("{:.2}×", band.typical)).class(axis::anchor(at(band.typical))),
        ]
    };
    chart(bottom + 26.0, "ratios of speed and energy with their bands")
        .class("chart ratios")
        .child(line((one, 0.0), (one, bottom)).class("peak"))
        .children(rows.iter().enumerate().flat_map(draw))
        .child(line((0.0, bottom), (1.0, bottom)).class("axis-line"))
        .children(axis::horizontal(&scale, bottom, 6, &|value| format!("{value}×")))
}

fn numbers(report: &Report, baseline: &BaselineReport) -> Element {
    let columns =
        [(Column::Text, ""), (Column::Number, "this chip"), (Column::Number, "GPU"), (Column::Number, "GPU, band")];
    let band = |band: &Band, unit: &str| format!("{} to {}", si(band.low, unit), si(band.high, unit));
    let ours = (report.dram_bytes_read + report.dram_bytes_written) as f64;
    let speed = baseline.tokens_per_s;
    let energy = baseline.joules_per_token;
    let rows = [
        vec!["bytes moved".into(), si(ours, "B").into(), si(baseline.bytes, "B").into(), "".into()],
        vec![
            format!("{}s per second", report.unit).into(),
            si(report.tokens_per_s, "/s").into(),
            si(speed.typical, "/s").into(),
            band(&speed, "/s").into(),
        ],
        vec![
            format!("joules per {}", report.unit).into(),
            si(report.joules_per_token, "J").into(),
            si(energy.typical, "J").into(),
            band(&energy, "J").into(),
        ],
    ];
    table(&columns, rows)
}
