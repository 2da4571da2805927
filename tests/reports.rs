//! Every case of `../shared/reports/cases`, on both chip sheets, as its README says: the model is run by the built binary and its
//! outputs are held against stored answers.
//!
//! Always holds: a case that fails and is not in [`KNOWN`] fails the test, and so does an entry of [`KNOWN`] that passes; a run that does
//! not end within [`SECONDS`] of processor time, or takes more than [`KIBIBYTES`], is a failure of its case and of nothing else. Figures of one
//! run: `cargo test --test reports -- --nocapture`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use narae::npz::{self, Arrays};
use narae_isa::{Element, HostTensor};

/// Cases that fail today, with the kind of the README that they belong to. An entry that passes has to go.
const KNOWN: &[&str] = &[];

/// Processor time that one command may take.
const SECONDS: u64 = 20;
/// Address space that one command may take.
const KIBIBYTES: u64 = 4 << 20;

/// How far a result may be from the stored answer, of the range of what is wanted and on top of it.
const EXACT: (f64, f64) = (1e-4, 1e-5);

/// What the README asks of a case.
enum Ask {
    /// The stored answer, in f32.
    Answer,
    /// A coded error at a place.
    Refusal,
    /// The answer within the rounding of a narrower type, and no NaN or infinity where there is none in f32.
    Precision(&'static str, (f64, f64)),
    /// What the evaluator makes of the quantised weights, and a weight that is listed as coded.
    Quantised,
    /// A coded error, or the stored answer.
    Wide,
}

fn ask(name: &str, folder: &Path) -> Ask {
    match name {
        _ if name.starts_with("prec_bf16") => Ask::Precision("bf16", (4e-2, 1e-3)),
        _ if name.starts_with("prec_f16") => Ask::Precision("f16", (5e-3, 1e-4)),
        "q_huge" => Ask::Wide,
        _ if name.starts_with("q_") && !name.starts_with("ql_") => Ask::Quantised,
        _ if !folder.join("want.npz").exists() => Ask::Refusal,
        _ => Ask::Answer,
    }
}

/// A run of the binary under limits of time and memory: exit code, standard output, standard error.
fn limited(arguments: &[&str]) -> (i32, String, String) {
    let script = format!("ulimit -t {SECONDS}; ulimit -v {KIBIBYTES}; exec \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &script, "narae", env!("CARGO_BIN_EXE_narae")])
        .args(arguments)
        .env("NO_COLOR", "1")
        .output()
        .expect("a shell starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(255), text(&output.stdout), text(&output.stderr))
}

/// The outputs of `narae run` with more arguments, or what it said.
fn run(folder: &Path, chip: &str, more: &[&str]) -> Result<Arrays, String> {
    let place = tempfile::tempdir().expect("a temporary folder");
    let [model, inputs, out] = [folder.join("model.onnx"), folder.join("in.npz"), place.path().join("out.npz")];
    let mut arguments = vec!["run", text(&model), "--inputs", text(&inputs), "-o", text(&out)];
    if chip != "evaluator" {
        arguments.extend(["--chip", chip]);
    }
    arguments.extend(more);
    match limited(&arguments) {
        (0, ..) => npz::read(&out).map_err(|problem| problem.to_string()),
        (code, _, stderr) => Err(format!("exit {code}: {stderr}")),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// The first thing that is wrong with the outputs. A model may have more of them than its answer holds (the caches of attention).
fn compare(got: &Arrays, want: &Arrays, tolerance: (f64, f64)) -> Result<(), String> {
    if want.is_empty() {
        return Err(String::from("the stored answer holds nothing"));
    }
    want.iter().try_for_each(|(name, want)| {
        let got = got.get(name).ok_or_else(|| format!("no output {name}, but {:?}", got.keys()))?;
        same(got, want, tolerance).map_err(|what| format!("{name}: {what}"))
    })
}

/// One rounding of a 16-bit type, in parts of the range. An output in such a type cannot be held closer: two results whose f32 values
/// agree to 1e-4 may stand on the two sides of a boundary between neighbours, and then they differ by the whole step between those.
fn step(element: Element) -> f64 {
    match element {
        Element::F16 => 2f64.powi(-10),
        Element::BF16 => 2f64.powi(-7),
        _ => 0.0,
    }
}

fn same(got: &HostTensor, want: &HostTensor, (relative, absolute): (f64, f64)) -> Result<(), String> {
    if got.dims != want.dims {
        return Err(format!("dims {:?}, expected {:?}", got.dims, want.dims));
    }
    let range = (0..want.len()).map(|at| want.get_f64(at).abs()).filter(|size| size.is_finite()).fold(0.0, f64::max);
    let relative = relative.max(step(want.element));
    let allowed = if want.element.is_float() { relative * range + absolute } else { 0.0 };
    for at in 0..want.len() {
        let (a, b) = (got.get_f64(at), want.get_f64(at));
        let alike = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= allowed;
        if !alike {
            return Err(format!("element {at} is {a}, expected {b} (range {range})"));
        }
    }
    Ok(())
}

/// Whether this is a refusal with a code and a place.
fn refused(result: Result<Arrays, String>) -> Result<(), String> {
    match result {
        Ok(_) => Err(String::from("accepted, a refusal is expected")),
        Err(said) if said.contains("error[E") && said.contains("-->") && !said.starts_with("exit 70") => Ok(()),
        Err(said) => Err(format!("refused without code or place: {said}")),
    }
}

/// Holds a case on a chip against what is asked of it.
fn judge(folder: &Path, name: &str, chip: &str) -> Result<(), String> {
    let want = || npz::read(&folder.join("want.npz")).map_err(|problem| problem.to_string());
    match ask(name, folder) {
        Ask::Answer => compare(&run(folder, chip, &[])?, &want()?, EXACT),
        Ask::Refusal => refused(run(folder, chip, &[])),
        Ask::Precision(precision, tolerance) => {
            compare(&run(folder, chip, &["--precision", precision])?, &want()?, tolerance)
        }
        Ask::Quantised => quantised(folder, chip),
        Ask::Wide => match run(folder, chip, &["--quant", "f16"]) {
            Ok(got) => compare(&got, &want()?, EXACT),
            result => refused(result),
        },
    }
}

fn quantised(folder: &Path, chip: &str) -> Result<(), String> {
    let quant = ["--quant", "u4:g32"];
    compare(&run(folder, chip, &quant)?, &run(folder, "evaluator", &[&quant[..], &["--evaluator"]].concat())?, EXACT)?;
    let place = tempfile::tempdir().expect("a temporary folder");
    let (model, image) = (folder.join("model.onnx"), place.path().join("m.narae"));
    let compiled =
        limited(&["compile", text(&model), "-o", text(&image), "--max", "*=16", "--quant", "u4:g32", "--chip", chip]);
    if compiled.0 != 0 {
        return Err(format!("compile: {}", compiled.2));
    }
    let explained = limited(&["explain", text(&image)]);
    let listed = explained.0 == 0 && explained.1.contains("u4");
    if listed { Ok(()) } else { Err(format!("explain lists no coded weight: {}{}", explained.1, explained.2)) }
}

/// The folders of the cases, in order of their names.
fn cases(root: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(root).expect("the folder of cases");
    let paths = entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.join("model.onnx").exists());
    let mut found: Vec<_> =
        paths.map(|path| (path.file_name().expect("a name").to_string_lossy().into_owned(), path)).collect();
    found.sort();
    found
}

fn all_cases_on(chip: &str) {
    let root = shared_or_skip!("reports/cases");
    let cases = cases(&root);
    assert!(cases.len() >= 116, "{} cases in {}", cases.len(), root.display());
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        while let Some((name, folder)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(reason) = judge(folder, name, chip) {
                failures.lock().expect("no thread fails").insert(name.clone(), reason);
            }
        }
    };
    std::thread::scope(|scope| {
        (0..std::thread::available_parallelism().map_or(1, usize::from)).for_each(|_| drop(scope.spawn(work)));
    });
    let failures = failures.into_inner().expect("no thread failed");
    println!("{chip}: {} of {} cases as they should be", cases.len() - failures.len(), cases.len());
    failures.iter().for_each(|(name, reason)| println!("  {name}: {}", reason.trim().replace('\n', " | ")));
    let unknown: Vec<_> = failures.keys().filter(|name| !KNOWN.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "{chip}: these fail: {unknown:?}");
    let mended: Vec<_> = KNOWN.iter().filter(|name| !failures.contains_key(**name)).collect();
    assert!(mended.is_empty(), "{chip}: these pass and must leave KNOWN: {mended:?}");
}

#[test]
fn all_cases_on_narae_1() {
    all_cases_on("narae-1");
}

#[test]
fn all_cases_on_narae_edge() {
    all_cases_on("narae-edge");
}
