//! `--quant auto`: a greater error budget buys fewer bytes and cycles and costs perplexity, as measured and not as estimated.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use std::path::Path;

use narae::language::LanguageModel;
use narae::npz;
use narae::quality::Quality;
use narae::session::{Session, import};
use narae_compiler::bounds;
use narae_compiler::compile::{KvCache, Logits, Options, Precision, compile_graph};
use narae_compiler::compress::policy::Policy;
use narae_compiler::pipeline::Unobserved;
use narae_isa::{Chip, Image};
use rayon::prelude::*;

/// What a budget gave.
#[derive(Debug)]
struct Point {
    perplexity: f64,
    weight_bytes: u64,
    cycles: u64,
}

fn measure(model: &Path, windows: &[&[i64]], budget: f64) -> Point {
    let mut options = Options::new(Chip::built_in("narae-1").expect("a built-in chip"));
    (options.kv_cache, options.logits, options.precision) = (KvCache::State, Logits::All, Precision::F16);
    (options.quant, options.error_budget) = (Policy::Auto, budget);
    (options.maxima.batch, options.maxima.sequence, options.maxima.past) = (Some(1), Some(64), Some(512));
    let mut graph = import(model, &narae_compiler::onnx::Limits::default()).expect("the model imports");
    bounds::fix(&mut graph, &options.maxima).expect("the maxima fit");
    let (compiled, _) = compile_graph(graph, &options, &mut Unobserved).expect("the model compiles");
    let image = Image::from_bytes("budget", compiled.to_bytes().expect("the image is written")).expect("it opens");
    let mut language = LanguageModel::new(Session::new(image).expect("a session")).expect("a decoder");
    let mut quality = Quality::default();
    for window in windows {
        quality.add_window(&mut language, None, window).expect("the window runs");
    }
    let mut cycles = 0;
    let timed = language.feed_timed(&windows[0][..1], &mut |session, _, timed| {
        cycles = session.report(&timed)?.cycles;
        Ok(())
    });
    timed.expect("a timed token");
    Point { perplexity: quality.perplexity(), weight_bytes: compiled.weight_bytes(), cycles }
}

#[test]
fn budgets_order_perplexity_bytes_and_time() {
    let Some(folder) = support::shared("models/real/tinylm") else { return support::skip("tinylm") };
    let ids = npz::read_array(&folder.join("valid_ids.npy")).expect("ids").to_i64_vec();
    let windows: Vec<&[i64]> = (0..6).map(|number| &ids[256 * number..256 * number + 257]).collect();
    let budgets = [1e-3, 1e-2, 1e-1];
    let points: Vec<Point> =
        budgets.into_par_iter().map(|budget| measure(&folder.join("model.onnx"), &windows, budget)).collect();
    budgets.iter().zip(&points).for_each(|(budget, point)| println!("{budget}: {point:?}"));
    for pair in points.windows(2) {
        assert!(pair[0].perplexity < pair[1].perplexity, "{pair:?}");
        assert!(pair[0].weight_bytes > pair[1].weight_bytes, "{pair:?}");
        assert!(pair[0].cycles > pair[1].cycles, "{pair:?}");
    }
}
