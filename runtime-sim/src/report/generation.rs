//! A whole generation: the prompt, then token after token, timed exactly or interpolated over the past.
//!
//! In: the calls that were timed, in order. Out: a [`Generation`]. Always: what was interpolated says so, with the error at tokens that were
//! left out: how far off a curve is there that does not know them.
//!
//! The time of a token depends on how many tokens lie before it, and on nothing else that differs between the tokens of a text. So
//! it is enough to time tokens at some pasts and to take a straight line between neighbours. Every second of them is a *check*: the
//! stated error is that of the line through the others (the *knots*) at the checks. The line that the totals follow goes through all, so it
//! is closer than stated. Time goes up in steps (blocks of keys, pages): pasts at equal distances could all fall on the same side of a
//! step, so they are shifted a little, each by another part.

use narae_isa::chip::Chip;
use schemars::JsonSchema;
use serde::Serialize;

use crate::energy::{Joules, energy};
use crate::timing::Timing;

/// A call that was timed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct TimedCall {
    /// Tokens before this call.
    pub past: u64,
    /// Tokens of this call.
    pub tokens: u64,
    /// Clock cycles.
    pub cycles: u64,
    /// Seconds.
    pub seconds: f64,
    /// Joules.
    pub joules: Joules,
    /// Bytes moved over LPDDR.
    pub dram_bytes: u64,
    /// Whether the error of the interpolation is measured at it.
    pub check: bool,
}

impl TimedCall {
    /// What a generation keeps of a timed call.
    pub fn new(chip: &Chip, timing: &Timing, past: u64, tokens: u64, check: bool) -> TimedCall {
        TimedCall {
            past,
            tokens,
            cycles: timing.end.div_ceil(timing.clock),
            seconds: timing.end as f64 * 1e-12,
            joules: energy(chip, timing).parts.total,
            dram_bytes: timing.dram_bytes_read + timing.dram_bytes_written,
            check,
        }
    }
}

/// How far off a curve is at tokens that it does not know, as parts of their own values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct InterpolationError {
    /// How many tokens were left out.
    pub checks: u64,
    /// Greatest error of the time.
    pub max_seconds: f64,
    /// Mean error of the time, with its sign.
    pub mean_seconds: f64,
    /// Greatest error of the energy.
    pub max_joules: f64,
}

/// A whole generation.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Generation {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens that were written.
    pub written_tokens: u64,
    /// Seconds from the prompt to the first token.
    pub prompt_seconds: f64,
    /// Calls of one token that followed the prompt.
    pub decode_calls: u64,
    /// Seconds of the calls of one token.
    pub decode_seconds: f64,
    /// Tokens per second of the calls of one token.
    pub tokens_per_s: f64,
    /// Joules per token of the calls of one token.
    pub joules_per_token: Joules,
    /// Joules of everything, prompt included.
    pub joules: Joules,
    /// Whether calls were left out and interpolated.
    pub interpolated: bool,
    /// The error of the interpolation; none if every call was timed.
    pub error: Option<InterpolationError>,
    /// The calls of the prompt.
    pub prompt_calls: Vec<TimedCall>,
    /// The calls of one token that were timed, by past.
    pub calls: Vec<TimedCall>,
}

/// The pasts at which tokens are timed, for calls at `first` … `last` (inclusive): knots that include both ends, and a check (true)
/// between any two of them. All of them, if these are no fewer.
pub fn plan(first: u64, last: u64, knots: usize) -> Vec<(u64, bool)> {
    let calls = last.saturating_sub(first) + 1;
    let intervals = 2 * (knots.max(2) as u64 - 1);
    if calls <= intervals + 1 {
        return (first..=last).map(|past| (past, false)).collect();
    }
    let at = |index: u64| {
        // The fractions of multiples of the golden ratio are spread evenly, however many there are.
        let inside = index > 0 && index < intervals;
        let shift = if inside { ((index as f64 * 0.618_033_988_75).fract() - 0.5) / 2.0 } else { 0.0 };
        first + ((index as f64 + shift) * (calls - 1) as f64 / intervals as f64).round() as u64
    };
    (0..=intervals).map(|index| (at(index), index % 2 == 1)).collect()
}

impl Generation {
    /// A generation of `written_tokens` from its timed calls; `decode_calls` counts those that were not timed, too. The first and the last
    /// must be timed.
    pub fn new(
        prompt_calls: Vec<TimedCall>,
        mut calls: Vec<TimedCall>,
        decode_calls: u64,
        written_tokens: u64,
    ) -> Generation {
        calls.sort_by_key(|call| call.past);
        let interpolated = (calls.len() as u64) < decode_calls;
        let all: Vec<&TimedCall> = calls.iter().collect();
        let sum = |value: &dyn Fn(&TimedCall) -> f64| total(&all, decode_calls, value);
        let decode_seconds = sum(&|call| call.seconds);
        let decode = Joules {
            typical: sum(&|call| call.joules.typical),
            low: sum(&|call| call.joules.low),
            high: sum(&|call| call.joules.high),
        };
        let prompt = prompt_calls.iter().fold(Joules::default(), |sum, call| sum.plus(call.joules));
        let count = decode_calls.max(1) as f64;
        let error = interpolated.then(|| left_out(&calls)).flatten();
        Generation {
            prompt_tokens: prompt_calls.iter().map(|call| call.tokens).sum(),
            written_tokens,
            prompt_seconds: prompt_calls.iter().map(|call| call.seconds).sum(),
            decode_calls,
            decode_seconds,
            tokens_per_s: if decode_seconds > 0.0 { decode_calls as f64 / decode_seconds } else { 0.0 },
            joules_per_token: Joules {
                typical: decode.typical / count,
                low: decode.low / count,
                high: decode.high / count,
            },
            joules: prompt.plus(decode),
            interpolated,
            error,
            prompt_calls,
            calls,
        }
    }
}

/// The sum over all calls, those that are known and those between them.
fn total(known: &[&TimedCall], calls: u64, value: &dyn Fn(&TimedCall) -> f64) -> f64 {
    let Some(first) = known.first() else { return 0.0 };
    (first.past..first.past + calls).map(|past| at(known, past, value)).sum()
}

/// The curve at a past: a straight line between neighbours, flat beyond the ends.
fn at(knots: &[&TimedCall], past: u64, value: &dyn Fn(&TimedCall) -> f64) -> f64 {
    let next = knots.partition_point(|knot| knot.past < past);
    match (next.checked_sub(1).and_then(|before| knots.get(before)), knots.get(next)) {
        (_, Some(right)) if right.past == past => value(right),
        (Some(left), Some(right)) => {
            let part = (past - left.past) as f64 / (right.past - left.past) as f64;
            value(left) + part * (value(right) - value(left))
        }
        (Some(only), None) | (None, Some(only)) => value(only),
        (None, None) => 0.0,
    }
}

/// The error of the curve through the knots at the checks.
fn left_out(calls: &[TimedCall]) -> Option<InterpolationError> {
    let (checks, knots): (Vec<&TimedCall>, Vec<&TimedCall>) = calls.iter().partition(|call| call.check);
    let error = |call: &TimedCall, value: &dyn Fn(&TimedCall) -> f64| at(&knots, call.past, value) / value(call) - 1.0;
    let seconds: Vec<f64> = checks.iter().map(|call| error(call, &|call| call.seconds)).collect();
    let joules = checks.iter().map(|call| error(call, &|call| call.joules.typical).abs());
    (!checks.is_empty()).then(|| InterpolationError {
        checks: checks.len() as u64,
        max_seconds: seconds.iter().fold(0.0, |most, error| error.abs().max(most)),
        mean_seconds: seconds.iter().sum::<f64>() / seconds.len() as f64,
        max_joules: joules.fold(0.0, f64::max),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(past: u64, seconds: f64, check: bool) -> TimedCall {
        let joules = Joules { typical: 2.0 * seconds, low: seconds, high: 3.0 * seconds };
        TimedCall { past, tokens: 1, cycles: (seconds * 1e9) as u64, seconds, joules, dram_bytes: 0, check }
    }

    /// Time that is linear in the past is found exactly, whatever lies between the knots.
    #[test]
    fn lines_are_exact() {
        let seconds = |past: u64| 1e-3 + 1e-6 * past as f64;
        let calls: Vec<TimedCall> = plan(5, 1003, 4).into_iter().map(|(p, check)| call(p, seconds(p), check)).collect();
        assert_eq!(calls.len(), 7);
        let generation = Generation::new(vec![call(0, 5e-3, false)], calls, 999, 1000);
        let expected: f64 = (5..=1003).map(seconds).sum();
        assert!((generation.decode_seconds - expected).abs() < 1e-12 * expected);
        let error = generation.error.unwrap();
        assert!(error.max_seconds < 1e-12 && error.checks == 3);
        assert!((generation.joules.typical - 2.0 * (expected + 5e-3)).abs() < 1e-9);
    }

    /// A step shows in the stated error.
    #[test]
    fn steps_show_in_the_error() {
        let seconds = |past: u64| if past < 300 { 1e-3 } else { 2e-3 };
        let calls: Vec<TimedCall> = plan(0, 1000, 3).into_iter().map(|(p, check)| call(p, seconds(p), check)).collect();
        let generation = Generation::new(Vec::new(), calls, 1001, 1002);
        let error = generation.error.unwrap().max_seconds;
        assert!(error > 0.1, "the curve through the knots misses the step, stated {error}");
        let exact: f64 = (0..=1000).map(seconds).sum();
        assert!((generation.decode_seconds / exact - 1.0).abs() < error, "the totals are closer than stated");
    }

    #[test]
    fn few_calls_are_all_timed() {
        assert_eq!(plan(3, 6, 8), [(3, false), (4, false), (5, false), (6, false)]);
        let calls = vec![call(3, 1.0, false), call(4, 2.0, false)];
        let generation = Generation::new(Vec::new(), calls, 2, 3);
        assert_eq!((generation.interpolated, generation.error), (false, None));
        assert_eq!(generation.decode_seconds, 3.0);
    }
}
