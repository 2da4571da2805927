//! A report in a few lines for the terminal.
//!
//! In: a [`Report`]. Out: text. Always: the same report gives the same text; every number stands in the JSON, too.

use super::units::{bytes, count, digits, percent, plural, si, words};
use super::{Alike, EngineReport, Report, alike};

impl Report {
    /// A few lines for the terminal.
    pub fn to_text(&self) -> String {
        let mut lines = vec![self.headline(), self.second_line()];
        lines.extend(self.engines.iter().map(|engine| self.engine_line(engine)));
        lines.extend(self.dearest_nodes());
        lines.extend(self.generation_lines());
        lines.extend(self.baseline_lines());
        let text = lines.join("\n") + "\n";
        // Terminals and logs are happier with plain spaces.
        text.replace(['\u{a0}', '\u{202f}', '\u{2009}'], " ")
    }

    fn headline(&self) -> String {
        let past = self.past.map(|past| format!(" after {}", plural(past, "token"))).unwrap_or_default();
        format!(
            "{} `{}`{past} on {}: {} cycles, {}, {}",
            self.model,
            self.entry,
            self.chip,
            count(self.cycles as i64),
            si(self.seconds, "s"),
            si(self.tokens_per_s, &format!("{}s/s", self.unit)),
        )
    }

    fn second_line(&self) -> String {
        let band = &self.joules_per_token_band;
        format!(
            "  {} of the roofline ({}), {} of LPDDR bandwidth, {} read, {} written, {} per {} ({} to {})",
            percent(self.roofline.reached),
            self.roofline.bound_by,
            percent(self.dram_utilization),
            bytes(self.dram_bytes_read),
            bytes(self.dram_bytes_written),
            si(band.typical, "J"),
            self.unit,
            si(band.low, "J"),
            si(band.high, "J"),
        )
    }

    fn engine_line(&self, engine: &EngineReport) -> String {
        let share = |part: f64| percent(part / self.cycles.max(1) as f64);
        let mut stalls: Vec<_> = engine.stall.iter().filter(|(_, cycles)| **cycles > 0.0).collect();
        stalls.sort_by(|a, b| b.1.total_cmp(a.1).then(a.0.cmp(b.0)));
        let stalls: Vec<String> =
            stalls.iter().map(|(cause, cycles)| format!("{} {}", words(cause.name()), share(**cycles))).collect();
        format!("  {:5} busy {:>7}   {}", engine.name, share(engine.busy), stalls.join(", "))
    }

    fn dearest_nodes(&self) -> Vec<String> {
        let text = |Alike { cost, nodes }: &Alike| {
            let operator = cost.operator.as_deref().unwrap_or_default();
            let times = if *nodes > 1 { format!("{nodes} × ") } else { String::new() };
            format!("{} ({times}{operator}) {}", cost.name, percent(cost.share))
        };
        let all = alike(&self.nodes);
        let nodes: Vec<String> = all.iter().filter(|one| one.cost.operator.is_some()).take(3).map(text).collect();
        if nodes.is_empty() { Vec::new() } else { vec![format!("  most time in: {}", nodes.join(", "))] }
    }

    fn generation_lines(&self) -> Vec<String> {
        let Some(generation) = &self.generation else { return Vec::new() };
        let mut line = format!(
            "  generation: prompt of {} in {}, then {} at {}, {} per token",
            plural(generation.prompt_tokens, "token"),
            si(generation.prompt_seconds, "s"),
            plural(generation.decode_calls, "token"),
            si(generation.tokens_per_s, "tokens/s"),
            si(generation.joules_per_token.typical, "J"),
        );
        if let Some(error) = &generation.error {
            line += &format!(
                "; {} of them timed, the others interpolated: off by at most {} ({} on average) at {} left out",
                generation.calls.len(),
                percent(error.max_seconds),
                percent(error.mean_seconds),
                plural(error.checks, "token"),
            );
        }
        vec![line]
    }

    fn baseline_lines(&self) -> Vec<String> {
        let Some(baseline) = &self.baseline else { return Vec::new() };
        let (speed, energy) = (&baseline.speed_ratio, &baseline.energy_ratio);
        let mut lines = vec![format!(
            "  compared with {}: {}; speed {}× to {}×, energy {}× to {}× in our favour",
            baseline.title,
            baseline.words(),
            digits(speed.low),
            digits(speed.high),
            digits(energy.low),
            digits(energy.high),
        )];
        lines.extend(baseline.assumptions.iter().map(|assumption| format!("    {assumption}")));
        lines
    }
}
