//! The whole road: a model in, a compiled program out.
//!
//! In: an ONNX [`Model`], [`Options`]. Out: [`Compiled`]. The stages, in order: import · fix dims · canonicalize · recover (laws) ·
//! expose weights · decide (formats) · keep the cache · precision · roll alike layers · bounds · entries · lower, place, encode. Whoever wants to look in between passes an [`Observer`].

use narae_isa::chip::Chip;
use narae_isa::{Diagnostic, Diagnostics, codes};

use crate::bounds::{self, Fitted, Maxima, Rest, Unsaid};
use crate::compress::decide::Rates;
use crate::graph::Graph;
use crate::image::{Compiled, Description, EntryGraph, build};
use crate::ir::Dim;
use crate::onnx::{Model, import_for};
pub use crate::options::{Findings, KvCache, Logits, Options, Precision};
use crate::pipeline::{self, Context, Module, Observer, Pass};
use crate::tile::Program;

/// Compiles a model.
pub fn compile(
    model: &Model,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<(Compiled, Findings), Diagnostics> {
    compile_graph(import_for(model, &options.maxima)?, options, observer)
}

/// Compiles a graph that was imported or read from text.
pub fn compile_graph(
    graph: Graph,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<(Compiled, Findings), Diagnostics> {
    if let Unsaid::Chosen { positions } = options.maxima.unsaid
        && options.maxima.rest == Rest::Fitting
    {
        return compile_unsaid(graph, positions, options, observer);
    }
    let (graph, mut findings) = optimise(graph, options, observer)?;
    if options.maxima.rest != Rest::Fitting {
        let compiled = finish(graph, options, &findings, observer)?;
        findings.decisions = compiled.decisions.clone();
        return Ok((compiled, findings));
    }
    let (compiled, fitted) = fitting(&graph, options, &findings, observer)?;
    findings.notes.extend(fitted.map(|fitted| {
        let (most, names) = (fitted.most, fitted.names.join(", "));
        format!("what the program computes and nothing bounds is taken to be at most {most} (--max NAME=N): {names}")
    }));
    findings.decisions = compiled.decisions.clone();
    Ok((compiled, findings))
}

/// Compiles a graph with lengths that nobody spoke of: with usual bounds, or with as much of them as fits.
fn compile_unsaid(
    graph: Graph,
    positions: Option<i64>,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<(Compiled, Findings), Diagnostics> {
    let mut context = Context::new(options);
    let graph = run_on_graph(graph, FRONT, &mut context, observer)?;
    let mut findings = context.findings;
    let candidates = bounds::candidates(&graph, &options.maxima, positions);
    let ((compiled, fitted, wide, mut notes), usual) = bounds::first_that_fits(&candidates, |usual| {
        let mut options = options.clone();
        options.maxima.unsaid = Unsaid::Usual(usual);
        let mut context = Context::new(&options);
        let bounded = run_on_graph(graph.clone(), &middle(&options), &mut context, observer)?;
        let found = Findings { wide: context.findings.wide, ..findings.clone() };
        let (compiled, fitted) = fitting(&bounded, &options, &found, observer)?;
        Ok((compiled, fitted, found.wide, bounded.symbols.notes().to_vec()))
    })?;
    let maxima = Maxima { unsaid: Unsaid::Usual(usual), ..options.maxima.clone() };
    findings.chosen = bounds::note(&graph, &maxima, &compiled, fitted.as_ref());
    notes.extend(findings.chosen.clone());
    findings.notes = notes;
    (findings.wide, findings.decisions) = (wide, compiled.decisions.clone());
    Ok((compiled, findings))
}

/// Compiles a bounded graph; lengths that nothing bounds get the greatest bound with which buffers stay small.
fn fitting(
    graph: &Graph,
    options: &Options,
    findings: &Findings,
    observer: &mut dyn Observer,
) -> Result<(Compiled, Option<Fitted>), Diagnostics> {
    bounds::fit(graph, |rest| {
        let mut options = options.clone();
        options.maxima.rest = rest;
        let again: &[&str] = if rest == Rest::Fitting { &[] } else { &["bound"] };
        let bounded = run_on_graph(graph.clone(), again, &mut Context::new(&options), observer)?;
        let compiled = finish(bounded, &options, findings, observer)?;
        let bytes = compiled.buffer_bytes();
        Ok((compiled, bytes))
    })
}

/// The back half of the road.
fn finish(
    graph: Graph,
    options: &Options,
    findings: &Findings,
    observer: &mut dyn Observer,
) -> Result<Compiled, Diagnostics> {
    let entries = entries(graph)?;
    let programs = entries.iter().map(|entry| program(entry, options, observer)).collect::<Result<_, _>>()?;
    let description = Description {
        model: options.name.clone(),
        decisions: findings.decisions.clone(),
        recipes: findings.recipes.clone(),
        wide: findings.wide.clone(),
    };
    build(&entries, programs, &options.chip, description)
}

/// The front half of the road: everything that happens to the graph before it is split into entries and lowered.
pub fn optimise(
    graph: Graph,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<(Graph, Findings), Diagnostics> {
    let mut context = Context::new(options);
    let graph = run_on_graph(graph, &road(options), &mut context, observer)?;
    context.findings.notes = graph.symbols.notes().to_vec();
    Ok((graph, context.findings))
}

/// The passes over the graph of a model, in order.
fn road(options: &Options) -> Vec<&'static str> {
    FRONT.iter().copied().chain(middle(options)).collect()
}

/// The passes that bounds of lengths do not matter to.
const FRONT: &[&str] = &["fix-dims", "canonicalize", "recover", "expose", "decide"];

/// The passes behind them.
fn middle(options: &Options) -> Vec<&'static str> {
    let keep_state = (options.kv_cache == KvCache::State).then_some("keep-state");
    keep_state.into_iter().chain(["retype", "roll", "dead-code", "bound"]).collect()
}

/// Runs passes that leave a graph.
fn run_on_graph(
    graph: Graph,
    names: &[&str],
    context: &mut Context<'_>,
    observer: &mut dyn Observer,
) -> Result<Graph, Diagnostics> {
    match pipeline::run(Module::Graph(graph), passes(names)?, context, observer)? {
        Module::Graph(graph) => Ok(graph),
        Module::Tile(..) => unreachable!("none of these passes lowers"),
    }
}

/// Rows of the list of passes.
fn passes(names: &[&str]) -> Result<Vec<&'static Pass>, Diagnostic> {
    names.iter().map(|name| pipeline::find(name)).collect()
}

/// The entries of a graph: one, or for a kept cache one that takes several tokens and one that takes a single one.
fn entries(graph: Graph) -> Result<Vec<EntryGraph>, Diagnostic> {
    let entry = |name: &str, graph| EntryGraph { name: String::from(name), graph };
    if graph.states.is_empty() {
        return Ok(vec![entry("main", graph)]);
    }
    let mut decode = graph.clone();
    let ids = decode.inputs().iter().find(|port| decode.rank(port.value) == 2).map(|port| port.value);
    let sequence = ids.and_then(|ids| decode.symbols.resolve(&decode.dims(ids)[1]).as_symbol());
    if let Some(sequence) = sequence {
        decode.symbols.replace(sequence, &Dim::ONE).map_err(|_| {
            Diagnostic::new(&codes::E0301, "the model fixes the number of tokens of a call to something else than one")
        })?;
        decode.resolve_symbols();
    }
    Ok(vec![entry("prefill", graph), entry("decode", decode)])
}

/// The placed program of an entry.
fn program(entry: &EntryGraph, options: &Options, observer: &mut dyn Observer) -> Result<Program, Diagnostics> {
    let mut context = Context { entry: entry.name.clone(), ..Context::new(options) };
    let module = Module::Graph(entry.graph.clone());
    match pipeline::run(module, passes(&["lower", "place"])?, &mut context, observer)? {
        Module::Tile(program, _) => Ok(program),
        Module::Graph(_) => unreachable!("`lower` leaves a program"),
    }
}

/// The rates of a chip that decide how fast a weight is.
pub fn rates(chip: &Chip) -> Rates {
    let tiles = chip.tiles.count;
    Rates {
        bytes_per_ns: chip.dram.gigabytes_per_second,
        clock_ghz: chip.tiles.clock_mhz / 1000.0,
        tiles,
        fill: chip.mxe.fill_clocks,
        plain: (chip.mxe.f32_macs * tiles, chip.mxe.f16_macs * tiles),
    }
}
