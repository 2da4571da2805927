//! Bad input, through the built binary: every case ends with its coded error and exit code, says where, never panics, and leaves
//! no output behind.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use narae::npz::{self, Arrays};
use narae_isa::HostTensor;
use support::wire::{self, Dim, Graph, Message};
use support::{Run, data, narae_in};
use tempfile::TempDir;

/// A folder with the files of one case, gone at the end.
struct Case {
    folder: TempDir,
}

impl Case {
    fn new() -> Case {
        Case { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, bytes).expect("the case can be written");
        path
    }

    /// Runs narae in the folder.
    fn run(&self, arguments: &[&str]) -> Run {
        narae_in(self.path(), arguments)
    }

    /// Compiles `model.onnx` with these bytes; nothing may be left behind.
    fn compile(&self, model: &[u8], more: &[&str]) -> Run {
        self.write("model.onnx", model);
        let before = self.listing();
        let run = self.run(&[&["compile", "model.onnx", "-o", "out.narae"], more].concat());
        if run.code != 0 {
            assert_eq!(self.listing(), before, "something was left behind");
        }
        run
    }

    fn listing(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).expect("the folder is there");
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// The run failed with this exit code, and its error text has all of `parts`.
#[track_caller]
fn fails(run: &Run, exit: i32, parts: &[&str]) {
    assert_eq!(run.code, exit, "exit code\n--- stderr\n{}", run.stderr);
    for part in parts {
        assert!(run.stderr.contains(part), "the error does not say `{part}`\n--- stderr\n{}", run.stderr);
    }
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    assert!(run.stderr.contains("error[E"), "an error without a code:\n{}", run.stderr);
}

fn two_by_three() -> Vec<u8> {
    npz::to_bytes(&Arrays::from([("x".to_string(), HostTensor::from_f32(&[2, 3], &[1.0; 6]))])).expect("an archive")
}

#[test]
fn no_file() {
    let case = Case::new();
    let run = case.run(&["compile", "absent/model.onnx", "-o", "out.narae"]);
    fails(&run, 1, &["error[E0101]", "absent/model.onnx", "No such file or directory"]);
    assert!(case.listing().is_empty());
}

#[test]
fn not_an_onnx_file() {
    for bytes in [
        &b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"[..],
        b"",
        b"\x89PNG\r\n\x1a\n0000",
        b"PK\x03\x04zipzip",
    ] {
        fails(&Case::new().compile(bytes, &[]), 1, &["error[E01", "model.onnx"]);
    }
}

#[test]
fn truncated() {
    let whole = fs::read(data("llama2_primitive.onnx")).expect("our own model");
    for keep in [1, 10, whole.len() / 3, whole.len() - 1] {
        fails(&Case::new().compile(&whole[..keep], &[]), 1, &["error[E01", "byte "]);
    }
}

#[test]
fn nested_groups() {
    let mut bytes = wire::doubling().model();
    bytes.extend(std::iter::repeat_n(0x0b, 100_000)); // start-group tags of field 1, never closed
    fails(&Case::new().compile(&bytes, &[]), 1, &["error[E0104]", "byte "]);
}

#[test]
fn a_cycle() {
    let graph = Graph {
        nodes: vec![wire::node("first", "Add", &["x", "b"], &["a"]), wire::node("second", "Neg", &["a"], &["b"])],
        inputs: vec![wire::value("x", 1, &[Dim::Is(2)])],
        outputs: vec![wire::value("b", 1, &[Dim::Is(2)])],
        ..Graph::default()
    };
    fails(&Case::new().compile(&graph.model(), &[]), 1, &["error[E0108]", "first"]);
}

fn with_external(location: &str) -> Vec<u8> {
    let mut graph = wire::doubling();
    graph.nodes = vec![wire::node("add", "Add", &["x", "w"], &["y"])];
    graph.initializers = vec![wire::external("w", &[2, 3], location)];
    graph.model()
}

#[test]
fn external_data() {
    fails(&Case::new().compile(&with_external("gone.bin"), &[]), 1, &["error[E0106]", "gone.bin"]);
    for outside in ["../secret.bin", "/etc/passwd", "a/../../secret.bin"] {
        fails(&Case::new().compile(&with_external(outside), &[]), 1, &["error[E0107]", outside]);
    }
    let case = Case::new();
    case.write("short.bin", &[0; 23]);
    fails(&case.compile(&with_external("short.bin"), &[]), 1, &["error[E0106]", "short.bin"]);
}

#[cfg(unix)]
#[test]
fn external_link_out_of_the_folder() {
    let (case, elsewhere) = (Case::new(), Case::new());
    let secret = elsewhere.write("secret.bin", &[0; 24]);
    std::os::unix::fs::symlink(secret, case.path().join("link.bin")).expect("a link");
    fails(&case.compile(&with_external("link.bin"), &[]), 1, &["error[E0107]", "link.bin"]);
}

#[test]
fn everything_unsupported_in_one_report() {
    let foreign = |name: &str, op: &str| wire::node(name, op, &["x"], &["y"]).bytes(7, "com.example");
    let graph = Graph {
        nodes: vec![
            foreign("n/one", "Frobnicate"),
            wire::node("n/two", "StringNormalizer", &["s"], &["t"]),
            wire::node("n/three", "NoSuchOperator", &["x"], &["z"]),
        ],
        inputs: vec![wire::value("x", 1, &[Dim::Is(2)]), wire::value("s", 8, &[Dim::Is(2)])],
        outputs: vec![
            wire::value("y", 1, &[Dim::Is(2)]),
            wire::value("z", 1, &[Dim::Is(2)]),
            wire::value("t", 8, &[Dim::Is(2)]),
        ],
        ..Graph::default()
    };
    let model = graph.model();
    let all = ["n/one", "Frobnicate", "com.example", "n/two", "StringNormalizer", "n/three", "NoSuchOperator", "17"];
    fails(&Case::new().compile(&model, &[]), 3, &all);
    // `narae ops` says the same, beside the table of what is needed.
    let case = Case::new();
    case.write("model.onnx", &model);
    let run = case.run(&["ops", "model.onnx"]);
    fails(&run, 3, &all);
    assert!(run.stdout.contains("3 nodes of 3 operators, 3 of them not supported"), "{}", run.stdout);
    let json: serde_json::Value =
        serde_json::from_str(&case.run(&["ops", "model.onnx", "--json"]).stdout).expect("JSON");
    let row = &json["operators"][2];
    assert_eq!(
        (&row["operator"], &row["domain"], &row["nodes"]),
        (&"Frobnicate".into(), &"com.example".into(), &1.into())
    );
    assert!(row["supported"] == false && row["types"] == serde_json::json!(["f32"]), "{row}");
}

#[test]
fn types_that_do_not_exist_here() {
    let graph = Graph {
        nodes: vec![wire::node("sum", "Add", &["x", "x"], &["y"])],
        inputs: vec![wire::value("x", 14, &[Dim::Is(2)]), wire::value("s", 8, &[Dim::Is(2)])],
        outputs: vec![wire::value("y", 14, &[Dim::Is(2)])],
        ..Graph::default()
    };
    let run = Case::new().compile(&graph.model(), &[]);
    fails(&run, 3, &["error[E0203]", "`x`", "complex64", "`s`", "string", "= help: "]);
}

#[test]
fn every_error_says_what_to_do() {
    // Advice that follows from the code alone is given once, below the last error of that code.
    let graph = Graph {
        nodes: ["one", "two"].map(|name| wire::node(name, "NoSuchOperator", &["x"], &[name])).to_vec(),
        inputs: vec![wire::value("x", 1, &[Dim::Is(2)])],
        outputs: vec![wire::value("one", 1, &[Dim::Is(2)])],
        ..Graph::default()
    };
    let run = Case::new().compile(&graph.model(), &[]);
    assert_eq!(
        (run.stderr.matches("error[E0201]").count(), run.stderr.matches("= help: ").count()),
        (2, 1),
        "{}",
        run.stderr
    );
}

#[test]
fn a_call_that_is_not_in_the_file() {
    let case = compiled();
    case.write(
        "in.npz",
        &npz::to_bytes(&Arrays::from([("set0/call0/in/x".to_string(), HostTensor::from_f32(&[2, 3], &[1.0; 6]))]))
            .expect("an archive"),
    );
    let run = |call: &str| case.run(&["run", "out.narae", "--inputs", "in.npz", "--call", call]);
    run("set0/call0").ok();
    fails(&run("set1/call0"), 1, &["error[E0601]", "set1/call0/in/", "the calls are set0/call0"]);
}

#[test]
fn a_shape_that_contradicts_itself() {
    let graph = Graph {
        nodes: vec![wire::node("sum", "Add", &["x", "z"], &["y"])],
        inputs: vec![wire::value("x", 1, &[Dim::Is(2), Dim::Is(3)]), wire::value("z", 1, &[Dim::Is(2), Dim::Is(4)])],
        outputs: vec![wire::value("y", 1, &[Dim::Is(2), Dim::Is(3)])],
        ..Graph::default()
    };
    fails(&Case::new().compile(&graph.model(), &[]), 1, &["error[E03", "sum", "3", "4"]);
}

#[test]
fn a_dynamic_dim_without_a_bound() {
    let mut graph = wire::doubling();
    graph.inputs = vec![wire::value("x", 1, &[Dim::Named("rows"), Dim::Is(3)])];
    graph.outputs = vec![wire::value("y", 1, &[Dim::Named("rows"), Dim::Is(3)])];
    let model = graph.model();
    let case = Case::new();
    case.compile(&model, &[]).ok(); // which chooses one
    let run = case.run(&["opt", "model.onnx", "--passes", "bound"]);
    fails(&run, 1, &["error[E0302]", "`rows`", "--max-batch", "--max '*=64'"]);
    Case::new().compile(&model, &["--dim", "rows=8"]).ok();
}

#[test]
fn wrong_options() {
    let case = Case::new();
    case.write("model.onnx", &wire::doubling().model());
    for (option, value) in [("--quant", "u5"), ("--chip", "narae-9"), ("--dim", "rows"), ("--precision", "f8")] {
        let run = case.run(&["compile", "model.onnx", "-o", "out.narae", option, value]);
        assert!([1, 2].contains(&run.code), "{option} {value}: {}\n{}", run.code, run.stderr);
        assert!(run.stderr.contains(value), "{option} {value} is not named:\n{}", run.stderr);
    }
    fails(&case.run(&["compile", "model.onnx", "-o", "absent/out.narae"]), 1, &["absent/out.narae"]);
    assert_eq!(case.listing(), ["model.onnx"]);
}

/// A case that holds a compiled image of the doubling graph.
fn compiled() -> Case {
    let case = Case::new();
    case.compile(&wire::doubling().model(), &[]).ok();
    case
}

#[test]
fn one_flipped_bit_anywhere() {
    let case = compiled();
    let image = fs::read(case.path().join("out.narae")).expect("the image");
    case.write("in.npz", &two_by_three());
    case.run(&["run", "out.narae", "--inputs", "in.npz", "-o", "y.npz"]).ok();
    fs::remove_file(case.path().join("y.npz")).expect("the result");
    let steps = 41; // processes are slow: a spread of places here, every byte in the tests of `narae-isa`
    for step in 0..steps {
        let (mut broken, at) = (image.clone(), step * (image.len() - 1) / (steps - 1));
        broken[at] ^= 1 << (step % 8);
        case.write("broken.narae", &broken);
        let run = case.run(&["run", "broken.narae", "--inputs", "in.npz", "-o", "y.npz"]);
        assert_eq!(run.code, 1, "byte {at} flipped: {}", run.stderr);
        assert!(run.stderr.contains("error[E05"), "byte {at} flipped: {}", run.stderr);
        assert!(!case.path().join("y.npz").exists(), "byte {at} flipped, yet there is a result");
    }
    case.write("cut.narae", &image[..image.len() / 2]);
    fails(&case.run(&["verify", "cut.narae"]), 1, &["error[E05"]);
    fails(&case.run(&["verify", "absent.narae"]), 1, &["error[E0508]", "absent.narae", "No such file"]);
}

#[test]
fn an_image_for_another_chip() {
    let case = compiled();
    case.write("in.npz", &two_by_three());
    fails(
        &case.run(&["run", "out.narae", "--chip", "narae-edge", "--inputs", "in.npz"]),
        1,
        &["error[E0504]", "narae-edge", "narae-1"],
    );
}

#[test]
fn traces_of_requests_that_cannot_be_run() {
    let case = Case::new();
    for (text, parts) in [
        ("0,R,8001,32\n", ["error[E0717]", "t.csv:1, key `addr_hex`", "not a multiple of 32"]),
        ("0,R,0,32\n0,W,7fffffe0,64\n", ["error[E0717]", "t.csv:2, key `addr_hex`", "outside"]),
        ("0,R,80\n", ["error[E0712]", "t.csv:1", "t_ck,op,addr_hex,bytes"]),
        ("0,X,80,32\n", ["error[E0715]", "t.csv:1, key `op`", "neither R nor W"]),
        ("0,R,80,-32\n", ["error[E0715]", "t.csv:1, key `bytes`", "expected 1 or more"]),
    ] {
        case.write("t.csv", text.as_bytes());
        fails(&case.run(&["dram", "t.csv", "--config", "lpddr5-6400"]), 1, &parts);
    }
    fails(&case.run(&["dram", "absent.csv"]), 1, &["error[E0711]", "absent.csv"]);
    case.write("t.csv", b"0,R,80,32\n");
    fails(&case.run(&["dram", "t.csv", "--config", "ddr9"]), 1, &["error[E0711]", "lpddr5x-8533"]);
    case.write("c.toml", b"base = \"lpddr5-6400\"\ntiming.rc = 30\n");
    let parts = ["error[E0716]", "c.toml:2, key `timing.rc`", "tRAS 34 + tRP 15"];
    fails(&case.run(&["dram", "t.csv", "--config", "c.toml"]), 1, &parts);
}

#[test]
fn chip_sheets_that_contradict_themselves() {
    let case = Case::new();
    case.write("model.onnx", &fs::read(data("llama1_layer.onnx")).expect("the model"));
    let sheet = narae_in(case.path(), &["chips", "narae-edge"]).ok().stdout;
    let line = |key: &str| sheet.lines().position(|line| line.starts_with(key)).map_or(0, |index| index + 1);
    for (from, to, code, key) in [
        ("bytes_per_tile = 2097152", "bytes_per_tile = 2097153", "E0706", "sram.bytes_per_tile"),
        ("channels = 4", "channels = 3", "E0706", "dram.channels"),
        ("branch_clocks = 2", "branch_clocks = -2", "E0705", "scu.branch_clocks"),
        ("branch_clocks = 2", "branch_clock = 2", "E0703", "scu.branch_clock"),
        ("f16_lanes = 128", "f16_lanes = \"many\"", "E0705", "vpe.f16_lanes"),
    ] {
        assert!(sheet.contains(from), "{from}");
        case.write("my.toml", sheet.replacen(from, to, 1).as_bytes());
        let run = case.run(&["compile", "model.onnx", "-o", "out.narae", "--chip", "my.toml"]);
        let place = format!("my.toml:{}, key `{key}`", line(from));
        fails(&run, 1, &[code, &place]);
    }
    case.write("my.toml", sheet.replacen("queue_depth = 16\n", "", 1).as_bytes());
    let run = case.run(&["compile", "model.onnx", "-o", "out.narae", "--chip", "my.toml"]);
    fails(&run, 1, &["E0704", "my.toml", "scu.queue_depth"]);
    case.write("my.toml", sheet.replacen("lpddr5x-8533", "ddr3", 1).as_bytes());
    let run = case.run(&["compile", "model.onnx", "-o", "out.narae", "--chip", "my.toml"]);
    fails(&run, 1, &["E0706", "`dram.device`", "lpddr5x-8533"]);
}

#[test]
fn wrong_inputs() {
    let case = compiled();
    let run = |name: &str, tensor: HostTensor| {
        case.write("in.npz", &npz::to_bytes(&Arrays::from([(name.to_string(), tensor)])).expect("an archive"));
        case.run(&["run", "out.narae", "--inputs", "in.npz", "-o", "y.npz"])
    };
    fails(&run("q", HostTensor::from_f32(&[2, 3], &[0.0; 6])), 1, &["error[E0601]", "`x`"]);
    fails(&run("x", HostTensor::from_f64(&[2, 3], &[0.0; 6])), 1, &["error[E0602]", "`x`", "f64", "f32"]);
    fails(&run("x", HostTensor::from_f32(&[2, 4], &[0.0; 8])), 1, &["error[E0603]", "`x`", "4", "3"]);
    case.write("in.npz", b"not an archive");
    fails(&case.run(&["run", "out.narae", "--inputs", "in.npz"]), 1, &["error[E0802]", "in.npz"]);
    fails(&case.run(&["run", "out.narae", "--inputs", "gone.npz"]), 1, &["error[E0802]", "gone.npz", "No such file"]);
    assert!(!case.path().join("y.npz").exists());
}

#[test]
fn a_past_longer_than_the_maximum() {
    let case = Case::new();
    let model = fs::read(data("llama2_primitive.onnx")).expect("our own model");
    case.compile(&model, &["--max-past", "3", "--max-seq", "8", "--max-batch", "2"]).ok();
    let answers = data("llama2_primitive.npz");
    let run = |call: &str| {
        case.run(&["run", "out.narae", "--inputs", &answers.to_string_lossy(), "--call", call, "-o", "y.npz"])
    };
    run("set0/call0").ok();
    fs::remove_file(case.path().join("y.npz")).expect("the result");
    fails(&run("set0/call1"), 5, &["error[E0604]", "past", "3", "5"]);
    assert!(!case.path().join("y.npz").exists());
}

#[test]
fn errors_as_json() {
    let case = Case::new();
    let run = case.run(&["--message-format", "json", "compile", "gone.onnx", "-o", "out.narae"]);
    assert_eq!(run.code, 1);
    let value: serde_json::Value = serde_json::from_str(run.stderr.trim()).expect("one JSON object");
    assert_eq!(value["code"], "E0101");
    let run = case.run(&["--message-format", "json", "frobnicate"]);
    assert_eq!(run.code, 2);
    let value: serde_json::Value = serde_json::from_str(run.stderr.trim()).expect("one JSON object");
    assert_eq!(value["code"], "E0801");
}

#[test]
fn empty_messages_are_not_a_bomb() {
    let nodes = Message(b"\x0a\x00".repeat(3_000_000));
    let model = Message::default().number(1, 8).message(7, nodes).message(8, Message::default().number(2, 17)).0;
    let run = Case::new().compile(&model, &[]);
    fails(&run, run.code, &["error[E01", "byte "]);
}

/// What a report asks for is checked before anything runs, and leaves nothing behind.
#[test]
fn reports_that_cannot_be_made() {
    let case = Case::new();
    let model = data("llama1_layer.onnx").display().to_string();
    let small = ["compile", &model, "-o", "m.narae", "--max-batch", "1", "--max-seq", "4", "--max-past", "8"];
    case.run(&small).ok();
    fs::create_dir(case.path().join("folder.html")).expect("a folder");
    let before = case.listing();
    let reports: [(&[&str], i32, &[&str]); 8] = [
        (&["--report", "absent/r.html"], 1, &["error[E0803]", "absent/r.html"]),
        (&["--report", "folder.html"], 1, &["error[E0803]", "folder.html"]),
        (&["--trace", "absent/t.json"], 1, &["error[E0803]", "absent/t.json"]),
        (&["--report", "r.pdf"], 2, &["error[E0401]", "r.pdf", ".html or .json"]),
        (&["--baseline", "voodoo2"], 2, &["error[E0401]", "voodoo2", "a100-fp16", "h100-fp16"]),
        (&["--report", "r.json", "--baseline", "voodoo2"], 2, &["error[E0401]"]),
        (&["--report", "r.json", "--report", "absent/r.json", "-o", "out.npz"], 1, &["error[E0803]"]),
        (&["--mode", "timing", "-o", "out.npz"], 2, &["error[E0401]", "timing"]),
    ];
    for (arguments, exit, parts) in reports {
        let run = case.run(&[&["run", "m.narae", "--inputs", "in.npz"], arguments].concat());
        fails(&run, exit, parts);
        assert_eq!(case.listing(), before, "{arguments:?} left something behind");
    }
    let samples: [(&[&str], &[&str]); 3] = [
        (&["--sample"], &["error[E0401]", "--report"]),
        (&["--sample=1", "--report", "r.json"], &["error[E0401]", "2 tokens"]),
        (&["--sample=3", "--baseline", "voodoo2"], &["error[E0401]", "voodoo2"]),
    ];
    for (arguments, parts) in samples {
        let run = case.run(&[&["generate", "m.narae", "--prompt", "x"], arguments].concat());
        fails(&run, 2, parts);
        assert_eq!(case.listing(), before, "{arguments:?} left something behind");
    }
}

/// A run that fails after its report's place was reserved leaves nothing there.
#[test]
fn a_failed_run_writes_no_report() {
    let case = Case::new();
    let model = data("llama1_layer.onnx").display().to_string();
    case.write("in.npz", &two_by_three());
    let before = case.listing();
    let small = ["--max-batch", "1", "--max-seq", "4", "--max-past", "8"];
    let run =
        case.run(&[&["run", &model, "--inputs", "in.npz", "--report", "r.html", "-o", "o.npz"][..], &small].concat());
    fails(&run, 1, &["error[E0601]"]);
    assert_eq!(case.listing(), before);
}

/// A limit that the file exceeds names the flag that raises it, and that flag does.
#[test]
fn limits_can_be_raised_by_who_trusts_the_file() {
    let case = Case::new();
    let model = fs::read(data("llama2_primitive.onnx")).expect("the model is there");
    let bounds = ["--max-batch", "1", "--max-seq", "4", "--max-past", "8"];
    let with = |more: &[&str]| case.compile(&model, &[&bounds, more].concat());
    let refused = with(&["--limit", "nodes=10"]);
    assert_eq!(refused.code, 5, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("more than 10 nodes") && refused.stderr.contains("--limit nodes=N"),
        "{}",
        refused.stderr
    );
    assert_eq!(with(&["--limit", "nodes=10000"]).code, 0);
    let twice = with(&["--limit", "nodes=10", "--limit", "nodes=10000"]);
    assert!(twice.code == 2 && twice.stderr.contains("twice"), "{}", twice.stderr);
    let unknown = with(&["--limit", "patience=3"]);
    assert_eq!(unknown.code, 2, "{}", unknown.stderr);
    assert!(unknown.stderr.contains("inlined-nodes"), "{}", unknown.stderr);
}

/// Operands of every rank from 0 to 3 where an operator wants another one: refused with a code and the node, or supported; never our bug.
#[test]
fn operands_of_wrong_ranks_are_refused() {
    const FLOAT: i64 = 1;
    const INT64: i64 = 7;
    let operators: [(&str, &[i64]); 9] = [
        ("InstanceNormalization", &[FLOAT; 3]),
        ("BatchNormalization", &[FLOAT; 5]),
        ("LayerNormalization", &[FLOAT; 3]),
        ("OneHot", &[INT64, INT64, FLOAT]),
        ("MatMul", &[FLOAT; 2]),
        ("Gemm", &[FLOAT; 3]),
        ("Conv", &[FLOAT; 3]),
        ("PRelu", &[FLOAT; 2]),
        ("GlobalAveragePool", &[FLOAT; 1]),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.onnx");
    // An output without a shape.
    let of_floats = Message::default().message(1, Message::default().number(1, FLOAT));
    let output = Message::default().bytes(1, "y").message(2, of_floats);
    let mut refused = 0;
    for (operator, elements) in operators {
        let right = [3, 1, 1, 1, 1];
        for odd in 0..elements.len() {
            for rank in [0, 2] {
                let names: Vec<String> = (0..elements.len()).map(|number| format!("i{number}")).collect();
                let inputs = names.iter().zip(elements).enumerate().map(|(number, (name, element))| {
                    let rank = if number == odd { rank } else { right[number] };
                    wire::value(name, *element, &[Dim::Is(2), Dim::Is(2), Dim::Is(2)][..rank])
                });
                let operands: Vec<&str> = names.iter().map(String::as_str).collect();
                let graph = Graph {
                    nodes: vec![wire::node("the node", operator, &operands, &["y"])],
                    inputs: inputs.collect(),
                    outputs: vec![output.clone()],
                    initializers: vec![],
                };
                fs::write(&path, graph.model()).expect("a file");
                let run = narae_in(folder.path(), &["compile", "m.onnx", "--emit", "graph", "-o", "g.mlir"]);
                assert_ne!(run.code, 70, "{operator}, operand {odd} of rank {rank}: {}", run.stderr);
                refused += usize::from(run.code == 1 && run.stderr.contains("the node"));
            }
        }
    }
    assert!(refused > 20, "{refused} were refused at their node");
}
