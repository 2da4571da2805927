//! The stages of the road side by side, on one call: which node, pass and instruction is the first whose error leaves the tolerance.
//!
//! In: a model, inputs, perhaps what another runtime answered. Out: a [`Comparison`]: for every stage how far each tensor of the ONNX
//! file is from the stage before and from the graph as imported.
//!
//! The stages: the imported graph under the reference evaluator; the graph after each pass, likewise; the tile program after each pass,
//! instruction by instruction without the machine ([`crate::interpreter`]); the encoded instructions on the simulator, in step with
//! the placed program (`lockstep`). The compiler keeps the names of ONNX tensors on the way, so that what a stage still computes
//! is found in it, layer by layer inside of loops; a tensor that was fused away is not compared. Names decide nothing: the program is the
//! one that `narae compile` writes. The same weight formats stand in all stages behind `decide`, so that what quantization costs is
//! seen there and nowhere else. Positions that an attention mask leaves out are arbitrary, so they are not compared.

mod laws;
mod lockstep;
mod recording;
mod stages;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;

use narae_compiler::compile::{KvCache, Options, compile_graph};
use narae_compiler::graph::names::Tensor;
use narae_compiler::image::Compiled;
use narae_compiler::onnx::{Model, import_with_names};
use narae_isa::{Diagnostic, Diagnostics, HostTensor, Image, codes};
use narae_sim::{Limits, Machine};

use self::lockstep::Follower;
pub use self::lockstep::Wrong;
use self::stages::Stages;
pub use self::verdict::verdict;
use crate::difference::{Difference, Tolerance};
use crate::npz::Arrays;
use crate::session::checked;

/// What is compared, and how strictly.
pub struct Settings<'a> {
    /// How the model is compiled. Caches have to be plain inputs and outputs.
    pub options: &'a Options,
    /// The tolerance of all tensors, as a part of their range; by their element types if nothing is said.
    pub relative: Option<f64>,
    /// Changes the compiled program before it is run: how tests plant a wrong instruction.
    pub tamper: Option<&'a dyn Fn(&mut Compiled)>,
}

/// One tensor at one stage.
#[derive(Clone, Debug)]
pub struct Cell {
    /// From the stage before that computed it; `None` if the dims differ.
    pub step: Option<Difference>,
    /// From the imported graph; `None` if the dims differ.
    pub total: Option<Difference>,
    /// What is allowed.
    pub tolerance: Tolerance,
}

impl Cell {
    /// The step in units of the tolerance.
    pub fn excess(&self) -> f64 {
        self.step.map_or(f64::INFINITY, |difference| difference.excess(self.tolerance))
    }

    /// All that happened since the import, in units of the tolerance.
    pub fn total_excess(&self) -> f64 {
        self.total.map_or(f64::INFINITY, |difference| difference.excess(self.tolerance))
    }
}

/// One stage of the road.
#[derive(Clone, Debug)]
pub struct Stage {
    /// `import`, the name of a pass, or `instructions`.
    pub name: String,
    /// What it is compared with.
    pub against: String,
    /// Whether it rounds because the user asked for it.
    pub rounds: bool,
    /// The tensors that it computes, by their numbers.
    pub tensors: BTreeMap<u32, Cell>,
    /// The outputs of the model by name.
    pub outputs: BTreeMap<String, Cell>,
}

impl Stage {
    /// The tensor or output with the largest step, in units of its tolerance.
    pub fn worst(&self) -> Option<(&Cell, Place<'_>)> {
        let tensors = self.tensors.iter().map(|(number, cell)| (cell, Place::Tensor(*number)));
        let outputs = self.outputs.iter().map(|(name, cell)| (cell, Place::Output(name)));
        // The first of equals, so that a node is named rather than an output.
        tensors.chain(outputs).reduce(|best, next| if next.0.excess() > best.0.excess() { next } else { best })
    }
}

/// What a cell is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// The tensor of this number.
    Tensor(u32),
    /// The output of this name.
    Output(&'a str),
}

/// What was found.
pub struct Comparison {
    /// The tensors of the ONNX file, in the order of import.
    pub tensors: BTreeMap<u32, Arc<Tensor>>,
    /// The stages, in the order of the road.
    pub stages: Vec<Stage>,
    /// Instructions that were run in step with the placed program.
    pub instructions: usize,
    /// The first instruction that did something else than the program says.
    pub wrong: Option<Wrong>,
    /// If `recover` is the first stage to diverge: laws without which it does not.
    pub suspects: Vec<String>,
    /// For each ONNX node the first and the last instruction that implement it.
    pub ranges: BTreeMap<String, (u32, u32)>,
}

/// Compares all stages of a model on one call.
pub fn compare(
    model: &Model,
    inputs: &Arrays,
    expected: Option<&Arrays>,
    settings: &Settings<'_>,
) -> Result<Comparison, Diagnostics> {
    if settings.options.kv_cache == KvCache::State {
        let what = "stages can only be compared while past and present are inputs and outputs of all of them";
        return Err(Diagnostic::new(&codes::E0401, what).help("leave --kv-cache out, or say --kv-cache io").into());
    }
    let graph = import_with_names(model, &settings.options.maxima)?;
    let inputs = checked(&graph, inputs)?;
    let mut stages = Stages::new(&graph, &inputs, settings);
    stages.import(&graph, expected)?;
    let (mut compiled, findings) = compile_graph(graph.clone(), settings.options, &mut stages)?;
    if let Some(tamper) = settings.tamper {
        tamper(&mut compiled);
    }
    // Every instruction is held against the placed program itself here, which names more than plan and buffers in the image could.
    compiled.content.debug.plans.clear();
    compiled.content.debug.buffers.clear();
    let ranges = ranges(&compiled);
    let (instructions, wrong) = run_instructions(&compiled, &inputs, &mut stages)?;
    let Stages { tensors, stages, .. } = stages;
    let suspects = match stages.iter().find(|stage| verdict::leaves(stage)) {
        Some(stage) if stage.name == "recover" => laws::suspects(&graph, &inputs, stage, settings.options, &findings)?,
        _ => Vec::new(),
    };
    Ok(Comparison { tensors, stages, instructions, wrong, suspects, ranges })
}

/// Runs the image on the simulator, in step with the placed program.
fn run_instructions(
    compiled: &Compiled,
    inputs: &Arrays,
    stages: &mut Stages<'_>,
) -> Result<(usize, Option<Wrong>), Diagnostics> {
    let image = Image::from_bytes("the compiled image", compiled.to_bytes()?)?;
    let [entry] = compiled.content.metadata.entries.as_slice() else {
        unreachable!("without kept caches there is one entry")
    };
    let (program, addresses) = (&compiled.programs[0], &compiled.addresses[0]);
    let mut follower = Follower::new(&stages.tape, program, addresses, &compiled.content);
    let mut machine = Machine::new(Arc::new(image), Limits::default())?;
    let outcome = machine.run_recorded(&entry.name, inputs, &mut follower);
    let (count, wrong, held) = follower.finish();
    match (outcome, wrong) {
        (Ok(outcome), wrong) => {
            stages.instructions(&held, &outcome.outputs);
            Ok((count, wrong))
        }
        (Err(found), Some(wrong)) => {
            stages.instructions(&held, &Arrays::new());
            Ok((count, Some(wrong.note(format!("the run then ended: {}", found.0[0].message)))))
        }
        (Err(found), None) => Err(found),
    }
}

/// The instructions that implement each ONNX node.
fn ranges(compiled: &Compiled) -> BTreeMap<String, (u32, u32)> {
    let debug = &compiled.content.debug;
    let mut ranges: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    for pc in 0..u32::try_from(compiled.content.words.len()).unwrap_or(u32::MAX) {
        for (name, _) in debug.origin(pc).into_iter().flat_map(|origin| &origin.nodes) {
            ranges.entry(name.clone()).and_modify(|range| range.1 = pc).or_insert((pc, pc));
        }
    }
    ranges
}

/// Values by the number of their tensor.
type Values = BTreeMap<u32, HostTensor>;
