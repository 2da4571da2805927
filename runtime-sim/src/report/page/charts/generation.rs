//! The whole generation: time per token over the past, what was timed and what was interpolated.

use super::super::markup::{Element, element};
use super::super::palette::legend;
use super::super::scale::Scale;
use super::super::section::{Section, figure};
use super::super::svg::{chart, label, line};
use super::super::table::{Column, folded, table};
use super::axis;
use crate::report::units::{count, percent, plural, si, tick};
use crate::report::{Generation, Report, TimedCall};

const TOP: f64 = 10.0;
const BOTTOM: f64 = 190.0;

/// The section, if the report is of a generation.
pub fn section(report: &Report) -> Option<Section> {
    let generation = report.generation.as_ref()?;
    let mut found = Section::new("generation", "The whole generation", lead(generation));
    if !generation.calls.is_empty() {
        found = found.with(figure("Time of a token over the tokens before it.", draw(generation)));
        if generation.interpolated {
            found = found.with(legend([
                ("k-run".to_string(), "timed".to_string()),
                ("k-check".to_string(), "timed, left out to measure the error".to_string()),
            ]));
        }
    }
    Some(found.with(folded("Calls that were timed", numbers(generation))))
}

fn lead(generation: &Generation) -> String {
    let total = format!(
        "A prompt of {} in {}, then {} in {}: {}, {} per token, {} in all.",
        plural(generation.prompt_tokens, "token"),
        si(generation.prompt_seconds, "s"),
        plural(generation.decode_calls, "token"),
        si(generation.decode_seconds, "s"),
        si(generation.tokens_per_s, "tokens/s"),
        si(generation.joules_per_token.typical, "J"),
        si(generation.joules.typical, "J"),
    );
    let how = match &generation.error {
        None => " Every call was timed.".to_string(),
        Some(error) => format!(
            " {} of these tokens were timed, the others interpolated; a curve that does not know {} of them is off by at most {} \
             of the time ({} of the energy) there, by {} on average, and the one through all is closer.",
            generation.calls.len(),
            count(error.checks as i64),
            percent(error.max_seconds),
            percent(error.max_joules),
            percent(error.mean_seconds),
        ),
    };
    total + &how + " Everything else on this page is about the last token that was timed."
}

fn draw(generation: &Generation) -> Element {
    let calls = &generation.calls;
    let ends = (calls.first().map_or(0, |call| call.past), calls.last().map_or(1, |call| call.past));
    let x = Scale::Linear(ends.0 as f64, if ends.1 > ends.0 { ends.1 as f64 } else { ends.0 as f64 + 1.0 });
    let y = Scale::from_zero(1.15 * calls.iter().map(|call| call.seconds).fold(0.0, f64::max));
    let at = |call: &TimedCall| (x.position(call.past as f64), BOTTOM - (BOTTOM - TOP) * y.position(call.seconds));
    let curve = calls.windows(2).map(|pair| line(at(&pair[0]), at(&pair[1])).class("curve"));
    let dots = calls.iter().map(|call| {
        let (cx, cy) = at(call);
        let tip = format!(
            "after {}: {}, {}",
            plural(call.past, "token"),
            si(call.seconds, "s"),
            si(call.joules.typical, "J")
        );
        let class = if generation.interpolated && call.check { "k-check" } else { "k-run" };
        element("circle").percent("cx", cx).at("cy", cy).set("r", "4").class(class).tip(&tip)
    });
    chart(BOTTOM + 44.0, "time per token over the past")
        .class("chart")
        .children(axis::vertical(&y, (TOP, BOTTOM), 4, &|value| tick(value, "s")))
        .child(line((0.0, BOTTOM), (1.0, BOTTOM)).class("axis-line"))
        .children(axis::horizontal(&x, BOTTOM, 8, &|value| count(value as i64)))
        .child(label(0.5, BOTTOM + 38.0, "tokens before it").class("axis title"))
        .children(curve)
        .children(dots)
}

fn numbers(generation: &Generation) -> Element {
    let columns = [
        (Column::Number, "past"),
        (Column::Number, "tokens"),
        (Column::Extra, "cycles"),
        (Column::Number, "time"),
        (Column::Number, "energy"),
        (Column::Extra, "LPDDR traffic"),
        (Column::Text, ""),
    ];
    let rows = generation.prompt_calls.iter().chain(&generation.calls).map(|call| {
        vec![
            count(call.past as i64).into(),
            count(call.tokens as i64).into(),
            count(call.cycles as i64).into(),
            si(call.seconds, "s").into(),
            si(call.joules.typical, "J").into(),
            si(call.dram_bytes as f64, "B").into(),
            if call.check && generation.interpolated { "left out for the error".into() } else { "".into() },
        ]
    });
    table(&columns, rows)
}
