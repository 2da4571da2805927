//! The stages of a model between import and encoding, as a named list, and the driver that runs them.
//!
//! In: a [`Module`] (a graph as the importer made it, or a program of instructions over views), and passes. Out: the module after them;
//! `lower` turns a graph into a program. Between passes the driver shows the module to an [`Observer`] (printing, comparing) and, when
//! asked, verifies it; a verifier error after a pass is our bug and names the pass. To add a pass, write a file and a row of
//! [`PASSES`]; which of them a compilation runs says `compile.rs`.

use narae_isa::{Diagnostic, Diagnostics, codes};

use crate::bounds::{self, Maxima, Unsaid};
use crate::compress::Sources;
use crate::compress::decide::{Asked, decide};
use crate::graph::{self, Graph};
use crate::lower::graph_to_tile::lower;
use crate::options::{Findings, Logits, Options};
use crate::passes::canonicalize::canonicalize;
use crate::passes::canonicalize::dead::remove_dead_code;
use crate::passes::expose::expose;
use crate::passes::place::place;
use crate::passes::roll::roll;
use crate::passes::state;
use crate::rewrite;
use crate::tile::{self, Program};

/// What passes work on.
#[derive(Clone, Debug)]
pub enum Module {
    /// Dialect 1: pure tensors.
    Graph(Graph),
    /// Dialect 2: instructions over views, and the files that its constants read.
    Tile(Program, Sources),
}

impl Module {
    /// Checks the invariants of the form that it is in.
    pub fn verify(&self) -> Result<(), Diagnostics> {
        match self {
            Module::Graph(graph) => graph::verify::verify(graph),
            Module::Tile(program, _) => tile::verify::verify(program),
        }
    }

    /// The text of the module, which parses back; with `locations` also the ONNX nodes behind each operation.
    pub fn print(&self, locations: bool) -> String {
        match self {
            Module::Graph(graph) => graph::text::print(graph, graph::text::Options { locations }),
            Module::Tile(program, sources) => tile::text::print(program, sources, tile::text::Options { locations }),
        }
    }

    /// The module of a text of either form.
    pub fn parse(text: &str, sources: &Sources) -> Result<Module, Diagnostic> {
        match tile::text::is_program(text) {
            true => tile::text::parse(text, sources).map(|program| Module::Tile(program, sources.clone())),
            false => graph::text::parse(text, sources).map(Module::Graph),
        }
    }

    fn form(&self) -> &'static str {
        match self {
            Module::Graph(_) => "a graph",
            Module::Tile(..) => "a tile program",
        }
    }
}

/// What passes are told, and where they leave what they found out.
#[derive(Debug)]
pub struct Context<'a> {
    /// What the user asked for.
    pub options: &'a Options,
    /// What was found out so far.
    pub findings: Findings,
    /// The name of the entry that `lower` makes.
    pub entry: String,
}

impl<'a> Context<'a> {
    /// The start of a compilation.
    pub fn new(options: &'a Options) -> Context<'a> {
        Context { options, findings: Findings::default(), entry: String::from("main") }
    }
}

/// The work of a pass, by the form that it needs.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Changes a graph.
    Graph(fn(&mut Graph, &mut Context<'_>) -> Result<(), Diagnostics>),
    /// Turns a graph into a program.
    Lower(fn(&Graph, &mut Context<'_>) -> Result<Program, Diagnostics>),
    /// Changes a program.
    Tile(fn(&mut Program, &mut Context<'_>) -> Result<(), Diagnostics>),
}

impl Work {
    /// The forms before and after, for the list of passes.
    pub fn forms(self) -> &'static str {
        match self {
            Work::Graph(_) => "graph",
            Work::Lower(_) => "graph → tile",
            Work::Tile(_) => "tile",
        }
    }
}

/// One row of the list.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// The name in `--passes`, `--print-ir-after` and diagnostics.
    pub name: &'static str,
    /// What it does, in one line.
    pub doc: &'static str,
    /// Whether it rounds because the user asked for it (weight formats, precision); all others change the order of rounding at most.
    pub rounds: bool,
    /// The pass itself.
    pub work: Work,
}

/// Every pass, in the order of the road.
pub static PASSES: &[Pass] = &[
    Pass {
        name: "fix-dims",
        doc: "lengths that --dim names become numbers",
        rounds: false,
        work: Work::Graph(|graph, context| bounds::fix(graph, &context.options.maxima)),
    },
    Pass {
        name: "canonicalize",
        doc: "folds constants and shape arithmetic, removes no-ops, common subexpressions and dead code",
        rounds: false,
        work: Work::Graph(|graph, _| Ok(canonicalize(graph)?)),
    },
    Pass {
        name: "recover",
        doc: "laws find norms, rotations, attention and gated products, whatever their spelling (-O)",
        rounds: false,
        work: Work::Graph(recover),
    },
    Pass {
        name: "expose",
        doc: "products with known matrices become linear layers, where --quant finds their weights",
        rounds: false,
        work: Work::Graph(|graph, context| Ok(expose(graph, &context.options.quant)?)),
    },
    Pass {
        name: "decide",
        doc: "a format for every weight (--quant, --error-budget)",
        rounds: true,
        work: Work::Graph(decide_formats),
    },
    Pass {
        name: "keep-state",
        doc: "past and present become caches on the chip (--kv-cache state)",
        rounds: false,
        work: Work::Graph(keep_state),
    },
    Pass { name: "retype", doc: "floats get the type of --precision", rounds: true, work: Work::Graph(retype) },
    Pass {
        name: "roll",
        doc: "alike layers become one loop",
        rounds: false,
        work: Work::Graph(|graph, _| Ok(roll(graph)?)),
    },
    Pass {
        name: "dead-code",
        doc: "removes nodes whose results nobody uses",
        rounds: false,
        work: Work::Graph(|graph, _| Ok(remove_dead_code(graph)?)),
    },
    Pass {
        name: "bound",
        doc: "lengths get their greatest values (--max-batch, --max-seq, --max-past, --max, --max-shape)",
        rounds: false,
        work: Work::Graph(|graph, context| bounds::bind(graph, &context.options.maxima)),
    },
    Pass {
        name: "lower",
        doc: "every graph op becomes instructions over views: from here on the module is a tile program",
        rounds: false,
        work: Work::Lower(|graph, context| lower(graph, &context.entry)),
    },
    Pass {
        name: "place",
        doc: "every operand gets its memory; what does not fit is cut into pieces",
        rounds: false,
        work: Work::Tile(|program, context| {
            *program = place(program, context.options.chip.sram_bytes())?;
            Ok(())
        }),
    },
];

fn recover(graph: &mut Graph, context: &mut Context<'_>) -> Result<(), Diagnostics> {
    let laws = rewrite::Options {
        laws: context.options.runs_laws(),
        rules: context.options.laws,
        without: context.options.without_laws.clone(),
        merge: context.options.optimisation > 1,
        policy: context.options.quant.clone(),
        ..rewrite::Options::default()
    };
    context.findings.recovered = rewrite::recover(graph, &laws)?;
    Ok(())
}

fn decide_formats(graph: &mut Graph, context: &mut Context<'_>) -> Result<(), Diagnostics> {
    let options = context.options;
    let asked =
        Asked { policy: options.quant.clone(), budget: options.error_budget, float: options.precision.weights() };
    let decided = decide(graph, &asked, &crate::compile::rates(&options.chip))?;
    (context.findings.decisions, context.findings.recipes) = (decided.decisions, decided.recipes);
    Ok(())
}

fn keep_state(graph: &mut Graph, context: &mut Context<'_>) -> Result<(), Diagnostics> {
    let (options, maxima) = (context.options, &context.options.maxima);
    let said = Maxima { unsaid: Unsaid::Chosen { positions: None }, ..maxima.clone() };
    let state = state::Options {
        all_logits: options.logits == Logits::All,
        capacity: options.capacity,
        most: &|graph, symbol| bounds::greatest_length(graph, symbol, &said),
        usual: (maxima.unsaid.past(), maxima.unsaid.sequence()),
        element: options.precision.element(),
    };
    Ok(state::keep_state(graph, &state)?)
}

fn retype(graph: &mut Graph, context: &mut Context<'_>) -> Result<(), Diagnostics> {
    if let Some(element) = context.options.precision.element() {
        context.findings.wide = graph.set_precision(element)?;
    }
    Ok(())
}

/// The pass with this name.
pub fn find(name: &str) -> Result<&'static Pass, Diagnostic> {
    PASSES.iter().find(|pass| pass.name == name).ok_or_else(|| {
        let names: Vec<&str> = PASSES.iter().map(|pass| pass.name).collect();
        Diagnostic::new(&codes::E0401, format!("there is no pass `{name}`"))
            .help(format!("passes: {}", names.join(", ")))
    })
}

/// Someone who looks at the module before and after every pass. Returning an error stops the road.
pub trait Observer {
    /// Before a pass.
    fn before(&mut self, _pass: &Pass, _module: &Module) -> Result<(), Diagnostics> {
        Ok(())
    }
    /// After a pass, and after verification.
    fn after(&mut self, _pass: &Pass, _module: &Module) -> Result<(), Diagnostics> {
        Ok(())
    }
    /// While the weights are written: so many bytes of all are there.
    fn wrote(&mut self, _bytes: u64, _total: u64) {}
}

/// Nobody looks.
pub struct Unobserved;

impl Observer for Unobserved {}

/// Runs passes in order, and behind each the caller's own.
pub fn run<'a>(
    mut module: Module,
    passes: impl IntoIterator<Item = &'a Pass>,
    context: &mut Context<'_>,
    observer: &mut dyn Observer,
) -> Result<Module, Diagnostics> {
    for pass in passes {
        module = step(pass, module, context, observer)?;
        for (_, own) in context.options.own_passes.iter().filter(|(behind, _)| *behind == pass.name) {
            module = step(own, module, context, observer)?;
        }
    }
    Ok(module)
}

fn step(
    pass: &Pass,
    module: Module,
    context: &mut Context<'_>,
    observer: &mut dyn Observer,
) -> Result<Module, Diagnostics> {
    observer.before(pass, &module)?;
    let module = apply(pass, module, context)?;
    if context.options.verify_each || cfg!(debug_assertions) {
        module.verify().map_err(|errors| blame(errors, pass))?;
    }
    observer.after(pass, &module)?;
    Ok(module)
}

fn apply(pass: &Pass, module: Module, context: &mut Context<'_>) -> Result<Module, Diagnostics> {
    match (pass.work, module) {
        (Work::Graph(work), Module::Graph(mut graph)) => {
            work(&mut graph, context)?;
            Ok(Module::Graph(graph))
        }
        (Work::Lower(work), Module::Graph(graph)) => {
            let program = work(&graph, context)?;
            Ok(Module::Tile(program, graph.sources))
        }
        (Work::Tile(work), Module::Tile(mut program, sources)) => {
            work(&mut program, context)?;
            Ok(Module::Tile(program, sources))
        }
        (Work::Graph(_) | Work::Lower(_), module) => Err(wrong_form(pass, "a graph", &module)),
        (Work::Tile(_), module) => Err(wrong_form(pass, "a tile program", &module)),
    }
}

fn wrong_form(pass: &Pass, wanted: &str, found: &Module) -> Diagnostics {
    let what = format!("the pass `{}` works on {wanted}, but here is {}", pass.name, found.form());
    Diagnostic::new(&codes::E0401, what).help("`lower` turns a graph into a tile program").into()
}

fn blame(errors: Diagnostics, pass: &Pass) -> Diagnostics {
    let note = |problem: Diagnostic| problem.note(format!("found after the pass `{}`", pass.name));
    Diagnostics(errors.0.into_iter().map(note).collect())
}
