//! `narae compare`: all stages of the road on one call, side by side. In: a model, inputs, perhaps expected outputs. Out: a line per
//! stage, with `--all` a line per tensor; exit code 4 and the first node, pass and instruction if something leaves the tolerance.

use std::fmt::Write as _;
use std::path::PathBuf;

use narae::compare::{Cell, Comparison, Place, Settings, Stage, compare, verdict};
use narae::difference::Difference;
use narae::npz::{self, Arrays};
use narae::settings;
use narae_compiler::compile::KvCache;
use narae_compiler::onnx::Model;
use narae_isa::Diagnostics;
use serde_json::{Value, json};

use super::options::CompileOptions;
use super::progress::Progress;
use super::{Outcome, Voice, output, wrong_option};

/// What to compare.
#[derive(clap::Args)]
pub struct Arguments {
    /// The model (.onnx)
    model: PathBuf,
    /// Inputs: an .npz whose keys are the input names
    #[arg(long, value_name = "NPZ")]
    inputs: PathBuf,
    /// Take the keys below this prefix: `set0/call0` reads `set0/call0/in/…`, and expects `set0/call0/out/…` where they are there
    #[arg(long, value_name = "PREFIX")]
    call: Option<String>,
    /// What another runtime answered (.npz): outputs, or any tensor inside by its ONNX name
    #[arg(long, value_name = "NPZ")]
    expected: Option<PathBuf>,
    /// What is acceptable, as a part of a tensor's range [default: by element type, 1e-4 for f32]
    #[arg(long, value_name = "X")]
    rtol: Option<f64>,
    /// A line for every tensor: max |Δ|, relative to the range, cosine, each against the import
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compile: CompileOptions,
}

/// Compares, prints, judges.
pub fn run(arguments: Arguments, voice: Voice) -> Outcome {
    if arguments.rtol.is_some_and(|rtol| !(rtol >= 0.0 && rtol.is_finite())) {
        let given = arguments.rtol.map(|rtol| rtol.to_string()).unwrap_or_default();
        return Err(wrong_option("--rtol", &given, &"a number of 0 or more"));
    }
    let inputs = npz::read_call(&arguments.inputs, arguments.call.as_deref(), "in")?;
    let expected = expected(&arguments)?;
    let file = settings::model_file(&arguments.model)?;
    let mut options = arguments.compile.resolve(&file, KvCache::Io)?;
    // Lengths without a bound take it from the inputs that are given.
    options.maxima.given.push(narae::session::shapes(&inputs));
    let model = Model::open(&file, &options.limits)?;
    voice.detail(format_args!("comparing the stages of {}", arguments.model.display()));
    let settings = Settings { options: &options, relative: arguments.rtol, tamper: None };
    let line = Progress::phase(voice, "comparing the stages");
    let found = compare(&model, &inputs, expected.as_ref(), &settings)?;
    drop(line);
    let verdict = verdict(&found);
    let text = match arguments.json {
        true => format!("{:#}\n", to_json(&found, &verdict)),
        false => human(&found, arguments.all),
    };
    output::to_stdout(text.as_bytes())?;
    if verdict.is_ok() && !arguments.json {
        voice.say("all stages agree");
    }
    verdict
}

fn expected(arguments: &Arguments) -> Result<Option<Arrays>, Diagnostics> {
    let prefix = arguments.call.as_ref().map(|call| format!("{}/out/", call.trim_end_matches('/'))).unwrap_or_default();
    match (&arguments.expected, &arguments.call) {
        (Some(path), _) => {
            let below = npz::read_selected(path, &prefix)?;
            // A file of outputs alone needs no prefix.
            if below.is_empty() { npz::read(path).map(Some) } else { Ok(Some(below)) }
        }
        (None, Some(_)) => {
            Ok(Some(npz::read_selected(&arguments.inputs, &prefix)?).filter(|arrays| !arrays.is_empty()))
        }
        (None, None) => Ok(None),
    }
}

fn human(found: &Comparison, all: bool) -> String {
    let table = if all { tensors(found) + "\n" } else { String::new() };
    let width = found.stages.iter().map(|stage| stage.name.len()).max().unwrap_or(0);
    let mut out = format!("{table}{:<width$}  compared  {HEADER}  of tolerance  largest step at\n", "stage");
    for stage in &found.stages {
        let _ = writeln!(out, "{:<width$}  {}", stage.name, line(found, stage));
    }
    let _ = writeln!(out, "\n{} instructions ran in step with the placed program", found.instructions);
    out
}

/// The columns of [`numbers`].
const HEADER: &str = "  max |Δ|  relative    cosine";

fn numbers(difference: &Difference) -> String {
    if difference.max_abs == 0.0 {
        return format!("{:>9}{:>20}", "equal", "");
    }
    format!("{:>9.2e} {:>9.2e} {:>9.6}", difference.max_abs, difference.relative, difference.cosine)
}

/// The largest step of a stage from the stage before.
fn line(found: &Comparison, stage: &Stage) -> String {
    let count = stage.tensors.len() + stage.outputs.len();
    match stage.worst() {
        None => format!("{count:>8}  against {}", stage.against),
        Some((Cell { step: None, .. }, place)) => format!("{count:>8}  the dims of {} differ", place_name(found, place)),
        Some((Cell { step: Some(step), .. }, _)) if step.max_abs == 0.0 => {
            format!("{count:>8}  {}", numbers(step).trim_end())
        }
        Some((cell @ Cell { step: Some(step), .. }, place)) => {
            let part = of_tolerance(cell.excess());
            format!("{count:>8}  {}  {part:>12}  {}", numbers(step), place_name(found, place))
        }
    }
}

/// A part of the tolerance, or a multiple.
fn of_tolerance(excess: f64) -> String {
    if excess < 10.0 { format!("{:.2} %", 100.0 * excess) } else { format!("{excess:.3e} ×") }
}

fn place_name(found: &Comparison, place: Place<'_>) -> String {
    match place {
        Place::Output(name) => format!("output {name}"),
        Place::Tensor(number) => found.tensors.get(&number).map_or(String::new(), |tensor| tensor.name.clone()),
    }
}

/// What stands beside each other: the graph before lowering, the placed program, the instructions.
fn sides(found: &Comparison) -> [Option<&Stage>; 3] {
    let lowering = found.stages.iter().position(|stage| stage.name == "lower");
    let graph = lowering.and_then(|at| at.checked_sub(1)).and_then(|at| found.stages.get(at));
    let named = |name: &str| found.stages.iter().find(|stage| stage.name == name);
    let tile = found.stages.iter().rev().find(|stage| stage.name != "instructions").filter(|_| lowering.is_some());
    [graph, tile, named("instructions")]
}

/// The longest name of a tensor that is printed whole.
const NAME: usize = 44;

fn tensors(found: &Comparison) -> String {
    let sides = sides(found);
    let mut out = format!("{:NAME$}  {:<29}  {:<29}  instructions\n", "", "optimised graph", "tile program");
    let _ = writeln!(out, "{:NAME$}  {HEADER}  {HEADER}  {HEADER}  node", "tensor, against the import");
    for (number, tensor) in &found.tensors {
        let cells: Vec<Option<&Cell>> =
            sides.iter().map(|side| side.and_then(|stage| stage.tensors.get(number))).collect();
        let node = format!("{} ({})", tensor.node.name, tensor.node.op);
        let name = shortened(&tensor.name);
        if cells.iter().all(Option::is_none) {
            let _ = writeln!(out, "{name:NAME$}  {:<91}  {node}", "fused or folded");
            continue;
        }
        let columns: Vec<String> = cells.into_iter().map(column).collect();
        let _ = writeln!(out, "{name:NAME$}  {}  {node}", columns.join("  "));
    }
    out
}

fn column(cell: Option<&Cell>) -> String {
    match cell {
        None => format!("{:>9}{:20}", "-", ""),
        Some(Cell { total: None, .. }) => format!("{:>9}{:20}", "dims", ""),
        Some(Cell { total: Some(total), .. }) => numbers(total),
    }
}

/// The end of a name, which says more than its start.
fn shortened(name: &str) -> String {
    let length = name.chars().count();
    if length <= NAME { name.to_string() } else { format!("…{}", name.chars().skip(length - NAME + 1).collect::<String>()) }
}

fn to_json(found: &Comparison, verdict: &Result<(), Diagnostics>) -> Value {
    let stages: Vec<Value> = found.stages.iter().map(|stage| stage_to_json(found, stage)).collect();
    let wrong = found.wrong.as_ref().map(|wrong| {
        json!({
            "pc": wrong.pc, "instruction": wrong.text, "reason": wrong.reason, "notes": wrong.notes,
            "tile": wrong.origin.as_ref().map(|origin| &origin.tile),
            "graph": wrong.origin.as_ref().map(|origin| &origin.graph),
            "nodes": wrong.nodes,
        })
    });
    let problems: Vec<Value> = verdict.as_ref().err().into_iter().flat_map(Diagnostics::iter).map(|found| found.to_json()).collect();
    json!({ "stages": stages, "instructions": found.instructions, "wrong_instruction": wrong, "divergences": problems })
}

fn stage_to_json(found: &Comparison, stage: &Stage) -> Value {
    let tensors: Vec<Value> = stage
        .tensors
        .iter()
        .filter_map(|(number, cell)| {
            let tensor = found.tensors.get(number)?;
            let node = json!({ "name": tensor.node.name, "op": tensor.node.op });
            Some(json!({ "tensor": tensor.name, "node": node, "step": difference(cell.step), "total": difference(cell.total),
                         "of_tolerance": cell.excess() }))
        })
        .collect();
    let outputs: Vec<Value> = stage
        .outputs
        .iter()
        .map(|(name, cell)| {
            json!({ "output": name, "step": difference(cell.step), "total": difference(cell.total), "of_tolerance": cell.excess() })
        })
        .collect();
    json!({ "stage": stage.name, "against": stage.against, "rounds": stage.rounds, "tensors": tensors, "outputs": outputs })
}

fn difference(difference: Option<Difference>) -> Value {
    difference.map_or(Value::Null, |found| {
        json!({ "max_abs": found.max_abs, "relative": found.relative, "cosine": found.cosine, "index": found.worst })
    })
}
