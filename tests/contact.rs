//! First contact, through the built binary: compiling without flags, options that would change nothing, files that are something else,
//! decoders and their ids, lengths and ends of texts. Always holds: what a user gets wrong is never called a bug of ours.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use narae::npz;
use narae_isa::{Element, HostTensor};
use support::wire::{self, Dim, Graph};
use support::{Run, data, narae_in};
use tempfile::TempDir;

/// A folder with the files of one case, gone at the end.
struct Case(TempDir);

impl Case {
    fn new() -> Case {
        Case(tempfile::tempdir().expect("a temporary folder"))
    }

    fn with(name: &str, bytes: &[u8]) -> Case {
        let case = Case::new();
        case.write(name, bytes);
        case
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(&path, bytes).expect("the case can be written");
        path
    }

    fn ids(&self, name: &str, ids: &[i64]) {
        self.write(name, &npz::array_to_bytes(&HostTensor::from_i64(&[ids.len()], ids)));
    }

    /// Runs narae in the folder.
    fn run(&self, line: &str) -> Run {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        narae_in(self.path(), &arguments)
    }
}

/// The run failed with this exit code, and its error text has all of `parts`.
#[track_caller]
fn fails(run: &Run, exit: i32, parts: &[&str]) {
    assert_eq!(run.code, exit, "exit code\n--- stderr\n{}", run.stderr);
    for part in parts {
        assert!(run.stderr.contains(part), "the error does not say `{part}`\n--- stderr\n{}", run.stderr);
    }
    for ours in ["E0605", "E0608", "E0999", "panicked"] {
        assert!(!run.stderr.contains(ours), "{}", run.stderr);
    }
}

/// Our small decoder: 2 layers, dynamic batch, sequence and past.
fn decoder() -> Vec<u8> {
    fs::read(data("llama2_primitive.onnx")).expect("our own model")
}

/// `y = table[position_ids] + table[position_ids]` with a table of so many rows.
fn positions(rows: i64) -> Vec<u8> {
    let ids = [Dim::Named("batch"), Dim::Named("sequence")];
    let table: Vec<f32> = (0..rows * 4).map(|at| at as f32).collect();
    Graph {
        nodes: vec![
            wire::node("look", "Gather", &["table", "position_ids"], &["p"]),
            wire::node("sum", "Add", &["p", "p"], &["y"]),
        ],
        inputs: vec![wire::value("position_ids", 7, &ids)],
        outputs: vec![wire::value("y", 1, &[Dim::Named("batch"), Dim::Named("sequence"), Dim::Is(4)])],
        initializers: vec![wire::initializer("table", &[rows, 4], &table)],
    }
    .model()
}

fn max_of(case: &Case, image: &str, length: &str) -> i64 {
    let text = case.run(&format!("inspect {image} --json")).ok().stdout;
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let slots = value["entries"][0]["slots"].as_array().expect("slots").clone();
    let slot =
        slots.iter().find(|slot| slot["name"] == length).unwrap_or_else(|| panic!("no length {length}: {slots:?}"));
    slot["max"].as_i64().expect("a number")
}

#[test]
fn zero_flags_are_enough() {
    let case = Case::with("m.onnx", &decoder());
    let run = case.run("compile m.onnx -o m.narae").ok();
    assert_eq!(run.stderr.matches("note: ").count(), 1, "one note:\n{}", run.stderr);
    for flag in ["--max-batch N", "--max-seq N", "--max-past N", "'*=N'"] {
        assert!(run.stderr.contains(flag), "{flag} is not named:\n{}", run.stderr);
    }
    case.run("verify m.narae").ok();
    assert_eq!(max_of(&case, "m.narae", "batch_size"), 1);
    // What is said stays, and is not in the note.
    let run = case.run("compile m.onnx -o n.narae --max-batch 3 --max-seq 5 --max-past 7").ok();
    assert!(!run.stderr.contains("note: "), "{}", run.stderr);
    assert_eq!(max_of(&case, "n.narae", "batch_size"), 3);
    // Caches on the chip as well.
    case.run("compile m.onnx -o s.narae --kv-cache state").ok();
    // A graph needs no maxima.
    let graph = case.run("compile m.onnx --emit graph -o -").ok();
    assert!(graph.stdout.contains("builtin.module") && !graph.stderr.contains("note: "), "{}", graph.stderr);
}

#[test]
fn the_past_is_the_models_greatest_position() {
    let case = Case::with("m.onnx", &decoder());
    case.write("config.json", br#"{"max_position_embeddings": 48}"#);
    case.run("compile m.onnx -o m.narae").ok();
    let names = case.run("inspect m.narae --json").ok().stdout;
    assert!(names.contains("48"), "{names}");
    case.write("config.json", b"{");
    fails(&case.run("compile m.onnx -o m.narae"), 1, &["error[E0803]", "config.json"]);
}

#[test]
fn tables_bound_what_nobody_bounds() {
    let case = Case::with("m.onnx", &positions(40));
    case.run("compile m.onnx -o m.narae").ok();
    assert_eq!(max_of(&case, "m.narae", "sequence"), 40);
    let case = Case::with("m.onnx", &positions(4000));
    case.run("compile m.onnx -o m.narae").ok();
    assert_eq!(max_of(&case, "m.narae", "sequence"), 512);
}

#[test]
fn what_would_change_nothing_is_refused() {
    let case = Case::with("m.onnx", &wire::doubling().model());
    case.run("compile m.onnx -o m.narae").ok();
    let x = HostTensor::from_f32(&[2, 3], &[1.0; 6]);
    case.write("in.npz", &npz::to_bytes(&[("x".to_string(), x)].into()).expect("an archive"));
    case.write("t.mlir", case.run("compile m.onnx --emit graph -o -").ok().stdout.as_bytes());
    case.ids("ids.npy", &[1, 2]);
    for (line, parts) in [
        ("compile m.onnx -o o --emit graph --report r.json", &["--report", "--emit graph"][..]),
        ("compile m.onnx -o o --report r.html", &["--report", ".json"]),
        ("compile m.onnx -o o.json --report o.json", &["--report", "-o"]),
        ("compile m.onnx -o o --logits all", &["--logits", "--kv-cache state"]),
        ("compile m.onnx -o o -O0 --without-law neg-neg", &["--without-law"]),
        ("compile m.onnx -o o --error-budget 0.1", &["--error-budget", "auto"]),
        ("compile m.onnx -o o --check-inputs in.npz", &["--check-inputs", "--verify-each=exec"]),
        ("compile m.onnx -o o --print-ir-after keep-state", &["keep-state", "does not run"]),
        ("compile m.onnx -o o --print-ir-after lower --print-ir-after-all", &["--print-ir-after would"]),
        ("compile m.onnx -o o --dim a=1 --dim a=2", &["--dim", "twice"]),
        ("compile m.onnx -o o --max *=1 --max *=2", &["--max", "twice"]),
        ("compile m.onnx -o o --limit nodes=9 --limit nodes=8", &["--limit", "twice"]),
        ("compile m.onnx -o o --color always --message-format json", &["--color always"]),
        ("run m.narae --inputs in.npz --quant u4", &["--quant", "an image"]),
        ("run m.narae --inputs in.npz --max-seq 4", &["--max-seq", "an image"]),
        ("run m.narae --inputs in.npz --dim a=4", &["--dim"]),
        ("run m.narae --inputs in.npz -O1", &["-O", "an image"]),
        ("run m.onnx --inputs in.npz --evaluator --max-batch 2", &["--max-batch", "evaluator"]),
        ("run m.onnx --inputs in.npz --evaluator --precision f16 --max-batch 2", &["--max-batch", "evaluator"]),
        ("run m.onnx --inputs in.npz --evaluator --chip narae-edge", &["--chip", "evaluator"]),
        ("run m.onnx --mode timing --record r.json", &["--record"]),
        ("run m.onnx --inputs in.npz --record r.json --report r.html", &["--report"]),
        ("run m.onnx --inputs in.npz --mode functional --report r.html", &["--report", "functional"]),
        ("run m.onnx --inputs in.npz --dram fast", &["--dram", "nothing is timed"]),
        ("run m.onnx --inputs in.npz -o r.json --report r.json", &["-o", "--report"]),
        ("run m.onnx --inputs in.npz --report -", &["--report", "standard output"]),
        ("run m.onnx --mode timing --past 3", &["no tokens before the call"]),
        ("run m.onnx --mode timing --assume n=3", &["no length `n`", "--assume"]),
        ("compare m.onnx --inputs in.npz --print-ir-after lower", &["--print-ir-after"]),
        ("compare m.onnx --inputs in.npz --all --json", &["--all"]),
        ("explain E0302 node", &["[NODE]"]),
        ("ops --limit nodes=3", &["--limit"]),
        ("opt --list-passes --passes lower", &["--passes"]),
        ("opt t.mlir --passes lower --quant u4", &["--quant", "decide"]),
        ("opt t.mlir --print-ir-after-all", &["--print-ir-after-all", "no pass"]),
        ("opt t.mlir --passes canonicalize --limit nodes=4", &["--limit"]),
        ("generate m.onnx --ids ids.npy --emit-ids --seed 4", &["--seed", "temperature"]),
        ("generate m.onnx --ids ids.npy --emit-ids --top-k 4 --temperature 0", &["--top-k", "temperature"]),
        ("generate m.onnx --ids ids.npy --emit-ids --kv-cache io --logits all", &["--logits"]),
        ("eval m.onnx --ids ids.npy --logits all", &["--logits"]),
    ] {
        let run = case.run(line);
        assert!(run.code == 2 || (run.code == 1 && line.contains("timing")), "{line}: {}\n{}", run.code, run.stderr);
        fails(&run, run.code, parts);
        assert!(!case.path().join("o").exists(), "{line}: it left a result behind");
    }
}

#[test]
fn numbers_that_mean_nothing_are_refused() {
    let case = Case::with("m.onnx", &decoder());
    case.ids("ids.npy", &[1, 2]);
    for line in [
        "compile m.onnx -o o --max-batch -4",
        "compile m.onnx -o o --max-batch 0",
        "compile m.onnx -o o --max-seq 0",
        "compile m.onnx -o o --max-past -1",
        "compile m.onnx -o o --max *=0",
        "compile m.onnx -o o --max batch=-2",
        "compile m.onnx -o o --dim batch=-1",
        "compile m.onnx -o o --quant auto --error-budget -1",
        "compile m.onnx -o o --quant auto --error-budget nan",
        "compile m.onnx -o o -j 0",
        "run m.onnx --mode timing --past -3",
        "generate m.onnx --ids ids.npy --emit-ids -n 0",
        "generate m.onnx --ids ids.npy --emit-ids -n -5",
        "generate m.onnx --ids ids.npy --emit-ids --temperature -1",
        "generate m.onnx --ids ids.npy --emit-ids --temperature 1 --top-p 0",
        "generate m.onnx --ids ids.npy --emit-ids --temperature 1 --top-k 0",
        "generate m.onnx --ids ids.npy --emit-ids --temperature 1 --min-p 2",
        "generate m.onnx --ids ids.npy --emit-ids --repetition-penalty 0",
        "eval m.onnx --ids ids.npy --window 0",
        "eval m.onnx --ids ids.npy --windows 0",
    ] {
        let run = case.run(line);
        assert_eq!((run.code, run.stderr.contains("E05")), (2, false), "{line}:\n{}", run.stderr);
    }
}

#[test]
fn other_files_are_recognised() {
    let mut safetensors = 15u64.to_le_bytes().to_vec();
    safetensors.extend(b"{\"w\":{\"d\":1}}  ");
    for (bytes, parts) in [
        (&safetensors[..], ["safetensors", "optimum-cli"]),
        (b"GGUF\x03\0\0\0\0\0\0\0", ["GGUF", "optimum-cli"]),
        (b"PK\x03\x04\0\0\0\0\0\0archive/data.pkl", ["PyTorch", "torch.onnx.export"]),
        (b"\x89HDF\r\n\x1a\n\0\0", ["HDF5", "tf2onnx"]),
        (b"\x1c\0\0\0TFL3\0\0\0\0", ["TensorFlow Lite", "tf2onnx"]),
        (b"version https://git-lfs.github.com/spec/v1\n", ["LFS", "git lfs pull"]),
        (b"PK\x03\x04\0\0\0\0\0\0\0\0", ["zip", "unpack"]),
    ] {
        let case = Case::with("m.onnx", bytes);
        fails(&case.run("compile m.onnx -o o"), 1, &[&["error[E0102]", "m.onnx"][..], &parts].concat());
        fails(&case.run("verify m.onnx"), 1, &["error[E0501]", parts[0]]);
    }
    let case = Case::with("m.onnx", &decoder());
    fails(&case.run("inspect m.onnx"), 1, &["error[E0501]", "an ONNX model", "narae compile"]);
    case.run("compile m.onnx -o m.narae").ok();
    fails(&case.run("compile m.narae -o o"), 1, &["error[E0102]", "narae run"]);
}

#[test]
fn a_missing_file_is_one_error() {
    let mut graph = wire::doubling();
    graph.nodes = vec![wire::node("add", "Sum", &["x", "a", "b", "c"], &["y"])];
    graph.initializers = ["a", "b", "c"].iter().map(|name| wire::external(name, &[2, 3], "gone.bin")).collect();
    let run = Case::with("m.onnx", &graph.model()).run("compile m.onnx -o o");
    fails(&run, 1, &["error[E0106]", "gone.bin", "tensor `a`", "2 more tensors"]);
    assert_eq!(run.stderr.matches("error[").count(), 1, "{}", run.stderr);
}

#[test]
fn wrong_keys_name_the_near_ones() {
    let case = Case::with("m.onnx", &decoder());
    case.run("compile m.onnx -o m.narae").ok();
    let ids = HostTensor::from_i64(&[1, 2], &[1, 2]);
    case.write("in.npz", &npz::to_bytes(&[("input_id".to_string(), ids)].into()).expect("an archive"));
    for line in ["run m.narae --inputs in.npz", "run m.onnx --inputs in.npz --evaluator"] {
        fails(&case.run(line), 1, &["error[E0601]", "did you mean `input_ids`?"]);
    }
    // An array where an archive is needed, and the other way round.
    case.ids("in.npy", &[1, 2]);
    fails(&case.run("run m.narae --inputs in.npy"), 1, &["error[E0802]", "one array without a name", "numpy.savez"]);
    fails(&case.run("generate m.narae --ids in.npz --emit-ids"), 1, &["error[E0802]", "an archive", "numpy.save("]);
    fails(&case.run("compile m.onnx -o o --dim batc=1"), 2, &["did you mean `batch", "E0401"]);
    fails(&case.run("compile m.onnx -o o --max batc=1"), 2, &["did you mean `batch", "E0401"]);
}

#[test]
fn json_errors_carry_their_subject() {
    let case = Case::with("m.onnx", &decoder());
    case.run("compile m.onnx -o m.narae --max-batch 1 --max-seq 4 --max-past 4").ok();
    let first = |line: &str| -> serde_json::Value {
        let run = case.run(line);
        let text = run.stderr.lines().find(|line| line.contains("\"code\"")).unwrap_or_default().to_string();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}\n{}", run.stderr))
    };
    let float = HostTensor::from_f32(&[1, 2], &[1.0, 2.0]);
    case.write("in.npz", &npz::to_bytes(&[("input_ids".to_string(), float)].into()).expect("an archive"));
    assert_eq!(first("run m.narae --inputs in.npz --message-format json")["tensor"], "input_ids");
    let open = first("opt m.onnx --passes bound --message-format json");
    assert!(open["code"] == "E0302" && open["dim"].is_string() && open["axis"].is_number(), "{open}");
    assert!(open["tensor"].is_string() && open["help"].as_str().is_some_and(|help| help.contains("'*=64'")), "{open}");
}

/// What a user of `generate` and `eval` gets wrong.
#[test]
fn decoders_say_what_they_cannot_before_the_first_token() {
    let case = Case::with("m.onnx", &decoder());
    case.run("compile m.onnx -o io.narae --max-batch 1 --max-seq 8 --max-past 10").ok();
    case.run("compile m.onnx -o state.narae --max-batch 1 --max-seq 8 --max-past 10 --kv-cache state --logits all")
        .ok();
    case.ids("ids.npy", &[1, 2, 3]);
    case.ids("wild.npy", &[1, 1 << 40]);
    case.ids("negative.npy", &[1, -7]);
    case.ids("none.npy", &[]);
    case.write("float.npy", &npz::array_to_bytes(&HostTensor::from_f32(&[2], &[1.0, 2.0])));
    case.write("bool.npy", &npz::array_to_bytes(&HostTensor::from_i64_as(Element::Bool, &[2], &[1, 0])));
    case.write("two.npy", &npz::array_to_bytes(&HostTensor::from_i64(&[2, 2], &[1, 2, 3, 4])));
    case.write("rows.npy", &npz::array_to_bytes(&HostTensor::from_i64(&[2, 1], &[1, 2])));
    case.ids("long.npy", &[1; 40]);
    for model in ["m.onnx", "io.narae", "state.narae"] {
        let generate = |more: &str| {
            let run = case.run(&format!("generate {model} --emit-ids {more}"));
            assert!(run.code == 0 || run.stdout.is_empty(), "{model} {more}: tokens before the error\n{}", run.stderr);
            run
        };
        generate("--ids ids.npy -n 4").ok();
        fails(&generate("--ids wild.npy -n 2"), 1, &["error[E0603]", "no token of the model"]);
        fails(&generate("--ids negative.npy -n 2"), 1, &["error[E0603]", "-7"]);
        fails(&generate("--ids none.npy -n 2"), 2, &["error[E0801]", "no tokens"]);
        fails(&generate("--ids float.npy -n 2"), 1, &["error[E0602]", "integers"]);
        fails(&generate("--ids bool.npy -n 2"), 1, &["error[E0602]", "bool"]);
        fails(&generate("--ids two.npy -n 2"), 1, &["error[E0603]", "one text"]);
        if model != "m.onnx" {
            fails(&generate("--ids ids.npy -n 100"), 5, &["error[E0604]", "room for"]);
        }
        let eval = |more: &str| case.run(&format!("eval {model} {more}"));
        fails(&eval("--ids wild.npy --window 1"), 1, &["error[E0603]", "no token"]);
        fails(&eval("--ids none.npy"), 1, &["error[E0603]", "no window"]);
        fails(&eval("--ids float.npy"), 1, &["error[E0602]"]);
        fails(&eval("--ids rows.npy"), 1, &["error[E0603]", "no window"]);
        fails(&eval("--ids two.npy --window 4"), 2, &["--window"]);
        if model != "m.onnx" {
            fails(&eval("--ids long.npy --window 30"), 5, &["error[E0604]", "room for"]);
        }
    }
    // A past beyond the maximum, computing and timed.
    fails(
        &case.run("run state.narae --entry decode --mode timing --dim batch_size=1 --past 99"),
        5,
        &["error[E0604]", "99"],
    );
    fails(
        &case.run("run io.narae --mode timing --dim batch_size=1 --dim sequence_length=1 --past 99"),
        5,
        &["error[E0604]", "99"],
    );
}

/// Ids that a greedy run of our small decoder writes after 1, 2, 3.
fn greedy(case: &Case, more: &str) -> Vec<i64> {
    let run = case.run(&format!("generate m.onnx --ids ids.npy --emit-ids {more}")).ok();
    run.stdout.lines().map(|line| line.parse().expect("an id")).collect()
}

fn small_decoder() -> Case {
    let case = Case::with("m.onnx", &fs::read(data("llama1_layer.onnx")).expect("our own model"));
    case.ids("ids.npy", &[1, 2, 3]);
    case
}

#[test]
fn files_beside_the_model_say_when_a_text_ends() {
    let case = small_decoder();
    let all = greedy(&case, "-n 6");
    assert_eq!(all.len(), 6);
    case.write("config.json", format!("{{\"eos_token_id\": {}}}", all[0]).as_bytes());
    assert!(greedy(&case, "-n 6").is_empty(), "config.json");
    assert_eq!(greedy(&case, "-n 6 --ignore-end"), all);
    case.write("generation_config.json", b"{\"eos_token_id\": 31337}");
    assert_eq!(greedy(&case, "-n 6"), all, "generation_config.json is believed first");
    case.write("generation_config.json", format!("{{\"eos_token_id\": [31337, {}]}}", all[0]).as_bytes());
    assert!(greedy(&case, "-n 6").is_empty(), "a list");
}

#[test]
fn tokens_are_drawn_by_seed_options_and_files() {
    let case = small_decoder();
    let one = greedy(&case, "-n 12 --temperature 4 --seed 1");
    assert_eq!(one, greedy(&case, "-n 12 --temperature 4 --seed 1"));
    assert_ne!(one, greedy(&case, "-n 12 --temperature 4 --seed 2"));
    assert_eq!(greedy(&case, "-n 12"), greedy(&case, "-n 12 --temperature 4 --top-k 1"));
    assert_eq!(greedy(&case, "-n 12"), greedy(&case, "-n 12 --temperature 4 --top-p 0.0001"));
    let penalised = greedy(&case, "-n 12 --repetition-penalty 1000000");
    let mut distinct = penalised.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), penalised.len(), "no token comes twice: {penalised:?}");
    case.write("generation_config.json", br#"{"do_sample": true, "temperature": 4.0}"#);
    let run = case.run("generate m.onnx --ids ids.npy --emit-ids -n 12 --seed 1").ok();
    assert_eq!(run.stdout.lines().map(|line| line.parse().expect("an id")).collect::<Vec<i64>>(), one);
    assert!(run.stderr.contains("generation_config.json") && run.stderr.contains("temperature 4"), "{}", run.stderr);
    assert_eq!(
        greedy(&case, "-n 12 --temperature 0"),
        greedy(&case, "-n 12 --temperature 4 --top-k 1"),
        "an option wins"
    );
}

/// A tokenizer whose words are `w0` … and one added token.
fn tokenizer(words: usize, end: &str, end_id: i64) -> String {
    let words: Vec<String> = (0..words).map(|word| format!("\"w{word}\": {word}")).collect();
    format!(
        r#"{{"version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null, "decoder": null,
        "added_tokens": [{{"id": {end_id}, "content": "{end}", "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true}}], "pre_tokenizer": {{"type": "Whitespace"}},
        "model": {{"type": "WordLevel", "vocab": {{{}}}, "unk_token": "w0"}}}}"#,
        words.join(", ")
    )
}

#[test]
fn folders_as_hugging_face_writes_them() {
    let case = small_decoder();
    let ids = greedy(&case, "-n 5");
    let folder = Case::with("onnx/model.onnx", &fs::read(case.path().join("m.onnx")).expect("the model"));
    folder.write("tokenizer.json", tokenizer(32, "<|endofturn|>", 77).as_bytes());
    let text = |more: &[&str]| {
        narae_in(folder.path(), &[&["generate", ".", "--prompt", "w1 w2 w3"], more].concat()).ok().stdout
    };
    let words: Vec<String> = ids.iter().map(|id| format!("w{id}")).collect();
    assert_eq!(text(&["-n", "5"]), format!("w1 w2 w3 {}\n", words.join(" ")));
    // A string ends the text and is left out, also where it comes in pieces.
    let stop = format!("{} {}", words[0], words[1]);
    assert_eq!(text(&["-n", "5", "--stop", &stop]), "w1 w2 w3 \n");
    assert_eq!(text(&["-n", "5", "--stop", "never"]), text(&["-n", "5"]));
    // The token that families call end of turn ends it, too.
    folder.write(
        "tokenizer.json",
        tokenizer(usize::try_from(ids[0]).expect("an id"), "<|endofturn|>", ids[0]).as_bytes(),
    );
    if ids[0] > 3 {
        assert_eq!(text(&["-n", "5"]), "w1 w2 w3\n");
    }
    // A tokenizer with ids that the model does not have.
    folder.write("tokenizer.json", tokenizer(99, "<s>", 400).as_bytes());
    let run = narae_in(folder.path(), &["generate", ".", "--prompt", "w1 w98"]);
    fails(&run, 1, &["error[E0804]", "does not fit the model", "98", "--tokenizer"]);
    assert!(run.stdout.is_empty());
    folder.write("onnx/other.onnx", b"");
    fs::rename(folder.path().join("onnx/model.onnx"), folder.path().join("onnx/model_fp16.onnx")).expect("renamed");
    fails(&folder.run("compile . -o o"), 1, &["error[E0101]", "model_fp16.onnx", "other.onnx"]);
}

/// An i64 scalar.
fn scalar(name: &str, value: i64) -> wire::Message {
    wire::Message::default().number(2, 7).bytes(8, name).bytes(9, value.to_le_bytes())
}

/// A decoder of four tokens that keeps no cache; `logits` of its nodes are `[batch, sequence, 4]`.
fn forgetful(nodes: Vec<wire::Message>, more: Vec<wire::Message>, positions: bool) -> Vec<u8> {
    let dims = || [Dim::Named("batch"), Dim::Named("sequence")];
    let one = |row: usize| (0..4).map(move |column| if row == column { 1.0 } else { 0.0 });
    let mut graph = Graph {
        nodes,
        inputs: vec![wire::value("input_ids", 7, &dims())],
        outputs: vec![wire::value("logits", 1, &[Dim::Named("batch"), Dim::Named("sequence"), Dim::Is(4)])],
        initializers: vec![wire::initializer("table", &[4, 4], &(0..4).flat_map(one).collect::<Vec<f32>>())],
    };
    graph.initializers.extend(more);
    if positions {
        graph.inputs.push(wire::value("position_ids", 7, &dims()));
    }
    graph.model()
}

/// Logits are how seldom a token was there: whoever forgets the text writes another one.
#[test]
fn models_without_a_cache_are_given_the_whole_text() {
    let nodes = vec![
        wire::node("look", "Gather", &["table", "input_ids"], &["e"]),
        wire::node("count", "CumSum", &["e", "axis"], &["c"]),
        wire::node("seldom", "Neg", &["c"], &["logits"]),
    ];
    let case = Case::with("m.onnx", &forgetful(nodes, vec![scalar("axis", 1)], false));
    case.ids("ids.npy", &[0, 1]);
    assert_eq!(greedy(&case, "-n 6"), [2, 3, 0, 1, 2, 3]);
    case.run("compile m.onnx -o m.narae --max-batch 1 --max-seq 5").ok();
    let run = |n: usize| case.run(&format!("generate m.narae --ids ids.npy --emit-ids -n {n}"));
    assert_eq!(run(4).ok().stdout, "2\n3\n0\n1\n");
    let refused = run(5);
    fails(&refused, 5, &["error[E0604]", "--max-seq"]);
    assert!(refused.stdout.is_empty());
}

#[test]
fn positions_beyond_the_tables_and_logits_that_are_no_numbers() {
    let nodes = vec![
        wire::node("look", "Gather", &["table", "input_ids"], &["e"]),
        wire::node("place", "Gather", &["places", "position_ids"], &["p"]),
        wire::node("sum", "Add", &["e", "p"], &["logits"]),
    ];
    let places = wire::initializer("places", &[8, 4], &[0.5; 32]);
    let case = Case::with("m.onnx", &forgetful(nodes, vec![places], true));
    case.ids("ids.npy", &[0, 1]);
    assert_eq!(greedy(&case, "-n 7").len(), 7);
    let run = case.run("generate m.onnx --ids ids.npy --emit-ids -n 20");
    fails(&run, 5, &["error[E0604]", "8 positions"]);
    assert!(run.stdout.is_empty());
    // Where nothing says how many positions there are, the text ends with a coded error of the user's.
    case.run("compile m.onnx -o m.narae --max-batch 1 --max-seq 32").ok();
    fails(&case.run("generate m.narae --ids ids.npy --emit-ids -n 20"), 5, &["error[E0604]", "beyond the positions"]);

    let nodes = vec![wire::node("look", "Gather", &["nothing", "input_ids"], &["logits"])];
    let nothing = wire::initializer("nothing", &[4, 4], &[f32::NAN; 16]);
    let case = Case::with("m.onnx", &forgetful(nodes, vec![nothing], false));
    case.ids("ids.npy", &[0, 1]);
    fails(&case.run("generate m.onnx --ids ids.npy --emit-ids -n 2"), 1, &["error[E0610]"]);
    fails(&case.run("eval m.onnx --ids ids.npy --window 1"), 1, &["error[E0610]"]);
}

#[test]
fn manual_pages_and_completions_know_the_names() {
    let case = Case::new();
    case.run("completions man --all pages").ok();
    for name in ["narae", "narae-compile", "narae-generate", "narae-dram"] {
        let page = fs::read_to_string(case.path().join(format!("pages/{name}.1"))).expect("a page");
        assert!(page.contains(".TH"), "{name}");
    }
    assert!(case.run("completions man compile").ok().stdout.contains("max\\-past"), "options are in the page");
    fails(&case.run("completions man frobnicate"), 2, &["error[E0801]", "compile"]);
    fails(&case.run("completions bash compile"), 2, &["error[E0801]"]);
    for shell in ["bash", "zsh", "fish"] {
        let text = case.run(&format!("completions {shell}")).ok().stdout;
        for name in ["narae-edge", "a100-fp16", "keep-state", "E0302"] {
            assert!(text.contains(name), "{shell} does not know {name}");
        }
    }
    // Short help is shorter, and says where the rest is.
    let (short, long) = (case.run("compile -h").ok().stdout, case.run("compile --help").ok().stdout);
    assert!(
        short.lines().count() < long.lines().count() && short.contains("--help") && !short.contains("--hard-links")
    );
    assert!(long.contains("--hard-links"));
}
