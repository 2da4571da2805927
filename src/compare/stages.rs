//! Looking at the road while a model is compiled: after every pass all named tensors are computed and compared.
//!
//! In: modules, as an observer of the compiler's pipeline. Out: one [`Stage`] each. Always holds: the reference is the imported graph; a
//! tensor is compared with the last stage that computed it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use narae_compiler::graph::eval::{Watch, evaluate_watched};
use narae_compiler::graph::names::Tensor;
use narae_compiler::graph::{Graph, Op};
use narae_compiler::pipeline::{Module, Observer, Pass};
use narae_isa::{Diagnostic, Diagnostics, Element, HostTensor, codes};

use super::recording::Recording;
use super::{Cell, Settings, Stage, Values};
use crate::difference::{Difference, Tolerance};
use crate::interpreter;
use crate::npz::{Arrays, reinterpret};
use crate::padding::Padding;

/// The state of the comparison.
pub(super) struct Stages<'a> {
    inputs: &'a Arrays,
    /// What models compute at padded positions is arbitrary, so it is not compared.
    padding: Option<Padding>,
    relative: Option<f64>,
    /// What the types inside of the model allow at least.
    floor: Tolerance,
    /// The tensors of the model.
    pub(super) tensors: BTreeMap<u32, Arc<Tensor>>,
    /// Values of the imported graph: tensors, and outputs by name.
    reference: (Values, Arrays),
    /// The last value of each.
    last: (Values, Arrays),
    pub(super) stages: Vec<Stage>,
    /// The placed program, step by step.
    pub(super) tape: Recording,
}

impl<'a> Stages<'a> {
    pub(super) fn new(graph: &Graph, inputs: &'a Arrays, settings: &Settings<'_>) -> Stages<'a> {
        let asked = settings.options.precision.element().map(|element| Tolerance::of([element; 2]));
        Stages {
            inputs,
            padding: Padding::of_call(inputs),
            relative: settings.relative,
            floor: wider(inside(graph), asked.unwrap_or(NOTHING)),
            tensors: BTreeMap::new(),
            reference: (Values::new(), Arrays::new()),
            last: (Values::new(), Arrays::new()),
            stages: Vec::new(),
            tape: Recording::default(),
        }
    }

    /// The imported graph, against what another runtime answered for outputs or for tensors inside.
    pub(super) fn import(&mut self, graph: &Graph, expected: Option<&Arrays>) -> Result<(), Diagnostics> {
        let mut seen = Seen::default();
        let outputs = evaluate_watched(graph, self.inputs, &mut seen)?;
        self.tensors = seen.tensors;
        self.known(expected, &outputs)?;
        let against = if expected.is_some() { "the expected answers" } else { "nothing" };
        let answer = |name: &str, got: &HostTensor| {
            let want = expected?.get(name)?;
            let carried = reinterpret(want.clone(), got.element);
            let want = carried.as_ref().unwrap_or(want);
            Some(self.cell(got, want, want))
        };
        let tensors =
            seen.values.iter().filter_map(|(number, got)| Some((*number, answer(&self.tensors[number].name, got)?)));
        let tensors = tensors.collect();
        let answered = outputs.iter().filter_map(|(name, got)| Some((name.clone(), answer(name, got)?))).collect();
        let (name, against) = ("import".to_string(), against.to_string());
        self.stages.push(Stage { name, against, rounds: false, tensors, outputs: answered });
        self.reference = (seen.values.clone(), outputs.clone());
        self.last = (seen.values, outputs);
        Ok(())
    }

    /// Every expected array is a tensor of the model.
    fn known(&self, expected: Option<&Arrays>, outputs: &Arrays) -> Result<(), Diagnostics> {
        let tensors: BTreeSet<&str> = self.tensors.values().map(|tensor| tensor.name.as_str()).collect();
        let names = expected.into_iter().flat_map(Arrays::keys);
        let unknown = names.filter(|name| !tensors.contains(name.as_str()) && !outputs.contains_key(*name));
        let problem = |name: &String| {
            let what = format!("the expected answers have `{name}`, which no node of the model computes");
            let outputs = outputs.keys().cloned().collect::<Vec<_>>().join(", ");
            Diagnostic::new(&codes::E0601, what)
                .help(format!("the outputs are {outputs}; tensors inside have ONNX's names"))
        };
        Diagnostics::check(unknown.map(problem).collect(), ())
    }

    /// What the machine held at the places where the placed program holds tensors.
    pub(super) fn instructions(&mut self, held: &Values, outputs: &Arrays) {
        let against = self.stages.last().map_or(String::new(), |stage| stage.name.clone());
        self.add("instructions", &against, false, held, outputs);
    }

    fn add(&mut self, name: &str, against: &str, rounds: bool, values: &Values, outputs: &Arrays) {
        let tensors = values
            .iter()
            .filter_map(|(number, got)| {
                Some((*number, self.cell(got, self.last.0.get(number)?, self.reference.0.get(number)?)))
            })
            .collect();
        let outputs = outputs
            .iter()
            .filter_map(|(name, got)| {
                Some((name.clone(), self.cell(got, self.last.1.get(name)?, self.reference.1.get(name)?)))
            })
            .collect();
        let (name, against) = (name.to_string(), against.to_string());
        self.stages.push(Stage { name, against, rounds, tensors, outputs });
    }

    fn cell(&self, got: &HostTensor, last: &HostTensor, reference: &HostTensor) -> Cell {
        let by_type = Tolerance::of([got.element, reference.element]);
        let exact = got.element.is_integer() && got.element.bits() > 8 || got.element == Element::Bool;
        let tolerance = match (exact, self.relative) {
            (true, _) => by_type,
            (false, Some(relative)) => Tolerance { relative, ..by_type },
            (false, None) => wider(by_type, self.floor),
        };
        let between = |want: &HostTensor| match &self.padding {
            Some(padding) => Difference::where_real(got, want, &|index| padding.counts(index, &want.dims)),
            None => Difference::between(got, want),
        };
        Cell { step: between(last), total: between(reference), tolerance }
    }

    fn pass(&mut self, pass: &Pass, values: Values, outputs: Arrays) {
        let against = self.stages.last().map_or(String::new(), |stage| stage.name.clone());
        self.add(pass.name, &against, pass.rounds, &values, &outputs);
        self.last.0.extend(values);
        self.last.1.extend(outputs);
    }
}

impl Observer for Stages<'_> {
    fn after(&mut self, pass: &Pass, module: &Module) -> Result<(), Diagnostics> {
        match module {
            Module::Graph(graph) => {
                let mut seen = Seen::default();
                let outputs = evaluate_watched(graph, self.inputs, &mut seen)?;
                self.pass(pass, seen.values, outputs);
            }
            Module::Tile(program, sources) => {
                let mut tape = Recording::of(program);
                let outputs = interpreter::run(program, sources, self.inputs, &mut tape)?;
                let values = std::mem::take(&mut tape.values);
                self.tape = tape;
                self.pass(pass, values, outputs);
            }
        }
        Ok(())
    }
}

/// All named tensors of one evaluation.
#[derive(Default)]
struct Seen {
    tensors: BTreeMap<u32, Arc<Tensor>>,
    values: Values,
}

impl Watch for Seen {
    fn tensor(&mut self, tensor: &Arc<Tensor>, value: &HostTensor) -> Result<(), Diagnostic> {
        self.tensors.insert(tensor.number, tensor.clone());
        self.values.insert(tensor.number, value.clone());
        Ok(())
    }
}

const NOTHING: Tolerance = Tolerance { relative: 0.0, absolute: 0.0 };

/// What codes of 8 bits that are computed on the way (not weights) do to everything behind them: a level more or less of 255, several
/// times.
const CODES: Tolerance = Tolerance { relative: 5e-2, absolute: 1e-6 };

fn wider(a: Tolerance, b: Tolerance) -> Tolerance {
    Tolerance { relative: a.relative.max(b.relative), absolute: a.absolute.max(b.absolute) }
}

/// The tolerance that the narrowest type inside of a graph asks for.
fn inside(graph: &Graph) -> Tolerance {
    let mut floor = NOTHING;
    for (_, node) in graph.nodes().filter(|(_, node)| !matches!(node.op, Op::Constant { .. })) {
        if matches!(node.op, Op::Quantize { .. }) {
            floor = wider(floor, CODES);
        }
        for element in node.results.iter().map(|&value| graph.element(value)) {
            if matches!(element, Element::F16 | Element::BF16) {
                floor = wider(floor, Tolerance::of([element; 2]));
            }
        }
    }
    floor
}
