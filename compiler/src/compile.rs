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
use crate::ir::{Dim, Symbol};
use crate::onnx::{Model, import_for};
pub use crate::options::{Findings, KvCache, Logits, Options, Precision};
use crate::passes::state::CAPACITY;
use crate::pipeline::{self, Context, Module, Observer, Pass};
use crate::tile::Program;

/// Compiles a model.
pub fn compile(
    model: &Model,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<(Compiled, Findings), Diagnostics> {
    compile_graph(import_for(model, &options.at_import())?, options, observer)
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
    let whole = whole(&graph, options);
    let (graph, mut findings) = optimise(graph, options, observer)?;
    let single = single_token(whole.as_ref(), &graph, options, observer)?;
    if options.maxima.rest != Rest::Fitting {
        let compiled = finish([Some(graph), single], options, &findings, observer)?;
        findings.decisions = compiled.decisions.clone();
        return Ok((compiled, findings));
    }
    let (compiled, fitted) = fitting(&graph, single.as_ref(), options, &findings, observer)?;
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
    let whole = whole(&graph, options);
    let graph = run_on_graph(graph, FRONT, &mut context, observer)?;
    let mut findings = context.findings;
    let candidates = bounds::candidates(&graph, &options.maxima, positions);
    let ((compiled, fitted, wide, mut notes), usual) = bounds::first_that_fits(&candidates, |usual| {
        let mut options = options.clone();
        options.maxima.unsaid = Unsaid::Usual(usual);
        let mut context = Context::new(&options);
        let bounded = run_on_graph(graph.clone(), &middle(&options), &mut context, observer)?;
        let found = Findings { wide: context.findings.wide, ..findings.clone() };
        let single = single_token(whole.as_ref(), &bounded, &options, observer)?;
        let (compiled, fitted) = fitting(&bounded, single.as_ref(), &options, &found, observer)?;
        Ok((compiled, fitted, found.wide, bounded.symbols.notes().to_vec()))
    })?;
    let maxima = Maxima { unsaid: Unsaid::Usual(usual), ..options.maxima.clone() };
    findings.chosen = bounds::note(&graph, &maxima, |name| compiled.planned(name), fitted.as_ref());
    notes.extend(findings.chosen.clone());
    notes.extend(level_note(options));
    findings.notes = notes;
    (findings.wide, findings.decisions) = (wide, compiled.decisions.clone());
    Ok((compiled, findings))
}

/// Compiles a bounded graph; lengths that nothing bounds get the greatest bound with which buffers stay small.
fn fitting(
    graph: &Graph,
    single: Option<&Graph>,
    options: &Options,
    findings: &Findings,
    observer: &mut dyn Observer,
) -> Result<(Compiled, Option<Fitted>), Diagnostics> {
    bounds::fit(graph, |rest| {
        let mut options = options.clone();
        options.maxima.rest = rest;
        let again: &[&str] = if rest == Rest::Fitting { &[] } else { &["bound"] };
        let mut bound = |graph: Graph| run_on_graph(graph, again, &mut Context::new(&options), observer);
        let bounded = [Some(bound(graph.clone())?), single.cloned().map(&mut bound).transpose()?];
        let compiled = finish(bounded, &options, findings, observer)?;
        let bytes = compiled.buffer_bytes();
        Ok((compiled, bytes))
    })
}

/// The graph as it was, where `--dim` may have fixed the tokens of a call of a decoder whose cache is kept.
fn whole(graph: &Graph, options: &Options) -> Option<Graph> {
    (options.kv_cache == KvCache::State && !options.maxima.fixed.is_empty()).then(|| graph.clone())
}

/// Where `--dim` fixes the tokens of a call of a decoder whose cache is kept: its graph for a single one, from the graph as it was before.
fn single_token(
    whole: Option<&Graph>,
    prefill: &Graph,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Option<Graph>, Diagnostics> {
    let several = tokens(prefill).is_some_and(|dim| dim.as_const() > Some(1));
    let (Some(whole), Some(ids)) = (whole.filter(|_| several), ids(prefill)) else { return Ok(None) };
    let name = &prefill.inputs()[ids].name;
    let port = whole.inputs().iter().find(|port| port.name == *name);
    let sequence = port.and_then(|port| Some(whole.symbols.resolve(whole.dims(port.value).get(1)?)));
    let fixes = |name: &str| whole.symbols.find(name).map(|symbol| whole.symbols.resolve(&symbol.into())) == sequence;
    let mut options = options.clone();
    let found: Vec<_> = options.maxima.fixed.iter_mut().filter(|(name, _)| fixes(name)).collect();
    if found.is_empty() {
        return Ok(None);
    }
    found.into_iter().for_each(|(_, tokens)| *tokens = 1);
    options.capacity = prefill.symbols.find(CAPACITY).and_then(|symbol| prefill.symbols.data(symbol).upper);
    Ok(Some(optimise(whole.clone(), &options, observer)?.0))
}

/// The back half of the road, for the graph of an image and, where it cannot be made from that, its graph for a single token.
fn finish(
    graphs: [Option<Graph>; 2],
    options: &Options,
    findings: &Findings,
    observer: &mut dyn Observer,
) -> Result<Compiled, Diagnostics> {
    let entries = entries(graphs)?;
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
    context.findings.notes.extend(level_note(options));
    Ok((graph, context.findings))
}

/// What is said where laws run although `-O0` asks for none.
fn level_note(options: &Options) -> Option<String> {
    let note = "a cache is kept where attention is found, so laws run at -O0 too, without merging, as at -O1";
    (options.runs_laws() && options.optimisation == 0).then(|| String::from(note))
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
fn entries([graph, single]: [Option<Graph>; 2]) -> Result<Vec<EntryGraph>, Diagnostic> {
    let entry = |name: &str, graph| EntryGraph { name: String::from(name), graph };
    let graph = graph.unwrap_or_else(|| unreachable!("an image has a graph"));
    if graph.states.is_empty() {
        return Ok(vec![entry("main", graph)]);
    }
    let decode = match tokens(&graph) {
        Some(tokens) if !tokens.is(1) => match tokens.as_symbol() {
            Some(sequence) => Some(for_one_token(&graph, sequence)?),
            // The model itself, or the user, says how many tokens a call has.
            None => single,
        },
        _ => Some(graph.clone()),
    };
    Ok([Some(entry("prefill", graph)), decode.map(|decode| entry("decode", decode))].into_iter().flatten().collect())
}

/// The position of the ids among the inputs.
fn ids(graph: &Graph) -> Option<usize> {
    graph.inputs().iter().position(|port| graph.rank(port.value) == 2)
}

/// The tokens of a call.
fn tokens(graph: &Graph) -> Option<Dim> {
    let ids = graph.inputs()[ids(graph)?].value;
    Some(graph.symbols.resolve(&graph.dims(ids)[1]))
}

/// The graph for calls of one token.
fn for_one_token(graph: &Graph, sequence: Symbol) -> Result<Graph, Diagnostic> {
    let mut decode = graph.clone();
    decode.symbols.replace(sequence, &Dim::ONE).map_err(|_| {
        Diagnostic::new(&codes::E0301, "the model fixes the number of tokens of a call to something else than one")
    })?;
    decode.resolve_symbols();
    // What the data decides is less where there is one token.
    bounds::tighten(&mut decode);
    Ok(decode)
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
