//! One program for every length: one image answers all past lengths and batches.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use narae::npz::Arrays;
use narae::session::{Reference, Session, import};
use std::path::Path;

use narae_compiler::bounds;
use narae_compiler::compile::{KvCache, Options, Precision, compile_graph};
use narae_compiler::onnx::Limits;
use narae_compiler::pipeline::Unobserved;
use narae_isa::table::WORD_BYTES;
use narae_isa::{Chip, Element, HostTensor};
use support::compare::{Tolerance, compare_all};

fn options(max_past: i64) -> Options {
    let mut options = Options::new(Chip::built_in("narae-1").expect("a built-in chip"));
    options.precision = Precision::F32;
    options.maxima.batch = Some(4);
    options.maxima.sequence = Some(16);
    options.maxima.past = Some(max_past);
    options
}

/// Inputs of tinylm's ONNX signature: `batch` rows of `sequence` tokens after `past` tokens of made-up cache.
fn inputs(batch: usize, sequence: usize, past: usize) -> Arrays {
    let ids: Vec<i64> = (0..batch * sequence).map(|i| (i as i64 * 131 + 7) % 2048).collect();
    let positions: Vec<i64> = (0..batch).flat_map(|_| (past..past + sequence).map(|p| p as i64)).collect();
    let mut inputs = Arrays::from([
        ("input_ids".to_string(), HostTensor::from_i64(&[batch, sequence], &ids)),
        ("position_ids".to_string(), HostTensor::from_i64(&[batch, sequence], &positions)),
        (
            "attention_mask".to_string(),
            HostTensor::from_i64(&[batch, past + sequence], &vec![1; batch * (past + sequence)]),
        ),
    ]);
    for layer in 0..6 {
        for (side, step) in [("key", 37), ("value", 53)] {
            let values: Vec<f64> =
                (0..batch * 4 * past * 32).map(|i| ((i * step + layer * 11) % 97) as f64 / 97.0 - 0.5).collect();
            let tensor = HostTensor::from_f64_as(Element::F32, &[batch, 4, past, 32], &values);
            inputs.insert(format!("past_key_values.{layer}.{side}"), tensor);
        }
    }
    inputs
}

#[test]
fn one_image_answers_every_past_and_batch() {
    let path = support::root().join("examples/tinylm/model.onnx");
    let mut session = Session::compile(&path, &options(511)).expect("tinylm compiles");
    let reference = Reference::open(&path, &Limits::default()).expect("tinylm imports");
    for (batch, sequence, past) in [(1, 3, 0), (1, 1, 1), (2, 2, 7), (3, 1, 128), (4, 1, 511), (1, 1, 511), (4, 5, 0)] {
        let inputs = inputs(batch, sequence, past);
        let got = session.run(None, &inputs).unwrap_or_else(|e| panic!("batch {batch}, past {past}: {e}"));
        let want = reference.run(&inputs).expect("the evaluator runs");
        // The file computes in fp16 inside; the chip here in f32, so both are near, not equal.
        let delta = compare_all(&got, &want, &inputs, |_| Tolerance { relative: 2e-2, absolute: 6e-2 });
        println!(
            "batch {batch}, sequence {sequence}, past {past}: max |Δ| {:.2e}",
            delta.unwrap_or_else(|e| panic!("past {past}: {e}"))
        );
    }
}

/// Bytes of code of a model under these options.
fn code_bytes(model: &Path, options: &Options) -> usize {
    let mut graph = import(model, &Limits::default()).expect("the model imports");
    bounds::fix(&mut graph, &options.maxima).expect("the maxima fit");
    let (compiled, _) = compile_graph(graph, options, &mut Unobserved).expect("the model compiles");
    compiled.content.words.len() * WORD_BYTES
}

/// The ways in which a decoder is compiled.
fn ways() -> impl Iterator<Item = (KvCache, Precision)> {
    let caches = [KvCache::Io, KvCache::State];
    caches.into_iter().flat_map(|cache| [Precision::F32, Precision::F16].map(|precision| (cache, precision)))
}

#[test]
fn code_does_not_depend_on_the_longest_past() {
    let path = support::root().join("examples/tinylm/model.onnx");
    for (kv_cache, precision) in ways() {
        let code = |past| code_bytes(&path, &Options { kv_cache, precision, ..options(past) });
        let codes = [1, 16, 128, 511].map(code);
        println!("{kv_cache:?} {precision:?}: {codes:?} bytes of code");
        assert!(codes.iter().all(|&bytes| bytes == codes[0]), "{kv_cache:?} {precision:?}: {codes:?}");
    }
}

#[test]
fn twelve_alike_layers_are_as_much_code_as_two() {
    let data = support::root().join("tests/data");
    for (kv_cache, precision) in ways() {
        let options = Options { kv_cache, precision, ..options(64) };
        let two = code_bytes(&data.join("llama2_primitive_fp16.onnx"), &options);
        let twelve = code_bytes(&data.join("llama12_primitive.onnx"), &options);
        println!("{kv_cache:?} {precision:?}: {two} bytes of code for 2 layers, {twelve} for 12");
        assert!(twelve * 10 <= two * 11, "{kv_cache:?} {precision:?}: {two} for 2 layers, {twelve} for 12");
    }
}
