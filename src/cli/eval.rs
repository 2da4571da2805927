//! `narae eval`: perplexity over token ids. In: an image or an ONNX decoder, ids. Out: perplexity, and against another model its
//! mean KL divergence and the share of equal first choices.
//!
//! Protocol: windows of `--window` predictions, the last id of a window being the first of the next, a fresh cache for each;
//! log-softmax in f64 over ascending ids.

use std::path::{Path, PathBuf};

use narae::language::LanguageModel;
use narae::npz;
use narae::quality::{Quality, windows};
use narae::session::Session;
use narae_compiler::compile::{KvCache, Logits};
use narae_isa::Diagnostics;

use super::options::CompileOptions;
use super::progress::Progress;
use super::run::is_model;
use super::{Outcome, Voice, output};

/// Which model on which ids.
#[derive(clap::Args)]
pub struct Arguments {
    /// An image (.narae), or a decoder (.onnx)
    model: PathBuf,
    /// The ids (.npy): one text, or one window a row
    #[arg(long, value_name = "NPY")]
    ids: PathBuf,
    /// Predictions of a window
    #[arg(long, default_value_t = 256, value_name = "N")]
    window: usize,
    /// Use the first windows only
    #[arg(long, value_name = "N")]
    windows: Option<usize>,
    /// An image to compare with: KL divergence and agreement are against it
    #[arg(long, value_name = "NARAE")]
    against: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compile: CompileOptions,
}

/// Evaluates.
pub fn run(arguments: Arguments, voice: Voice) -> Outcome {
    let ids = npz::read_array(&arguments.ids)?;
    let windows = windows(&ids, arguments.window, arguments.windows)?;
    let mut model = open(&arguments, &arguments.model, voice)?;
    let mut reference = arguments.against.as_deref().map(|path| open(&arguments, path, voice)).transpose()?;
    let mut quality = Quality::default();
    let progress = Progress::new(voice, "windows", windows.len() as u64);
    for (number, window) in windows.iter().enumerate() {
        quality.add_window(&mut model, reference.as_mut(), window)?;
        progress.advance(1);
        voice.detail(format_args!("window {} of {}: perplexity {:.4}", number + 1, windows.len(), quality.perplexity()));
    }
    drop(progress);
    let text = if arguments.json { json(&quality) } else { human(&quality) };
    output::to_stdout(text.as_bytes())
}

fn open(arguments: &Arguments, path: &Path, voice: Voice) -> Result<LanguageModel, Diagnostics> {
    if !is_model(path) {
        return LanguageModel::new(Session::open(path)?);
    }
    let mut options = arguments.compile.resolve(path, KvCache::State)?;
    options.logits = Logits::All;
    let maxima = &mut options.maxima;
    maxima.batch = maxima.batch.or(Some(1));
    maxima.sequence = maxima.sequence.or(Some(arguments.window as i64));
    maxima.past = maxima.past.or(Some(arguments.window as i64));
    let mut watcher = arguments.compile.watch.watcher(voice, None)?;
    LanguageModel::new(Session::compile_observed(path, &options, &mut watcher)?.0)
}

fn human(quality: &Quality) -> String {
    let mut out = format!("perplexity  {:.4} over {} predictions\n", quality.perplexity(), quality.predictions);
    if let Some((divergence, agreement)) = quality.against() {
        out.push_str(&format!("KL          {divergence:.5} nats/token\ntop-1       {:.2} % equal\n", 100.0 * agreement));
    }
    out
}

fn json(quality: &Quality) -> String {
    let against = quality.against();
    let value = serde_json::json!({
        "perplexity": quality.perplexity(), "predictions": quality.predictions,
        "kl": against.map(|(divergence, _)| divergence), "top1": against.map(|(_, agreement)| agreement),
    });
    format!("{value:#}\n")
}
