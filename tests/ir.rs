//! IR tooling on the command line: every dump is MLIR text that a stock mlir-opt takes and that `narae opt` reads again; passes run on
//! graphs and on tile programs; what looks between passes works wherever something is compiled.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use support::{Run, data, mlir_opt, narae, narae_in};
use tempfile::TempDir;

const LENGTHS: [&str; 6] = ["--max-batch", "2", "--max-seq", "8", "--max-past", "16"];
const GRAPH_PASSES: &str = "fix-dims,canonicalize,recover,expose,decide,retype,roll,dead-code,bound";

fn text_of(model: &str, more: &[&str]) -> String {
    let model = data(model).to_string_lossy().into_owned();
    narae(&[&["compile", model.as_str(), "-o", "-"], &LENGTHS[..], more].concat()).ok().stdout
}

fn opt(text: &str, more: &[&str]) -> Run {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("in.mlir"), text).expect("the text is written");
    narae_in(folder.path(), &[&["opt", "in.mlir"], more].concat())
}

#[test]
fn every_form_is_text_that_parses_back() {
    for (form, more) in
        [("graph", &[][..]), ("tile", &[]), ("tile", &["--kv-cache", "state"]), ("tile", &["--precision", "f16"])]
    {
        for verbose in [false, true] {
            let locations: &[&str] = if verbose { &["-v"] } else { &[] };
            let text = text_of("llama2_primitive.onnx", &[&["--emit", form], more, locations].concat());
            assert_eq!(text.contains("loc("), verbose);
            mlir_opt(&text);
            let flags: &[&str] = if verbose { &["--locations"] } else { &[] };
            assert_eq!(opt(&text, flags).ok().stdout, text, "{form} {more:?} is not what it was");
        }
    }
    assert!(text_of("llama2_primitive.onnx", &["--emit", "asm"]).contains("halt"));
}

#[test]
fn entries_are_modules_of_one_text() {
    let text = text_of("llama1_layer.onnx", &["--emit", "tile", "--kv-cache", "state"]);
    assert_eq!(text.matches("// -----\n").count(), 1);
    assert!(text.contains("name = \"prefill\"") && text.contains("name = \"decode\""));
}

#[test]
fn passes_step_by_step_are_the_road() {
    let whole = text_of("llama2_primitive.onnx", &["--emit", "tile", "-v"]);
    let model = data("llama2_primitive.onnx").to_string_lossy().into_owned();
    let graph =
        narae(&[&["opt", model.as_str(), "--locations", "--passes", GRAPH_PASSES], &LENGTHS[..]].concat()).ok().stdout;
    assert_eq!(graph, text_of("llama2_primitive.onnx", &["--emit", "graph", "-v"]));
    let lowered = opt(&graph, &["--passes", "lower", "--locations"]).ok().stdout;
    assert!(lowered.contains("home = \"scratch\"") && !lowered.contains("placed = true"));
    mlir_opt(&lowered);
    assert_eq!(opt(&lowered, &["--passes=place", "--locations"]).ok().stdout, whole);
}

#[test]
fn dumps_between_passes() {
    let model = data("llama1_layer.onnx").to_string_lossy().into_owned();
    let all = narae(
        &[&["compile", model.as_str(), "-o", "-", "--emit", "tile", "--print-ir-after-all"], &LENGTHS[..]].concat(),
    )
    .ok();
    let headers: Vec<&str> = all.stderr.lines().filter(|line| line.starts_with("// ===== after ")).collect();
    let names: Vec<&str> = headers.iter().filter_map(|line| line.split(' ').nth(3)).collect();
    assert_eq!(names.join(","), format!("{GRAPH_PASSES},lower,place"));
    let dumps = all.stderr.split("// ===== after ").skip(1).map(|dump| dump.split_once('\n').expect("a header").1);
    for dump in dumps {
        mlir_opt(dump.split("\n-: ").next().expect("the dump"));
    }
    let before = narae(&["opt", model.as_str(), "--passes=lower", "--print-ir-before=lower"]);
    assert!(before.stderr.contains("// ===== before lower =====\n\"builtin.module\""), "{}", before.stderr);
    let run = narae(&[
        "run",
        &data("probes/mlp.onnx").to_string_lossy(),
        "--inputs",
        &data("probes/mlp.npz").to_string_lossy(),
        "--call",
        "set0/call0",
        "--print-ir-after=place",
    ])
    .ok();
    assert!(run.stderr.contains("// ===== after place =====") && run.stderr.contains("placed = true"));
    let wrong = narae(&["compile", &model, "-o", "-", "--print-ir-after=plcae"]);
    assert!(
        wrong.code == 2 && wrong.stderr.contains("plcae") && wrong.stderr.contains("canonicalize"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn every_pass_is_executed_and_compared() {
    let paths =
        [data("llama2_primitive.onnx"), data("llama2_primitive.npz")].map(|path| path.to_string_lossy().into_owned());
    let check = ["--verify-each=exec", "--check-inputs", &paths[1], "--check-call", "set0/call1"];
    for precision in ["f32", "f16"] {
        let arguments = [
            &["compile", paths[0].as_str(), "-o", "-", "--emit", "tile", "--precision", precision],
            &LENGTHS[..],
            &check,
        ];
        let run = narae(&arguments.concat()).ok();
        for pass in GRAPH_PASSES.split(',').chain(["lower", "place"]) {
            assert!(run.stderr.contains(&format!("{pass}: output `")), "{pass} was not run:\n{}", run.stderr);
        }
    }
    // `run` takes its own inputs; a kept cache changes what the inputs are, which is said.
    let run = narae(&["run", &paths[0], "--inputs", &paths[1], "--call", "set0/call0", "--verify-each=exec"]).ok();
    assert!(run.stderr.contains("place: output `"), "{}", run.stderr);
    let state =
        [&["compile", paths[0].as_str(), "-o", "-", "--emit", "tile", "--kv-cache", "state"], &LENGTHS[..], &check]
            .concat();
    assert!(narae(&state).ok().stderr.contains("keep-state: not run"));
    assert_eq!(narae(&["compile", &paths[0], "-o", "-", "--verify-each=exec"]).code, 2);
}

#[test]
fn the_list_of_passes() {
    insta::assert_snapshot!("passes", narae(&["opt", "--list-passes"]).ok().stdout);
}

#[test]
fn wrong_text_and_wrong_forms() {
    let tile = text_of("llama1_layer.onnx", &["--emit", "tile"]);
    let wrong = opt(&tile, &["--passes=canonicalize"]);
    assert!(
        wrong.code == 2 && wrong.stderr.contains("works on a graph, but here is a tile program"),
        "{}",
        wrong.stderr
    );
    let wrong = opt(&tile.replace("home = \"sram\"", "home = \"moon\""), &[]);
    assert!(
        wrong.code == 1 && wrong.stderr.contains("no home") && wrong.stderr.contains("in.mlir:12"),
        "{}",
        wrong.stderr
    );
    // A program that parses but breaks an invariant is refused by the verifier, with the operation.
    let wrong = opt(&tile.replacen("home = \"sram\"", "home = \"input\", number = 9", 1), &[]);
    assert!(wrong.code != 0 && wrong.stderr.contains("error[E"), "{}", wrong.stderr);
}
