//! Models as a user of the library runs them: the reference evaluator on an ONNX file, and the chip. In: paths and arrays by
//! name. Out: arrays by name.
//!
//! Always holds: arrays are checked against the model's declaration before anything runs; state is zero at the start of a session.

use std::path::Path;
use std::sync::Arc;

use narae_compiler::bounds::Shapes;
use narae_compiler::compile::{Findings, Options, compile, optimise};
use narae_compiler::graph::Graph;
use narae_compiler::graph::eval::evaluate;
use narae_compiler::image::Compiled;
use narae_compiler::onnx::{Limits as ModelLimits, Model, import as import_model};
use narae_compiler::pipeline::{Observer, Unobserved};
use narae_isa::nearest::nearest;
use narae_isa::{Diagnostic, Diagnostics, Element, HostTensor, Image, codes};
use narae_sim::machine::Recording;
use narae_sim::report::{Observation, Report};
use narae_sim::session::{Lengths, TimingOptions};
use narae_sim::trace::trace;
use narae_sim::{Limits, Machine};

use crate::npz::{Arrays, reinterpret};

/// The graph of an ONNX file, as the importer makes it.
pub fn import(path: &Path, limits: &ModelLimits) -> Result<Graph, Diagnostics> {
    import_model(&Model::open(path, limits)?)
}

/// The graph of an ONNX file, where something is known of its lengths.
pub fn import_for(path: &Path, options: &Options) -> Result<Graph, Diagnostics> {
    narae_compiler::onnx::import_for(&Model::open(path, &options.limits)?, &options.at_import())
}

/// The graph of an ONNX file under the reference evaluator: plain, slow, obviously right.
pub struct Reference {
    graph: Graph,
}

impl Reference {
    /// Imports a file.
    pub fn open(path: &Path, limits: &ModelLimits) -> Result<Self, Diagnostics> {
        Ok(Reference { graph: import(path, limits)? })
    }

    /// Imports a file; what is said of its lengths, such as the shapes of inputs, decides what only a run could tell.
    pub fn open_for(path: &Path, options: &Options) -> Result<Self, Diagnostics> {
        Ok(Reference { graph: import_for(path, options)? })
    }

    /// Imports a file and does to its graph what compiling does: weights in their formats, activations in their precision.
    pub fn optimised(path: &Path, options: &Options, observer: &mut dyn Observer) -> Result<Self, Diagnostics> {
        let (graph, _) = optimise(import_for(path, options)?, options, observer)?;
        Ok(Reference { graph })
    }

    /// The outputs for these inputs.
    pub fn run(&self, inputs: &Arrays) -> Result<Arrays, Diagnostics> {
        let outputs = evaluate(&self.graph, &checked(&self.graph, inputs)?)?;
        self.graph.sources.unchanged()?;
        Ok(outputs)
    }
}

/// The shapes of arrays, as compiling is told them.
pub fn shapes(inputs: &Arrays) -> Shapes {
    inputs.iter().map(|(name, tensor)| (name.clone(), tensor.dims.clone())).collect()
}

/// The inputs of a graph with the element types that it declares, where numpy lacks them; all are there, and no others.
pub fn checked(graph: &Graph, inputs: &Arrays) -> Result<Arrays, Diagnostics> {
    let names: Vec<&str> = graph.inputs().iter().map(|port| port.name.as_str()).collect();
    if let Some(unknown) = inputs.keys().find(|name| !names.contains(&name.as_str())) {
        let missing = names.iter().copied().filter(|name| !inputs.contains_key(*name));
        let near = nearest(unknown, missing).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        return Err(no_input(format!("there is no input `{unknown}`{near}"), &names));
    }
    let mut found = Arrays::new();
    for port in graph.inputs() {
        let missing = || no_input(format!("the input `{}` is missing", port.name), &names);
        let tensor = inputs.get(&port.name).cloned().ok_or_else(missing)?;
        found.insert(port.name.clone(), converted(&port.name, tensor, graph.element(port.value))?);
    }
    Ok(found)
}

/// What a timed run gives.
pub struct Timed {
    /// The outputs; none of a run that only timed.
    pub outputs: Arrays,
    /// The tokens that it produced; none if what it computes has no tokens.
    pub tokens: Option<u64>,
    /// Cycles and bytes.
    pub timed: narae_sim::session::Timed,
}

/// A machine with an image in it.
pub struct Session {
    machine: Machine,
    timing: TimingOptions,
}

impl Session {
    /// Opens an image.
    pub fn open(path: &Path) -> Result<Self, Diagnostics> {
        Session::new(Image::open(path)?)
    }

    /// A session of a verified image.
    pub fn new(image: Image) -> Result<Self, Diagnostics> {
        let timing = TimingOptions { moves: true, ..TimingOptions::default() };
        Ok(Session { machine: Machine::new(Arc::new(image), Limits::default())?, timing })
    }

    /// Compiles an ONNX file on the fly.
    pub fn compile(path: &Path, options: &Options) -> Result<Self, Diagnostics> {
        Ok(Session::compile_observed(path, options, &mut Unobserved)?.0)
    }

    /// Compiles an ONNX file on the fly; also what compiling found out.
    pub fn compile_observed(
        path: &Path,
        options: &Options,
        observer: &mut dyn Observer,
    ) -> Result<(Self, Findings), Diagnostics> {
        let (compiled, findings) = open_and_compile(path, options, observer)?;
        let image = Image::from_bytes(&path.display().to_string(), compiled.to_bytes_observed(observer)?)?;
        Ok((Session::new(image)?, findings))
    }

    /// How runs are timed from here on.
    pub fn set_timing(&mut self, options: TimingOptions) {
        self.timing = options;
    }

    /// Compiles an ONNX file for timing only: no weight is read, and the session cannot compute.
    pub fn compile_for_timing(
        path: &Path,
        options: &Options,
        observer: &mut dyn Observer,
    ) -> Result<(Self, Findings), Diagnostics> {
        let (compiled, findings) = open_and_compile(path, options, observer)?;
        Ok((Session::new(compiled.without_weights(&path.display().to_string())?)?, findings))
    }

    /// The image.
    pub fn image(&self) -> &Image {
        self.machine.image()
    }

    /// The machine: for state, reports and everything else that only the simulator knows.
    pub fn machine(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// The entry of this name, or the only one there is.
    pub fn entry_name(&self, name: Option<&str>) -> Result<String, Diagnostics> {
        let entries = &self.image().metadata().entries;
        match (name, entries.as_slice()) {
            (Some(name), _) => Ok(self.image().entry(name)?.name.clone()),
            (None, [only]) => Ok(only.name.clone()),
            (None, several) => {
                let names: Vec<&str> = several.iter().map(|entry| entry.name.as_str()).collect();
                let what = format!("the image has {} entries, one must be chosen", several.len());
                Err(Diagnostic::new(&codes::E0509, what).help(format!("--entry {}", names.join(" or --entry "))).into())
            }
        }
    }

    /// Runs an entry (the only one, if none is named).
    pub fn run(&mut self, entry: Option<&str>, inputs: &Arrays) -> Result<Arrays, Diagnostics> {
        let name = self.entry_name(entry)?;
        let inputs = self.carried(&name, inputs)?;
        Ok(self.machine.run(&name, &inputs)?.outputs)
    }

    /// Runs an entry and times it; `tokens` is the number of tokens that the call produces, if it has any.
    pub fn run_timed(
        &mut self,
        entry: Option<&str>,
        inputs: &Arrays,
        tokens: Option<u64>,
    ) -> Result<Timed, Diagnostics> {
        let name = self.entry_name(entry)?;
        let inputs = self.carried(&name, inputs)?;
        let (outcome, timed) = self.machine.run_timed(&name, &inputs, &self.timing)?;
        Ok(Timed { outputs: outcome.outputs, tokens, timed })
    }

    /// Times an entry without computing anything; `tokens` is the number of tokens that the call would produce, if it has any.
    pub fn time(&mut self, entry: Option<&str>, lengths: &Lengths, tokens: Option<u64>) -> Result<Timed, Diagnostics> {
        let name = self.entry_name(entry)?;
        let lengths = Lengths { values: self.carried(&name, &lengths.values)?, ..lengths.clone() };
        let timed = self.machine.time(&name, &lengths, &self.timing)?;
        Ok(Timed { outputs: Arrays::new(), tokens, timed })
    }

    /// Runs an entry and writes down the scalars that its program loads.
    pub fn run_recording(&mut self, entry: Option<&str>, inputs: &Arrays) -> Result<(Arrays, Recording), Diagnostics> {
        let name = self.entry_name(entry)?;
        let inputs = self.carried(&name, inputs)?;
        let (outcome, recording) = self.machine.run_recording(&name, &inputs)?;
        Ok((outcome.outputs, recording))
    }

    /// The report of a timed run of this session.
    pub fn report(&self, timed: &Timed) -> Result<Report, Diagnostics> {
        Ok(Report::new(&self.observation(timed)?))
    }

    /// A Perfetto trace of a timed run of this session.
    pub fn trace(&self, timed: &Timed) -> Result<String, Diagnostics> {
        Ok(trace(&self.observation(timed)?))
    }

    fn observation<'a>(&'a self, timed: &'a Timed) -> Result<Observation<'a>, Diagnostics> {
        self.machine.observation(&timed.timed, timed.tokens)
    }

    /// The inputs with the element types that the entry declares, where numpy lacks them.
    pub fn carried(&self, entry: &str, inputs: &Arrays) -> Result<Arrays, Diagnostics> {
        let declared = &self.image().entry(entry)?.inputs;
        let element = |name: &str| declared.iter().find(|info| info.name == name).map(|info| info.element);
        let carry = |(name, tensor): (&String, &HostTensor)| match element(name) {
            Some(element) => Ok((name.clone(), converted(name, tensor.clone(), element)?)),
            None => Ok((name.clone(), tensor.clone())), // the machine says that there is no such input
        };
        inputs.iter().map(carry).collect()
    }
}

/// The tensor as `element`, or an error that says both types.
pub(crate) fn converted(name: &str, tensor: HostTensor, element: Element) -> Result<HostTensor, Diagnostics> {
    let found = tensor.element;
    reinterpret(tensor, element).ok_or_else(|| {
        let what = format!("the input `{name}` is {}, it must be {}", found.name(), element.name());
        let help = "convert the array; bf16 travels as uint16, types below 8 bits one per byte";
        Diagnostic::new(&codes::E0602, what).tensor(name).help(help).into()
    })
}

fn open_and_compile(
    path: &Path,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<(Compiled, Findings), Diagnostics> {
    compile(&Model::open(path, &options.limits)?, options, observer)
}

fn no_input(what: String, names: &[&str]) -> Diagnostics {
    Diagnostic::new(&codes::E0601, what).help(format!("the inputs are {}", names.join(", "))).into()
}
