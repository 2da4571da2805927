//! What the laws recover from the decoder files of the model zoo, whatever exporter wrote them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use narae_compiler::compress::decide::{Asked, Decision, Rates, decide};
use narae_compiler::compress::policy::Policy;
use narae_compiler::compress::{Recipe, stored};
use narae_compiler::graph::eval::evaluate;
use narae_compiler::graph::{Graph, Op};
use narae_compiler::onnx::{Limits, Model, import};
use narae_compiler::passes::canonicalize::canonicalize;
use narae_compiler::passes::state;
use narae_compiler::rewrite::{self, Options, Report};
use narae_isa::{Element, HostTensor, Overflow};

/// All files below a folder whose path contains `llama`.
fn llamas(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            llamas(&path, found);
        } else if path.extension().is_some_and(|end| end == "onnx") && path.to_string_lossy().contains("llama") {
            found.push(path);
        }
    }
}

fn imported(path: &Path) -> Graph {
    let model = Model::open(path, &Limits::default()).unwrap();
    let mut graph = import(&model).unwrap();
    canonicalize(&mut graph).unwrap();
    graph
}

fn recovered(graph: &Graph) -> (Graph, Report) {
    let mut graph = graph.clone();
    let report = rewrite::recover(&mut graph, &Options::default()).unwrap();
    canonicalize(&mut graph).unwrap();
    (graph, report)
}

fn zoo() -> Vec<(String, PathBuf)> {
    let Some(shared) = narae_testing::shared_or_skip("models") else { return vec![] };
    let mut files = vec![];
    llamas(&shared.join("zoo"), &mut files);
    files.extend(
        ["tinylm/model.onnx", "stories260K/model.onnx", "tinylm/genai_int4/model.onnx", "tinylm/model_fp16.onnx"]
            .map(|name| shared.join("real").join(name)),
    );
    let filter = std::env::var("NARAE_ZOO").unwrap_or_default();
    let named = files.into_iter().map(|path| (path.strip_prefix(&shared).unwrap().display().to_string(), path));
    named.filter(|(name, _)| name.contains(&filter)).collect()
}

/// The files whose name contains a text: as many as are known, or (without the shared folder) none.
fn zoo_files(part: &str, count: usize) -> Vec<(String, PathBuf)> {
    let (all, part) = (zoo(), part.to_string());
    let found: Vec<_> = all.iter().filter(|(name, _)| name.contains(&part)).cloned().collect();
    assert!(all.is_empty() || found.len() == count, "{} files of the zoo contain {part}, not {count}", found.len());
    found
}

#[test]
fn every_llama_recovers_attention_norms_rope_and_gates() {
    let mut missing = vec![];
    for (name, path) in zoo() {
        let start = std::time::Instant::now();
        let graph = imported(&path);
        let import = start.elapsed();
        let (graph, report) = recovered(&graph);
        let region = &report.regions[0];
        println!("{name}: import {import:?}, recover {:?}", start.elapsed() - import);
        println!("   {:?} {:?} {} layers {:x?}", region.nodes, region.saturated, region.iterations, region.layers);
        println!("   {:?}", region.ops);
        for note in region.notes.iter().take(5) {
            println!("   ! {note}");
        }
        if std::env::var_os("NARAE_SHOW").is_some() {
            println!("{}", narae_compiler::graph::text::print(&graph, Default::default()));
        }
        let layers = region.layers.len();
        let has = |op: &str, count: usize| region.ops.get(op).copied().unwrap_or(0) == count;
        let whole = layers > 0
            && has("attention", layers)
            && has("rms_norm", 2 * layers + 1)
            && has("rope", 2 * layers)
            && has("mul-silu", layers)
            && has("linear", 4 * layers + 1);
        if !whole || !region.notes.is_empty() {
            missing.push(name);
        }
    }
    assert!(missing.is_empty(), "not all was recovered in {missing:?}");
}

/// One configuration (two layers, four heads over two groups, 128 wide) by six exporters, with a cache and without.
#[test]
fn one_configuration_is_one_term() {
    let named = |wanted: &[&str]| -> Vec<(String, Vec<u64>)> {
        let files = zoo().into_iter().filter(|(name, _)| wanted.iter().any(|wanted| name.ends_with(wanted)));
        files.map(|(name, path)| (name, recovered(&imported(&path)).1.regions[0].layers.clone())).collect()
    };
    let cached = named(&[
        "genai/llama_fp32/model.onnx",
        "genai/llama_int4/model.onnx",
        "genai/llama_int4_qdq/model.onnx",
        "genai/llama_int8/model.onnx",
        "llama_tiny_kv_fused23_compute_fp32.onnx",
        "llama_tiny_kv_primitive_compute_fp32.onnx",
        "optimum/llama/model.onnx",
        "llama_dynamo_fused.onnx",
        "llama_session_extended.onnx",
        "torch_dynamo/llama_kv.onnx",
        "torch_dynamo/llama_kv_opset23.onnx",
        "torch_ts/llama_kv.onnx",
    ]);
    let plain = named(&["optimum/llama_nocache/model.onnx", "torch_dynamo/llama_nocache_opset23.onnx"]);
    if cached.is_empty() {
        return;
    }
    assert_eq!((cached.len(), plain.len()), (12, 2), "files of the zoo are missing");
    for group in [cached, plain] {
        let first = group.first().map_or(0, |(_, layers)| layers[0]);
        println!("{} files: {first:x}", group.len());
        let other: Vec<_> = group
            .iter()
            .filter(|(_, layers)| layers.len() != 2 || layers.iter().any(|layer| *layer != first))
            .collect();
        assert!(other.is_empty(), "not {first:x}: {other:x?}");
    }
}

#[test]
fn the_same_graph_gives_the_same_graph() {
    for (_, path) in zoo_files("torch_ts/llama_kv.onnx", 1) {
        let text = || narae_compiler::graph::text::print(&recovered(&imported(&path)).0, Default::default());
        let first = text();
        assert!((0..4).all(|_| text() == first));
    }
}

/// A small generator, so that inputs are the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }
    fn real(&mut self) -> f64 {
        (self.next() % 2001) as f64 / 1000.0 - 1.0
    }
}

type Tensors = BTreeMap<String, HostTensor>;

/// Inputs of a decoder for `past` and `sequence` tokens of each of `batch` sequences, without padding.
fn inputs(graph: &Graph, batch: usize, past: usize, sequence: usize, random: &mut Random) -> Tensors {
    let mut tensors = Tensors::new();
    let past = if graph.inputs().iter().any(|port| graph.rank(port.value) == 4) { past } else { 0 };
    for port in graph.inputs() {
        let element = graph.element(port.value);
        let dims = graph.dims(port.value);
        let tensor = if dims.len() == 4 {
            let known = |axis: usize| graph.symbols.resolve(&dims[axis]).as_size().unwrap();
            let dims = [batch, known(1), past, known(3)];
            let values: Vec<f64> = (0..dims.iter().product()).map(|_| random.real()).collect();
            HostTensor::from_f64_as(element, &dims, &values)
        } else if port.name.contains("mask") {
            HostTensor::from_i64_as(element, &[batch, past + sequence], &vec![1; batch * (past + sequence)])
        } else if port.name.contains("position") {
            let values: Vec<i64> = (0..batch * sequence).map(|at| (past + at % sequence) as i64).collect();
            HostTensor::from_i64_as(element, &[batch, sequence], &values)
        } else {
            let values: Vec<i64> = (0..batch * sequence).map(|_| (random.next() % 500) as i64).collect();
            HostTensor::from_i64_as(element, &[batch, sequence], &values)
        };
        tensors.insert(port.name.clone(), tensor);
    }
    tensors
}

/// The greatest difference, relative to the greatest magnitude.
fn difference(left: &HostTensor, right: &HostTensor) -> f64 {
    assert_eq!(left.dims, right.dims);
    let (left, right) = (left.to_f64_vec(), right.to_f64_vec());
    let scale = left.iter().fold(1e-9_f64, |most, value| most.max(value.abs()));
    left.iter().zip(&right).fold(0.0_f64, |most, (a, b)| if a == b { most } else { most.max((a - b).abs() / scale) })
}

fn tolerance(name: &str) -> f64 {
    if name.contains("bf16") {
        6e-2
    } else if name.contains("fp16") {
        1e-2
    } else {
        2e-5
    }
}

#[test]
fn laws_change_nothing_but_the_order_of_rounding() {
    let mut wrong = vec![];
    for (name, path) in zoo() {
        let graph = imported(&path);
        let (better, _) = recovered(&graph);
        let given = inputs(&graph, 2, 3, 4, &mut Random(77));
        let (left, right) = (evaluate(&graph, &given).unwrap(), evaluate(&better, &given).unwrap());
        let worst = left.iter().map(|(port, value)| difference(value, &right[port])).fold(0.0, f64::max);
        println!("{name}: {worst:.2e}");
        if worst.is_nan() || worst > tolerance(&name) {
            wrong.push(format!("{name}: {worst:.2e}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn kept_state_is_what_each_sequence_alone_would_be() {
    let mut wrong = vec![];
    for (name, path) in zoo() {
        if name.contains("nocache") {
            continue;
        }
        let graph = imported(&path);
        let (mut kept, _) = recovered(&graph);
        let options =
            state::Options { all_logits: false, capacity: Some(16), most: &|_, _| None, usual: (0, 0), element: None };
        if let Err(problem) = state::keep_state(&mut kept, &options) {
            wrong.push(format!("{name}: {problem:?}"));
            continue;
        }
        canonicalize(&mut kept).unwrap();
        let layers = rewrite::explain::layers(&kept);
        let worst = kept_difference(&graph, &kept, &[5, 2], 3);
        println!("{name}: {worst:.2e} layers {layers:x?}");
        if worst.is_nan() || worst > tolerance(&name) {
            wrong.push(format!("{name}: {worst:.2e}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Sequences with different pasts in one batch, against each of them alone in the model as it was.
fn kept_difference(graph: &Graph, kept: &Graph, pasts: &[usize], sequence: usize) -> f64 {
    let mut random = Random(99);
    let batch = pasts.len();
    let alone: Vec<Tensors> = pasts.iter().map(|past| inputs(graph, 1, *past, sequence, &mut random)).collect();
    let mut together = Tensors::new();
    for port in kept.inputs() {
        let tensor = if port.name == state::PAST {
            HostTensor::from_i64(&[batch], &pasts.iter().map(|past| *past as i64).collect::<Vec<_>>())
        } else if kept.rank(port.value) == 4 {
            let one = &alone[0][&port.name].dims;
            let (groups, width) = (one[1], one[3]);
            let mut values = vec![0.0; batch * groups * 16 * width];
            for (row, past) in pasts.iter().enumerate() {
                let given = alone[row][&port.name].to_f64_vec();
                for group in 0..groups {
                    let from = group * past * width;
                    let to = (row * groups + group) * 16 * width;
                    values[to..to + past * width].copy_from_slice(&given[from..from + past * width]);
                }
            }
            HostTensor::from_f64_as(kept.element(port.value), &[batch, groups, 16, width], &values)
        } else {
            let values: Vec<i64> = alone.iter().flat_map(|one| one[&port.name].to_i64_vec()).collect();
            HostTensor::from_i64_as(kept.element(port.value), &[batch, sequence], &values)
        };
        together.insert(port.name.clone(), tensor);
    }
    let found = evaluate(kept, &together).unwrap();
    let logits = &kept.outputs()[0].name;
    let found = found[logits].to_f64_vec();
    let width = found.len() / batch;
    let mut worst = 0.0_f64;
    for (row, one) in alone.iter().enumerate() {
        let want = evaluate(graph, one).unwrap()[logits].to_f64_vec();
        let last = &want[want.len() - width..];
        let scale = last.iter().fold(1e-9_f64, |most, value| most.max(value.abs()));
        let own = &found[row * width..(row + 1) * width];
        worst = last.iter().zip(own).fold(worst, |most, (a, b)| most.max((a - b).abs() / scale));
    }
    worst
}

#[test]
fn integer_weights_of_a_file_are_carried_over() {
    let mut wrong = vec![];
    for (name, path) in zoo_files("int4", 3).into_iter().chain(zoo_files("int8", 1)) {
        let (mut graph, _) = recovered(&imported(&path));
        let before: Vec<HostTensor> =
            weights(&graph).iter().map(|recipe| recipe.evaluate(&graph.sources).unwrap()).collect();
        let asked = Asked { policy: Policy::parse("u8").unwrap(), budget: 0.0, float: None };
        let decisions = decide(&mut graph, &asked, &Rates::default()).unwrap().decisions;
        let linear = decisions.iter().filter(|decision| decision.role != "embedding");
        wrong.extend(linear.filter(|d| !d.chosen.storage.contains("carried")).map(|d| format!("{name}: {d:?}")));
        // Every code times its scale is the weight that the file dequantises to.
        for (recipe, before) in weights(&graph).iter().zip(before) {
            let codes = stored::rows(recipe, &graph.sources, 0, recipe.dims()[0]).unwrap();
            let before = before.convert(Element::F32, Overflow::Saturate).to_f32_vec();
            let after = codes.weights();
            let other = (0..before.len()).find(|at| (before[*at] - after[*at]).abs() > 1e-6 * before[*at].abs());
            let found = other.map(|at| (at, recipe.dims().to_vec(), before[at], after[at]));
            wrong.extend(found.map(|found| format!("{name}: {found:?} {:?}", stored::storage(recipe))));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The weights of the linear layers.
fn weights(graph: &Graph) -> Vec<Recipe> {
    let linear = graph.nodes().filter(|(_, node)| matches!(node.op, Op::Linear {}));
    linear.filter_map(|(_, node)| graph.recipe(node.operands[1]).cloned()).collect()
}

/// The integers of a small `.npy` file.
fn npy(path: &Path) -> Vec<i64> {
    let bytes = std::fs::read(path).unwrap();
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[start..].chunks(8).map(|eight| i64::from_le_bytes(eight.try_into().unwrap())).collect()
}

#[test]
fn budgets_are_kept_and_the_estimate_of_error_is_honest() {
    let Some(shared) = narae_testing::shared_or_skip("models") else { return };
    let folder = shared.join("real/tinylm");
    let (graph, _) = recovered(&imported(&folder.join("model.onnx")));
    let ids = npy(&folder.join("short_ids.npy"));
    let mut given = inputs(&graph, 1, 0, 32, &mut Random(1));
    given.insert("input_ids".into(), HostTensor::from_i64(&[1, 32], &ids[..32]));
    let exact = evaluate(&graph, &given).unwrap()["logits"].to_f64_vec();
    let mut last = (u64::MAX, u64::MAX, -1.0_f64);
    for (policy, budget) in [("auto", 1e-4), ("auto", 4e-3), ("auto", 3e-2), ("lm_head=f16,*=u4:g64", 0.0)] {
        let mut graph = graph.clone();
        let asked = Asked { policy: Policy::parse(policy).unwrap(), budget, float: None };
        let decisions = decide(&mut graph, &asked, &Rates::default()).unwrap().decisions;
        let sum = |part: &dyn Fn(&Decision) -> f64| decisions.iter().map(part).sum::<f64>();
        let (bytes, time) = (sum(&|d| d.chosen.bytes as f64) as u64, sum(&|d| d.chosen.time_ns as f64) as u64);
        let estimate = sum(&|d| d.chosen.error);
        let found = evaluate(&graph, &given).unwrap()["logits"].to_f64_vec();
        let kl = divergence(&exact, &found, 2048);
        println!("{policy} {budget}: {bytes} bytes, {time} ns, estimated {estimate:.2e}, measured {kl:.2e}");
        println!("   {}", decisions.iter().map(|d| d.chosen.storage.as_str()).collect::<Vec<_>>().join(" "));
        assert!(kl < 3.0 * estimate + 1e-6 && estimate < 4.0 * kl + 1e-6, "estimated {estimate}, measured {kl}");
        if policy == "auto" {
            assert!(estimate <= budget && bytes < last.0 && time < last.1 && kl > last.2);
            last = (bytes, time, kl);
        }
    }
}

/// Mean KL divergence of the distributions that logits mean.
fn divergence(exact: &[f64], found: &[f64], vocabulary: usize) -> f64 {
    let log_softmax = |row: &[f64]| -> Vec<f64> {
        let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|x| (x - most).exp()).sum();
        row.iter().map(|x| x - most - sum.ln()).collect()
    };
    let rows = exact.chunks(vocabulary).zip(found.chunks(vocabulary));
    let each = rows.map(|(p, q)| {
        let (p, q) = (log_softmax(p), log_softmax(q));
        p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>()
    });
    each.sum::<f64>() / (exact.len() / vocabulary) as f64
}
