//! The chapter of the validation page about the chip: engines, streams, checker, determinism, energy. In: nothing. Out: bars, and the tables behind
//! them. Always: text without clocks of the host, so that it changes only when a figure does.

use std::fmt::Write as _;

use super::bugs::search;
use super::determinism::{Repeated, repeated};
use super::energy::{MicroTrace, Part, STATIC, micro_traces, stream_picojoules_per_bit};
use super::formulas::FAMILIES;
use super::programs::CHIPS;
use super::replay::replay;
use super::streams::{FORMATS, Product, SHAPES, imbalances, long_stream, products, program};
use crate::dram::validation::{Bar, Chapter};
use crate::report::units::count;

/// Seeds of random programs with bugs.
const SEEDS: u64 = 300;
/// Random weights on each chip, for the balance of channels.
const WEIGHTS_A_CHIP: usize = 40;

/// The chip.
pub fn chapter() -> Chapter {
    let mut chapter = Chapter::default();
    formulas(&mut chapter);
    ceiling(&mut chapter);
    for name in CHIPS {
        one_product_each(&mut chapter, name);
    }
    balance(&mut chapter);
    bugs(&mut chapter);
    repetitions(&mut chapter);
    replays(&mut chapter.details);
    micro_trace_table(&mut chapter);
    chapter
}

fn percent(part: f64) -> String {
    format!("{:.2} %", 100.0 * part)
}

fn formulas(chapter: &mut Chapter) {
    let Chapter { bars, details } = chapter;
    details
        .push_str("\n## Engines against the written formulas (N1)\n\n| work | points | mismatches |\n|---|---|---|\n");
    let (mut points, mut wrong) = (0, 0);
    for family in FAMILIES {
        let (cases, mismatches) = (family.cases().len(), family.mismatches());
        let _ = writeln!(details, "| {} | {cases} | {} |", family.name, mismatches.len());
        for (case, busy) in &mismatches {
            let _ = writeln!(
                details,
                "| … {} on {} | {} clocks wanted | busy for {busy} ps |",
                case.name, case.chip, case.clocks
            );
        }
        (points, wrong) = (points + cases, wrong + mismatches.len());
    }
    let _ = writeln!(
        details,
        "\nEach point is an instruction on one of {}; the engine must be busy for exactly the clocks of the formula.",
        CHIPS.join(", ")
    );
    bars.push(Bar::new(
        "N1 engine cycles equal the written formulas",
        "0 mismatches",
        format!("{wrong} of {points} points"),
        wrong == 0,
    ));
}

fn ceiling(chapter: &mut Chapter) {
    for name in CHIPS {
        let part = long_stream(name);
        let bar = format!("item 3: ten products through {name}, every burst");
        chapter.bars.push(Bar::new(&bar, "≥ 95 % of the peak", percent(part), part >= 0.95));
    }
}

/// N4 on one chip: a row for each shape, a column for each format.
fn one_product_each(chapter: &mut Chapter, name: &str) {
    let Chapter { bars, details } = chapter;
    let all = products(name, false, &FORMATS, &SHAPES);
    let exact = products(name, true, &["u4:g128"], &[(4096, 4096), (2048, 8192)]);
    let _ = writeln!(details, "\n## Decode products on {name} (N4): cycles, and time ÷ analytic bound\n");
    let _ = writeln!(details, "| outputs × inputs | {} |\n|---|{}", FORMATS.join(" | "), "---|".repeat(FORMATS.len()));
    for shape in SHAPES {
        let cell = |format: &&str| {
            let found = all.iter().find(|product| product.shape == shape && product.format == *format);
            found.map_or("< 4 MB".to_string(), cell)
        };
        let cells: Vec<String> = FORMATS.iter().map(cell).collect();
        let _ = writeln!(details, "| {} × {} | {} |", shape.0, shape.1, cells.join(" | "));
    }
    let of_exact = |product: &Product| format!("{} × {}: {:.3}", product.shape.0, product.shape.1, product.ratio);
    let of_exact: Vec<String> = exact.iter().map(of_exact).collect();
    let _ = writeln!(details, "\nWith every burst simulated, u4:g128: {}.", of_exact.join(", "));
    let ratios = || all.iter().chain(&exact).map(|product| product.ratio);
    let (least, most) = (ratios().fold(f64::INFINITY, f64::min), ratios().fold(0.0, f64::max));
    let met = all.iter().chain(&exact).all(Product::holds);
    let found = format!("{least:.4} to {most:.4} × ({} products)", all.len() + exact.len());
    bars.push(Bar::new(&format!("N4 products of ≥ 4 MB on {name}"), "1 to 1.1 × the bound", found, met));
}

fn cell(product: &Product) -> String {
    let cause = if product.holds() { String::new() } else { format!(" ({})", product.cause()) };
    format!("{} · {:.3}{cause}", count(product.cycles as i64), product.ratio)
}

fn balance(chapter: &mut Chapter) {
    for name in CHIPS {
        let all = imbalances(name, WEIGHTS_A_CHIP);
        let most = all.iter().copied().fold(0.0, f64::max);
        let found = format!("at most {} from the mean ({} weights)", percent(most), all.len());
        let bar = format!("channel balance of large weights on {name}");
        chapter.bars.push(Bar::new(&bar, "≤ 2 %", found, most <= 0.02));
    }
}

fn bugs(chapter: &mut Chapter) {
    let Chapter { bars, details } = chapter;
    let found = search(0..SEEDS);
    let _ = writeln!(
        details,
        "\n## Seeded bugs (N6): {SEEDS} random programs\n\n| bug | seeded | found | both instructions named |\n|---|---|---|---|"
    );
    let (mut seeded, mut explained) = (0, 0);
    for (bug, tally) in &found.bugs {
        let _ = writeln!(details, "| {} | {} | {} | {} |", bug.name(), tally.seeded, tally.found, tally.explained);
        (seeded, explained) = (seeded + tally.seeded, explained + tally.explained);
    }
    let _ = writeln!(
        details,
        "\n{} programs and changes without a bug ran; {} were called wrong. Bugs in compiled programs: `tests/hazards.rs`.",
        found.harmless,
        found.false_alarms.len()
    );
    let met = seeded == explained && found.false_alarms.is_empty();
    let bar = format!("N6 seeded bugs of {} kinds, {SEEDS} seeds", found.bugs.len());
    bars.push(Bar::new(&bar, "all found and explained", format!("{explained} of {seeded}"), met));
}

fn repetitions(chapter: &mut Chapter) {
    let Chapter { bars, details } = chapter;
    let _ = writeln!(
        details,
        "\n## Repeated runs (N7)\n\n| chip | memory | cycles | event hash | runs × threads | different |\n|---|---|---|---|---|---|"
    );
    let threads = super::determinism::THREADS.map(|threads| threads.to_string()).join(", ");
    let (mut runs_of_all, mut different) = (0, 0);
    for (name, exact) in CHIPS.iter().flat_map(|name| [(name, false), (name, true)]) {
        let Repeated { first, runs, different: others } = repeated(name, exact);
        let (cycles, hash) = (first.end / first.clock, first.event_hash());
        let mode = if exact { "exact" } else { "fast" };
        let each = super::determinism::RUNS;
        let _ = writeln!(
            details,
            "| {name} | {mode} | {cycles} | `{}` | {each} × {threads} | {} |",
            &hash[..16],
            others.len()
        );
        (runs_of_all, different) = (runs_of_all + runs, different + others.len());
    }
    details.push_str("\nDebug and release builds, and every machine that runs the tests, are held to the same fingerprints (`runtime-sim/tests/timing/determinism.rs`).\n");
    let found = format!("{different} of {runs_of_all} runs differ (threads {threads})");
    bars.push(Bar::new("N7 equal cycles and event hash", "0 differ", found, different == 0));
}

fn replays(details: &mut String) {
    details.push_str(
        "\n## Requests of a run, replayed by the memory model alone (item 8)\n\n\
         A product of [4096, 4096] u4:g128, every burst. The run has a queue for each engine and ends when the program does; the replay has one \
         list for each channel. Where attention reads a cache beside a weight stream, queues take turns, and the run opens more rows than \
         its replay, in nearly the same clocks.\n\n| chip | requests | clocks of the run | of the replay | difference | rows opened by the run | by the replay |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for name in CHIPS {
        let found = replay(name, &program("u4:g128", (4096, 4096)));
        let [run, replayed] = [found.run_clocks, found.replayed.clocks].map(|clocks| count(clocks as i64));
        let rows = [&found.timing.dram.counts, &found.replayed.counts].map(|counts| count(counts.activate1 as i64));
        let (requests, off) = (found.trace.requests.len(), precise(found.difference()));
        let _ = writeln!(details, "| {name} | {requests} | {run} | {replayed} | {off} | {} | {} |", rows[0], rows[1]);
    }
}

fn micro_trace_table(chapter: &mut Chapter) {
    let Chapter { bars, details } = chapter;
    details.push_str("\n## Energy by hand (E1), narae-1\n\nPicojoules of all parts that were worked out but static power, which is 10 W times the time; the last column is the part that is farthest off, static power included.\n\n");
    details.push_str("| trace | by hand | found | off | farthest part |\n|---|---|---|---|---|\n");
    let mut worst = 0.0f64;
    for trace in micro_traces() {
        let (line, off) = micro_trace_row(&trace);
        details.push_str(&line);
        worst = worst.max(off);
    }
    let streams = [false, true].map(stream_picojoules_per_bit);
    let _ = writeln!(
        details,
        "\nA weight stream of 64 MiB costs {:.3} pJ/bit (fast) and {:.3} (exact); the sheet says 6.",
        streams[0], streams[1]
    );
    bars.push(Bar::new("E1 ten micro-traces by hand", "≤ 0.1 %", format!("at most {}", precise(worst)), worst <= 1e-3));
}

fn precise(part: f64) -> String {
    format!("{:.4} %", 100.0 * part)
}

fn micro_trace_row(trace: &MicroTrace) -> (String, f64) {
    let (report, timing) = trace.run();
    let parts = trace.parts(&report.parts, &timing);
    let sum = |of: fn(&Part) -> f64| parts.iter().filter(|part| part.name != STATIC).map(of).sum::<f64>();
    let (hand, found) = (sum(|part| part.hand), sum(|part| part.found));
    let worst = parts.iter().max_by(|a, b| a.error().total_cmp(&b.error()));
    let (name, off) = worst.map_or(("", 0.0), |part| (part.name, part.error()));
    let whole = precise((found - hand).abs() / hand);
    (format!("| {} | {hand:.1} | {found:.1} | {whole} | {name} {} |\n", trace.name, precise(off)), off)
}
