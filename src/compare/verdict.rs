//! From a comparison to the one sentence that matters: the first node, pass and instruction whose error leaves the tolerance.

use narae_isa::{Diagnostic, Diagnostics, codes};

use super::{Cell, Comparison, Place, Stage, Wrong};
use crate::difference::Difference;

/// Nothing if all stages agree; otherwise the first divergence, and a line for every other stage that diverges from the one before it.
pub fn verdict(comparison: &Comparison) -> Result<(), Diagnostics> {
    let Some(first) = comparison.stages.iter().find(|stage| leaves(stage)) else {
        return match &comparison.wrong {
            Some(wrong) => Err(at_instruction(wrong).into()),
            None => drift(comparison),
        };
    };
    let mut found = match (&comparison.wrong, first.name.as_str()) {
        (Some(wrong), "instructions") => at_instruction(wrong),
        _ => at_stage(comparison, first),
    };
    for stage in comparison.stages.iter().filter(|stage| leaves(stage) && stage.name != first.name) {
        found = found.note(also(comparison, stage));
    }
    match &comparison.wrong {
        Some(wrong) if first.name != "instructions" => {
            found = found.note(format!("instruction {} `{}` is wrong as well: {}", wrong.pc, wrong.text, wrong.reason));
        }
        _ => {}
    }
    Err(found.into())
}

/// Whether some tensor of a stage is too far from the stage before.
pub(super) fn leaves(stage: &Stage) -> bool {
    stage.worst().is_some_and(|(cell, _)| cell.excess() > 1.0)
}

/// The first tensor, in the order of the model, that leaves the tolerance at a stage; an output if no tensor does.
pub(super) fn first_place(stage: &Stage, excess: impl Fn(&Cell) -> f64) -> Option<(&Cell, Place<'_>)> {
    let tensor = stage.tensors.iter().find(|(_, cell)| excess(cell) > 1.0);
    let tensor = tensor.map(|(number, cell)| (cell, Place::Tensor(*number)));
    tensor.or_else(|| {
        let output = stage.outputs.iter().find(|(_, cell)| excess(cell) > 1.0);
        output.map(|(name, cell)| (cell, Place::Output(name)))
    })
}

fn at_stage(comparison: &Comparison, stage: &Stage) -> Diagnostic {
    let Some((cell, place)) = first_place(stage, Cell::excess) else {
        unreachable!("the stage was chosen because something in it leaves the tolerance")
    };
    let (what, against) = (described(stage), &stage.against);
    let name = named(comparison, place);
    let found = Diagnostic::new(&codes::E0901, format!("{what} is the first to leave the tolerance, at {name}"));
    let found =
        located(comparison, found, place).note(format!("against {against}: {}", numbers(cell.step.as_ref(), cell)));
    let found = match comparison.suspects.as_slice() {
        [] => found,
        laws => found.note(format!("leaving out one of these laws (--without-law) mends it: {}", laws.join(", "))),
    };
    match stage.name.as_str() {
        "import" => found.help("the graph as imported does not compute these answers: an operator's row, or the answers, are wrong"),
        _ if stage.rounds => found.help(
            "this pass rounds because --quant, --error-budget or --precision ask for it; --rtol X says what is acceptable",
        ),
        _ => found.help("this is a mistake of Narae: please report the model and these inputs"),
    }
}

fn also(comparison: &Comparison, stage: &Stage) -> String {
    let Some((cell, place)) = first_place(stage, Cell::excess) else { return String::new() };
    let name = named(comparison, place);
    let numbers = numbers(cell.step.as_ref(), cell);
    format!("{} leaves the tolerance too, at {name}, against {}: {numbers}", described(stage), stage.against)
}

/// Every step is small, but their sum may be too much.
fn drift(comparison: &Comparison) -> Result<(), Diagnostics> {
    let far = |stage: &&Stage| first_place(stage, Cell::total_excess).is_some();
    let Some(stage) = comparison.stages.iter().skip(1).find(far) else { return Ok(()) };
    let Some((cell, place)) = first_place(stage, Cell::total_excess) else { return Ok(()) };
    let name = named(comparison, place);
    let what = format!(
        "every stage is near the one before, but from {} on {name} is too far from the import",
        described(stage)
    );
    let found = Diagnostic::new(&codes::E0901, what);
    Err(located(comparison, found, place).note(numbers(cell.total.as_ref(), cell)).into())
}

fn at_instruction(wrong: &Wrong) -> Diagnostic {
    let what = format!("instruction {} is the first to leave the placed program: it {}", wrong.pc, wrong.reason);
    let mut found = Diagnostic::new(&codes::E0901, what).note(format!("instruction {} is `{}`", wrong.pc, wrong.text));
    if let Some((name, op)) = wrong.nodes.first() {
        found = found.at_node(name.clone(), op.clone());
    }
    if let Some(origin) = &wrong.origin {
        found = found.note(format!("it comes from tile op {} and graph op `{}`", origin.tile, origin.graph));
    }
    wrong.notes.iter().fold(found, |found, note| found.note(note.clone()))
}

fn described(stage: &Stage) -> String {
    match stage.name.as_str() {
        "import" => "the imported graph".to_string(),
        "instructions" => "the run of the instructions".to_string(),
        pass => format!("the pass `{pass}`"),
    }
}

fn named(comparison: &Comparison, place: Place<'_>) -> String {
    match place {
        Place::Output(name) => format!("output `{name}`"),
        Place::Tensor(number) => match comparison.tensors.get(&number) {
            Some(tensor) => format!("tensor `{}`", tensor.name),
            None => format!("tensor {number}"),
        },
    }
}

/// The ONNX node, and the instructions that implement it.
fn located(comparison: &Comparison, found: Diagnostic, place: Place<'_>) -> Diagnostic {
    let Place::Tensor(number) = place else { return found };
    let Some(tensor) = comparison.tensors.get(&number) else { return found };
    let found = found.at_node(tensor.node.name.clone(), tensor.node.op.clone());
    match comparison.ranges.get(&tensor.node.name) {
        Some((first, last)) if first == last => found.note(format!("instruction {first} implements the node")),
        Some((first, last)) => found.note(format!("instructions {first} to {last} implement the node")),
        None => found.note("no instruction implements the node alone"),
    }
}

fn numbers(difference: Option<&Difference>, cell: &Cell) -> String {
    let Some(difference) = difference else { return "the dims are not the same".to_string() };
    format!(
        "max |Δ| {:.3e} ({:.1e} of the range, {:.2} × the tolerance), cosine {:.6}; element {} is {:.6e}, wanted {:.6e}",
        difference.max_abs,
        difference.relative,
        difference.excess(cell.tolerance),
        difference.cosine,
        difference.worst,
        difference.values.0,
        difference.values.1,
    )
}
