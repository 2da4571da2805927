//! One case through both roads: the reference evaluator on the imported graph, and the instructions of the chip.
//!
//! In: a case. Out: nothing, or why it fails. Always holds: the model is imported and compiled once; inputs are run-time inputs, of which the
//! compiler sees extents as upper bounds and never contents. Of outputs it sees nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use narae::compiler::bounds;
use narae::compiler::compile::{Options, Precision, compile_graph};
use narae::compiler::graph::eval::evaluate;
use narae::compiler::graph::{Graph, Port};
use narae::compiler::onnx::{Limits, Model, import};
use narae::compiler::pipeline::Unobserved;
use narae::isa::chip::Chip;
use narae::isa::image::Image;
use narae::isa::{Diagnostics, Element, HostTensor};
use narae::npz::Arrays;
use narae::sim::Machine;

use super::archive::{Call, Case, Tolerance};

/// Runs a case both ways and compares; the error says where it left the road.
pub fn judge(case: &Case, chip: &Chip) -> Result<(), String> {
    let calls = case.calls()?;
    let tolerance = case.tolerance()?;
    let model = Model::open(case.model(), &Limits::default()).map_err(|problems| said("open", &problems))?;
    let mut graph = import(&model).map_err(|problems| said("import", &problems))?;
    let calls: Vec<(Arrays, Arrays)> = calls.iter().map(|call| named(&graph, call)).collect();
    let options = options(chip, &calls);
    bounds::fix(&mut graph, &options.maxima).map_err(|problems| said("bounds", &problems))?;
    let evaluated = evaluator(graph.clone(), &calls, tolerance);
    let executed = instructions(graph, &case.name, &options, &calls, tolerance);
    match (evaluated, executed) {
        (Ok(()), executed) => executed,
        (Err(problem), Ok(())) => Err(format!("only the evaluator fails: {problem}")),
        (Err(evaluated), Err(executed)) => Err(format!("{executed}; {evaluated}")),
    }
}

/// The evaluator on the graph in the precision that is compiled for.
fn evaluator(mut graph: Graph, calls: &[(Arrays, Arrays)], tolerance: Tolerance) -> Result<(), String> {
    graph.set_precision(Element::F32).map_err(|problem| format!("evaluate: {problem}"))?;
    for (inputs, wanted) in calls {
        let outputs = evaluate(&graph, inputs).map_err(|problem| format!("evaluate: {problem}"))?;
        compare(&outputs, wanted, tolerance).map_err(|problem| format!("evaluate: {problem}"))?;
    }
    Ok(())
}

/// The instructions of the chip, from compiling to the outputs.
fn instructions(
    graph: Graph,
    name: &str,
    options: &Options,
    calls: &[(Arrays, Arrays)],
    tolerance: Tolerance,
) -> Result<(), String> {
    let (compiled, _) =
        compile_graph(graph, options, &mut Unobserved).map_err(|problems| said("compile", &problems))?;
    let bytes = compiled.to_bytes().map_err(|problems| said("encode", &problems))?;
    let image = Image::from_bytes(name, bytes).map_err(|problems| said("image", &problems))?;
    let limits = narae::sim::Limits::default();
    let mut machine = Machine::new(Arc::new(image), limits).map_err(|problems| said("machine", &problems))?;
    for (inputs, wanted) in calls {
        let outcome = machine.run("main", inputs).map_err(|problems| said("run", &problems))?;
        compare(&outcome.outputs, wanted, tolerance).map_err(|problem| format!("run: {problem}"))?;
    }
    Ok(())
}

/// What `narae run --precision f32` on an ONNX file compiles with: inputs' lengths are bounded by those given, what the program computes by
/// what fits.
fn options(chip: &Chip, calls: &[(Arrays, Arrays)]) -> Options {
    let mut options = Options::new(chip.clone());
    options.precision = Precision::F32;
    let shapes = |arrays: &Arrays| arrays.iter().map(|(name, tensor)| (name.clone(), tensor.dims.clone())).collect();
    options.maxima.shapes = calls.iter().map(|(inputs, _)| shapes(inputs)).collect();
    options
}

/// The first lines of a report: enough to say why.
fn said(stage: &str, problems: &Diagnostics) -> String {
    let text = problems.to_string();
    let lines: Vec<&str> = text.lines().take(4).map(str::trim).collect();
    format!("{stage}: {}", lines.join(" "))
}

fn named(graph: &Graph, call: &Call) -> (Arrays, Arrays) {
    let name = |ports: &[Port], tensors: &[HostTensor]| -> BTreeMap<String, HostTensor> {
        ports.iter().map(|port| port.name.clone()).zip(tensors.iter().cloned()).collect()
    };
    (name(graph.inputs(), &call.inputs), name(graph.outputs(), &call.outputs))
}

fn compare(got: &Arrays, wanted: &Arrays, tolerance: Tolerance) -> Result<(), String> {
    for (name, want) in wanted {
        let got = got.get(name).ok_or_else(|| format!("the output `{name}` is missing"))?;
        close(got, want, tolerance).map_err(|problem| format!("`{name}`: {problem}"))?;
    }
    Ok(())
}

/// As the suite's runner compares: floats by |Δ| ≤ atol + rtol·|want|, everything else exactly.
fn close(got: &HostTensor, want: &HostTensor, tolerance: Tolerance) -> Result<(), String> {
    if got.dims != want.dims || got.element != want.element {
        return Err(format!("{}{:?} instead of {}{:?}", got.element, got.dims, want.element, want.dims));
    }
    for index in 0..want.len() {
        if !want.element.is_float() {
            let (a, b) = (got.get_i64(index), want.get_i64(index));
            if a != b {
                return Err(format!("element {index} is {a} instead of {b}"));
            }
            continue;
        }
        let (a, b) = (got.get_f64(index), want.get_f64(index));
        let near = (a - b).abs() <= tolerance.absolute + tolerance.relative * b.abs();
        if a != b && !(a.is_nan() && b.is_nan()) && !near {
            return Err(format!("element {index} is {a} instead of {b}"));
        }
    }
    Ok(())
}
