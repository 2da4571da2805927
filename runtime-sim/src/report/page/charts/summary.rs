//! The summary: a handful of numbers, and one sentence that says what the run is bound by.

use super::super::markup::{Element, element};
use super::super::section::Section;
use super::critical::text as critical_text;
use crate::report::Report;
use crate::report::units::{bytes, count, percent, plural, si};

/// A number with its unit, a name, and a line of detail.
struct Figure {
    value: String,
    name: String,
    detail: String,
}

/// The section.
pub fn section(report: &Report) -> Section {
    let tiles = figures(report).into_iter().map(tile);
    Section::new("summary", "Summary", verdict(report)).with(element("div").class("tiles").children(tiles))
}

/// What bounds the run, in a sentence.
fn verdict(report: &Report) -> String {
    let busiest = report.engines.iter().filter(|engine| engine.name != "scu").max_by(|a, b| a.busy.total_cmp(&b.busy));
    let busy = busiest.map(|engine| {
        let share = engine.busy / report.cycles.max(1) as f64;
        format!(" The busiest engine is {}, at work {} of the time.", engine.name.to_uppercase(), percent(share))
    });
    let moved = percent(report.dram_utilization);
    let bound = match report.roofline.reached {
        reached if reached >= 0.85 && report.roofline.bound_by == "LPDDR" => {
            format!("Bound by the bandwidth of LPDDR, which moves data at {moved} of its peak.")
        }
        reached if reached >= 0.85 => {
            format!(
                "Bound by the arithmetic of {}; LPDDR moves data at {moved} of its peak.",
                report.roofline.bound_by.to_uppercase()
            )
        }
        reached => format!(
            "Not bound by any single resource: the run reaches {} of what {} would allow, and LPDDR moves data at {moved} of its peak. \
             The critical path says what it waits for.",
            percent(reached),
            report.roofline.bound_by.to_uppercase(),
        ),
    };
    bound + &busy.unwrap_or_default()
}

fn figures(report: &Report) -> Vec<Figure> {
    let band = &report.joules_per_token_band;
    let bandwidth = report.dram_utilization * report.roofline.bytes_per_s;
    let whole = report.generation.as_ref().filter(|generation| generation.decode_calls > 0);
    let whole = whole.map(|generation| format!("{} over the whole generation", si(generation.tokens_per_s, "/s")));
    let tokens = plural(report.tokens, report.unit);
    vec![
        Figure {
            value: si(report.tokens_per_s, ""),
            name: format!("{}s per second", report.unit),
            detail: whole.unwrap_or_else(|| format!("{tokens} in {}", si(report.seconds, "s"))),
        },
        Figure {
            value: percent(report.roofline.reached),
            name: "of the roofline".to_string(),
            detail: format!("at least {} by {}", si(report.roofline.bound_seconds, "s"), bound_name(report)),
        },
        Figure {
            value: si(band.typical, "J"),
            name: format!("per {}", report.unit),
            detail: format!("{} to {}", si(band.low, "J"), si(band.high, "J")),
        },
        Figure {
            value: si(bandwidth, "B/s"),
            name: "LPDDR traffic".to_string(),
            detail: format!("{} of {}", percent(report.dram_utilization), si(report.roofline.bytes_per_s, "B/s")),
        },
        Figure {
            value: si(report.energy.parts.total.typical / report.seconds.max(1e-30), "W"),
            name: "on average".to_string(),
            detail: format!("{} in all", si(report.energy.parts.total.typical, "J")),
        },
        Figure {
            value: count(report.cycles as i64),
            name: "cycles".to_string(),
            detail: format!("{} instructions", count(report.instructions as i64)),
        },
        critical(report),
        Figure {
            value: bytes(report.weight_bytes),
            name: "weights in the image".to_string(),
            detail: format!("{} of code", bytes(report.code_bytes)),
        },
    ]
}

/// What most of the critical path is.
fn critical(report: &Report) -> Figure {
    let most = report.critical_path.shares.first();
    Figure {
        value: percent(most.map_or(0.0, |share| share.share)),
        name: "of the critical path".to_string(),
        detail: most.map(critical_text).unwrap_or_default(),
    }
}

fn bound_name(report: &Report) -> String {
    report.roofline.bound_by.to_uppercase()
}

fn tile(figure: Figure) -> Element {
    let (number, unit) = figure.value.split_once('\u{a0}').unwrap_or((&figure.value, ""));
    let value = element("div").class("value").text(number).child(element("span").class("unit").text(unit));
    element("div")
        .class("tile")
        .child(value)
        .child(element("div").class("name").text(&figure.name))
        .child(element("div").class("detail").text(&figure.detail))
}
