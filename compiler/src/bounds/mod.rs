//! The greatest value of every length.
//!
//! In: a graph whose dims are symbols, what the user said. Out: a bound for every symbol that an input defines, or one report of all
//! symbols without one; and bounds of lengths that the program computes, as far as they follow from the model (`derive`) or from what
//! the user said of outputs (`narrow`). A length is known by its place: axis 0 of any input is the batch, axis 1 of a matrix of
//! integers the sequence, the position axis of a cache the past, axis 1 of a mask beside a cache both together. Lengths that nobody spoke of are an error,
//! or get usual bounds (`usual`), as [`Maxima::unsaid`] says.

#[cfg(test)]
mod body_tests;
#[cfg(test)]
mod case_tests;
mod derive;
mod fit;
mod narrow;
mod positions;
mod ranges;
mod role;
#[cfg(test)]
mod tests;
mod usual;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) use self::fit::{Fitted, fit};
pub use self::positions::positions;
pub use self::role::idle;
use self::role::{Role, role, unbounded};
pub use self::usual::{Unsaid, Usual};
pub(crate) use self::usual::{candidates, first_that_fits, note};

use narae_isa::nearest::nearest;
use narae_isa::{Diagnostic, Diagnostics, codes};

use crate::graph::Graph;
use crate::ir::{Dim, Node, Symbol, SymbolData, SymbolDefinition};

/// What becomes of a length without a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rest {
    /// What the program computes gets the greatest bound with which buffers stay small; an input's length is an error.
    #[default]
    Fitting,
    /// `--max '*=N'`: it is at most N.
    AtMost(i64),
}

/// Extents by the names of inputs and outputs.
pub type Shapes = BTreeMap<String, Vec<usize>>;

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
    /// `--max NAME=N`: the length is at most N.
    pub lengths: Vec<(String, i64)>,
    /// `--max-shape NAME=N,N`: no extent of the input or output is greater.
    pub shapes: Vec<Shapes>,
    /// The shapes of inputs that will be given, call by call: bounds as well, and what decides where only a run could tell.
    pub given: Vec<Shapes>,
    /// Lengths without another bound.
    pub rest: Rest,
    /// Lengths of inputs that nobody spoke of.
    pub unsaid: Unsaid,
}

/// Fixes the lengths that `--dim` names. Call before shapes are folded.
pub fn fix(graph: &mut Graph, maxima: &Maxima) -> Result<(), Diagnostics> {
    let mut problems = Vec::new();
    for (name, value) in &maxima.fixed {
        let Some(symbol) = graph.symbols.find(name) else {
            let known: Vec<&str> = graph.symbols.iter().map(|(_, row)| row.name.as_str()).collect();
            let message = format!("--dim {name}={value}: the model has no dim of that name");
            let near = meant(name, &known);
            let help = format!("{near}its dims are: {}", known.join(", "));
            problems.push(Diagnostic::new(&codes::E0401, message).dim(name).help(help));
            continue;
        };
        if decided_by_data(graph, symbol) {
            let message = format!("--dim {name}={value}: that length is decided by data when the program runs");
            problems
                .push(Diagnostic::new(&codes::E0401, message).help(format!("give its maximum: --max {name}={value}")));
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

/// The name that was meant, as the start of an advice.
fn meant(name: &str, known: &[&str]) -> String {
    nearest(name, known.iter().copied()).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default()
}

/// Whether data decides a length, or another one that it is known to follow from.
fn decided_by_data(graph: &Graph, symbol: Symbol) -> bool {
    graph.symbols.resolve(&symbol.into()).any_symbol(&mut |symbol| {
        let definition = graph.symbols.data(symbol).definition;
        matches!(definition, SymbolDefinition::Data { .. } | SymbolDefinition::Extent { .. })
    })
}

/// Gives every length its bound: those that inputs define must have one afterwards.
pub fn bind(graph: &mut Graph, maxima: &Maxima) -> Result<(), Diagnostics> {
    let mut problems: Vec<Diagnostic> = Vec::new();
    for (name, most) in &maxima.lengths {
        if !limit(graph, name, *most) {
            let known: Vec<&str> = graph.symbols.iter().map(|(_, row)| row.name.as_str()).collect();
            let message = format!("--max {name}={most}: the model has no length of that name");
            let help = format!("{}its lengths are: {}", meant(name, &known), known.join(", "));
            problems.push(Diagnostic::new(&codes::E0401, message).dim(name).help(help));
        }
    }
    problems.extend(bind_inputs(graph, maxima));
    // What follows from the model helps to see what follows from an output's extent, and the other way round.
    for _ in 0..2 {
        derive::derive(graph);
        bind_outputs(graph, maxima);
    }
    derive::derive(graph);
    if let Rest::AtMost(most) = maxima.rest {
        limit_rest(graph, most);
    }
    problems.extend(graph.symbols.contradictions().map(|(left, right)| {
        let (left, right) = (left.display(&graph.symbols), right.display(&graph.symbols));
        let message = format!("the model needs the lengths `{left}` and `{right}` to be equal");
        Diagnostic::new(&codes::E0301, message).help("raise the maxima: within them the two never are")
    }));
    problems.extend(too_low(graph, maxima));
    problems.extend(never_there(graph));
    Diagnostics::check(problems, ())
}

/// The lengths that the model needs to be longer than they may be.
fn too_low(graph: &Graph, maxima: &Maxima) -> Vec<Diagnostic> {
    let rows = graph.symbols.iter().filter(|(_, row)| row.replacement.is_none());
    let problem = |(_, row): (Symbol, &SymbolData)| {
        let (least, most) = row.lower.zip(row.upper).filter(|(least, most)| least > most)?;
        let name = &row.name;
        let needed = format!("the model needs `{name}` to be at least {least}");
        let (message, help) = match !maxima.given.is_empty() {
            true => (format!("{needed}, and the inputs have {most}"), "give longer ones".to_owned()),
            false => (format!("{needed}, and its maximum is {most}"), format!("raise it: --max {name}=N")),
        };
        Some(Diagnostic::new(&codes::E0401, message).dim(name).help(help))
    };
    rows.filter_map(problem).collect()
}

/// The nodes one of whose results would have less than no elements along an axis, whatever the lengths.
fn never_there(graph: &Graph) -> Vec<Diagnostic> {
    let negative = |dim: &Dim| dim.bounds(&graph.symbols).1.is_some_and(|most| most < 0);
    let found = graph.nodes().filter_map(|(_, data)| {
        let dim = data.results.iter().flat_map(|&value| graph.dims(value)).find(|dim| negative(dim))?;
        let message = format!("an extent is `{}`, which is negative within the maxima", dim.display(&graph.symbols));
        Some(data.provenance.locate(Diagnostic::new(&codes::E0301, message).help("raise the maxima")))
    });
    found.collect()
}

/// Bounds what the program computes by lengths that became smaller since [`bind`]: memory is planned for these, and so are views.
pub fn tighten(graph: &mut Graph) {
    derive::tighten(graph);
}

/// Bounds what decides the extents of outputs of which a maximum was said.
fn bind_outputs(graph: &mut Graph, maxima: &Maxima) {
    for port in graph.outputs().to_vec() {
        for (axis, dim) in graph.dims(port.value).to_vec().iter().enumerate() {
            if let Some(most) = greatest(maxima, &port.name, axis) {
                narrow::narrow(&mut graph.symbols, dim, most);
            }
        }
    }
}

/// Bounds the lengths of a name, in bodies as well; whether there are any.
fn limit(graph: &mut Graph, name: &str, most: i64) -> bool {
    let found = graph.symbols.find(name);
    if let Some(symbol) = found {
        narrow::narrow(&mut graph.symbols, &symbol.into(), most);
        // A maximum below what the model needs is a contradiction to be said, not one to be dropped.
        if graph.symbols.interval(symbol).0.is_some_and(|least| least > most) {
            graph.symbols.bound(symbol, None, Some(most));
        }
    }
    let inside = in_bodies(graph, &mut |body| limit(body, name, most));
    found.is_some() || inside
}

/// Bounds every length that has no bound, in bodies as well.
fn limit_rest(graph: &mut Graph, most: i64) {
    let open: Vec<Symbol> = derive::open(&graph.symbols).collect();
    open.into_iter().for_each(|symbol| graph.symbols.bound(symbol, None, Some(most)));
    in_bodies(graph, &mut |body| {
        limit_rest(body, most);
        true
    });
}

/// Changes all bodies in a graph; whether any change said yes.
fn in_bodies(graph: &mut Graph, change: &mut dyn FnMut(&mut Graph) -> bool) -> bool {
    let with_bodies: Vec<Node> =
        graph.nodes().filter(|(_, node)| !node.op.regions().is_empty()).map(|(node, _)| node).collect();
    let mut any = false;
    for node in with_bodies {
        let mut op = graph.node(node).op.clone();
        op.regions_mut().into_iter().for_each(|body| any |= change(Arc::make_mut(body)));
        graph.replace_op(node, op);
    }
    any
}

/// The greatest extent that was said of an axis of an input or output.
fn greatest(maxima: &Maxima, name: &str, axis: usize) -> Option<i64> {
    let extents = maxima.shapes.iter().chain(&maxima.given).filter_map(|shapes| shapes.get(name)?.get(axis));
    extents.max().and_then(|&extent| i64::try_from(extent).ok())
}

/// Gives every length that an input defines its bound.
fn bind_inputs(graph: &mut Graph, maxima: &Maxima) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for symbol in of_inputs(graph) {
        let role = role(graph, symbol);
        let known = graph.symbols.data(symbol).upper.is_some();
        let rest = usual::usual(role, maxima).filter(|_| !known);
        match said(graph, symbol, role, maxima).or(rest) {
            Some(bound) => graph.symbols.bound(symbol, Some(0), Some(bound)),
            None if known || maxima.unsaid.may_stay_open() => {}
            None => problems.push(unbounded(graph, symbol, role)),
        }
    }
    problems
}

/// The lengths that inputs define.
fn of_inputs(graph: &Graph) -> Vec<Symbol> {
    let rows = graph.symbols.iter().filter(|(_, row)| row.replacement.is_none());
    rows.filter(|(_, row)| matches!(row.definition, SymbolDefinition::Input { .. })).map(|(symbol, _)| symbol).collect()
}

/// The bound of an input's length that the user gave, by a flag or by the extent of an input.
fn said(graph: &Graph, symbol: Symbol, role: Role, maxima: &Maxima) -> Option<i64> {
    let asked = match role {
        Role::Batch => maxima.batch,
        Role::Sequence => maxima.sequence,
        Role::Past => maxima.past,
        Role::Total => {
            maxima.sequence.zip(maxima.past.or(usual::usual(Role::Past, maxima))).map(|(new, past)| past + new)
        }
        Role::Other => None,
    };
    asked.or_else(|| seen(graph, symbol, maxima))
}

/// The greatest value of a length of an input, if anything was said of it or it has a usual bound: what [`bind`] will make its bound.
pub(crate) fn greatest_length(graph: &Graph, symbol: Symbol, maxima: &Maxima) -> Option<i64> {
    let named = |(name, most): &(String, i64)| {
        let named = graph.symbols.resolve(&graph.symbols.find(name)?.into());
        (named.as_symbol() == Some(symbol)).then_some(*most)
    };
    let named = maxima.lengths.iter().filter_map(named).min();
    let role = role(graph, symbol);
    let said = said(graph, symbol, role, maxima);
    // A usual bound is none where a better one is known.
    let usual = usual::usual(role, maxima).filter(|_| named.is_none());
    named.into_iter().chain(said.or(usual)).min()
}

/// The greatest extent that the given inputs have where the symbol stands alone.
fn seen(graph: &Graph, symbol: Symbol, maxima: &Maxima) -> Option<i64> {
    let mut most = None;
    for port in graph.inputs() {
        for (axis, dim) in graph.dims(port.value).iter().enumerate() {
            if graph.symbols.resolve(dim).as_symbol() == Some(symbol) {
                most = most.max(greatest(maxima, &port.name, axis));
            }
        }
    }
    most
}
