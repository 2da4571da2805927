//! Weights by format.

use super::super::markup::Element;
use super::super::section::{Section, note};
use super::super::table::{Cell, Column, table};
use crate::report::Report;
use crate::report::units::{bytes, count, percent};

/// The section.
pub fn section(report: &Report) -> Section {
    let total: u64 = report.formats.iter().map(|format| format.bytes).sum();
    let elements: u64 = report.formats.iter().map(|format| format.elements).sum();
    let lead = format!(
        "The run streamed {} of packed weights, {:.2} bits for each of {} elements; scales and zero points count.",
        bytes(total),
        8.0 * total as f64 / elements.max(1) as f64,
        count(elements as i64),
    );
    let section = Section::new("formats", "Weight formats", lead);
    match report.formats.is_empty() {
        true => section.with(note("No packed weight was streamed.")),
        false => section.with(numbers(report, total)),
    }
}

fn numbers(report: &Report, total: u64) -> Element {
    let columns = [
        (Column::Text, "format"),
        (Column::Number, "weights"),
        (Column::Extra, "elements"),
        (Column::Bar, ""),
        (Column::Number, "bytes"),
        (Column::Extra, "bits/weight"),
        (Column::Extra, "streamed"),
        (Column::Number, "share of time"),
    ];
    let rows = report.formats.iter().map(|format| {
        vec![
            format.format.as_str().into(),
            count(format.weights as i64).into(),
            count(format.elements as i64).into(),
            Cell::Bar(format.bytes as f64 / total.max(1) as f64, "k-weights".to_string()),
            bytes(format.bytes).into(),
            format!("{:.3}", format.bits_per_weight).into(),
            bytes(format.streamed_bytes).into(),
            percent(format.share_of_time).into(),
        ]
    });
    table(&columns, rows)
}
