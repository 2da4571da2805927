//! Which law is to blame when recovery changes a tensor. In: the imported graph, the stage that diverged. Out: the laws of which leaving out
//! any one mends the first tensor that left the tolerance: the wrong one, and those that lead to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use narae_compiler::compile::{Findings, Options};
use narae_compiler::graph::Graph;
use narae_compiler::graph::eval::{Watch, evaluate_watched};
use narae_compiler::graph::names::Tensor;
use narae_compiler::pipeline::{self, Context, Module, Unobserved};
use narae_isa::{Diagnostic, Diagnostics, HostTensor};

use super::verdict::first_place;
use super::{Cell, Place, Stage};
use crate::difference::Difference;
use crate::npz::Arrays;

/// The passes up to the one that runs the laws.
const ROAD: [&str; 3] = ["fix-dims", "canonicalize", "recover"];

pub(super) fn suspects(
    graph: &Graph,
    inputs: &Arrays,
    stage: &Stage,
    options: &Options,
    findings: &Findings,
) -> Result<Vec<String>, Diagnostics> {
    let Some((cell, Place::Tensor(number))) = first_place(stage, Cell::excess) else { return Ok(Vec::new()) };
    let reference = Wanted::of(graph, inputs, number)?;
    let Some(reference) = reference else { return Ok(Vec::new()) };
    let applied: BTreeSet<&String> = findings.recovered.regions.iter().flat_map(|region| region.laws.keys()).collect();
    let mut mending = Vec::new();
    for law in applied {
        let mut options = options.clone();
        options.without_laws.insert(law.clone());
        let passes = ROAD.iter().map(|name| pipeline::find(name)).collect::<Result<Vec<_>, _>>()?;
        let module = Module::Graph(graph.clone());
        let module = pipeline::run(module, passes, &mut Context::new(&options), &mut Unobserved)?;
        let Module::Graph(recovered) = module else { continue };
        let near = match Wanted::of(&recovered, inputs, number)? {
            None => true, // fused away: the laws that are left do without it
            Some(got) => Difference::between(&got, &reference).is_some_and(|found| found.excess(cell.tolerance) <= 1.0),
        };
        if near {
            mending.push(law.clone());
        }
    }
    Ok(mending)
}

/// One tensor of an evaluation.
struct Wanted {
    number: u32,
    value: Option<HostTensor>,
}

impl Wanted {
    fn of(graph: &Graph, inputs: &Arrays, number: u32) -> Result<Option<HostTensor>, Diagnostics> {
        let mut wanted = Wanted { number, value: None };
        evaluate_watched(graph, inputs, &mut wanted)?;
        Ok(wanted.value)
    }
}

impl Watch for Wanted {
    fn tensor(&mut self, tensor: &Arc<Tensor>, value: &HostTensor) -> Result<(), Diagnostic> {
        if tensor.number == self.number {
            self.value = Some(value.clone());
        }
        Ok(())
    }
}
