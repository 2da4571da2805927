//! Bounds of lengths of inputs that nobody spoke of.
//!
//! In: a graph, what the user said. Out: what such lengths are taken to be at most: one sequence at a time, [`SEQUENCE`] tokens of a call,
//! the greatest position of the model before it, or as much of that as fits the chip; and a sentence that says so. Always holds: what the
//! user said is never changed, and the same model gives the same bounds.

use narae_isa::Diagnostics;

use super::fit::{Fitted, contradicts, exceeds};
use super::narrow::narrow;
use super::role::{Role, role};
use super::{Maxima, Rest, of_inputs, positions, said};
use crate::graph::Graph;

/// Tokens of one call.
const SEQUENCE: i64 = 512;
/// Tokens before a call, of a model that does not say how many it can look back on.
pub(crate) const PAST: i64 = 2048;
/// With no fewer tokens anything is tried.
const FEWEST: i64 = 16;

/// What becomes of lengths of inputs that nobody spoke of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unsaid {
    /// They are an error, the past excepted.
    #[default]
    Refused,
    /// They get usual bounds with which the program fits; graphs that are not lowered leave them open.
    Chosen {
        /// The model's greatest position, where something beside its graph says it.
        positions: Option<i64>,
    },
    /// These bounds.
    Usual(Usual),
}

/// Usual bounds; a batch is one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usual {
    /// Tokens of one call.
    pub sequence: i64,
    /// Tokens before it.
    pub past: i64,
}

impl Unsaid {
    /// Whether a length may be left without a bound for now.
    pub(super) fn may_stay_open(self) -> bool {
        self != Unsaid::Refused
    }

    /// The bound of the past, for caches that are kept on the chip.
    pub(crate) fn past(self) -> i64 {
        if let Unsaid::Usual(usual) = self { usual.past } else { PAST }
    }

    /// The bound of the sequence, likewise.
    pub(crate) fn sequence(self) -> i64 {
        if let Unsaid::Usual(usual) = self { usual.sequence } else { 1 }
    }
}

/// The bound of a length of an input that nobody spoke of, if it gets one.
pub(super) fn usual(role: Role, maxima: &Maxima) -> Option<i64> {
    let most = match maxima.rest {
        Rest::AtMost(most) => Some(most),
        Rest::Fitting => None,
    };
    let Unsaid::Usual(usual) = maxima.unsaid else {
        return most.or((role == Role::Past && maxima.unsaid == Unsaid::Refused).then_some(PAST));
    };
    let (sequence, past) = (maxima.sequence.unwrap_or(usual.sequence), maxima.past.unwrap_or(usual.past));
    match role {
        Role::Batch => Some(1),
        Role::Sequence => Some(sequence),
        Role::Past => Some(past),
        Role::Total => Some(sequence.saturating_add(past)),
        Role::Other => most,
    }
}

/// Usual bounds of a model, those that are wanted first, then smaller ones. `told` is its greatest position as its files say.
pub(crate) fn candidates(graph: &Graph, maxima: &Maxima, told: Option<i64>) -> Vec<Usual> {
    let known = [told, positions(graph)].into_iter().flatten().min();
    let past = known.unwrap_or(PAST).max(1);
    let sequence = SEQUENCE.min(known.unwrap_or(SEQUENCE)).max(1);
    let mut found = vec![Usual { sequence, past }];
    let (mut short, mut near) = (sequence, past);
    while (short, near) != (FEWEST.min(sequence), FEWEST.min(past)) {
        (short, near) = (halved(short), halved(near));
        for usual in [(sequence, near), (short, past), (short, near)].map(|(sequence, past)| Usual { sequence, past }) {
            let usual = Usual {
                sequence: if maxima.sequence.is_some() { sequence } else { usual.sequence },
                past: if maxima.past.is_some() { past } else { usual.past },
            };
            if !found.contains(&usual) {
                found.push(usual);
            }
        }
    }
    found
}

/// Half of a bound, but not less than is always tried.
fn halved(most: i64) -> i64 {
    (most / 2).max(FEWEST.min(most))
}

/// Builds with the first of the bounds that fits. If the smallest do not fit either, the first problem is the answer.
pub(crate) fn first_that_fits<T>(
    candidates: &[Usual],
    mut build: impl FnMut(Usual) -> Result<T, Diagnostics>,
) -> Result<(T, Usual), Diagnostics> {
    let (first, smaller) = candidates.split_first().unwrap_or_else(|| unreachable!("some bounds are always tried"));
    let problems = match build(*first) {
        Ok(built) => return Ok((built, *first)),
        Err(problems) if exceeds(&problems) || contradicts(&problems) => problems,
        Err(problems) => return Err(problems),
    };
    let Some((least, between)) = smaller.split_last() else { return Err(problems) };
    let Ok(small) = build(*least) else { return Err(problems) };
    for usual in between {
        if let Ok(built) = build(*usual) {
            return Ok((built, *usual));
        }
    }
    Ok((small, *least))
}

/// What was chosen, in one sentence with the flags that change it; nothing if all lengths were given. `planned` is what a program was
/// planned for, by the name of a length.
pub(crate) fn note(
    graph: &Graph,
    maxima: &Maxima,
    planned: impl Fn(&str) -> Option<i64>,
    fitted: Option<&Fitted>,
) -> Option<String> {
    let mut symbols = graph.symbols.clone();
    for (symbol, most) in maxima.lengths.iter().filter_map(|(name, most)| Some((graph.symbols.find(name)?, *most))) {
        narrow(&mut symbols, &symbol.into(), most);
    }
    let (mut parts, mut named) = (Vec::new(), Vec::new());
    for symbol in of_inputs(graph) {
        let (name, role) = (graph.symbols.name(symbol), role(graph, symbol));
        let open = symbols.data(symbol).upper.is_none() && said(graph, symbol, role, maxima).is_none();
        // A total is what the past and the sequence are together.
        if !open || role == Role::Total {
            continue;
        }
        named.push(format!("`{name}`"));
        if let Some(most) = planned(name).or_else(|| usual(role, maxima)) {
            parts.push(format!("{name} {most} ({})", role.flag(name)));
        }
    }
    let computed = fitted.map(|fitted| {
        let names = fitted.names.iter().filter(|name| !named.contains(name)).cloned().collect::<Vec<_>>();
        (fitted.most, names)
    });
    if let Some((most, names)) = computed.filter(|(_, names)| !names.is_empty()) {
        parts.push(format!("lengths that the model computes {most} (--max NAME=N): {}", names.join(", ")));
    }
    let whole = "one image serves all lengths up to these, which nobody gave; --max '*=N' gives all at once";
    (!parts.is_empty()).then(|| format!("{whole}: {}", parts.join(", ")))
}
