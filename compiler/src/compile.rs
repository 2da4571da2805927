//! The whole road: a model in, a compiled program out.
//!
//! In: an ONNX [`Model`], [`Options`]. Out: [`Compiled`]. The stages, in order: import · fix dims · canonicalize · recover (laws) ·
//! decide (formats) · keep the cache · precision · roll alike layers · bounds · entries · lower, place, encode. Whoever wants to look in between passes an [`Observer`].

use narae_isa::chip::Chip;
use narae_isa::format::FloatKind;
use narae_isa::{Diagnostic, Diagnostics, Element, codes};

use crate::bounds::{self, Maxima};
use crate::compress::decide::{Asked, Decision, Rates, decide};
use crate::compress::policy::Policy;
use crate::graph::Graph;
use crate::image::{Compiled, Description, EntryGraph, build};
use crate::ir::Dim;
use crate::onnx::{Model, import};
use crate::passes::state;
use crate::pipeline::{self, Observer, Pass, Settings};
use crate::rewrite::{self, Report};

/// Tokens that a kept cache holds unless `--max-past` says otherwise.
const DEFAULT_PAST: i64 = 2048;

/// The type of the numbers between instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As the model says, value by value.
    #[default]
    Auto,
    /// All floats f32.
    F32,
    /// All floats f16; arithmetic inside of an instruction stays f32.
    F16,
    /// All floats bf16; arithmetic inside of an instruction stays f32.
    Bf16,
}

impl Precision {
    /// The element type, if one was asked for.
    pub fn element(self) -> Option<Element> {
        match self {
            Precision::Auto => None,
            Precision::F32 => Some(Element::F32),
            Precision::F16 => Some(Element::F16),
            Precision::Bf16 => Some(Element::BF16),
        }
    }

    fn weights(self) -> Option<FloatKind> {
        match self {
            // A weight that the file holds in a narrower type is the same number in f32.
            Precision::Auto | Precision::F32 => None,
            Precision::F16 => Some(FloatKind::F16),
            Precision::Bf16 => Some(FloatKind::BF16),
        }
    }
}

/// How past and present tensors are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvCache {
    /// As plain inputs and outputs, as the model says.
    #[default]
    Io,
    /// Kept on the chip in pages, with entries for prefill and decode.
    State,
}

/// Which logits an entry with kept state returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Logits {
    /// Those of the last token.
    #[default]
    Last,
    /// Those of all tokens.
    All,
}

/// The options of `narae compile`.
#[derive(Clone, Debug)]
pub struct Options {
    /// The chip.
    pub chip: Chip,
    /// `--precision`.
    pub precision: Precision,
    /// `--quant`.
    pub quant: Policy,
    /// `--error-budget`, in nats per token.
    pub error_budget: f64,
    /// `--kv-cache`.
    pub kv_cache: KvCache,
    /// `--logits`.
    pub logits: Logits,
    /// `-O`: 0 runs no laws, 1 recovers without merging, 2 and 3 everything.
    pub optimisation: u8,
    /// Bounds of lengths.
    pub maxima: Maxima,
    /// The model's name, for reports.
    pub name: String,
    /// Verify the graph after every pass.
    pub verify_each: bool,
}

impl Options {
    /// The defaults for a chip.
    pub fn new(chip: Chip) -> Options {
        Options {
            chip,
            precision: Precision::Auto,
            quant: Policy::None,
            error_budget: 0.02,
            kv_cache: KvCache::Io,
            logits: Logits::Last,
            optimisation: 2,
            maxima: Maxima::default(),
            name: String::from("model"),
            verify_each: false,
        }
    }
}

/// What compiling found out, beside the program.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// What the laws recovered.
    pub recovered: Report,
    /// The format of each weight, and why.
    pub decisions: Vec<Decision>,
    /// What was learnt about dims, in sentences.
    pub notes: Vec<String>,
}

/// Compiles a model.
pub fn compile(
    model: &Model,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<(Compiled, Findings), Diagnostics> {
    let mut graph = import(model)?;
    bounds::fix(&mut graph, &options.maxima)?;
    compile_graph(graph, options, observer)
}

/// Compiles a graph that was imported or read from text.
pub fn compile_graph(
    graph: Graph,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<(Compiled, Findings), Diagnostics> {
    let (graph, findings) = optimise(graph, options, observer)?;
    let entries = entries(graph)?;
    let decisions = serde_json::to_value(&findings.decisions)
        .unwrap_or_else(|error| unreachable!("decisions are plain data: {error}"));
    let description = Description { model: options.name.clone(), decisions };
    Ok((build(&entries, &options.chip, description)?, findings))
}

/// The front half of the road: everything that happens to the graph before it is split into entries and lowered.
pub fn optimise(
    mut graph: Graph,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<(Graph, Findings), Diagnostics> {
    let settings = Settings { verify_each: options.verify_each };
    let mut findings = Findings::default();
    pipeline::run(&mut graph, stages(&["canonicalize"])?, &settings, observer)?;
    let laws = rewrite::Options {
        laws: options.optimisation > 0,
        merge: options.optimisation > 1,
        policy: options.quant.clone(),
        ..rewrite::Options::default()
    };
    findings.recovered = rewrite::recover(&mut graph, &laws)?;
    let asked =
        Asked { policy: options.quant.clone(), budget: options.error_budget, float: options.precision.weights() };
    findings.decisions = decide(&mut graph, &asked, &rates(&options.chip))?;
    if options.kv_cache == KvCache::State {
        let state = state::Options {
            all_logits: options.logits == Logits::All,
            // What is there before a call, and what the call adds.
            capacity: options.maxima.past.unwrap_or(DEFAULT_PAST) + options.maxima.sequence.unwrap_or(1),
            element: options.precision.element(),
        };
        state::keep_state(&mut graph, &state)?;
    }
    if let Some(element) = options.precision.element() {
        graph.set_precision(element)?;
    }
    pipeline::run(&mut graph, stages(&["roll", "dead-code"])?, &settings, observer)?;
    bounds::bind(&mut graph, &options.maxima)?;
    findings.notes = graph.symbols.notes().to_vec();
    Ok((graph, findings))
}

/// Rows of the list of passes.
fn stages(names: &[&str]) -> Result<Vec<&'static Pass>, Diagnostic> {
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
