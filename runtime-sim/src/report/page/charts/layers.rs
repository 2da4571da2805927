//! Costs by layer: time, bytes and joules as columns, one below the other.

use super::super::markup::Element;
use super::super::palette::{kind, legend};
use super::super::scale::Scale;
use super::super::section::{Section, figure, heading};
use super::super::svg::{bar, chart, label};
use super::super::table::{Column, folded, table};
use super::axis;
use crate::report::units::{bytes, count, percent, si, tick};
use crate::report::{Cost, Report};

const TITLE: &str = "Time, bytes and joules by layer";
const TOP: f64 = 8.0;
const BOTTOM: f64 = 104.0;

/// A chart of columns: the parts of each column from below, each with its class and its value.
struct Columns<'a> {
    costs: &'a [Cost],
    parts: &'a dyn Fn(&Cost) -> Vec<(&'static str, f64)>,
    unit: &'static str,
}

/// The section.
pub fn section(report: &Report) -> Section {
    let parts = report.layers.len();
    if parts < 2 {
        let lead = "The program has no loop over alike layers, and its nodes have no numbered names, so all of it is one part.";
        return Section::new("layers", TITLE, lead).with(numbers(report));
    }
    let how = match report.layers.iter().any(|cost| cost.name.contains("layer ")) {
        true => {
            "Layers are passes of the program's loop over alike layers; a pass may begin in the middle of a layer of the model."
        }
        false => "They are told apart by the names of nodes.",
    };
    let lead = format!("The {parts} parts of the program in the order in which they run. {how}");
    let seconds = report.seconds / report.cycles.max(1) as f64;
    let time = |cost: &Cost| vec![("time", cost.cycles * seconds)];
    let moved = |cost: &Cost| {
        let other = cost.bytes_read.saturating_sub(cost.weight_bytes);
        vec![
            ("weights", cost.weight_bytes as f64),
            ("other-reads", other as f64),
            ("writes", cost.bytes_written as f64),
        ]
    };
    let joules = |cost: &Cost| vec![("joules", cost.joules)];
    let costs = &report.layers;
    Section::new("layers", TITLE, lead)
        .with(heading("Time"))
        .with(figure("", Columns { costs, parts: &time, unit: "s" }.draw("time by layer")))
        .with(heading("LPDDR traffic"))
        .with(figure("", Columns { costs, parts: &moved, unit: "B" }.draw("bytes by layer")))
        .with(legend([("weights", "weights"), ("other-reads", "other reads"), ("writes", "writes")].map(entry)))
        .with(heading("Energy"))
        .with(figure("", Columns { costs, parts: &joules, unit: "J" }.draw("joules by layer")))
        .with(folded("Numbers", numbers(report)))
}

fn entry((name, text): (&str, &str)) -> (String, String) {
    (kind(name), text.to_string())
}

impl Columns<'_> {
    fn draw(&self, description: &str) -> Element {
        let sum = |cost: &Cost| (self.parts)(cost).iter().map(|part| part.1).sum::<f64>();
        let scale = Scale::from_zero(1.05 * self.costs.iter().map(sum).fold(0.0, f64::max));
        let count = self.costs.len().max(1) as f64;
        let columns = self.costs.iter().enumerate().flat_map(|(index, cost)| {
            let x = (index as f64 + 0.1) / count;
            self.column(cost, &scale, x, 0.8 / count)
        });
        chart(BOTTOM + 22.0, description)
            .class("chart columns")
            .children(axis::vertical(&scale, (TOP, BOTTOM), 3, &|value| tick(value, self.unit)))
            .children(columns)
            .children(self.names(count))
    }

    fn column(&self, cost: &Cost, scale: &Scale, x: f64, width: f64) -> Vec<Element> {
        let mut below = 0.0;
        let draw = |(name, value): (&'static str, f64)| {
            let (from, to) = (scale.position(below), scale.position(below + value));
            below += value;
            let (y, height) = (BOTTOM - (BOTTOM - TOP) * to, (BOTTOM - TOP) * (to - from));
            let text = format!("{}: {} {}", cost.name, si(value, self.unit), name.replace('-', " "));
            bar(x, y, width, height).class(kind(name)).tip(&text)
        };
        (self.parts)(cost).into_iter().filter(|part| part.1 > 0.0).map(draw).collect()
    }

    /// Names below the columns, as many as fit beside each other on a narrow page: numbers of layers without the word.
    fn names(&self, count: f64) -> Vec<Element> {
        let every = self.costs.len().div_ceil(12).max(1);
        let short = |cost: &Cost| match cost.name.rsplit([' ', '.']).next() {
            Some(number) if self.costs.len() > 6 => number.to_string(),
            _ => cost.name.clone(),
        };
        let named = self.costs.iter().enumerate().filter(|(index, _)| index % every == 0);
        named
            .map(|(index, cost)| label((index as f64 + 0.5) / count, BOTTOM + 17.0, &short(cost)).class("axis"))
            .collect()
    }
}

fn numbers(report: &Report) -> Element {
    let columns = [
        (Column::Text, "part"),
        (Column::Number, "time"),
        (Column::Number, "share"),
        (Column::Extra, "instructions"),
        (Column::Number, "read"),
        (Column::Extra, "of it weights"),
        (Column::Number, "written"),
        (Column::Number, "energy"),
    ];
    let seconds = report.seconds / report.cycles.max(1) as f64;
    let rows = report.layers.iter().map(|cost| {
        vec![
            cost.name.as_str().into(),
            si(cost.cycles * seconds, "s").into(),
            percent(cost.share).into(),
            count(cost.instructions as i64).into(),
            bytes(cost.bytes_read).into(),
            bytes(cost.weight_bytes).into(),
            bytes(cost.bytes_written).into(),
            si(cost.joules, "J").into(),
        ]
    });
    table(&columns, rows)
}
