//! The trained models: logits, greedy text, f16 and 4-bit quality, as their READMEs and the bars say.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use std::path::{Path, PathBuf};

use narae::language::LanguageModel;
use narae::npz;
use narae::quality::Quality;
use narae::sampling::argmax;
use narae_compiler::compile::{KvCache, Logits, Options, Precision};
use narae_compiler::compress::policy::Policy;
use narae_isa::Chip;
use serde_json::Value;

fn options(precision: Precision, quant: &str) -> Options {
    let mut options = Options::new(Chip::built_in("narae-1").expect("a built-in chip"));
    options.kv_cache = KvCache::State;
    options.logits = Logits::All;
    options.precision = precision;
    options.quant = Policy::parse(quant).expect("a quant policy");
    options.maxima.batch = Some(1);
    options.maxima.sequence = Some(64);
    options.maxima.past = Some(512);
    options
}

fn model(path: &Path, precision: Precision, quant: &str) -> LanguageModel {
    LanguageModel::compile(path, &options(precision, quant)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Rows of ids from an array `[rows, columns]`.
fn rows(path: PathBuf) -> Vec<Vec<i64>> {
    let array = npz::read_array(&path).expect("ids");
    let columns = array.dims.last().copied().unwrap_or(1).max(1);
    array.to_i64_vec().chunks(columns).map(<[i64]>::to_vec).collect()
}

/// Perplexity over windows with a fresh cache each; the protocol of tinylm's README.
fn perplexity(model: &mut LanguageModel, windows: &[&[i64]]) -> f64 {
    let mut quality = Quality::default();
    for window in windows {
        quality.add_window(model, None, window).expect("the window runs");
    }
    quality.perplexity()
}

fn windows(ids: &[i64], count: usize) -> Vec<&[i64]> {
    (0..count).map(|i| &ids[256 * i..256 * i + 257]).collect()
}

fn logits_are_the_references(name: &str) {
    let Some(folder) = support::shared(&format!("models/real/{name}")) else { return support::skip(name) };
    let mut model = model(&folder.join("model.onnx"), Precision::F32, "none");
    let want = npz::read_array(&folder.join("short_ref_logits.npy")).expect("the logits").to_f32_vec();
    let ids = rows(folder.join("short_ids.npy"));
    let scale = want.iter().fold(0f32, |top, value| top.max(value.abs()));
    let mut worst = 0f32;
    for (row, want) in ids.iter().zip(want.chunks(want.len() / ids.len())) {
        model.reset();
        let got = model.logits(&row[..row.len() - 1]).expect("the row runs");
        assert_eq!(got.len(), want.len());
        worst = got.iter().zip(want).fold(worst, |worst, (a, b)| worst.max((a - b).abs()));
    }
    println!("{name}: max |Δ| {worst:.2e} = {:.2e} of max |logit|", worst / scale);
    assert!(worst <= 1e-4 * scale, "{name}: max |Δ| {worst} on logits up to {scale}");
}

#[test]
fn tinylm_logits() {
    logits_are_the_references("tinylm");
}

#[test]
fn stories_logits() {
    logits_are_the_references("stories260K");
}

/// Greedy ids as onnxruntime's; a prompt may end early only where the two best logits are closer than 1e-3.
fn greedy_is_the_references(name: &str, prompts: usize) {
    let Some(folder) = support::shared(&format!("models/real/{name}")) else { return support::skip(name) };
    let mut model = model(&folder.join("model.onnx"), Precision::F32, "none");
    let text = std::fs::read_to_string(folder.join("greedy.json")).expect("the greedy ids");
    let cases: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let ids = |value: &Value| value.as_array().into_iter().flatten().filter_map(Value::as_i64).collect::<Vec<_>>();
    let mut ties = 0;
    for (number, case) in cases.iter().take(prompts).enumerate() {
        let (prompt, want) = (ids(&case["prompt"]), ids(&case["greedy"]));
        model.reset();
        let mut row = model.feed(&prompt).expect("the prompt runs");
        for (step, want) in want.iter().enumerate() {
            let best = argmax(&row).expect("logits") as i64;
            if best != *want {
                let margin = row[best as usize] - row[*want as usize];
                assert!(
                    margin < 1e-3,
                    "{name}, prompt {number}, token {step}: {best} instead of {want}, margin {margin}"
                );
                ties += 1;
                break;
            }
            row = model.feed(&[best]).expect("a token");
        }
    }
    println!("{name}: {prompts} prompts, {ties} ended by a tie below 1e-3");
}

#[test]
fn tinylm_greedy() {
    greedy_is_the_references("tinylm", 20);
}

#[test]
fn stories_greedy() {
    greedy_is_the_references("stories260K", 20);
}

/// Top-1 agreement of f16 with our own f32 over the first windows of the validation ids.
fn f16_agrees(count: usize) {
    let Some(folder) = support::shared("models/real/tinylm") else { return support::skip("tinylm") };
    let path = folder.join("model.onnx");
    let (mut exact, mut half) = (model(&path, Precision::F32, "none"), model(&path, Precision::F16, "none"));
    let ids = npz::read_array(&folder.join("valid_ids.npy")).expect("ids").to_i64_vec();
    let (mut agree, mut all) = (0usize, 0usize);
    for window in windows(&ids, count) {
        exact.reset();
        half.reset();
        let (a, b) = (exact.logits(&window[..256]).expect("f32"), half.logits(&window[..256]).expect("f16"));
        for (a, b) in a.chunks(a.len() / 256).zip(b.chunks(b.len() / 256)) {
            agree += usize::from(argmax(a) == argmax(b));
            all += 1;
        }
    }
    let share = agree as f64 / all as f64;
    println!("f16 against f32: top-1 agreement {share:.4} over {all} positions");
    assert!(share >= 0.99, "top-1 agreement {share}");
}

#[test]
fn f16_top_1_subset() {
    f16_agrees(3);
}

#[test]
#[ignore = "the whole bar: cargo test --release --test tinylm -- --ignored"]
fn f16_top_1() {
    f16_agrees(20);
}

/// Four bits through the look-up-table path, against our own f32 on the same windows.
fn u4_perplexity(count: usize) -> (f64, f64) {
    let folder = support::shared("models/real/tinylm").expect("checked by the caller");
    let path = folder.join("model.onnx");
    let ids = npz::read_array(&folder.join("valid_ids.npy")).expect("ids").to_i64_vec();
    let windows = windows(&ids, count);
    let exact = perplexity(&mut model(&path, Precision::F32, "none"), &windows);
    let coded = perplexity(&mut model(&path, Precision::F32, "lm_head=f16,*=u4:g64"), &windows);
    println!(
        "perplexity over {count} windows: f32 {exact:.4}, u4:g64 {coded:.4} ({:+.2} %)",
        100.0 * (coded / exact - 1.0)
    );
    (exact, coded)
}

#[test]
fn u4_perplexity_subset() {
    if support::shared("models/real/tinylm").is_none() {
        return support::skip("tinylm");
    }
    let (exact, coded) = u4_perplexity(4);
    assert!(coded / exact < 1.02, "{coded} against {exact}");
}

#[test]
#[ignore = "the whole protocol of 302 windows: cargo test --release --test tinylm -- --ignored"]
fn u4_perplexity_protocol() {
    let (exact, coded) = u4_perplexity(302);
    assert!((exact / 27.3092 - 1.0).abs() < 1e-3, "f32 perplexity {exact}");
    assert!(coded <= 27.52 * 1.003, "u4 perplexity {coded}");
}

#[test]
fn other_spellings_generate() {
    let Some(folder) = support::shared("models/real/tinylm") else { return support::skip("tinylm") };
    for file in ["model_fp16.onnx", "genai_int4/model.onnx"] {
        let options = options(Precision::Auto, "none");
        let mut model = LanguageModel::compile(&folder.join(file), &options).unwrap_or_else(|e| panic!("{file}: {e}"));
        let mut row = model.feed(&[0, 283, 520, 340]).expect("the prompt runs");
        for _ in 0..8 {
            assert!(row.iter().all(|value| value.is_finite()), "{file}");
            row = model.feed(&[argmax(&row).expect("logits") as i64]).expect("a token");
        }
    }
}

#[test]
fn prefill_equals_decode() {
    let path = support::root().join("examples/tinylm/model.onnx");
    let mut model = model(&path, Precision::F32, "none");
    let ids: Vec<i64> = (0..23).map(|i| (i * 97 + 11) % 2048).collect();
    let whole = model.logits(&ids).expect("a prefill");
    model.reset();
    let mut single = Vec::new();
    for id in &ids {
        single.extend(model.logits(&[*id]).expect("a token"));
    }
    assert!(whole.iter().zip(&single).all(|(a, b)| a.to_bits() == b.to_bits()), "prefill and decode differ");
}
