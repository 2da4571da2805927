//! The stages of a graph on its way to the tile form, as a named list, and the driver that runs them.
//!
//! In: a graph as the importer made it, and the names of passes. Out: the graph after them. Between passes the driver shows the
//! graph to an [`Observer`] (printing, comparing) and, when asked, verifies it; a verifier error after a pass is our bug and names
//! the pass. A pass is `fn(&mut Graph, &Settings) -> Result<(), Diagnostic>`; to add one, write a file and a row.

use narae_isa::{Diagnostic, Diagnostics, codes};

use crate::graph::Graph;
use crate::graph::verify::verify;
use crate::passes::canonicalize::canonicalize;
use crate::passes::canonicalize::dead::remove_dead_code;
use crate::passes::roll::roll;

/// What passes are told.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Settings {
    /// Verify after every pass, in release builds too (debug builds always do).
    pub verify_each: bool,
}

/// One row of the list.
pub struct Pass {
    /// The name in `--passes`, `--print-ir-after` and diagnostics.
    pub name: &'static str,
    /// What it does, in one line.
    pub doc: &'static str,
    /// The pass itself.
    pub run: fn(&mut Graph, &Settings) -> Result<(), Diagnostic>,
}

/// Every pass over graphs, in the order of the road.
pub static PASSES: &[Pass] = &[
    Pass {
        name: "canonicalize",
        doc: "folds constants and shape arithmetic, removes no-ops, common subexpressions and dead code",
        run: |graph, _| canonicalize(graph),
    },
    Pass { name: "roll", doc: "alike layers become one loop", run: |graph, _| roll(graph) },
    Pass { name: "dead-code", doc: "removes nodes whose results nobody uses", run: |graph, _| remove_dead_code(graph) },
];

/// The pass with this name.
pub fn find(name: &str) -> Result<&'static Pass, Diagnostic> {
    PASSES.iter().find(|pass| pass.name == name).ok_or_else(|| {
        let names: Vec<&str> = PASSES.iter().map(|pass| pass.name).collect();
        Diagnostic::new(&codes::E0401, format!("there is no pass `{name}`"))
            .help(format!("passes: {}", names.join(", ")))
    })
}

/// Someone who looks at the graph before and after every pass. Returning an error stops the road.
pub trait Observer {
    /// Before a pass.
    fn before(&mut self, _pass: &Pass, _graph: &Graph) -> Result<(), Diagnostics> {
        Ok(())
    }
    /// After a pass, and after verification.
    fn after(&mut self, _pass: &Pass, _graph: &Graph) -> Result<(), Diagnostics> {
        Ok(())
    }
}

/// Nobody looks.
pub struct Unobserved;

impl Observer for Unobserved {}

/// Runs passes in order.
pub fn run<'a>(
    graph: &mut Graph,
    passes: impl IntoIterator<Item = &'a Pass>,
    settings: &Settings,
    observer: &mut dyn Observer,
) -> Result<(), Diagnostics> {
    for pass in passes {
        observer.before(pass, graph)?;
        (pass.run)(graph, settings)?;
        if settings.verify_each || cfg!(debug_assertions) {
            verify(graph).map_err(|errors| blame(errors, pass))?;
        }
        observer.after(pass, graph)?;
    }
    Ok(())
}

fn blame(errors: Diagnostics, pass: &Pass) -> Diagnostics {
    let note = |problem: Diagnostic| problem.note(format!("found after the pass `{}`", pass.name));
    Diagnostics(errors.0.into_iter().map(note).collect())
}
