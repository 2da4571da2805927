//! What mutation starts from: the files in `corpus/DOOR/` (found inputs of old bugs among them), and what follows from them or is built in.
//!
//! Always holds: the same sources give the same seeds in the same order on any machine. Seeds that are images or texts of ours are made by
//! the present compiler, so that they never grow old.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use narae::compiler::bounds::Rest;
use narae::compiler::compile::{Options, compile_graph};
use narae::compiler::onnx::{Limits, Model, import};
use narae::compiler::pipeline::{Module, Unobserved};
use narae::isa::{Chip, HostTensor, Image, assemble};
use narae::npz;
use narae::sim::dram::sheet::Sheet;

/// The file of this path below the workspace's root.
fn below_root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Files of a folder that end so, in the order of their names.
fn files(folder: &Path, ending: &str) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

/// The corpus of one door in the repository.
fn stored(door: &str) -> Vec<Vec<u8>> {
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(door), "")
}

/// No seeds: the bytes are choices.
pub fn none() -> Vec<Vec<u8>> {
    vec![Vec::new()]
}

/// Stored choices of the sweep over operators.
pub fn operators() -> Vec<Vec<u8>> {
    [none(), stored("operators")].concat()
}

/// What `compile` starts from: its own stored inputs, then those of `wire`.
pub fn models() -> Vec<Vec<u8>> {
    [stored("compile"), onnx()].concat()
}

/// ONNX files: stored ones, and the tests' own of fused operators.
pub fn onnx() -> Vec<Vec<u8>> {
    let mut seeds = stored("onnx");
    seeds.extend(files(&below_root("tests/data/operators"), ".onnx"));
    seeds.extend(files(&below_root("tests/data/probes"), ".onnx"));
    seeds.retain(|seed| seed.len() < 8192);
    seeds
}

/// y = x + x, the smallest model that is all right.
pub fn doubling() -> Vec<u8> {
    std::fs::read(below_root("fuzz/corpus/onnx/add.onnx")).unwrap_or_default()
}

/// A small decoder with a cache.
pub fn decoder() -> Vec<u8> {
    std::fs::read(below_root("tests/data/llama1_layer.onnx")).unwrap_or_default()
}

/// Archives of arrays.
pub fn npz() -> Vec<Vec<u8>> {
    use crate::mutate::archive::{Entry, array, pack};
    let mut seeds = stored("npz");
    let plain = Entry::new("x.npy", array("'<f4'", "False", "(2, 3)", &[0; 24]));
    let turned = Entry::new("set0/call0/in/y.npy", array("'>i8'", "True", "(2, 1)", &[1; 16]));
    let scalar = Entry::new("n.npy", array("'<i8'", "False", "()", &[7, 0, 0, 0, 0, 0, 0, 0]));
    seeds.push(pack(&[plain, turned, scalar]));
    let arrays = npz::Arrays::from([("a/b".to_string(), HostTensor::from_f32(&[2, 2], &[1.0; 4]))]);
    seeds.extend(npz::to_bytes(&arrays));
    seeds.push(array("'<u2'", "False", "(4,)", &[9; 8]));
    seeds
}

/// Compiles a seed of the ONNX corpus for a small chip.
fn compiled(bytes: &[u8]) -> Option<narae::compiler::image::Compiled> {
    let graph = import(&Model::from_bytes(bytes.to_vec(), &Limits::default()).ok()?).ok()?;
    let mut options = Options::new(Chip::built_in("narae-edge")?);
    options.maxima.rest = Rest::AtMost(4);
    compile_graph(graph, &options, &mut Unobserved).ok().map(|(compiled, _)| compiled)
}

/// The seeds that images and texts are made from: every seventh, so that starting takes no time.
fn some_models() -> Vec<Vec<u8>> {
    let few = stored("onnx").into_iter().filter(|seed| seed.len() < 2048).step_by(7);
    [doubling()].into_iter().chain(few).collect()
}

static IMAGES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut images: Vec<Vec<u8>> = some_models().iter().filter_map(|model| compiled(model)?.to_bytes().ok()).collect();
    images.extend(asm().iter().filter_map(|text| assemble("seed.s", &String::from_utf8_lossy(text)).ok()));
    images.retain(|image| Image::from_bytes("seed", image.clone()).is_ok());
    images
});

/// Images of small models and of assembly.
pub fn images() -> &'static [Vec<u8>] {
    &IMAGES
}

/// Those images, and stored ones.
pub fn image_files() -> Vec<Vec<u8>> {
    [stored("image"), images().to_vec()].concat()
}

/// Assembly texts.
pub fn asm() -> Vec<Vec<u8>> {
    let mut seeds = stored("asm");
    seeds.extend(std::fs::read(below_root("examples/hello.s")));
    let worked = std::fs::read_to_string(below_root("isa/WORKED.md")).unwrap_or_default();
    let programs = worked.split("```asm\n").skip(1).filter_map(|rest| rest.split("```").next());
    seeds.extend(programs.map(|program| program.as_bytes().to_vec()));
    seeds
}

/// Texts of graphs.
pub fn graphs() -> Vec<Vec<u8>> {
    let text = |bytes: &Vec<u8>| {
        let graph = import(&Model::from_bytes(bytes.clone(), &Limits::default()).ok()?).ok()?;
        Some(Module::Graph(graph).print(false).into_bytes())
    };
    let mut seeds: Vec<Vec<u8>> =
        some_models().iter().chain(&files(&below_root("tests/data/operators"), "s.onnx")).filter_map(text).collect();
    seeds.retain(|seed| seed.len() < 16384);
    [stored("graph"), seeds].concat()
}

/// Texts of tile programs.
pub fn tiles() -> Vec<Vec<u8>> {
    let texts = |model: &Vec<u8>| {
        let compiled = compiled(model)?;
        Some(compiled.modules().map(|module| module.print(false).into_bytes()).collect::<Vec<_>>())
    };
    let mut seeds: Vec<Vec<u8>> = some_models().iter().filter_map(texts).flatten().collect();
    seeds.retain(|seed| seed.len() < 16384);
    [stored("tile"), seeds].concat()
}

/// Chip sheets: the built-in ones.
pub fn chips() -> Vec<Vec<u8>> {
    let names = ["narae-edge", "narae-1", "narae-fpga"];
    let mut seeds: Vec<Vec<u8>> =
        names.iter().filter_map(|name| Some(Chip::built_in(name)?.to_toml().into_bytes())).collect();
    seeds.extend(stored("chip"));
    seeds
}

/// Memory sheets: the built-in ones, and sheets that change one of them.
pub fn drams() -> Vec<Vec<u8>> {
    let mut seeds = files(&below_root("runtime-sim/src/dram/configs"), ".toml");
    seeds.extend(Sheet::built_in_names().map(|name| format!("base = \"{name}\"\nname = \"x\"\n").into_bytes()));
    seeds.extend(stored("dram"));
    seeds
}

/// Traces of requests.
pub fn traces() -> Vec<Vec<u8>> {
    let mut seeds = stored("trace");
    let line = |index: u64| {
        format!("{},{},{:x},{}\n", index * 3, ["R", "W"][(index % 2) as usize], index * 0x40 * 7, 32 << (index % 4))
    };
    seeds.push((0..40).map(line).collect::<String>().into_bytes());
    seeds.push(b"# t_ck,op,addr_hex,bytes\n0,R,8000,32\n12,W,ff20,2048\n100000,R,0x0,64\n".to_vec());
    seeds
}

/// Tokenizers.
pub fn tokenizers() -> Vec<Vec<u8>> {
    stored("tokenizer")
}

/// Command lines, one argument a line.
pub fn command_lines() -> Vec<Vec<u8>> {
    let lines = LINES.iter().map(|line| line.replace(' ', "\n").into_bytes());
    stored("cli").into_iter().chain(lines).collect()
}

const LINES: &[&str] = &[
    "compile m.onnx -o o.narae",
    "compile d.onnx -o o.narae --max-batch 1 --max-seq 2 --max-past 4",
    "compile m.onnx -o - --emit graph",
    "compile m.onnx -o o.s --emit asm",
    "compile m.onnx -o o.mlir --emit tile --report r.json",
    "run m.onnx --inputs in.npz",
    "run m.narae --inputs in.npz -o out.npz",
    "run m.narae --mode timing --dim n=1",
    "run m.onnx --inputs in.npz --evaluator",
    "run m.narae --inputs in.npz --report r.html --trace t.json",
    "compare m.onnx --inputs in.npz",
    "explain E0505",
    "explain m.narae",
    "generate d.onnx --ids ids.npy --emit-ids -n 3",
    "generate folder --prompt hello -n 2",
    "eval d.onnx --ids ids.npy --window 4",
    "opt g.mlir --passes canonicalize",
    "opt t.mlir",
    "opt m.onnx --passes canonicalize,recover,lower --locations",
    "opt --list-passes",
    "asm a.s -o o.narae",
    "disasm m.narae",
    "inspect m.narae --json",
    "verify m.narae h.narae",
    "dram t.csv --json",
    "dram t.csv --config dram.toml --mode fast",
    "isa",
    "ops m.onnx --json",
    "chips narae-edge",
    "completions bash",
    "--help",
    "compile --help",
];
