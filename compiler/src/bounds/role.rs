//! What a length is to a model, by its place among the inputs.
//!
//! In: a length that an input defines. Out: its [`Role`], which says the flag that bounds it. Always holds: a role is a guess from places and
//! names; it chooses bounds and texts, never a result.

use narae_isa::{Diagnostic, codes};

use super::{Maxima, Rest, derive, of_inputs};
use crate::graph::Graph;
use crate::ir::{Symbol, SymbolDefinition};

/// What a length is to the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Batch,
    Sequence,
    Past,
    /// What a mask covers beside a cache: the past and the tokens of the call.
    Total,
    Other,
}

/// The role of a length of an input.
pub(super) fn role(graph: &Graph, symbol: Symbol) -> Role {
    let mut found = Role::Other;
    let has_cache = graph.inputs().iter().any(|port| port.name.contains("past") && graph.rank(port.value) >= 4);
    // A cache that is kept on the chip has room for the past and a call, and its bound when it is made.
    let kept = |input: usize| graph.states.iter().any(|state| state.input == input);
    for (number, port) in graph.inputs().iter().enumerate() {
        let rank = graph.rank(port.value);
        for (axis, dim) in graph.dims(port.value).iter().enumerate() {
            if graph.symbols.resolve(dim).as_symbol() != Some(symbol) {
                continue;
            }
            let cache = port.name.contains("past");
            let role = match (axis, rank) {
                (2, 4) | (3, 5) if kept(number) => Role::Other,
                (2, 4) | (3, 5) if cache => Role::Past,
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

/// The error for a length that has no maximum.
pub(super) fn unbounded(graph: &Graph, symbol: Symbol, role: Role) -> Diagnostic {
    let row = graph.symbols.data(symbol);
    let place = match row.definition {
        SymbolDefinition::Input { input, axis } => graph
            .inputs()
            .get(input as usize)
            .map_or(String::new(), |port| format!(" (axis {axis} of input `{}`)", port.name)),
        _ => String::new(),
    };
    let flag = role.flag(&row.name);
    let found = Diagnostic::new(&codes::E0302, format!("dim `{}`{place} has no maximum", row.name))
        .dim(&row.name)
        .help(format!("give it with {flag}, or all lengths without a maximum with --max '*=64'"));
    match row.definition {
        SymbolDefinition::Input { input, axis } => {
            let port = graph.inputs().get(input as usize);
            port.map_or(found.clone(), |port| found.clone().tensor(&port.name).axis(axis as usize))
        }
        _ => found,
    }
}

impl Role {
    /// The flag that bounds a length of this role and name.
    pub(super) fn flag(self, name: &str) -> String {
        match self {
            Role::Batch => String::from("--max-batch N"),
            Role::Sequence => String::from("--max-seq N"),
            Role::Past => String::from("--max-past N"),
            Role::Total => String::from("--max-seq N and --max-past N"),
            Role::Other => format!("--max {name}=N"),
        }
    }
}

/// Maxima that bound nothing in a graph as it was imported, each in a sentence.
pub fn idle(graph: &Graph, maxima: &Maxima) -> Vec<String> {
    let varies = |symbol: &Symbol| maxima.fixed.iter().all(|(name, _)| name != graph.symbols.name(*symbol));
    let roles: Vec<Role> = of_inputs(graph).into_iter().filter(varies).map(|symbol| role(graph, symbol)).collect();
    let none = |wanted: &[Role]| !roles.iter().any(|role| wanted.contains(role));
    let rows = [
        ("--max-batch", maxima.batch, &[Role::Batch][..], "batch"),
        ("--max-seq", maxima.sequence, &[Role::Sequence, Role::Total], "number of tokens of a call"),
        ("--max-past", maxima.past, &[Role::Past, Role::Total], "number of tokens before a call"),
    ];
    let mut found = Vec::new();
    for (flag, most, roles, what) in rows {
        if let Some(most) = most.filter(|_| none(roles)) {
            found.push(format!("{flag} {most} bounds nothing: the model has no {what} that varies"));
        }
    }
    if let Rest::AtMost(most) = maxima.rest
        && derive::open_names(graph).is_empty()
    {
        found.push(format!("--max '*={most}' bounds nothing: every length of the model is a number"));
    }
    let known = |name: &String| graph.inputs().iter().chain(graph.outputs()).any(|port| port.name == *name);
    let shapes = maxima.shapes.iter().flat_map(|shapes| shapes.keys()).filter(|name| !known(name));
    found.extend(shapes.map(|name| format!("--max-shape {name}=… bounds nothing: no input or output has that name")));
    found
}
