//! N6: what the happens-before checker costs in functional mode. In: the decoder of examples/tinylm. Out: its bar. Always: runs with and without
//! the checker alternate, so that a busy machine disturbs both alike, and the fastest of each counts.

use std::path::Path;

use narae::language::LanguageModel;
use narae_compiler::compile::{KvCache, Options};
use narae_isa::Chip;
use narae_sim::Limits;
use narae_sim::dram::validation::{Bar, Chapter};

use super::clock::thread_seconds;

const ROUNDS: usize = 7;
const TOKENS: i64 = 400;

/// The cost of the checker.
pub fn chapter() -> Result<Chapter, String> {
    let mut language = tinylm()?;
    let mut seconds = [f64::INFINITY; 2];
    for _ in 0..ROUNDS {
        for check in [false, true] {
            let best = &mut seconds[usize::from(check)];
            *best = best.min(seconds_per_token(&mut language, check)?);
        }
    }
    let [without, with] = seconds;
    let more = with / without - 1.0;
    let found =
        format!("{:+.1} % ({:.1} µs a token of tinylm instead of {:.1})", 100.0 * more, with * 1e6, without * 1e6);
    Ok(Chapter {
        bars: vec![Bar::new("N6 cost of the checker in functional mode", "≤ 30 %", found, more <= 0.3)],
        ..Chapter::default()
    })
}

fn tinylm() -> Result<LanguageModel, String> {
    let mut options = Options::new(Chip::built_in("narae-1").ok_or("no chip")?);
    options.kv_cache = KvCache::State;
    (options.maxima.batch, options.maxima.sequence, options.maxima.past) = (Some(1), Some(16), Some(512));
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tinylm/model.onnx");
    LanguageModel::compile(&model, &options).map_err(|problems| problems.to_string())
}

fn seconds_per_token(language: &mut LanguageModel, check: bool) -> Result<f64, String> {
    language.session().machine().set_limits(Limits { check, ..Limits::default() });
    language.reset();
    let before = thread_seconds()?;
    for token in 0..TOKENS {
        language.feed(&[token % 500]).map_err(|problems| problems.to_string())?;
    }
    Ok((thread_seconds()? - before) / TOKENS as f64)
}
