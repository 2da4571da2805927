//! The greatest value of every length that only the inputs decide.
//!
//! In: a graph whose input dims are symbols, what the user said. Out: a bound for every symbol that an input defines, or one
//! report of all symbols without one; and bounds for what follows from these (`derive.rs`). A length is known by its place: axis 0 of any input is the batch, axis 1 of a matrix of
//! integers the sequence, the position axis of a cache the past, axis 1 of a mask beside a cache both together. The past
//! has a usual bound, 2048, and a length that only data decides 1024, which is noted; any other length needs
//! `--dim NAME=N`, or its maximum with `--dim NAME<=N`. A run that exceeds a bound is an error.

mod derive;
mod ranges;

use std::collections::BTreeMap;

use narae_isa::{Diagnostic, Diagnostics, codes};

use crate::graph::Graph;
use crate::ir::{Symbol, SymbolDefinition};

/// What the user said about lengths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maxima {
    /// `--max-batch`.
    pub batch: Option<i64>,
    /// `--max-seq`: tokens of one call.
    pub sequence: Option<i64>,
    /// `--max-past`: tokens before a call.
    pub past: Option<i64>,
    /// `--dim NAME=N`: the length is N.
    pub fixed: Vec<(String, i64)>,
    /// `--dim NAME<=N`: the length is at most N.
    pub named: Vec<(String, i64)>,
    /// Shapes of inputs that will be given: a length without another bound takes the greatest one seen.
    pub shapes: Vec<BTreeMap<String, Vec<usize>>>,
    /// Other lengths get this bound instead of an error.
    pub fallback: Option<i64>,
}

/// What a length is to the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Batch,
    Sequence,
    Past,
    /// What a mask covers beside a cache: the past and the tokens of the call.
    Total,
    Other,
}

/// Fixes the lengths that `--dim` names. Call before shapes are folded.
pub fn fix(graph: &mut Graph, maxima: &Maxima) -> Result<(), Diagnostics> {
    let mut problems = Vec::new();
    for (name, value) in &maxima.fixed {
        let symbol = match named(graph, name, "=", *value) {
            Ok(symbol) => symbol,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        if decided_by_data(graph, symbol) {
            let message = format!("--dim {name}={value}: that length is decided by data when the program runs");
            problems.push(Diagnostic::new(&codes::E0401, message).help(format!("give its maximum: --dim '{name}<={value}'")));
            continue;
        }
        if graph.symbols.replace(symbol, &(*value).into()).is_err() {
            let message = format!("--dim {name}={value} contradicts what the model says of that dim");
            problems.push(Diagnostic::new(&codes::E0401, message));
        }
    }
    graph.resolve_symbols();
    Diagnostics::check(problems, ())
}

/// The symbol that the user means.
fn named(graph: &Graph, name: &str, sign: &str, value: i64) -> Result<Symbol, Diagnostic> {
    graph.symbols.find(name).ok_or_else(|| {
        let known: Vec<&str> = graph.symbols.iter().map(|(_, row)| row.name.as_str()).collect();
        let message = format!("--dim {name}{sign}{value}: the model has no dim of that name");
        Diagnostic::new(&codes::E0401, message).help(format!("its dims are: {}", known.join(", ")))
    })
}

fn decided_by_data(graph: &Graph, symbol: Symbol) -> bool {
    let row = graph.symbols.data(symbol);
    row.replacement.is_none()
        && matches!(row.definition, SymbolDefinition::Data { .. } | SymbolDefinition::Extent { .. })
}

/// Gives every length its bound: those that inputs define, then those that follow.
pub fn bind(graph: &mut Graph, maxima: &Maxima) -> Result<(), Diagnostics> {
    let free: Vec<Symbol> = graph
        .symbols
        .iter()
        .filter(|(_, row)| row.replacement.is_none() && matches!(row.definition, SymbolDefinition::Input { .. }))
        .map(|(symbol, _)| symbol)
        .collect();
    let mut problems = Vec::new();
    for (name, most) in &maxima.named {
        match named(graph, name, "<=", *most) {
            Ok(symbol) => {
                let symbol = graph.symbols.resolve(&symbol.into()).as_symbol().unwrap_or(symbol);
                graph.symbols.bound(symbol, None, Some(*most));
            }
            Err(problem) => problems.push(problem),
        }
    }
    for symbol in free {
        let role = role(graph, symbol);
        let asked = match role {
            Role::Batch => maxima.batch,
            Role::Sequence => maxima.sequence,
            Role::Past => maxima.past,
            Role::Total => maxima.sequence.zip(maxima.past.or(usual(Role::Past))).map(|(new, past)| past + new),
            Role::Other => None,
        };
        let given = graph.symbols.data(symbol).upper;
        let bound = asked.or(given).or_else(|| seen(graph, symbol, maxima)).or(maxima.fallback).or(usual(role));
        match bound {
            Some(bound) => graph.symbols.bound(symbol, Some(0), Some(bound)),
            None => problems.push(unbounded(graph, symbol, role)),
        }
    }
    derive::derive(graph, Some(maxima.fallback.unwrap_or(USUAL_DECIDED)));
    problems.extend(graph.symbols.contradictions().map(|(left, right)| {
        let (left, right) = (left.display(&graph.symbols), right.display(&graph.symbols));
        let message = format!("the model needs the lengths `{left}` and `{right}` to be equal");
        Diagnostic::new(&codes::E0301, message).help("raise the maxima: within them the two never are")
    }));
    Diagnostics::check(problems, ())
}

/// The bound of a length that data decides and of which nothing follows, such as the trip count of a loop that is an input.
const USUAL_DECIDED: i64 = 1024;

/// The bound of a length that nobody spoke of; only the past has one.
fn usual(role: Role) -> Option<i64> {
    match role {
        Role::Past => Some(2048),
        Role::Batch | Role::Sequence | Role::Total | Role::Other => None,
    }
}

/// The greatest extent that the given inputs have where the symbol stands alone.
fn seen(graph: &Graph, symbol: Symbol, maxima: &Maxima) -> Option<i64> {
    let mut greatest = None;
    for shapes in &maxima.shapes {
        for port in graph.inputs() {
            let Some(shape) = shapes.get(&port.name) else { continue };
            for (dim, &extent) in graph.dims(port.value).iter().zip(shape) {
                if graph.symbols.resolve(dim).as_symbol() == Some(symbol) {
                    greatest = greatest.max(i64::try_from(extent).ok());
                }
            }
        }
    }
    greatest
}

fn role(graph: &Graph, symbol: Symbol) -> Role {
    let mut found = Role::Other;
    let has_cache = graph.inputs().iter().any(|port| port.name.contains("past") && graph.rank(port.value) >= 4);
    for port in graph.inputs() {
        let rank = graph.rank(port.value);
        for (axis, dim) in graph.dims(port.value).iter().enumerate() {
            if graph.symbols.resolve(dim).as_symbol() != Some(symbol) {
                continue;
            }
            let cache = port.name.contains("past");
            let role = match (axis, rank) {
                (2, 4) if cache => Role::Past,
                (3, 5) if cache => Role::Past,
                (1, 5) if cache => Role::Batch,
                (0, 1..=4) => Role::Batch,
                (1, 2) if has_cache && port.name.contains("mask") => Role::Total,
                (1, 2) if graph.element(port.value).is_integer() => Role::Sequence,
                _ => Role::Other,
            };
            // The surest place wins: a cache says what the past is, ids what the sequence is.
            if matches!(found, Role::Other | Role::Total) || role == Role::Past {
                found = role;
            }
        }
    }
    found
}

fn unbounded(graph: &Graph, symbol: Symbol, role: Role) -> Diagnostic {
    let row = graph.symbols.data(symbol);
    let place = match row.definition {
        SymbolDefinition::Input { input, axis } => graph
            .inputs()
            .get(input as usize)
            .map_or(String::new(), |port| format!(" (axis {axis} of input `{}`)", port.name)),
        _ => String::new(),
    };
    let flag = match role {
        Role::Batch => String::from("--max-batch N"),
        Role::Sequence => String::from("--max-seq N"),
        Role::Past => String::from("--max-past N"),
        Role::Total => String::from("--max-seq N and --max-past N"),
        Role::Other => format!("--dim {name}=N, or its maximum with --dim '{name}<=N'", name = row.name),
    };
    Diagnostic::new(&codes::E0302, format!("dim `{}`{place} has no maximum", row.name))
        .help(format!("give it with {flag}"))
}
