//! A zoo: a folder of exporters' models with the answers of a reference runtime, as its `manifest.json` lists them.
//!
//! In: `$NARAE_ZOO_DIR`, else `models/zoo` of the shared folder; `$NARAE_ZOO=text` limits it to files whose name contains the text.
//! Out: rows with their calls and tolerances, and one report over all of them. Always holds: a row that is expected to be refused and
//! is not fails the test, and so does every other row that does not match.

use std::collections::BTreeMap;
use std::path::PathBuf;

use narae::npz::{self, Arrays};
use narae_compiler::graph::{Graph, Port};
use narae_compiler::ir::Dim;
use narae_isa::{Element, HostTensor};
use serde_json::Value;

use super::compare::{Tolerance, compare_all};

/// Files that are refused, and why: the only ones.
pub const REFUSED: &[(&str, &str)] = &[
    ("torch_ts_odd/scripted_loop_sequence.onnx", "sequences do not exist on the chip"),
    ("torch_ts_odd/scripted_split_sequence.onnx", "sequences do not exist on the chip"),
];

/// A folder of models.
pub struct Zoo {
    folder: PathBuf,
    /// What the names of its files must contain to be chosen.
    chosen: Option<String>,
}

/// One row of the manifest.
#[derive(Clone, Debug)]
pub struct Row {
    /// The file's name inside of the zoo.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// The archive of its calls, if it has one.
    reference: Option<PathBuf>,
    calls: Vec<String>,
    relative: f64,
    absolute: BTreeMap<String, f64>,
}

/// One stored call.
pub struct Call {
    /// `set0/call1`.
    pub name: String,
    /// What is given.
    pub inputs: Arrays,
    /// What the reference runtime answered.
    pub wanted: Arrays,
}

impl Zoo {
    /// The zoo, if it is there.
    pub fn find() -> Option<Zoo> {
        let folder = std::env::var_os("NARAE_ZOO_DIR").map(PathBuf::from).or_else(|| super::shared("models/zoo"))?;
        let chosen = std::env::var("NARAE_ZOO").ok();
        folder.join("manifest.json").exists().then_some(Zoo { folder, chosen })
    }

    /// A zoo by its folder below the shared one, if it is there.
    pub fn named(folder: &str) -> Option<Zoo> {
        let folder = super::shared(folder)?;
        folder.join("manifest.json").exists().then_some(Zoo { folder, chosen: std::env::var("NARAE_ZOO").ok() })
    }

    /// Models of one operator each with onnxruntime's answers, which belong to the repository (`tests/data/operators.py`).
    pub fn of_operators() -> Zoo {
        Zoo { folder: super::data("operators"), chosen: None }
    }

    /// The rows that were chosen; if nothing was, those that contain `default`.
    pub fn rows(&self, default: &str) -> Vec<Row> {
        let text = std::fs::read_to_string(self.folder.join("manifest.json")).expect("the zoo has a manifest");
        let rows: Vec<Value> = serde_json::from_str(&text).expect("the manifest is a list");
        let chosen = self.chosen.as_deref().unwrap_or(default);
        rows.iter().map(|row| self.row(row)).filter(|row| row.name.contains(chosen)).collect()
    }

    fn row(&self, row: &Value) -> Row {
        let text = |value: &Value| value.as_str().map(str::to_string);
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let name = text(&row["file"]).expect("a row names its file");
        let absolute = row["tolerance"]["atol"].as_object().cloned().unwrap_or_default();
        Row {
            path: self.folder.join(&name),
            name,
            reference: text(&row["ref"]).map(|reference| self.folder.join(reference)),
            calls: list(&row["calls"]).iter().filter_map(text).collect(),
            relative: row["tolerance"]["rtol"].as_f64().unwrap_or(1e-3),
            absolute: absolute.into_iter().filter_map(|(name, value)| Some((name, value.as_f64()?))).collect(),
        }
    }
}

impl Row {
    /// Whether a reference runtime answered.
    pub fn has_answers(&self) -> bool {
        self.reference.is_some()
    }

    /// All stored calls.
    pub fn calls(&self) -> Result<Vec<Call>, String> {
        let reference = self.reference.as_ref().ok_or("no reference")?;
        let read = |prefix: String| npz::read_selected(reference, &prefix).map_err(|problem| problem.to_string());
        let call = |name: &String| {
            let (inputs, wanted) = (read(format!("{name}/in/"))?, read(format!("{name}/out/"))?);
            Ok(Call { name: name.clone(), inputs, wanted })
        };
        self.calls.iter().map(call).collect()
    }

    /// The largest difference of an answer, if it is within the manifest's tolerances.
    pub fn judge(&self, call: &Call, got: &Arrays) -> Result<f64, String> {
        let tolerance = |output: &str| Tolerance {
            relative: self.relative,
            absolute: self.absolute.get(output).copied().unwrap_or(1e-4),
        };
        compare_all(got, &call.wanted, &call.inputs, tolerance).map_err(|problem| format!("{}: {problem}", call.name))
    }

    /// Inputs for a file without answers: two sequences of seven tokens, nothing before them, in the types of its graph.
    pub fn made_up_inputs(&self, graph: &Graph) -> Arrays {
        let size = |symbol| match graph.symbols.name(symbol) {
            name if name.contains("past") => 0,
            name if name.contains("batch") => 2,
            name if name.contains("seq") => 7,
            _ => 8,
        };
        let extent =
            |dim: &Dim| dim.eval(&|symbol| Some(size(symbol))).expect("the dims of inputs have values") as usize;
        let tensor = |port: &Port| {
            let dims: Vec<usize> = graph.dims(port.value).iter().map(extent).collect();
            (port.name.clone(), made_up(&port.name, graph.element(port.value), &dims))
        };
        graph.inputs().iter().map(tensor).collect()
    }
}

/// How far the chip may be from the evaluator, which rounds in other places: a few roundings of the narrowest type that is delivered.
pub fn own_tolerance(outputs: &Arrays) -> impl Fn(&str) -> Tolerance {
    let rounding = |element| match element {
        Element::BF16 => 2f64.powi(-8),
        Element::F16 => 2f64.powi(-11),
        _ => 2f64.powi(-17),
    };
    let narrowest = outputs.values().map(|tensor| rounding(tensor.element)).fold(0.0, f64::max);
    let largest = |tensor: &HostTensor| tensor.to_f64_vec().into_iter().map(f64::abs).fold(0.0, f64::max);
    let largest: Vec<(String, f64)> = outputs.iter().map(|(name, tensor)| (name.clone(), largest(tensor))).collect();
    move |name| {
        let range = largest.iter().find(|(other, _)| other == name).map_or(0.0, |(_, range)| *range);
        Tolerance { relative: 8.0 * narrowest, absolute: 8.0 * narrowest * range }
    }
}

/// Numbers for one input.
fn made_up(name: &str, element: Element, dims: &[usize]) -> HostTensor {
    // A fixed sequence of pseudorandom numbers (Knuth's multiplier): the same on every machine.
    let noise = |index: usize| (index as u64 + 1).wrapping_mul(6_364_136_223_846_793_005) >> 40;
    let number = |index: usize| match element {
        Element::Bool => 1.0,
        element if element.is_integer() && name.contains("mask") => 1.0,
        element if element.is_integer() => (noise(index) % 97) as f64,
        _ => noise(index) as f64 / f64::from(1 << 23) - 1.0,
    };
    let numbers: Vec<f64> = (0..dims.iter().product()).map(number).collect();
    HostTensor::from_f64_as(element, dims, &numbers)
}

/// Judges all rows: `Ok` says what passed. Prints a line per row; fails with all problems at once.
pub fn judge_rows(rows: &[Row], mut judge: impl FnMut(&Row) -> Result<String, String>) {
    let (mut passed, mut failed) = (0, Vec::new());
    for row in rows {
        let refusal = REFUSED.iter().find(|(name, _)| *name == row.name);
        match (judge(row), refusal) {
            (Ok(_), Some(_)) => failed.push(format!("{}: passes, but should be refused", row.name)),
            (Err(_), Some((_, reason))) => println!("refused {}: {reason}", row.name),
            (Ok(summary), None) => {
                passed += 1;
                println!("pass {} ({summary})", row.name);
            }
            (Err(problem), None) => {
                let short: String = problem.lines().take(12).collect::<Vec<_>>().join("\n     ");
                println!("FAIL {}: {short}", row.name);
                failed.push(row.name.clone());
            }
        }
    }
    println!("{passed} of {} files pass", passed + failed.len());
    assert!(failed.is_empty(), "{failed:?}");
}
