//! The memory: balance of its channels, what its data buses did, its commands.

use super::super::markup::Element;
use super::super::palette::{kind, legend};
use super::super::scale::Scale;
use super::super::section::{Section, figure, note};
use super::super::svg::{bar, chart, label, line};
use super::super::table::{Column, folded, table};
use super::axis;
use super::stack::{Part, Row, stack};
use crate::report::Report;
use crate::report::units::{bytes, count, percent, tick, words};

const TOP: f64 = 8.0;
const BOTTOM: f64 = 124.0;

/// The section.
pub fn section(report: &Report) -> Section {
    let lead = format!(
        "{} channels; the one furthest from the mean moved {} more or less than it.",
        report.dram.channel_bytes.len(),
        percent(report.dram_imbalance),
    );
    let section = Section::new("channels", "LPDDR channels", lead);
    if report.dram.channel_bytes.iter().all(|bytes| *bytes == 0) {
        return section.with(note("Nothing was moved."));
    }
    section
        .with(figure("Bytes by channel; the line is their mean.", columns(report)))
        .with(figure("Clocks of the data buses.", stack(&[bus(report)], "what the clocks of the data buses went into")))
        .with(legend(report.dram.bus.iter().filter(|(_, share)| **share > 0.0).map(|(n, _)| (kind(n), words(n)))))
        .with(folded("Commands and events", commands(report)))
}

fn columns(report: &Report) -> Element {
    let channels = &report.dram.channel_bytes;
    let number = channels.len().max(1) as f64;
    let mean = channels.iter().sum::<u64>() as f64 / number;
    let scale = Scale::from_zero(1.1 * channels.iter().max().copied().unwrap_or(0) as f64);
    let height = |value: f64| (BOTTOM - TOP) * scale.position(value);
    let every = channels.len().div_ceil(8).max(1);
    let draw = |(index, moved): (usize, &u64)| {
        let (x, tall) = ((index as f64 + 0.12) / number, height(*moved as f64));
        let off = *moved as f64 / mean.max(1.0) - 1.0;
        let tip = format!("channel {index}: {}, {:+.2} % from the mean", bytes(*moved), 100.0 * off);
        bar(x, BOTTOM - tall, 0.76 / number, tall).class("k-read").tip(&tip)
    };
    let names = (0..channels.len()).step_by(every);
    let names =
        names.map(|index| label((index as f64 + 0.5) / number, BOTTOM + 17.0, &index.to_string()).class("axis"));
    let y = BOTTOM - height(mean);
    chart(BOTTOM + 22.0, "bytes by channel")
        .class("chart columns")
        .children(axis::vertical(&scale, (TOP, BOTTOM), 3, &|value| tick(value, "B")))
        .children(channels.iter().enumerate().map(draw))
        .children(names)
        .child(line((0.0, y), (1.0, y)).class("peak"))
}

fn bus(report: &Report) -> Row {
    let parts = report.dram.bus.iter().filter(|(_, share)| **share > 0.0).map(|(name, share)| Part {
        name: words(name),
        class: kind(name),
        share: *share,
        tip: format!("{}: {}", words(name), percent(*share)),
    });
    let mut parts: Vec<Part> = parts.collect();
    parts.sort_by(|a, b| b.share.total_cmp(&a.share));
    Row { name: "bus".to_string(), value: String::new(), parts }
}

fn commands(report: &Report) -> Element {
    let rows = report.dram.commands.iter().filter(|(_, number)| **number > 0);
    let rows = rows.map(|(name, number)| vec![name.replace('_', " ").into(), count(*number as i64).into()]);
    table(&[(Column::Text, "command or event"), (Column::Number, "number")], rows)
}
